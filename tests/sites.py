"""
Databases of each kind as the store's tests see them: opened by several processes, and changed by the exchange.
"""

from collections.abc import Sequence
from typing import Protocol

import asyncpg

from evs_server.clock import SystemClock
from evs_server.model import SettledTrade, Side
from evs_server.ports import Store
from evs_server.store.database import Database
from evs_server.store.joint import JointCommits
from evs_server.store.memory import ExchangeTrade, MemoryStore, Tables
from evs_server.store.ownership import Ownership
from evs_server.store.postgres import PostgresStore
from evs_server.works import Works

SECONDS = 30
Trade = tuple[int, int, int, str, int, int]
"""Trade, account, symbol, side, quantity and price; in the order of time."""


class Site(Protocol):
    """One database."""

    async def open(self) -> Store: ...

    async def fill_exchange(
        self,
        balances: dict[int, int | None],
        positions: dict[tuple[int, int], tuple[int, int]],
        trades: Sequence[Trade],
    ) -> None: ...

    async def row_versions(self) -> list[tuple[int, int]]: ...


class MemorySite:
    def __init__(self) -> None:
        self.tables = Tables()

    async def open(self) -> Store:
        return MemoryStore(self.tables)

    async def fill_exchange(
        self,
        balances: dict[int, int | None],
        positions: dict[tuple[int, int], tuple[int, int]],
        trades: Sequence[Trade],
    ) -> None:
        self.tables.balances_cents.update(balances)
        self.tables.positions.update(positions)
        for trade_id, account_id, symbol_id, side, quantity_bp, price_cents in trades:
            trade = SettledTrade(trade_id, symbol_id, Side[side.upper()], quantity_bp, price_cents)
            self.tables.trades.append(ExchangeTrade(account_id, trade))

    async def row_versions(self) -> list[tuple[int, int]]:
        found = [(int(key), row.version) for row in self.tables.rows for key in row.account_id]
        return sorted(found)


class PostgresSite:
    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.stores: list[Store] = []

    async def open(self) -> Store:
        self.stores.append(await PostgresStore.open(self.dsn))
        return self.stores[-1]

    async def fill_exchange(
        self,
        balances: dict[int, int | None],
        positions: dict[tuple[int, int], tuple[int, int]],
        trades: Sequence[Trade],
    ) -> None:
        connection = await asyncpg.connect(self.dsn, timeout=SECONDS)
        await connection.executemany(
            "INSERT INTO accounts (id, currency_balance) VALUES ($1, $2)", list(balances.items()), timeout=SECONDS
        )
        await connection.executemany(
            "INSERT INTO positions (account_id, symbol_id, quantity, avg_cost) VALUES ($1, $2, $3, $4)",
            [(*key, *value) for key, value in positions.items()],
            timeout=SECONDS,
        )
        await connection.executemany(
            "INSERT INTO trades (id, account_id, symbol_id, side, quantity, price, timestamp, order_id)"
            " VALUES ($1, $2, $3, $4, $5, $6, now()::timestamp + make_interval(secs => $7::int), 1)",
            [(*trade, seconds) for seconds, trade in enumerate(trades)],
            timeout=SECONDS,
        )
        await connection.close(timeout=SECONDS)

    async def close(self) -> None:
        """Let go of what was opened."""
        for store in self.stores:
            await store.close()

    async def row_versions(self) -> list[tuple[int, int]]:
        connection = await asyncpg.connect(self.dsn, timeout=SECONDS)
        found = await connection.fetch(
            "SELECT account_id, version FROM equity_timeseries ORDER BY 1, 2", timeout=SECONDS
        )
        await connection.close(timeout=SECONDS)
        return [(row["account_id"], row["version"]) for row in found]


class SliceSite(PostgresSite):
    """A database whose accounts are all of one virtual shard, kept by workers."""

    SHARD = 5

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.ownerships: list[Ownership] = []
        self.works = Works()

    async def open(self) -> Store:
        if not self.stores:
            await self._have_one_shard()
        number = len(self.stores)
        ownership = Ownership(self.dsn, name=f"worker {number}", on_lost=_nothing, on_gone=_nothing)
        self.ownerships.append(ownership)
        await ownership.join()
        database = await Database.open(self.dsn)
        joint = JointCommits(ownership.transaction, SystemClock())
        self.works.start("commits", joint.run())
        self.stores.append(
            PostgresStore(database, shard=self.SHARD, writing=ownership.transaction, committing=joint.write)
        )
        return self.stores[-1]

    async def close(self) -> None:
        await self.works.stop(SECONDS)
        await super().close()
        for ownership in self.ownerships:
            await ownership.close()

    async def _have_one_shard(self) -> None:
        connection = await asyncpg.connect(self.dsn, timeout=SECONDS)
        await connection.execute(
            "CREATE OR REPLACE FUNCTION evs.shard_of(account_id BIGINT) RETURNS SMALLINT"
            f" LANGUAGE sql IMMUTABLE RETURN {self.SHARD}::smallint",
            timeout=SECONDS,
        )
        await connection.close(timeout=SECONDS)


def _nothing(*_: object) -> None:
    """Nobody in these tests loses a connection."""
