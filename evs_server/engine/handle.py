"""
All tables of an engine, and all that is marked, as one array: what a kernel is handed that may touch any of them. Pure.

To hand a kernel thirty arrays takes longer than most kernels then work: each is looked at and taken apart, at every
call. A handle is where they all lie, written down once, and again when a table has grown; a kernel reads of it what it
needs. Invariant: whoever gives out a handle (``Changes``) keeps alive what it tells of.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from evs_server.engine.book import TABLES, Tables
from evs_server.engine.compiled import INT64S, helper, kernel, tuple_of
from evs_server.engine.tables import BLOCKS, Blocks
from evs_server.model import Int64Array

HANDLE: Final = INT64S
"""A handle in the signature of a kernel."""


class Marked(NamedTuple):
    """The sets of ``Changes`` as kernels take them: the words of each, with room for every row of its table."""

    dirty: Int64Array
    touched: Int64Array
    moved: Int64Array
    set_again: Int64Array
    due: Int64Array
    accounts: Int64Array
    positions: Int64Array
    symbols: Int64Array


class Everything(NamedTuple):
    """What a handle tells of."""

    tables: Tables
    latest: Blocks
    marked: Marked


_EVERYTHING: Final = tuple_of(Everything, TABLES, BLOCKS, tuple_of(Marked, *[INT64S] * 8))


def _place(context: Any, builder: Any, handle: Any) -> Any:
    array = context.make_array(HANDLE)(context, builder, handle)
    return builder.bitcast(array.data, context.get_value_type(_EVERYTHING).as_pointer())


def _emit_write(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    handle, everything = arguments
    builder.store(everything, _place(context, builder, handle))
    return context.get_dummy_value()


def _emit_read(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return builder.load(_place(context, builder, arguments[0]))


def _emit_size(context: Any, _builder: Any, _signature: Any, _arguments: Any) -> Any:
    return context.get_constant(types.int64, context.get_abi_sizeof(context.get_value_type(_EVERYTHING)))


def _type_write(_context: Any, handle: Any, everything: Any) -> Any:
    return types.void(handle, everything), _emit_write


def _type_read(_context: Any, handle: Any) -> Any:
    return _EVERYTHING(handle), _emit_read


def _type_size(_context: Any) -> Any:
    return types.int64(), _emit_size


_WRITE: Final[Any] = intrinsic(_type_write)
_READ: Final[Any] = intrinsic(_type_read)
_SIZE: Final[Any] = intrinsic(_type_size)


@kernel(types.int64())
def _byte_count() -> int:
    return int(_SIZE())


@kernel(types.void(HANDLE, _EVERYTHING))
def _write(handle: Int64Array, everything: Everything) -> None:
    _WRITE(handle, everything)


def new_handle() -> Int64Array:
    """A handle that tells of nothing yet; not to be handed to a kernel."""
    return np.zeros(-(-_byte_count() // 8), np.int64)


def write(handle: Int64Array, everything: Everything) -> None:
    """Have a handle tell of everything as it is now: until any of these arrays is replaced by another."""
    _write(handle, everything)


@helper
def read(handle: Int64Array) -> Everything:
    """What a handle tells of; within a kernel."""
    everything: Everything = _READ(handle)
    return everything
