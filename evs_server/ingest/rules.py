"""
What may be said of each field, in order of precedence: absent or senseless first, beyond a bound after that. Pure.

Lives here: every rule that needs nothing but the event itself, for one event at a time. Not here: columns (``codec``),
and what depends on an account or a sender (``engine``, ``sequencer``).
"""

from typing import Any

from evs_server.errors import InvalidRequest, OutOfBounds
from evs_server.limits import (
    EXACT_MAX,
    FEE_CENTS_MAX,
    PRICE_CENTS_MAX,
    QUANTITY_BP_MAX,
    REASON_BYTES_MAX,
    SOURCE_BYTES_MAX,
    TICK_TIME_MS_MAX,
)
from evs_server.model import Side


def check_trade(*values: int) -> None:
    """One settled leg; raises what is wrong with it first, as do the others."""
    account_id, _, side, quantity_bp, price_cents, fee_cents, settlement_id, _ = values
    positive("account_id", account_id)
    if side not in (Side.BUY, Side.SELL):
        raise InvalidRequest("side", f"side must be TRADE_SIDE_BUY or TRADE_SIDE_SELL, not {side}", side=side)
    positive("quantity_bp", quantity_bp)
    positive("price_cents", price_cents)
    _not_negative("fee_cents", fee_cents)
    _not_negative("settlement_id", settlement_id)
    _at_most("account_id", account_id, EXACT_MAX)
    _at_most("quantity_bp", quantity_bp, QUANTITY_BP_MAX)
    _at_most("price_cents", price_cents, PRICE_CENTS_MAX)
    _at_most("fee_cents", fee_cents, FEE_CENTS_MAX)
    _at_most("settlement_id", settlement_id, EXACT_MAX)


def check_price(_symbol_id: int, price_cents: int, _index: int) -> None:
    """One mark."""
    positive("price_cents", price_cents)
    _at_most("price_cents", price_cents, PRICE_CENTS_MAX)


def check_cash(account_id: int, amount_cents: int, reason: str) -> None:
    """One flow."""
    positive("account_id", account_id)
    if not amount_cents:
        raise InvalidRequest("amount_cents", "amount_cents must not be 0", value=0)
    size = len(reason.encode())
    if size > REASON_BYTES_MAX:
        raise InvalidRequest(
            "reason", f"reason has {size} bytes, the most is {REASON_BYTES_MAX}", size=size, bound=REASON_BYTES_MAX
        )
    _at_most("account_id", account_id, EXACT_MAX)
    if abs(amount_cents) > EXACT_MAX:
        raise OutOfBounds(
            "amount_cents",
            f"amount_cents is {amount_cents}, beyond +-{EXACT_MAX}",
            value=amount_cents,
            bound=EXACT_MAX,
        )


def check_tick(tick_id: int, tick_time: int, _index: int) -> None:
    """One tick completion."""
    _not_negative("tick_time", tick_time)
    _at_most("tick_id", tick_id, EXACT_MAX)
    _at_most("tick_time", tick_time, TICK_TIME_MS_MAX)


def check_source(field: str, source: str) -> None:
    """The name of a sender."""
    size = len(source.encode())
    if not 0 < size <= SOURCE_BYTES_MAX:
        raise InvalidRequest(
            field,
            f"{field} must not be empty and have at most {SOURCE_BYTES_MAX} bytes, it has {size}",
            size=size,
            bound=SOURCE_BYTES_MAX,
        )
    if "\0" in source:
        # PostgreSQL keeps no such text: the flush with this sender's watermark, and all behind it, could never commit.
        raise InvalidRequest(field, f"{field} must not contain a NUL character")


def check_numbering(epoch_field: str, epoch: int, sequence_field: str, first_sequence: int, size: int) -> None:
    """An epoch, and a first sequence that so many events follow."""
    _at_most(epoch_field, epoch, EXACT_MAX)
    _at_most(sequence_field, first_sequence, EXACT_MAX + 1 - max(size, 1))


def check_lengths(kind: str, **columns: Any) -> None:
    """Columns of one run must be of one length."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidRequest(f"runs.{kind}", f"columns of {kind} differ in length: {listed}", **lengths)


def positive(field: str, value: int) -> None:
    """A number above zero."""
    if value <= 0:
        raise InvalidRequest(field, f"{field} must be positive, not {value}", value=value)


def _not_negative(field: str, value: int) -> None:
    if value < 0:
        raise InvalidRequest(field, f"{field} must not be negative, it is {value}", value=value)


def _at_most(field: str, value: int, bound: int) -> None:
    if value > bound:
        raise OutOfBounds(field, f"{field} is {value}, the most is {bound}", value=value, bound=bound)
