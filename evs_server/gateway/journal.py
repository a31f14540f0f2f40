"""
How far every source is, as the fold of the log's journal. Pure.

Each batch in the log ends with an entry that says which sequences of which source it was. Whoever folds these entries
in order knows what the next batch of a source may be; so any gateway can judge any sender, and a new one knows what
those before it knew. What is *applied* is in the log. What is *durable* has been committed by every shard that has a
part of it, and by the keeper, who commits the journal itself.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from evs_server.cluster.parts import JournalEntry
from evs_server.cluster.shards import KEEPER, SHARD_COUNT
from evs_server.ingest.sequencer import Admission, IngestState, Sequencer
from evs_server.model import Batch, Watermark

_ALL_SHARDS: Final = range(SHARD_COUNT)
_NO_DIGESTS: Final = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A batch that is in the log and not yet committed by all: places in the log, and sequences of its source."""

    first_position: int
    position: int
    shards: Sequence[int]
    epoch: int
    before: int
    last: int


class Journal:
    """
    The sources, and where their last entries are.

    Attributes:
        position: Up to here everything is folded.
    """

    def __init__(self) -> None:
        self._sequencer = Sequencer()
        self._last: dict[str, int] = {}
        self._waiting: dict[str, deque[_Waiting]] = {}
        self.position = 0

    def restore(self, watermarks: Sequence[Watermark], kept_position: int, position: int) -> None:
        """
        Begin with what the keeper has committed.

        Args:
            watermarks: Of the sources, with the digests that are remembered.
            kept_position: Up to which the keeper has folded the journal into them.
            position: After which entries follow now: that up to which every shard has committed, or less.
        """
        assert position <= kept_position, "entries that shards have yet to commit are folded again"
        self._sequencer.restore(watermarks)
        self.position = position

    def admit(self, batch: Batch) -> Admission:
        """As ``Sequencer.admit``."""
        return self._sequencer.admit(batch)

    def last_position(self, source: str) -> int:
        """Where the last entry of a source is; 0 if there is none that is known of."""
        return self._last.get(source, 0)

    def correct_last(self, source: str, position: int) -> None:
        """Take note of where the log says that it is: older entries are dropped from the log some day."""
        self._last[source] = position

    def fold(self, position: int, entry: JournalEntry) -> bool:
        """
        Whether an entry was new here; entries of one source come in order, those of this gateway twice.

        Args:
            position: Where in the log it is.
        """
        if position <= self._last.get(entry.source, 0):
            return False
        self._last[entry.source] = position
        if entry.first_sequence:
            self._advance(entry)
            self._wait(position, entry)
        return True

    def settle(self, committed: Mapping[int, int]) -> bool:
        """
        Whether more is durable now than before.

        Args:
            committed: By shard, the keeper included, the position up to which it has committed everything.
        """
        everywhere = min(committed[shard] for shard in _ALL_SHARDS)
        moved = False
        for source, waiting in self._waiting.items():
            while waiting and _is_durable(waiting[0], committed, everywhere):
                done = waiting.popleft()
                moved = True
                if self._sequencer.state(source).epoch == done.epoch:
                    self._sequencer.mark_durable(
                        (Watermark(source, done.epoch, done.last, done.last + 1, _NO_DIGESTS),)
                    )
        return moved

    def state(self, source: str) -> IngestState:
        """How far a source is."""
        known, waiting = self._sequencer.state(source), self._waiting.get(source)
        if not waiting:
            return IngestState(known.epoch, known.applied_sequence, known.applied_sequence)
        oldest = waiting[0]
        return IngestState(known.epoch, known.applied_sequence, oldest.before if oldest.epoch == known.epoch else 0)

    def waiting_count(self) -> int:
        """How many batches are in the log and not yet durable."""
        return sum(len(waiting) for waiting in self._waiting.values())

    def _advance(self, entry: JournalEntry) -> None:
        known = self._sequencer.state(entry.source)
        if entry.epoch < known.epoch:
            return
        applied = known.applied_sequence if entry.epoch == known.epoch else 0
        first_new = min(applied + 1 - entry.first_sequence, len(entry.digest))
        assert first_new >= 0, f"the journal of {entry.source} jumps from {applied} to {entry.first_sequence}"
        batch = Batch(entry.source, entry.epoch, entry.first_sequence, (), entry.digest, {})
        self._sequencer.advance(batch, first_new, len(entry.digest))

    def _wait(self, position: int, entry: JournalEntry) -> None:
        self._waiting.setdefault(entry.source, deque()).append(
            _Waiting(
                position - entry.part_count,
                position,
                [shard for shard in _ALL_SHARDS if entry.touches(shard)],
                entry.epoch,
                entry.first_sequence - 1,
                entry.first_sequence + len(entry.digest) - 1,
            )
        )


def _is_durable(waiting: _Waiting, committed: Mapping[int, int], everywhere: int) -> bool:
    if committed[KEEPER] < waiting.position:
        return False
    # A shard that has committed anything from the batch's first part on has committed its own part of it.
    first = waiting.first_position
    return everywhere >= first or all(committed[shard] >= first for shard in waiting.shards)
