"""
The store in PostgreSQL: state read at a start, flushes written whole, the exchange's tables read when asked.

Lives here: the transactions. Not here: what is read within them (``recovery``) and written (``commit``), who may write
and with whom (``joint``), SQL (``queries.sql``), connections and their failures (``database``), retries (``writer``).

Every flush locks its slice's row of ``evs.engine`` first; the whole exchange is a slice, too. In that row stand the
last committed flush, so that a commit whose answer was lost is recognised by the retry, and the start that may write,
so that a process which another has replaced is turned away: both are decided while nobody else can change them.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Self

import asyncpg

from evs_server.cluster.shards import WHOLE
from evs_server.limits import IMPORT_TRADES_MAX
from evs_server.model import ExchangeAccount, ExchangeImport, Flush, Recovered, SettledTrade, Side
from evs_server.store import rows
from evs_server.store.commit import SliceFlush
from evs_server.store.database import BULK_SECONDS, TRANSACTION_SECONDS, Database, copy_out
from evs_server.store.joint import Due, Writing, commit, fence, lock_engines
from evs_server.store.merge import row_count
from evs_server.store.poison import SetAside, read_set_aside, write_sifted
from evs_server.store.queries import QUERIES
from evs_server.store.recovery import read_recovered, take_start

_SIFTED_ROWS_PER_SECOND_MIN: Final = 1_250
"""A transaction that sifts gets a second more for as many rows: it writes them about twice, in ever smaller parts."""

logger = logging.getLogger(__name__)

_PAIR: Final = rows.Layout({"first": rows.Kind.INT8, "second": rows.Kind.INT8})
_HELD: Final = rows.Layout(dict.fromkeys(("account_id", "symbol_id", "quantity", "avg_cost"), rows.Kind.INT8))


class PostgresStore:
    """
    A ``ports.Store`` in PostgreSQL 15 or newer.

    Args:
        database: A migrated one; whoever opened it closes it, or has ``close`` do it.
        shard: Whose state: ``WHOLE`` is the exchange, 0 and on a virtual shard or their keeper.
        writing: Where flushes are committed, if not on the database's own connection for that: an ``Ownership``.
        committing: Who commits them, if not in a transaction for each: a ``JointCommits``.
    """

    def __init__(
        self,
        database: Database,
        *,
        shard: int = WHOLE,
        writing: Writing | None = None,
        committing: Callable[[Due], Awaitable[None]] | None = None,
    ) -> None:
        self.database: Final = database
        self.shard: Final = shard
        self._writing: Final = writing or _own_connection(database)
        self._committing: Final = committing or self._commit_alone
        self._start_number = 0

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """
        Connect.

        Args:
            dsn: URL of a migrated database.

        Raises:
            ConfigError: If the URL cannot be read.
            StoreUnavailable: If the database is away; try again.
        """
        return cls(await Database.open(dsn))

    async def close(self) -> None:
        """Let go of all connections."""
        await self.database.close()

    async def recover(self) -> Recovered:
        """
        Take a start number of our own and read all state of the slice as of one moment.

        Raises:
            ConfigError: If the database's state is whole and this is a slice, or the other way.
            Fenced: If yet another start took over in between.
            StoreUnavailable: If the database is away; try again.
        """
        async with self._writing("take a start number", TRANSACTION_SECONDS) as connection:
            start_number = await take_start(connection, self.shard)
        self._start_number = start_number
        async with self.database.transaction("read the state", snapshot=True, seconds=BULK_SECONDS) as connection:
            engine = self._own_engine(await connection.fetchrow(QUERIES["read_engine"], self.shard))
            return await read_recovered(connection, engine)

    async def read_exchange(self) -> ExchangeImport:
        """
        All of the exchange's tables as of one moment; prices are those of each symbol's newest trade.

        A slice gets its own accounts, and all prices.

        Raises:
            StoreUnavailable: If the database is away; try again.
        """
        async with self.database.transaction("read the exchange", snapshot=True, seconds=BULK_SECONDS) as connection:
            accounts = await copy_out(connection, _PAIR, QUERIES["import_accounts"], self.shard)
            positions = await copy_out(connection, _HELD, QUERIES["import_positions"], self.shard)
            prices = await copy_out(connection, _PAIR, QUERIES["import_prices"])
            recent = await copy_out(connection, _PAIR, QUERIES["import_recent"], self.shard, IMPORT_TRADES_MAX)
        return ExchangeImport(*accounts, *positions, *prices, *recent)

    async def read_accounts(self, account_ids: Collection[int]) -> Mapping[int, ExchangeAccount]:
        """
        Those of the accounts that exist, with all their trades in order, as of one moment.

        Raises:
            StoreUnavailable: If the database is away.
        """
        ids = list(account_ids)
        async with self.database.transaction("read accounts", snapshot=True) as connection:
            accounts = await connection.fetch(QUERIES["exchange_accounts"], ids)
            trades = await connection.fetch(QUERIES["exchange_trades"], ids)
        settled = settled_trades(trades)
        return {
            account["id"]: ExchangeAccount(
                account["id"], account["cash_cents"], tuple(settled.get(account["id"], ())), account["changed"]
            )
            for account in accounts
        }

    async def write(self, flush: Flush) -> None:
        """
        Commit one flush, whole, once: a number that is already committed changes nothing.

        Raises:
            Fenced: If a newer start has taken over. Whether this flush was committed before that is then not said.
            StoreUnavailable: If it is not known to be committed; write it again.
        """
        assert self._start_number, "recover comes before write"
        await self._committing(Due(self.shard, self._start_number, flush))

    async def write_sifted(self, flush: Flush) -> Sequence[SetAside]:
        """
        Commit one flush as ``write`` does, but for the rows that the database refuses: those are set aside.

        Returns:
            What was set aside of it, now or when it was committed.

        Raises:
            Fenced: If a newer start has taken over.
            StoreUnavailable: If it is not known to be committed; write it again.
        """
        assert self._start_number, "recover comes before write"
        seconds = TRANSACTION_SECONDS + row_count(flush) // _SIFTED_ROWS_PER_SECOND_MIN
        what = f"sift flush {flush.number}"
        async with self._writing(what, seconds) as connection:
            engine = self._own_engine((await lock_engines(connection, [self.shard]))[self.shard])
            if engine["flush_number"] >= flush.number:
                return await read_set_aside(connection, flush.number, self.shard)
            return await write_sifted(connection, SliceFlush(engine, flush))

    async def _commit_alone(self, due: Due) -> None:
        [fenced] = await commit(self._writing, [due])
        if fenced is not None:
            raise fenced

    def _own_engine(self, engine: asyncpg.Record | None) -> asyncpg.Record:
        assert engine is not None, "a start puts the slice's row into evs.engine, and nobody deletes it"
        fenced = fence(engine, self._start_number)
        if fenced is not None:
            raise fenced
        return engine


def _own_connection(database: Database) -> Writing:
    return lambda what, seconds: database.transaction(what, seconds=seconds, writer=True)


def settled_trades(rows: Iterable[asyncpg.Record]) -> dict[int, list[SettledTrade]]:
    """Rows of ``exchange_trades`` by account, in order; one that cannot be a trade is left out, loudly."""
    trades: dict[int, list[SettledTrade]] = {}
    sides = {"BUY": Side.BUY, "SELL": Side.SELL}
    for row in rows:
        side, quantity_bp, price_cents = sides.get(row["side"]), row["quantity"] or 0, row["price"] or 0
        if side is None or quantity_bp <= 0 or price_cents <= 0:
            logger.error(
                "trade %d of account %d cannot be one and is left out: side %r (expected BUY or SELL), quantity %d bp"
                " and price %d cents (expected above 0)",
                *(row["id"], row["account_id"], row["side"], quantity_bp, price_cents),
            )
            continue
        trade = SettledTrade(row["id"], row["symbol_id"], side, quantity_bp, price_cents)
        trades.setdefault(row["account_id"], []).append(trade)
    return trades
