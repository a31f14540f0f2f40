"""
How many events of each kind came in, and what became of them. Pure; plain counts, read when somebody looks.

A batch costs one look at its runs, however many events they hold.
"""

from bisect import bisect_left
from collections import Counter
from typing import Final

from evs_server.errors import EventConflict, EvsError, SequenceGap, StaleEpoch
from evs_server.ingest.intake import Outcome
from evs_server.model import Batch, CashRun, ObservedRun, PriceRun, Run, TickRun, TradeRun

KINDS: Final[dict[type[Run], str]] = {TradeRun: "trade", PriceRun: "price", CashRun: "cash", TickRun: "tick"}
_KIND_OF: Final = KINDS | {ObservedRun: "observed"}
"""With what comes from the log alone, and is shown where there is one."""

APPLIED: Final = "applied"
DUPLICATE: Final = "duplicate"
REFUSED: Final = "refused"
NOT_TAKEN: Final = "not_taken"
OUTCOMES: Final = (APPLIED, DUPLICATE, REFUSED, NOT_TAKEN)
"""What becomes of an event; one not taken (a gap, too many at once) is to be sent again."""


_ALL_APPLIED: Final = {run: (kind, APPLIED) for run, kind in _KIND_OF.items()}

NUMBERED_WRONGLY: Final = (SequenceGap.reason, EventConflict.reason, StaleEpoch.reason)
"""Why batches end of senders whose numbers do not fit."""


class Tally:
    """
    Counts of events since the start.

    Attributes:
        events: By kind and outcome.
        refusals: Of events refused, and of what ended batches early, by reason.
        known_batch_count: Batches whose accounts were all in memory.
    """

    def __init__(self) -> None:
        self.events = Counter({(kind, outcome): 0 for kind in KINDS.values() for outcome in OUTCOMES})
        # There from the beginning: Prometheus sees no growth in a count that appears with its first.
        self.refusals: Counter[str] = Counter(dict.fromkeys(NUMBERED_WRONGLY, 0))
        self.known_batch_count = 0

    def count_single(self, kind: type[Run]) -> None:
        """Count an event that was applied by itself, its account in memory."""
        self.events[_ALL_APPLIED[kind]] += 1
        self.known_batch_count += 1

    def count(self, batch: Batch, outcome: Outcome) -> None:
        """Count what became of a batch."""
        if outcome.error is None and not (outcome.refusals or outcome.duplicate_count):
            for run in batch.runs:
                self.events[_ALL_APPLIED[type(run)]] += len(run)
            return
        self._count_mixed(batch, outcome)

    def _count_mixed(self, batch: Batch, outcome: Outcome) -> None:
        # Repeats of a sequenced sender come first, by position; of others only trades are known to be repeats.
        first_new = outcome.duplicate_count if batch.first_sequence else 0
        retried = 0 if batch.first_sequence else outcome.duplicate_count
        refused_at = list(outcome.refusals)
        start = 0
        for run in batch.runs:
            kind, stop = _KIND_OF[type(run)], start + len(run)
            repeated = min(max(first_new - start, 0), len(run))
            not_taken = min(max(stop - max(outcome.end, first_new), 0), len(run) - repeated)
            refused = bisect_left(refused_at, stop) - bisect_left(refused_at, start) if refused_at else 0
            applied = len(run) - repeated - not_taken - refused
            if retried and kind == "trade":
                again = min(retried, applied)
                retried, applied, repeated = retried - again, applied - again, repeated + again
            for what, number in ((APPLIED, applied), (DUPLICATE, repeated), (REFUSED, refused), (NOT_TAKEN, not_taken)):
                if number:
                    self.events[kind, what] += number
            start = stop
        for error in outcome.refusals.values():
            self.refusals[error.reason] += 1
        if outcome.error is not None:
            self.refusals[outcome.error.reason] += 1

    def count_untaken(self, batch: Batch, error: EvsError) -> None:
        """Count a batch that was not taken at all."""
        for run in batch.runs:
            self.events[_KIND_OF[type(run)], NOT_TAKEN] += len(run)
        self.refusals[error.reason] += 1
