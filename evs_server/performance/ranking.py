"""
Who made most: every account's growth since a range began, and the order that follows from it. Pure; integers only.

Growths are columns by account row of the engine: a row, once given, stays the account's. Accounts are ordered by their
return as it is told, in ten-thousandths of a percent, so that what looks equal shares a rank; then by id.

A worked example: of returns 5.0000, 7.2500, 5.0000 and -1.0000 % the ranks are 2, 1, 2 and 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evs_server.engine.growth import GROWTH_ONE, linked_columns, return_columns_e4
from evs_server.model import CloseColumns, Flag, HistoryRange, Int64Array, SnapshotColumns

RANKED_RANGES = (HistoryRange.ONE_DAY, HistoryRange.ONE_WEEK, HistoryRange.ONE_MONTH, HistoryRange.ALL)


class Place(NamedTuple):
    """One account's place; accounts of equal return share a rank, and the next one counts them."""

    rank: int
    account_id: int
    return_percent_e4: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """
    All ranked accounts in order: the highest return first, then the lowest id.

    Attributes:
        account_id: Shape ``(n,)``.
        loss_percent_e4: Returns with their sign turned, so that they ascend; aligned with ``account_id``.
        version: The newest valuation that went in.
    """

    account_id: Int64Array
    loss_percent_e4: Int64Array
    version: int

    def __len__(self) -> int:
        return len(self.account_id)

    def first(self, count: int) -> list[Place]:
        """The first places."""
        return [self._place(index) for index in range(min(count, len(self)))]

    def place_of(self, account_id: int) -> Place | None:
        """An account's place; None if it is not ranked."""
        found = np.flatnonzero(self.account_id == account_id)
        return self._place(int(found[0])) if len(found) else None

    def _place(self, index: int) -> Place:
        loss = self.loss_percent_e4[index]
        rank = int(np.searchsorted(self.loss_percent_e4, loss)) + 1
        return Place(rank, int(self.account_id[index]), -int(loss))


class GrowthFold:
    """
    Growths of all accounts over each ranged range, folded from the closes of sessions in order.

    Args:
        account_id: The engine's accounts by row.
        starts_ms: By range, the roll from which it counts: the first one that there was in it.
    """

    def __init__(self, account_id: Int64Array, starts_ms: Mapping[HistoryRange, int]) -> None:
        self._starts_ms = dict(starts_ms)
        self._order = np.argsort(account_id, kind="stable")
        self._sorted_id = account_id[self._order]
        self.growth = {span: np.full(len(account_id), GROWTH_ONE, np.int64) for span in RANKED_RANGES}

    @staticmethod
    def none() -> Int64Array:
        """The growths of accounts that have none before the current session."""
        return np.empty(0, np.int64)

    def add(self, closed_ms: int, closes: CloseColumns) -> None:
        """Link one session's growths; sessions come in order."""
        if not len(closes) or not len(self._sorted_id):
            return
        place = np.minimum(np.searchsorted(self._sorted_id, closes.account_id), len(self._sorted_id) - 1)
        known = self._sorted_id[place] == closes.account_id
        row = self._order[place[known]]
        equity, capital = closes.equity_cents[known], closes.capital_cents[known]
        # An account that is left out of a later session keeps what it had.
        self.growth[HistoryRange.ALL][row] = closes.growth[known]
        for span, start_ms in self._starts_ms.items():
            if closed_ms > start_ms:
                growth = self.growth[span]
                growth[row] = linked_columns(growth[row], equity, capital)


def range_starts(rolls_ms: Sequence[int], session_starts_ms: Mapping[HistoryRange, int]) -> dict[HistoryRange, int]:
    """
    From which roll each range counts, of those whose sessions must be linked.

    Where a range begins with a session that nobody rolled, nobody was there to value anything either, until the next
    roll: what counts is the same there.

    Args:
        rolls_ms: All there are, ascending, the current session's last.
        session_starts_ms: By range, when its first session began.
    """
    return {
        span: next((roll for roll in rolls_ms if roll >= start_ms), rolls_ms[-1])
        for span, start_ms in session_starts_ms.items()
    }


def ranked(growth: Int64Array, latest: SnapshotColumns) -> Ranking:
    """
    Accounts in order, of those that have a base above zero.

    Args:
        growth: By account row, until the current session; accounts beyond its end have none before that.
        latest: Newest snapshots by account row.
    """
    until_now = np.full(len(latest), GROWTH_ONE, np.int64)
    until_now[: len(growth)] = growth
    row = np.flatnonzero((latest.flags & int(Flag.NO_BASE)) == 0)
    row = row[np.argsort(latest.account_id[row], kind="stable")]
    equity = latest.equity_cents[row]
    loss = -return_columns_e4(until_now[row], equity, equity - latest.day_change_cents[row])
    order = np.argsort(loss, kind="stable")
    return Ranking(latest.account_id[row][order], loss[order], int(latest.version.max(initial=0)))
