"""
The parts of one flush, written within its transaction.

Lives here: which table gets what. Not here: whether the flush may be written, and its commit (``postgres``). Touches
the network through the connection it is handed.

State goes through staging tables in binary copies: as arrays in parameters, 200,000 positions would hold up the event
loop for 0.3 s; copied, they take an eighth of that, in slices, and the server is done in two thirds of the time.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
import numpy as np

from evs_server.limits import DIGESTS_KEPT, SETTLEMENTS_KEPT
from evs_server.model import (
    Columns,
    Flush,
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


async def write_parts(connection: "Connection", flush: Flush, engine: asyncpg.Record) -> None:
    """
    Write everything that a flush carries, and its number.

    Args:
        connection: Within the flush's transaction.
        flush: Not yet committed.
        engine: The row of ``evs.engine``, locked by this transaction.
    """
    await write_rows(connection, flush.rows)
    await _merge(connection, "account", rows.ACCOUNT, flush.state.accounts)
    await _merge(connection, "position", rows.POSITION, flush.state.positions)
    await _merge(connection, "mark", rows.MARK, flush.state.marks)
    await _merge(connection, "unannounced", rows.UNANNOUNCED, flush.unannounced_added)
    await _remove_unannounced(connection, flush.unannounced_removed)
    await _merge_newcomers(connection, flush.newcomers)
    await _change_parked(connection, flush.parked_added, flush.parked_removed)
    await _merge(connection, "correction", rows.CORRECTION, flush.corrections)
    await _write_watermarks(connection, flush.watermarks)
    settlement_count = await _append_settlements(connection, flush.settlements, engine["settlement_count"])
    latest_version = None
    if flush.latest is not None:
        await connection.execute(QUERIES["clear_latest"])
        file = rows.LATEST.encode_file(column_arrays(flush.latest))
        await copy_in(connection, "evs", "latest", rows.LATEST, file)
        # Not the version of the meta: merged flushes may carry rows that are newer than the checkpoint among them.
        latest_version = int(flush.latest.version.max(initial=0))
    meta = flush.state.meta
    await connection.execute(
        QUERIES["advance_engine"],
        flush.number,
        meta.version,
        meta.tick,
        meta.session_start_ms,
        meta.tick_time_ms,
        latest_version,
        settlement_count,
        flush.event_count,
    )


async def write_rows(connection: "Connection", valuations: Sequence[Valuation]) -> None:
    """Append the rows of some passes to the history."""
    if valuations:
        await copy_in(connection, None, "equity_timeseries", rows.EQUITY, rows.encode_valuations(valuations))


async def _merge(connection: "Connection", table: str, layout: rows.Layout, columns: Columns) -> None:
    if len(columns):
        await copy_in(connection, None, f"staged_{table}", layout, layout.encode_file(column_arrays(columns)))
        await connection.execute(QUERIES[f"merge_{table}"])


async def _merge_newcomers(connection: "Connection", newcomers: NewcomerColumns) -> None:
    if len(newcomers):
        await _merge(connection, "newcomer", rows.NEWCOMER, newcomers)
        await connection.execute(QUERIES["trim_newcomers"], newcomers_kept_since_ms(newcomers))


async def _remove_unannounced(connection: "Connection", gone: UnannouncedColumns) -> None:
    if len(gone):
        await connection.execute(QUERIES["remove_unannounced"], gone.account_id.tolist(), gone.trade_id.tolist())


async def _change_parked(connection: "Connection", added: ParkedColumns, removed: ParkedColumns) -> None:
    if len(added):
        await copy_in(connection, "evs", "parked", rows.PARKED, rows.PARKED.encode_file(column_arrays(added)))
    if len(removed):
        await connection.execute(QUERIES["remove_parked"], removed.parked_id.tolist())


async def _write_watermarks(connection: "Connection", watermarks: Sequence[Watermark]) -> None:
    if not watermarks:
        return
    await connection.executemany(
        QUERIES["merge_source"], [(mark.source, mark.epoch, mark.applied_sequence) for mark in watermarks]
    )
    chunks = [_digest_chunk(mark) for mark in watermarks if len(mark.digest)]
    if chunks:
        await connection.executemany(QUERIES["add_digests"], chunks)
    await connection.executemany(
        QUERIES["trim_digests"],
        [(mark.source, mark.epoch, mark.applied_sequence - DIGESTS_KEPT) for mark in watermarks],
    )


def _digest_chunk(mark: Watermark) -> tuple[str, int, int, int, bytes]:
    digest = mark.digest[-DIGESTS_KEPT:]
    first_sequence = mark.applied_sequence - len(digest) + 1
    return mark.source, mark.epoch, first_sequence, mark.applied_sequence, digest.astype("<u8").tobytes()


async def _append_settlements(connection: "Connection", settlements: SettlementColumns, count: int) -> int:
    """Remember settlement ids, numbered without a gap; the count of all ever remembered."""
    total = count + len(settlements)
    if len(settlements):
        kept = tail(settlements, SETTLEMENTS_KEPT)
        ordinal = np.arange(total - len(kept) + 1, total + 1)
        file = rows.SETTLEMENT.encode_file([ordinal, *column_arrays(kept)])
        await copy_in(connection, "evs", "settlement", rows.SETTLEMENT, file)
        await connection.execute(QUERIES["trim_settlements"], total - SETTLEMENTS_KEPT)
    return total
