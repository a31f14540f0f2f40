"""
How the exchange itself books trades: cash exactly, of each position its quantity and a whole-cent average cost. Pure.

Lives here: what one batch of trades does to balances and positions. Not here: SQL, notifications, and exact basis and
realized P&L, which EVS keeps. The average loses fractions of a cent: that is what the exchange's tables hold.

Worked example: 10 shares at 300 cents, then 5 at 301: the average is 300 (4,505 / 15, cut). Selling 20 at 310 turns the
account short by 5 shares at an average of 310.
"""

from collections.abc import Iterable, MutableMapping
from typing import Final, NamedTuple

from evs_server.limits import BP_PER_SHARE


class Trade(NamedTuple):
    """
    Two orders that met.

    Attributes:
        buyer_id: Account that gains the shares; may be the seller too.
        seller_id: Account that gives them.
        symbol_id: What is traded.
        quantity_bp: Size in bp, positive.
        price_cents: Cents per share, positive.
        time_ms: When, in unix milliseconds.
    """

    buyer_id: int
    seller_id: int
    symbol_id: int
    quantity_bp: int
    price_cents: int
    time_ms: int


class Settlement(NamedTuple):
    """The ids of the two ``trades`` rows of one settled trade."""

    buy_id: int
    sell_id: int


class Holding(NamedTuple):
    """A position as the exchange keeps it: signed bp, and cents per share (0 if flat)."""

    quantity_bp: int
    avg_cost_cents: int

    def after(self, quantity_bp: int, price_cents: int) -> "Holding":
        """The holding after a fill of signed ``quantity_bp`` at ``price_cents``."""
        total_bp = self.quantity_bp + quantity_bp
        if total_bp == 0:
            return FLAT
        if self.quantity_bp * quantity_bp < 0:
            # A close keeps the average; what goes beyond it opens the other side at the fill's price.
            return Holding(total_bp, self.avg_cost_cents if total_bp * self.quantity_bp > 0 else price_cents)
        cost = self.quantity_bp * self.avg_cost_cents + quantity_bp * price_cents
        return Holding(total_bp, cost // total_bp)


FLAT: Final = Holding(0, 0)

Holdings = MutableMapping[tuple[int, int], Holding]
"""By account and symbol."""


def notional_cents(quantity_bp: int, price_cents: int) -> int:
    """What changes hands for a positive quantity: cut to a whole cent."""
    return quantity_bp * price_cents // BP_PER_SHARE


def book(trades: Iterable[Trade], holdings: Holdings) -> dict[int, int]:
    """
    Take trades into holdings, in order, and return what each account's cash changes by.

    Args:
        trades: Both legs of each are booked, the buyer's first.
        holdings: Changed in place; a position that is not there is flat.

    Returns:
        Signed cents by account; they add up to zero.
    """
    cash_cents: dict[int, int] = {}
    for buyer, seller, symbol, quantity_bp, price_cents, _ in trades:
        paid = notional_cents(quantity_bp, price_cents)
        cash_cents[buyer] = cash_cents.get(buyer, 0) - paid
        cash_cents[seller] = cash_cents.get(seller, 0) + paid
        holdings[buyer, symbol] = holdings.get((buyer, symbol), FLAT).after(quantity_bp, price_cents)
        holdings[seller, symbol] = holdings.get((seller, symbol), FLAT).after(-quantity_bp, price_cents)
    return cash_cents
