"""The engine's state, as it is kept. Pure."""

from dataclasses import dataclass

from evs_server.model.base import Columns, Int64Array, quickly_made


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
    """
    Positions, live, and (``valued_``) as of their account's newest valuation.

    ``listed`` is 1 once a valuation has seen the position.
    """

    account_id: Int64Array
    symbol_id: Int64Array
    quantity_bp: Int64Array
    basis_cents: Int64Array
    realized_cents: Int64Array
    valued_quantity_bp: Int64Array
    valued_basis_cents: Int64Array
    valued_realized_cents: Int64Array
    updated_ms: Int64Array
    listed: Int64Array


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


@quickly_made
@dataclass(frozen=True, slots=True)
class EngineMeta:
    """
    What the engine knows besides its tables.

    Attributes:
        version: The newest valuation pass.
        tick: The last completed tick's id.
        session_start_ms: When the current session began; -1 before the first tick.
        tick_time_ms: The last completed tick's own time; 0 if it carried none. Where ticks carry theirs, only they roll
            the session.
    """

    version: int = 0
    tick: int = 0
    session_start_ms: int = -1
    tick_time_ms: int = 0


@dataclass(frozen=True, slots=True)
class EngineState:
    """All of the engine's state, or the part of it that changed since it was last captured."""

    meta: EngineMeta
    accounts: AccountColumns
    positions: PositionColumns
    marks: MarkColumns
