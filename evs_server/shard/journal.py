"""
The journal of the log, folded: how far each source is, as the keeper commits it. Pure.

Whoever puts a batch into the log has judged it, so that entries of one source follow each other without a gap. An entry
that begins before what is known is of a log that is read again; what it repeats is passed over.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from evs_server.cluster.parts import JournalEntry
from evs_server.cluster.shards import LOG
from evs_server.ingest.sequencer import Sequencer
from evs_server.model import Batch, Watermark

_EPOCH: Final = 1
_NO_DIGESTS: Final = np.empty(0, np.uint64)


class FoldedJournal:
    """
    Sources, and how far the journal is folded into them.

    Attributes:
        applied: The position of the last entry folded.
        committed: The same of what is committed.
    """

    def __init__(self) -> None:
        self._sequencer = Sequencer()
        self._captured = 0
        self.applied = 0
        self.committed = 0

    def fold(self, position: int, entry: JournalEntry) -> None:
        """Take note of the entry at a position; those of one source come in order."""
        assert position > self.applied, f"the entry at {position} comes after that at {self.applied}"
        self.applied = position
        known = self._sequencer.state(entry.source)
        if not entry.first_sequence or entry.epoch < known.epoch:
            return
        applied = known.applied_sequence if entry.epoch == known.epoch else 0
        first_new = min(applied + 1 - entry.first_sequence, len(entry.digest))
        assert first_new >= 0, f"the journal of {entry.source} goes from {applied} to {entry.first_sequence}"
        batch = Batch(entry.source, entry.epoch, entry.first_sequence, (), entry.digest, {})
        self._sequencer.advance(batch, first_new, len(entry.digest))

    def capture(self) -> tuple[Watermark, ...]:
        """What has moved since the last capture: the keeper's own position, and the sources; nothing if it has not."""
        if self.applied == self._captured:
            return ()
        self._captured = self.applied
        own = Watermark(LOG, _EPOCH, self.applied, self.applied + 1, _NO_DIGESTS)
        return (own, *self._sequencer.capture())

    def mark_durable(self, watermarks: Sequence[Watermark]) -> None:
        """Take note that captured watermarks are committed."""
        for watermark in watermarks:
            if watermark.source == LOG:
                self.committed = max(self.committed, watermark.applied_sequence)
        self._sequencer.mark_durable([each for each in watermarks if each.source != LOG])

    def restore(self, watermarks: Sequence[Watermark]) -> None:
        """Take over what is committed."""
        for watermark in watermarks:
            if watermark.source == LOG:
                self.applied = self.committed = self._captured = watermark.applied_sequence
        self._sequencer.restore([each for each in watermarks if each.source != LOG])
