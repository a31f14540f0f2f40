"""
The valuation pass: from what changed to snapshots, as columns. Pure.

``revalue`` brings the values of changed positions and their accounts' sums up to date; ``appraise`` turns accounts into
snapshots. Together they are the one valuation path that serves streams, reads and rows.

A worked example, in cents: 1,000,000 deposited, 100 shares bought at 5,000, mark now 6,000. The position's value goes
from 500,000 to 600,000; the account's sums follow by +100,000 each; equity = 500,000 + 600,000 = 1,100,000; and
1,100,000 - 1,000,000 = 0 realized + 100,000 unrealized, as it must.
"""

from dataclasses import dataclass

import numpy as np

from evs_server.engine.arithmetic import notional, percent_e4
from evs_server.engine.tables import Book
from evs_server.model import Flag, Int32Array, Int64Array, Valuation


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all snapshots of one pass share."""

    version: int
    tick: int
    timestamp_ms: int
    flags: int = 0


def position_values(quantity_bp: Int64Array, price_cents: Int64Array, basis_cents: Int64Array) -> Int64Array:
    """
    Values of positions: at their price where there is one, at their cost where there is none (DESIGN 2.12).

    All of shape ``(n,)``, in cents but for the quantity; price 0 is no price.
    """
    values: Int64Array = np.where(price_cents > 0, notional(quantity_bp, price_cents), basis_cents)
    return values


def age_marks(book: Book, price_cents: Int64Array, mark_time_ms: Int64Array, oldest_ms: int) -> None:
    """
    Judge which marks are too old now, and keep each account's count of open positions that have such a mark.

    Args:
        price_cents: By symbol row, the prices that are about to value; 0 is none, and never old.
        mark_time_ms: By symbol row, when they were last set.
        oldest_ms: Marks older than this are stale.
    """
    accounts, positions, symbols = book.accounts, book.positions, book.symbols
    every = slice(0, symbols.count)
    stale = (mark_time_ms[every] < oldest_ms) & (price_cents[every] > 0)
    turned = np.flatnonzero(stale != symbols.stale[every])
    symbols.stale[every] = stale
    row = book.position_rows_of_symbols(turned)
    row = row[positions.valued_quantity_bp[row] != 0]
    change = np.where(stale[positions.symbol_row[row]], 1, -1).astype(np.int32)
    np.add.at(accounts.stale_count, positions.account_row[row], change)


def revalue(book: Book, position_row: Int64Array, price_cents: Int64Array) -> None:
    """
    Take over the live numbers of some positions, value them, and move their accounts' sums by what that changes.

    Args:
        position_row: Each at most once; every position that traded, and every holder of a symbol whose mark changed.
        price_cents: By symbol row, the prices to value at: the live marks, or the valued ones for an account that is
        loaded
            between two ticks. Their age has been judged.
    """
    accounts, positions, symbols = book.accounts, book.positions, book.symbols
    row = position_row
    symbol_row = positions.symbol_row[row]
    account_row = positions.account_row[row]
    quantity, basis = positions.quantity_bp[row], positions.basis_cents[row]
    was_open, is_open = positions.valued_quantity_bp[row] != 0, quantity != 0
    was_unpriced = was_open & (symbols.valued_price_cents[symbol_row] == 0)
    is_unpriced = is_open & (price_cents[symbol_row] == 0)
    opened = is_open.astype(np.int32) - was_open
    value = position_values(quantity, price_cents[symbol_row], basis)
    value_change = value - positions.value_cents[row]
    np.add.at(accounts.position_value_cents, account_row, value_change)
    np.add.at(accounts.unrealized_cents, account_row, value_change - (basis - positions.valued_basis_cents[row]))
    np.add.at(accounts.unpriced_count, account_row, is_unpriced.astype(np.int32) - was_unpriced)
    np.add.at(accounts.stale_count, account_row, opened * symbols.stale[symbol_row])
    positions.value_cents[row] = value
    positions.valued_quantity_bp[row] = quantity
    positions.valued_basis_cents[row] = basis
    positions.valued_realized_cents[row] = positions.realized_cents[row]
    positions.listed[row] = True


def take_over_marks(book: Book, symbol_row: Int64Array) -> None:
    """Make the live marks of some symbols the valued ones; after ``revalue``."""
    symbols = book.symbols
    symbols.valued_price_cents[symbol_row] = symbols.price_cents[symbol_row]
    symbols.valued_source[symbol_row] = symbols.source[symbol_row]
    symbols.valued_time_ms[symbol_row] = symbols.mark_time_ms[symbol_row]


def sum_from_scratch(book: Book) -> tuple[Int64Array, Int64Array]:
    """
    Every account's position value and unrealized, added up anew from its positions as of its newest valuation.

    Returns:
        Cents, twice; shape ``(accounts.count,)``, by account row.
    """
    positions, symbols = book.positions, book.symbols
    every = slice(0, positions.count)
    account_row = positions.account_row[every]
    value = position_values(
        positions.valued_quantity_bp[every],
        symbols.valued_price_cents[positions.symbol_row[every]],
        positions.valued_basis_cents[every],
    )
    position_value = np.zeros(book.accounts.count, np.int64)
    unrealized = np.zeros(book.accounts.count, np.int64)
    np.add.at(position_value, account_row, value)
    np.add.at(unrealized, account_row, value - positions.valued_basis_cents[every])
    return position_value, unrealized


def appraise(book: Book, account_row: Int64Array, stamp: Stamp) -> tuple[Valuation, Int32Array]:
    """
    Snapshots of some accounts, which become their newest; a first fully priced one becomes an account's base.

    Args:
        account_row: Ascending, each once; their positions are revalued.

    Returns:
        The pass, in the order given, and the rows of accounts that were given their base by it.
    """
    accounts = book.accounts
    row = account_row
    cash, net_flow = accounts.cash_cents[row], accounts.net_flow_cents[row]
    realized, unrealized = accounts.realized_cents[row], accounts.unrealized_cents[row]
    position_value = accounts.position_value_cents[row]
    equity = cash + position_value
    priced = accounts.unpriced_count[row] == 0
    new_base = row[~accounts.has_base[row] & priced]
    accounts.base_equity_cents[new_base] = accounts.cash_cents[new_base] + accounts.position_value_cents[new_base]
    accounts.base_net_flow_cents[new_base] = accounts.net_flow_cents[new_base]
    accounts.has_base[new_base] = True
    has_base = accounts.has_base[row]
    base_profit = accounts.base_equity_cents[row] - accounts.base_net_flow_cents[row]
    day_change = np.where(has_base, equity - net_flow - base_profit, 0)
    base = equity - day_change
    flags = np.full(len(row), stamp.flags, np.int64)
    flags |= np.where(priced, 0, int(Flag.UNPRICED))
    flags |= np.where(accounts.stale_count[row] > 0, int(Flag.STALE_PRICE), 0)
    flags |= np.where(has_base & (base > 0), 0, int(Flag.NO_BASE))
    flags |= np.where(equity - net_flow == realized + unrealized, 0, int(Flag.IDENTITY_VIOLATED))
    valuation = Valuation(
        stamp.version, stamp.tick, stamp.timestamp_ms,
        accounts.account_id[row], equity, cash, position_value, day_change, percent_e4(day_change, base),
        unrealized, realized, net_flow, flags,
    )  # fmt: skip
    remember(book, row, valuation)
    return valuation, new_base.astype(np.int32)


def close_session(book: Book, stamp: Stamp) -> tuple[Valuation, Int64Array]:
    """
    Every account's newest valuation, stamped anew and made its base: the closing equity, before anything applied since.

    The sums behind it are made from scratch and compared with what the snapshots say.

    Returns:
        The pass, by account row, and the rows of accounts whose sums did not agree (flagged, never hidden).
    """
    accounts, latest = book.accounts, book.latest
    every = slice(0, accounts.count)
    position_value, unrealized = sum_from_scratch(book)
    cash, net_flow = latest.cash_cents[every].copy(), latest.net_flow_cents[every].copy()
    realized = latest.realized_cents[every].copy()
    equity = cash + position_value
    accounts.base_equity_cents[every] = equity
    accounts.base_net_flow_cents[every] = net_flow
    accounts.has_base[every] = True
    agreed = (position_value == latest.position_value_cents[every]) & (unrealized == latest.unrealized_cents[every])
    held = agreed & (equity - net_flow == realized + unrealized)
    kept = latest.flags[every] & int(Flag.UNPRICED | Flag.STALE_PRICE)
    flags = kept | stamp.flags | np.where(equity > 0, 0, int(Flag.NO_BASE))
    flags |= np.where(held, 0, int(Flag.IDENTITY_VIOLATED))
    zero = np.zeros(accounts.count, np.int64)
    valuation = Valuation(
        stamp.version, stamp.tick, stamp.timestamp_ms,
        accounts.account_id[every].copy(), equity, cash, position_value, zero, zero,
        unrealized, realized, net_flow, flags, session_roll=True,
    )  # fmt: skip
    rows = np.arange(accounts.count)
    remember(book, rows, valuation)
    return valuation, rows[~held]


def remember(book: Book, account_row: Int64Array, valuation: Valuation) -> None:
    """Make a pass's snapshots the newest of their accounts."""
    latest = book.latest
    latest.version[account_row] = valuation.version
    latest.tick[account_row] = valuation.tick
    latest.timestamp_ms[account_row] = valuation.timestamp_ms
    latest.equity_cents[account_row] = valuation.equity_cents
    latest.cash_cents[account_row] = valuation.cash_cents
    latest.position_value_cents[account_row] = valuation.position_value_cents
    latest.day_change_cents[account_row] = valuation.day_change_cents
    latest.day_change_percent_e4[account_row] = valuation.day_change_percent_e4
    latest.unrealized_cents[account_row] = valuation.unrealized_cents
    latest.realized_cents[account_row] = valuation.realized_cents
    latest.net_flow_cents[account_row] = valuation.net_flow_cents
    latest.flags[account_row] = valuation.flags
