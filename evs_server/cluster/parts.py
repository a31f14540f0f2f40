"""
What a batch becomes in the log: parts, each for those whom it concerns, and an entry in the journal. Pure; values.

The parts of shards come first, that for all after them, the journal entry last; all of it stands side by side. A small
batch's journal entry carries the parts itself: one entry is put in faster than several that belong together, and what
every shard then reads in vain is small.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from evs_server.model import Int64Array, Run, UInt64Array


@dataclass(frozen=True, slots=True)
class PartRun:
    """Consecutive events of one kind; ``index`` is each event's place in the batch as it was sent, ascending."""

    index: Int64Array
    run: Run

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class Part:
    """
    What of one batch concerns one virtual shard (trades, flows), or all of them (prices, observed ones, ticks).

    Attributes:
        taken_ms: The gateway's clock when it took the batch.
        source: Who sent it; empty if unsequenced.
        first_sequence: Sequence of the event of index 0 in the batch; 0 if unsequenced.
        batch_id: The same in all parts of the batch.
        runs: In order; no event is refused.
        shared_follows: On a shard's part, whether a part for all follows.
    """

    taken_ms: int
    source: str
    epoch: int
    first_sequence: int
    batch_id: str
    runs: tuple[PartRun, ...]
    shared_follows: bool = False


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """
    Which sequences of a source a batch was.

    Attributes:
        source: Who sent it, or the gateway's own name if unsequenced.
        first_sequence: Sequence of ``digest[0]``; 0 if unsequenced.
        digest: Of every event that counts as applied, refused ones too; empty if unsequenced.
        touched_shards: Bit k: virtual shard k has a part of the batch.
        shared: Whether there is a part for all.
        carried: Whether the entry carries the parts; otherwise they stand before it.
    """

    source: str
    epoch: int
    first_sequence: int
    digest: UInt64Array
    batch_id: str
    touched_shards: int
    shared: bool
    carried: bool = False

    @property
    def part_count(self) -> int:
        """How many parts stand before the entry: so far back the first one is."""
        return 0 if self.carried else self.touched_shards.bit_count() + self.shared

    def touches(self, shard: int) -> bool:
        """Whether a virtual shard has to apply anything of the batch."""
        return self.shared or bool(self.touched_shards >> shard & 1)


@dataclass(frozen=True, slots=True)
class Parts:
    """A whole batch: the parts of shards, ascending by shard, the one for all, if any, and the journal entry."""

    of_shard: Mapping[int, Part]
    shared: Part | None
    journal: JournalEntry
