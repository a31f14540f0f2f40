"""
Memory of what grows where it is: address space for as much as the machine's memory could hold.

Large tables do, and the index of positions. Only what has been written to is memory. To move a table of two
million rows, as it grows, would hold up everyone for a tenth of a second, and have the system clear as many pages
again. Calls the operating system.
"""

import mmap
import os
import sys
from contextlib import suppress
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_NO_RESERVE: Final = 0x4000
"""Linux's ``MAP_NORESERVE``, which Python names from 3.13 on: nothing is set aside for pages that nobody touches."""
_HUGE_BYTES: Final = 2**21
"""A huge page: rows lie in no order of use, and with small pages the processor would look up where each is."""
STAGGER_ROWS: Final = 93 * 512 + 8
"""
By how many rows columns begin further into a huge page than the one before: of int64, nearly a fifth of it and a line.

Columns that all began alike would be kept in the same few places of the processor's cache. And they would all come to
their next page with the same few rows: whoever opens these would wait until the system has cleared a page for each.
"""

GROW_IN_PLACE: Final = sys.platform == "linux"
"""Whether tables of this system can; elsewhere they move."""


def rows_in_memory(row_bytes: int) -> int:
    """
    How many rows of a size would about fill the machine's memory; 0 where tables cannot grow where they are.

    A column of so many elements ends ``STAGGER_ROWS`` behind the beginning of a huge page, where the next begins.
    """
    if not GROW_IN_PLACE:
        return 0
    rows = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // row_bytes
    return rows // _HUGE_BYTES * _HUGE_BYTES + STAGGER_ROWS if rows >= _HUGE_BYTES else 0


def zeros(count: int, element: type, first: int = 0) -> npt.NDArray[Any]:
    """
    An array of zeros that takes address space, and memory as it is written to.

    Args:
        first: How many elements into a huge page it begins.

    Raises:
        OSError: If the system does not give so much, as one that promises no more than it has.
    """
    element_bytes = np.dtype(element).itemsize
    pages = mmap.mmap(
        -1, (first + count) * element_bytes + _HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    )
    with suppress(OSError):  # a system without huge pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    every: npt.NDArray[Any] = np.frombuffer(pages, element)
    skipped = -every.ctypes.data % _HUGE_BYTES // element_bytes + first
    return every[skipped : skipped + count]
