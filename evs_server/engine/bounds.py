"""
What an event would lead to, judged before it changes anything: no sum may ever leave ``limits``. Pure.

An account is *quiet* while its cash, net flow and realized, and each of its positions, are so small that no sum of
them can leave the bounds (``limits.QUIET_*``; the relations are asserted there). Every event needs only to see that
what it touches stays quiet. Where that fails, the account's sums are worked out exactly, in plain integers, and if
they are in bounds the account is *loud* from then on: every later event on it, or on a symbol it trades, is worked
out too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evs_server.engine.accounting import Lot
from evs_server.engine.arithmetic import notional_cents
from evs_server.engine.book import Book
from evs_server.engine.opening import Opening
from evs_server.engine.tables import NO_ROW, owner_of, symbol_of
from evs_server.errors import OutOfBounds
from evs_server.limits import (
    BP_PER_SHARE,
    MONEY_CENTS_MAX,
    POSITIONS_PER_ACCOUNT_MAX,
    PRICE_CENTS_MAX,
    PROFIT_CENTS_MAX,
    QUANTITY_BP_MAX,
    QUIET_MONEY_CENTS,
    QUIET_POSITION_CENTS,
    SYMBOLS_MAX,
)
from evs_server.model import Int64Array


@dataclass(frozen=True, slots=True)
class Prospect:
    """
    An account as an event would leave it: its live numbers, with at most one lot and one price replaced.

    ``symbol_row`` may be ``NO_ROW`` for a symbol not known yet; ``price_cents`` 0 is no price.
    """

    account_row: int
    cash_cents: int
    net_flow_cents: int
    realized_cents: int
    symbol_row: int = NO_ROW
    lot: Lot | None = None
    price_cents: int = 0


def current(book: Book, account_row: int) -> Prospect:
    """An account as it is."""
    accounts = book.accounts
    return Prospect(
        account_row,
        accounts.cash_cents.item(account_row),
        accounts.net_flow_cents.item(account_row),
        accounts.realized_cents.item(account_row),
    )


def check_account(book: Book, prospect: Prospect) -> bool:
    """
    Whether an account, as an event would leave it, is loud.

    Raises:
        OutOfBounds: If any of its numbers would leave its bounds.
    """
    if not book.accounts.loud[prospect.account_row] and _is_quiet(prospect):
        return False
    _check_exactly(book, prospect)
    return True


def check_prices(symbol_id: Int64Array, price_cents: Int64Array) -> None:
    """
    Sees that prices read from the exchange's tables can be marks.

    Raises:
        OutOfBounds: If any is not positive, or beyond the bound.
    """
    for symbol, price in zip(symbol_id.tolist(), price_cents.tolist(), strict=True):
        if not 0 < price <= PRICE_CENTS_MAX:
            raise OutOfBounds(
                "price",
                f"symbol {symbol} last traded at {price}, which is not from 1 to {PRICE_CENTS_MAX}",
                symbol_id=symbol,
                value=price,
                bound=PRICE_CENTS_MAX,
            )


def check_new_symbol(book: Book, symbol_row: int) -> None:
    """
    Sees that there is room for a symbol.

    Raises:
        OutOfBounds: If the table of symbols is full.
    """
    if symbol_row == NO_ROW and book.symbols.count >= SYMBOLS_MAX:
        raise OutOfBounds(
            "symbol_id", f"there are {SYMBOLS_MAX} symbols already, the most EVS keeps", bound=SYMBOLS_MAX
        )


def check_new_position(book: Book, account_row: int, position_row: int) -> None:
    """
    Sees that there is room for a position.

    Raises:
        OutOfBounds: If the account has traded too many symbols.
    """
    if position_row == NO_ROW and book.accounts.position_count[account_row] >= POSITIONS_PER_ACCOUNT_MAX:
        raise OutOfBounds(
            "symbol_id",
            f"the account has traded {POSITIONS_PER_ACCOUNT_MAX} symbols already, the most EVS keeps",
            bound=POSITIONS_PER_ACCOUNT_MAX,
        )


def check_price(book: Book, symbol_row: int, price_cents: int, but_account_row: int = NO_ROW) -> list[int]:
    """
    The accounts that a symbol's new price would make loud.

    Args:
        but_account_row: An account that is checked apart, because its lot changes too.

    Raises:
        OutOfBounds: If it would take any holder out of its bounds.
    """
    if symbol_row == NO_ROW:
        return []
    symbols = book.symbols
    largest_cents = notional_cents(symbols.quantity_bp_max.item(symbol_row), price_cents)
    if largest_cents < QUIET_POSITION_CENTS and not symbols.loud[symbol_row]:
        return []
    loud_rows = []
    for row in _doubtful_rows(book, symbol_row, price_cents).tolist():
        account_row = owner_of(book.lots.key.item(row))
        if account_row == but_account_row:
            continue
        prospect = current(book, account_row)
        lot = book.lot(row)
        with_price = Prospect(
            account_row, prospect.cash_cents, prospect.net_flow_cents, prospect.realized_cents,
            symbol_row, lot, price_cents,
        )  # fmt: skip
        if check_account(book, with_price):
            loud_rows.append(account_row)
    return loud_rows


def _doubtful_rows(book: Book, symbol_row: int, price_cents: int) -> Int64Array:
    """The open positions in a symbol whose accounts are loud, or might be at a price; all others are and stay quiet."""
    row = book.position_rows_of_symbol(symbol_row)
    quantity_bp = book.lots.quantity_bp[row]
    is_large = np.abs(quantity_bp) // BP_PER_SHARE + 1 > QUIET_POSITION_CENTS // max(price_cents, 1)
    is_loud = book.accounts.loud[owner_of(book.lots.key[row])]
    doubtful: Int64Array = row[(quantity_bp != 0) & (is_large | is_loud)]
    return doubtful


def loud_accounts(book: Book, account_row: Int64Array, position_row: Int64Array) -> list[int]:
    """
    Those of some accounts that are not quiet, judged by their live numbers.

    Args:
        position_row: All positions of theirs.
    """
    accounts, lots = book.accounts, book.lots
    key = lots.key[position_row]
    shares = np.abs(lots.quantity_bp[position_row]) // BP_PER_SHARE + 1
    price = np.maximum(book.symbols.price_cents[symbol_of(key)], 1)
    loud_positions = (shares > QUIET_POSITION_CENTS // price - 1) | (
        np.abs(lots.basis_cents[position_row]) >= QUIET_POSITION_CENTS
    )
    loud = np.zeros(len(account_row), np.bool_)
    for money in (accounts.cash_cents, accounts.net_flow_cents, accounts.realized_cents):
        loud |= np.abs(money[account_row]) >= QUIET_MONEY_CENTS
    rows: list[int] = np.union1d(owner_of(key[loud_positions]), account_row[loud]).tolist()
    return rows


def make_loud(book: Book, account_row: int) -> None:
    """Remember that an account's sums must be worked out from now on, and with every symbol it has traded."""
    if not book.accounts.loud[account_row]:
        book.accounts.loud[account_row] = True
        rows = np.array(book.position_rows_of_account(account_row), np.int64)
        book.symbols.loud[symbol_of(book.lots.key[rows])] = True


def _is_quiet(prospect: Prospect) -> bool:
    quiet = (
        -QUIET_MONEY_CENTS < prospect.cash_cents < QUIET_MONEY_CENTS
        and -QUIET_MONEY_CENTS < prospect.net_flow_cents < QUIET_MONEY_CENTS
        and -QUIET_MONEY_CENTS < prospect.realized_cents < QUIET_MONEY_CENTS
    )
    lot = prospect.lot
    if lot is None or not quiet:
        return quiet
    return (
        abs(lot.basis_cents) < QUIET_POSITION_CENTS
        and abs(lot.realized_cents) < QUIET_MONEY_CENTS
        and abs(lot.quantity_bp) <= QUANTITY_BP_MAX
        and abs(notional_cents(lot.quantity_bp, prospect.price_cents)) < QUIET_POSITION_CENTS
    )


def check_opening(book: Book, opened: Opening) -> None:
    """
    Sees that an account read from the exchange's tables can be kept.

    Raises:
        OutOfBounds: If any of its numbers is beyond the bounds.
    """
    # It is valued at the marks of the last completed tick, and lives on with those of now.
    for price_cents in (book.symbols.valued_price_cents, book.symbols.price_cents):
        priced = [
            (lot, price_cents.item(book.symbol_row[symbol_id]) if symbol_id in book.symbol_row else 0)
            for symbol_id, lot in opened.lots.items()
        ]
        try:
            _check_sums(opened.cash_cents, opened.net_flow_cents, opened.realized_cents, priced)
        except OutOfBounds as error:
            message = f"the exchange's tables have account {opened.account_id} beyond the bounds: {error.message}"
            raise OutOfBounds(error.field, message, account_id=opened.account_id, **error.metadata) from None


def _check_exactly(book: Book, prospect: Prospect) -> None:
    priced = {}
    for row in book.position_rows_of_account(prospect.account_row):
        symbol_row = symbol_of(book.lots.key.item(row))
        priced[symbol_row] = (book.lot(row), book.price_of(symbol_row))
    if prospect.lot is not None:
        priced[prospect.symbol_row] = (prospect.lot, prospect.price_cents)
    _check_sums(prospect.cash_cents, prospect.net_flow_cents, prospect.realized_cents, priced.values())


def _check_sums(cash_cents: int, net_flow_cents: int, realized_cents: int, priced: Iterable[tuple[Lot, int]]) -> None:
    value = unrealized = 0
    for lot, price in priced:
        position_value = notional_cents(lot.quantity_bp, price) if price else lot.basis_cents
        _within("quantity_bp", lot.quantity_bp, QUANTITY_BP_MAX, "a position's quantity")
        _within("market_value", position_value, MONEY_CENTS_MAX, "a position's value")
        _within("basis_cents", lot.basis_cents, MONEY_CENTS_MAX, "a position's cost")
        _within("realized_pnl", lot.realized_cents, MONEY_CENTS_MAX, "a position's realized P&L")
        value += position_value
        unrealized += position_value - lot.basis_cents
    equity = cash_cents + value
    _within("cash_balance", cash_cents, MONEY_CENTS_MAX, "the account's cash")
    _within("net_flow", net_flow_cents, MONEY_CENTS_MAX, "the account's net flow")
    _within("realized_pnl", realized_cents, MONEY_CENTS_MAX, "the account's realized P&L")
    _within("position_value", value, MONEY_CENTS_MAX, "the value of the account's positions")
    _within("unrealized_pnl", unrealized, MONEY_CENTS_MAX, "the account's unrealized P&L")
    _within("total_equity", equity, MONEY_CENTS_MAX, "the account's equity")
    _within("total_equity", equity - net_flow_cents, PROFIT_CENTS_MAX, "the account's profit")


def _within(field: str, value: int, bound: int, what: str) -> None:
    if abs(value) > bound:
        raise OutOfBounds(field, f"{what} would be {value}, beyond +-{bound}", value=value, bound=bound)
