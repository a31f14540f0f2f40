"""
Accounts brought to where the exchange's tables have them: other than by events, and with a record of it. Pure.

``corrected`` says where a correction leads; previews and the correction itself share it. Whatever the correction, the
identity holds afterwards: a flow moves cash and net flow alike, trades are filled as announced ones are, and after a
recompute ``net_flow = cash + cost of what is open - realized``, as for an account just loaded.

A worked example, in cents: cash 500,000, net flow 1,000,000, 100 shares that were imported at an average of 4,999
(basis 499,900). The rows of ``trades`` say they cost 5,000. Recomputed, the basis is 500,000 and the net flow
500,000 + 500,000 - 0 = 1,000,000.
"""

import numpy as np

from evs_server.engine import bounds
from evs_server.engine.accounting import Lot, cash_change_cents, fill, fold, signed_quantity_bp
from evs_server.engine.arithmetic import notional_cents
from evs_server.engine.book import Book
from evs_server.engine.changes import Changes
from evs_server.engine.opening import Opening
from evs_server.engine.tables import NO_ROW, symbol_of
from evs_server.errors import OutOfBounds
from evs_server.limits import PROFIT_CENTS_MAX
from evs_server.model import (
    Change,
    CorrectedField,
    Correction,
    CorrectionColumns,
    CorrectionKind,
    Holding,
    Holdings,
)

_Record = tuple[int, int, int, int, int, int, int, int]


def corrected(before: Holdings, correction: Correction) -> Holdings:
    """An account as a correction leaves it."""
    match correction.kind:
        case CorrectionKind.FLOW:
            flow = correction.flow_cents
            return _with(before, before.cash_cents + flow, before.net_flow_cents + flow, dict(before.held))
        case CorrectionKind.TRADES:
            held = dict(before.held)
            for trade in correction.trades:
                lot = Lot(*held.get(trade.symbol_id, Holding()))
                filled = fill(lot, signed_quantity_bp(trade.side, trade.quantity_bp), trade.price_cents)
                held[trade.symbol_id] = Holding(*filled.lot)
            cash = before.cash_cents + cash_change_cents(correction.trades)
            return _with(before, cash, before.net_flow_cents, held)
        case CorrectionKind.RECOMPUTE:
            held = dict.fromkeys(before.held, Holding())
            held.update((symbol_id, Holding(*lot)) for symbol_id, lot in fold(correction.trades).items())
            realized = sum(holding.realized_cents for holding in held.values())
            basis = sum(holding.basis_cents for holding in held.values())
            net_flow = before.cash_cents + basis - realized
            return Holdings(before.account_id, before.cash_cents, net_flow, realized, held)


def changes_between(before: Holdings, after: Holdings) -> list[Change]:
    """Every number in which two states of one account differ, the account's first, then by symbol."""
    found = [
        Change(CorrectedField.CASH, 0, before.cash_cents, after.cash_cents),
        Change(CorrectedField.NET_FLOW, 0, before.net_flow_cents, after.net_flow_cents),
        Change(CorrectedField.REALIZED, 0, before.realized_cents, after.realized_cents),
    ]
    fields = (CorrectedField.QUANTITY, CorrectedField.BASIS, CorrectedField.POSITION_REALIZED)
    for symbol_id in sorted(before.held.keys() | after.held.keys()):
        old, new = before.held.get(symbol_id, Holding()), after.held.get(symbol_id, Holding())
        found += [Change(field, symbol_id, *values) for field, *values in zip(fields, old, new, strict=True)]
    return [change for change in found if change.before != change.after]


class Corrections:
    """What is corrected, and the record of it that the next flush is to carry."""

    def __init__(self, book: Book, changes: Changes) -> None:
        self._book = book
        self._changes = changes
        self._records: list[_Record] = []

    def holdings(self, account_id: int) -> Holdings | None:
        """An account's live numbers, or None if it is not in memory."""
        book = self._book
        row = book.account_row.get(account_id, NO_ROW)
        if row == NO_ROW:
            return None
        now = bounds.current(book, row)
        held = {
            book.symbols.symbol_id.item(symbol_of(book.lots.key.item(position_row))): Holding(*book.lot(position_row))
            for position_row in book.position_rows_of_account(row)
        }
        return Holdings(account_id, now.cash_cents, now.net_flow_cents, now.realized_cents, held)

    def is_dirty(self, account_id: int) -> bool:
        """Whether a known account is still to be valued as it is."""
        return self._book.account_row[account_id] in self._changes.dirty

    def apply(self, correction: Correction, now_ms: int) -> list[Change]:
        """
        Correct a known account, whole; it is valued at the next completed tick.

        Returns:
            What it changed.

        Raises:
            OutOfBounds: If it would take the account out of bounds; nothing has changed then.
        """
        before = self.holdings(correction.account_id)
        assert before is not None, f"account {correction.account_id} is not known"
        after = corrected(before, correction)
        changes = changes_between(before, after)
        if not changes:
            return []
        self._check(after)
        base_cents = self._base_after(before, after) if correction.kind is CorrectionKind.RECOMPUTE else None
        self._write(before, after)
        if base_cents is not None:
            self._book.accounts.base_net_flow_cents[self._book.account_row[correction.account_id]] = base_cents
        self._records += [
            (now_ms, correction.account_id, correction.kind, correction.requested, *change) for change in changes
        ]
        return changes

    def capture(self) -> CorrectionColumns:
        """The records since the last capture."""
        if not self._records:
            return CorrectionColumns.empty()
        records, self._records = self._records, []
        return CorrectionColumns(*np.array(records, np.int64).reshape(-1, len(_RECORD_NAMES)).T)

    def _check(self, after: Holdings) -> None:
        book, row = self._book, self._book.account_row[after.account_id]
        for symbol_id in after.held:
            symbol_row = book.symbol_row.get(symbol_id, NO_ROW)
            bounds.check_new_symbol(book, symbol_row)
            bounds.check_new_position(book, row, book.position_row(row, symbol_row))
        lots = {symbol_id: Lot(*holding) for symbol_id, holding in after.held.items()}
        opening = Opening(
            after.account_id, after.cash_cents, after.net_flow_cents, after.realized_cents, lots, has_base=True
        )
        bounds.check_opening(book, opening)

    def _base_after(self, before: Holdings, after: Holdings) -> int:
        """The net flow of the account's base with which a recompute is no profit or loss of today."""
        row = self._book.account_row[after.account_id]
        accounts = self._book.accounts
        equity_change = self._value_cents(after) - self._value_cents(before)
        moved = after.net_flow_cents - before.net_flow_cents - equity_change
        base_cents = accounts.base_net_flow_cents.item(row) + moved
        profit_cents = accounts.base_equity_cents.item(row) - base_cents
        if abs(profit_cents) > PROFIT_CENTS_MAX:
            raise OutOfBounds(
                "day_change",
                f"the profit of the account's base would be {profit_cents}, beyond +-{PROFIT_CENTS_MAX}",
                value=profit_cents,
                bound=PROFIT_CENTS_MAX,
            )
        return base_cents

    def _value_cents(self, holdings: Holdings) -> int:
        value_cents = 0
        for symbol_id, holding in holdings.held.items():
            price_cents = self._book.price_of(self._book.symbol_row.get(symbol_id, NO_ROW))
            value_cents += notional_cents(holding.quantity_bp, price_cents) if price_cents else holding.basis_cents
        return value_cents

    def _write(self, before: Holdings, after: Holdings) -> None:
        book, row = self._book, self._book.account_row[after.account_id]
        for symbol_id, holding in after.held.items():
            if holding == before.held.get(symbol_id):
                continue
            symbol_row = book.symbol_row_or_new(symbol_id)
            position_row = book.position_row(row, symbol_row)
            if position_row == NO_ROW:
                position_row = book.add_position(row, symbol_row)
            # A price that is this old, nobody knows how old, moves no mark.
            self._changes.write_lot(position_row, Lot(*holding))
            self._changes.touched.add(position_row)
            self._changes.unsaved.symbols.add(symbol_row)
        book.accounts.cash_cents[row] = after.cash_cents
        book.accounts.net_flow_cents[row] = after.net_flow_cents
        book.accounts.realized_cents[row] = after.realized_cents
        self._changes.mark_dirty(row)
        position_rows = np.array(book.position_rows_of_account(row), np.int64)
        for loud_row in bounds.loud_accounts(book, np.array([row]), position_rows):
            bounds.make_loud(book, loud_row)


_RECORD_NAMES = CorrectionColumns.__dataclass_fields__


def _with(before: Holdings, cash_cents: int, net_flow_cents: int, held: dict[int, Holding]) -> Holdings:
    gained = sum(holding.realized_cents for holding in held.values())
    had = sum(holding.realized_cents for holding in before.held.values())
    # By what it moves: an account whose realized is not the sum of its positions' is shown, not quietly mended.
    return Holdings(before.account_id, cash_cents, net_flow_cents, before.realized_cents + gained - had, held)
