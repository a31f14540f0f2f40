"""
How a process keeps its memory: what is freed stays with it, up to a bound, for what comes next. Calls the C library.

Each flush, batch and answer takes a few megabytes for a moment. glibc gives such blocks back to the system as soon as
they are free, and the system clears every page of them before it hands them out again: with trades coming in without a
pause, a sixth of the event loop's time. Where there is no glibc, nothing happens.
"""

import ctypes
import sys
from typing import Final

KEPT_BYTES_MAX: Final = 128 * 2**20
"""Free memory beyond this goes back to the system; what flushes and batches need at a time is less."""
LARGE_BYTES: Final = 32 * 2**20
"""Blocks from this size on, which only tables of millions of rows are, go back at once; glibc knows no higher bound."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def keep_freed_memory() -> bool:
    """Whether this process keeps, from now on, what it frees."""
    if sys.platform != "linux":
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    return bool(set_option(_M_MMAP_THRESHOLD, LARGE_BYTES) and set_option(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX))
