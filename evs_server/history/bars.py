"""
Stored valuations to bars: open, high, low and last of each bucket. Pure.

Rows are ordered by time, then version; a bar's last is that of its newest row in this order, and so are realized P&L
and net flow, which are levels, not sums. Stretches of rows add up to the same bars as the rows themselves would,
however they were cut, as long as none reaches over the end of a bucket.

    Rows of 100, 300, 50 and 200 cents in one minute are the bar 100, 300, 50, 200. As stretches of two rows each they
    are (100, 300, 100, 300) and (50, 200, 50, 200): together again open 100, high 300, low 50 and last 200.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from evs_server.model import BoolArray, Columns, Int64Array, Snapshot, StretchColumns

_LEVELS: Final = ("open_cents", "high_cents", "low_cents", "last_cents")


@dataclass(frozen=True, slots=True)
class BarColumns(Columns):
    """Bars, ascending by ``start_ms``, when their bucket begins; that is unique."""

    start_ms: Int64Array
    open_cents: Int64Array
    high_cents: Int64Array
    low_cents: Int64Array
    last_cents: Int64Array
    realized_cents: Int64Array
    net_flow_cents: Int64Array


def bars(stretches: StretchColumns, start_ms: Int64Array) -> BarColumns:
    """
    One bar a bucket.

    Args:
        stretches: Any number, in order.
        start_ms: When the bucket of each begins; aligned with the stretches.
    """
    if not len(stretches):
        return BarColumns.empty()
    first = np.flatnonzero(np.concatenate(([True], start_ms[1:] != start_ms[:-1])))
    last = np.concatenate((first[1:], [len(stretches)])) - 1
    return BarColumns(
        start_ms=start_ms[first],
        open_cents=stretches.open_cents[first],
        high_cents=np.maximum.reduceat(stretches.high_cents, first),
        low_cents=np.minimum.reduceat(stretches.low_cents, first),
        last_cents=stretches.last_cents[last],
        realized_cents=stretches.realized_cents[last],
        net_flow_cents=stretches.net_flow_cents[last],
    )


def joined(parts: Sequence[StretchColumns]) -> StretchColumns:
    """Stretches of several reads, one after the other."""
    return StretchColumns(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(StretchColumns))
    )


def with_snapshot(stretches: StretchColumns, snapshot: Snapshot) -> StretchColumns:
    """
    The stretches with a valuation that may be stored already: it counts once.

    It has its place by its time, like a row: if the clock has stepped back, others follow it.
    """
    equity = snapshot.equity_cents
    key = (snapshot.timestamp_ms, snapshot.version)
    index = int(np.searchsorted(stretches.last_ms, snapshot.timestamp_ms, "left"))
    # Of rows of the same time, which a roll and its tick may have, the version tells the order.
    while index < len(stretches) and _last_key(stretches, index) < key:
        index += 1
    if index < len(stretches) and stretches.first_ms[index] <= snapshot.timestamp_ms:
        inside = {name: getattr(stretches, name).copy() for name in ("high_cents", "low_cents")}
        inside["high_cents"][index] = max(equity, inside["high_cents"].item(index))
        inside["low_cents"][index] = min(equity, inside["low_cents"].item(index))
        return _replaced(stretches, inside)
    row = {
        "first_ms": snapshot.timestamp_ms,
        "last_ms": snapshot.timestamp_ms,
        "version": snapshot.version,
        "realized_cents": snapshot.realized_cents,
        "net_flow_cents": snapshot.net_flow_cents,
        "row_count": 1,
    } | dict.fromkeys(_LEVELS, equity)
    return _replaced(stretches, {name: np.insert(getattr(stretches, name), index, row[name]) for name in row})


def filled(made: BarColumns, before: StretchColumns, start_ms: Int64Array) -> BarColumns:
    """
    The bars, and one for each further bucket that has a valuation before it: all its levels are the last before.

    Args:
        made: Bars.
        before: Rows before the first of the buckets, of which the newest counts; or none.
        start_ms: When those buckets begin which must have a bar, ascending; others may have one, too.
    """
    known = bars(before, before.last_ms)
    if len(known):
        made = BarColumns(*(np.concatenate(pair) for pair in zip(_columns(known), _columns(made), strict=True)))
    every = np.union1d(made.start_ms[len(known) :], start_ms)
    source = np.searchsorted(made.start_ms, every, "right") - 1
    every, source = every[source >= 0], source[source >= 0]
    own: BoolArray = made.start_ms[source] == every
    opening, high, low, last = (np.where(own, getattr(made, name)[source], made.last_cents[source]) for name in _LEVELS)
    return BarColumns(every, opening, high, low, last, made.realized_cents[source], made.net_flow_cents[source])


def _last_key(stretches: StretchColumns, index: int) -> tuple[int, int]:
    return stretches.last_ms.item(index), stretches.version.item(index)


def _columns(made: BarColumns) -> list[Int64Array]:
    return [getattr(made, field.name) for field in fields(BarColumns)]


def _replaced(stretches: StretchColumns, columns: dict[str, Int64Array]) -> StretchColumns:
    return StretchColumns(
        *(columns.get(field.name, getattr(stretches, field.name)) for field in fields(StretchColumns))
    )
