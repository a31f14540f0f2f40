"""
Live numbers being written, and what is marked by it: for the next valuation, and for the next flush. Pure.

Lives here: every write of an event to the book. Not here: whether the event may be (``bounds``), and what a
valuation makes of the marks (``engine``).
"""

from evs_server.engine.accounting import Lot
from evs_server.engine.opening import Opening
from evs_server.engine.state import Unsaved
from evs_server.engine.tables import Book, RowSet
from evs_server.model import Int64Array, MarkSource


class Changes:
    """
    What has changed since the last valuation, and since the last capture.

    Attributes:
        dirty: Rows of accounts that traded or had a flow.
        touched: Rows of positions that traded.
        moved: Rows of symbols whose mark changed.
        set_again: Rows of symbols whose mark was set, to another price or to the same; ``moved`` is part of it.
        unsaved: Rows to capture.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self.dirty = RowSet()
        self.touched = RowSet()
        self.moved = RowSet()
        self.set_again = RowSet()
        self.unsaved = Unsaved()

    def drain(self) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
        """The rows of dirty accounts, touched positions, moved symbols and those set again; none are left."""
        return self.dirty.drain(), self.touched.drain(), self.moved.drain(), self.set_again.drain()

    def resume(self, dirty: Int64Array, touched: Int64Array, moved: Int64Array, set_again: Int64Array) -> None:
        """Mark again what was marked before a restart."""
        self.dirty.update(dirty)
        self.touched.update(touched)
        self.moved.update(moved)
        self.set_again.update(set_again)

    def open_account(self, opened: Opening, now_ms: int) -> int:
        """The row of an account taken in."""
        accounts = self._book.accounts
        row = self._book.add_account(opened.account_id)
        accounts.cash_cents[row] = opened.cash_cents
        accounts.net_flow_cents[row] = opened.net_flow_cents
        accounts.realized_cents[row] = opened.realized_cents
        if opened.has_base:
            accounts.base_equity_cents[row] = accounts.base_net_flow_cents[row] = opened.net_flow_cents
            accounts.has_base[row] = True
        self.unsaved.accounts.add(row)
        for symbol_id, lot in opened.lots.items():
            symbol_row = self._book.symbol_row_or_new(symbol_id)
            self.write_lot(self._book.add_position(row, symbol_row), lot, now_ms)
            self.unsaved.symbols.add(symbol_row)
        return row

    def write_lot(self, position_row: int, lot: Lot, now_ms: int) -> None:
        """Give a position other live numbers."""
        positions, symbols = self._book.positions, self._book.symbols
        positions.quantity_bp[position_row] = lot.quantity_bp
        positions.basis_cents[position_row] = lot.basis_cents
        positions.realized_cents[position_row] = lot.realized_cents
        positions.updated_ms[position_row] = now_ms
        self.unsaved.positions.add(position_row)
        symbol_row = positions.symbol_row.item(position_row)
        if abs(lot.quantity_bp) > symbols.quantity_bp_max.item(symbol_row):
            symbols.quantity_bp_max[symbol_row] = abs(lot.quantity_bp)
        if self._book.accounts.loud[positions.account_row.item(position_row)]:
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
