"""Valuations, as they go out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evs_server.model.base import BoolArray, Int64Array, MarkSource, quickly_made
from evs_server.model.state import SnapshotColumns


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


class _Column:
    """A name of a ``Valuation``'s for one of its columns, shape ``(n,)``."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, valuation: "Valuation", _owner: type) -> Int64Array:
        column: Int64Array = valuation.columns[self._place]
        return column


@quickly_made
@dataclass(frozen=True, slots=True)
class Valuation:
    """
    The snapshots of one pass, each account at most once.

    Attributes:
        version: The pass's, as are ``tick`` and ``timestamp_ms``.
        columns: Shape ``(10, n)``: a row for each of ``VALUATION_COLUMNS``, which go by their names as well; flags are
            ``Flag`` bits. One array: for a tick that values one account, ten would take longer to make than to fill.
        session_roll: Tells the pass of a session roll from that of a tick or a load.
    """

    version: int
    tick: int
    timestamp_ms: int
    columns: Int64Array
    session_roll: bool = False

    account_id = _Column(0)
    equity_cents = _Column(1)
    cash_cents = _Column(2)
    position_value_cents = _Column(3)
    day_change_cents = _Column(4)
    day_change_percent_e4 = _Column(5)
    unrealized_cents = _Column(6)
    realized_cents = _Column(7)
    net_flow_cents = _Column(8)
    flags = _Column(9)

    def __len__(self) -> int:
        return len(self.account_id)

    def snapshot(self, index: int) -> Snapshot:
        """The snapshot at one index of the columns."""
        account_id, *numbers = self.columns[:, index].tolist()
        return Snapshot(account_id, self.version, self.tick, self.timestamp_ms, *numbers)

    def part(self, wanted: BoolArray | slice) -> "Valuation":
        """The pass with some of its snapshots; of a slice, in the same memory."""
        return Valuation(self.version, self.tick, self.timestamp_ms, self.columns[:, wanted], self.session_roll)

    def selected(self, wanted: BoolArray) -> "Valuation":
        """The same; itself if all are wanted."""
        return self if wanted.all() else self.part(wanted)


VALUATION_COLUMNS: Final = tuple(name for name, each in vars(Valuation).items() if isinstance(each, _Column))
"""What a ``Valuation`` has of each account, in its order: all of a ``Snapshot`` that is not the same for its pass."""


def table_of(passes: Sequence[Valuation]) -> SnapshotColumns:
    """The snapshots of at least one pass, in order."""
    columns = passes[0].columns
    if len(passes) > 1:
        # All columns at once, which takes as long as one of them would: most passes value an account or two.
        columns = np.concatenate([each.columns for each in passes], axis=1)
    of_pass = np.array([(each.version, each.tick, each.timestamp_ms) for each in passes], np.int64).T
    account_id, *numbers = columns
    return SnapshotColumns(account_id, *of_pass.repeat([len(each) for each in passes], axis=1), *numbers)


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
