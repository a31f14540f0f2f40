"""Events, as they come in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from evs_server.errors import RequestError
from evs_server.model.base import Int64Array, UInt64Array, quickly_made


@quickly_made
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


@quickly_made
@dataclass(frozen=True, slots=True)
class PriceRun:
    """New marks, one after the other."""

    symbol_id: Int64Array
    price_cents: Int64Array

    def __len__(self) -> int:
        return len(self.symbol_id)


@quickly_made
@dataclass(frozen=True, slots=True)
class CashRun:
    """Flows, one after the other."""

    account_id: Int64Array
    amount_cents: Int64Array
    reason: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.account_id)


@quickly_made
@dataclass(frozen=True, slots=True)
class TickRun:
    """Tick completions, one after the other; ``tick_time_ms`` 0 is EVS's clock."""

    tick: Int64Array
    tick_time_ms: Int64Array

    def __len__(self) -> int:
        return len(self.tick)


@quickly_made
@dataclass(frozen=True, slots=True)
class ObservedRun:
    """
    Prices of settled trades, one after the other: each moves its symbol's mark where no price has been set for that.

    Only batches from the log have them. There, trades go to the shards of their accounts alone, while what they say
    of a symbol concerns its holders everywhere; so it comes apart, and the trades themselves move no mark.
    """

    symbol_id: Int64Array
    price_cents: Int64Array

    def __len__(self) -> int:
        return len(self.symbol_id)


Run = TradeRun | PriceRun | CashRun | TickRun | ObservedRun


def part_of(run: Run, first: int, end: int) -> Run:
    """The events of a run from ``first`` to before ``end``, in the same memory."""
    if first == 0 and end == len(run):
        return run
    return type(run)(*(getattr(run, name)[first:end] for name in run.__dataclass_fields__))


@quickly_made
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
        position: Where in the log it ends; 0 if it is not from the log. What follows is about such a batch alone.
        taken_ms: The clock of whoever put it there: that of every reader while it applies it.
        index: Of each event, its place in the batch as it was sent; shape ``(n,)``. The reader has only what concerns
            it, so the source's sequences do not follow by one. An observed price has the place of the trade it was seen
            in, and may stand before trades of lower places; otherwise places ascend.
        trace: Of the call that it came by, as ``traceparent`` has it; empty if none is followed.
        has_more: Whether slices of the same batch follow: its position counts once the last of them is applied.
    """

    source: str
    epoch: int
    first_sequence: int
    runs: tuple[Run, ...]
    digest: UInt64Array
    refusals: Mapping[int, RequestError]
    position: int = 0
    taken_ms: int = 0
    index: Int64Array | None = None
    trace: str = ""
    has_more: bool = False

    def __len__(self) -> int:
        return len(self.digest)
