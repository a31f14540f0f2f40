"""
What a fill does to a position and to cash: DESIGN 3, one event at a time, in plain integers. Pure.

A worked example, in cents: long 100 shares bought at 5,000 (basis 500,000); sell 150 at 5,500. All 100 close: they cost
500,000 and bring 550,000, so realized grows by 50,000. The other 50 open a short at the fill price: quantity -500,000
bp, basis -275,000. Cash grows by 825,000.
"""

from collections.abc import Iterable
from typing import NamedTuple

from evs_server.engine.arithmetic import divide_toward_zero, notional_cents
from evs_server.model import SettledTrade, Side


class Lot(NamedTuple):
    """
    One account's holding of one symbol.

    ``basis_cents`` has the sign of ``quantity_bp`` and is zero when that is; ``realized_cents`` outlives the holding.
    """

    quantity_bp: int = 0
    basis_cents: int = 0
    realized_cents: int = 0


class Fill(NamedTuple):
    """A lot after a fill, and what the fill did to the account's cash."""

    lot: Lot
    cash_change_cents: int


def signed_quantity_bp(side: Side, quantity_bp: int) -> int:
    """The quantity as it changes a position: negative for a sale."""
    return quantity_bp if side is Side.BUY else -quantity_bp


def fill(lot: Lot, quantity_bp: int, price_cents: int, fee_cents: int = 0) -> Fill:
    """
    A lot after buying (positive quantity) or selling (negative) at a price.

    Args:
        lot: Before the fill.
        quantity_bp: Signed, not zero.
        price_cents: Cents per share, positive.
        fee_cents: Lowers cash and realized alike, so that an account's realized stays the sum of its positions'.
    """
    assert quantity_bp != 0
    direction = 1 if quantity_bp > 0 else -1
    notional = notional_cents(abs(quantity_bp), price_cents)
    cash_change_cents = -direction * notional - fee_cents
    held_bp = lot.quantity_bp
    if held_bp * direction >= 0:
        opened = Lot(held_bp + quantity_bp, lot.basis_cents + direction * notional, lot.realized_cents - fee_cents)
        return Fill(opened, cash_change_cents)
    closed_bp = min(abs(quantity_bp), abs(held_bp))
    closed_basis = divide_toward_zero(lot.basis_cents * closed_bp, abs(held_bp))
    closed_notional = notional if closed_bp == abs(quantity_bp) else notional_cents(closed_bp, price_cents)
    # A long gains what it brings over its cost; a short (negative basis) gains what it brought over what it costs.
    gained_cents = -direction * closed_notional - closed_basis
    after = Lot(
        held_bp + quantity_bp,
        lot.basis_cents - closed_basis + direction * (notional - closed_notional),
        lot.realized_cents + gained_cents - fee_cents,
    )
    return Fill(after, cash_change_cents)


def fold(trades: Iterable[SettledTrade]) -> dict[int, Lot]:
    """
    The lots, by symbol, that an account's trades leave when filled in the order given.

    The exchange's ``trades`` rows know no fees: what was charged shows in the account's cash alone.
    """
    lots: dict[int, Lot] = {}
    for trade in trades:
        lot = lots.get(trade.symbol_id, Lot())
        lots[trade.symbol_id] = fill(lot, signed_quantity_bp(trade.side, trade.quantity_bp), trade.price_cents).lot
    return lots


def cash_change_cents(trades: Iterable[SettledTrade]) -> int:
    """What an account's trades have done to its cash together, fees apart."""
    return sum(
        -signed_quantity_bp(trade.side, 1) * notional_cents(trade.quantity_bp, trade.price_cents) for trade in trades
    )
