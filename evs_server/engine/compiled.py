"""
Loops over columns as machine code: how they are compiled, and where the code is kept. Pure but for that.

A kernel is a plain function over integer columns. It is compiled for the types it is declared with, when its module is
imported: never in the middle of serving. The machine code is kept on disk, so that only the first start after an
installation pays for it (about half a minute of one core; later ones a few milliseconds a kernel). Where nothing can be
written, it is compiled into memory at every start.

Integers wrap in machine code, silently, and no index is checked: a kernel multiplies only what ``limits`` or a test
before it has bounded, and is given rows that exist. ``NUMBA_BOUNDSCHECK=1`` has every index checked.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from evs_server.model import BoolArray, Int32Array, Int64Array

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

INT64S: Final = types.int64[::1]
"""A column in the signature of a kernel."""

_CONFIG: Final[Any] = numba.config
_OPTIONS: Final[Any] = {"error_model": "numpy", "_nrt": False}
"""Kernels make no arrays. Were they allowed to, each look at a table would count references, at ten times the cost."""
_HERE: Final = Path(__file__).parent
_ROOMS: Final = (_HERE, _HERE.parent.joinpath("ingest"))
"""Where kernels are."""
_BESIDE: Final = _HERE.joinpath("__pycache__")
_CONSTANTS: Final = (
    _HERE.joinpath("tables.py"), _HERE.parent.joinpath("limits.py"), _HERE.parent.joinpath("model", "base.py"),
    _HERE.parent.joinpath("model", "valuations.py"),
)  # fmt: skip


def kernel(signature: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function compiled for the types given, in numba's notation, and callable from Python with no others."""

    def compiled(function: Callable[P, R]) -> Callable[P, R]:
        dispatched: Callable[P, R] = numba.njit([signature], cache=_FOLDER is not None, **_OPTIONS)(function)
        return dispatched

    return compiled


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """A function that becomes part of each kernel that calls it: handing it tables would cost more than most do."""
    part: Callable[P, R] = numba.njit(forceinline=True, **_OPTIONS)(function)
    return part


def _emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    place = _CODE.get_item_pointer(context, builder, signature.args[0], array, arguments[1:], wraparound=False)
    number, address = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
    instruction = _CODE.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    to_write, to_keep, of_data = number(1), number(3), number(1)
    builder.call(instruction, [builder.bitcast(place, address), to_write, to_keep, of_data])
    return context.get_dummy_value()


def _emit_fetch(_context: Any, block: Any, _first: Any, _second: Any) -> Any:
    return types.void(block, types.intp, types.intp), _emit


def _emit_fetch_one(_context: Any, column: Any, _row: Any) -> Any:
    return types.void(column, types.intp), _emit


_CODE: Final[Any] = cgutils
_FETCH: Final[Any] = intrinsic(_emit_fetch)
_FETCH_ONE: Final[Any] = intrinsic(_emit_fetch_one)


@helper
def fetch(block: Int64Array | Int32Array | BoolArray, first: int, second: int) -> None:
    """
    Have the processor fetch ``block[first, second]`` while it goes on, because it is about to be needed.

    Memory is hundreds of steps away. A loop that leaps from account to account would wait for each; one that says some
    accounts ahead where it will leap to does not.
    """
    _FETCH(block, first, second)


@helper
def fetch_one(column: Int64Array | Int32Array, row: int) -> None:
    """The same of a column that is no part of a block."""
    _FETCH_ONE(column, row)


def type_of(example: object) -> Any:
    """The type of a value in the signature of a kernel."""
    return numba.typeof(example)  # type: ignore[no-untyped-call]


def tuple_of(kind: type, *elements: Any) -> Any:
    """The type of a named tuple in the signature of a kernel, from those of its elements."""
    return types.BaseTuple.from_types(elements, kind)  # type: ignore[no-untyped-call]


def _sources_digest() -> str:
    """
    Changes with every source that a kernel may be made of, and with whether indexes are checked.

    Numba looks at a kernel's own file alone: a helper or a bound changed elsewhere would go unnoticed.
    """
    texts = [path.read_bytes() for room in _ROOMS for path in sorted(room.glob("*.py"))]
    texts = [text for text in texts if b"@kernel" in text or b"@helper" in text]
    texts += [path.read_bytes() for path in _CONSTANTS]
    texts.append(str(_CONFIG.BOUNDSCHECK).encode())
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def _writable_folder() -> Path | None:
    """A folder of these sources' own: where ``NUMBA_CACHE_DIR`` says, beside them, or in the user's cache."""
    name = f"kernels-{_sources_digest()}"
    given = _CONFIG.CACHE_DIR
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().joinpath("evs")
    for parent in [Path(given)] if given else [_BESIDE, user_cache]:
        folder = parent.joinpath(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    log.warning("nowhere to keep compiled code, so each start compiles: set NUMBA_CACHE_DIR to a folder to write to")
    return None


_FOLDER: Final = _writable_folder()
if _FOLDER is not None:
    _CONFIG.CACHE_DIR = str(_FOLDER)
