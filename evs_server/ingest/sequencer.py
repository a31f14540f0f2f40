"""
Who has sent what: dense sequences per source and epoch, repeats told from conflicts (DESIGN 5). Pure.

Invariants: ``durable <= applied``; both only grow within an epoch; a sequence is applied once. Contents are
remembered as 64-bit digests, for the last ``limits.DIGESTS_KEPT`` sequences of a source and in any case back to its
durable one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evs_server.errors import EventConflict, EvsError, Overloaded, SequenceGap, StaleEpoch
from evs_server.limits import DIGESTS_KEPT, EXACT_MAX, SOURCES_MAX, UNDURABLE_EVENTS_MAX
from evs_server.model import Batch, UInt64Array, Watermark, quickly_made

EventId = tuple[str, int, int]
"""Of an event that its sender has numbered: source, epoch, sequence."""


@quickly_made
@dataclass(frozen=True, slots=True)
class Admission:
    """
    What of a batch is new.

    Attributes:
        first_new: Index of the first event to apply; those before are repeats.
        end: Index after the last event that may be applied.
        error: Why the batch ends there, if it does.
    """

    first_new: int
    end: int
    error: EvsError | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class IngestState:
    """How far one source is; all zeros for one never seen."""

    epoch: int = 0
    applied_sequence: int = 0
    durable_sequence: int = 0


class Sequencing(Protocol):
    """Judges what of a batch is new, and keeps how far that is: by source and sequence, or by position in the log."""

    def admit(self, batch: Batch) -> Admission:
        """What of a batch is new; changes nothing."""
        ...

    def advance(self, batch: Batch, first: int, end: int) -> None:
        """Take note that some events of an admitted batch are applied, or refused for good."""
        ...

    def is_next(self, event_id: EventId) -> bool:
        """Whether an event may be applied by itself, without a batch; changes nothing."""
        ...

    def advance_one(self, event_id: EventId, digest: int) -> None:
        """Take note that such an event is applied."""
        ...

    def state(self, source: str) -> IngestState:
        """How far a source is."""
        ...

    def states(self) -> dict[str, IngestState]:
        """How far every source is."""
        ...

    def capture(self) -> tuple[Watermark, ...]:
        """What moved since the last capture."""
        ...

    def mark_durable(self, watermarks: Sequence[Watermark]) -> None:
        """Take note that captured watermarks are committed."""
        ...

    def restore(self, watermarks: Sequence[Watermark]) -> None:
        """Take over committed watermarks."""
        ...


class _Source:
    """One sender's watermarks and the digests of its recent events."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.applied = 0
        self.durable = 0
        self.captured = 0
        self._digest = np.empty(256, np.uint64)
        self._count = 0

    @property
    def first_kept(self) -> int:
        """The oldest sequence whose digest is remembered."""
        return self.applied - self._count + 1

    def digests(self, first: int, end: int) -> UInt64Array:
        """Digests of sequences ``first .. end - 1``, all of which must be remembered."""
        offset = first - self.first_kept
        return self._digest[offset : offset + end - first]

    def append(self, digest: UInt64Array) -> None:
        """Take note of the next applied sequences."""
        self._make_room(len(digest))
        self._digest[self._count : self._count + len(digest)] = digest
        self._count += len(digest)
        self.applied += len(digest)

    def append_one(self, digest: int) -> None:
        """Take note of the next applied sequence."""
        self._make_room(1)
        self._digest[self._count] = digest
        self._count += 1
        self.applied += 1

    def _make_room(self, count: int) -> None:
        if self._count + count <= len(self._digest):
            return
        self._trim()
        needed = self._count + count
        if 4 * needed > 3 * len(self._digest):
            # As much again: with little room, what is kept would be moved for every few batches.
            grown = np.empty(2 * needed, np.uint64)
            grown[: self._count] = self._digest[: self._count]
            self._digest = grown

    def _trim(self) -> None:
        kept = max(DIGESTS_KEPT, self.applied - min(self.durable, self.captured))
        if self._count > kept:
            self._digest[:kept] = self._digest[self._count - kept : self._count].copy()
            self._count = kept


class Sequencer:
    """Judges batches of sequenced senders, and keeps their watermarks."""

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}

    def admit(self, batch: Batch) -> Admission:
        """What of a batch is new; changes nothing."""
        if not batch.first_sequence:
            return Admission(0, len(batch))
        source = self._sources.get(batch.source)
        if source is None:
            if len(self._sources) >= SOURCES_MAX:
                return Admission(0, 0, Overloaded(f"{SOURCES_MAX} sources are known already", bound=SOURCES_MAX))
            return self._admit_after(batch, 0)
        if batch.epoch < source.epoch:
            return Admission(0, 0, _stale(batch, source.epoch))
        if batch.epoch > source.epoch:
            return self._admit_after(batch, 0)
        return self._admit_after(batch, source.applied, source)

    def advance(self, batch: Batch, first: int, end: int) -> None:
        """Take note that the events at ``first .. end - 1`` of an admitted batch are applied, or refused for good."""
        if not batch.first_sequence or first >= end:
            return
        source = self._sources.get(batch.source)
        if source is None or source.epoch != batch.epoch:
            source = self._sources[batch.source] = _Source(batch.epoch)
        assert batch.first_sequence + first == source.applied + 1
        source.append(batch.digest[first:end])

    def is_next(self, event_id: EventId) -> bool:
        """Whether an event is the next of a source that is known, in its epoch, and there is room for it."""
        name, epoch, sequence = event_id
        source = self._sources.get(name)
        return (
            source is not None
            and epoch == source.epoch
            and sequence == source.applied + 1 <= EXACT_MAX
            and source.applied - source.durable < UNDURABLE_EVENTS_MAX
        )

    def advance_one(self, event_id: EventId, digest: int) -> None:
        """Take note that the next event of a source is applied."""
        name, _, sequence = event_id
        source = self._sources[name]
        assert sequence == source.applied + 1
        source.append_one(digest)

    def state(self, source: str) -> IngestState:
        """How far a source is."""
        known = self._sources.get(source)
        return IngestState(known.epoch, known.applied, known.durable) if known else IngestState()

    def states(self) -> dict[str, IngestState]:
        """How far every source is."""
        return {name: self.state(name) for name in self._sources}

    def capture(self) -> tuple[Watermark, ...]:
        """The sources that moved since the last capture, with the digests of what they sent."""
        moved = []
        for name, source in self._sources.items():
            if source.applied > source.captured:
                first = source.captured + 1
                digest = source.digests(first, source.applied + 1).copy()
                moved.append(Watermark(name, source.epoch, source.applied, first, digest))
                source.captured = source.applied
        return tuple(moved)

    def mark_durable(self, watermarks: Sequence[Watermark]) -> None:
        """Take note that captured watermarks are committed."""
        for watermark in watermarks:
            source = self._sources[watermark.source]
            if watermark.epoch == source.epoch:
                assert watermark.applied_sequence <= source.applied
                source.durable = max(source.durable, watermark.applied_sequence)

    def restore(self, watermarks: Sequence[Watermark]) -> None:
        """Take over committed watermarks; what they cover is durable."""
        assert not self._sources, "restore into a new sequencer"
        for watermark in watermarks:
            source = self._sources[watermark.source] = _Source(watermark.epoch)
            source.applied = watermark.applied_sequence - len(watermark.digest)
            source.append(watermark.digest)
            source.durable = source.captured = source.applied

    def _admit_after(self, batch: Batch, applied: int, source: _Source | None = None) -> Admission:
        expected = applied + 1
        if batch.first_sequence > expected:
            return Admission(0, 0, _gap(batch, expected))
        first_new = min(expected - batch.first_sequence, len(batch))
        if source is None:
            return Admission(first_new, len(batch))
        conflict = self._conflict(batch, first_new, source)
        if conflict is not None:
            return Admission(conflict, conflict, _conflict(batch, conflict))
        waiting = source.applied - source.durable
        if waiting + len(batch) - first_new > UNDURABLE_EVENTS_MAX:
            error = Overloaded(
                f"{waiting} events of source {batch.source} wait to become durable, the most is {UNDURABLE_EVENTS_MAX}",
                waiting=waiting,
                bound=UNDURABLE_EVENTS_MAX,
            )
            return Admission(first_new, first_new, error)
        return Admission(first_new, len(batch))

    @staticmethod
    def _conflict(batch: Batch, end: int, source: _Source) -> int | None:
        first = max(source.first_kept - batch.first_sequence, 0)
        if first >= end:
            return None
        known = source.digests(batch.first_sequence + first, batch.first_sequence + end)
        differing = np.flatnonzero(batch.digest[first:end] != known)
        return first + int(differing[0]) if len(differing) else None


def _gap(batch: Batch, expected: int) -> SequenceGap:
    return SequenceGap(
        f"sequence {batch.first_sequence} of source {batch.source}, epoch {batch.epoch}, is not the next: "
        f"expected {expected}",
        source=batch.source,
        epoch=batch.epoch,
        sequence=batch.first_sequence,
        expected=expected,
    )


def _stale(batch: Batch, current: int) -> StaleEpoch:
    return StaleEpoch(
        f"epoch {batch.epoch} of source {batch.source} is over: the current one is {current}",
        source=batch.source,
        epoch=batch.epoch,
        current=current,
    )


def _conflict(batch: Batch, index: int) -> EventConflict:
    sequence = batch.first_sequence + index
    return EventConflict(
        f"sequence {sequence} of source {batch.source}, epoch {batch.epoch}, was applied with other content",
        source=batch.source,
        epoch=batch.epoch,
        sequence=sequence,
    )
