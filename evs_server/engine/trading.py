"""
Runs of trades, prices and flows, applied by kernels: what ``Events`` does one by one, many at a time. Pure.

A kernel applies events in order, and stops before the first that is not plain: that may have to be refused, that makes
an account or symbol loud (``bounds``), that needs a new row where there is no room, or that the caller wants to see
itself. That one is applied the exact way, one event in plain integers, and the kernel goes on behind it. So what is
refused, and why, is decided in one place; the kernel has only to be sure of what it does.

It is sure by looking at magnitudes before it multiplies: no product of its own can wrap, and what it leaves behind is
quiet. Its bounds are a little narrower than those of ``bounds``, never wider; what lies between takes the exact way.

A worked example: an account with 1,000,000 cents buys 100 shares at 5,000. One share more, in place of a rest, would be
505,000 cents, which is less than 2^38; cash 500,000 and basis 500,000 are quiet. Nothing more is asked.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import types

from evs_server.engine.arithmetic import cut_notional
from evs_server.engine.book import POSITION_COUNT, Book, Tables, place_position
from evs_server.engine.changes import Changes
from evs_server.engine.compiled import INT64S, fetch, helper, kernel, tuple_of
from evs_server.engine.handle import HANDLE, Marked, read
from evs_server.engine.index import (
    ID_SLOTS,
    KEY,
    fetch_id,
    fetch_position,
    find_id,
    find_position,
    key_of,
    likely_position,
)
from evs_server.engine.rowset import fetch_word, put
from evs_server.engine.tables import BLOCKS, NO_ROW, Accounts, Blocks, Lots, Symbols
from evs_server.limits import (
    BP_PER_SHARE,
    POSITIONS_PER_ACCOUNT_MAX,
    QUANTITY_BP_MAX,
    QUIET_MONEY_CENTS,
    QUIET_POSITION_CENTS,
)
from evs_server.model import BoolArray, CashRun, Int64Array, MarkSource, ObservedRun, PriceRun, Side, TradeRun

_CASH: Final = Accounts.at("cash_cents")
_NET_FLOW: Final = Accounts.at("net_flow_cents")
_ACCOUNT_REALIZED: Final = Accounts.at("realized_cents")
_ACCOUNT_LOUD: Final = Accounts.at("loud")
_EXACT: Final = Accounts.at("exact")
_EXACT_WITH_FEE: Final = Accounts.at("exact_with_fee")
_QUANTITY: Final = Lots.at("quantity_bp")
_BASIS: Final = Lots.at("basis_cents")
_REALIZED: Final = Lots.at("realized_cents")
_PRICE: Final = Symbols.at("price_cents")
_SOURCE: Final = Symbols.at("source")
_MARK_TIME: Final = Symbols.at("mark_time_ms")
_QUANTITY_MAX: Final = Symbols.at("quantity_bp_max")
_SYMBOL_LOUD: Final = Symbols.at("loud")

_NONE_APART: Final = np.zeros(0, np.bool_)
_BUY: Final = int(Side.BUY)
_MARK: Final = int(MarkSource.MARK)
_LAST_TRADE: Final = int(MarkSource.LAST_TRADE)
_AHEAD: Final = 128
"""Events whose rows are looked up, and fetched, before the first of them is applied; none waits for another."""
_SAFE_FACTOR: Final = 2**24
_FACTOR_MAX: Final = 2**31
"""Shares, and cents a share, that are multiplied without more ado: two billion, or 21 million dollars."""
_PRODUCT_MAX: Final = 2**62

assert _FACTOR_MAX**2 <= _PRODUCT_MAX
assert _FACTOR_MAX * BP_PER_SHARE <= QUANTITY_BP_MAX, "what is multiplied without more ado is a quantity in bounds"
assert _SAFE_FACTOR * QUIET_POSITION_CENTS <= _PRODUCT_MAX, "closing so few bp of a quiet position needs no division"


class Trades(NamedTuple):
    """A run of trades as kernels take it: what of ``model.TradeRun`` an account's books depend on."""

    account_id: Int64Array
    symbol_id: Int64Array
    side: Int64Array
    quantity_bp: Int64Array
    price_cents: Int64Array
    fee_cents: Int64Array


_TRADES: Final = tuple_of(Trades, *[INT64S] * 6)
_FLAGS: Final = types.boolean[::1]


def apply_trades(
    changes: Changes,
    run: TradeRun,
    apart: BoolArray | None,
    first: int,
    now_ms: int,
    *,
    moves_marks: bool = True,
) -> int:
    """
    Apply trades of a run, in order, up to the first that must be applied the exact way.

    Args:
        apart: By event, those that the caller sees to itself, if any; so it does to all of accounts marked ``exact``.
        first: Where to begin.
        moves_marks: Whether trades move the marks of symbols that have no price of their own.

    Returns:
        Index of that first one; the length of the run if there is none.
    """
    trades = Trades(run.account_id, run.symbol_id, run.side, run.quantity_bp, run.price_cents, run.fee_cents)
    ahead = np.empty((_AHEAD, 3), np.int64)
    given = _NONE_APART if apart is None else apart
    return _apply_trades(trades, given, first, now_ms, moves_marks, changes.handle(), ahead)


def apply_prices(changes: Changes, run: PriceRun, apart: BoolArray | None, first: int, now_ms: int) -> int:
    """Set marks of a run, as ``apply_trades`` does trades."""
    given = _NONE_APART if apart is None else apart
    return _apply_prices(run.symbol_id, run.price_cents, given, first, now_ms, changes.handle())


def observe_prices(changes: Changes, run: ObservedRun, first: int, now_ms: int) -> int:
    """Have prices of trades move marks that no price has set, as ``apply_trades`` does trades."""
    return _observe_prices(run.symbol_id, run.price_cents, first, now_ms, changes.handle())


def apply_flows(changes: Changes, run: CashRun, apart: BoolArray | None, first: int) -> int:
    """Book flows of a run, as ``apply_trades`` does trades; up to the first of an account that is marked at all."""
    given = _NONE_APART if apart is None else apart
    return _apply_flows(run.account_id, run.amount_cents, given, first, changes.handle())


def are_plain(book: Book, account_id: Int64Array) -> bool:
    """Whether all of some accounts are known, and none of them is marked ``exact`` or ``exact_with_fee``."""
    return _are_plain(account_id, book.account_index.slot, book.accounts.blocks)


@helper
def _is_quiet_at(quantity_bp: int, price_cents: int) -> bool:
    """Whether a quantity is worth what a quiet position may be, at a price or at none (0); no if that might wrap."""
    shares_or_more = abs(quantity_bp) // BP_PER_SHARE + 1
    return max(shares_or_more, price_cents) <= _FACTOR_MAX and shares_or_more * price_cents <= QUIET_POSITION_CENTS


@helper
def _is_plain_price(symbol: Blocks, symbol_row: int, price_cents: int) -> bool:
    """Whether a price leaves every holder quiet, as far as its quantity goes."""
    return not symbol.flag[_SYMBOL_LOUD, symbol_row] and _is_quiet_at(
        symbol.int64[_QUANTITY_MAX, symbol_row], price_cents
    )


@helper
def _set_mark(symbol: Blocks, marked: Marked, symbol_row: int, price_cents: int, source: int, now_ms: int) -> None:
    if symbol.int64[_PRICE, symbol_row] != price_cents:
        symbol.int64[_PRICE, symbol_row] = price_cents
        put(marked.moved, symbol_row)
    symbol.int64[_SOURCE, symbol_row] = source
    symbol.int64[_MARK_TIME, symbol_row] = now_ms
    put(marked.set_again, symbol_row)
    put(marked.symbols, symbol_row)


@helper
def _fill(
    held_bp: int, basis_cents: int, signed_bp: int, price_cents: int, notional_cents: int
) -> tuple[int, int, int]:
    """
    Quantity and basis after a fill, and what it gained; as ``accounting.fill`` has it.

    A close whose part of the basis would wrap on the way leaves a basis that is not quiet.
    """
    direction = 1 if signed_bp > 0 else -1
    size_bp, held_size_bp = abs(signed_bp), abs(held_bp)
    if held_bp * direction >= 0:
        return held_bp + signed_bp, basis_cents + direction * notional_cents, 0
    closed_bp = min(size_bp, held_size_bp)
    closed_basis = basis_cents
    if closed_bp < held_size_bp:
        if closed_bp > _SAFE_FACTOR and closed_bp > _PRODUCT_MAX // max(abs(basis_cents), 1):
            return held_bp, QUIET_POSITION_CENTS, 0
        closed_basis = abs(basis_cents) * closed_bp // held_size_bp
        closed_basis = closed_basis if basis_cents >= 0 else -closed_basis
    closed_notional = notional_cents if closed_bp == size_bp else cut_notional(closed_bp, price_cents)
    gained = -direction * closed_notional - closed_basis
    return held_bp + signed_bp, basis_cents - closed_basis + direction * (notional_cents - closed_notional), gained


@helper
def _is_quiet_account(
    account: Blocks, account_row: int, cash_cents: int, net_flow_cents: int, realized_cents: int
) -> bool:
    return (
        not account.flag[account_row, _ACCOUNT_LOUD]
        and abs(cash_cents) < QUIET_MONEY_CENTS
        and abs(net_flow_cents) < QUIET_MONEY_CENTS
        and abs(realized_cents) < QUIET_MONEY_CENTS
    )


@helper
def _is_quiet_lot(quantity_bp: int, basis_cents: int, realized_cents: int, mark_cents: int) -> bool:
    return (
        abs(basis_cents) < QUIET_POSITION_CENTS
        and abs(realized_cents) < QUIET_MONEY_CENTS
        and _is_quiet_at(quantity_bp, mark_cents)
    )


@helper
def _new_row(tables: Tables, account_row: int, symbol_row: int) -> int:
    if tables.account.int32[account_row, POSITION_COUNT] >= POSITIONS_PER_ACCOUNT_MAX:
        return NO_ROW
    return place_position(tables, account_row, symbol_row)


@helper
def apply_plain_trade(
    fill: tuple[int, int, int, int], rows: tuple[int, int, int], now_ms: int, moves_marks: bool, tables: Tables,
    marked: Marked,
) -> bool:  # fmt: skip
    """
    Whether one trade was plain, and is applied; if it was not, nothing has changed.

    Args:
        fill: Side, quantity, price and fee.
        rows: Of the account and of the symbol, and the one that is likely to be the position's, or ``NO_ROW``.
    """
    side, size_bp, price, fee = fill
    account_row, symbol_row, row = rows
    account, lot, symbol = tables.account, tables.lot, tables.symbol
    makes_mark = moves_marks and symbol.int64[_SOURCE, symbol_row] != _MARK
    if not _is_quiet_at(size_bp, price) or (makes_mark and not _is_plain_price(symbol, symbol_row, price)):
        return False
    if row == NO_ROW or lot.int64[row, KEY] != key_of(account_row, symbol_row):
        row = find_position(tables.slots, lot, account_row, symbol_row)
    held, basis, realized = 0, 0, 0
    if row != NO_ROW:
        held, basis, realized = lot.int64[row, _QUANTITY], lot.int64[row, _BASIS], lot.int64[row, _REALIZED]
    signed_bp = size_bp if side == _BUY else -size_bp
    notional = cut_notional(signed_bp, price)
    held, basis, gained = _fill(held, basis, signed_bp, price, abs(notional))
    cash = account.int64[account_row, _CASH] - notional - fee
    account_realized = account.int64[account_row, _ACCOUNT_REALIZED] + gained - fee
    realized += gained - fee
    mark = price if makes_mark else symbol.int64[_PRICE, symbol_row]
    if not _is_quiet_account(account, account_row, cash, account.int64[account_row, _NET_FLOW], account_realized):
        return False
    if not _is_quiet_lot(held, basis, realized, mark):
        return False
    if row == NO_ROW:
        row = _new_row(tables, account_row, symbol_row)
        if row == NO_ROW:
            return False
    account.int64[account_row, _CASH] = cash
    account.int64[account_row, _ACCOUNT_REALIZED] = account_realized
    lot.int64[row, _QUANTITY] = held
    lot.int64[row, _BASIS] = basis
    lot.int64[row, _REALIZED] = realized
    symbol.int64[_QUANTITY_MAX, symbol_row] = max(abs(held), symbol.int64[_QUANTITY_MAX, symbol_row])
    put(marked.touched, row)
    put(marked.positions, row)
    put(marked.dirty, account_row)
    put(marked.accounts, account_row)
    if makes_mark:
        _set_mark(symbol, marked, symbol_row, price, _LAST_TRADE, now_ms)
    return True


@helper
def look_up(account_id: int, symbol_id: int, fee_cents: int, tables: Tables) -> tuple[int, int]:
    """Rows of a trade's account and symbol; no account's if the trade must be applied the exact way."""
    account_row = find_id(tables.account_slot, account_id)
    symbol_row = find_id(tables.symbol_slot, symbol_id)
    if min(account_row, symbol_row) == NO_ROW:
        return NO_ROW, NO_ROW
    flag = tables.account.flag
    if flag[account_row, _EXACT] or (flag[account_row, _EXACT_WITH_FEE] and fee_cents != 0):
        return NO_ROW, NO_ROW
    return account_row, symbol_row


@helper
def _fetch(tables: Tables, marked: Marked, account_row: int, symbol_row: int) -> int:
    """Fetch what a trade needs of its account, and of the position that is most likely its own: the row of that."""
    fetch(tables.account.int64, account_row, 0)
    row = likely_position(tables.slots, account_row, symbol_row)
    if row != NO_ROW:
        fetch(tables.lot.int64, row, KEY)
        fetch_word(marked.touched, row)
        fetch_word(marked.positions, row)
    return int(row)


@kernel(types.int64(_TRADES, _FLAGS, types.int64, types.int64, types.boolean, HANDLE, types.int64[:, ::1]))
def _apply_trades(
    trades: Trades, apart: BoolArray, first: int, now_ms: int, moves_marks: bool, handle: Int64Array,
    ahead: Int64Array,
) -> int:  # fmt: skip
    tables, _, marked = read(handle)
    count = len(trades.account_id)
    for start in range(first, count, _AHEAD):
        end = min(start + _AHEAD, count)
        # In rounds: each leads to memory that the round before has asked for.
        for index in range(start, end):
            fetch_id(tables.account_slot, trades.account_id[index])
        for index in range(start, end):
            account_row, symbol_row = look_up(
                trades.account_id[index], trades.symbol_id[index], trades.fee_cents[index], tables
            )
            ahead[index - start, 0], ahead[index - start, 1] = account_row, symbol_row
            if account_row != NO_ROW:
                fetch_position(tables.slots, account_row, symbol_row)
        for index in range(start, end):
            if ahead[index - start, 0] != NO_ROW:
                ahead[index - start, 2] = _fetch(tables, marked, ahead[index - start, 0], ahead[index - start, 1])
        for index in range(start, end):
            rows = ahead[index - start, 0], ahead[index - start, 1], ahead[index - start, 2]
            if rows[0] == NO_ROW or (len(apart) and apart[index]):
                return index
            fill = (
                trades.side[index], trades.quantity_bp[index], trades.price_cents[index], trades.fee_cents[index],
            )  # fmt: skip
            if not apply_plain_trade(fill, rows, now_ms, moves_marks, tables, marked):
                return index
    return count


@helper
def apply_plain_price(symbol_id: int, price_cents: int, now_ms: int, tables: Tables, marked: Marked) -> bool:
    """Whether one price was plain, and is a mark; if it was not, nothing has changed."""
    symbol_row = find_id(tables.symbol_slot, symbol_id)
    if symbol_row == NO_ROW or not _is_plain_price(tables.symbol, symbol_row, price_cents):
        return False
    _set_mark(tables.symbol, marked, symbol_row, price_cents, _MARK, now_ms)
    return True


@kernel(types.int64(INT64S, INT64S, _FLAGS, types.int64, types.int64, HANDLE))
def _apply_prices(
    symbol_id: Int64Array, price_cents: Int64Array, apart: BoolArray, first: int, now_ms: int, handle: Int64Array
) -> int:
    tables, _, marked = read(handle)
    for index in range(first, len(symbol_id)):
        if len(apart) and apart[index]:
            return index
        if not apply_plain_price(symbol_id[index], price_cents[index], now_ms, tables, marked):
            return index
    return len(symbol_id)


@kernel(types.int64(INT64S, INT64S, types.int64, types.int64, HANDLE))
def _observe_prices(symbol_id: Int64Array, price_cents: Int64Array, first: int, now_ms: int, handle: Int64Array) -> int:
    tables, _, marked = read(handle)
    for index in range(first, len(symbol_id)):
        symbol_row, price = find_id(tables.symbol_slot, symbol_id[index]), price_cents[index]
        if symbol_row == NO_ROW:
            return index
        if tables.symbol.int64[_SOURCE, symbol_row] == _MARK:
            continue
        if not _is_plain_price(tables.symbol, symbol_row, price):
            return index
        _set_mark(tables.symbol, marked, symbol_row, price, _LAST_TRADE, now_ms)
    return len(symbol_id)


@helper
def _is_plain(account: Blocks, row: int) -> bool:
    return row != NO_ROW and not account.flag[row, _EXACT] and not account.flag[row, _EXACT_WITH_FEE]


@kernel(types.int64(INT64S, INT64S, _FLAGS, types.int64, HANDLE))
def _apply_flows(
    account_id: Int64Array, amount_cents: Int64Array, apart: BoolArray, first: int, handle: Int64Array
) -> int:
    tables, _, marked = read(handle)
    account = tables.account
    for index in range(first, len(account_id)):
        row, amount = find_id(tables.account_slot, account_id[index]), amount_cents[index]
        if (len(apart) and apart[index]) or not _is_plain(account, row):
            return index
        cash, net_flow = account.int64[row, _CASH] + amount, account.int64[row, _NET_FLOW] + amount
        if not _is_quiet_account(account, row, cash, net_flow, account.int64[row, _ACCOUNT_REALIZED]):
            return index
        account.int64[row, _CASH] = cash
        account.int64[row, _NET_FLOW] = net_flow
        put(marked.dirty, row)
        put(marked.accounts, row)
    return len(account_id)


@kernel(types.boolean(INT64S, ID_SLOTS, BLOCKS))
def _are_plain(account_id: Int64Array, account_slot: Int64Array, account: Blocks) -> bool:
    heeded_count = 0
    for each in account_id:
        heeded_count += not _is_plain(account, find_id(account_slot, each))
    return heeded_count == 0
