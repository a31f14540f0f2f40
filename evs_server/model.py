"""
The vocabulary that all rooms share: events, snapshots, state. Plain values, no behaviour beyond reading themselves. Pure.

Money in cents, quantities in bp, times in unix milliseconds unless the name says otherwise. Columns are int64 arrays;
entry ``i`` of each column of one object belongs to the same row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from typing import Self

import numpy as np
import numpy.typing as npt

from evs_server.errors import RequestError

Int64Array = npt.NDArray[np.int64]
UInt64Array = npt.NDArray[np.uint64]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]


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


# --- events, as they come in -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TradeRun:
    """Settled legs, one after the other; ``settlement_id`` 0 is unknown."""

    account_id: Int64Array
    symbol_id: Int64Array
    side: Int64Array
    quantity_bp: Int64Array
    price_cents: Int64Array
    fee_cents: Int64Array
    settlement_id: Int64Array

    def __len__(self) -> int:
        return len(self.account_id)


@dataclass(frozen=True, slots=True)
class PriceRun:
    """New marks, one after the other."""

    symbol_id: Int64Array
    price_cents: Int64Array

    def __len__(self) -> int:
        return len(self.symbol_id)


@dataclass(frozen=True, slots=True)
class CashRun:
    """Flows, one after the other."""

    account_id: Int64Array
    amount_cents: Int64Array
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.account_id)


@dataclass(frozen=True, slots=True)
class TickRun:
    """Tick completions, one after the other; ``tick_time_ms`` 0 is EVS's clock."""

    tick: Int64Array
    tick_time_ms: Int64Array

    def __len__(self) -> int:
        return len(self.tick)


Run = TradeRun | PriceRun | CashRun | TickRun


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Events of one sender, in order, decoded and checked field by field.

    Attributes:
        source: Who sends; empty if unsequenced.
        epoch: The sender's numbering; 0 if unsequenced.
        first_sequence: Sequence of the first event, the rest following by one; 0 if unsequenced.
        runs: The events; their lengths add up to ``len(digest)``.
        digest: Stable 64-bit digest of each event's content; shape ``(n,)``, in order across the runs.
        refusals: By index in the batch, the events that validation refused; their columns hold nothing usable.
    """

    source: str
    epoch: int
    first_sequence: int
    runs: tuple[Run, ...]
    digest: UInt64Array
    refusals: Mapping[int, RequestError]

    def __len__(self) -> int:
        return len(self.digest)


# --- valuations, as they go out ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One account valued: what a frame, a read and a row of the same version all say."""

    account_id: int
    version: int
    tick: int
    timestamp_ms: int
    equity_cents: int
    cash_cents: int
    position_value_cents: int
    day_change_cents: int
    day_change_percent_e4: int
    unrealized_cents: int
    realized_cents: int
    net_flow_cents: int
    flags: int


@dataclass(frozen=True, slots=True)
class Valuation:
    """
    The snapshots of one pass as columns, each account at most once.

    ``version``, ``tick`` and ``timestamp_ms`` are the pass's; every column has shape ``(n,)``. ``flags`` are ``Flag`` bits.
    """

    version: int
    tick: int
    timestamp_ms: int
    account_id: Int64Array
    equity_cents: Int64Array
    cash_cents: Int64Array
    position_value_cents: Int64Array
    day_change_cents: Int64Array
    day_change_percent_e4: Int64Array
    unrealized_cents: Int64Array
    realized_cents: Int64Array
    net_flow_cents: Int64Array
    flags: Int64Array

    def __len__(self) -> int:
        return len(self.account_id)

    def snapshot(self, index: int) -> Snapshot:
        """The snapshot at one index of the columns."""
        return Snapshot(
            int(self.account_id[index]),
            self.version,
            self.tick,
            self.timestamp_ms,
            int(self.equity_cents[index]),
            int(self.cash_cents[index]),
            int(self.position_value_cents[index]),
            int(self.day_change_cents[index]),
            int(self.day_change_percent_e4[index]),
            int(self.unrealized_cents[index]),
            int(self.realized_cents[index]),
            int(self.net_flow_cents[index]),
            int(self.flags[index]),
        )


@dataclass(frozen=True, slots=True)
class PositionView:
    """One position as of its account's newest valuation."""

    symbol_id: int
    quantity_bp: int
    avg_cost_cents: int
    basis_cents: int
    mark_cents: int
    mark_source: MarkSource
    mark_time_ms: int
    value_cents: int
    unrealized_cents: int
    realized_cents: int
    updated_ms: int


# --- state, as it is kept ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one table, all of the same length."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        return cls(*(np.empty(0, np.int64) for _ in fields(cls)))


@dataclass(frozen=True, slots=True)
class AccountColumns(Columns):
    """Accounts, live: with everything applied, valued or not. ``dirty`` and ``has_base`` are 0 or 1."""

    account_id: Int64Array
    cash_cents: Int64Array
    net_flow_cents: Int64Array
    realized_cents: Int64Array
    base_equity_cents: Int64Array
    base_net_flow_cents: Int64Array
    has_base: Int64Array
    dirty: Int64Array


@dataclass(frozen=True, slots=True)
class PositionColumns(Columns):
    """Positions, live, and (``valued_``) as of their account's newest valuation."""

    account_id: Int64Array
    symbol_id: Int64Array
    quantity_bp: Int64Array
    basis_cents: Int64Array
    realized_cents: Int64Array
    valued_quantity_bp: Int64Array
    valued_basis_cents: Int64Array
    valued_realized_cents: Int64Array
    updated_ms: Int64Array


@dataclass(frozen=True, slots=True)
class MarkColumns(Columns):
    """Symbols' marks, live, and (``valued_``) as of the last completed tick. ``changed``: 1 if moved since then."""

    symbol_id: Int64Array
    price_cents: Int64Array
    source: Int64Array
    mark_time_ms: Int64Array
    valued_price_cents: Int64Array
    valued_source: Int64Array
    valued_time_ms: Int64Array
    changed: Int64Array


@dataclass(frozen=True, slots=True)
class SnapshotColumns(Columns):
    """The newest snapshot of each account; fields as in ``Snapshot``."""

    account_id: Int64Array
    version: Int64Array
    tick: Int64Array
    timestamp_ms: Int64Array
    equity_cents: Int64Array
    cash_cents: Int64Array
    position_value_cents: Int64Array
    day_change_cents: Int64Array
    day_change_percent_e4: Int64Array
    unrealized_cents: Int64Array
    realized_cents: Int64Array
    net_flow_cents: Int64Array
    flags: Int64Array


@dataclass(frozen=True, slots=True)
class EngineMeta:
    """
    What the engine knows besides its tables.

    Attributes:
        version: The newest valuation pass.
        tick: The last completed tick's id.
        session_start_ms: When the current session began; -1 before the first tick.
        tick_timed: True if the last completed tick carried its own time: then only ticks roll the session.
    """

    version: int = 0
    tick: int = 0
    session_start_ms: int = -1
    tick_timed: bool = False


@dataclass(frozen=True, slots=True)
class EngineState:
    """All of the engine's state, or the part of it that changed since it was last captured."""

    meta: EngineMeta
    accounts: AccountColumns
    positions: PositionColumns
    marks: MarkColumns


# --- the exchange's tables ---------------------------------------------------------------------------------------


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
    """An account as the exchange's tables have it: its cash, and its trades in the order they were settled."""

    account_id: int
    cash_cents: int
    trades: tuple[SettledTrade, ...]


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
    """

    account_id: Int64Array
    cash_cents: Int64Array
    position_account_id: Int64Array
    position_symbol_id: Int64Array
    position_quantity_bp: Int64Array
    position_avg_cost_cents: Int64Array
    price_symbol_id: Int64Array
    price_cents: Int64Array


# --- what a flush carries ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watermark:
    """
    How far one source is applied, and the content of what was applied since the last flush.

    Attributes:
        first_sequence: Sequence of ``digest[0]``.
        digest: Digests of ``first_sequence`` .. ``applied_sequence``, or empty if none is new.
    """

    source: str
    epoch: int
    applied_sequence: int
    first_sequence: int
    digest: UInt64Array


@dataclass(frozen=True, slots=True)
class SettlementColumns(Columns):
    """Settlement ids of unsequenced trades that were applied, in order."""

    account_id: Int64Array
    side: Int64Array
    settlement_id: Int64Array


@dataclass(frozen=True, slots=True)
class UnannouncedColumns(Columns):
    """Trades that were among the rows an account was loaded from, and of which EVS has yet to be told."""

    account_id: Int64Array
    trade_id: Int64Array
    symbol_id: Int64Array
    side: Int64Array
    quantity_bp: Int64Array
    price_cents: Int64Array


@dataclass(frozen=True, slots=True)
class Flush:
    """
    Everything that changed since the flush before, captured in one step: it commits as a whole or not at all.

    Attributes:
        number: Grows by one with each flush, restarts included.
        event_count: Events applied since the flush before.
        state: Changed rows of the engine's tables, and its meta.
        rows: Valuation passes to append to ``equity_timeseries``, ascending by version.
        watermarks: Sources that moved.
        settlements: Settlement ids to remember.
        unannounced_added: Trades read with an account's load.
        unannounced_removed: Of those, the ones announced since: ``account_id`` and ``trade_id`` count.
        latest: With a checkpoint, the newest snapshot of every account; recovery reads no older rows.
    """

    number: int
    event_count: int
    state: EngineState
    rows: tuple[Valuation, ...]
    watermarks: tuple[Watermark, ...]
    settlements: SettlementColumns
    unannounced_added: UnannouncedColumns
    unannounced_removed: UnannouncedColumns
    latest: SnapshotColumns | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """
    What a start finds in Postgres: the fold of exactly the events up to ``watermarks``.

    Attributes:
        flush_number: The last committed flush; 0 if none ever was.
        start_number: This start's own number, already counted up; the high bits of its versions, and its right to write.
        imported: False before the first import of the exchange's tables.
    """

    flush_number: int
    start_number: int
    imported: bool
    state: EngineState
    latest: SnapshotColumns
    watermarks: tuple[Watermark, ...]
    settlements: SettlementColumns
    unannounced: UnannouncedColumns
