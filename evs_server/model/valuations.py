"""Valuations, as they go out. Pure."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from evs_server.model.base import BoolArray, Int64Array, MarkSource, quickly_made


@quickly_made
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


@quickly_made
@dataclass(frozen=True, slots=True)
class Valuation:
    """
    The snapshots of one pass as columns, each account at most once.

    ``version``, ``tick`` and ``timestamp_ms`` are the pass's; columns have shape ``(n,)``. ``flags`` are ``Flag`` bits.
    ``session_roll`` tells the pass of a session roll from that of a tick or a load.
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
    session_roll: bool = False

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

    def selected(self, wanted: BoolArray) -> "Valuation":
        """The pass with some of its snapshots; itself if all are wanted."""
        if wanted.all():
            return self
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        parts |= {name: value[wanted] for name, value in parts.items() if isinstance(value, np.ndarray)}
        return Valuation(**parts)


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
