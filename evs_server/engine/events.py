"""
What events do to the book: one by one in plain integers, or many at a time. Pure.

Lives here: what an event changes and whom it marks. Not here: whether it may (``bounds``), how the numbers are
written (``changes``), and what a valuation makes of it (``engine``). Invariant: an event that raises ``OutOfBounds``
has changed nothing.
"""

import numpy as np

from evs_server.engine import bounds, single, trading
from evs_server.engine.accounting import fill, signed_quantity_bp
from evs_server.engine.book import Book
from evs_server.engine.changes import Changes
from evs_server.engine.tables import NO_ROW
from evs_server.model import BoolArray, CashRun, Int64Array, MarkSource, ObservedRun, PriceRun, Side, TradeRun


class Events:
    """
    The events of an engine.

    Attributes:
        trades_move_marks: Whether a trade moves the mark of its symbol, if that has no price of its own. Where an
            engine sees some of the trades only, their prices are told apart, by ``observe_price``.
    """

    def __init__(self) -> None:
        self.trades_move_marks = True
        self._book = Book()
        self._changes = Changes(self._book)

    def knows(self, account_id: int) -> bool:
        """Whether an account is in memory."""
        return account_id in self._book.account_row

    def unknown(self, account_id: Int64Array) -> list[int]:
        """Indexes of those of some account ids that are not in memory."""
        if len(account_id) == 1:
            return [] if account_id.item(0) in self._book.account_row else [0]
        if self._book.account_index.has_all(account_id):
            return []
        indexes: list[int] = np.flatnonzero(self._book.account_index.find(account_id) == NO_ROW).tolist()
        return indexes

    # --- one by one ------------------------------------------------------------------------------------------

    def apply_trade(
        self,
        account_id: int,
        symbol_id: int,
        side: Side,
        quantity_bp: int,
        price_cents: int,
        fee_cents: int,
        now_ms: int,
        *,
        moves_mark: bool = True,
    ) -> None:
        """
        Apply one leg of a settled trade to a known account.

        Args:
            moves_mark: False if the trade has moved its symbol's mark before, with ``observe_price``.

        Raises:
            OutOfBounds: If it would take this account, or by its price another holder, out of bounds.
        """
        book = self._book
        account_row = book.account_row[account_id]
        symbol_row = book.symbol_row.get(symbol_id, NO_ROW)
        position_row = book.position_row(account_row, symbol_row)
        before = book.lot(position_row)
        after, cash_change = fill(before, signed_quantity_bp(side, quantity_bp), price_cents, fee_cents)
        takes_mark = moves_mark and self.trades_move_marks and self._book.trades_make_the_mark(symbol_row)
        prospect = bounds.Prospect(
            account_row,
            book.accounts.cash_cents.item(account_row) + cash_change,
            book.accounts.net_flow_cents.item(account_row),
            book.accounts.realized_cents.item(account_row) + after.realized_cents - before.realized_cents,
            symbol_row,
            after,
            price_cents if takes_mark else book.price_of(symbol_row),
        )
        bounds.check_new_symbol(book, symbol_row)
        bounds.check_new_position(book, account_row, position_row)
        loud = bounds.check_account(book, prospect)
        loud_rows = bounds.check_price(book, symbol_row, price_cents, account_row) if takes_mark else []

        symbol_row = book.symbol_row_or_new(symbol_id)
        if position_row == NO_ROW:
            position_row = book.add_position(account_row, symbol_row)
        self._changes.write_lot(position_row, after)
        book.accounts.cash_cents[account_row] = prospect.cash_cents
        book.accounts.realized_cents[account_row] = prospect.realized_cents
        self._changes.touched.add(position_row)
        self._changes.mark_dirty(account_row)
        if takes_mark:
            self._changes.set_mark(symbol_row, price_cents, MarkSource.LAST_TRADE, now_ms)
        for loud_row in [*loud_rows, account_row] if loud else loud_rows:
            bounds.make_loud(book, loud_row)

    def apply_price(self, symbol_id: int, price_cents: int, now_ms: int) -> None:
        """
        Set a symbol's mark; from now on its trades no longer do.

        Raises:
            OutOfBounds: If it would take a holder out of bounds.
        """
        symbol_row = self._book.symbol_row.get(symbol_id, NO_ROW)
        bounds.check_new_symbol(self._book, symbol_row)
        loud_rows = bounds.check_price(self._book, symbol_row, price_cents)
        self._changes.set_mark(self._book.symbol_row_or_new(symbol_id), price_cents, MarkSource.MARK, now_ms)
        for loud_row in loud_rows:
            bounds.make_loud(self._book, loud_row)

    def apply_cash(self, account_id: int, amount_cents: int) -> None:
        """
        Book a deposit (positive) or a withdrawal (negative) on a known account.

        Raises:
            OutOfBounds: If it would take the account out of bounds.
        """
        book = self._book
        account_row = book.account_row[account_id]
        now = bounds.current(book, account_row)
        prospect = bounds.Prospect(
            account_row, now.cash_cents + amount_cents, now.net_flow_cents + amount_cents, now.realized_cents
        )
        if bounds.check_account(book, prospect):
            bounds.make_loud(book, account_row)
        book.accounts.cash_cents[account_row] = prospect.cash_cents
        book.accounts.net_flow_cents[account_row] = prospect.net_flow_cents
        self._changes.mark_dirty(account_row)

    def observe_price(self, symbol_id: int, price_cents: int, now_ms: int) -> None:
        """
        Take note of a trade's price: it moves its symbol's mark, unless ``apply_price`` ever set that.

        Raises:
            OutOfBounds: If it would take a holder out of bounds.
        """
        symbol_row = self._book.symbol_row.get(symbol_id, NO_ROW)
        if self._book.trades_make_the_mark(symbol_row):
            bounds.check_new_symbol(self._book, symbol_row)
            loud_rows = bounds.check_price(self._book, symbol_row, price_cents)
            symbol_row = self._book.symbol_row_or_new(symbol_id)
            self._changes.set_mark(symbol_row, price_cents, MarkSource.LAST_TRADE, now_ms)
            for loud_row in loud_rows:
                bounds.make_loud(self._book, loud_row)

    def observe_trade(
        self,
        account_id: int,
        symbol_id: int,
        price_cents: int,
        now_ms: int,
        *,
        fee_cents: int = 0,
        moves_mark: bool = True,
    ) -> None:
        """
        Take note of a trade that is in a known account's books already, since it was loaded with it.

        The account is valued at the next completed tick. Its cash has paid the fee, of which the exchange's ``trades``
        rows know nothing: what the fold took for money paid out becomes a cost.

        Raises:
            OutOfBounds: If its price would take a holder out of bounds.
        """
        if moves_mark and self.trades_move_marks:
            self.observe_price(symbol_id, price_cents, now_ms)
        book = self._book
        account_row = book.account_row[account_id]
        position_row = book.position_row(account_row, book.symbol_row.get(symbol_id, NO_ROW))
        if fee_cents and position_row != NO_ROW:
            lot = book.lot(position_row)
            self._changes.write_lot(position_row, lot._replace(realized_cents=lot.realized_cents - fee_cents))
            self._changes.touched.add(position_row)
            book.accounts.realized_cents[account_row] -= fee_cents
            book.accounts.net_flow_cents[account_row] += fee_cents
        self._changes.mark_dirty(account_row)

    def mark_dirty(self, account_id: int) -> None:
        """Have a known account valued at the next completed tick, though nothing of it changed."""
        self._changes.mark_dirty(self._book.account_row[account_id])

    def apply_plain_trade(self, leg: tuple[int, ...], now_ms: int) -> bool:
        """
        Apply a trade as ``apply_trade`` does, if it is plain: of an account that is known and not heeded.

        Args:
            leg: Account, symbol, side, quantity, price and fee, as ``apply_trade`` takes them.

        Returns:
            Whether it was. If it was not, nothing has changed: it may be applied, or refused, the exact way.
        """
        return single.apply_trade(self._changes.handle(), leg, now_ms, self.trades_move_marks)

    def apply_plain_price(self, symbol_id: int, price_cents: int, now_ms: int) -> bool:
        """Set a mark as ``apply_price`` does, if that is plain; returns as ``apply_plain_trade``."""
        return single.apply_price(self._changes.handle(), symbol_id, price_cents, now_ms)

    # --- many at a time --------------------------------------------------------------------------------------

    def apply_trades(self, run: TradeRun, apart: BoolArray | None, first: int, now_ms: int) -> int:
        """
        Apply trades of a run, in order, as ``apply_trade`` does one; up to the first that may not be plain.

        Args:
            apart: By event, those that the caller sees to itself, if any; so it does to those of unknown and heeded
                accounts.
            first: Where to begin.

        Returns:
            Index of that first one, to be applied by itself; the length of the run if there is none.
        """
        return trading.apply_trades(self._changes, run, apart, first, now_ms, moves_marks=self.trades_move_marks)

    def apply_prices(self, run: PriceRun, apart: BoolArray | None, first: int, now_ms: int) -> int:
        """Set marks of a run, in order, as ``apply_price`` does one; up to the first that may not be plain."""
        return trading.apply_prices(self._changes, run, apart, first, now_ms)

    def observe_prices(self, run: ObservedRun, first: int, now_ms: int) -> int:
        """As ``observe_price`` of each of a run, in order; up to the first that may not be plain."""
        return trading.observe_prices(self._changes, run, first, now_ms)

    def apply_flows(self, run: CashRun, apart: BoolArray | None, first: int) -> int:
        """Book flows of a run, in order, as ``apply_cash`` does one; up to the first that may not be plain."""
        return trading.apply_flows(self._changes, run, apart, first)

    def heeded(self, run: TradeRun | CashRun) -> BoolArray:
        """By event, whether the above would stop before it because its account is not known, or heeded."""
        row, accounts = self._book.account_index.find(run.account_id), self._book.accounts
        counts = run.fee_cents != 0 if isinstance(run, TradeRun) else True
        heeded: BoolArray = accounts.exact[row] | (accounts.exact_with_fee[row] & counts)
        heeded |= row == NO_ROW
        return heeded

    def heeds_any(self, account_id: Int64Array) -> bool:
        """Whether any of some accounts is heeded, if only at times, or not known."""
        return not trading.are_plain(self._book, account_id)

    def heed(self, account_id: int, *, always: bool, with_fee: bool) -> None:
        """
        Have ``apply_trades`` stop before trades of a known account: all of them, those with a fee, or none.

        Before its flows ``apply_flows`` stops in either case.
        """
        row, accounts = self._book.account_row[account_id], self._book.accounts
        accounts.exact[row], accounts.exact_with_fee[row] = always, with_fee
