"""Events, as they come in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from evs_server.errors import RequestError
from evs_server.model.base import Int64Array, UInt64Array


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
