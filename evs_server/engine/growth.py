"""
Time-weighted growth: what a cent became, deposits and withdrawals left out. Pure; integers only.

Of a session count its close ``E`` and its gain, which flows are no part of. ``capital = E - gain`` is what had to earn
that gain: what was there at the session's start, and what was paid in since, as if paid in at the start. The session's
growth is ``E / capital``. Growths of sessions multiply; each product is rounded, half to even, to a whole number of
``GROWTH_ONE``-ths, in their order.

A worked example, in cents. An account closes at 100,000. 50,000 are paid in and it closes at 165,000: the gain is
15,000, the capital 150,000, the growth 1.1. The next day it closes at 132,000: gain -33,000, capital 165,000, growth
0.8. Both days together: 1.1 x 0.8 = 0.88, a return of -12 %, though there are 32,000 cents more than before. The
highest value was 1.1, and 0.88 is 20 % below it.

A session without capital has no growth: the product stays as it is. So it does for good once it is zero or less, for no
percentage wins back what is lost whole; a range that begins later begins anew.

Each rule exists for plain ints and for columns; they agree.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evs_server.limits import EXACT_MAX, PERCENT_E4_MAX
from evs_server.model import BoolArray, Close, Int64Array, UInt64Array

GROWTH_ONE: Final = 10**12
"""Growth of an account that stays as it is."""
GROWTH_MAX: Final = 10**18
"""A millionfold; growth is cut off there. The largest percentage that is told is a hundredth of it."""
CAPITAL_CENTS_MAX: Final = 2 * EXACT_MAX
"""Largest capital: an equity less the difference of two profits."""

_PERCENT_E4_UNIT: Final = GROWTH_ONE // 10**6
_LIMB_BITS: Final = 9
_LIMBS: Final = 7

assert GROWTH_MAX < 2 ** (_LIMB_BITS * _LIMBS) <= 2**63
assert GROWTH_MAX // GROWTH_ONE * 10**6 > PERCENT_E4_MAX, "what is cut off lies beyond the clamp of the percentage"
assert CAPITAL_CENTS_MAX * (2 ** (_LIMB_BITS + 1) - 1) < 2**64, "a remainder and a limb's product must not wrap"


@dataclass(frozen=True, slots=True)
class Performance:
    """
    What an account has made from one valuation to another.

    Attributes:
        start: The first valuation that counts.
        end: The last.
        return_percent_e4: The time-weighted return, in ten-thousandths of a percent.
        max_drawdown_percent_e4: The deepest fall below the highest value so far; zero or less.
        drawdown_percent_e4: How far below the highest value it ends; zero or less.
        high_water_cents: The highest equity, less what was paid in since the start.
        high_water_ms: When that first was.
    """

    start: Close
    end: Close
    return_percent_e4: int
    max_drawdown_percent_e4: int
    drawdown_percent_e4: int
    high_water_cents: int
    high_water_ms: int


def performance(
    start: Close,
    closes: Sequence[Close],
    minutes: Iterable[Close],
    end: Close,
    *,
    first_base_cents: int,
    last_base_cents: int,
) -> Performance:
    """
    What an account has made from ``start`` to ``end``.

    Args:
        closes: Of the sessions that ended in between, ascending.
        minutes: Of the session after the last of them, ascending; for drawdown and high-water mark only.
        first_base_cents: The profit (equity less net flow) from which the first session's gain counts.
        last_base_cents: The same of the last, unfinished session, which is the first if there are no closes.
    """
    values, growth, base_cents = [GROWTH_ONE], GROWTH_ONE, first_base_cents
    for close in closes:
        growth = linked(growth, close.equity_cents, _capital_cents(close, base_cents))
        base_cents = close.profit_cents
        values.append(growth)
    last = [*minutes, end]
    values += [linked(growth, each.equity_cents, _capital_cents(each, last_base_cents)) for each in last]
    deepest, now = drawdowns_e4(values)
    highest = max([start, *closes, *last], key=lambda each: each.equity_cents - each.net_flow_cents)
    return Performance(
        start=start,
        end=end,
        return_percent_e4=return_percent_e4(growth, end.equity_cents, _capital_cents(end, last_base_cents)),
        max_drawdown_percent_e4=deepest,
        drawdown_percent_e4=now,
        high_water_cents=highest.profit_cents + start.net_flow_cents,
        high_water_ms=highest.time_ms,
    )


def linked(growth: int, equity_cents: int, capital_cents: int) -> int:
    """
    The growth so far, and one more session's.

    Args:
        growth: In ``GROWTH_ONE``-ths, within ``GROWTH_MAX``.
        equity_cents: At the session's close; any sign.
        capital_cents: What earned its gain; zero or less is none.
    """
    if growth <= 0 or capital_cents <= 0:
        return growth
    product = _divided_half_even(growth * equity_cents, capital_cents)
    return max(-GROWTH_MAX, min(product, GROWTH_MAX))


def return_percent_e4(growth: int, equity_cents: int = 1, capital_cents: int = 1) -> int:
    """
    The return in ten-thousandths of a percent, of growth so far and one more session's; rounded once, and clamped.

    Without growth so far it is ``arithmetic.percent_e4`` of the session's gain and capital. Arguments as of ``linked``.
    """
    if growth <= 0 or capital_cents <= 0:
        equity_cents = capital_cents = 1
    gained = growth * equity_cents - GROWTH_ONE * capital_cents
    percent = _divided_half_even(gained, _PERCENT_E4_UNIT * capital_cents)
    return max(-PERCENT_E4_MAX, min(percent, PERCENT_E4_MAX))


def drawdowns_e4(values: Iterable[int]) -> tuple[int, int]:
    """
    How far values fall below the highest before them, at most and at the end.

    Args:
        values: Growths, the first positive; at least one.

    Returns:
        Ten-thousandths of a percent, zero or less.
    """
    highest, deepest, now = 0, 0, 0
    for value in values:
        highest = max(highest, value)
        now = max(-PERCENT_E4_MAX, _divided_half_even((value - highest) * 10**6, highest))
        deepest = min(deepest, now)
    return deepest, now


def linked_columns(growth: Int64Array, equity_cents: Int64Array, capital_cents: Int64Array) -> Int64Array:
    """As ``linked``, for each row; all of shape ``(n,)``."""
    usable, equity, capital = _usable(growth, equity_cents, capital_cents)
    quotient, remainder, divisor = _product(growth, equity, capital)
    twice = remainder * np.uint64(2)
    odd = (quotient & np.uint64(1)).astype(np.bool_)
    rounded = (quotient + ((twice > divisor) | ((twice == divisor) & odd))).astype(np.int64)
    product: Int64Array = np.where(usable, np.sign(equity) * np.minimum(rounded, GROWTH_MAX), growth)
    return product


def return_columns_e4(growth: Int64Array, equity_cents: Int64Array, capital_cents: Int64Array) -> Int64Array:
    """As ``return_percent_e4``, for each row; all of shape ``(n,)``."""
    usable, equity, capital = _usable(growth, equity_cents, capital_cents)
    quotient, remainder, _ = _product(growth, equity, capital)
    inexact, negative = remainder > 0, equity < 0
    # Of a negative product the quotient is taken down, as ``divmod`` does, so that what remains is never negative.
    floor = quotient.astype(np.int64)
    floor = np.where(usable, np.where(negative, -floor - inexact, floor), growth)
    inexact &= usable
    percent, rest = np.divmod(floor - GROWTH_ONE, _PERCENT_E4_UNIT)
    half = _PERCENT_E4_UNIT // 2
    percent += (rest > half) | ((rest == half) & (inexact | (percent % 2 == 1)))
    clamped: Int64Array = np.clip(percent, -PERCENT_E4_MAX, PERCENT_E4_MAX)
    return clamped


def _capital_cents(close: Close, base_cents: int) -> int:
    """The equity less the gain, which is by how much the profit has moved from ``base_cents``."""
    return close.equity_cents - (close.profit_cents - base_cents)


def _divided_half_even(dividend: int, divisor: int) -> int:
    quotient, remainder = divmod(dividend, divisor)
    return quotient + (2 * remainder > divisor or (2 * remainder == divisor and quotient % 2 == 1))


def _usable(
    growth: Int64Array, equity_cents: Int64Array, capital_cents: Int64Array
) -> tuple[BoolArray, Int64Array, Int64Array]:
    """Which rows have a growth to link, and equity and capital with 0 and 1 in the others' place."""
    usable: BoolArray = (growth > 0) & (capital_cents > 0)
    equity: Int64Array = np.where(usable, equity_cents, 0)
    capital: Int64Array = np.where(usable, capital_cents, 1)
    assert equity.size == 0 or (int(np.abs(equity).max()) <= EXACT_MAX and int(capital.max()) <= CAPITAL_CENTS_MAX)
    return usable, equity, capital


def _product(
    growth: Int64Array, equity_cents: Int64Array, capital_cents: Int64Array
) -> tuple[UInt64Array, UInt64Array, UInt64Array]:
    """
    ``growth * |equity| / capital`` as quotient, remainder and divisor; beyond ``GROWTH_MAX`` it is only at least that.

    The product does not fit into 64 bits: what is left of ``|equity| / capital`` is multiplied limb by limb of growth.
    """
    divisor = capital_cents.astype(np.uint64)
    whole, rest = np.divmod(np.abs(equity_cents).astype(np.uint64), divisor)
    factor = np.maximum(growth, 0).astype(np.uint64)
    quotient, remainder = np.zeros_like(divisor), np.zeros_like(divisor)
    bits, mask = np.uint64(_LIMB_BITS), np.uint64(2**_LIMB_BITS - 1)
    for limb in range(_LIMBS - 1, -1, -1):
        part = (factor >> np.uint64(limb * _LIMB_BITS)) & mask
        digits, remainder = np.divmod((remainder << bits) + part * rest, divisor)
        quotient = (quotient << bits) + digits
    most = np.uint64(GROWTH_MAX) // np.maximum(factor, np.uint64(1))
    quotient += np.where(whole > most, np.uint64(GROWTH_MAX), factor * np.minimum(whole, most))
    return quotient, remainder, divisor
