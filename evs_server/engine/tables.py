"""
Rows of integer columns that grow: accounts, positions, symbols, and the indexes between them. Pure.

Lives here: where a number is. Not here: what it means (``accounting``, ``valuation``). A row, once given, keeps its
number for the life of the process; a closed position keeps its row.
"""

from typing import ClassVar, get_type_hints

import numpy as np

from evs_server.engine.accounting import Lot
from evs_server.limits import SYMBOLS_MAX
from evs_server.model import BoolArray, Int32Array, Int64Array, MarkSource

_FIRST_CAPACITY = 64
_SYMBOL_BITS = SYMBOLS_MAX.bit_length()
NO_ROW = -1


class Table:
    """
    Parallel columns of one length, grown by doubling.

    Subclasses declare their columns as annotations; the element type follows from the annotation. Columns are longer
    than ``count``: slice with ``[:count]`` before working on all rows.
    """

    count: int
    _element: ClassVar[dict[object, type]] = {Int64Array: np.int64, Int32Array: np.int32, BoolArray: np.bool_}

    def __init__(self) -> None:
        self.count = 0
        hints = get_type_hints(type(self))
        self._names = tuple(name for name, hint in hints.items() if hint in self._element)
        for name in self._names:
            setattr(self, name, np.zeros(_FIRST_CAPACITY, self._element[hints[name]]))

    def extend(self, row_count: int) -> int:
        """Append rows of zeros; the number of the first."""
        first = self.count
        self.count += row_count
        capacity = len(getattr(self, self._names[0]))
        if self.count > capacity:
            while capacity < self.count:
                capacity *= 2
            for name in self._names:
                column = getattr(self, name)
                grown = np.zeros(capacity, column.dtype)
                grown[:first] = column[:first]
                setattr(self, name, grown)
        return first


class RowSet:
    """A set of row numbers that is cheap to add to, one by one or as an array, and is drained as a whole."""

    def __init__(self) -> None:
        self._member: BoolArray = np.zeros(_FIRST_CAPACITY, np.bool_)
        self._rows: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, row: int) -> bool:
        return row < len(self._member) and bool(self._member[row])

    def add(self, row: int) -> None:
        """Add one row."""
        if row >= len(self._member):
            self._grow(row)
        if not self._member[row]:
            self._member[row] = True
            self._rows.append(row)

    def update(self, row: Int64Array | Int32Array) -> None:
        """Add rows; repeats are fine."""
        if not len(row):
            return
        highest = int(row.max())
        if highest >= len(self._member):
            self._grow(highest)
        fresh = np.unique(row[~self._member[row]])
        self._member[fresh] = True
        self._rows.extend(fresh.tolist())

    def rows(self) -> Int64Array:
        """The rows, ascending."""
        return np.sort(np.array(self._rows, np.int64))

    def drain(self) -> Int64Array:
        """The rows, ascending; the set is empty afterwards."""
        drained = self.rows()
        self._member[drained] = False
        self._rows = []
        return drained

    def _grow(self, row: int) -> None:
        grown = np.zeros(max(row + 1, 2 * len(self._member)), np.bool_)
        grown[: len(self._member)] = self._member
        self._member = grown


class Accounts(Table):
    """
    One row per account.

    ``cash``, ``net_flow`` and ``realized`` are live. ``position_value`` and ``unrealized`` are sums over the
    account's positions as of its newest valuation, kept apart from each other so that the identity compares four
    independent terms.
    """

    account_id: Int64Array
    cash_cents: Int64Array
    net_flow_cents: Int64Array
    realized_cents: Int64Array
    position_value_cents: Int64Array
    unrealized_cents: Int64Array
    base_equity_cents: Int64Array
    base_net_flow_cents: Int64Array
    has_base: BoolArray
    loud: BoolArray
    unpriced_count: Int32Array
    stale_count: Int32Array
    position_count: Int32Array
    first_position_row: Int32Array


class Latest(Table):
    """The newest snapshot of each account, by account row; fields as in ``model.SnapshotColumns``."""

    account_id: Int64Array
    version: Int64Array
    tick: Int64Array
    timestamp_ms: Int64Array
    equity_cents: Int64Array
    cash_cents: Int64Array
    position_value_cents: Int64Array
    day_change_cents: Int64Array
    day_change_percent_e4: Int64Array
    unrealized_cents: Int64Array
    realized_cents: Int64Array
    net_flow_cents: Int64Array
    flags: Int64Array


class Positions(Table):
    """One row per account and symbol ever traded: live, and (``valued_``) as of the account's newest valuation."""

    account_row: Int32Array
    symbol_row: Int32Array
    next_row: Int32Array
    quantity_bp: Int64Array
    basis_cents: Int64Array
    realized_cents: Int64Array
    valued_quantity_bp: Int64Array
    valued_basis_cents: Int64Array
    valued_realized_cents: Int64Array
    value_cents: Int64Array
    updated_ms: Int64Array
    listed: BoolArray


class Symbols(Table):
    """One row per symbol: its live mark, and (``valued_``) the one of the last completed tick. Price 0 is no price."""

    symbol_id: Int64Array
    price_cents: Int64Array
    source: Int64Array
    mark_time_ms: Int64Array
    valued_price_cents: Int64Array
    valued_source: Int64Array
    valued_time_ms: Int64Array
    stale: BoolArray
    loud: BoolArray
    quantity_bp_max: Int64Array


class Book:
    """
    All tables and the ways between them.

    ``account_row`` and ``symbol_row`` go from ids to rows. An account's positions are a chain of rows; a symbol's
    positions, open or closed, an array.
    """

    def __init__(self) -> None:
        self.accounts = Accounts()
        self.latest = Latest()
        self.positions = Positions()
        self.symbols = Symbols()
        self.account_row: dict[int, int] = {}
        self.symbol_row: dict[int, int] = {}
        self._position_row: dict[int, int] = {}
        self._holder_row: list[Int32Array] = []
        self._holder_count: list[int] = []

    def add_account(self, account_id: int) -> int:
        """A row for an account that has none."""
        assert account_id not in self.account_row
        row = self.accounts.extend(1)
        same_row = self.latest.extend(1)
        assert row == same_row, "an account and its newest snapshot share a row"
        self.accounts.account_id[row] = self.latest.account_id[row] = account_id
        self.accounts.first_position_row[row] = NO_ROW
        self.account_row[account_id] = row
        return row

    def symbol_row_or_new(self, symbol_id: int) -> int:
        """The row of a symbol, made if there is none."""
        row = self.symbol_row.get(symbol_id, NO_ROW)
        if row == NO_ROW:
            row = self.symbols.extend(1)
            self.symbols.symbol_id[row] = symbol_id
            self.symbol_row[symbol_id] = row
            self._holder_row.append(np.zeros(4, np.int32))
            self._holder_count.append(0)
        return row

    def position_row(self, account_row: int, symbol_row: int) -> int:
        """The row of an account's position in a symbol, or ``NO_ROW``."""
        if symbol_row == NO_ROW:
            return NO_ROW
        return self._position_row.get(account_row << _SYMBOL_BITS | symbol_row, NO_ROW)

    def add_position(self, account_row: int, symbol_row: int) -> int:
        """A row for a position that has none."""
        row = self.positions.extend(1)
        self._position_row[account_row << _SYMBOL_BITS | symbol_row] = row
        self.positions.account_row[row] = account_row
        self.positions.symbol_row[row] = symbol_row
        self.positions.next_row[row] = self.accounts.first_position_row[account_row]
        self.accounts.first_position_row[account_row] = row
        self.accounts.position_count[account_row] += 1
        count = self._holder_count[symbol_row]
        holders = self._holder_row[symbol_row]
        if count == len(holders):
            holders = self._holder_row[symbol_row] = np.concatenate([holders, np.zeros_like(holders)])
        holders[count] = row
        self._holder_count[symbol_row] = count + 1
        return row

    def position_rows_of_account(self, account_row: int) -> list[int]:
        """The rows of an account's positions, newest first."""
        rows = []
        row = self.accounts.first_position_row.item(account_row)
        while row != NO_ROW:
            rows.append(row)
            row = self.positions.next_row.item(row)
        return rows

    def position_rows_of_symbol(self, symbol_row: int) -> Int32Array:
        """The rows of all positions in a symbol, open and closed, in the order they were opened."""
        return self._holder_row[symbol_row][: self._holder_count[symbol_row]]

    def position_rows_of_symbols(self, symbol_row: Int64Array) -> Int32Array:
        """The rows of all positions in any of the symbols."""
        if not len(symbol_row):
            return np.empty(0, np.int32)
        return np.concatenate([self.position_rows_of_symbol(row) for row in symbol_row.tolist()])

    def open_position_rows_of_symbols(self, symbol_row: Int64Array) -> Int64Array:
        """The rows of all positions in any of the symbols that are open, by their live numbers."""
        rows = self.position_rows_of_symbols(symbol_row)
        is_open: BoolArray = self.positions.quantity_bp[rows] != 0
        return rows[is_open].astype(np.int64)

    def trades_make_the_mark(self, symbol_row: int) -> bool:
        """Whether a symbol's trades move its mark: until it is set by ``OnPriceUpdated`` (DESIGN 2.3)."""
        return symbol_row == NO_ROW or self.symbols.source.item(symbol_row) != MarkSource.MARK

    def lot(self, position_row: int) -> Lot:
        """A position's live numbers; an empty lot for ``NO_ROW``."""
        if position_row == NO_ROW:
            return Lot()
        positions = self.positions
        return Lot(
            positions.quantity_bp.item(position_row),
            positions.basis_cents.item(position_row),
            positions.realized_cents.item(position_row),
        )

    def price_of(self, symbol_row: int) -> int:
        """A symbol's live mark in cents; 0 if it has none."""
        return self.symbols.price_cents.item(symbol_row) if symbol_row != NO_ROW else 0
