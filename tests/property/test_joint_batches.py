"""Batches that go into the log as one: each comes to what it would have come to alone."""

from itertools import accumulate, pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from evs_server.errors import OutOfBounds
from evs_server.gateway.joint import Placed, Sent, joinable, joined, parted
from evs_server.ingest.course import Outcome
from evs_server.ingest.sequencer import Sequencer
from evs_server.limits import BATCH_EVENTS_MAX, MESSAGE_BYTES_MAX
from evs_server.model import Batch
from tests.wire import a_batch, cash, ticks

ACCOUNT = 7
REFUSED = frozenset({2, 5, 6, 11})
"""Sequences whose events are refused for good."""


def batch_of(first: int, end: int) -> Batch:
    """The events of some sequences: each always has the same content."""
    runs = [cash((ACCOUNT, 0 if sequence in REFUSED else sequence)) for sequence in range(first, end)]
    return a_batch(*runs, first=first)


def judged(sequencer: Sequencer, batch: Batch) -> Placed:
    """A batch judged and, as far as it is new, taken note of: what a gateway's inlet makes of it."""
    admission = sequencer.admit(batch)
    if admission.error is None:
        sequencer.advance(batch, admission.first_new, admission.end)
    refusals = {index: error for index, error in batch.refusals.items() if index >= admission.first_new}
    outcome = Outcome(admission.first_new, 0, admission.end, refusals, admission.error)
    return Placed(batch.source, batch.first_sequence, len(batch), outcome, sequencer.state(batch.source))


def a_sequencer(applied: int) -> Sequencer:
    sequencer = Sequencer()
    judged(sequencer, batch_of(1, applied + 1))
    return sequencer


@given(applied=st.integers(0, 9), back=st.integers(0, 9), sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_each_of_a_joint_batch_comes_to_what_it_would_have_alone(applied: int, back: int, sizes: list[int]) -> None:
    assume(back <= applied)
    bounds = list(accumulate(sizes, initial=applied + 1 - back))
    batches = [batch_of(first, end) for first, end in pairwise(bounds)]
    one_by_one, at_once = a_sequencer(applied), a_sequencer(applied)
    alone = [judged(one_by_one, batch) for batch in batches]
    together = parted(judged(at_once, joined(batches)), batches)
    assert [_told(each) for each in alone] == [_told(each) for each in together]
    assert one_by_one.state("em") == at_once.state("em")


def _told(placed: Placed) -> tuple[object, ...]:
    """What its caller is told of a batch."""
    outcome = placed.with_told()
    refusals = {index: type(error) for index, error in outcome.refusals.items()}
    return placed.first_sequence, placed.state, outcome.duplicate_count, outcome.end, refusals


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5), index=st.integers(0, 19))
def test_what_a_shard_refuses_is_refused_in_one_batch_and_at_its_place(sizes: list[int], index: int) -> None:
    assume(index < sum(sizes))
    bounds = list(accumulate(sizes, initial=21))
    batches = [batch_of(first, end) for first, end in pairwise(bounds)]
    joint = judged(a_sequencer(20), joined(batches))
    joint.told.refusals[index] = OutOfBounds("cash", "too much")
    joint.told.accounts_valued = 3
    outcomes = [each.with_told() for each in parted(joint, batches)]
    refused = [first + at for first, each in zip(bounds, outcomes, strict=False) for at in each.refusals]
    assert [21 + index] == refused
    assert [0] * (len(sizes) - 1) + [3] == [each.accounts_valued for each in outcomes]


def test_only_what_its_sender_could_have_sent_as_one_goes_in_as_one() -> None:
    """The next of the same numbering, with no tick before it, and no larger than one batch may be."""
    first, second = a_batch(cash((ACCOUNT, 1)), first=1), a_batch(cash((ACCOUNT, 2)), ticks(1), first=2)
    large = a_batch(ticks(*range(BATCH_EVENTS_MAX)), first=2)
    for number, *batches in (
        (1, first),
        (2, first, second),
        (2, first, second, a_batch(cash((ACCOUNT, 3)), first=4)),
        (1, first, a_batch(cash((ACCOUNT, 3)), first=3)),
        (1, first, first),
        (1, first, a_batch(cash((ACCOUNT, 2)), first=2, epoch=2)),
        (1, first, a_batch(cash((ACCOUNT, 2)), first=2, source="other")),
        (1, a_batch(cash((ACCOUNT, 1))), a_batch(cash((ACCOUNT, 2)))),
        (1, first, a_batch(first=2)),
        (1, a_batch(first=1), first),
        (1, first, large),
        (1, large),
        (0,),
    ):
        assert number == joinable([Sent(batch, 10) for batch in batches])
    half = MESSAGE_BYTES_MAX // 2
    assert 2 == joinable([Sent(first, half), Sent(second, half)])
    assert 1 == joinable([Sent(first, half), Sent(second, half + 1)])
