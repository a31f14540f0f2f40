"""
The loops of a valuation pass, over whole blocks of columns (``tables``). Pure; kernels.

Lives here: what is done to each position and account. Not here: to which, and when (``valuation``, ``engine``).
"""

from typing import Final, NamedTuple

from numba import types

from evs_server.engine.arithmetic import cut_notional, rounded_percent_e4
from evs_server.engine.book import FIRST_ROW, FIRST_SEGMENT, NEXT_SEGMENT, TABLES, USED, Tables
from evs_server.engine.compiled import INT64S, fetch, helper, kernel, type_of
from evs_server.engine.handle import HANDLE, Marked, read
from evs_server.engine.index import KEY, key_owner, key_symbol
from evs_server.engine.rowset import clear, list_rows, next_row, put
from evs_server.engine.tables import BLOCKS, FIRST_CAPACITY, NO_ROW, Accounts, Blocks, Latest, Lots, Positions, Symbols
from evs_server.model import VALUATION_COLUMNS, Flag, Int64Array

SNAPSHOT_COLUMNS: Final = len(VALUATION_COLUMNS)
"""All but the first are ``Latest``'s from ``equity_cents`` on."""

_ACCOUNT_ID: Final = Accounts.at("account_id")
_CASH: Final = Accounts.at("cash_cents")
_NET_FLOW: Final = Accounts.at("net_flow_cents")
_REALIZED: Final = Accounts.at("realized_cents")
_POSITION_VALUE: Final = Accounts.at("position_value_cents")
_UNREALIZED: Final = Accounts.at("unrealized_cents")
_BASE_EQUITY: Final = Accounts.at("base_equity_cents")
_BASE_NET_FLOW: Final = Accounts.at("base_net_flow_cents")
_UNPRICED_COUNT: Final = Accounts.at("unpriced_count")
_STALE_COUNT: Final = Accounts.at("stale_count")
_HAS_BASE: Final = Accounts.at("has_base")

_QUANTITY: Final = Lots.at("quantity_bp")
_BASIS: Final = Lots.at("basis_cents")
_POSITION_REALIZED: Final = Lots.at("realized_cents")
_VALUED_QUANTITY: Final = Positions.at("valued_quantity_bp")
_VALUED_BASIS: Final = Positions.at("valued_basis_cents")
_UPDATED: Final = Positions.at("updated_ms")
_VALUED_REALIZED: Final = Positions.at("valued_realized_cents")
_VALUE: Final = Positions.at("value_cents")
_LISTED: Final = Positions.at("listed")

_PRICE: Final = Symbols.at("price_cents")
_SOURCE: Final = Symbols.at("source")
_MARK_TIME: Final = Symbols.at("mark_time_ms")
_VALUED_PRICE: Final = Symbols.at("valued_price_cents")
_VALUED_SOURCE: Final = Symbols.at("valued_source")
_VALUED_TIME: Final = Symbols.at("valued_time_ms")
_STALE: Final = Symbols.at("stale")

_VERSION: Final = Latest.at("version")
_TICK: Final = Latest.at("tick")
_TIMESTAMP: Final = Latest.at("timestamp_ms")
_FLAGS: Final = Latest.at("flags")
_FIRST_OF_SNAPSHOT: Final = Latest.at("equity_cents")

_AHEAD: Final = 32
"""How many accounts ahead memory is asked for: enough for it to come in time, and not to be gone again. Lots: twice."""
_AT_ONCE: Final = 16
"""Positions that traded, valued in one go: each is in seven places, and more of them would push each other out."""
_STAMP: Final = type_of((0, 0, 0, 0))
_TWO: Final = type_of((0, 0))
_UNPRICED_FLAG: Final = int(Flag.UNPRICED)
_STALE_FLAG: Final = int(Flag.STALE_PRICE)
_NO_BASE_FLAG: Final = int(Flag.NO_BASE)
_VIOLATED_FLAG: Final = int(Flag.IDENTITY_VIOLATED)

assert _AT_ONCE <= FIRST_CAPACITY, "rows that are valued in one go are listed in the room for accounts"


@helper
def value_at(quantity_bp: int, price_cents: int, basis_cents: int) -> int:
    """What a position is worth: at its price where there is one, at its cost where there is none (DESIGN 2.12)."""
    return cut_notional(quantity_bp, price_cents) if price_cents > 0 else basis_cents


@kernel(types.void(TABLES, INT64S, INT64S, types.int64))
def age_marks(tables: Tables, price_cents: Int64Array, mark_time_ms: Int64Array, oldest_ms: int) -> None:
    """Judge marks, and count in each account its open positions that have an old one."""
    position, symbol, segment = tables.position, tables.symbol, tables.segment
    for symbol_row in range(symbol.tally[0]):
        stale = mark_time_ms[symbol_row] < oldest_ms and price_cents[symbol_row] > 0
        if stale == symbol.flag[_STALE, symbol_row]:
            continue
        symbol.flag[_STALE, symbol_row] = stale
        part = symbol.int32[FIRST_SEGMENT, symbol_row]
        while part != NO_ROW:
            first = segment.int32[part, FIRST_ROW]
            for row in range(first, first + segment.int32[part, USED]):
                if position.int64[_VALUED_QUANTITY, row] != 0:
                    tables.account.int32[key_owner(tables.lot.int64[row, KEY]), _STALE_COUNT] += 1 if stale else -1
            part = segment.int32[part, NEXT_SEGMENT]


@helper
def _revalue_position(tables: Tables, row: int, price_cents: int, valued_price_cents: int) -> None:
    """Take over the live numbers of a position, and value it."""
    account, lot, position = tables.account, tables.lot, tables.position
    account_row, symbol_row = key_owner(lot.int64[row, KEY]), key_symbol(lot.int64[row, KEY])
    quantity, basis = lot.int64[row, _QUANTITY], lot.int64[row, _BASIS]
    was_open, is_open = position.int64[_VALUED_QUANTITY, row] != 0, quantity != 0
    value = value_at(quantity, price_cents, basis)
    value_change = value - position.int64[_VALUE, row]
    account.int64[account_row, _POSITION_VALUE] += value_change
    account.int64[account_row, _UNREALIZED] += value_change - (basis - position.int64[_VALUED_BASIS, row])
    was_unpriced = was_open and valued_price_cents == 0
    is_unpriced = is_open and price_cents == 0
    account.int32[account_row, _UNPRICED_COUNT] += int(is_unpriced) - int(was_unpriced)
    if tables.symbol.flag[_STALE, symbol_row]:
        account.int32[account_row, _STALE_COUNT] += int(is_open) - int(was_open)
    position.int64[_VALUE, row] = value
    position.int64[_VALUED_QUANTITY, row] = quantity
    position.int64[_VALUED_BASIS, row] = basis
    position.int64[_VALUED_REALIZED, row] = lot.int64[row, _POSITION_REALIZED]
    position.flag[_LISTED, row] = True


@kernel(types.void(TABLES, INT64S))
def revalue_loaded(tables: Tables, position_row: Int64Array) -> None:
    """Value positions for the first time, at the marks of the last completed tick."""
    for index in range(len(position_row)):
        row = position_row[index]
        price = tables.symbol.int64[_VALUED_PRICE, key_symbol(tables.lot.int64[row, KEY])]
        _revalue_position(tables, row, price, price)


@helper
def _price_first(tables: Tables, symbol_row: int) -> None:
    """
    Have the valued price of a symbol be known where there was none: the positions in it are priced now.

    Before any of them is revalued: its own revaluation must find its symbol priced, whether or not it traded.
    """
    part = tables.symbol.int32[FIRST_SEGMENT, symbol_row]
    while part != NO_ROW:
        first = tables.segment.int32[part, FIRST_ROW]
        for row in range(first, first + tables.segment.int32[part, USED]):
            if tables.position.int64[_VALUED_QUANTITY, row] != 0:
                tables.account.int32[key_owner(tables.lot.int64[row, KEY]), _UNPRICED_COUNT] -= 1
        part = tables.segment.int32[part, NEXT_SEGMENT]
    tables.symbol.int64[_VALUED_PRICE, symbol_row] = tables.symbol.int64[_PRICE, symbol_row]


class _Place(NamedTuple):
    """A position among those of some symbols: whose and in which segment, its row, and where that segment ends."""

    symbol_row: int
    segment: int
    row: int
    end: int


@helper
def _behind(place: _Place, symbols: Int64Array, tables: Tables) -> _Place:
    """The next position, segment by segment and symbol by symbol; behind the last, of no symbol."""
    symbol_row, segment, row, end = place.symbol_row, place.segment, place.row + 1, place.end
    while row >= end:
        if segment != NO_ROW:
            segment = tables.segment.int32[segment, NEXT_SEGMENT]
        while segment == NO_ROW:
            symbol_row = next_row(symbols, symbol_row + 1)
            if symbol_row == NO_ROW:
                return _Place(NO_ROW, NO_ROW, 0, 0)
            segment = tables.symbol.int32[FIRST_SEGMENT, symbol_row]
        row = tables.segment.int32[segment, FIRST_ROW]
        end = row + tables.segment.int32[segment, USED]
    return _Place(symbol_row, segment, row, end)


@helper
def _fetch_holding(tables: Tables, row: int) -> None:
    fetch(tables.lot.int64, row, KEY)
    fetch(tables.position.int64, _VALUE, row)
    fetch(tables.position.int64, _VALUED_BASIS, row)


@helper
def _revalue_holding(tables: Tables, row: int, price_cents: int, valued: Int64Array) -> None:
    """Value an open position that only a price concerns."""
    account, lot, position = tables.account, tables.lot, tables.position
    account_row, basis = key_owner(lot.int64[row, KEY]), lot.int64[row, _BASIS]
    value = value_at(lot.int64[row, _QUANTITY], price_cents, basis)
    value_change = value - position.int64[_VALUE, row]
    account.int64[account_row, _POSITION_VALUE] += value_change
    # Its cost is compared as well, so that a corrupted one cannot stay unseen.
    account.int64[account_row, _UNREALIZED] += value_change - (basis - position.int64[_VALUED_BASIS, row])
    position.int64[_VALUE, row] = value
    if position.int64[_VALUED_BASIS, row] != basis:
        position.int64[_VALUED_BASIS, row] = basis
    put(valued, account_row)


@helper
def _revalue_holders(tables: Tables, symbols: Int64Array, valued: Int64Array) -> int:
    """
    Value the open positions of some symbols: how many there are. Those that traded are valued already.

    Segments that grew one by one are short, and lie apart: what is fetched ahead is that of the next ones, too.
    """
    count, lot = 0, tables.lot
    at = near = far = _behind(_Place(NO_ROW, NO_ROW, 0, 0), symbols, tables)
    for _ in range(2 * _AHEAD):
        if far.symbol_row != NO_ROW:
            _fetch_holding(tables, far.row)
            far = _behind(far, symbols, tables)
    for _ in range(_AHEAD):
        if near.symbol_row != NO_ROW:
            fetch(tables.account.int64, key_owner(lot.int64[near.row, KEY]), 0)
            near = _behind(near, symbols, tables)
    while at.symbol_row != NO_ROW:
        if far.symbol_row != NO_ROW:
            _fetch_holding(tables, far.row)
            far = _behind(far, symbols, tables)
        if near.symbol_row != NO_ROW:
            # Which account that is, the lot must have come to say.
            fetch(tables.account.int64, key_owner(lot.int64[near.row, KEY]), 0)
            near = _behind(near, symbols, tables)
        if lot.int64[at.row, _QUANTITY] != 0:
            _revalue_holding(tables, at.row, tables.symbol.int64[_PRICE, at.symbol_row], valued)
            count += 1
        at = _behind(at, symbols, tables)
    return count


@helper
def _take_over_mark(symbol: Blocks, row: int) -> None:
    symbol.int64[_VALUED_PRICE, row] = symbol.int64[_PRICE, row]
    symbol.int64[_VALUED_SOURCE, row] = symbol.int64[_SOURCE, row]
    symbol.int64[_VALUED_TIME, row] = symbol.int64[_MARK_TIME, row]


@helper
def _fetch_position(tables: Tables, row: int) -> None:
    _fetch_holding(tables, row)
    fetch(tables.position.int64, _VALUED_QUANTITY, row)
    fetch(tables.position.int64, _VALUED_REALIZED, row)
    fetch(tables.position.int64, _UPDATED, row)
    fetch(tables.position.flag, _LISTED, row)


@helper
def _revalue_traded(tables: Tables, marked: Marked, room: Int64Array, now_ms: int) -> int:
    """Value the positions that traded, some at a time, in rounds that lead to memory asked for before: how many."""
    symbol, touched, count = tables.symbol, marked.touched, 0
    row = next_row(touched, 0)
    while row != NO_ROW:
        listed_count = 0
        while row != NO_ROW and listed_count < _AT_ONCE:
            _fetch_position(tables, row)
            room[listed_count] = row
            listed_count += 1
            row = next_row(touched, row + 1)
        for index in range(listed_count):
            fetch(tables.account.int64, key_owner(tables.lot.int64[room[index], KEY]), 0)
        for index in range(listed_count):
            at = room[index]
            symbol_row = key_symbol(tables.lot.int64[at, KEY])
            price, valued_price = symbol.int64[_PRICE, symbol_row], symbol.int64[_VALUED_PRICE, symbol_row]
            _revalue_position(tables, at, price, valued_price)
            tables.position.int64[_UPDATED, at] = now_ms
            put(marked.positions, at)
        count += listed_count
    return count


@helper
def _revalue_marked(tables: Tables, marked: Marked, room: Int64Array, now_ms: int) -> int:
    """Value the positions that traded, then those that only a price concerns: how many."""
    row = next_row(marked.moved, 0)
    while row != NO_ROW:
        if tables.symbol.int64[_VALUED_PRICE, row] == 0:
            _price_first(tables, row)
        row = next_row(marked.moved, row + 1)
    return _revalue_traded(tables, marked, room, now_ms) + _revalue_holders(tables, marked.moved, marked.due)


@kernel(_TWO(HANDLE, INT64S, types.int64, types.int64))
def revalue(handle: Int64Array, account_row: Int64Array, now_ms: int, oldest_ms: int) -> tuple[int, int]:
    """
    Bring all that was marked up to date; no marks are left.

    Args:
        account_row: Takes the rows of the accounts that are to be valued, ascending; no shorter than ``_AT_ONCE``.
        now_ms: When positions that traded are said to have changed: nothing is seen of a trade before.

    Returns:
        How many positions were valued, and how many accounts are to be.
    """
    tables, _, marked = read(handle)
    symbol = tables.symbol
    prices, times = symbol.int64[_PRICE], symbol.int64[_MARK_TIME]
    age_marks(tables, prices, times, oldest_ms)
    position_count = _revalue_marked(tables, marked, account_row, now_ms)
    row = next_row(marked.set_again, 0)
    while row != NO_ROW:
        _take_over_mark(symbol, row)
        put(marked.symbols, row)
        row = next_row(marked.set_again, row + 1)
    row = next_row(marked.dirty, 0)
    while row != NO_ROW:
        put(marked.due, row)
        put(marked.accounts, row)
        row = next_row(marked.dirty, row + 1)
    account_count = list_rows(marked.due, account_row)
    for rows in (marked.dirty, marked.touched, marked.moved, marked.set_again, marked.due):
        clear(rows)
    return position_count, account_count


@kernel(types.void(BLOCKS, BLOCKS, INT64S, INT64S, INT64S))
def sum_positions(
    lot: Blocks,
    position: Blocks,
    price_cents: Int64Array,
    position_value: Int64Array,
    unrealized: Int64Array,
) -> None:
    """Add up positions as of their accounts' newest valuations, by account row."""
    for row in range(position.tally[0]):
        key = lot.int64[row, KEY]
        if key != NO_ROW:
            account_row = key_owner(key)
            basis = position.int64[_VALUED_BASIS, row]
            value = value_at(position.int64[_VALUED_QUANTITY, row], price_cents[key_symbol(key)], basis)
            position_value[account_row] += value
            unrealized[account_row] += value - basis


@helper
def _fetch_account(account: Blocks, latest: Blocks, row: int) -> None:
    fetch(account.int64, row, 0)
    fetch(account.int32, row, 0)
    fetch(account.flag, row, 0)
    fetch(latest.int64, row, 0)
    fetch(latest.int64, row, _FLAGS)


@helper
def _write_snapshot(account: Blocks, latest: Blocks, row: int, flags: int) -> int:
    cash, net_flow = account.int64[row, _CASH], account.int64[row, _NET_FLOW]
    realized, unrealized = account.int64[row, _REALIZED], account.int64[row, _UNREALIZED]
    equity = cash + account.int64[row, _POSITION_VALUE]
    has_base = account.flag[row, _HAS_BASE]
    base_profit = account.int64[row, _BASE_EQUITY] - account.int64[row, _BASE_NET_FLOW]
    day_change = equity - net_flow - base_profit if has_base else 0
    base = equity - day_change
    if account.int32[row, _UNPRICED_COUNT] != 0:
        flags |= _UNPRICED_FLAG
    if account.int32[row, _STALE_COUNT] > 0:
        flags |= _STALE_FLAG
    if not has_base or base <= 0:
        flags |= _NO_BASE_FLAG
    is_violated = equity - net_flow != realized + unrealized
    if is_violated:
        flags |= _VIOLATED_FLAG
    first = _FIRST_OF_SNAPSHOT
    latest.int64[row, first] = equity
    latest.int64[row, first + 1] = cash
    latest.int64[row, first + 2] = account.int64[row, _POSITION_VALUE]
    latest.int64[row, first + 3] = day_change
    latest.int64[row, first + 4] = rounded_percent_e4(day_change, base)
    latest.int64[row, first + 5] = unrealized
    latest.int64[row, first + 6] = realized
    latest.int64[row, first + 7] = net_flow
    latest.int64[row, first + 8] = flags
    return int(is_violated)


@kernel(types.int64(HANDLE, INT64S, _STAMP, types.int64[:, ::1]))
def appraise(handle: Int64Array, account_row: Int64Array, stamp: tuple[int, int, int, int], out: Int64Array) -> int:
    """Snapshots of accounts, remembered as their newest: how many violate the identity."""
    violation_count = 0
    version, tick, timestamp_ms, flags = stamp
    tables, latest, marked = read(handle)
    account = tables.account
    for index in range(len(account_row)):
        row = account_row[index]
        _fetch_account(account, latest, account_row[min(index + _AHEAD, len(account_row) - 1)])
        if not account.flag[row, _HAS_BASE] and account.int32[row, _UNPRICED_COUNT] == 0:
            account.int64[row, _BASE_EQUITY] = account.int64[row, _CASH] + account.int64[row, _POSITION_VALUE]
            account.int64[row, _BASE_NET_FLOW] = account.int64[row, _NET_FLOW]
            account.flag[row, _HAS_BASE] = True
            put(marked.accounts, row)
        latest.int64[row, _VERSION] = version
        latest.int64[row, _TICK] = tick
        latest.int64[row, _TIMESTAMP] = timestamp_ms
        violation_count += _write_snapshot(account, latest, row, flags)
        out[0, index] = account.int64[row, _ACCOUNT_ID]
        for column in range(1, SNAPSHOT_COLUMNS):
            out[column, index] = latest.int64[row, _FIRST_OF_SNAPSHOT + column - 1]
    return violation_count
