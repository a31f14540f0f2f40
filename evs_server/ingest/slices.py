"""
A large batch as several small ones, and what became of it from what became of them. Pure.

Lives here: how a batch is cut, and how outcomes add up. Not here: what may happen between two slices (``gate``). Each
slice is a batch like any other: its sequences follow those of the slice before, so that the sequencer admits them one
after the other. Invariant: taking the slices in order, up to the first that ends early, does what taking the batch
does.
"""

from bisect import bisect_left
from collections.abc import Iterator

from evs_server.ingest.course import Outcome
from evs_server.limits import SLICE_EVENTS
from evs_server.model import Batch, Run, part_of


def is_large(batch: Batch) -> bool:
    """Whether a batch is taken in slices; never one from the log, of which nobody waits for an answer."""
    return len(batch) > SLICE_EVENTS and not batch.position


def slices(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """The slices of a batch, in order, each with the index of its first event."""
    refused_at = sorted(batch.refusals)
    for first in range(0, len(batch), SLICE_EVENTS):
        end = min(first + SLICE_EVENTS, len(batch))
        refused = refused_at[bisect_left(refused_at, first) : bisect_left(refused_at, end)]
        yield (
            first,
            Batch(
                batch.source,
                batch.epoch,
                batch.first_sequence + first if batch.first_sequence else 0,
                _runs(batch, first, end),
                batch.digest[first:end],
                {index - first: batch.refusals[index] for index in refused},
            ),
        )


def add(whole: Outcome, first: int, part: Outcome) -> None:
    """Take note of what became of the slice that begins at ``first``."""
    whole.duplicate_count += part.duplicate_count
    whole.accounts_valued += part.accounts_valued
    whole.end, whole.error = first + part.end, part.error
    whole.refusals.update((first + index, error) for index, error in part.refusals.items())


def _runs(batch: Batch, first: int, end: int) -> tuple[Run, ...]:
    runs, start = [], 0
    for run in batch.runs:
        here, stop = max(first - start, 0), min(end - start, len(run))
        if here < stop:
            runs.append(part_of(run, here, stop))
        start += len(run)
    return tuple(runs)
