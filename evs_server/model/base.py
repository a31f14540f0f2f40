"""What all of the vocabulary is made of: columns, tables of them, and the enumerations of the contract. Pure."""

from dataclasses import dataclass, field, fields, make_dataclass
from enum import IntEnum, IntFlag
from typing import Any, Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

T = TypeVar("T")


def quickly_made(kind: type[T]) -> type[T]:
    """
    Decorate a frozen dataclass of which one is made for every call: frozen to the type checker alone.

    To set a field of what is frozen takes three times as long as to set any other. For classes of plain fields: with no
    base, no ``__post_init__`` and no default factory.
    """
    made = [(each.name, each.type, field(default=each.default)) for each in fields(kind)]  # type: ignore[arg-type]
    plain: Any = make_dataclass(kind.__name__, made)
    kind.__init__ = plain.__init__  # type: ignore[method-assign]
    for name in ("__setattr__", "__delattr__"):
        delattr(kind, name)
    return kind


class Side(IntEnum):
    """Which side of a trade an account was on; numbered as on the wire."""

    BUY = 1
    SELL = 2


class MarkSource(IntEnum):
    """Where the price of a symbol or position comes from; numbered as on the wire."""

    NONE = 0
    MARK = 1
    LAST_TRADE = 2
    COST = 3


class Flag(IntFlag):
    """What to know about a valuation: bit ``n`` is number ``n`` of the wire's ``EquityFlag``."""

    UNPRICED = 1 << 1
    STALE_PRICE = 1 << 2
    DEGRADED = 1 << 3
    NO_BASE = 1 << 4
    IDENTITY_VIOLATED = 1 << 5


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one table, all of the same length."""

    def __len__(self) -> int:
        return len(getattr(self, next(iter(self.__slots__))))

    @classmethod
    def empty(cls) -> Self:
        """No rows: one and the same table for all, since columns that were handed out are never written to."""
        known = _EMPTY.get(cls)
        if not isinstance(known, cls):
            known = _EMPTY[cls] = cls(*(np.empty(0, np.int64) for _ in fields(cls)))
        return known


_EMPTY: Final[dict[type, Columns]] = {}
"""What nearly every flush carries of nearly every table; each is made once."""
