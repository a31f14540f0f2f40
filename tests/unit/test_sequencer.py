"""Which events of a sender are new, repeated, in conflict, out of turn or over."""

import re
from typing import Any

import pytest

from evs_server.errors import EventConflict, EvsError, Overloaded, SequenceGap, StaleEpoch
from evs_server.ingest import sequencer as module
from evs_server.ingest.sequencer import Admission, IngestState, Sequencer
from evs_server.model import Batch
from tests.flushes import plain
from tests.wire import EM, a_batch, ticks


def a_sent(first: int, *tick_id: int, **rest: Any) -> Batch:
    """Sequenced events whose content is a number each."""
    return a_batch(ticks(*tick_id), first=first, **rest)


def send(sequencer: Sequencer, batch: Batch) -> Admission:
    """Admit a batch and apply what may be."""
    admission = sequencer.admit(batch)
    sequencer.advance(batch, admission.first_new, admission.end)
    return admission


def after(*tick_id: int, epoch: int = 1) -> Sequencer:
    """A sequencer to which one sender has sent these."""
    sequencer = Sequencer()
    send(sequencer, a_sent(1, *tick_id, epoch=epoch))
    return sequencer


def error_of(admission: Admission, kind: type[EvsError]) -> EvsError:
    """The error that ends a batch, with every number of its message in its metadata."""
    assert isinstance(admission.error, kind)
    assert set(re.findall(r"\d+", admission.error.message)) <= set(admission.error.metadata.values())
    return admission.error


def test_a_source_never_seen_is_all_zeros() -> None:
    assert IngestState(0, 0, 0) == Sequencer().state(EM)


def test_new_events_are_admitted_as_a_whole() -> None:
    sequencer = Sequencer()
    assert Admission(0, 3) == send(sequencer, a_sent(1, 10, 20, 30))
    assert Admission(0, 1) == send(sequencer, a_sent(4, 40))
    assert IngestState(1, 4, 0) == sequencer.state(EM)


def test_unsequenced_events_are_always_new_and_leave_no_trace() -> None:
    sequencer = Sequencer()
    assert [Admission(0, 2)] * 2 == [send(sequencer, a_batch(ticks(1, 2))) for _ in range(2)]
    assert ((), IngestState()) == (sequencer.capture(), sequencer.state(""))


@pytest.mark.parametrize(
    ("admission", "batch"),
    [
        (Admission(1, 1), a_sent(1, 10)),
        (Admission(3, 3), a_sent(1, 10, 20, 30)),
        (Admission(2, 2), a_sent(2, 20, 30)),
        (Admission(2, 4), a_sent(2, 20, 30, 40, 50)),
        (Admission(0, 1), a_sent(4, 40)),
        (Admission(0, 0), a_sent(1)),
        (Admission(0, 0), a_sent(4)),
    ],
)
def test_repeats_come_before_what_is_new(admission: Admission, batch: Batch) -> None:
    assert admission == after(10, 20, 30).admit(batch)


@pytest.mark.parametrize(("expected", "sequencer"), [(4, after(10, 20, 30)), (1, Sequencer())])
@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_gap_says_what_is_expected(expected: int, sequencer: Sequencer, size: int) -> None:
    admission = sequencer.admit(a_sent(expected + 1, *range(size)))
    assert (0, 0) == (admission.first_new, admission.end)
    assert {
        "source": EM,
        "epoch": "1",
        "sequence": str(expected + 1),
        "expected": str(expected),
    } == error_of(admission, SequenceGap).metadata


@pytest.mark.parametrize(
    ("index", "batch"),
    [
        (0, a_sent(1, 11)),
        (0, a_sent(3, 33, 40)),
        (1, a_sent(1, 10, 22, 33)),  # the first that differs
        (2, a_sent(1, 10, 20, 33, 40, 50)),  # nothing after it is applied, new or not
    ],
)
def test_a_known_sequence_with_other_content_is_a_conflict(index: int, batch: Batch) -> None:
    sequencer = after(10, 20, 30)
    admission = send(sequencer, batch)
    assert (index, index) == (admission.first_new, admission.end)
    assert str(batch.first_sequence + index) == error_of(admission, EventConflict).metadata["sequence"]
    assert IngestState(1, 3, 0) == sequencer.state(EM)


def test_the_content_of_a_refused_event_is_known_too() -> None:
    """It has consumed its sequence."""
    sequencer = Sequencer()
    refused = a_batch(ticks(2**64 - 1), first=1)
    assert {0} == refused.refusals.keys()
    send(sequencer, refused)
    assert Admission(1, 1) == sequencer.admit(a_batch(ticks(2**64 - 1), first=1))
    error_of(sequencer.admit(a_sent(1, 10)), EventConflict)


def test_an_older_epoch_is_over() -> None:
    admission = after(10, 20, epoch=7).admit(a_sent(3, 30, epoch=6))
    assert (0, 0) == (admission.first_new, admission.end)
    assert {"source": EM, "epoch": "6", "current": "7"} == error_of(admission, StaleEpoch).metadata


def test_a_new_epoch_begins_at_one() -> None:
    sequencer = after(10, 20)
    assert "1" == error_of(sequencer.admit(a_sent(3, 30, epoch=2)), SequenceGap).metadata["expected"]
    assert IngestState(1, 2, 0) == sequencer.state(EM)
    assert Admission(0, 1) == send(sequencer, a_sent(1, 99, epoch=2))
    assert IngestState(2, 1, 0) == sequencer.state(EM)
    error_of(sequencer.admit(a_sent(3, 30, epoch=1)), StaleEpoch)


def test_an_epoch_that_has_begun_knows_nothing_of_the_last_ones_content() -> None:
    sequencer = after(10, 20)
    send(sequencer, a_sent(1, 77, epoch=2))
    assert Admission(1, 1) == sequencer.admit(a_sent(1, 77, epoch=2))
    error_of(sequencer.admit(a_sent(1, 10, epoch=2)), EventConflict)


def test_sources_do_not_know_each_other() -> None:
    sequencer = after(10, 20)
    assert Admission(0, 1) == send(sequencer, a_sent(1, 11, source="other", epoch=0))
    assert (IngestState(1, 2, 0), IngestState(0, 1, 0)) == (sequencer.state(EM), sequencer.state("other"))


def test_what_is_admitted_may_be_applied_bit_by_bit() -> None:
    """As far as each completed tick, whose flush holds the watermark of that moment."""
    sequencer, batch = Sequencer(), a_sent(1, 10, 20, 30)
    sequencer.advance(batch, 0, 2)
    [watermark] = sequencer.capture()
    assert (2, 1, batch.digest[:2].tolist()) == (
        watermark.applied_sequence,
        watermark.first_sequence,
        watermark.digest.tolist(),
    )
    sequencer.advance(batch, 2, 3)
    [watermark] = sequencer.capture()
    assert (3, 3, batch.digest[2:].tolist()) == (
        watermark.applied_sequence,
        watermark.first_sequence,
        watermark.digest.tolist(),
    )


def test_only_sources_that_moved_are_captured() -> None:
    sequencer = after(10, 20)
    send(sequencer, a_sent(1, 1, source="other"))
    assert [EM, "other"] == [watermark.source for watermark in sequencer.capture()]
    send(sequencer, a_sent(1, 10))
    assert () == sequencer.capture()
    send(sequencer, a_sent(2, 2, source="other"))
    assert ["other"] == [watermark.source for watermark in sequencer.capture()]


def test_durable_follows_what_is_committed_and_never_goes_back() -> None:
    sequencer = after(10, 20)
    first = sequencer.capture()
    send(sequencer, a_sent(3, 30))
    second = sequencer.capture()
    sequencer.mark_durable(second)
    assert IngestState(1, 3, 3) == sequencer.state(EM)
    sequencer.mark_durable(first)
    assert IngestState(1, 3, 3) == sequencer.state(EM)


def test_what_an_older_epoch_committed_says_nothing_of_the_new_one() -> None:
    sequencer = after(10, 20, 30)
    captured = sequencer.capture()
    send(sequencer, a_sent(1, 99, epoch=2))
    sequencer.mark_durable(captured)
    assert IngestState(2, 1, 0) == sequencer.state(EM)


def test_a_restart_knows_what_was_durable_and_its_content() -> None:
    successor = Sequencer()
    successor.restore(after(10, 20, 30, epoch=4).capture())
    assert IngestState(4, 3, 3) == successor.state(EM)
    assert Admission(2, 3) == successor.admit(a_sent(2, 20, 30, 40, epoch=4))
    error_of(successor.admit(a_sent(2, 22, epoch=4)), EventConflict)
    assert () == successor.capture()


# --- bounds --------------------------------------------------------------------------------------------------------


@pytest.fixture
def few_digests(monkeypatch: pytest.MonkeyPatch) -> int:
    """So many contents are remembered, and no more."""
    monkeypatch.setattr(module, "DIGESTS_KEPT", 512)
    return 512


def sent_by_hundreds(count: int, *, durable: bool) -> Sequencer:
    """A sender of ``count`` events, tick ``n`` being sequence ``n``."""
    sequencer = Sequencer()
    for first in range(1, count + 1, 100):
        send(sequencer, a_sent(first, *range(first, min(first + 100, count + 1))))
        if durable:
            sequencer.mark_durable(sequencer.capture())
    return sequencer


def remembers(sequencer: Sequencer, sequence: int) -> bool:
    """Whether other content would be noticed."""
    return sequencer.admit(a_sent(sequence, 10**6)).error is not None


def test_old_contents_are_forgotten_once_durable(few_digests: int) -> None:
    """A repeat of what is forgotten is still a repeat: its sequence says so."""
    sequencer = sent_by_hundreds(2_000, durable=True)
    assert all(remembers(sequencer, sequence) for sequence in range(2_001 - few_digests, 2_001))
    assert not remembers(sequencer, 1)
    assert Admission(2_000, 2_000) == sequencer.admit(a_sent(1, *range(1, 2_001)))


def test_nothing_that_is_not_durable_is_forgotten(few_digests: int) -> None:
    sequencer = sent_by_hundreds(10 * few_digests, durable=False)
    assert all(remembers(sequencer, sequence) for sequence in (1, 2, 100, few_digests, 10 * few_digests))
    [watermark] = sequencer.capture()
    assert (1, 10 * few_digests) == (watermark.first_sequence, len(watermark.digest))


def test_memory_does_not_grow_with_what_is_durable(few_digests: int) -> None:
    sequencer = sent_by_hundreds(50 * few_digests, durable=True)
    assert len(sequencer._sources[EM]._digest) <= 4 * few_digests


def test_more_waiting_than_can_be_remembered_is_over_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats are told before it; what is new must wait until more is durable."""
    monkeypatch.setattr(module, "UNDURABLE_EVENTS_MAX", 3)
    sequencer = after(10, 20)
    admission = sequencer.admit(a_sent(2, 20, 30, 40))
    assert (1, 1) == (admission.first_new, admission.end)
    assert {"waiting": "2", "bound": "3"} == error_of(admission, Overloaded).metadata
    assert Admission(0, 1) == sequencer.admit(a_sent(3, 30))
    sequencer.mark_durable(sequencer.capture())
    assert Admission(1, 3) == sequencer.admit(a_sent(2, 20, 30, 40))


def test_more_sources_than_can_be_remembered_are_over_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCES_MAX", 1)
    sequencer = after(10)
    assert (0, 0) == (
        (admission := sequencer.admit(a_sent(1, 1, source="other"))).first_new,
        admission.end,
    )
    assert {"bound": "1"} == error_of(admission, Overloaded).metadata
    assert Admission(0, 1) == sequencer.admit(a_sent(2, 20))
    assert Admission(0, 1) == sequencer.admit(a_sent(1, 20, epoch=2))


def test_admitting_changes_nothing() -> None:
    sequencer = after(10, 20)
    for batch in (a_sent(3, 30), a_sent(9, 9), a_sent(1, 11), a_sent(1, 5, epoch=9), a_sent(1, 5, source="other")):
        sequencer.admit(batch)
    assert [EM] == list(sequencer._sources)
    assert plain(after(10, 20).capture()) == plain(sequencer.capture())
