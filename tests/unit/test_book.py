"""An order book matches best price first, then first come, and forgets what is no longer good."""

from evs_server.exchange.book import Fill, Order, OrderBook


def buy(account_id: int, quantity_bp: int, limit_cents: int, last_tick: int = 9) -> Order:
    return Order(account_id, True, quantity_bp, limit_cents, last_tick)


def sell(account_id: int, quantity_bp: int, limit_cents: int, last_tick: int = 9) -> Order:
    return Order(account_id, False, quantity_bp, limit_cents, last_tick)


def placed(*orders: Order) -> tuple[OrderBook, list[Fill]]:
    """A book, and all that orders have traded in it."""
    book = OrderBook()
    return book, [fill for order in orders for fill in book.place(order)]


def test_orders_meet_at_the_price_of_the_one_that_was_there() -> None:
    """A buyer who would have paid more pays what is asked; what is left of the order rests, and is sold to next."""
    book, fills = placed(sell(1, 5, 300), buy(2, 8, 310), sell(3, 9, 305))
    assert [Fill(2, 1, 5, 300), Fill(2, 3, 3, 310)] == fills
    assert 1 == len(book)


def test_the_best_price_comes_first_then_the_first_to_come() -> None:
    """Offers by rising price, bids by falling; equal ones in order of arrival."""
    _, bought = placed(sell(1, 1, 302), sell(2, 1, 301), sell(3, 1, 301), buy(9, 3, 302))
    assert [2, 3, 1] == [fill.seller_id for fill in bought]
    _, sold = placed(buy(1, 1, 300), buy(2, 1, 301), buy(3, 1, 301), sell(9, 3, 300))
    assert [2, 3, 1] == [fill.buyer_id for fill in sold]


def test_a_part_that_is_left_keeps_its_place() -> None:
    """An order that was there first is filled to its end before the next."""
    _, fills = placed(sell(1, 10, 300), sell(2, 10, 300), buy(9, 4, 300), buy(9, 8, 300))
    assert [Fill(9, 1, 4, 300), Fill(9, 1, 6, 300), Fill(9, 2, 2, 300)] == fills


def test_orders_that_do_not_meet_rest() -> None:
    """Nobody buys above, or sells below, what they said."""
    book, fills = placed(sell(1, 5, 301), buy(2, 5, 300))
    assert [] == fills
    assert 2 == len(book)


def test_an_order_is_good_up_to_its_last_tick() -> None:
    """What has expired is gone and meets nobody."""
    book, _ = placed(sell(1, 5, 300, last_tick=4), sell(2, 5, 301, last_tick=5))
    book.expire(5)
    assert 1 == len(book)
    assert [Fill(3, 2, 5, 301)] == book.place(buy(3, 5, 305))
