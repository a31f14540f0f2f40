"""What kernels are handed of an engine: one array, true of every table however it grows."""

from functools import partial
from operator import is_

import numpy as np

from evs_server.engine import Engine
from evs_server.engine.book import Book
from evs_server.model import Side
from tests.builders import NOON_MS, an_account, an_engine

PRICE_CENTS = 100
LEG = (int(Side.BUY), 10_000, PRICE_CENTS, 0)


def a_crowd(first: int, count: int, engine: Engine) -> range:
    ids = range(first, first + count)
    engine.open_accounts([an_account(account_id, 1_000_000) for account_id in ids], NOON_MS)
    return ids


def tells_of_all_there_is(engine: Engine) -> bool:
    """Whether what a kernel is handed now is what the book has now, array by array."""
    book, changes = engine._book, engine._changes
    changes.handle()
    told, unsaved = changes._everything, changes.unsaved
    sets = (
        changes.dirty, changes.touched, changes.moved, changes.set_again, changes.due,
        unsaved.accounts, unsaved.positions, unsaved.symbols,
    )  # fmt: skip
    now = (*book.tables(), book.latest.blocks, *(rows.words for rows in sets))
    return all(map(is_, (*told.tables, told.latest, *told.marked), now))


def test_a_handle_is_written_again_when_any_table_has_grown() -> None:
    """By accounts, then by positions and symbols: events by themselves end where the exact way does."""
    singly, exactly = an_engine(), an_engine()
    taken_count = 0
    for first, count, symbols in ((1, 3, 1), (4, 200, 2), (204, 6_000, 150)):
        for engine in (singly, exactly):
            a_crowd(first, count, engine)
        for number, account_id in enumerate(range(1, first + count)):
            symbol_id = number % symbols
            exactly.apply_trade(account_id, symbol_id, Side.BUY, *LEG[1:], NOON_MS)
            if singly.apply_plain_trade((account_id, symbol_id, *LEG), NOON_MS):
                taken_count += 1
            else:
                singly.apply_trade(account_id, symbol_id, Side.BUY, *LEG[1:], NOON_MS)
                assert tells_of_all_there_is(singly)
        for engine in (singly, exactly):
            engine.complete_tick(first, 0, NOON_MS)
            assert tells_of_all_there_is(engine)
        assert exactly.state_hash() == singly.state_hash()
    assert taken_count > 6_000


def test_whatever_grows_of_a_book_is_noted() -> None:
    """Each by itself: most of them mostly grow together with another, and none may count on that."""
    book = Book()
    tables = (book.accounts, book.latest, book.lots, book.positions, book.symbols, book.segments)
    growing = [
        *(partial(table.reserve, table.capacity + 1) for table in tables),
        *(partial(index.put, np.arange(33), 0) for index in (book.account_index, book.symbol_index)),
        partial(book.position_index.reserve, 100, book.lots.blocks),
    ]
    for number, grow in enumerate(growing, book.growth.count + 1):
        grow()
        assert number == book.growth.count


def test_a_handle_is_the_same_while_nothing_grows() -> None:
    engine = an_engine()
    a_crowd(1, 3, engine)
    engine.apply_trade(1, 7, Side.BUY, 10_000, PRICE_CENTS, 0, NOON_MS)
    handle = engine._changes.handle()
    before = handle.copy()
    assert engine.apply_plain_trade((2, 7, *LEG), NOON_MS)
    engine.complete_tick(1, 0, NOON_MS)
    assert (True, before.tolist()) == (engine._changes.handle() is handle, handle.tolist())
