"""
The only places where cents are multiplied and divided. Pure; integers only.

Each rule exists for plain ints (one event at a time) and for columns (a whole pass); they agree wherever both apply.
All cuts go toward zero, so that a short is the exact mirror of a long: 5,000 bp short at 333 cents is -166, while
``//`` would round down to -167 (DESIGN 2.1).
"""

import numpy as np

from evs_server.limits import BP_PER_SHARE, EXACT_MAX, PERCENT_E4_MAX, PRICE_CENTS_MAX
from evs_server.model import Int64Array


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


def notional(quantity_bp: Int64Array, price_cents: Int64Array) -> Int64Array:
    """
    What each quantity is worth at its price, in cents, each cut toward zero.

    Whole shares and the rest are multiplied apart: a plain product would wrap at a thousandth of the range.

    Args:
        quantity_bp: Signed, in 1/10,000 share; shape ``(n,)``.
        price_cents: Cents per share, ``0 .. PRICE_CENTS_MAX``; shape ``(n,)``. Their notional must fit into an int64,
            which ``bounds`` sees to.

    Returns:
        Cents; shape ``(n,)``.
    """
    assert price_cents.size == 0 or int(price_cents.max()) <= PRICE_CENTS_MAX
    rest_bp = np.fmod(quantity_bp, BP_PER_SHARE)
    rest_product = rest_bp * price_cents
    rest_cents = (rest_product - np.fmod(rest_product, BP_PER_SHARE)) // BP_PER_SHARE
    whole_shares = (quantity_bp - rest_bp) // BP_PER_SHARE
    values: Int64Array = whole_shares * price_cents + rest_cents
    return values


def percent_e4(change_cents: Int64Array, base_cents: Int64Array) -> Int64Array:
    """
    ``100 * change / base`` with four exact decimals, rounded half to even and clamped to +-999,999.9999.

    Worked as a long division in base 1,000, because ``change * 10**6`` does not fit into an int64.

    Args:
        change_cents: Signed, within ``EXACT_MAX``; shape ``(n,)``.
        base_cents: Within ``EXACT_MAX``; shape ``(n,)``. Zero or less gives 0.

    Returns:
        Ten-thousandths of a percent; shape ``(n,)``. 10 % is 100,000.
    """
    usable = base_cents > 0
    base = np.where(usable, base_cents, 1)
    magnitude = np.abs(change_cents)
    assert magnitude.size == 0 or (int(magnitude.max()) <= EXACT_MAX and int(base.max()) <= EXACT_MAX)
    quotient, remainder = np.divmod(magnitude, base)
    # Beyond this the clamp decides, and six more digits would not fit.
    quotient = np.minimum(quotient, PERCENT_E4_MAX // 10**6 + 1)
    for _ in range(2):
        digits, remainder = np.divmod(remainder * 1_000, base)
        quotient = quotient * 1_000 + digits
    twice = 2 * remainder
    quotient += (twice > base) | ((twice == base) & (quotient % 2 == 1))
    percent: Int64Array = np.where(usable, np.sign(change_cents) * np.minimum(quotient, PERCENT_E4_MAX), 0)
    return percent
