"""Cuts toward zero, exact products, percentages rounded half to even: as columns and as plain ints."""

from fractions import Fraction

import numpy as np
import pytest

from evs_server.engine.arithmetic import divide_toward_zero, notional, notional_cents, percent_e4
from evs_server.limits import EXACT_MAX, MONEY_CENTS_MAX, PERCENT_E4_MAX, PRICE_CENTS_MAX, QUANTITY_BP_MAX
from tests.builders import int64

NOTIONALS = [
    (0, 1_500, 0),
    (100_000, 1_500, 15_000),  # 10 shares at $15.00
    (-100_000, 1_500, -15_000),  # the same, short
    (9_999, 1, 0),  # less than a cent
    (-9_999, 1, 0),
    (10_000, 1, 1),
    (5_000, 333, 166),
    (-5_000, 333, -166),  # short: toward zero, not -167
    (10_001, 333, 333),
    (-10_001, 333, -333),
    (-1, 1, 0),
    (-19_999, 3, -5),  # -5.9997
    (9_999, PRICE_CENTS_MAX, 999_900_000_000),
    (-9_999, PRICE_CENTS_MAX, -999_900_000_000),
    (QUANTITY_BP_MAX, 10_000, QUANTITY_BP_MAX),  # their plain product would wrap
    (-QUANTITY_BP_MAX, 9_999, -9_006_298_534_815_516),
    (90_071_992_547_409, PRICE_CENTS_MAX, 9_007_199_254_740_900_000_000),
]


@pytest.mark.parametrize(("quantity_bp", "price_cents", "value_cents"), NOTIONALS)
def test_a_notional_is_cut_toward_zero(quantity_bp: int, price_cents: int, value_cents: int) -> None:
    """A quantity is worth its size times the price, cut to a whole cent."""
    assert value_cents == notional_cents(quantity_bp, price_cents)


@pytest.mark.parametrize(
    ("quantity_bp", "price_cents", "value_cents"), [each for each in NOTIONALS if abs(each[2]) <= 2 * MONEY_CENTS_MAX]
)
def test_notionals_as_a_column_are_the_same(quantity_bp: int, price_cents: int, value_cents: int) -> None:
    assert [value_cents, -value_cents] == notional(
        int64(quantity_bp, -quantity_bp), int64(price_cents, price_cents)
    ).tolist()


def test_a_column_keeps_its_order() -> None:
    assert [166, 0, -166] == notional(int64(5_000, 0, -5_000), int64(333, 7, 333)).tolist()


def test_no_positions_have_no_values() -> None:
    assert [] == notional(int64(), int64()).tolist()
    assert [] == percent_e4(int64(), int64()).tolist()


@pytest.mark.parametrize(
    ("dividend", "divisor", "quotient"),
    [
        (0, 3, 0),
        (2, 3, 0),
        (-2, 3, 0),
        (3, 3, 1),
        (-3, 3, -1),
        (5, 3, 1),
        (-5, 3, -1),
        (-(10**30) - 1, 10**10, -(10**20)),
    ],
)
def test_a_division_is_cut_toward_zero(dividend: int, divisor: int, quotient: int) -> None:
    assert quotient == divide_toward_zero(dividend, divisor)


@pytest.mark.parametrize(
    ("change_cents", "base_cents", "percent"),
    [
        (0, 1, 0),
        (100_000, 1_000_000, 100_000),  # 10.0000 %
        (-100_000, 1_000_000, -100_000),
        (1, 3, 333_333),  # 33.3333 %
        (2, 3, 666_667),
        (-2, 3, -666_667),
        (1, 2_000_000, 0),  # 0.00005 %: half, to the even 0
        (3, 2_000_000, 2),  # 0.00015 %: half, to the even 2
        (5, 2_000_000, 2),  # 0.00025 %: half, down to the even 2
        (-1, 2_000_000, 0),
        (-3, 2_000_000, -2),
        (-5, 2_000_000, -2),
        (1, 1_999_999, 1),  # just over half
        (1, 2_000_001, 0),  # just under
        (9_007_199_254_740_990, 9_007_199_254_740_991, 1_000_000),  # 99.99999999999999 %
        (9_007_199_254_740_991, 9_007_199_254_740_990, 1_000_000),
    ],
)
def test_a_percentage_has_four_decimals_half_to_even(change_cents: int, base_cents: int, percent: int) -> None:
    """The percentage is that of the exact fraction, in ten-thousandths, rounded half to even."""
    assert [percent] == percent_e4(int64(change_cents), int64(base_cents)).tolist()


@pytest.mark.parametrize("base_cents", [0, -1, -EXACT_MAX])
def test_a_base_of_zero_or_less_gives_zero_percent(base_cents: int) -> None:
    assert [0, 0] == percent_e4(int64(5, -5), int64(base_cents, base_cents)).tolist()


@pytest.mark.parametrize(
    ("change_cents", "base_cents", "percent"),
    [
        (9_999_999_999, 1_000_000, PERCENT_E4_MAX),  # exactly the most
        (10_000_000_000, 1_000_000, PERCENT_E4_MAX),
        (99_999_999_994, 10_000_000, PERCENT_E4_MAX),  # rounds down to the most
        (99_999_999_996, 10_000_000, PERCENT_E4_MAX),  # would round up beyond it
        (EXACT_MAX, 1, PERCENT_E4_MAX),
        (-EXACT_MAX, 1, -PERCENT_E4_MAX),
        (9_999_999_998, 1_000_000, PERCENT_E4_MAX - 1),
        (-9_999_999_998, 1_000_000, -PERCENT_E4_MAX + 1),
    ],
)
def test_a_percentage_is_clamped(change_cents: int, base_cents: int, percent: int) -> None:
    """Nothing beyond 999,999.9999 % is ever shown, either way (DESIGN 2.14)."""
    assert [percent] == percent_e4(int64(change_cents), int64(base_cents)).tolist()


@pytest.mark.parametrize(("change_cents", "percent"), [(497, 248), (511, 256), (981, 490), (983, 492), (-1_959, -980)])
def test_a_half_is_exact_where_a_float_is_not(change_cents: int, percent: int) -> None:
    """497 of 2,000,000 is 0.02485 %: a half, which every way through a float takes for a little more."""
    assert [percent] == percent_e4(int64(change_cents), int64(2_000_000)).tolist()


def test_percentages_are_those_of_exact_fractions_over_the_whole_range() -> None:
    """Ties included: half of the pairs are made so that the fifth decimal is an exact half."""
    rng = np.random.default_rng(2_026)
    change = rng.integers(-EXACT_MAX, EXACT_MAX, 500)
    base = rng.integers(1, EXACT_MAX, 500)
    ties = rng.integers(-(10**9), 10**9, 500) * 2 + 1
    changes, bases = np.concatenate([change, ties]), np.concatenate([base, np.full(500, 2_000_000)])
    expected = [
        max(-PERCENT_E4_MAX, min(PERCENT_E4_MAX, round(Fraction(int(top) * 10**6, int(bottom)))))
        for top, bottom in zip(changes, bases, strict=True)
    ]
    assert expected == percent_e4(changes, bases).tolist()
