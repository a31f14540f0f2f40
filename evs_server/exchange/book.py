"""
One symbol's order book: price first, then time. Pure.

Lives here: resting orders and what a new one meets. Not here: accounts, cash, settlement. Orders are good for a number
of ticks, so that a book never holds more than those ticks have brought.

Worked example: a sale of 5 shares at 300 rests; a purchase of 8 at 310 takes them at 300, and 3 rest as a bid at 310.
"""

import heapq
from typing import NamedTuple


class Order(NamedTuple):
    """
    A wish to trade.

    Attributes:
        account_id: Whose.
        is_buy: Whether shares are wanted, or offered.
        quantity_bp: How many, in bp, positive.
        limit_cents: The worst price that will do, in cents per share.
        last_tick: The last tick in which it is good.
    """

    account_id: int
    is_buy: bool
    quantity_bp: int
    limit_cents: int
    last_tick: int


class Fill(NamedTuple):
    """What two orders have traded, at the price of the one that was there first."""

    buyer_id: int
    seller_id: int
    quantity_bp: int
    price_cents: int


class OrderBook:
    """The resting orders of one symbol."""

    def __init__(self) -> None:
        self._arrival = 0
        # Best first: bids by falling price, offers by rising; equal prices in the order of arrival.
        self._bids: list[tuple[int, int, Order]] = []
        self._offers: list[tuple[int, int, Order]] = []

    def __len__(self) -> int:
        return len(self._bids) + len(self._offers)

    def expire(self, tick: int) -> None:
        """Drop what is no longer good in this tick."""
        for side in (self._bids, self._offers):
            side[:] = [entry for entry in side if entry[2].last_tick >= tick]
            heapq.heapify(side)

    def place(self, order: Order) -> list[Fill]:
        """Match an order against those that rest, best price first; what remains of it rests."""
        facing = self._offers if order.is_buy else self._bids
        fills = []
        while order.quantity_bp and facing and _meets(order, facing[0][2]):
            price_key, arrival, resting = facing[0]
            traded_bp = min(order.quantity_bp, resting.quantity_bp)
            buyer, seller = (order, resting) if order.is_buy else (resting, order)
            fills.append(Fill(buyer.account_id, seller.account_id, traded_bp, resting.limit_cents))
            order = order._replace(quantity_bp=order.quantity_bp - traded_bp)
            if traded_bp == resting.quantity_bp:
                heapq.heappop(facing)
            else:
                rest = resting._replace(quantity_bp=resting.quantity_bp - traded_bp)
                facing[0] = (price_key, arrival, rest)
        if order.quantity_bp:
            self._rest(order)
        return fills

    def _rest(self, order: Order) -> None:
        self._arrival += 1
        if order.is_buy:
            heapq.heappush(self._bids, (-order.limit_cents, self._arrival, order))
        else:
            heapq.heappush(self._offers, (order.limit_cents, self._arrival, order))


def _meets(order: Order, resting: Order) -> bool:
    if order.is_buy:
        return order.limit_cents >= resting.limit_cents
    return order.limit_cents <= resting.limit_cents
