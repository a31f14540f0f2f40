"""
In what an account of ours and the exchange's tables differ: cash, and quantity per symbol. Pure.

Not the average cost: the exchange keeps it in whole cents and EVS exactly, so they may differ and both be right.
"""

from enum import IntEnum
from typing import NamedTuple

from evs_server.model import Holdings, Ledger


class Field(IntEnum):
    """What is compared; numbered as on the wire."""

    CASH = 1
    QUANTITY = 2
    ACCOUNT = 3


class Difference(NamedTuple):
    """
    One number that the exchange's tables have otherwise.

    ``ours`` and ``theirs`` are cents, or bp with QUANTITY. With ACCOUNT the tables do not have the account: 1 and 0.
    """

    field: Field
    symbol_id: int
    ours: int
    theirs: int

    def __str__(self) -> str:
        match self.field:
            case Field.CASH:
                return f"cash is {self.ours} cents here and {self.theirs} there"
            case Field.QUANTITY:
                return f"symbol {self.symbol_id} is {self.ours} bp here and {self.theirs} there"
            case Field.ACCOUNT:
                return "the account is not there"


def differences(ours: Holdings, theirs: Ledger | None) -> tuple[Difference, ...]:
    """
    Every difference of one account, cash first, then by symbol.

    Args:
        theirs: None if the exchange's tables do not have the account.
    """
    if theirs is None:
        return (Difference(Field.ACCOUNT, 0, 1, 0),)
    found = [Difference(Field.CASH, 0, ours.cash_cents, theirs.cash_cents)]
    found += [
        Difference(Field.QUANTITY, symbol_id, _held_bp(ours, symbol_id), theirs.quantity_bp.get(symbol_id, 0))
        for symbol_id in sorted(ours.held.keys() | theirs.quantity_bp.keys())
    ]
    return tuple(difference for difference in found if difference.ours != difference.theirs)


def _held_bp(ours: Holdings, symbol_id: int) -> int:
    holding = ours.held.get(symbol_id)
    return holding.quantity_bp if holding is not None else 0
