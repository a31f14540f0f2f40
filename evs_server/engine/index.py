"""
From ids to rows, for kernels: open addressing in integer arrays. Pure.

An ``IdIndex`` leads from the id of an account or symbol to its row. A position needs no id of its own: its index holds
rows, and the row says whose it is and of what. To look at a row is to wait for memory, so what bits a row leaves of an
entry hold a *tag*: bits of what was mixed from account and symbol, other than those that chose the slot. Only where
they are as wanted is the row worth looking at.

A worked example: of 600,000 slots rows take 20 bits, and tags 12. Often the first slot has another position; once in
4,096 times its tag is as wanted nevertheless, and its row is looked at in vain.
"""

from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np
from numba import types

from evs_server.engine import pages
from evs_server.engine.compiled import INT64S, fetch, fetch_one, helper, kernel, tuple_of
from evs_server.engine.tables import BLOCKS, NO_ROW, Blocks, Growth, Lots, lot_key, owner_of, symbol_of
from evs_server.model import Int32Array, Int64Array

KEY: Final = Lots.at("key")
key_of: Final = helper(lot_key)
key_owner: Final = helper(owner_of)
key_symbol: Final = helper(symbol_of)
_TAKEN_IN_EIGHT: Final = 5
"""Of eight slots of positions so many may be taken: each wrong one is one more look, each empty one is memory."""
_FIRST_SLOTS: Final = 64
_SLOT_BYTES: Final = 4
_SLOTS_MAX: Final = 2**31 - 1
"""With more, a slot could not be worked out in 64 bits: they are for 1.3 billion positions, which take 130 GB."""
_LARGE: Final = 2**21 // _SLOT_BYTES
"""Slots that fill a huge page: from here on there is address space for all that could ever be, as for large tables."""
_ALL_BITS: Final = 2**32 - 1
"""Of an entry."""
_AHEAD: Final = 32
"""How many ids, or rows to be put into a new index, ahead of the one that is looked at a slot is asked for."""
_MIX_ONE: Final = -7046029254386353131
_MIX_OTHER: Final = -4417276706812531889
"""Odd and without pattern: ids that follow each other must not share slots."""


ID_SLOTS: Final = types.int64[:, ::1]


class IdIndex:
    """
    The rows of ids, none of which is ever removed.

    Args:
        growth: Told when the index is to move; absent: nobody is.

    Attributes:
        slot: For kernels, shape ``(slots, 2)``: an id plus 1, and its row; all zeros if empty.
    """

    def __init__(self, growth: Growth | None = None) -> None:
        self._growth = growth or Growth()
        self.slot: Int64Array = np.zeros((_FIRST_SLOTS, 2), np.int64)
        self._count = 0

    def put(self, ids: Int64Array, first_row: int) -> None:
        """Lead from new ids to rows, the first to ``first_row`` and the others to those after it."""
        slots = len(self.slot)
        self._count += len(ids)
        while 2 * self._count > slots:
            slots *= 2
        if slots > len(self.slot):
            self._growth.note()
            known, self.slot = self.slot, np.zeros((slots, 2), np.int64)
            _move_ids(known, self.slot)
        _put_ids(self.slot, np.ascontiguousarray(ids, np.int64), first_row)

    def has_all(self, ids: Int64Array) -> bool:
        """Whether all of some ids have a row."""
        return _has_all(self.slot, ids)

    def find(self, ids: Int64Array) -> Int64Array:
        """The row of each id, ``NO_ROW`` for one that has none."""
        row = np.empty(len(ids), np.int64)
        _find_ids(self.slot, np.ascontiguousarray(ids, np.int64), row)
        return row


class Slots(NamedTuple):
    """
    A ``PositionIndex`` as kernels take it.

    Attributes:
        entry: A tag in the upper bits and a row plus 1 in the lower, all 32 in use; or 0 if empty.
        tally: How many are taken; and how many bits of an entry are the row's.
    """

    entry: Int32Array
    tally: Int64Array


SLOTS: Final = tuple_of(Slots, types.int32[::1], INT64S)
"""``Slots`` in the signature of a kernel."""


class PositionIndex:
    """
    The rows of positions by account and symbol.

    Args:
        growth: Told when the index is to grow.

    Attributes:
        slots: For kernels; others once the index has grown, and of the old ones nothing is true then.
    """

    def __init__(self, growth: Growth) -> None:
        self._growth = growth
        self._room: Int32Array = np.zeros(_FIRST_SLOTS, np.int32)
        self.slots = Slots(self._room, np.array([0, _FIRST_SLOTS.bit_length()], np.int64))

    @property
    def count(self) -> int:
        """How many positions there are."""
        return self.slots.tally.item(0)

    def reserve(self, more_count: int, lot: Blocks) -> None:
        """Have room for so many more positions, and for the number of any row that there is room for."""
        known, needed = len(self.slots.entry), -(-8 * (self.count + more_count) // _TAKEN_IN_EIGHT)
        row_count = int(lot.tally[1])
        if needed > known or row_count >> self.slots.tally.item(1):
            slot_count = max(needed, known * 5 // 4) if needed > known else known
            # There are fewer rows than slots, but for spare ones: mostly the bits will do until it grows again.
            row_bits = max(slot_count, row_count).bit_length()
            self._growth.note()
            self.slots = Slots(self._emptied(slot_count), np.array([0, row_bits], np.int64))
            _put_positions(self.slots, lot)

    def _emptied(self, slot_count: int) -> Int32Array:
        """So many empty slots, where the index lies if there is room: new memory costs more than to fill it."""
        assert slot_count <= _SLOTS_MAX
        if slot_count > len(self._room):
            self._room = _room_for(slot_count)
        emptied = self._room[:slot_count]
        emptied[:] = 0
        return emptied


def _room_for(slot_count: int) -> Int32Array:
    if slot_count >= _LARGE and pages.GROW_IN_PLACE:
        with suppress(OSError):  # a system that promises no memory it does not have
            return pages.zeros(max(slot_count, min(pages.rows_in_memory(_SLOT_BYTES), _SLOTS_MAX)), np.int32)
    return np.zeros(slot_count, np.int32)


@helper
def find_id(slot: Int64Array, wanted: int) -> int:
    """The row of an id, or ``NO_ROW``."""
    mask = len(slot) - 1
    at = ((wanted * _MIX_ONE) >> 20) & mask
    while slot[at, 0]:
        if slot[at, 0] == wanted + 1:
            return int(slot[at, 1])
        at = (at + 1) & mask
    return NO_ROW


@helper
def find_position(slots: Slots, lot: Blocks, account_row: int, symbol_row: int) -> int:
    """The row of a position, or ``NO_ROW``."""
    wanted = key_of(account_row, symbol_row)
    at, tag, tag_bits = _look_for(slots, account_row, symbol_row)
    while slots.entry[at]:
        row = _row_of(slots.entry[at], tag_bits)
        if not (slots.entry[at] ^ tag) & tag_bits and lot.int64[row, KEY] == wanted:
            return row
        at = at + 1 if at + 1 < len(slots.entry) else 0
    return NO_ROW


@helper
def fetch_id(slot: Int64Array, wanted: int) -> None:
    """Have the slot of an id fetched, before ``find_id`` is asked for it."""
    fetch(slot, ((wanted * _MIX_ONE) >> 20) & (len(slot) - 1), 0)


@helper
def fetch_position(slots: Slots, account_row: int, symbol_row: int) -> None:
    """Have the slot of a position fetched, before ``likely_position`` or ``find_position`` are asked for it."""
    fetch_one(slots.entry, _position_slot(_mixed(account_row, symbol_row), len(slots.entry)))


@helper
def likely_position(slots: Slots, account_row: int, symbol_row: int) -> int:
    """The first row that ``find_position`` looks at: hardly ever another's; ``NO_ROW`` if there is none."""
    at, tag, tag_bits = _look_for(slots, account_row, symbol_row)
    while slots.entry[at]:
        if not (slots.entry[at] ^ tag) & tag_bits:
            return _row_of(slots.entry[at], tag_bits)
        at = at + 1 if at + 1 < len(slots.entry) else 0
    return NO_ROW


@helper
def is_full(slots: Slots) -> bool:
    """Whether one more position would make looking them up slow."""
    return bool(8 * (slots.tally[0] + 1) > _TAKEN_IN_EIGHT * len(slots.entry))


@helper
def put_position(slots: Slots, account_row: int, symbol_row: int, row: int) -> None:
    """Lead to a position that the index did not have."""
    at, tag, tag_bits = _look_for(slots, account_row, symbol_row)
    while slots.entry[at]:
        at = at + 1 if at + 1 < len(slots.entry) else 0
    slots.entry[at] = (tag & tag_bits) | (row + 1)
    slots.tally[0] += 1


@helper
def _mixed(account_row: int, symbol_row: int) -> int:
    return int((np.int64(account_row) * _MIX_ONE) ^ (np.int64(symbol_row) * _MIX_OTHER))


@helper
def _position_slot(mixed: int, slot_count: int) -> int:
    # Of 32 bits taken as a part of one, that part of all slots: any number of slots will do, and none lie idle.
    return (((mixed >> 29) & _ALL_BITS) * slot_count) >> 32


@helper
def _look_for(slots: Slots, account_row: int, symbol_row: int) -> tuple[int, int, int]:
    """The first slot of a position, the bits that its tag is among, and which of them are."""
    mixed = _mixed(account_row, symbol_row)
    # From bit 29 on they chose the slot: those below are moved to the top of an entry.
    return _position_slot(mixed, len(slots.entry)), mixed << 3, _ALL_BITS & -(1 << slots.tally[1])


@helper
def _row_of(entry: int, tag_bits: int) -> int:
    return int((entry & (_ALL_BITS ^ tag_bits)) - 1)


@helper
def _put_id(slot: Int64Array, key: int, row: int) -> None:
    mask = len(slot) - 1
    at = (((key - 1) * _MIX_ONE) >> 20) & mask
    while slot[at, 0]:
        at = (at + 1) & mask
    slot[at, 0] = key
    slot[at, 1] = row


@kernel(types.void(ID_SLOTS, INT64S, types.int64))
def _put_ids(slot: Int64Array, ids: Int64Array, first_row: int) -> None:
    for index in range(len(ids)):
        _put_id(slot, ids[index] + 1, first_row + index)


@kernel(types.void(ID_SLOTS, ID_SLOTS))
def _move_ids(known: Int64Array, slot: Int64Array) -> None:
    for at in range(len(known)):
        if known[at, 0]:
            _put_id(slot, known[at, 0], known[at, 1])


@kernel(types.void(ID_SLOTS, INT64S, INT64S))
def _find_ids(slot: Int64Array, ids: Int64Array, out: Int64Array) -> None:
    for index in range(len(ids)):
        out[index] = find_id(slot, ids[index])


@kernel(types.boolean(ID_SLOTS, INT64S))
def _has_all(slot: Int64Array, ids: Int64Array) -> bool:
    missing_count, last = 0, len(ids) - 1
    for index in range(len(ids)):
        fetch_id(slot, ids[min(index + _AHEAD, last)])
        missing_count += find_id(slot, ids[index]) == NO_ROW
    return missing_count == 0


@kernel(types.void(SLOTS, BLOCKS))
def _put_positions(slots: Slots, lot: Blocks) -> None:
    count = lot.tally[0]
    for row in range(count):
        soon = lot.int64[min(row + _AHEAD, count - 1), KEY]
        fetch_position(slots, key_owner(soon), key_symbol(soon))
        key = lot.int64[row, KEY]
        if key != NO_ROW:
            put_position(slots, key_owner(key), key_symbol(key), row)
