"""
All tables and the ways between them: from ids to rows, from accounts to positions, from symbols to holders. Pure.

The positions of a symbol lie in *segments*: runs of neighbouring rows. What a price does to its holders is then a walk
through memory from front to back, not a leap for each of them; this, more than anything else, makes a tick fast. A full
segment is followed by another, an eighth as large as all before it: so few rows are spare, and few leaps are left.

A worked example: a symbol's first four holders take rows 0 to 3, a segment of four; meanwhile another symbol took rows
4 to 7. The fifth holder opens a segment at row 8.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import types

from evs_server.engine.accounting import Lot
from evs_server.engine.compiled import INT64S, helper, kernel, tuple_of
from evs_server.engine.index import (
    ID_SLOTS,
    KEY,
    SLOTS,
    IdIndex,
    PositionIndex,
    Slots,
    find_position,
    is_full,
    key_of,
    put_position,
)
from evs_server.engine.tables import (
    BLOCKS,
    NO_ROW,
    Accounts,
    Blocks,
    Growth,
    Latest,
    Lots,
    Positions,
    Segments,
    Symbols,
)
from evs_server.model import Int64Array, MarkSource

_SEGMENT_ROWS_MIN: Final = 4
_SEGMENT_PART: Final = 8
"""A new segment is this part of what its symbol has."""

POSITION_COUNT: Final = Accounts.at("position_count")
_FIRST_POSITION: Final = Accounts.at("first_position_row")
_NEXT_ROW: Final = Positions.at("next_row")
FIRST_SEGMENT: Final = Symbols.at("first_segment")
_LAST_SEGMENT: Final = Symbols.at("last_segment")
_HOLDER_COUNT: Final = Symbols.at("position_count")
FIRST_ROW: Final = Segments.at("first_row")
_SIZE: Final = Segments.at("size")
USED: Final = Segments.at("used")
NEXT_SEGMENT: Final = Segments.at("next_segment")


class Tables(NamedTuple):
    """A ``Book`` as kernels take it."""

    account: Blocks
    lot: Blocks
    position: Blocks
    symbol: Blocks
    segment: Blocks
    slots: Slots
    account_slot: Int64Array
    symbol_slot: Int64Array


TABLES: Final = tuple_of(Tables, *[BLOCKS] * 5, SLOTS, ID_SLOTS, ID_SLOTS)
"""``Tables`` in the signature of a kernel."""


class Book:
    """
    All tables and the ways between them.

    ``account_row`` and ``symbol_row`` go from ids to rows, ``account_index`` and ``symbol_index`` do for kernels. An
    account's positions are a chain of rows; a symbol's positions, open or closed, a chain of segments.
    """

    def __init__(self) -> None:
        self.growth = Growth()
        self.accounts = Accounts(self.growth)
        self.latest = Latest(self.growth)
        self.lots = Lots(self.growth)
        self.positions = Positions(self.growth)
        self.symbols = Symbols(self.growth)
        self.segments = Segments(self.growth)
        self.account_row: dict[int, int] = {}
        self.symbol_row: dict[int, int] = {}
        self.account_index = IdIndex(self.growth)
        self.symbol_index = IdIndex(self.growth)
        self.position_index = PositionIndex(self.growth)

    @property
    def position_count(self) -> int:
        """How many positions there are, closed ones included."""
        return self.position_index.count

    def tables(self) -> Tables:
        """Everything, for kernels; to be asked for anew after anything has grown."""
        return Tables(
            self.accounts.blocks,
            self.lots.blocks,
            self.positions.blocks,
            self.symbols.blocks,
            self.segments.blocks,
            self.position_index.slots,
            self.account_index.slot,
            self.symbol_index.slot,
        )

    def position_rows(self) -> Int64Array:
        """The rows of all positions, ascending: those that are not spare."""
        return np.flatnonzero(self.lots.key[: self.lots.count] != NO_ROW)

    # --- rows for what is new --------------------------------------------------------------------------------

    def add_account(self, account_id: int) -> int:
        """A row for an account that has none."""
        return self.add_accounts(np.array([account_id], np.int64))

    def add_accounts(self, account_id: Int64Array) -> int:
        """Rows for accounts that have none, one after the other: the first."""
        assert not self.account_row.keys() & account_id.tolist()
        row = self.accounts.extend(len(account_id))
        same_row = self.latest.extend(len(account_id))
        assert row == same_row, "an account and its newest snapshot share a row"
        every = slice(row, row + len(account_id))
        self.accounts.account_id[every] = self.latest.account_id[every] = account_id
        self.accounts.first_position_row[every] = NO_ROW
        self.account_index.put(account_id, row)
        self.account_row.update(zip(account_id.tolist(), range(row, row + len(account_id)), strict=True))
        return row

    def symbol_row_or_new(self, symbol_id: int) -> int:
        """The row of a symbol, made if there is none."""
        row = self.symbol_row.get(symbol_id, NO_ROW)
        if row == NO_ROW:
            row = self.symbols.extend(1)
            self.symbols.symbol_id[row] = symbol_id
            self.symbols.first_segment[row] = self.symbols.last_segment[row] = NO_ROW
            self.symbol_row[symbol_id] = row
            self.symbol_index.put(np.array([symbol_id], np.int64), row)
        return row

    def add_position(self, account_row: int, symbol_row: int) -> int:
        """A row for a position that has none."""
        return self.add_positions(np.array([account_row], np.int64), np.array([symbol_row], np.int64)).item(0)

    def add_positions(self, account_row: Int64Array, symbol_row: Int64Array) -> Int64Array:
        """Rows for positions that have none, in the order given."""
        row = np.empty(len(account_row), np.int64)
        done = 0
        while True:
            done = _add_positions(self.tables(), account_row, symbol_row, done, row)
            if done == len(row):
                return row
            self._make_room(symbol_row.item(done))

    def expect_positions(self, symbol_row: Int64Array) -> None:
        """
        Have room for positions in some symbols, each as often as given, and for some more.

        Making room for millions holds up everyone: what is there at a start leaves enough for a while. Rows that nobody
        has touched are no memory yet.
        """
        count = np.bincount(symbol_row, minlength=self.symbols.count)
        count += count // (2 * _SEGMENT_PART)
        self._reserve_positions(len(symbol_row) * 5 // 4)
        self.position_index.reserve(len(symbol_row) * 5 // 4, self.lots.blocks)
        self.segments.reserve(self.segments.count + int(np.count_nonzero(count)))
        for row in np.flatnonzero(count).tolist():
            _open_segment(self.tables(), row, count.item(row))

    def _make_room(self, symbol_row: int) -> None:
        """Have room for one more position in a symbol."""
        self._reserve_positions(_segment_size(self.symbols.position_count.item(symbol_row)))
        self.segments.reserve(self.segments.count + 1)
        self.position_index.reserve(1, self.lots.blocks)

    def _reserve_positions(self, more_count: int) -> None:
        for table in (self.lots, self.positions):
            table.reserve(table.count + more_count)
        assert self.lots.capacity == self.positions.capacity, "a lot and the rest of its position share a row"

    # --- from one row to others ------------------------------------------------------------------------------

    def position_row(self, account_row: int, symbol_row: int) -> int:
        """The row of an account's position in a symbol, or ``NO_ROW``."""
        if symbol_row == NO_ROW:
            return NO_ROW
        return _find_position(self.position_index.slots, self.lots.blocks, account_row, symbol_row)

    def position_rows_of_account(self, account_row: int) -> list[int]:
        """The rows of an account's positions, newest first."""
        rows: list[int] = []
        row = self.accounts.first_position_row.item(account_row)
        while row != NO_ROW:
            rows.append(row)
            row = self.positions.next_row.item(row)
        return rows

    def position_rows_of_symbol(self, symbol_row: int) -> Int64Array:
        """The rows of all positions in a symbol, open and closed, in the order they were opened."""
        segments, runs = self.segments, [np.empty(0, np.int64)]
        segment = self.symbols.first_segment.item(symbol_row)
        while segment != NO_ROW:
            first_row = segments.first_row.item(segment)
            runs.append(np.arange(first_row, first_row + segments.used.item(segment)))
            segment = segments.next_segment.item(segment)
        return np.concatenate(runs)

    def trades_make_the_mark(self, symbol_row: int) -> bool:
        """Whether a symbol's trades move its mark: until it is set by ``OnPriceUpdated`` (DESIGN 2.3)."""
        return symbol_row == NO_ROW or self.symbols.source.item(symbol_row) != MarkSource.MARK

    def lot(self, position_row: int) -> Lot:
        """A position's live numbers; an empty lot for ``NO_ROW``."""
        if position_row == NO_ROW:
            return Lot()
        lots = self.lots
        return Lot(
            lots.quantity_bp.item(position_row),
            lots.basis_cents.item(position_row),
            lots.realized_cents.item(position_row),
        )

    def price_of(self, symbol_row: int) -> int:
        """A symbol's live mark in cents; 0 if it has none."""
        return self.symbols.price_cents.item(symbol_row) if symbol_row != NO_ROW else 0


@helper
def place_position(tables: Tables, account_row: int, symbol_row: int) -> int:
    """A row for a position that has none, or ``NO_ROW`` if there is no room, and nothing has changed."""
    account, position, symbol, segment = tables.account, tables.position, tables.symbol, tables.segment
    if is_full(tables.slots):
        return NO_ROW
    last = symbol.int32[_LAST_SEGMENT, symbol_row]
    if last == NO_ROW or segment.int32[last, USED] == segment.int32[last, _SIZE]:
        size = _segment_size(symbol.int32[_HOLDER_COUNT, symbol_row])
        if position.tally[0] + size > position.tally[1] or segment.tally[0] == segment.tally[1]:
            return NO_ROW
        last = _open_segment(tables, symbol_row, size)
    row = segment.int32[last, FIRST_ROW] + segment.int32[last, USED]
    segment.int32[last, USED] += 1
    symbol.int32[_HOLDER_COUNT, symbol_row] += 1
    tables.lot.int64[row, KEY] = key_of(account_row, symbol_row)
    position.int32[_NEXT_ROW, row] = account.int32[account_row, _FIRST_POSITION]
    account.int32[account_row, _FIRST_POSITION] = row
    account.int32[account_row, POSITION_COUNT] += 1
    put_position(tables.slots, account_row, symbol_row, row)
    return int(row)


@kernel(types.int64(types.int64))
def _segment_size(holder_count: int) -> int:
    return max(_SEGMENT_ROWS_MIN, holder_count // _SEGMENT_PART)


@kernel(types.int64(TABLES, types.int64, types.int64))
def _open_segment(tables: Tables, symbol_row: int, size: int) -> int:
    symbol, segment = tables.symbol, tables.segment
    opened, first_row = segment.tally[0], tables.position.tally[0]
    segment.tally[0] += 1
    tables.lot.tally[0] += size
    tables.position.tally[0] += size
    segment.int32[opened, FIRST_ROW] = first_row
    segment.int32[opened, _SIZE] = size
    segment.int32[opened, USED] = 0
    segment.int32[opened, NEXT_SEGMENT] = NO_ROW
    for row in range(first_row, first_row + size):
        tables.lot.int64[row, KEY] = NO_ROW
    last = symbol.int32[_LAST_SEGMENT, symbol_row]
    if last == NO_ROW:
        symbol.int32[FIRST_SEGMENT, symbol_row] = opened
    else:
        segment.int32[last, NEXT_SEGMENT] = opened
    symbol.int32[_LAST_SEGMENT, symbol_row] = opened
    return int(opened)


@kernel(types.int64(TABLES, INT64S, INT64S, types.int64, INT64S))
def _add_positions(tables: Tables, account_row: Int64Array, symbol_row: Int64Array, first: int, out: Int64Array) -> int:
    for index in range(first, len(account_row)):
        row = place_position(tables, account_row[index], symbol_row[index])
        if row == NO_ROW:
            return index
        out[index] = row
    return len(account_row)


@kernel(types.int64(SLOTS, BLOCKS, types.int64, types.int64))
def _find_position(slots: Slots, lot: Blocks, account_row: int, symbol_row: int) -> int:
    return find_position(slots, lot, account_row, symbol_row)
