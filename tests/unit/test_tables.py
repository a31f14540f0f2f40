"""Rows and the ways between them: nothing is lost or moved when tables and indexes grow."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evs_server.engine import index, pages
from evs_server.engine.book import Book
from evs_server.engine.index import IdIndex
from evs_server.engine.tables import (
    NO_ROW,
    Accounts,
    Growth,
    Lots,
    Positions,
    Symbols,
    Table,
    lot_key,
    owner_of,
    symbol_of,
)
from tests.builders import int64

GROWS_IN_PLACE = pytest.mark.skipif(not pages.GROW_IN_PLACE, reason="tables of this system move as they grow")
KINDS: list[type[Table]] = [Accounts, Lots, Positions, Symbols]


def columns_of(table: Table) -> list[npt.NDArray[Any]]:
    return [value for value in vars(table).values() if isinstance(value, np.ndarray) and value.ndim == 1][1:]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_keep_what_they_hold_when_a_table_grows(kind: type[Table]) -> None:
    """Each column is on its own, whether numbers lie by row or by column, and new rows are zeros."""
    table = kind(Growth())
    table.extend(3)
    for salt, column in enumerate(columns_of(table)):
        column[:3] = [salt % 2, 1, 0]
    table.extend(10_000)
    for salt, column in enumerate(columns_of(table)):
        assert [salt % 2, 1, 0, 0] == column[:4].tolist()
    assert 10_003 == table.count <= table.capacity


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_is_where_kernels_look_for_it(kind: type[Table]) -> None:
    table = kind(Growth())
    for name in ("symbol_id", "account_id", "quantity_bp", "valued_quantity_bp"):
        if hasattr(table, name):
            getattr(table, name)[7] = 42
            block, at = table.blocks.int64, kind.at(name)
            assert 42 == (block[7, at] if kind.by_row else block[at, 7])


def test_a_row_of_an_account_begins_where_the_processor_fetches() -> None:
    accounts = Accounts(Growth())
    for _ in range(3):
        accounts.extend(1_000)
        assert [0, 0] == [accounts.blocks.int64.ctypes.data % 64, accounts.blocks.int64.strides[0] % 64]


@pytest.mark.parametrize("row_count", [3, 70_000])
def test_a_lot_lies_in_one_line_of_the_processors(row_count: int) -> None:
    """A trade waits for one place of memory, not for two: while the table is small, and where it stays."""
    lots = Lots(Growth())
    lots.extend(row_count)
    begins, row_bytes = lots.blocks.int64.ctypes.data, lots.blocks.int64.strides[0]
    assert (0, 32) == (begins % 64, row_bytes)


def test_a_key_tells_an_account_and_a_symbol() -> None:
    """Of one position and of columns; that of a spare row has no account."""
    key = lot_key(5_000_000, 7)
    assert (5_000_000, 7) == (owner_of(key), symbol_of(key))
    assert [key, lot_key(0, 7)] == lot_key(int64(5_000_000, 0), int64(7, 7)).tolist()
    assert NO_ROW == owner_of(NO_ROW)


def test_tables_beyond_a_size_grow_by_a_quarter() -> None:
    """Spare rows are memory, too."""
    table = Symbols(Growth())
    table.extend(100_000)
    table.extend(1)
    assert 125_000 == table.capacity


@GROWS_IN_PLACE
def test_a_large_table_grows_where_it_is() -> None:
    """Nobody waits for millions of rows to be moved, and what kernels have in hand stays right."""
    table = Positions(Growth())
    table.extend(70_000)
    table.valued_quantity_bp[69_999] = 42
    blocks = table.blocks
    table.extend(200_000)
    assert blocks is table.blocks
    assert (42, 270_000) == (table.valued_quantity_bp[69_999], blocks.tally[0])
    assert 270_000 <= table.capacity == blocks.tally[1] < blocks.int64.shape[1]


def test_a_large_table_moves_where_the_system_promises_no_more_memory_than_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(count: int, element: type, _first: int) -> npt.NDArray[Any]:
        if count * np.dtype(element).itemsize > 2**30:
            raise OSError("[Errno 12] Cannot allocate memory")
        return np.zeros(count, element)

    monkeypatch.setattr(pages, "zeros", refuse)
    table = Positions(Growth())
    table.extend(70_000)
    table.valued_quantity_bp[69_999] = 42
    table.extend(200_000)
    assert (42, 0, 270_000) == (table.valued_quantity_bp[69_999], table.valued_quantity_bp[70_000], table.capacity)


@GROWS_IN_PLACE
def test_positions_come_to_new_pages_one_by_one() -> None:
    """A huge page is cleared when it is first written to: a batch waits for one of them, not for one of each column."""
    firsts: list[int] = []
    for table in (Lots(Growth()), Positions(Growth())):
        table.extend(70_000)
        columns = [table.blocks.int64[:, 0]] if table.by_row else columns_of(table)
        for column in columns:
            begins, row_bytes = column.ctypes.data, column.strides[0]
            firsts += range(-begins % 2**21 // row_bytes, 2**21, 2**21 // row_bytes)
    assert np.diff(np.sort(firsts)).min() > 5_000


@GROWS_IN_PLACE
def test_spare_rows_of_a_large_table_are_no_memory() -> None:
    """Address space is: as much as the machine's memory."""
    before = resident_bytes()
    table = Positions(Growth())
    table.extend(70_000)
    assert table.blocks.int64.nbytes > 2**30
    assert resident_bytes() - before < 100 * 2**20


# --- ids -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2**53 - 1) | st.integers(0, 200), unique=True), st.lists(st.integers(0, 200)))
def test_an_index_finds_what_was_put_and_nothing_else(ids: list[int], others: list[int]) -> None:
    index = IdIndex()
    for first in range(0, len(ids), 7):
        index.put(int64(*ids[first : first + 7]), first)
    assert list(range(len(ids))) == index.find(int64(*ids)).tolist()
    expected = [ids.index(each) if each in ids else NO_ROW for each in others]
    assert expected == index.find(int64(*others)).tolist()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


# --- positions ---------------------------------------------------------------------------------------------------


def a_book(account_count: int, symbol_count: int) -> Book:
    book = Book()
    book.add_accounts(np.arange(1, account_count + 1))
    for symbol in range(symbol_count):
        book.symbol_row_or_new(symbol)
    return book


PLACES = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 5)), unique=True, max_size=150)


@given(PLACES, st.integers(0, 150), st.booleans())
def test_positions_are_found_from_all_sides(places: list[tuple[int, int]], cut: int, is_expected: bool) -> None:
    """By account and symbol, from an account the newest first, from a symbol in order; added at once or singly."""
    book = a_book(40, 6)
    at_once = places[:cut]
    owner, symbol = int64(*(place[0] for place in at_once)), int64(*(place[1] for place in at_once))
    if is_expected:
        book.expect_positions(symbol)
    rows = book.add_positions(owner, symbol).tolist() + [book.add_position(*place) for place in places[cut:]]
    assert len(places) == len(set(rows)) == book.position_count
    assert sorted(rows) == book.position_rows().tolist()
    row_of = dict(zip(places, rows, strict=True))
    for account in range(40):
        own = [row_of[place] for place in places if place[0] == account]
        assert own[::-1] == book.position_rows_of_account(account)
        assert len(own) == book.accounts.position_count[account]
        for symbol_row in range(6):
            assert row_of.get((account, symbol_row), NO_ROW) == book.position_row(account, symbol_row)
    for symbol_row in range(6):
        held = [row_of[place] for place in places if place[1] == symbol_row]
        assert held == book.position_rows_of_symbol(symbol_row).tolist()


@pytest.mark.parametrize(("account_count", "symbol_count"), [(4_000, 5), (5, 2_000)])
def test_every_position_is_found_after_each_growth(account_count: int, symbol_count: int) -> None:
    """However many rows are spare: where few hold a symbol, there are more rows than slots of the index."""
    book = a_book(account_count, symbol_count)
    owner, symbol = np.divmod(np.random.default_rng(1).permutation(account_count * symbol_count), symbol_count)
    rows: list[int] = []
    slot_counts = set()
    for first in range(0, len(owner), 500):
        rows += book.add_positions(owner[first : first + 500], symbol[first : first + 500]).tolist()
        slot_counts.add(len(book.position_index.slots.entry))
    places = zip(owner.tolist(), symbol.tolist(), strict=True)
    assert rows == [book.position_row(*place) for place in places]
    assert NO_ROW == book.position_row(account_count, symbol_count)
    assert len(slot_counts) > 5


@GROWS_IN_PLACE
def test_a_large_index_grows_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was in it is put anew into memory that is there already."""
    monkeypatch.setattr(index, "_LARGE", 1_000)
    book = a_book(4_000, 1)
    book.add_positions(np.arange(1_000), np.zeros(1_000, np.int64))
    entry = book.position_index.slots.entry
    book.add_positions(np.arange(1_000, 4_000), np.zeros(3_000, np.int64))
    grown = book.position_index.slots.entry
    assert grown.ctypes.data == entry.ctypes.data
    assert len(grown) > len(entry)
    assert list(range(4_000)) == [book.position_row(account, 0) for account in range(4_000)]


def test_the_number_of_a_row_fits_beside_its_tag() -> None:
    """Room for more rows is room in the entries of the index, too, though it need not have more slots."""
    book = a_book(2, 1)
    known = book.add_position(0, 0)
    slot_count = len(book.position_index.slots.entry)
    book.expect_positions(int64(*[0] * 30))
    book.lots.reserve(1_000_000)
    book.positions.reserve(1_000_000)
    book.position_index.reserve(1, book.lots.blocks)
    assert slot_count == len(book.position_index.slots.entry)
    assert book.lots.capacity < 1 << book.position_index.slots.tally.item(1)
    assert (known, known + 4) == (book.position_row(0, 0), book.add_position(1, 0))


def test_holders_of_a_symbol_lie_together() -> None:
    """Two symbols in turn, a thousand holders each: few leaps, and few rows to spare."""
    book = a_book(1_000, 2)
    for account in range(1_000):
        for symbol in range(2):
            book.add_position(account, symbol)
    for symbol in range(2):
        leaps = np.count_nonzero(np.diff(book.position_rows_of_symbol(symbol)) != 1)
        assert leaps < 40
    assert 2_000 <= book.positions.count <= 2_000 * 9 // 8 + 8


def test_expected_positions_lie_together_and_leave_room_for_a_few_more() -> None:
    book = a_book(1_000, 3)
    symbol = np.arange(1_000) % 3
    book.expect_positions(symbol)
    book.add_positions(np.arange(1_000), symbol)
    assert 3 == book.segments.count
    assert 1_000 < book.positions.count <= 1_000 * 17 // 16
