"""
The parts of flushes, written within their transaction: of one, or of several slices together.

Lives here: which table gets what. Not here: whether a flush may be written, and its commit (``joint``). Touches the
network through the connection it is handed.

State goes through staging tables in binary copies: as arrays in parameters, 200,000 positions would hold up the event
loop for 0.3 s; copied, they take an eighth of that, in slices, and the server is done in two thirds of the time. What
several slices have for a table goes in one copy, and is merged by one statement. What is rare is a statement a slice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncpg
import numpy as np

from evs_server.cluster.shards import LOG, WHOLE
from evs_server.limits import DIGESTS_KEPT, SETTLEMENTS_KEPT
from evs_server.model import Columns, Flush, Int64Array, NewcomerColumns, UnannouncedColumns, Valuation, Watermark
from evs_server.store import rows
from evs_server.store.database import copy_in
from evs_server.store.merge import column_arrays, concatenated, newcomers_kept_since_ms, tail
from evs_server.store.queries import QUERIES

if TYPE_CHECKING:
    from evs_server.store.database import Connection

FIRST_FLUSH: Final = 1
"""The number of the flush before which a slice has nothing."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Sliced = tuple[int, Sequence[Int64Array]]
"""Columns of a table, of at least one row, and whose slice they are of."""


class SliceFlush(NamedTuple):
    """
    A flush that is not committed yet.

    Attributes:
        engine: The row of ``evs.engine`` of its slice, locked by the transaction.
        flush: What is to be written.
    """

    engine: asyncpg.Record
    flush: Flush

    @property
    def shard(self) -> int:
        """Whose slice it is of."""
        shard: int = self.engine["shard"]
        return shard


@dataclass(frozen=True, slots=True)
class _Table:
    """
    How rows of one table are copied.

    Attributes:
        name: The table's.
        layout: Its columns ...
        of_slice: ... and the same with whose slice a row is of, which a staging table knows of the whole by itself.
    """

    name: str
    layout: rows.Layout
    of_slice: rows.Layout


_ACCOUNT, _POSITION, _MARK, _UNANNOUNCED, _NEWCOMER, _LATEST, _PARKED, _SETTLEMENT = (
    _Table(name, layout, layout.of_slice())
    for name, layout in (
        ("account", rows.ACCOUNT),
        ("position", rows.POSITION),
        ("mark", rows.MARK),
        ("unannounced", rows.UNANNOUNCED),
        ("newcomer", rows.NEWCOMER),
        ("latest", rows.LATEST),
        ("parked", rows.PARKED),
        ("settlement", rows.SETTLEMENT),
    )
)


async def write_parts(connection: "Connection", written: Sequence[SliceFlush]) -> None:
    """
    Write everything that flushes of different slices carry, and their numbers.

    Args:
        connection: Within their transaction.
        written: At least one; of a slice one at most.
    """
    await write_rows(connection, [valuation for each in written for valuation in each.flush.rows])
    await write_all_but_rows(connection, written)


async def write_all_but_rows(connection: "Connection", written: Sequence[SliceFlush]) -> None:
    """The same, but for the rows of history."""

    def given(columns: Callable[[Flush], Columns | None]) -> list[Sliced]:
        found = ((each.shard, columns(each.flush)) for each in written)
        return [(shard, column_arrays(table)) for shard, table in found if table is not None and len(table)]

    # An import brings most of what there will be, and none of it is there: to look for each would take as long again.
    store = _append if all(each.flush.number == FIRST_FLUSH for each in written) else _merge
    await store(connection, _ACCOUNT, given(lambda flush: flush.state.accounts))
    await store(connection, _POSITION, given(lambda flush: flush.state.positions))
    await _merge(connection, _MARK, given(lambda flush: flush.state.marks))
    await _merge(connection, _UNANNOUNCED, given(lambda flush: flush.unannounced_added))
    await _remove_unannounced(connection, [each.flush.unannounced_removed for each in written])
    await _merge_newcomers(connection, given(lambda flush: flush.newcomers))
    await _change_parked(connection, written, given(lambda flush: flush.parked_added))
    await _add_corrections(connection, written)
    await _write_watermarks(connection, written)
    settlement_counts = await _append_settlements(connection, written)
    await _replace_latest(connection, given(lambda flush: flush.latest))
    advanced = [_advanced(each, count) for each, count in zip(written, settlement_counts, strict=True)]
    await _for_each(connection, "advance_engine", advanced)


async def _for_each(connection: "Connection", query: str, arguments: Sequence[Sequence[object]]) -> None:
    """Run a statement with each of some arguments, without waiting in between; for one alone that would be dearer."""
    if len(arguments) == 1:
        await connection.execute(QUERIES[query], *arguments[0])
    else:
        await connection.executemany(QUERIES[query], arguments)


async def write_rows(connection: "Connection", valuations: Sequence[Valuation]) -> None:
    """Append the rows of some passes to the history."""
    if valuations:
        await copy_in(connection, None, "equity_timeseries", rows.EQUITY, rows.encode_valuations(valuations))


def _advanced(written: SliceFlush, settlement_count: int) -> tuple[object, ...]:
    """What a slice's row of ``evs.engine`` is to say, in the order of ``advance_engine``."""
    flush, latest_version = written.flush, None
    if flush.latest is not None:
        # Not the version of the meta: merged flushes may carry rows that are newer than the checkpoint among them.
        latest_version = int(flush.latest.version.max(initial=0))
    meta = flush.state.meta
    return (
        written.shard,
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


def _rows_since(valuations: Sequence[Valuation], latest_version: int) -> datetime | None:
    """The earliest time of the rows that are newer than a checkpoint: from there on a start looks for them."""
    since_ms = min(
        (each.timestamp_ms for each in valuations if each.version > latest_version and len(each)), default=None
    )
    return None if since_ms is None else _EPOCH + timedelta(milliseconds=since_ms)


async def _merge(connection: "Connection", table: _Table, given: Sequence[Sliced]) -> None:
    if given:
        is_whole = given[0][0] == WHOLE
        layout = table.layout if is_whole else table.of_slice
        columns = given[0][1] if is_whole else _sliced(given)
        await copy_in(connection, None, f"staged_{table.name}", layout, layout.encode_file(columns))
        # Asked for like rows, of which there are none: only so is the statement prepared once, and kept.
        await connection.fetch(QUERIES[f"merge_{table.name}"])


async def _append(connection: "Connection", table: _Table, given: Sequence[Sliced]) -> None:
    if given:
        file = table.of_slice.encode_file(_sliced(given))
        await copy_in(connection, "evs", table.name, table.of_slice, file)


def _sliced(given: Sequence[Sliced]) -> list[Int64Array]:
    """The columns of all, and as the last whose slice each row is of."""
    tables = [columns for _, columns in given]
    whose = np.repeat([shard for shard, _ in given], [len(columns[0]) for columns in tables])
    if len(tables) == 1:
        return [*tables[0], whose]
    return [*(np.concatenate(parts) for parts in zip(*tables, strict=True)), whose]


async def _merge_newcomers(connection: "Connection", given: Sequence[Sliced]) -> None:
    if given:
        await _merge(connection, _NEWCOMER, given)
        since_ms = [(shard, newcomers_kept_since_ms(NewcomerColumns(*columns))) for shard, columns in given]
        await _for_each(connection, "trim_newcomers", since_ms)


async def _remove_unannounced(connection: "Connection", removed: Sequence[UnannouncedColumns]) -> None:
    gone = concatenated(removed)
    if len(gone):
        await connection.execute(QUERIES["remove_unannounced"], gone.account_id.tolist(), gone.trade_id.tolist())


async def _change_parked(connection: "Connection", written: Sequence[SliceFlush], added: Sequence[Sliced]) -> None:
    await _append(connection, _PARKED, added)
    released = [
        (each.shard, each.flush.parked_removed.parked_id.tolist()) for each in written if len(each.flush.parked_removed)
    ]
    if released:
        await _for_each(connection, "remove_parked", released)


async def _add_corrections(connection: "Connection", written: Sequence[SliceFlush]) -> None:
    corrections = concatenated([each.flush.corrections for each in written])
    if len(corrections):
        file = rows.CORRECTION.encode_file(column_arrays(corrections))
        await copy_in(connection, None, "staged_correction", rows.CORRECTION, file)
        await connection.execute(QUERIES["merge_correction"])


async def _replace_latest(connection: "Connection", given: Sequence[Sliced]) -> None:
    if given:
        await _for_each(connection, "clear_latest", [(shard,) for shard, _ in given])
        await _append(connection, _LATEST, given)


async def _write_watermarks(connection: "Connection", written: Sequence[SliceFlush]) -> None:
    marks = [(each.shard, mark) for each in written for mark in each.flush.watermarks]
    if not marks:
        return
    moved = [(shard, mark.source, mark.epoch, mark.applied_sequence) for shard, mark in marks]
    await connection.execute(QUERIES["merge_source"], *zip(*moved, strict=True))
    chunks = [(shard, *_digest_chunk(mark)) for shard, mark in marks if len(mark.digest)]
    for chunk in chunks:
        # Each by itself: of several so large at once the driver would wait for room in the socket, past any deadline if
        # the server stands still.
        await connection.execute(QUERIES["add_digests"], *chunk)
    # Events of the log have no digests: they are judged before they come into it.
    old = [
        (shard, mark.source, mark.epoch, mark.applied_sequence - DIGESTS_KEPT)
        for shard, mark in marks
        if mark.source != LOG
    ]
    if old:
        await _for_each(connection, "trim_digests", old)


def _digest_chunk(mark: Watermark) -> tuple[str, int, int, int, bytes]:
    digest = mark.digest[-DIGESTS_KEPT:]
    first_sequence = mark.applied_sequence - len(digest) + 1
    return mark.source, mark.epoch, first_sequence, mark.applied_sequence, digest.astype("<u8").tobytes()


async def _append_settlements(connection: "Connection", written: Sequence[SliceFlush]) -> list[int]:
    """Remember settlement ids, numbered without a gap in each slice; how many each has ever remembered."""
    totals, added, old = [], [], []
    for each in written:
        settlements, total = each.flush.settlements, each.engine["settlement_count"] + len(each.flush.settlements)
        totals.append(total)
        if len(settlements):
            kept = tail(settlements, SETTLEMENTS_KEPT)
            added.append((each.shard, [np.arange(total - len(kept) + 1, total + 1), *column_arrays(kept)]))
            old.append((each.shard, total - SETTLEMENTS_KEPT))
    if added:
        await _append(connection, _SETTLEMENT, added)
        await _for_each(connection, "trim_settlements", old)
    return totals
