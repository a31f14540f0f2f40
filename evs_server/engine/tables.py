"""
Rows of integer columns that grow: accounts, positions, symbols. Pure.

Lives here: what a row holds, and how rows lie in memory. Not here: the ways between rows (``book``), and what the
numbers mean (``accounting``, ``valuation``). A row, once given, keeps its number for the life of the process; a closed
position keeps its row.

All columns of one element type are one block, which kernels take as a whole and index by ``Table.at``. Accounts
lie row by row: a valuation reads most of an account, and few of them. Positions lie column by column: a price reads few
of their numbers, and all holders of a symbol, whose rows are neighbours (``book``).
"""

from typing import Any, ClassVar, Final, NamedTuple, get_type_hints

import numpy as np
import numpy.typing as npt
from numba import types

from evs_server.engine.compiled import tuple_of
from evs_server.model import BoolArray, Int32Array, Int64Array

NO_ROW: Final = -1
_FIRST_CAPACITY: Final = 64
_DOUBLED_UP_TO: Final = 65_536
"""Rows up to which a table grows by doubling, and by a quarter beyond: spare rows are memory, too."""
_LINE_BYTES: Final = 64
"""What a processor fetches at a time."""


class Blocks(NamedTuple):
    """
    A table as kernels take it.

    Attributes:
        int64: The block of all int64 columns: ``[column, row]``, or ``[row, column]`` where rows lie together.
        int32: The same of int32.
        flag: The same of bool.
        tally: How many rows have been given, as an array of one.
    """

    int64: npt.NDArray[np.int64]
    int32: npt.NDArray[np.int32]
    flag: npt.NDArray[np.bool_]
    tally: npt.NDArray[np.int64]


BLOCKS: Final = tuple_of(Blocks, types.int64[:, ::1], types.int32[:, ::1], types.boolean[:, ::1], types.int64[::1])
"""``Blocks`` in the signature of a kernel."""


class Table:
    """
    Columns of one length.

    Subclasses declare their columns as annotations; the element type follows from the annotation. Columns are longer
    than ``count``: slice with ``[:count]`` before working on all rows.

    Attributes:
        blocks: Its columns and its count for kernels; others once the table has grown.
    """

    by_row: ClassVar[bool] = False
    blocks: Blocks
    _element: ClassVar[dict[object, type]] = {Int64Array: np.int64, Int32Array: np.int32, BoolArray: np.bool_}

    def __init__(self) -> None:
        self._tally = np.zeros(1, np.int64)
        self._capacity = 0
        self._allocate(_FIRST_CAPACITY)

    @property
    def count(self) -> int:
        """How many rows have been given."""
        return self._tally.item(0)

    @property
    def capacity(self) -> int:
        """How many rows there is room for."""
        return self._capacity

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
        if row_count > self._capacity:
            grown = self._capacity * 2 if self._capacity < _DOUBLED_UP_TO else self._capacity * 5 // 4
            self._allocate(max(row_count, grown))

    def _allocate(self, capacity: int) -> None:
        int64, int32, flag = (self._grown(hint, capacity) for hint in self._element)
        self.blocks = Blocks(int64, int32, flag, self._tally)
        self._capacity = capacity

    def _grown(self, hint: object, capacity: int) -> npt.NDArray[Any]:
        """The columns of one element type, with what they hold, and with more room."""
        names = self._names(hint)
        block = self._block(len(names), capacity, self._element[hint])
        for index, name in enumerate(names):
            column = block[:, index] if self.by_row else block[index]
            if self._capacity:
                # Not the spare rows: copied, they would become memory.
                column[: self.count] = getattr(self, name)[: self.count]
            setattr(self, name, column)
        return block

    @classmethod
    def _names(cls, hint: object) -> list[str]:
        return [name for name, its in get_type_hints(cls).items() if its == hint]

    @classmethod
    def _block(cls, column_count: int, capacity: int, element: type) -> npt.NDArray[Any]:
        if not cls.by_row:
            return np.zeros((column_count, capacity), element)
        # A row must not begin in the middle of a line: it would take one more to read.
        columns_a_line = _LINE_BYTES // np.dtype(element).itemsize
        width = column_count
        if column_count > columns_a_line // 2:
            width = -(-column_count // columns_a_line) * columns_a_line
        block: npt.NDArray[Any] = np.zeros(width * capacity + columns_a_line, element)
        skipped = -block.ctypes.data % _LINE_BYTES // block.itemsize
        return block[skipped : skipped + width * capacity].reshape(capacity, width)


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


class Positions(Table):
    """
    One row per account and symbol ever traded: live, and (``valued_``) as of the account's newest valuation.

    Some rows are spare: their ``account_row`` is ``NO_ROW``, and all else of them is 0.
    """

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
