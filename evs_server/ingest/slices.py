"""
A large batch as several small ones, and what became of it from what became of them. Pure.

Lives here: how a batch is cut, and how outcomes add up. Not here: what may happen between two slices (``gate``; for
batches from the log, ``shard.source``). Each slice is a batch like any other: its sequences follow those of the slice
before, so that the sequencer admits them one after the other; those of a batch from the log have its position, and all
but the last say that there is more. Invariant: taking the slices in order, up to the first that ends early, does what
taking the batch does.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace

from evs_server.ingest.course import Outcome
from evs_server.limits import SLICE_EVENTS, TICK_EVENTS
from evs_server.model import Batch, Run, TickRun, part_of


def is_large(batch: Batch) -> bool:
    """Whether a batch of a caller is taken in slices."""
    return len(batch) > SLICE_EVENTS


def slices(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """The slices of a batch, in order, each with the index of its first event; a batch that makes but one is that."""
    refused_at = sorted(batch.refusals)
    first = 0
    for runs in _cut(batch):
        end = first + sum(len(run) for run in runs)
        if end - first == len(batch):
            break
        refused = refused_at[bisect_left(refused_at, first) : bisect_left(refused_at, end)]
        yield (
            first,
            replace(
                batch,
                first_sequence=batch.first_sequence + first if batch.first_sequence else 0,
                runs=tuple(runs),
                digest=batch.digest[first:end],
                refusals={index - first: batch.refusals[index] for index in refused},
                index=None if batch.index is None else batch.index[first:end],
                has_more=end < len(batch),
            ),
        )
        first = end
    if not first:
        yield 0, batch


def add(whole: Outcome, first: int, part: Outcome) -> None:
    """Take note of what became of the slice that begins at ``first``."""
    whole.duplicate_count += part.duplicate_count
    whole.accounts_valued += part.accounts_valued
    whole.end, whole.error = first + part.end, part.error
    whole.refusals.update((first + index, error) for index, error in part.refusals.items())


def _cut(batch: Batch) -> Iterator[list[Run]]:
    """Runs in portions of ``SLICE_EVENTS``; a tick, which is a valuation, counts as ``TICK_EVENTS``."""
    runs: list[Run] = []
    room = SLICE_EVENTS
    for run in batch.runs:
        weight = TICK_EVENTS if isinstance(run, TickRun) else 1
        start = 0
        while start < len(run):
            count = min(len(run) - start, max(room // weight, 0 if runs else 1))
            if count:
                runs.append(part_of(run, start, start + count))
                start += count
                room -= count * weight
            else:
                yield runs
                runs, room = [], SLICE_EVENTS
    if runs:
        yield runs
