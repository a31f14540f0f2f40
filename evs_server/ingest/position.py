"""
How far a reader of the log is: what takes the sequencer's place where events come from the log. Pure.

Whoever put a batch into the log has judged it: sources, epochs and sequences are in order there, and a repeat is not
put in. What is left to tell apart is what this reader has applied and what it has not, and that is a position. Batches
from the log are applied whole, if in slices, with nothing captured in between: a position never points into one.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from evs_server.cluster.shards import LOG
from evs_server.ingest.sequencer import Admission, EventId, IngestState
from evs_server.model import Batch, Watermark

__all__ = ["LOG", "LogPosition"]

_EPOCH: Final = 1
_NO_DIGESTS: Final = np.empty(0, np.uint64)


class LogPosition:
    """
    As ``Sequencer``, for batches from the log. Invariants: ``committed <= applied``; both only grow.

    Attributes:
        applied: Where the last batch ends that was applied.
        committed: The same of what is committed.
    """

    def __init__(self) -> None:
        self._captured = 0
        self.applied = 0
        self.committed = 0

    def admit(self, batch: Batch) -> Admission:
        """What of a batch is new: all of it, or nothing; changes nothing."""
        assert batch.position > 0, "a batch from the log has a position"
        return Admission(0 if batch.position > self.applied else len(batch), len(batch))

    def advance(self, batch: Batch, first: int, end: int) -> None:
        """Take note that the events before ``end`` of an admitted batch are applied, or refused for good."""
        assert first <= end
        if end == len(batch) and not batch.has_more:
            self.pass_by(batch.position)

    def is_next(self, event_id: EventId) -> bool:  # noqa: ARG002 - whatever it says
        """No event is taken by itself: the log holds batches."""
        return False

    def advance_one(self, event_id: EventId, digest: int) -> None:  # noqa: ARG002 - whatever they are
        """As ``is_next``."""
        raise AssertionError("an event of the log comes in a batch")

    def pass_by(self, position: int) -> None:
        """Take note that nothing up to a position is left to apply."""
        assert position >= self.applied, f"position {position} comes after {self.applied}"
        self.applied = position

    def state(self, source: str) -> IngestState:  # noqa: ARG002 - there is one log
        """As of ``Sequencer``, of the log whatever the source: how far sources are is known where they call."""
        return IngestState(_EPOCH, self.applied, self.committed)

    def states(self) -> dict[str, IngestState]:
        """How far the log is read."""
        return {LOG: self.state(LOG)}

    def capture(self) -> tuple[Watermark, ...]:
        """The position, if it has moved since the last capture."""
        if self.applied == self._captured:
            return ()
        self._captured = self.applied
        return (Watermark(LOG, _EPOCH, self.applied, self.applied + 1, _NO_DIGESTS),)

    def mark_durable(self, watermarks: Sequence[Watermark]) -> None:
        """Take note that a captured position is committed."""
        for watermark in watermarks:
            self.committed = max(self.committed, watermark.applied_sequence)

    def restore(self, watermarks: Sequence[Watermark]) -> None:
        """Take over a committed position."""
        assert not self.applied, "restore into a new position"
        for watermark in watermarks:
            assert watermark.source == LOG, f"a slice of the store has the watermark of {watermark.source}"
            self.applied = self.committed = self._captured = watermark.applied_sequence
