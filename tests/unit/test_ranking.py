"""Who made most: order, shared ranks, who is left out, and what ranges start from."""

from dataclasses import replace

import numpy as np
import pytest

from evs_server.engine.growth import GROWTH_ONE
from evs_server.model import CloseColumns, Flag, HistoryRange, SnapshotColumns
from evs_server.performance.ranking import GrowthFold, Place, range_starts, ranked
from tests.builders import DAY_MS, NOON_MS, int64

PERCENT_E4 = 10_000


def latest(*rows: tuple[int, int, int]) -> SnapshotColumns:
    """Newest snapshots: account, equity and day change; the last is the newest of them."""
    account_id, equity, day_change = zip(*rows, strict=True)
    return replace(
        SnapshotColumns(*(np.zeros(len(rows), np.int64) for _ in SnapshotColumns.__dataclass_fields__)),
        account_id=int64(*account_id),
        version=np.arange(77 - len(rows), 77) + 1,
        equity_cents=int64(*equity),
        day_change_cents=int64(*day_change),
    )


def closes(*rows: tuple[int, int, int, int]) -> CloseColumns:
    """A session's closes: account, equity, capital and growth since the account's first valuation."""
    return CloseColumns(*(int64(*column) for column in zip(*rows, strict=True)))


def test_accounts_of_equal_return_share_a_rank_and_stand_by_id() -> None:
    """Also where the cents behind them differ, and the row of the lower id comes later."""
    ranking = ranked(int64(), latest((9, 105, 5), (4, 210, 10), (7, 1_000, 100), (1, 99, -1)))
    assert [
        Place(1, 7, 111_111),
        Place(2, 4, 50_000),
        Place(2, 9, 50_000),
        Place(4, 1, -10_000),
    ] == ranking.first(10)
    assert (4, 77, Place(2, 9, 50_000), None) == (
        len(ranking),
        ranking.version,
        ranking.place_of(9),
        ranking.place_of(5),
    )
    assert [Place(1, 7, 111_111)] == ranking.first(1)


def test_returns_that_differ_by_less_than_is_told_are_equal() -> None:
    ranking = ranked(int64(), latest((1, 10**15, 0), (2, 10**15 + 1, 1)))
    assert [Place(1, 1, 0), Place(1, 2, 0)] == ranking.first(2)


def test_an_account_without_a_base_is_not_ranked() -> None:
    columns = latest((1, 100, 0), (2, 100, 0))
    ranking = ranked(int64(), replace(columns, flags=int64(int(Flag.NO_BASE | Flag.UNPRICED), int(Flag.UNPRICED))))
    assert ([Place(1, 2, 0)], None) == (ranking.first(9), ranking.place_of(1))


def test_the_ranking_of_nobody_is_empty() -> None:
    columns = SnapshotColumns.empty()
    assert ([], 0) == (ranked(int64(), columns).first(3), len(ranked(int64(), columns)))


def test_an_account_taken_in_since_the_closes_were_read_counts_from_its_own_base() -> None:
    ranking = ranked(int64(2 * GROWTH_ONE), latest((1, 100, 0), (2, 300, 100)))
    assert [Place(1, 1, 100 * PERCENT_E4), Place(2, 2, 50 * PERCENT_E4)] == ranking.first(2)


def test_each_range_links_the_sessions_that_closed_in_it() -> None:
    """Rows are those of the engine, in whatever order it took the accounts in; the second came a day later."""
    week, month = HistoryRange.ONE_WEEK, HistoryRange.ONE_MONTH
    fold = GrowthFold(int64(5, 3), {week: NOON_MS + DAY_MS, month: NOON_MS})
    fold.add(NOON_MS, closes((5, 120, 100, 7 * GROWTH_ONE)))
    fold.add(NOON_MS + DAY_MS, closes((5, 60, 50, 8 * GROWTH_ONE)))
    fold.add(NOON_MS + 2 * DAY_MS, closes((3, 90, 100, GROWTH_ONE // 2), (5, 30, 20, 9 * GROWTH_ONE)))
    tenths = {span: (growth * 10 // GROWTH_ONE).tolist() for span, growth in fold.growth.items()}
    assert {HistoryRange.ONE_DAY: [10, 10], week: [15, 9], month: [18, 9], HistoryRange.ALL: [90, 5]} == tenths


def test_accounts_that_the_engine_does_not_know_are_passed_over() -> None:
    fold = GrowthFold(int64(5), {HistoryRange.ONE_WEEK: 0})
    fold.add(1, closes((3, 2, 1, 1), (5, 3, 1, 1), (9, 4, 1, 1)))
    assert [3 * GROWTH_ONE] == fold.growth[HistoryRange.ONE_WEEK].tolist()
    nobody = GrowthFold(int64(), {HistoryRange.ONE_WEEK: 0})
    nobody.add(1, closes((3, 2, 1, 1)))
    assert [] == nobody.growth[HistoryRange.ONE_WEEK].tolist()


@pytest.mark.parametrize(
    ("expected", "start_ms"),
    [(10, 0), (10, 10), (30, 11), (30, 30), (40, 31), (40, 99)],
)
def test_a_range_counts_from_the_first_roll_in_it(expected: int, start_ms: int) -> None:
    """Where nobody rolled, nobody valued either; a range that begins after all of them begins with the last."""
    span = HistoryRange.ONE_WEEK
    assert {span: expected} == range_starts([10, 30, 40], {span: start_ms})
