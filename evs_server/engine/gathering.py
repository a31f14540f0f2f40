"""
The loops of a capture: rows of tables, in any order of memory, as the columns of what is saved. Pure; kernels.

Lives here: copying. Not here: which rows, and when (``state``). Each takes the rows to be copied and an array for what
they hold, of shape ``(columns, rows)``: a row of it for each column of ``model.AccountColumns`` and its kin, in order.
"""

from typing import Final

from numba import types

from evs_server.engine.compiled import INT64S, fetch, kernel
from evs_server.engine.handle import HANDLE, read
from evs_server.engine.index import KEY, key_owner, key_symbol
from evs_server.engine.rowset import is_in
from evs_server.engine.tables import NO_ROW, Accounts, Lots, Positions, Symbols
from evs_server.model import Int64Array

_ACCOUNT_ID: Final = Accounts.at("account_id")
_CASH: Final = Accounts.at("cash_cents")
_NET_FLOW: Final = Accounts.at("net_flow_cents")
_ACCOUNT_REALIZED: Final = Accounts.at("realized_cents")
_BASE_EQUITY: Final = Accounts.at("base_equity_cents")
_BASE_NET_FLOW: Final = Accounts.at("base_net_flow_cents")
_HAS_BASE: Final = Accounts.at("has_base")

_QUANTITY: Final = Lots.at("quantity_bp")
_BASIS: Final = Lots.at("basis_cents")
_REALIZED: Final = Lots.at("realized_cents")
_VALUED_QUANTITY: Final = Positions.at("valued_quantity_bp")
_VALUED_BASIS: Final = Positions.at("valued_basis_cents")
_VALUED_REALIZED: Final = Positions.at("valued_realized_cents")
_UPDATED: Final = Positions.at("updated_ms")
_LISTED: Final = Positions.at("listed")

_SYMBOL_ID: Final = Symbols.at("symbol_id")
_PRICE: Final = Symbols.at("price_cents")
_SOURCE: Final = Symbols.at("source")
_MARK_TIME: Final = Symbols.at("mark_time_ms")
_VALUED_PRICE: Final = Symbols.at("valued_price_cents")
_VALUED_SOURCE: Final = Symbols.at("valued_source")
_VALUED_TIME: Final = Symbols.at("valued_time_ms")

_TABLE: Final = types.int64[:, ::1]
_AHEAD: Final = 32
"""How many rows ahead memory is asked for."""


@kernel(types.void(HANDLE, INT64S, _TABLE))
def gather_accounts(handle: Int64Array, row: Int64Array, out: Int64Array) -> None:
    """What is saved of accounts; the last column says which are to be valued."""
    tables, _, marked = read(handle)
    account = tables.account
    for index in range(len(row)):
        at = row[index]
        fetch(account.int64, row[min(index + _AHEAD, len(row) - 1)], 0)
        out[0, index] = account.int64[at, _ACCOUNT_ID]
        out[1, index] = account.int64[at, _CASH]
        out[2, index] = account.int64[at, _NET_FLOW]
        out[3, index] = account.int64[at, _ACCOUNT_REALIZED]
        out[4, index] = account.int64[at, _BASE_EQUITY]
        out[5, index] = account.int64[at, _BASE_NET_FLOW]
        out[6, index] = account.flag[at, _HAS_BASE]
        out[7, index] = is_in(marked.dirty, at)


@kernel(types.void(HANDLE, INT64S, _TABLE))
def gather_positions(handle: Int64Array, row: Int64Array, out: Int64Array) -> None:
    """What is saved of positions, none of which is spare."""
    tables, _, _ = read(handle)
    lot, position, last = tables.lot, tables.position, len(row) - 1
    for index in range(len(row)):
        at, ahead, far_ahead = row[index], row[min(index + _AHEAD, last)], row[min(index + 2 * _AHEAD, last)]
        fetch(lot.int64, far_ahead, KEY)
        fetch(tables.account.int64, key_owner(lot.int64[ahead, KEY]), _ACCOUNT_ID)
        key = lot.int64[at, KEY]
        assert key != NO_ROW
        out[0, index] = tables.account.int64[key_owner(key), _ACCOUNT_ID]
        out[1, index] = tables.symbol.int64[_SYMBOL_ID, key_symbol(key)]
        out[2, index] = lot.int64[at, _QUANTITY]
        out[3, index] = lot.int64[at, _BASIS]
        out[4, index] = lot.int64[at, _REALIZED]
        out[5, index] = position.int64[_VALUED_QUANTITY, at]
        out[6, index] = position.int64[_VALUED_BASIS, at]
        out[7, index] = position.int64[_VALUED_REALIZED, at]
        out[8, index] = position.int64[_UPDATED, at]
        out[9, index] = position.flag[_LISTED, at]


@kernel(types.void(HANDLE, INT64S, _TABLE))
def gather_marks(handle: Int64Array, row: Int64Array, out: Int64Array) -> None:
    """What is saved of symbols; the last column says which have moved."""
    tables, _, marked = read(handle)
    symbol = tables.symbol
    for index in range(len(row)):
        at = row[index]
        out[0, index] = symbol.int64[_SYMBOL_ID, at]
        out[1, index] = symbol.int64[_PRICE, at]
        out[2, index] = symbol.int64[_SOURCE, at]
        out[3, index] = symbol.int64[_MARK_TIME, at]
        out[4, index] = symbol.int64[_VALUED_PRICE, at]
        out[5, index] = symbol.int64[_VALUED_SOURCE, at]
        out[6, index] = symbol.int64[_VALUED_TIME, at]
        out[7, index] = is_in(marked.moved, at)
