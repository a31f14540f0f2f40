"""
Rows of history into PostgreSQL: a flush as EVS writes it, against a bare binary COPY of the same rows (``copy/bare``).

Ours is ``PostgresStore.write``: the row of ``evs.engine`` locked and advanced, the watermark and its digests, the rows
encoded and copied, one commit. The yardstick copies ready-made bytes of the same rows into the same table and does
nothing else. Both run in this process on one embedded PostgreSQL that does not wait for the disk, in turn, so that the
table grows alike under both. A flush is that of a *price tick*: rows alone; ``copy/bare/with_state`` is one in which
every account has also traded. Left out: durability of the disk, and other writers.
"""

import contextlib
import operator
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np

from bench.command import run
from bench.harness import Result, Sample, play_async, result
from bench.serving import an_exchange
from bench.yardsticks import copies
from evs_server.model import (
    AccountColumns,
    EngineMeta,
    EngineState,
    Flush,
    MarkColumns,
    PositionColumns,
    SettlementColumns,
    UnannouncedColumns,
    Valuation,
    Watermark,
)
from evs_server.store import rows
from evs_server.store.partitions import make_partitions
from evs_server.store.postgres import PostgresStore

ROUNDS = 7
ROWS = 50_000
"""Rows of a flush: a tick that moves as many accounts."""
FEW_ROWS = 1_000
"""Rows of a round in which each is a statement of its own."""
POSITIONS_PER_ACCOUNT = 2
NOW_MS = 1_790_000_000_000

Write = Callable[[Valuation], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Side:
    """One way of writing a pass, and what it needs made beforehand."""

    write: Callable[[Any], Awaitable[None]]
    prepare: Callable[[Valuation], Any]


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure ours against each other way; the results."""
    async with _database() as (store, connection):
        table = Table(store, connection)
        bare, records, inserts = table.bare(), table.records(copies.copy_records), table.records(copies.insert_each)
        fewer = max(3, rounds // 2)
        return [
            *await table.case("copy/bare", table.ours(), bare, rounds),
            *await table.case("copy/bare/with_state", table.ours(with_state=True), bare, fewer),
            *await table.case("copy/records", table.ours(), records, fewer),
            *await table.case("copy/insert", table.ours(), inserts, fewer, row_count=FEW_ROWS),
        ]


@contextlib.asynccontextmanager
async def _database() -> AsyncIterator[tuple[PostgresStore, Any]]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = await stack.enter_async_context(an_exchange(folder, 1))
        store = await PostgresStore.open(dsn)
        stack.push_async_callback(store.close)
        await make_partitions(store.database, NOW_MS)
        connection = await asyncpg.connect(dsn)
        stack.push_async_callback(connection.close)
        await store.recover()
        yield store, connection


class Table:
    """The table that both sides write to, and the passes they write."""

    def __init__(self, store: PostgresStore, connection: Any) -> None:
        self._store = store
        self._connection = connection
        self._version = 0
        self._flush_number = 0
        self._sequence = 0

    async def case(self, name: str, ours: Side, yardstick: Side, rounds: int, *, row_count: int = ROWS) -> list[Result]:
        """Both sides write as many rows, of the same numbers but for the version; time and processor of one row."""

        def one(side: Side) -> Callable[[int], Awaitable[Sample]]:
            async def sample(number: int) -> Sample:
                self._version += 1
                valuation = a_pass(self._version, number, row_count)
                prepared = side.prepare(valuation)
                cpu, began = time.process_time(), time.perf_counter()
                await side.write(prepared)
                seconds, spent = time.perf_counter() - began, time.process_time() - cpu
                return Sample(seconds / row_count, await self._written(valuation.version), spent / row_count)

            return sample

        played = await play_async(name, one(ours), one(yardstick), rounds=rounds)
        took = result(name, played, unit="us")
        rates = f"{1e6 / took.ours:,.0f} rows a second, {1e6 / took.yardstick:,.0f} the other way"
        cpu = operator.attrgetter("cpu")
        return [
            replace(took, note=f"per row; flushes of {row_count:,}: {rates}"),
            result(f"{name}/client_cpu", played, unit="us", note="per row, processor of the client", cost=cpu),
        ]

    def ours(self, *, with_state: bool = False) -> Side:
        """A flush, through the store."""

        def prepare(valuation: Valuation) -> Flush:
            self._flush_number += 1
            self._sequence += 1_001
            digest = np.arange(self._sequence - 1_000, self._sequence + 1, dtype=np.uint64)
            state = state_of(valuation) if with_state else state_of(a_pass(valuation.version, 0, 0))
            watermark = Watermark("bench", 1, self._sequence, self._sequence - 1_000, digest)
            return Flush(
                self._flush_number, 1_001, state, (valuation,), (watermark,), SettlementColumns.empty(),
                UnannouncedColumns.empty(), UnannouncedColumns.empty(),
            )  # fmt: skip

        return Side(self._store.write, prepare)

    def bare(self) -> Side:
        """A binary COPY of bytes that are ready."""

        async def write(file: bytes) -> None:
            await copies.bare_copy(self._connection, rows.EQUITY.names, file)

        return Side(write, lambda valuation: b"".join(rows.encode_valuations([valuation])))

    def records(self, write: Callable[..., Awaitable[None]]) -> Side:
        """Rows as Python has them, by one of the driver's ways."""

        async def write_records(records: list[tuple[Any, ...]]) -> None:
            await write(self._connection, rows.EQUITY.names, records)

        return Side(write_records, records_of)

    async def _written(self, version: int) -> tuple[int, ...]:
        sums = "count(*), sum(total_equity)::bigint, sum(net_flow)::bigint"
        query = f"SELECT {sums} FROM equity_timeseries WHERE version = $1"  # noqa: S608 -- our own words
        return tuple(await self._connection.fetchrow(query, version))


def a_pass(version: int, number: int, row_count: int) -> Valuation:
    """A pass of as many accounts; equal numbers give equal rows but for the version."""
    account_id = np.arange(1, row_count + 1)
    cash = (account_id * 7_919 + number * 104_729) % 100_000_000
    value = (account_id * 15_485_863 + number) % 200_000_000 - 50_000_000
    unrealized = value // 7
    return Valuation(
        version=version,
        tick=version,
        timestamp_ms=NOW_MS + version,
        columns=np.array(
            (account_id, cash + value, cash, value, value // 3, value % 2_000_000 - 1_000_000, unrealized, cash // 5,
             cash + value - unrealized - cash // 5, account_id % 2)
        ),
    )  # fmt: skip


def state_of(valuation: Valuation) -> EngineState:
    """What a flush carries besides the rows if every account of the pass has traded."""
    account_id, zero = valuation.account_id, np.zeros(len(valuation), np.int64)
    accounts = AccountColumns(
        account_id, valuation.cash_cents, valuation.net_flow_cents, valuation.realized_cents, zero, zero, zero, zero
    )
    owner = np.repeat(account_id, POSITIONS_PER_ACCOUNT)
    symbol = np.tile(np.arange(POSITIONS_PER_ACCOUNT), len(valuation))
    quantity = np.full(len(owner), 10_000 * valuation.version)
    # What they hold does not matter to the database, only that it is new to it.
    held = (quantity,) * 3
    positions = PositionColumns(owner, symbol, *held, *held, updated_ms=quantity, listed=quantity // quantity)
    meta = EngineMeta(valuation.version, valuation.tick, NOW_MS, tick_time_ms=NOW_MS)
    return EngineState(meta, accounts, positions, MarkColumns.empty())


def records_of(valuation: Valuation) -> list[tuple[Any, ...]]:
    """Rows of a pass as the driver takes them."""
    moment = datetime.fromtimestamp(valuation.timestamp_ms / 1_000, UTC)
    columns = [column.tolist() for column in rows.equity_columns([valuation])]
    names = rows.EQUITY.names
    columns[names.index("timestamp")] = [moment] * len(valuation)
    percent = names.index("day_change_percent")
    columns[percent] = [Decimal(each).scaleb(-4) for each in columns[percent]]
    return list(zip(*columns, strict=True))


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
