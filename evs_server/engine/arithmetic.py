"""
The only places where cents are multiplied and divided. Pure; integers only.

Each rule exists for plain ints, exact whatever their size, and for int64: as a helper of kernels, and as a column for
everyone else. They agree wherever both apply.
All cuts go toward zero, so that a short is the exact mirror of a long: 5,000 bp short at 333 cents is -166, while
``//`` would round down to -167 (DESIGN 2.1).
"""

from typing import Final

import numpy as np
from numba import types

from evs_server.engine.compiled import INT64S, helper, kernel
from evs_server.limits import BP_PER_SHARE, EXACT_MAX, PERCENT_E4_MAX, PRICE_CENTS_MAX
from evs_server.model import Int64Array

_PERCENT_SCALE: Final = 10**6
_PLAIN_CHANGE_MAX: Final = (2**63 - 1) // _PERCENT_SCALE


def divide_toward_zero(dividend: int, divisor: int) -> int:
    """
    The quotient, cut toward zero.

    Args:
        dividend: Any sign, any size.
        divisor: Positive.
    """
    assert divisor > 0
    return dividend // divisor if dividend >= 0 else -(-dividend // divisor)


def notional_cents(quantity_bp: int, price_cents: int) -> int:
    """
    What a quantity is worth at a price, in cents, cut toward zero.

    Args:
        quantity_bp: Signed, in 1/10,000 share.
        price_cents: Cents per share, zero or more.
    """
    return divide_toward_zero(quantity_bp * price_cents, BP_PER_SHARE)


@helper
def cut_notional(quantity_bp: int, price_cents: int) -> int:
    """
    What a quantity is worth at a price, in cents, cut toward zero; for kernels.

    Whole shares and the rest are multiplied apart: a plain product would wrap at a thousandth of the range.

    Args:
        quantity_bp: Signed, in 1/10,000 share.
        price_cents: ``0 .. PRICE_CENTS_MAX``. The result must fit into an int64, which ``bounds`` sees to.
    """
    magnitude_bp = abs(quantity_bp)
    whole_shares = magnitude_bp // BP_PER_SHARE
    rest_bp = magnitude_bp - whole_shares * BP_PER_SHARE
    value = whole_shares * price_cents + rest_bp * price_cents // BP_PER_SHARE
    return value if quantity_bp >= 0 else -value


@helper
def rounded_percent_e4(change_cents: int, base_cents: int) -> int:
    """
    ``100 * change / base`` with four exact decimals, rounded half to even and clamped to +-999,999.9999; for kernels.

    Where ``change * 10**6`` does not fit into an int64, it is worked as a long division in base 1,000.

    Args:
        change_cents: Signed, within ``EXACT_MAX``.
        base_cents: Within ``EXACT_MAX``. Zero or less gives 0.
    """
    if base_cents <= 0:
        return 0
    magnitude = abs(change_cents)
    if magnitude <= _PLAIN_CHANGE_MAX:
        quotient = magnitude * _PERCENT_SCALE // base_cents
        remainder = magnitude * _PERCENT_SCALE - quotient * base_cents
    else:
        # Beyond this the clamp decides, and six more digits would not fit.
        quotient = min(magnitude // base_cents, PERCENT_E4_MAX // _PERCENT_SCALE + 1)
        remainder = magnitude % base_cents
        for _ in range(2):
            quotient = quotient * 1_000 + remainder * 1_000 // base_cents
            remainder = remainder * 1_000 % base_cents
    twice = 2 * remainder
    if twice > base_cents or (twice == base_cents and quotient % 2 == 1):
        quotient += 1
    quotient = min(quotient, PERCENT_E4_MAX)
    return quotient if change_cents >= 0 else -quotient


def notional(quantity_bp: Int64Array, price_cents: Int64Array) -> Int64Array:
    """
    What each quantity is worth at its price, in cents, each cut toward zero.

    Args:
        quantity_bp: Signed, in 1/10,000 share; shape ``(n,)``.
        price_cents: Cents per share, ``0 .. PRICE_CENTS_MAX``; shape ``(n,)``. Their notional must fit into an int64,
            which ``bounds`` sees to.

    Returns:
        Cents; shape ``(n,)``.
    """
    assert quantity_bp.shape == price_cents.shape
    assert price_cents.size == 0 or int(price_cents.max()) <= PRICE_CENTS_MAX
    values = np.empty(len(quantity_bp), np.int64)
    _notionals(np.ascontiguousarray(quantity_bp), np.ascontiguousarray(price_cents), values)
    return values


def percent_e4(change_cents: Int64Array, base_cents: Int64Array) -> Int64Array:
    """
    ``rounded_percent_e4`` of columns.

    Args:
        change_cents: Signed, within ``EXACT_MAX``; shape ``(n,)``.
        base_cents: Within ``EXACT_MAX``; shape ``(n,)``. Zero or less gives 0.

    Returns:
        Ten-thousandths of a percent; shape ``(n,)``. 10 % is 100,000.
    """
    assert change_cents.shape == base_cents.shape
    for column in (change_cents, base_cents):
        assert column.size == 0 or int(np.abs(column).max()) <= EXACT_MAX
    percent = np.empty(len(change_cents), np.int64)
    _percents(np.ascontiguousarray(change_cents), np.ascontiguousarray(base_cents), percent)
    return percent


@kernel(types.void(INT64S, INT64S, INT64S))
def _notionals(quantity_bp: Int64Array, price_cents: Int64Array, out: Int64Array) -> None:
    for index in range(len(out)):
        out[index] = cut_notional(quantity_bp[index], price_cents[index])


@kernel(types.void(INT64S, INT64S, INT64S))
def _percents(change_cents: Int64Array, base_cents: Int64Array, out: Int64Array) -> None:
    for index in range(len(out)):
        out[index] = rounded_percent_e4(change_cents[index], base_cents[index])
