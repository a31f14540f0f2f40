"""
A flush as bytes, and back: what the spool keeps of it. Pure.

Lives here: the form. Not here: files, checksums, order (``spool``). ``decode(encode(flush))`` is the same flush.

The form describes itself. First a fixed head: magic, format number, length of the description. Then the description, in
MessagePack: every value of ``model`` by the names of its class and fields, every array by type, length and place. Then
the arrays, little-endian, each beginning at a multiple of 8. A field that a flush has gained since, and that has a
default, may be absent; one that this version does not know is refused in words, never dropped. The columns of a pass go
by their names, as fields do, and lie one behind the other.
"""

import struct
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

import msgspec
import numpy as np

from evs_server import model
from evs_server.model import VALUATION_COLUMNS, Columns, Flush, Int64Array, Valuation

FORMAT: Final = 1
"""Grows when a form of this number could be misread; a field more is no reason."""

_MAGIC: Final = b"EVSF"
_HEAD: Final = struct.Struct("<4sHxxI")
_ALIGNMENT: Final = 8
_ARRAYS: Final = {"<i8": np.dtype("<i8"), "<u8": np.dtype("<u8")}
_CLASSES: Final[Mapping[str, type]] = {
    name: kind for name, kind in vars(model).items() if isinstance(kind, type) and is_dataclass(kind)
}
_FIELD_NAMES: Final[Mapping[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in _CLASSES.values()
}
_KNOWN: Final[Mapping[type, frozenset[str]]] = {kind: frozenset(names) for kind, names in _FIELD_NAMES.items()} | {
    Valuation: frozenset({*_FIELD_NAMES[Valuation], *VALUATION_COLUMNS} - {"columns"})
}
"""Names of a class as a description has them: a pass has its columns in the place of their table."""

_REQUIRED: Final[Mapping[type, frozenset[str]]] = {
    kind: names - {field.name for field in fields(kind) if not (field.default is field.default_factory is MISSING)}
    for kind, names in _KNOWN.items()
}
_NUMBER_BYTES: Final = 8
"""Every column is of 64-bit integers."""


def encode(flush: Flush) -> bytes:
    """A flush as bytes."""
    arrays: list[bytes] = []
    description = msgspec.msgpack.encode(_described(flush, arrays, [0]))
    head = _HEAD.pack(_MAGIC, FORMAT, len(description))
    return b"".join([head, description, bytes(-(len(head) + len(description)) % _ALIGNMENT), *arrays])


def decode(file: bytes) -> Flush:
    """
    The flush that was encoded; its arrays are views of the file.

    Args:
        file: What ``encode`` gave, in this version or an older one.

    Raises:
        ValueError: If it is not a flush, or one of a version that this one does not know.
    """
    if len(file) < _HEAD.size:
        raise ValueError(f"{len(file)} bytes are no flush: its head alone has {_HEAD.size}")
    magic, number, length = _HEAD.unpack_from(file)
    if magic != _MAGIC:
        raise ValueError(f"not a flush: begins with {magic!r}, expected {_MAGIC!r}")
    if number != FORMAT:
        raise ValueError(f"a flush of format {number}; this version of EVS reads format {FORMAT}")
    end = _HEAD.size + length
    try:
        description = msgspec.msgpack.decode(memoryview(file)[_HEAD.size : end])
        flush = _restored(description, memoryview(file)[end + -end % _ALIGNMENT :])
    except (msgspec.DecodeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"the description of a flush cannot be read: {error!r}") from error
    if not isinstance(flush, Flush):
        raise ValueError(f"expected a Flush, found {type(flush).__name__}")
    return flush


def array_bytes(flush: Flush) -> int:
    """What the arrays of a flush take, in memory and, nearly all there is to it, on disk."""
    # Asked for every flush, most of whose tables are empty: nothing here looks at the columns of those.
    state = flush.state
    tables: tuple[Columns | None, ...] = (
        state.accounts,
        state.positions,
        state.marks,
        flush.settlements,
        flush.unannounced_added,
        flush.unannounced_removed,
        flush.latest,
        flush.parked_added,
        flush.parked_removed,
        flush.newcomers,
        flush.corrections,
    )
    numbers = sum(len(mark.digest) for mark in flush.watermarks)
    numbers += sum(len(valuation) for valuation in flush.rows) * len(VALUATION_COLUMNS)
    for table in tables:
        if table:
            numbers += len(table) * len(_FIELD_NAMES[type(table)])
    return numbers * _NUMBER_BYTES


def _described(value: object, arrays: list[bytes], end: list[int]) -> object:
    """
    The description of a value, whose arrays are appended.

    Args:
        end: How far the arrays reach; its one entry is counted up.
    """
    match value:
        case np.ndarray():
            kind = value.dtype.newbyteorder("<").str
            assert kind in _ARRAYS, f"no columns of {value.dtype}"
            part = np.ascontiguousarray(value, dtype=kind).tobytes()
            arrays.append(part)
            end[0] += len(part)
            return {"array": [kind, len(value), end[0] - len(part)]}
        case tuple():
            return [_described(part, arrays, end) for part in value]
        case None | int() | str():
            return value
    assert type(value).__name__ in _CLASSES, f"no form for {type(value).__name__}"
    content = {name: getattr(value, name) for name in _FIELD_NAMES[type(value)]}
    if isinstance(value, Valuation):
        content |= zip(VALUATION_COLUMNS, content.pop("columns"), strict=True)
    return {type(value).__name__: {name: _described(each, arrays, end) for name, each in content.items()}}


def _restored(description: Any, arrays: memoryview) -> Any:
    if isinstance(description, list):
        return tuple(_restored(part, arrays) for part in description)
    if not isinstance(description, dict):
        return description
    [(name, content)] = description.items()
    if name == "array":
        kind, length, start = content
        return np.frombuffer(arrays, _ARRAYS[kind], length, start)
    if name not in _CLASSES:
        raise ValueError(f"a flush with a {name}, which this version of EVS does not know")
    kind = _CLASSES[name]
    if unknown := content.keys() - _KNOWN[kind]:
        raise ValueError(f"a {name} with {', '.join(sorted(unknown))}, which this version of EVS does not know")
    if absent := _REQUIRED[kind] - content.keys():
        raise ValueError(f"a {name} without {', '.join(sorted(absent))}, which this version of EVS needs")
    columns = {}
    if kind is Valuation:
        columns = {"columns": _columns([content.pop(key) for key in VALUATION_COLUMNS], arrays)}
    return kind(**columns, **{key: _restored(part, arrays) for key, part in content.items()})


def _columns(descriptions: list[Any], arrays: memoryview) -> Int64Array:
    """The columns of a pass, as one view: they lie one behind the other, as every version writes them."""
    count, (kind, length, start) = len(descriptions), descriptions[0]["array"]
    behind_each_other = [{"array": ["<i8", length, start + at * length * _NUMBER_BYTES]} for at in range(count)]
    if descriptions != behind_each_other:
        raise ValueError(f"columns of a pass of {kind} and {length} rows that do not lie one behind the other")
    numbers: Int64Array = np.frombuffer(arrays, np.dtype("<i8"), count * length, start)
    return numbers.reshape(count, length)
