"""
From parts back to what one virtual shard has to apply. Pure.

A shard's own part of a batch and the part for all are two lists of events of one order. They meet at prices and ticks:
what was sent before one is applied before it. Observed prices come before the trades they were seen in, so that those
find the mark they would have made. Anything finer would be work for nothing: trades from the log move no mark.
"""

from typing import NamedTuple

import numpy as np

from evs_server.cluster import subjects
from evs_server.cluster.codec import decode_carried, decode_part
from evs_server.cluster.parts import Part, PartRun
from evs_server.cluster.ports import Entry
from evs_server.errors import LogGap
from evs_server.model import Batch, Int64Array, ObservedRun, Run, part_of


def join(own: Part | None, shared: Part | None, position: int, trace: str = "") -> Batch:
    """
    One batch as one virtual shard has to apply it.

    Args:
        own: The shard's part, if it has one.
        shared: The part for all, if there is one.
        position: Where in the log the later of them is.
        trace: What it belongs to, as ``traceparent`` has it.
    """
    part = own or shared
    assert part is not None, "a batch is at least one part"
    if own is None or shared is None:
        runs = list(part.runs)
    else:
        assert own.batch_id == shared.batch_id
        runs = _interleaved(own, shared)
    index = np.concatenate([run.index for run in runs]) if runs else np.empty(0, np.int64)
    return Batch(
        part.source,
        part.epoch,
        part.first_sequence,
        tuple(run.run for run in runs),
        np.zeros(len(index), np.uint64),  # known to whoever numbered them
        {},
        position,
        part.taken_ms,
        index,
        trace,
    )


class Joined(NamedTuple):
    """A batch, and the name that it has in the log."""

    batch: Batch
    batch_id: str


class Joining:
    """
    What one virtual shard reads in the log, one entry after the other, back into batches.

    Args:
        shard: Which one.
    """

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._own: Part | None = None

    def take(self, entry: Entry) -> Joined | None:
        """
        The batch that an entry completes for this shard, if it does.

        Raises:
            LogGap: If the part for all that had to come before it has not.
        """
        own, self._own = self._own, None
        if entry.subject == subjects.SHARED:
            shared = decode_part(entry.data)
            if own is not None and own.batch_id != shared.batch_id:
                raise _missing(own, entry.position)
            return _joined(own, shared, entry)
        if own is not None:
            raise _missing(own, entry.position)
        if entry.subject == subjects.of_shard(self._shard):
            part = decode_part(entry.data)
            if not part.shared_follows:
                return _joined(part, None, entry)
            self._own = part
            return None
        return _joined(*decode_carried(entry.data, self._shard), entry)


def _joined(own: Part | None, shared: Part | None, entry: Entry) -> Joined | None:
    part = own or shared
    return Joined(join(own, shared, entry.position, entry.trace), part.batch_id) if part is not None else None


def _missing(own: Part, position: int) -> LogGap:
    return LogGap(
        f"batch {own.batch_id} has no part for all before position {position} of the log",
        batch_id=own.batch_id,
        position=position,
    )


def _interleaved(own: Part, shared: Part) -> list[PartRun]:
    runs: list[PartRun] = []
    waiting = list(reversed(own.runs))
    for run in shared.runs:
        if not isinstance(run.run, ObservedRun):
            runs += _until(waiting, run.index.item(0))
        runs.append(run)
    return [*runs, *reversed(waiting)]


def _until(waiting: list[PartRun], index: int) -> list[PartRun]:
    """The events before one place in the batch, taken off the end of what waits, which is in reverse."""
    runs = []
    while waiting and waiting[-1].index.item(0) < index:
        next_run = waiting.pop()
        count = int(np.searchsorted(next_run.index, index))
        runs.append(_cut(next_run, 0, count))
        if count < len(next_run):
            waiting.append(_cut(next_run, count, len(next_run)))
    return runs


def _cut(part: PartRun, first: int, end: int) -> PartRun:
    run: Run = part_of(part.run, first, end)
    index: Int64Array = part.index[first:end]
    return PartRun(index, run)
