"""
One trade or one price, applied by a kernel: what ``trading`` does with a run of one, without the run. Pure.

An event that comes alone meets a processor that has done something else before: what counts is how little is run
through. A kernel is handed its numbers as they are, and of the engine the handle alone.
"""

from typing import Final

from numba import types

from evs_server.engine.compiled import kernel, type_of
from evs_server.engine.handle import HANDLE, read
from evs_server.engine.tables import NO_ROW
from evs_server.engine.trading import apply_plain_price, apply_plain_trade, look_up
from evs_server.model import Int64Array

_LEG: Final = type_of((0, 0, 0, 0, 0, 0))


@kernel(types.boolean(HANDLE, _LEG, types.int64, types.boolean))
def apply_trade(handle: Int64Array, leg: tuple[int, ...], now_ms: int, moves_marks: bool) -> bool:
    """
    Whether a trade was plain, and is applied; if it was not, nothing has changed.

    Args:
        handle: Of everything.
        leg: Account, symbol, side, quantity, price, fee.
        moves_marks: Whether trades move the marks of symbols that have no price of their own.
    """
    tables, _, marked = read(handle)
    account_id, symbol_id, side, quantity_bp, price_cents, fee_cents = leg
    account_row, symbol_row = look_up(account_id, symbol_id, fee_cents, tables)
    if account_row == NO_ROW:
        return False
    fill = (side, quantity_bp, price_cents, fee_cents)
    return bool(apply_plain_trade(fill, (account_row, symbol_row, NO_ROW), now_ms, moves_marks, tables, marked))


@kernel(types.boolean(HANDLE, *[types.int64] * 3))
def apply_price(handle: Int64Array, symbol_id: int, price_cents: int, now_ms: int) -> bool:
    """Whether a price was plain, and is a mark; if it was not, nothing has changed."""
    tables, _, marked = read(handle)
    return bool(apply_plain_price(symbol_id, price_cents, now_ms, tables, marked))
