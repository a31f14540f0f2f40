"""
The parts of one flush, written within its transaction.

Lives here: which table gets what. Not here: whether the flush may be written, and its commit (``postgres``). Touches
the network through the connection it is handed.

State goes through staging tables in binary copies: as arrays in parameters, 200,000 positions would hold up the event
loop for 0.3 s; copied, they take an eighth of that, in slices, and the server is done in two thirds of the time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import asyncpg
import numpy as np

from evs_server.limits import DIGESTS_KEPT, SETTLEMENTS_KEPT
from evs_server.model import (
    Columns,
    Flush,
    Int64Array,
    NewcomerColumns,
    ParkedColumns,
    SettlementColumns,
    UnannouncedColumns,
    Valuation,
    Watermark,
)
from evs_server.store import rows
from evs_server.store.database import copy_in
from evs_server.store.merge import column_arrays, newcomers_kept_since_ms, tail
from evs_server.store.queries import QUERIES

if TYPE_CHECKING:
    from evs_server.store.database import Connection

# Copied straight into their tables: the rows themselves say whose slice they are of.
_LATEST: Final = rows.LATEST.of_slice()
_PARKED: Final = rows.PARKED.of_slice()
_SETTLEMENT: Final = rows.SETTLEMENT.of_slice()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def write_parts(connection: "Connection", flush: Flush, engine: asyncpg.Record) -> None:
    """
    Write everything that a flush carries, and its number.

    Args:
        connection: Within the flush's transaction.
        flush: Not yet committed.
        engine: The row of ``evs.engine`` of the slice, locked by this transaction.
    """
    await write_rows(connection, flush.rows)
    await write_all_but_rows(connection, flush, engine)


async def write_all_but_rows(connection: "Connection", flush: Flush, engine: asyncpg.Record) -> None:
    """The same, but for the rows of history."""
    shard: int = engine["shard"]
    await _merge(connection, "account", rows.ACCOUNT, flush.state.accounts, shard)
    await _merge(connection, "position", rows.POSITION, flush.state.positions, shard)
    await _merge(connection, "mark", rows.MARK, flush.state.marks, shard)
    await _merge(connection, "unannounced", rows.UNANNOUNCED, flush.unannounced_added, shard)
    await _remove_unannounced(connection, flush.unannounced_removed)
    await _merge_newcomers(connection, flush.newcomers, shard)
    await _change_parked(connection, flush.parked_added, flush.parked_removed, shard)
    await _merge(connection, "correction", rows.CORRECTION, flush.corrections)
    await _write_watermarks(connection, flush.watermarks, shard)
    settlement_count = await _append_settlements(connection, flush.settlements, engine["settlement_count"], shard)
    latest_version = None
    if flush.latest is not None:
        await connection.execute(QUERIES["clear_latest"], shard)
        await _append(connection, "latest", _LATEST, column_arrays(flush.latest), shard)
        # Not the version of the meta: merged flushes may carry rows that are newer than the checkpoint among them.
        latest_version = int(flush.latest.version.max(initial=0))
    meta = flush.state.meta
    await connection.execute(
        QUERIES["advance_engine"],
        shard,
        flush.number,
        meta.version,
        meta.tick,
        meta.session_start_ms,
        meta.tick_time_ms,
        latest_version,
        settlement_count,
        flush.event_count,
        _rows_since(flush.rows, latest_version or 0),
    )


async def write_rows(connection: "Connection", valuations: Sequence[Valuation]) -> None:
    """Append the rows of some passes to the history."""
    if valuations:
        await copy_in(connection, None, "equity_timeseries", rows.EQUITY, rows.encode_valuations(valuations))


def _rows_since(valuations: Sequence[Valuation], latest_version: int) -> datetime | None:
    """The earliest time of the rows that are newer than a checkpoint: from there on a start looks for them."""
    since_ms = min(
        (each.timestamp_ms for each in valuations if each.version > latest_version and len(each)), default=None
    )
    return None if since_ms is None else _EPOCH + timedelta(milliseconds=since_ms)


async def _merge(connection: "Connection", table: str, layout: rows.Layout, columns: Columns, *whose: int) -> None:
    if len(columns):
        await copy_in(connection, None, f"staged_{table}", layout, layout.encode_file(column_arrays(columns)))
        await connection.execute(QUERIES[f"merge_{table}"], *whose)


async def _append(
    connection: "Connection", table: str, layout: rows.Layout, columns: Sequence[Int64Array], shard: int
) -> None:
    whose = np.broadcast_to(np.int64(shard), len(columns[0]))
    await copy_in(connection, "evs", table, layout, layout.encode_file([*columns, whose]))


async def _merge_newcomers(connection: "Connection", newcomers: NewcomerColumns, shard: int) -> None:
    if len(newcomers):
        await _merge(connection, "newcomer", rows.NEWCOMER, newcomers, shard)
        await connection.execute(QUERIES["trim_newcomers"], shard, newcomers_kept_since_ms(newcomers))


async def _remove_unannounced(connection: "Connection", gone: UnannouncedColumns) -> None:
    if len(gone):
        await connection.execute(QUERIES["remove_unannounced"], gone.account_id.tolist(), gone.trade_id.tolist())


async def _change_parked(connection: "Connection", added: ParkedColumns, removed: ParkedColumns, shard: int) -> None:
    if len(added):
        await _append(connection, "parked", _PARKED, column_arrays(added), shard)
    if len(removed):
        await connection.execute(QUERIES["remove_parked"], shard, removed.parked_id.tolist())


async def _write_watermarks(connection: "Connection", watermarks: Sequence[Watermark], shard: int) -> None:
    if not watermarks:
        return
    await connection.executemany(
        QUERIES["merge_source"], [(shard, mark.source, mark.epoch, mark.applied_sequence) for mark in watermarks]
    )
    chunks = [(shard, *_digest_chunk(mark)) for mark in watermarks if len(mark.digest)]
    if chunks:
        await connection.executemany(QUERIES["add_digests"], chunks)
    await connection.executemany(
        QUERIES["trim_digests"],
        [(shard, mark.source, mark.epoch, mark.applied_sequence - DIGESTS_KEPT) for mark in watermarks],
    )


def _digest_chunk(mark: Watermark) -> tuple[str, int, int, int, bytes]:
    digest = mark.digest[-DIGESTS_KEPT:]
    first_sequence = mark.applied_sequence - len(digest) + 1
    return mark.source, mark.epoch, first_sequence, mark.applied_sequence, digest.astype("<u8").tobytes()


async def _append_settlements(connection: "Connection", settlements: SettlementColumns, count: int, shard: int) -> int:
    """Remember settlement ids, numbered without a gap; the count of all ever remembered."""
    total = count + len(settlements)
    if len(settlements):
        kept = tail(settlements, SETTLEMENTS_KEPT)
        ordinal = np.arange(total - len(kept) + 1, total + 1)
        await _append(connection, "settlement", _SETTLEMENT, [ordinal, *column_arrays(kept)], shard)
        await connection.execute(QUERIES["trim_settlements"], shard, total - SETTLEMENTS_KEPT)
    return total
