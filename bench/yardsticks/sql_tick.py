"""
A tick as one SQL statement in PostgreSQL, which is what a service without an engine would ask its database for.

Tables, indexes and statistics are as good as they can be, everything is in memory, and nothing is logged. The rows of
the statement are fetched, and counted as part of it. ``read_only`` leaves out making them the newest snapshots.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Final

import asyncpg
import numpy as np

from bench.world import World
from evs_server.model import Int64Array
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.rows import Kind, Layout

_TABLES: Final = Path(__file__).with_name("sql_tick_tables.sql").read_text()
_STATEMENT: Final = Path(__file__).with_name("sql_tick.sql").read_text()
_READ_ONLY: Final = Path(__file__).with_name("sql_tick_read_only.sql").read_text()
_INDEXES: Final = (
    "ALTER TABLE position ADD PRIMARY KEY (account_id, symbol_id)",
    "CREATE INDEX ON position (symbol_id) INCLUDE (account_id)",
    "VACUUM ANALYZE",
)


class Database:
    """The world in tables."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, world: World) -> AsyncIterator["Database"]:
        """A PostgreSQL that holds a world."""
        with tempfile.TemporaryDirectory() as folder:
            async with EmbeddedPostgres(Path(folder) / "postgres", durable=False) as dsn:
                connection = await asyncpg.connect(dsn)
                await connection.execute(_TABLES)
                database = cls(connection)
                await database._fill(world)
                for statement in _INDEXES:
                    await connection.execute(statement)
                yield database
                await connection.close()

    async def tick(
        self, symbol: Int64Array, price_cents: Int64Array, *, read_only: bool = False
    ) -> list[asyncpg.Record]:
        """Snapshots of all accounts that hold one of some symbols, at their new prices."""
        statement = _READ_ONLY if read_only else _STATEMENT
        return await self._connection.fetch(statement, symbol.tolist(), price_cents.tolist())

    async def set_marks(self, symbol: Int64Array, price_cents: Int64Array) -> None:
        """Have later ticks know the prices of this one."""
        await self._connection.executemany(
            "UPDATE mark SET price_cents = $2 WHERE symbol_id = $1",
            list(zip(symbol.tolist(), price_cents.tolist(), strict=True)),
        )

    async def _fill(self, world: World) -> None:
        basis = np.zeros(world.size.accounts, np.int64)
        np.add.at(basis, world.position_account, world.basis_cents)
        account_id = np.arange(1, world.size.accounts + 1)
        await self._copy("account", account_id, world.cash_cents, world.cash_cents + basis)
        await self._copy(
            "position", world.position_account + 1, world.position_symbol, world.quantity_bp, world.basis_cents
        )
        await self._copy("mark", np.arange(world.size.symbols), world.price_cents)
        await self._connection.execute("INSERT INTO latest (account_id) SELECT account_id FROM account")

    async def _copy(self, table: str, *columns: Int64Array) -> None:
        layout = Layout({f"column_{index}": Kind.INT8 for index in range(len(columns))})
        file = BytesIO(b"".join(layout.encode_file(columns)))
        await self._connection.copy_to_table(table, source=file, format="binary")
