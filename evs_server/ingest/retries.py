"""
The settlement ids that unsequenced callers sent, to recognise a retry (DESIGN 5). Pure.

Each is known with its account and side; the oldest are forgotten past a bound. Of a run they are looked for all at
once, and only what may be a repeat is to be taken by itself.

A worked example: account 7 has bought with id 41. A run in which it buys with 41, 42 and 42 again has two events to be
taken by themselves, the first and the last; whether the last is a repeat depends on what becomes of the second.
"""

from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Final

import numpy as np

from evs_server.limits import SETTLEMENTS_KEPT
from evs_server.model import BoolArray, Int64Array, SettlementColumns, TradeRun

_KEY: Final = Struct("=3q")
"""Account, side, id: as bytes, whose hash is worked out once."""

_NONE: Final = SettlementColumns.empty()
"""What nearly every flush carries; made once."""


class Retries:
    """What was sent with an id, and applied."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        # Beside the set, since to find the oldest of a dictionary takes the longer, the more before it are gone.
        self._by_age: deque[bytes] = deque()
        self._since: list[bytes] = []

    def is_repeat(self, account_id: int, side: int, settlement_id: int) -> bool:
        """Whether an unsequenced caller sent this settlement id for this account and side before."""
        return _KEY.pack(account_id, side, settlement_id) in self._seen

    def remember(self, account_id: int, side: int, settlement_id: int) -> None:
        """Take note of an unsequenced trade that was applied, and is no repeat."""
        self._remember([_KEY.pack(account_id, side, settlement_id)])

    def of_run(self, run: TradeRun) -> "RunRetries":
        """What of a run of an unsequenced caller may be a repeat."""
        return RunRetries(run, self._seen, self._remember)

    def capture(self) -> SettlementColumns:
        """What was remembered since the last capture."""
        if not self._since:
            return _NONE
        rows = np.frombuffer(b"".join(self._since), np.int64).reshape(-1, 3)
        self._since = []
        return SettlementColumns(*rows.T)

    def restore(self, settlements: SettlementColumns) -> None:
        """Take over what was captured before a restart."""
        keys = _keys(settlements.account_id, settlements.side, settlements.settlement_id)
        self._by_age = deque(keys)
        self._seen = set(keys)

    def _remember(self, keys: list[bytes]) -> None:
        self._seen.update(keys)
        self._by_age.extend(keys)
        self._since += keys
        while len(self._by_age) > SETTLEMENTS_KEPT:
            self._seen.discard(self._by_age.popleft())


class RunRetries:
    """
    Which events of one run may be repeats.

    Args:
        seen: What was applied before; grows as ``remember`` is called.
        remember: Takes note of keys that are none of them repeats.

    Attributes:
        apart: By event, whether its id was seen before, or comes earlier in the run; None if none was.
    """

    def __init__(self, run: TradeRun, seen: set[bytes], remember: Callable[[list[bytes]], None]) -> None:
        self._remember = remember
        self._index = np.flatnonzero(run.settlement_id)
        self._keys = _keys(run.account_id[self._index], run.side[self._index], run.settlement_id[self._index])
        self.apart: BoolArray | None = None
        if len(set(self._keys)) < len(self._keys) or not seen.isdisjoint(self._keys):
            self.apart = np.zeros(len(run), np.bool_)
            come = set()
            for index, key in zip(self._index.tolist(), self._keys, strict=True):
                self.apart[index] = key in seen or key in come
                come.add(key)

    def note_applied(self, first: int, end: int) -> None:
        """Take note that the events from ``first`` to before ``end`` were applied; none of them is ``apart``."""
        start, stop = np.searchsorted(self._index, (first, end)).tolist()
        self._remember(self._keys[start:stop])


def _keys(account_id: Int64Array, side: Int64Array, settlement_id: Int64Array) -> list[bytes]:
    keys: list[bytes] = np.stack((account_id, side, settlement_id), axis=1).view(f"V{_KEY.size}")[:, 0].tolist()
    return keys
