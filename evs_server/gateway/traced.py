"""
The inlet followed by spans: the same results, and a trace that goes on in the log, with whoever applies its batches.

Made by ``app`` in the place of its plain kin, and only where traces are asked for (``metrics.traced``).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from evs_server.gateway.inlet import Inlet
from evs_server.gateway.joint import Placed
from evs_server.model import Batch

if TYPE_CHECKING:
    from evs_server.telemetry.spans import Tracing


class TracedInlet(Inlet):
    """An inlet that follows the taking of each batch, until it is in the log."""

    def __init__(self, *arguments: Any, tracing: "Tracing", **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._tracing = tracing

    async def put(self, batch: Batch, behind: Sequence[Placed] = (), *, whole: bool = False) -> Placed:
        """As ``Inlet.put``."""
        with self._tracing.batch() as told:
            told["evs.events"] = len(batch)
            placed = await super().put(batch, behind, whole=whole)
            told["evs.duplicates"] = placed.outcome.duplicate_count
            told["evs.refusals"] = len(placed.outcome.refusals)
        return placed


def inlet_kind(tracing: "Tracing | None") -> Callable[..., Inlet]:
    """The inlet as it is or, with traces, the one that is followed."""
    return Inlet if tracing is None else partial(TracedInlet, tracing=tracing)


def carried(tracing: "Tracing | None") -> Callable[[], str]:
    """Says what is going on, as ``traceparent`` has it; nothing without traces."""
    return (lambda: "") if tracing is None else tracing.carried
