"""
Rows of integer columns that grow: accounts, positions, symbols. Pure.

Lives here: what a row holds, and how rows lie in memory. Not here: the ways between rows (``book``), and what the
numbers mean (``accounting``, ``valuation``). A row, once given, keeps its number for the life of the process; a closed
position keeps its row.

All columns of one element type are one block, which kernels take as a whole and index by ``Table.at``. Accounts
lie row by row: a valuation reads most of an account, and few of them. What a trade reads and writes of a position lies
row by row as well (``Lots``): it leaps to one position, and pays for each place it touches. The rest of a position lies
column by column: a price reads few of its numbers, and all holders of a symbol, whose rows are neighbours (``book``).
"""

from functools import cache
from typing import Any, ClassVar, Final, NamedTuple, TypeVar, get_type_hints

import numpy as np
import numpy.typing as npt
from numba import types

from evs_server.engine import pages
from evs_server.engine.compiled import tuple_of
from evs_server.model import BoolArray, Int32Array, Int64Array

Rows = TypeVar("Rows", int, Int64Array)
"""One row, or a column of them."""

NO_ROW: Final = -1
FIRST_CAPACITY: Final = 64
"""Rows that any table has room for."""
_SMALL: Final = 65_536
"""Rows up to which a table grows by doubling, and moves. Beyond, it grows by a quarter, and stays where it is."""
_ROWS_MAX: Final = 2**31 - 1
"""Other tables name rows in int32."""
_LINE_BYTES: Final = 64
"""What a processor fetches at a time."""


class Blocks(NamedTuple):
    """
    A table as kernels take it.

    Attributes:
        int64: The block of all int64 columns: ``[column, row]``, or ``[row, column]`` where rows lie together.
        int32: The same of int32.
        flag: The same of bool.
        tally: How many rows have been given, and for how many there is room; blocks may reach beyond.
    """

    int64: npt.NDArray[np.int64]
    int32: npt.NDArray[np.int32]
    flag: npt.NDArray[np.bool_]
    tally: npt.NDArray[np.int64]


BLOCKS: Final = tuple_of(Blocks, types.int64[:, ::1], types.int32[:, ::1], types.boolean[:, ::1], types.int64[::1])
"""``Blocks`` in the signature of a kernel."""


class Growth:
    """
    How often anything of a book has grown: until it does again, whoever was handed all of it has all of it.

    Attributes:
        count: So often.
    """

    def __init__(self) -> None:
        self.count = 0

    def note(self) -> None:
        """Take note that something grows, or moves: before it does, since it may fail half way."""
        self.count += 1


class Table:
    """
    Columns of one length.

    Subclasses declare their columns as annotations; the element type follows from the annotation. Columns are longer
    than ``count``: slice with ``[:count]`` before working on all rows.

    Args:
        growth: Told when there is to be more room.

    Attributes:
        blocks: Its columns and its count for kernels; others once the table has moved.
    """

    by_row: ClassVar[bool] = False
    blocks: Blocks
    _element: ClassVar[dict[object, type]] = {Int64Array: np.int64, Int32Array: np.int32, BoolArray: np.bool_}

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._tally = np.zeros(2, np.int64)
        self._room = 0
        self.reserve(FIRST_CAPACITY)

    @property
    def count(self) -> int:
        """How many rows have been given."""
        return self._tally.item(0)

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return self._tally.item(1)

    @classmethod
    def at(cls, name: str) -> int:
        """The place of a column in the block of its element type."""
        return cls._names(get_type_hints(cls)[name]).index(name)

    def extend(self, row_count: int) -> int:
        """Append rows of zeros; the number of the first."""
        first = self.count
        self.reserve(first + row_count)
        self._tally[0] = first + row_count
        return first

    def reserve(self, row_count: int) -> None:
        """Have room for so many rows in all."""
        known = self.capacity
        if row_count <= known:
            return
        capacity = max(row_count, known * 2 if known < _SMALL else known * 5 // 4)
        self._growth.note()
        if capacity > self._room:
            self._move(capacity)
        self._tally[1] = capacity

    def _move(self, capacity: int) -> None:
        """Have blocks with room for so many rows, or for all that could ever be."""
        room = self._rows_that_could_be(capacity)
        try:
            blocks = [self._block(hint, room) for hint in self._element]
        except OSError:
            # A system that promises no memory it does not have: what is there has to move now and then.
            room = capacity
            blocks = [self._block(hint, room) for hint in self._element]
        for hint, block in zip(self._element, blocks, strict=True):
            for index, name in enumerate(self._names(hint)):
                column = block[:, index] if self.by_row else block[index]
                if self._room:
                    # Not the spare rows: copied, they would become memory.
                    column[: self.count] = getattr(self, name)[: self.count]
                setattr(self, name, column)
        int64, int32, flag = blocks
        self.blocks = Blocks(int64, int32, flag, self._tally)
        self._room = room

    @classmethod
    def _rows_that_could_be(cls, capacity: int) -> int:
        if capacity <= _SMALL:
            return capacity
        row_bytes = sum(cls._width(hint) * np.dtype(element).itemsize for hint, element in cls._element.items())
        return max(capacity, min(pages.rows_in_memory(row_bytes), _ROWS_MAX))

    @classmethod
    @cache
    def _names(cls, hint: object) -> tuple[str, ...]:
        return tuple(name for name, its in get_type_hints(cls).items() if its == hint)

    @classmethod
    def _width(cls, hint: object) -> int:
        """Columns of one element type, with those that nothing is in."""
        count, columns_a_line = len(cls._names(hint)), _LINE_BYTES // np.dtype(cls._element[hint]).itemsize
        # A row must not begin in the middle of a line: it would take one more to read.
        return -(-count // columns_a_line) * columns_a_line if cls.by_row and count > columns_a_line // 2 else count

    @classmethod
    def _block(cls, hint: object, room: int) -> npt.NDArray[Any]:
        """
        Zeros for all columns of one element type.

        Raises:
            OSError: If there is no address space for so many rows.
        """
        element, width = cls._element[hint], cls._width(hint)
        shape = (room, width) if cls.by_row else (width, room)
        if room > _SMALL and width and pages.GROW_IN_PLACE:
            # In proportion to its elements, so that blocks, too, come to their next pages with other rows.
            first = 0 if cls.by_row else pages.STAGGER_ROWS * np.dtype(element).itemsize // 8
            return pages.zeros(room * width, element, first).reshape(shape)
        spare = _LINE_BYTES // np.dtype(element).itemsize if cls.by_row else 0
        block: npt.NDArray[Any] = np.zeros(width * room + spare, element)
        skipped = -block.ctypes.data % _LINE_BYTES // block.itemsize if spare else 0
        return block[skipped : skipped + width * room].reshape(shape)


class Accounts(Table):
    """
    One row per account.

    ``cash``, ``net_flow`` and ``realized`` are live. ``position_value`` and ``unrealized`` are sums over the
    account's positions as of its newest valuation, kept apart from each other so that the identity compares four
    independent terms. Trades of an ``exact`` account are left to whoever asked for that, one by one (``trading``).
    """

    by_row = True

    account_id: Int64Array
    cash_cents: Int64Array
    net_flow_cents: Int64Array
    realized_cents: Int64Array
    position_value_cents: Int64Array
    unrealized_cents: Int64Array
    base_equity_cents: Int64Array
    base_net_flow_cents: Int64Array
    unpriced_count: Int32Array
    stale_count: Int32Array
    position_count: Int32Array
    first_position_row: Int32Array
    has_base: BoolArray
    loud: BoolArray
    exact: BoolArray
    exact_with_fee: BoolArray


class Latest(Table):
    """The newest snapshot of each account, by account row; fields as in ``model.SnapshotColumns``."""

    by_row = True

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


class Lots(Table):
    """
    One row per account and symbol ever traded: whose it is and of what (``lot_key``), and its live numbers.

    Two rows to what a processor fetches at a time, and none in two of them. Some rows are spare: their ``key`` is
    ``NO_ROW``, and all else of them is 0.
    """

    by_row = True

    key: Int64Array
    quantity_bp: Int64Array
    basis_cents: Int64Array
    realized_cents: Int64Array


_SYMBOL_BITS: Final = 32


def lot_key(account_row: Rows, symbol_row: Rows) -> Rows:
    """What tells a position from all others: the rows of its account and of its symbol."""
    return account_row << _SYMBOL_BITS | symbol_row


def owner_of(key: Rows) -> Rows:
    """The account's row in a key; ``NO_ROW`` in that of a spare row."""
    return key >> _SYMBOL_BITS


def symbol_of(key: Rows) -> Rows:
    """The symbol's row in a key."""
    return key & (1 << _SYMBOL_BITS) - 1


class Positions(Table):
    """
    The rest of each position, in the row of its lot: numbers as of its account's newest valuation (``valued_``).

    All of a spare row is 0.
    """

    next_row: Int32Array
    valued_quantity_bp: Int64Array
    valued_basis_cents: Int64Array
    valued_realized_cents: Int64Array
    value_cents: Int64Array
    updated_ms: Int64Array
    listed: BoolArray


class Symbols(Table):
    """
    One row per symbol: its live mark, and (``valued_``) the one of the last completed tick. Price 0 is no price.

    ``moving`` is set while a pass is made, for the symbols whose holders it values.
    """

    symbol_id: Int64Array
    price_cents: Int64Array
    source: Int64Array
    mark_time_ms: Int64Array
    valued_price_cents: Int64Array
    valued_source: Int64Array
    valued_time_ms: Int64Array
    quantity_bp_max: Int64Array
    first_segment: Int32Array
    last_segment: Int32Array
    position_count: Int32Array
    stale: BoolArray
    loud: BoolArray
    moving: BoolArray


class Segments(Table):
    """Neighbouring rows of positions, all of one symbol; the first ``used`` of them are taken."""

    by_row = True

    first_row: Int32Array
    size: Int32Array
    used: Int32Array
    next_segment: Int32Array
