"""
One account's stored valuations, read in the order of time and version.

Lives here: how many read at once, and rows turned into columns. Not here: statements (``queries.sql``), buckets and
bars (``history``). Touches the network through ``Database``.

Every statement goes along the primary key of the partitions that it needs and stops at its limit, so that it costs what
it reads, whatever else is in the table. Where a bucket has many rows they are summed up by the server: shipping a row
costs about as much as summing it up, but it costs us the time of the event loop.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from evs_server.errors import Overloaded
from evs_server.model import Int64Array, StretchColumns, Stride
from evs_server.store.database import Database, copy_out
from evs_server.store.queries import QUERIES
from evs_server.store.rows import Kind, Layout

READERS_MAX: Final = 2
"""Statements at one time: the other shared connections are for those who look up accounts."""
WAIT_SECONDS: Final = 10.0
"""How long to wait for one's turn."""

_AMOUNTS: Final = ("version", "total_equity", "realized_pnl", "net_flow")
_ROW: Final = Layout({"timestamp": Kind.TIMESTAMP} | dict.fromkeys(_AMOUNTS, Kind.INT8))
_STRETCH: Final = Layout.of(StretchColumns, first_ms=Kind.TIMESTAMP, last_ms=Kind.TIMESTAMP)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class StoredHistory:
    """
    A ``ports.HistoryReader`` in PostgreSQL; whoever opened the database closes it.

    Args:
        database: A migrated one.
    """

    def __init__(self, database: Database) -> None:
        self._database: Final = database
        self._turn = asyncio.Semaphore(READERS_MAX)

    async def read_stretches(
        self, account_id: int, after: tuple[int, int], until_ms: int, rows_max: int, stride: Stride | None
    ) -> StretchColumns:
        """
        The next rows after a time and version, summed up by the steps of a stride.

        Raises:
            Overloaded: If too many readers wait.
            StoreUnavailable: If the database is away.
        """
        after_ms, version = after
        given = (account_id, _moment(after_ms), version, _moment(until_ms), rows_max)
        if stride is None:
            return single_rows(await self._read(_ROW, "history_rows", *given))
        steps = (timedelta(milliseconds=stride.width_ms), _moment(stride.origin_ms))
        return StretchColumns(*await self._read(_STRETCH, "history_stretches", *given, *steps))

    async def read_newest(self, account_id: int, until_ms: int) -> StretchColumns:
        """
        The newest row that is older than ``until_ms``; none if there is none.

        Raises:
            Overloaded: If too many readers wait.
            StoreUnavailable: If the database is away.
        """
        return single_rows(await self._read(_ROW, "history_newest", account_id, _moment(until_ms)))

    async def _read(self, layout: Layout, query: str, *arguments: object) -> list[Int64Array]:
        async with self._turn_taken(), self._database.transaction("read history") as connection:
            await connection.execute(QUERIES["plan_along_the_key"])
            return await copy_out(connection, layout, QUERIES[query], *arguments)

    @asynccontextmanager
    async def _turn_taken(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise Overloaded(
                f"others read history, and {WAIT_SECONDS:.0f} s of waiting for one's turn were not enough; try again",
                bound=WAIT_SECONDS,
            ) from None
        try:
            yield
        finally:
            self._turn.release()


def single_rows(columns: list[Int64Array]) -> StretchColumns:
    """
    Rows as stretches.

    Args:
        columns: Time, version, equity, realized and net flow of each row.
    """
    time_ms, version, equity, realized, net_flow = columns
    return StretchColumns(
        first_ms=time_ms,
        last_ms=time_ms,
        version=version,
        open_cents=equity,
        high_cents=equity,
        low_cents=equity,
        last_cents=equity,
        realized_cents=realized,
        net_flow_cents=net_flow,
        row_count=np.ones(len(time_ms), np.int64),
    )


def _moment(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)
