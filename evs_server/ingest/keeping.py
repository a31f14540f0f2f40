"""
Which snapshots of each pass are stored (ADR 0009). Pure: decided from the passes alone, by their own time.

Readers get every pass whole; this is about rows of history. Whatever the policy, what recovery cannot work out again is
stored: an account's first snapshot, every one at a session roll, and each whose cash, net flow, realized or base are
others than in the account's snapshot before. What is left out differs from what is stored in what positions were worth
at prices, which follows from the marks and positions that every flush carries (``Engine.restate``).

Invariants: of each account, snapshots are stored in the order of their versions; its last in each session, the close of
each session, and whatever is worked out from them are the same under every policy.

A worked example, intervals of 60 s, one account: bought at 12:00:10 (stored), prices at 12:00:20 and 12:00:50 (held
back, the second in place of the first), a price at 12:01:05: the snapshot of 12:00:50 is stored now, with its own
version and time, and that of 12:01:05 is held back.
"""

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from evs_server.engine.index import IdIndex
from evs_server.engine.tables import NO_ROW
from evs_server.model import VALUATION_COLUMNS, BoolArray, Int64Array, Snapshot, SnapshotColumns, Valuation

T = TypeVar("T", bound=np.generic)
Policy = Literal["every_tick", "interval", "on_trade"]

_LEFT_OUT: Final = -1
"""In the place of a version."""
_UNTOLD: Final = np.iinfo(np.int64).min
"""No account has as little: whoever has it in the place of all its numbers has had no snapshot."""
_TOLD_COLUMNS: Final = 4
_ROWS_MIN: Final = 64

_HELD_NAMES: Final = tuple(field.name for field in fields(SnapshotColumns))
_VERSION: Final = _HELD_NAMES.index("version")
_OF_PASS: Final = tuple(_HELD_NAMES.index(name) for name in ("version", "tick", "timestamp_ms"))
_OF_ACCOUNT: Final = [_HELD_NAMES.index(name) for name in VALUATION_COLUMNS]


class Keeping:
    """
    Stores every snapshot: ``every_tick``. The other policies are made of it.

    Attributes:
        is_whole: Whether every snapshot is stored.
    """

    is_whole = True

    def restore(self, latest: SnapshotColumns) -> None:
        """Take over the newest snapshots that a start has found."""

    def keep(self, valuation: Valuation) -> Sequence[Valuation]:
        """What is to be stored now that a pass has been made; of each account ascending by version."""
        return (valuation,)

    def stored_with(self, newest: Snapshot) -> int | None:
        """The version that must be durable for an account's newest snapshot to be stored; None if it is left out."""
        return newest.version


class OnTrade(Keeping):
    """
    Stores what recovery cannot work out again, and the last snapshot of each account in a session: ``on_trade``.

    The newest that was left out is held back until the session is over. If EVS ends before, a start has the same
    numbers, and holds them back again.
    """

    is_whole = False

    def __init__(self) -> None:
        self._index = IdIndex()
        self._count = 0
        self._told = np.empty((_TOLD_COLUMNS, 0), np.int64)
        self._stored_with = np.empty(0, np.int64)
        self._held = np.empty((len(_HELD_NAMES), 0), np.int64)
        self._is_held = np.empty(0, np.bool_)

    def restore(self, latest: SnapshotColumns) -> None:
        """As of ``Keeping``: a checkpoint may have what history has not, so none of them counts as stored."""
        row = self._rows(latest.account_id)
        for known, told in zip(self._told, _told(latest), strict=True):
            known[row] = told
        self._stored_with[row] = _LEFT_OUT

    def keep(self, valuation: Valuation) -> Sequence[Valuation]:
        """As of ``Keeping``: what is held back no longer, then those whose money is another; at a session roll all."""
        kept = self._released(valuation.version) if self._is_over(valuation) else []
        row, is_kept = self._judge(valuation)
        self._is_held[row] = ~is_kept
        if not is_kept.all():
            # Those that are stored already are written, too: nobody looks at them, and all together are quicker.
            for held, name in zip(self._held, _HELD_NAMES, strict=True):
                held[row] = getattr(valuation, name)
        if is_kept.any():
            kept.append(valuation.selected(is_kept))
        return kept

    def stored_with(self, newest: Snapshot) -> int | None:
        """As of ``Keeping``."""
        version: int = self._stored_with.item(self._index.find(np.array([newest.account_id], np.int64)).item())
        return None if version == _LEFT_OUT else version

    def _is_over(self, valuation: Valuation) -> bool:
        """Whether the time is over, with a pass, for which something was held back."""
        return valuation.session_roll

    def _judge(self, valuation: Valuation) -> tuple[Int64Array, BoolArray]:
        """The rows of a pass's accounts, and which of its snapshots are stored; takes note of both."""
        row = self._rows(valuation.account_id)
        is_kept = np.full(len(row), valuation.session_roll)
        # Column by column: a numpy row of four costs ten times as much as four columns.
        for known, told in zip(self._told, _told(valuation), strict=True):
            is_kept |= known[row] != told
            known[row] = told
        self._stored_with[row] = np.where(is_kept, valuation.version, _LEFT_OUT)
        return row, is_kept

    def _released(self, version: int) -> list[Valuation]:
        """What is held back, by version; stored with what a pass of this version stores."""
        row = np.flatnonzero(self._is_held[: self._count])
        self._is_held[row] = False
        self._stored_with[row] = version
        row = row[np.argsort(self._held[_VERSION][row], kind="stable")]
        held: Int64Array = self._held[:, row]
        ends = [*np.flatnonzero(np.diff(held[_VERSION], prepend=-1)).tolist(), len(row)]
        return [_as_pass(held, slice(first, end)) for first, end in pairwise(ends)]

    def _rows(self, account_id: Int64Array) -> Int64Array:
        """The rows of accounts; those that have none get one."""
        row = self._index.find(account_id)
        is_new = row == NO_ROW
        if is_new.any():
            first, count = self._count, int(np.count_nonzero(is_new))
            if first + count > len(self._stored_with):
                self._grow(max(first + count, 2 * first, _ROWS_MIN))
            self._index.put(account_id[is_new], first)
            row[is_new] = np.arange(first, first + count)
            self._count += count
        return row

    def _grow(self, capacity: int) -> None:
        self._told = _grown(self._told, capacity, _UNTOLD)
        self._stored_with = _grown(self._stored_with, capacity, _LEFT_OUT)
        self._held = _grown(self._held, capacity, 0)
        self._is_held = _grown(self._is_held, capacity, 0)


class Interval(OnTrade):
    """
    Stores, moreover, the last snapshot of each account in each interval of time: ``interval``.

    Args:
        seconds: How long an interval is; they are counted from the beginning of 1970, and end with a session, too.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self._interval_ms: Final = seconds * 1_000
        self._interval = 0

    def _is_over(self, valuation: Valuation) -> bool:
        # Times may go back: an interval is over once any other begins, or market time of years ago would wait.
        before, self._interval = self._interval, valuation.timestamp_ms // self._interval_ms
        return valuation.session_roll or self._interval != before


def keeping(policy: Policy, seconds: int) -> Keeping:
    """
    What stores by a policy.

    Args:
        seconds: Length of an interval; of use to ``interval`` alone.
    """
    match policy:
        case "every_tick":
            return Keeping()
        case "on_trade":
            return OnTrade()
        case "interval":
            return Interval(seconds)


def _told(told: Valuation | SnapshotColumns) -> tuple[Int64Array, ...]:
    """What positions' prices do not change: cash, net flow, realized, and the profit of the session's base."""
    base_cents = told.equity_cents - told.net_flow_cents - told.day_change_cents
    return told.cash_cents, told.net_flow_cents, told.realized_cents, base_cents


def _as_pass(held: Int64Array, part: slice) -> Valuation:
    """Some of what was held back, all of one pass."""
    version, tick, timestamp_ms = (held.item(column, part.start) for column in _OF_PASS)
    return Valuation(version, tick, timestamp_ms, held[_OF_ACCOUNT, part])


def _grown(rows: npt.NDArray[T], capacity: int, fill: int) -> npt.NDArray[T]:
    grown: npt.NDArray[T] = np.full((*rows.shape[:-1], capacity), fill, rows.dtype)
    grown[..., : rows.shape[-1]] = rows
    return grown
