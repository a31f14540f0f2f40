"""The exchange's tables, as they are read, and corrections made from them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from evs_server.model.base import Columns, Int64Array, Side


@dataclass(frozen=True, slots=True)
class SettledTrade:
    """One row of the exchange's ``trades``."""

    trade_id: int
    symbol_id: int
    side: Side
    quantity_bp: int
    price_cents: int


@dataclass(frozen=True, slots=True)
class ExchangeAccount:
    """
    An account as the exchange's tables have it: its cash, and its trades in the order they were settled.

    ``changed`` tells that its row says of itself that it has changed since it was made.
    """

    account_id: int
    cash_cents: int
    trades: tuple[SettledTrade, ...]
    changed: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeImport:
    """
    All of the exchange's tables, read once in one transaction.

    Attributes:
        account_id: Ids; shape ``(a,)``.
        cash_cents: Aligned with ``account_id``.
        position_account_id: Owner of each position; shape ``(p,)``; quantity is never zero.
        position_symbol_id: Aligned with it.
        position_quantity_bp: Signed; aligned with it.
        position_avg_cost_cents: Cents per share as the exchange keeps it; aligned with it.
        price_symbol_id: Symbols that ever traded; shape ``(s,)``.
        price_cents: Price of the newest trade of each; aligned with it.
        recent_account_id: Owners of the newest trades, some of which may be announced only later; shape ``(r,)``.
        recent_trade_id: Aligned with it.
    """

    account_id: Int64Array
    cash_cents: Int64Array
    position_account_id: Int64Array
    position_symbol_id: Int64Array
    position_quantity_bp: Int64Array
    position_avg_cost_cents: Int64Array
    price_symbol_id: Int64Array
    price_cents: Int64Array
    recent_account_id: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    recent_trade_id: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))


class Holding(NamedTuple):
    """What an account holds of one symbol, live; the basis has the sign of the quantity."""

    quantity_bp: int = 0
    basis_cents: int = 0
    realized_cents: int = 0


@dataclass(frozen=True, slots=True)
class Holdings:
    """One account, live: with everything applied, valued or not. ``held`` is by symbol, closed positions included."""

    account_id: int
    cash_cents: int
    net_flow_cents: int
    realized_cents: int
    held: Mapping[int, Holding]


@dataclass(frozen=True, slots=True)
class Ledger:
    """
    One account as the exchange's tables have it.

    Attributes:
        quantity_bp: By symbol, signed, never zero.
        trades: Its rows of ``trades`` in the order of their ids; empty where they were not asked for.
    """

    account_id: int
    cash_cents: int
    quantity_bp: Mapping[int, int]
    trades: tuple[SettledTrade, ...] = ()


class CorrectionKind(IntEnum):
    """What a correction does; numbered as on the wire and in ``evs.correction``."""

    FLOW = 1
    TRADES = 2
    RECOMPUTE = 3


class CorrectedField(IntEnum):
    """Which number of an account a correction changed; the last three are of one position. Numbered as on the wire."""

    CASH = 1
    NET_FLOW = 2
    REALIZED = 3
    QUANTITY = 4
    BASIS = 5
    POSITION_REALIZED = 6


class Change(NamedTuple):
    """One number, before and after; ``symbol_id`` is 0 for those of the account."""

    field: CorrectedField
    symbol_id: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Correction:
    """
    What to do to one account, whole or not at all.

    Attributes:
        requested: Whether a person asked for it; otherwise the background check decided.
        flow_cents: With FLOW, what was paid in, or out if negative; not zero.
        trades: With TRADES, the rows to apply, in order; with RECOMPUTE, all of the account's.
    """

    account_id: int
    kind: CorrectionKind
    requested: bool
    flow_cents: int = 0
    trades: tuple[SettledTrade, ...] = ()


@dataclass(frozen=True, slots=True)
class CorrectionColumns(Columns):
    """Numbers that corrections changed, for the record; ``requested`` is 0 or 1."""

    corrected_ms: Int64Array
    account_id: Int64Array
    kind: Int64Array
    requested: Int64Array
    field: Int64Array
    symbol_id: Int64Array
    before: Int64Array
    after: Int64Array
