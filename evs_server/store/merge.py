"""
Several flushes as one, and rows thinned out to the newest. Pure.

Lives here: what may be left out when the database is behind. Not here: when that is done (``writer``).

Writing the merged flush leaves the same state, watermarks and rows as writing each in turn; only the numbers in between
are never seen in the database.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from evs_server.limits import DIGESTS_KEPT, SETTLEMENTS_KEPT
from evs_server.model import (
    BoolArray,
    Columns,
    EngineState,
    Flush,
    Int64Array,
    NewcomerColumns,
    SnapshotColumns,
    Valuation,
    Watermark,
)

C = TypeVar("C", bound=Columns)

ACCOUNT_KEY = ("account_id",)
POSITION_KEY = ("account_id", "symbol_id")
MARK_KEY = ("symbol_id",)
UNANNOUNCED_KEY = ("account_id", "trade_id")
PARKED_KEY = ("parked_id",)

NEWCOMER_KEPT_MS: Final = 86_400_000
"""Rows of accounts that have not been new for a day say nothing, whatever became of the clock in between."""


def merge(flushes: Sequence[Flush]) -> Flush:
    """
    One flush that leaves the database as all of them do.

    Args:
        flushes: At least one, ascending by number.
    """
    if len(flushes) == 1:
        return flushes[0]
    assert all(left.number < right.number for left, right in pairwise(flushes))
    last = flushes[-1]
    states = [flush.state for flush in flushes]
    added = concatenated([flush.unannounced_added for flush in flushes])
    removed = concatenated([flush.unannounced_removed for flush in flushes])
    parked = concatenated([flush.parked_added for flush in flushes])
    released = concatenated([flush.parked_removed for flush in flushes])
    return Flush(
        number=last.number,
        event_count=sum(flush.event_count for flush in flushes),
        state=EngineState(
            meta=last.state.meta,
            accounts=newest([state.accounts for state in states], ACCOUNT_KEY),
            positions=newest([state.positions for state in states], POSITION_KEY),
            marks=newest([state.marks for state in states], MARK_KEY),
        ),
        rows=tuple(valuation for flush in flushes for valuation in flush.rows),
        watermarks=newest_watermarks(mark for flush in flushes for mark in flush.watermarks),
        settlements=tail(concatenated([flush.settlements for flush in flushes]), SETTLEMENTS_KEPT),
        unannounced_added=without(added, removed, UNANNOUNCED_KEY),
        # Those that an earlier flush added are still to be removed from the database.
        unannounced_removed=without(removed, added, UNANNOUNCED_KEY),
        latest=next((flush.latest for flush in reversed(flushes) if flush.latest is not None), None),
        parked_added=without(parked, released, PARKED_KEY),
        parked_removed=without(released, parked, PARKED_KEY),
        newcomers=newest([flush.newcomers for flush in flushes], ACCOUNT_KEY),
        corrections=concatenated([flush.corrections for flush in flushes]),
    )


def coalesce_rows(valuations: Sequence[Valuation]) -> tuple[tuple[Valuation, ...], int]:
    """
    Only the newest snapshot of each account, and how many were dropped.

    Args:
        valuations: Passes; of each account ascending by version.

    Returns:
        The passes without the rows that a later one has again, those left empty dropped; and the count of such rows.
    """
    if not valuations:
        return (), 0
    account_id = np.concatenate([valuation.account_id for valuation in valuations])
    keep = np.zeros(len(account_id), np.bool_)
    keep[_last_of_each(account_id)] = True
    ends = np.cumsum([len(valuation) for valuation in valuations])
    parts = zip(valuations, np.split(keep, ends[:-1]), strict=True)
    kept = tuple(valuation.selected(part) for valuation, part in parts if part.any())
    return kept, len(account_id) - int(keep.sum())


def row_count(flush: Flush) -> int:
    """How many rows a flush writes, of all tables together: what its transaction takes grows with it."""
    state = flush.state
    tables: tuple[Columns | None, ...] = (
        state.accounts,
        state.positions,
        state.marks,
        flush.settlements,
        flush.unannounced_added,
        flush.latest,
        flush.parked_added,
        flush.newcomers,
        flush.corrections,
    )
    return sum(len(valuation) for valuation in flush.rows) + sum(len(table) for table in tables if table is not None)


def newest(tables: Sequence[C], key: Sequence[str]) -> C:
    """
    The last row of each key, ascending by key.

    Args:
        tables: At least one; later ones are newer, as are later rows within one.
        key: Names of the columns that tell rows apart.
    """
    table = concatenated(tables)
    return selected(table, _last_of_each(*(getattr(table, name) for name in key))) if len(table) > 1 else table


def overlaid(latest: SnapshotColumns, newer: Sequence[SnapshotColumns]) -> SnapshotColumns:
    """
    The snapshot with the highest version of each account, ascending by account.

    Args:
        latest: The newest snapshots as of some moment.
        newer: Others; it is the version that orders them, since times may go back.
    """
    table = concatenated([latest, *newer])
    return newest([selected(table, np.argsort(table.version, kind="stable"))], ACCOUNT_KEY)


def concatenated(tables: Sequence[C]) -> C:
    """All rows, in order."""
    # Of what flushes carry, nearly all is empty.
    nothing = tables[0].empty()
    filled = [table for table in tables if table is not nothing and len(table)]
    if len(filled) < 2:
        return filled[0] if filled else tables[0]
    columns = zip(*(column_arrays(table) for table in filled), strict=True)
    return type(filled[0])(*(np.concatenate(parts) for parts in columns))


def selected(table: C, row: slice | BoolArray | npt.NDArray[np.intp]) -> C:
    """Some of the rows."""
    return type(table)(*(column[row] for column in column_arrays(table)))


def without(table: C, gone: C, key: Sequence[str]) -> C:
    """The rows whose key is not among those gone."""
    if not len(table) or not len(gone):
        return table
    keys = set(zip(*(getattr(gone, name).tolist() for name in key), strict=True))
    own = zip(*(getattr(table, name).tolist() for name in key), strict=True)
    return selected(table, np.array([each not in keys for each in own], np.bool_))


def newest_watermarks(watermarks: Iterable[Watermark]) -> tuple[Watermark, ...]:
    """
    The newest watermark of each source, with the content of its last sequences.

    Digests of an older epoch no longer tell anything, and of the newest at most ``DIGESTS_KEPT`` count.

    Args:
        watermarks: Of each source, ascending; of each epoch, digests without a gap.
    """
    by_source: dict[str, list[Watermark]] = {}
    for watermark in watermarks:
        by_source.setdefault(watermark.source, []).append(watermark)
    return tuple(_joined(of_one) for of_one in by_source.values())


def _joined(watermarks: Sequence[Watermark]) -> Watermark:
    last = watermarks[-1]
    parts = [mark for mark in watermarks if mark.epoch == last.epoch and len(mark.digest)]
    if not parts:
        return replace(last, first_sequence=last.applied_sequence + 1)
    for older, newer in pairwise(parts):
        expected = older.first_sequence + len(older.digest)
        assert newer.first_sequence == expected, (
            f"digests of source {last.source!r} continue at {newer.first_sequence}, expected {expected}"
        )
    digest = np.concatenate([mark.digest for mark in parts])
    excess = max(0, len(digest) - DIGESTS_KEPT)
    return replace(last, first_sequence=parts[0].first_sequence + excess, digest=digest[excess:])


def newcomers_kept_since_ms(written: NewcomerColumns) -> int:
    """Until when an account must have been new (unix ms) for its row to be kept behind a flush that writes these."""
    return int(written.until_ms.max()) - NEWCOMER_KEPT_MS if len(written) else 0


def tail(table: C, count: int) -> C:
    """The last rows, at most a number of them."""
    return selected(table, slice(len(table) - count, None)) if len(table) > count else table


def _last_of_each(*keys: Int64Array) -> npt.NDArray[np.intp]:
    """Index of the last row of each key, ascending by key."""
    order = np.lexsort(keys[::-1])  # stable: equal keys stay in the order given
    last = np.ones(len(order), np.bool_)
    if len(order):
        last[:-1] = np.logical_or.reduce([key[order][1:] != key[order][:-1] for key in keys])
    return order[last]


def column_arrays(table: Columns) -> list[Int64Array]:
    """The columns, in the order of their fields."""
    kind = type(table)
    if kind not in _names_of:
        # Asked for every table of every flush: once is enough.
        _names_of[kind] = tuple(field.name for field in fields(kind))
    return [getattr(table, name) for name in _names_of[kind]]


_names_of: Final[dict[type, tuple[str, ...]]] = {}
