"""Rows to bars: what is first, highest, lowest and last, and where the newest valuation goes."""

from collections.abc import Sequence

import pytest

from evs_server.history.bars import BarColumns, bars, filled, joined, with_snapshot
from evs_server.model import Int64Array, Snapshot, StretchColumns
from tests.builders import int64
from tests.flushes import plain, table

MINUTE_MS = 60_000


def rows(*each: tuple[int, int, int]) -> StretchColumns:
    """Rows of time, version and equity; realized and net flow follow from the equity."""
    return table(
        StretchColumns,
        [(time, time, version, *[equity] * 4, equity * 2, equity * 3, 1) for time, version, equity in each],
    )


def a_snapshot(time_ms: int, version: int, equity_cents: int) -> Snapshot:
    """A valuation as the engine has it."""
    return Snapshot(
        account_id=1, version=version, tick=version, timestamp_ms=time_ms, equity_cents=equity_cents, cash_cents=0,
        position_value_cents=equity_cents, day_change_cents=0, day_change_percent_e4=0, unrealized_cents=0,
        realized_cents=equity_cents * 2, net_flow_cents=equity_cents * 3, flags=0,
    )  # fmt: skip


def minutes(stretches: StretchColumns) -> Int64Array:
    return stretches.last_ms - stretches.last_ms % MINUTE_MS


def levels(made: BarColumns) -> list[tuple[int, ...]]:
    """Start, open, high, low and last of each bar."""
    columns = (made.start_ms, made.open_cents, made.high_cents, made.low_cents, made.last_cents)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_bar_has_the_first_the_highest_the_lowest_and_the_last() -> None:
    found = rows((0, 1, 100), (1_000, 2, 300), (2_000, 3, 50), (59_999, 4, 200), (60_000, 5, 7))
    assert [(0, 100, 300, 50, 200), (MINUTE_MS, 7, 7, 7, 7)] == levels(bars(found, minutes(found)))


def test_realized_and_net_flow_are_those_of_the_last_row() -> None:
    found = rows((0, 1, 100), (1, 2, 300))
    made = bars(found, minutes(found))
    assert ([600], [900]) == (made.realized_cents.tolist(), made.net_flow_cents.tolist())


def test_no_rows_make_no_bars() -> None:
    assert 0 == len(bars(StretchColumns.empty(), int64()))


@pytest.mark.parametrize(
    ("expected", "snapshot"),
    [
        ([(0, 100, 300, 100, 300), (MINUTE_MS, 5, 5, 5, 5)], a_snapshot(60_000, 9, 5)),  # newer than all
        ([(0, 100, 900, 100, 900)], a_snapshot(2_000, 9, 900)),  # the last of its bar
        ([(0, 100, 900, 100, 900)], a_snapshot(1_000, 9, 900)),  # of the same time as a row, and newer
        ([(0, 100, 300, 100, 300)], a_snapshot(1_000, 2, 300)),  # stored already
        ([(0, 100, 900, 100, 300)], a_snapshot(500, 9, 900)),  # the clock has stepped back
        ([(-MINUTE_MS, 5, 5, 5, 5), (0, 100, 300, 100, 300)], a_snapshot(-1, 9, 5)),  # by more than all rows
    ],
)
def test_the_newest_valuation_counts_once_and_where_its_time_says(
    expected: list[tuple[int, ...]], snapshot: Snapshot
) -> None:
    found = with_snapshot(rows((0, 1, 100), (1_000, 2, 300)), snapshot)
    assert expected == levels(bars(found, minutes(found)))


@pytest.mark.parametrize(
    ("expected", "snapshot"),
    [
        ((0, 100, 900, 100, 300), a_snapshot(500, 9, 900)),
        ((0, 100, 300, 5, 300), a_snapshot(500, 9, 5)),
        ((0, 100, 300, 100, 300), a_snapshot(1_000, 2, 300)),
    ],
)
def test_within_a_stretch_the_newest_valuation_is_neither_first_nor_last(
    expected: tuple[int, ...], snapshot: Snapshot
) -> None:
    """Where the server has summed rows up, nobody knows any more what lies before and after it."""
    stretch = table(StretchColumns, [(0, 1_000, 2, 100, 300, 100, 300, 600, 900, 2)])
    found = with_snapshot(stretch, snapshot)
    assert [expected] == levels(bars(found, minutes(found)))


def test_the_stretches_given_stay_as_they_are() -> None:
    found = table(StretchColumns, [(0, 1_000, 2, 100, 300, 100, 300, 600, 900, 2)])
    before = plain(found)
    with_snapshot(found, a_snapshot(500, 9, 900))
    assert before == plain(found)


@pytest.mark.parametrize(
    ("expected", "before"),
    [
        ([(0, 9), (60_000, 9), (120_000, 300), (180_000, 300)], [(-5, 1, 9)]),
        ([(120_000, 300), (180_000, 300)], []),  # nothing is known before the first valuation
    ],
)
def test_what_has_no_valuation_carries_the_last_one_forward(
    expected: list[tuple[int, int]], before: Sequence[tuple[int, int, int]]
) -> None:
    """A bar of its own keeps its levels; one that was filled has the last of the bar before in all of them."""
    found = rows((120_000, 2, 100), (120_001, 3, 300))
    made = filled(bars(found, minutes(found)), rows(*before), int64(0, 60_000, 120_000, 180_000))
    assert [
        (start, 100 if start == 120_000 else last, last, 100 if start == 120_000 else last, last)
        for start, last in expected
    ] == levels(made)
    assert [last * 2 for _, last in expected] == made.realized_cents.tolist()
    assert [last * 3 for _, last in expected] == made.net_flow_cents.tolist()


def test_a_bar_beyond_what_is_filled_stays() -> None:
    found = rows((0, 1, 5), (600_000, 2, 6))
    made = filled(bars(found, minutes(found)), StretchColumns.empty(), int64(0, 60_000))
    assert [0, 60_000, 600_000] == made.start_ms.tolist()


def test_reads_join_in_order() -> None:
    assert [0, 5, 9] == joined([rows((0, 1, 1), (5, 2, 1)), StretchColumns.empty(), rows((9, 3, 1))]).last_ms.tolist()
