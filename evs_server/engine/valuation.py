"""
The valuation pass: from what changed to snapshots, as columns. Pure.

``revalue`` brings the values of changed positions and their accounts' sums up to date; ``appraise`` turns accounts into
snapshots. Together they are the one valuation path that serves streams, reads and rows. The loops are in ``passes``.

A worked example, in cents: 1,000,000 deposited, 100 shares bought at 5,000, mark now 6,000. The position's value goes
from 500,000 to 600,000; the account's sums follow by +100,000 each; equity = 500,000 + 600,000 = 1,100,000; and
1,100,000 - 1,000,000 = 0 realized + 100,000 unrealized, as it must.
"""

from dataclasses import dataclass

import numpy as np

from evs_server.engine import passes
from evs_server.engine.arithmetic import notional, percent_e4
from evs_server.engine.book import Book
from evs_server.model import VALUATION_COLUMNS, Flag, Int64Array, Valuation, quickly_made


@quickly_made
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
    passes.age_marks(book.tables(), price_cents, mark_time_ms, oldest_ms)


def revalue_loaded(book: Book, position_row: Int64Array) -> None:
    """Value positions that were taken in between two ticks, at the marks of the last completed one."""
    passes.revalue_loaded(book.tables(), position_row)


def revalue(handle: Int64Array, room: Int64Array, now_ms: int, oldest_ms: int) -> tuple[int, Int64Array]:
    """
    Bring all that is marked up to date at the live marks: the age of marks, positions, and their accounts' sums.

    Nothing is marked afterwards; what was has to be saved.

    Args:
        handle: Of everything.
        room: For as many rows as there are accounts.
        now_ms: When positions that traded are said to have changed.
        oldest_ms: Marks older than this are stale.

    Returns:
        How many positions were valued; and the rows of the accounts to appraise, ascending: the dirty ones, and all
        that hold a moved symbol. They lie in the room given.
    """
    position_count, account_count = passes.revalue(handle, room, now_ms, oldest_ms)
    return position_count, room[:account_count]


def take_over_marks(book: Book, symbol_row: Int64Array) -> None:
    """Make the live marks of some symbols the valued ones; after all that they value is revalued."""
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
    position_value = np.zeros(book.accounts.count, np.int64)
    unrealized = np.zeros(book.accounts.count, np.int64)
    passes.sum_positions(
        book.lots.blocks, book.positions.blocks, book.symbols.valued_price_cents, position_value, unrealized
    )
    return position_value, unrealized


def appraise(handle: Int64Array, account_row: Int64Array, stamp: Stamp) -> tuple[Valuation, int]:
    """
    Snapshots of some accounts, which become their newest; a first fully priced one becomes an account's base.

    Args:
        handle: Of everything.
        account_row: Ascending, each once; their positions are revalued.

    Returns:
        The pass, in the order given, and how many of its snapshots violate the identity.
    """
    out = np.empty((passes.SNAPSHOT_COLUMNS, len(account_row)), np.int64)
    told = (stamp.version, stamp.tick, stamp.timestamp_ms, stamp.flags)
    violation_count = passes.appraise(handle, account_row, told, out)
    return Valuation(stamp.version, stamp.tick, stamp.timestamp_ms, out), violation_count


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
    cash, net_flow = latest.cash_cents[every], latest.net_flow_cents[every]
    realized = latest.realized_cents[every]
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
    account_id = accounts.account_id[every]
    columns = (account_id, equity, cash, position_value, zero, zero, unrealized, realized, net_flow, flags)
    valuation = Valuation(stamp.version, stamp.tick, stamp.timestamp_ms, np.array(columns), session_roll=True)
    _remember(book, every, valuation)
    return valuation, np.flatnonzero(~held)


def restate(book: Book, account_row: Int64Array, stamp: Stamp) -> tuple[Valuation, int]:
    """
    The newest valuations of some accounts once more, at what their positions were worth then; they become the newest.

    For a start: valuations that were not stored are lost, the numbers behind them are not. Cash, net flow, realized and
    base are those of the newest that was stored, since one that had others was; what positions are worth may differ,
    and the day change differs by the same. The age of marks is to be judged before.

    Worked example, in cents: stored were cash 500,000, value 500,000, day change 0; the position is worth 600,000 by
    its valued mark. Equity is then 1,100,000, the day change +100,000, over a base of 1,000,000.

    Args:
        account_row: Each once.

    Returns:
        The pass, in the order given, and how many of its snapshots violate the identity.
    """
    accounts, latest, row = book.accounts, book.latest, account_row
    cash, net_flow, realized = latest.cash_cents[row], latest.net_flow_cents[row], latest.realized_cents[row]
    position_value, unrealized = accounts.position_value_cents[row], accounts.unrealized_cents[row]
    equity = cash + position_value
    day_change = latest.day_change_cents[row] + equity - latest.equity_cents[row]
    base = equity - day_change
    held = equity - net_flow == realized + unrealized
    flags = np.full(len(row), stamp.flags, np.int64)
    flags |= np.where(accounts.unpriced_count[row] != 0, int(Flag.UNPRICED), 0)
    flags |= np.where(accounts.stale_count[row] > 0, int(Flag.STALE_PRICE), 0)
    flags |= np.where(accounts.has_base[row] & (base > 0), 0, int(Flag.NO_BASE))
    flags |= np.where(held, 0, int(Flag.IDENTITY_VIOLATED))
    columns = (
        accounts.account_id[row], equity, cash, position_value, day_change, percent_e4(day_change, base),
        unrealized, realized, net_flow, flags,
    )  # fmt: skip
    valuation = Valuation(stamp.version, stamp.tick, stamp.timestamp_ms, np.array(columns))
    _remember(book, row, valuation)
    return valuation, int(np.count_nonzero(~held))


def _remember(book: Book, row: slice | Int64Array, valuation: Valuation) -> None:
    latest = book.latest
    latest.version[row] = valuation.version
    latest.tick[row] = valuation.tick
    latest.timestamp_ms[row] = valuation.timestamp_ms
    for name, column in zip(VALUATION_COLUMNS[1:], valuation.columns[1:], strict=True):
        getattr(latest, name)[row] = column
