"""Time-weighted growth, by hand: links, returns, drawdown and high-water mark."""

import pytest

from evs_server.engine.growth import (
    GROWTH_MAX,
    GROWTH_ONE,
    drawdowns_e4,
    linked,
    performance,
    return_percent_e4,
)
from evs_server.limits import EXACT_MAX, PERCENT_E4_MAX
from evs_server.model import Close
from tests.builders import DAY_MS, NOON_MS

PERCENT_E4 = 10_000


def closes(*equity_and_flow: tuple[int, int]) -> list[Close]:
    """Closes a day apart."""
    return [Close(NOON_MS + day * DAY_MS, *each) for day, each in enumerate(equity_and_flow)]


@pytest.mark.parametrize(
    ("expected", "growth", "equity_cents", "capital_cents"),
    [
        (GROWTH_ONE, GROWTH_ONE, 5, 5),
        (11 * GROWTH_ONE // 10, GROWTH_ONE, 165_000, 150_000),
        (88 * GROWTH_ONE // 100, 11 * GROWTH_ONE // 10, 132_000, 165_000),
        (333_333_333_333, GROWTH_ONE, 1, 3),
        (2, 1, 3, 2),  # one and a half is as far from one as from two: to the even one
        (2, 1, 5, 2),
        (-2, 1, -3, 2),
        (-GROWTH_ONE // 10, GROWTH_ONE, -100, 1_000),  # more than everything
        (0, GROWTH_ONE, 0, 1_000),
        (GROWTH_ONE, GROWTH_ONE, 50, 0),  # nothing had been there to grow
        (GROWTH_ONE, GROWTH_ONE, 50, -100),
        (0, 0, 2_000, 1_000),  # what is lost whole, no percentage wins back
        (-7, -7, 2_000, 1_000),
        (GROWTH_MAX, GROWTH_ONE, EXACT_MAX, 1),
        (-GROWTH_MAX, GROWTH_ONE, -EXACT_MAX, 1),
    ],
)
def test_a_link_multiplies_by_what_each_cent_of_capital_became(
    expected: int, growth: int, equity_cents: int, capital_cents: int
) -> None:
    assert expected == linked(growth, equity_cents, capital_cents)


@pytest.mark.parametrize(
    ("expected", "growth", "equity_cents", "capital_cents"),
    [
        (0, GROWTH_ONE, 1, 1),
        (10 * PERCENT_E4, GROWTH_ONE, 1_100_000, 1_000_000),
        (-12 * PERCENT_E4, 11 * GROWTH_ONE // 10, 132_000, 165_000),
        (333_333, GROWTH_ONE, 4, 3),
        (0, GROWTH_ONE, 2_000_001, 2_000_000),  # half of the last decimal: to the even one
        (2, GROWTH_ONE, 2_000_003, 2_000_000),
        (0, GROWTH_ONE, 1_999_999, 2_000_000),
        (-2, GROWTH_ONE, 1_999_997, 2_000_000),
        (-110 * PERCENT_E4, GROWTH_ONE, -100, 1_000),
        (5 * PERCENT_E4, 105 * GROWTH_ONE // 100, 7, 0),
        (-100 * PERCENT_E4, 0, 7, 5),
        (PERCENT_E4_MAX, GROWTH_ONE, EXACT_MAX, 1),
        (-PERCENT_E4_MAX, GROWTH_ONE, -EXACT_MAX, 1),
    ],
)
def test_a_return_is_rounded_once_to_four_decimals(
    expected: int, growth: int, equity_cents: int, capital_cents: int
) -> None:
    assert expected == return_percent_e4(growth, equity_cents, capital_cents)


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        ((0, 0), [GROWTH_ONE]),
        ((0, 0), [10, 11, 12]),
        ((-200_000, -200_000), [8, 10, 8]),
        ((-500_000, -100_000), [10, 20, 10, 18]),
        ((-500_000, 0), [10, 5, 11]),
        ((-1_100_000, -1_100_000), [10, -1]),
    ],
)
def test_a_drawdown_is_measured_from_the_highest_so_far(expected: tuple[int, int], values: list[int]) -> None:
    assert expected == drawdowns_e4(values)


def test_the_worked_example() -> None:
    """As the module's documentation has it: more cents than before, and yet a loss."""
    start, first, last = closes((100_000, 100_000), (165_000, 150_000), (132_000, 150_000))
    made = performance(start, [first], [], last, first_base_cents=0, last_base_cents=15_000)
    assert (-12 * PERCENT_E4, -20 * PERCENT_E4, -20 * PERCENT_E4) == (
        made.return_percent_e4,
        made.max_drawdown_percent_e4,
        made.drawdown_percent_e4,
    )
    assert (115_000, first.time_ms) == (made.high_water_cents, made.high_water_ms), "less the 50,000 paid in since"


def test_minutes_count_for_the_depth_of_a_fall_and_not_for_the_return() -> None:
    start, low, high, end = closes((1_000, 1_000), (500, 1_000), (2_000, 1_000), (1_000, 1_000))
    made = performance(start, [], [low, high], end, first_base_cents=0, last_base_cents=0)
    assert 0 == made.return_percent_e4
    assert (-50 * PERCENT_E4, -50 * PERCENT_E4) == (made.max_drawdown_percent_e4, made.drawdown_percent_e4)
    assert (2_000, high.time_ms) == (made.high_water_cents, made.high_water_ms)


def test_the_first_of_equal_high_waters_is_told() -> None:
    start, paid_in = closes((1_000, 0), (1_500, 500))
    made = performance(start, [], [], paid_in, first_base_cents=1_000, last_base_cents=1_000)
    assert (1_000, start.time_ms) == (made.high_water_cents, made.high_water_ms)
