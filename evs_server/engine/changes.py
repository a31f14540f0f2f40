"""
Live numbers being written, and what is marked by it: for the next valuation, and for the next flush. Pure.

Lives here: every write of an event to the book. Not here: whether the event may be (``bounds``), and what a
valuation makes of the marks (``engine``).
"""

from collections.abc import Sequence

import numpy as np

from evs_server.engine import handle
from evs_server.engine.accounting import Lot
from evs_server.engine.book import Book
from evs_server.engine.handle import Everything, Marked
from evs_server.engine.opening import Opening
from evs_server.engine.rowset import RowSet
from evs_server.engine.tables import owner_of, symbol_of
from evs_server.model import Int64Array, MarkSource


class Unsaved:
    """Rows that changed since they were last captured."""

    def __init__(self) -> None:
        self.accounts = RowSet()
        self.positions = RowSet()
        self.symbols = RowSet()

    def drain(self) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Account, position and symbol rows, each ascending; none are left."""
        return self.accounts.drain(), self.positions.drain(), self.symbols.drain()


class Changes:
    """
    What has changed since the last valuation, and since the last capture.

    Attributes:
        dirty: Rows of accounts that traded or had a flow.
        touched: Rows of positions that traded.
        moved: Rows of symbols whose mark changed.
        set_again: Rows of symbols whose mark was set, to another price or to the same; ``moved`` is part of it.
        due: Rows of accounts that are being valued; empty but for that.
        unsaved: Rows to capture.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self.dirty = RowSet()
        self.touched = RowSet()
        self.moved = RowSet()
        self.set_again = RowSet()
        self.due = RowSet()
        self._account_row = np.empty(0, np.int64)
        self.unsaved = Unsaved()
        self._handle = handle.new_handle()
        self._written_for = -1
        self._everything: Everything

    def handle(self) -> Int64Array:
        """The book and every set, for kernels; to be asked for anew after a table may have grown."""
        # No row of a table is beyond what the sets had room for: while the tables have not grown, no set has.
        grown_count = self._book.growth.count
        if grown_count != self._written_for:
            self._write()
            self._written_for = grown_count
        return self._handle

    def _write(self) -> None:
        book, unsaved = self._book, self.unsaved
        account_count, position_count, symbol_count = (
            table.capacity for table in (book.accounts, book.positions, book.symbols)
        )
        for rows in (self.dirty, self.due, unsaved.accounts):
            rows.reserve(account_count)
        for rows in (self.touched, unsaved.positions):
            rows.reserve(position_count)
        for rows in (self.moved, self.set_again, unsaved.symbols):
            rows.reserve(symbol_count)
        marked = Marked(
            self.dirty.words, self.touched.words, self.moved.words, self.set_again.words, self.due.words,
            unsaved.accounts.words, unsaved.positions.words, unsaved.symbols.words,
        )  # fmt: skip
        # Kept, since a handle keeps nothing alive.
        self._everything = Everything(book.tables(), book.latest.blocks, marked)
        handle.write(self._handle, self._everything)

    def room_for_accounts(self) -> Int64Array:
        """An array as long as there is room for accounts; what is in it holds until it is asked for again."""
        if len(self._account_row) < self._book.accounts.capacity:
            self._account_row = np.empty(self._book.accounts.capacity, np.int64)
        return self._account_row

    def resume(self, dirty: Int64Array, touched: Int64Array, moved: Int64Array, set_again: Int64Array) -> None:
        """Mark again what was marked before a restart."""
        self.dirty.update(dirty)
        self.touched.update(touched)
        self.moved.update(moved)
        self.set_again.update(set_again)

    def open_accounts(self, openings: Sequence[Opening], now_ms: int) -> tuple[Int64Array, Int64Array]:
        """The rows of accounts taken in, and of all their positions."""
        book, accounts, count = self._book, self._book.accounts, len(openings)
        first = book.add_accounts(np.fromiter((opened.account_id for opened in openings), np.int64, count))
        every = slice(first, first + count)
        accounts.cash_cents[every] = [opened.cash_cents for opened in openings]
        accounts.net_flow_cents[every] = [opened.net_flow_cents for opened in openings]
        accounts.realized_cents[every] = [opened.realized_cents for opened in openings]
        accounts.has_base[every] = [opened.has_base for opened in openings]
        for base in (accounts.base_equity_cents, accounts.base_net_flow_cents):
            base[every] = np.where(accounts.has_base[every], accounts.net_flow_cents[every], 0)
        account_row = np.arange(first, first + count)
        self.unsaved.accounts.update(account_row)
        return account_row, self._open_positions(account_row, openings, now_ms)

    def _open_positions(self, account_row: Int64Array, openings: Sequence[Opening], now_ms: int) -> Int64Array:
        book, symbols = self._book, self._book.symbols
        symbol_id = [symbol_id for opened in openings for symbol_id in opened.lots]
        symbol_row = np.array([book.symbol_row_or_new(each) for each in symbol_id], np.int64)
        owner = np.repeat(account_row, [len(opened.lots) for opened in openings])
        lots = np.array([lot for opened in openings for lot in opened.lots.values()], np.int64).reshape(-1, 3)
        row = book.add_positions(owner, symbol_row)
        book.lots.quantity_bp[row], book.lots.basis_cents[row], book.lots.realized_cents[row] = lots.T
        book.positions.updated_ms[row] = now_ms
        np.maximum.at(symbols.quantity_bp_max, symbol_row, np.abs(lots[:, 0]))
        self.unsaved.positions.update(row)
        self.unsaved.symbols.update(symbol_row)
        return row

    def write_lot(self, position_row: int, lot: Lot) -> None:
        """Give a position other live numbers."""
        lots, symbols = self._book.lots, self._book.symbols
        lots.quantity_bp[position_row] = lot.quantity_bp
        lots.basis_cents[position_row] = lot.basis_cents
        lots.realized_cents[position_row] = lot.realized_cents
        self.unsaved.positions.add(position_row)
        key = lots.key.item(position_row)
        symbol_row = symbol_of(key)
        if abs(lot.quantity_bp) > symbols.quantity_bp_max.item(symbol_row):
            symbols.quantity_bp_max[symbol_row] = abs(lot.quantity_bp)
        if self._book.accounts.loud[owner_of(key)]:
            symbols.loud[symbol_row] = True

    def set_mark(self, symbol_row: int, price_cents: int, source: MarkSource, now_ms: int) -> None:
        """Give a symbol a mark, or confirm the one it has."""
        symbols = self._book.symbols
        if symbols.price_cents.item(symbol_row) != price_cents:
            symbols.price_cents[symbol_row] = price_cents
            self.moved.add(symbol_row)
        symbols.source[symbol_row] = source
        symbols.mark_time_ms[symbol_row] = now_ms
        self.set_again.add(symbol_row)
        self.unsaved.symbols.add(symbol_row)

    def mark_dirty(self, account_row: int) -> None:
        """Have an account valued at the next completed tick."""
        self.dirty.add(account_row)
        self.unsaved.accounts.add(account_row)
