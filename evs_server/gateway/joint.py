"""
Batches that go into the log together, and what has become of each. Pure.

What a batch costs, the log and all shards, hardly depends on its size. So what a sender has sent while the batch before
was on its way goes in as one: what a sender could have sent as one, no larger than that may be, and judged, divided and
applied as that would be. Only its answer is for each batch by itself. Of a joint batch only the last may hold ticks:
so it is clear whose the accounts are that were valued.

A worked example: batches of sequences 8 and 9, and 10 to 12, where 8 was applied before. Jointly they are 8 to 12, of
which one is a repeat; the first has that repeat, and its source was at 9 with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np

from evs_server.errors import RequestError
from evs_server.gateway.hearing import Told
from evs_server.ingest.course import Outcome
from evs_server.ingest.sequencer import IngestState
from evs_server.limits import BATCH_EVENTS_MAX, MESSAGE_BYTES_MAX
from evs_server.model import Batch, TickRun


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch as it was read, and how many bytes of the wire it was."""

    batch: Batch
    byte_count: int


@dataclass(frozen=True, slots=True)
class Placed:
    """
    A batch that was judged and, as far as it had to be, put into the log. Its events are not kept.

    Attributes:
        source: Who sent it.
        first_sequence: Of the batch; 0 if unsequenced.
        event_count: How many events it has.
        outcome: What has become of it, but for what shards say.
        state: How far its source was with it, and with nothing that came after.
        told: What shards have said by now of that as which it went in.
        first_index: Its place in that.
        is_last: Whether nothing of that comes after it.
        shards: Those whose answer its caller is owed; none if nothing of it had to be put in.
        position: Where in the log it begins.
    """

    source: str
    first_sequence: int
    event_count: int
    outcome: Outcome
    state: IngestState
    told: Told = field(default_factory=Told)
    first_index: int = 0
    is_last: bool = True
    shards: Collection[int] = ()
    position: int = 0

    def with_told(self) -> Outcome:
        """What has become of it, with what shards have said of it by now."""
        first, end, refusals = self.first_index, self.first_index + self.event_count, self.outcome.refusals
        told = {
            index - first: error
            for index, error in self.told.refusals.items()
            if first <= index < end and isinstance(error, RequestError)
        }
        if told:
            refusals = dict(sorted((refusals | told).items()))
        accounts_valued = self.told.accounts_valued if self.is_last else 0
        return replace(self.outcome, accounts_valued=accounts_valued, refusals=refusals)


def joinable(sent: Sequence[Sent]) -> int:
    """How many batches, from the first on, can go into the log as one; at least one, if there is any."""
    event_count = byte_count = 0
    for number, each in enumerate(sent):
        event_count, byte_count = event_count + len(each.batch), byte_count + each.byte_count
        too_much = event_count > BATCH_EVENTS_MAX or byte_count > MESSAGE_BYTES_MAX
        if number and (too_much or not _follows(sent[number - 1].batch, each.batch)):
            return number
    return len(sent)


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches, each the next after the one before, as one."""
    first = batches[0]
    return replace(
        first,
        runs=tuple(run for batch in batches for run in batch.runs),
        digest=np.concatenate([batch.digest for batch in batches]),
        refusals={
            start + index: error
            for start, batch in zip(_starts(batches), batches, strict=True)
            for index, error in batch.refusals.items()
        },
    )


def parted(joint: Placed, batches: Sequence[Batch]) -> list[Placed]:
    """
    What has become of each of some batches.

    Args:
        joint: What has become of them together, without an error.
        batches: They.
    """
    assert joint.outcome.error is None, "where a joint batch ends early, each of it is judged by itself"
    parts = [_part(joint, start, batch) for start, batch in zip(_starts(batches), batches, strict=True)]
    return [*parts[:-1], replace(parts[-1], is_last=True)]


def _follows(before: Batch, batch: Batch) -> bool:
    """Whether a batch can stand behind another in a joint one; an empty one opens no epoch, and stays alone."""
    return (
        min(batch.first_sequence, len(before), len(batch)) > 0
        and (batch.source, batch.epoch) == (before.source, before.epoch)
        and batch.first_sequence == before.first_sequence + len(before)
        and not any(isinstance(run, TickRun) for run in before.runs)
    )


def _starts(batches: Sequence[Batch]) -> list[int]:
    return list(accumulate((len(batch) for batch in batches[:-1]), initial=0))


def _part(joint: Placed, start: int, batch: Batch) -> Placed:
    end, repeats, known = start + len(batch), joint.outcome.duplicate_count, joint.state
    # With nothing new in it the source was further, or as far; otherwise where this batch or what was known ends.
    is_all_known = repeats >= joint.event_count
    applied = known.applied_sequence if is_all_known else joint.first_sequence - 1 + max(end, repeats)
    return replace(
        joint,
        first_sequence=batch.first_sequence,
        event_count=len(batch),
        outcome=Outcome(
            duplicate_count=min(max(repeats - start, 0), len(batch)),
            end=len(batch),
            refusals={index - start: error for index, error in joint.outcome.refusals.items() if start <= index < end},
        ),
        state=IngestState(known.epoch, applied, min(known.durable_sequence, applied)),
        first_index=start,
        is_last=False,
    )
