"""
Sets of row numbers: cheap to add to, one by one or by a kernel, and drained in ascending order. Pure.

One bit a row, and above every 64 words of bits a word that says which of them are not empty: what is drained costs what
was added, not the size of the table. Both levels lie in one array, the upper behind the lower.

A worked example: a set of 8,192 rows has 128 words, and 2 above them. Row 70 is bit 6 of word 1; word 1 is not empty,
so bit 1 of the first word above is set.
"""

from typing import Final

import numpy as np
from numba import types

from evs_server.engine.compiled import INT64S, fetch_one, helper, kernel
from evs_server.model import Int32Array, Int64Array

_BLOCK_ROWS: Final = 64 * 64
"""Rows under one word of the upper level."""
_BLOCK_WORDS: Final = 64 + 1
_BITS: Final = (*(1 << bit for bit in range(63)), -(1 << 63))
"""Each bit as a Python int that fits an int64."""
_DE_BRUIJN: Final = 0x03F79D71B4CB0A89
_BIT_OF_PRODUCT: Final = np.zeros(64, np.int64)
for _bit in range(64):
    _BIT_OF_PRODUCT[(_DE_BRUIJN << _bit) % 2**64 >> 58] = _bit


class RowSet:
    """
    A set of row numbers.

    Attributes:
        words: For kernels: both levels; as long as ``reserve`` has made it.
    """

    def __init__(self) -> None:
        self.words: Int64Array = np.zeros(_BLOCK_WORDS, np.int64)
        self._capacity = _BLOCK_ROWS

    def __contains__(self, row: int) -> bool:
        return row < self._capacity and bool(self.words.item(row >> 6) >> (row & 63) & 1)

    def reserve(self, row_count: int) -> None:
        """Have room for rows below ``row_count``."""
        capacity = self._capacity
        if row_count <= capacity:
            return
        blocks = -(-max(row_count, capacity + capacity // 4) // _BLOCK_ROWS)
        grown = np.zeros(blocks * _BLOCK_WORDS, np.int64)
        lower = capacity >> 6
        grown[:lower] = self.words[:lower]
        grown[blocks * 64 : blocks * 64 + len(self.words) - lower] = self.words[lower:]
        self.words = grown
        self._capacity = blocks * _BLOCK_ROWS

    def add(self, row: int) -> None:
        """Add one row."""
        if row >= self._capacity:
            self.reserve(row + 1)
        words, word, bit = self.words, row >> 6, _BITS[row & 63]
        known = words.item(word)
        if known & bit:
            return
        words[word] = known | bit
        if not known:
            above = (self._capacity >> 6) + (word >> 6)
            words[above] = words.item(above) | _BITS[word & 63]

    def update(self, row: Int64Array | Int32Array) -> None:
        """Add rows; repeats are fine."""
        if len(row):
            self.reserve(int(row.max()) + 1)
            _put_all(self.words, np.ascontiguousarray(row, np.int64))

    def rows(self) -> Int64Array:
        """The rows, ascending."""
        return self._listed(empty=False)

    def drain(self) -> Int64Array:
        """The rows, ascending; the set is empty afterwards."""
        return self._listed(empty=True)

    def _listed(self, *, empty: bool) -> Int64Array:
        row = np.empty(_count(self.words), np.int64)
        if len(row):
            _list(self.words, row, empty)
        return row


@helper
def put(words: Int64Array, row: int) -> None:
    """Add a row that there is room for."""
    word = row >> 6
    if not words[word]:
        words[len(words) // _BLOCK_WORDS * 64 + (word >> 6)] |= 1 << (word & 63)
    words[word] |= 1 << (row & 63)


@helper
def fetch_word(words: Int64Array, row: int) -> None:
    """Have what ``put`` looks at fetched, before a row is added; one that there is room for."""
    fetch_one(words, row >> 6)


@helper
def is_in(words: Int64Array, row: int) -> bool:
    """Whether a row that there is room for is in the set."""
    return bool((words[row >> 6] >> (row & 63)) & 1)


@helper
def _lowest_bit(word: int) -> int:
    # The lowest bit times a de Bruijn sequence has other top six bits for each bit.
    product = (word & -word) * _DE_BRUIJN
    return int(_BIT_OF_PRODUCT[(product >> 58) & 63])


@helper
def _bit_count(word: int) -> int:
    # Counts in pairs, then fours, then bytes, side by side; the product adds the bytes up in the topmost.
    pairs = word - ((word >> 1) & 0x5555555555555555)
    fours = (pairs & 0x3333333333333333) + ((pairs >> 2) & 0x3333333333333333)
    return (((fours + (fours >> 4)) & 0x0F0F0F0F0F0F0F0F) * 0x0101010101010101) >> 56


@kernel(types.void(INT64S, INT64S))
def _put_all(words: Int64Array, row: Int64Array) -> None:
    for index in range(len(row)):
        put(words, row[index])


@kernel(types.int64(INT64S))
def _count(words: Int64Array) -> int:
    lower = len(words) // _BLOCK_WORDS * 64
    count = 0
    for block in range(lower >> 6):
        above = words[lower + block]
        while above:
            count += _bit_count(words[(block << 6) + _lowest_bit(above)])
            above &= above - 1
    return count


@helper
def next_row(words: Int64Array, first: int) -> int:
    """The lowest row that is not below ``first``, or -1: so a set can be walked without being listed."""
    lower, word = len(words) // _BLOCK_WORDS * 64, first >> 6
    if word >= lower:
        return -1
    rest = words[word] & (-1 << (first & 63))
    if rest:
        return (word << 6) + _lowest_bit(rest)
    word += 1
    block, blocks = word >> 6, lower >> 6
    above = words[lower + block] & (-1 << (word & 63)) if block < blocks else 0
    while not above:
        block += 1
        if block >= blocks:
            return -1
        above = words[lower + block]
    word = (block << 6) + _lowest_bit(above)
    return (word << 6) + _lowest_bit(words[word])


@helper
def clear(words: Int64Array) -> None:
    """Take all rows out."""
    lower = len(words) // _BLOCK_WORDS * 64
    for block in range(lower >> 6):
        above = words[lower + block]
        while above:
            words[(block << 6) + _lowest_bit(above)] = 0
            above &= above - 1
        words[lower + block] = 0


@helper
def list_rows(words: Int64Array, out: Int64Array) -> int:
    """Write the rows, ascending: how many there are."""
    lower = len(words) // _BLOCK_WORDS * 64
    count = 0
    for block in range(lower >> 6):
        above = words[lower + block]
        while above:
            index = (block << 6) + _lowest_bit(above)
            above &= above - 1
            word = words[index]
            while word:
                out[count] = (index << 6) + _lowest_bit(word)
                word &= word - 1
                count += 1
    return count


@kernel(types.void(INT64S, INT64S, types.boolean))
def _list(words: Int64Array, out: Int64Array, empty: bool) -> None:
    list_rows(words, out)
    if empty:
        clear(words)
