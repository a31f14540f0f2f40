"""The outbox: numbering, order, blocks, and what is sent again after a disconnect."""

import pytest
from evs_client.errors import HistoryLost, SequenceConflict
from evs_client.outbox import Outbox, OutboxBatch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

CAPACITY = 30


def filled(count: int, capacity: int = CAPACITY) -> Outbox:
    outbox = Outbox(capacity)
    for number in range(1, count + 1):
        outbox.accept(b"%d" % number)
    return outbox


def taken(outbox: Outbox, limit: int) -> tuple[int, list[bytes]]:
    """The next batch: its first sequence and its records."""
    batch = outbox.take(limit)
    assert batch is not None
    return batch.first_sequence, list(batch.records)


def test_events_are_taken_in_order_and_numbered_from_one() -> None:
    outbox = filled(3)
    assert (1, [b"1", b"2"]) == taken(outbox, 2)
    assert (3, [b"3"]) == taken(outbox, 2)
    assert outbox.take(2) is None


def test_after_a_disconnect_exactly_what_is_not_durable_is_sent_again() -> None:
    outbox = filled(5)
    outbox.take(4)
    assert 3 == outbox.rewind(applied=2, durable=1)
    assert (2, [b"2", b"3", b"4", b"5"]) == taken(outbox, 10)
    assert 2 == outbox.applied_sequence


def test_room_is_made_by_durability_alone() -> None:
    outbox = filled(3, capacity=3)
    outbox.take(3)
    assert not outbox.has_room(1)
    outbox.acknowledge(applied=3, durable=0)
    assert not outbox.has_room(1)
    outbox.acknowledge(applied=3, durable=2)
    assert outbox.has_room(2)
    assert not outbox.has_room(3)


def test_a_block_is_left_to_the_next_batch_rather_than_parted() -> None:
    outbox = filled(2)
    outbox.accept_block([b"x", b"y"])
    assert [b"1", b"2"] == taken(outbox, 3)[1]
    assert [b"x", b"y"] == taken(outbox, 3)[1]


def test_a_block_longer_than_a_batch_comes_alone_and_whole() -> None:
    outbox = Outbox(CAPACITY)
    outbox.accept_block([b"x", b"y", b"z"])
    outbox.accept(b"1")
    assert [b"x", b"y", b"z"] == taken(outbox, 2)[1]
    assert [b"1"] == taken(outbox, 2)[1]


def test_news_of_durability_after_a_rewind_skips_what_need_not_be_sent() -> None:
    outbox = filled(3)
    outbox.take(3)
    outbox.rewind(applied=3, durable=0)
    outbox.acknowledge(applied=3, durable=2)
    assert (3, [b"3"]) == taken(outbox, 9)


def test_numbering_may_start_after_what_another_process_sent() -> None:
    outbox = filled(1)
    outbox.accept_block([b"x", b"y"])
    outbox.start_after(40)
    assert (41, [b"1"]) == taken(outbox, 2)
    assert (42, [b"x", b"y"]) == taken(outbox, 1)
    assert (40, 43) == (outbox.durable_sequence, outbox.accepted_sequence)


def test_events_that_were_never_sent_from_here_are_a_conflict() -> None:
    outbox = filled(3)
    outbox.take(2)
    with pytest.raises(
        SequenceConflict, match=r"applied sequences up to 3 and made durable up to 1, but only .* up to 2"
    ):
        outbox.acknowledge(applied=3, durable=1)


def test_durability_that_is_taken_back_is_history_lost() -> None:
    outbox = filled(3)
    outbox.take(3)
    outbox.acknowledge(applied=3, durable=3)
    with pytest.raises(HistoryLost, match="up to 1 durable, but once had up to 3: 2 to 3 are lost"):
        outbox.rewind(applied=1, durable=1)


def test_an_outbox_for_nothing_cannot_be() -> None:
    with pytest.raises(ValueError, match="outbox of 0 events"):
        Outbox(0)


class SenderAndEvs(RuleBasedStateMachine):
    """
    An outbox, a line that keeps or loses batches, and an EVS that applies in order, makes durable at will and crashes.

    Whatever happens, in whatever order, EVS ends up with each event once and in order, and no block is ever parted but
    where EVS itself has made a part of it durable.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(CAPACITY)
        self.accepted: list[bytes] = []
        self.blocks: list[tuple[int, int]] = []
        self.line: list[OutboxBatch] = []
        self.log: list[bytes] = []
        self.durable = 0

    def _records(self, count: int) -> list[bytes]:
        return [b"%d" % number for number in range(len(self.accepted) + 1, len(self.accepted) + count + 1)]

    @precondition(lambda self: self.outbox.has_room(1))
    @rule()
    def accept(self) -> None:
        record = self._records(1)
        self.outbox.accept(record[0])
        self.accepted += record

    @rule(count=st.integers(1, 12))
    def accept_block(self, count: int) -> None:
        if self.outbox.has_room(count):
            records = self._records(count)
            self.blocks.append((len(self.accepted) + 1, len(self.accepted) + count))
            self.outbox.accept_block(records)
            self.accepted += records

    @rule(limit=st.integers(1, 8))
    def send(self, limit: int) -> None:
        batch = self.outbox.take(limit)
        if batch is None:
            assert 0 == self.outbox.unsent_count
            return
        first, last = batch.first_sequence, batch.first_sequence + len(batch.records) - 1
        for block_first, block_last in self.blocks:
            assert not block_first <= last < block_last, "the end of a batch parts a block"
            assert not block_first < first <= block_last or first == self.outbox.durable_sequence + 1
        assert len(batch.records) <= limit or any(a <= first and last == b for a, b in self.blocks)
        self.line.append(batch)

    @precondition(lambda self: self.line)
    @rule()
    def deliver(self) -> None:
        batch = self.line.pop(0)
        assert batch.first_sequence <= len(self.log) + 1, "a gap"
        known = len(self.log) + 1 - batch.first_sequence
        assert self.log[batch.first_sequence - 1 :][: len(batch.records)] == list(batch.records[:known])
        self.log += batch.records[known:]
        self.outbox.acknowledge(len(self.log), self.durable)

    @rule(share=st.floats(0, 1), told=st.booleans())
    def commit(self, share: float, told: bool) -> None:
        self.durable += int((len(self.log) - self.durable) * share)
        if told:
            self.outbox.acknowledge(len(self.log), self.durable)

    @rule(crash=st.booleans())
    def disconnect(self, crash: bool) -> None:
        self.line.clear()
        if crash:
            del self.log[self.durable :]
        sent = self.outbox.sent_sequence
        assert sent - self.durable == self.outbox.rewind(len(self.log), self.durable)
        assert len(self.accepted) - self.durable == self.outbox.unsent_count

    @invariant()
    def evs_has_a_prefix_and_the_outbox_the_rest(self) -> None:
        assert self.accepted[: len(self.log)] == self.log
        kept = [self.outbox.record_at(n) for n in range(self.outbox.durable_sequence + 1, len(self.accepted) + 1)]
        assert self.accepted[self.outbox.durable_sequence :] == kept
        assert self.outbox.durable_sequence <= self.durable
        assert len(self.accepted) == self.outbox.accepted_sequence
        assert len(self.outbox) <= CAPACITY

    def teardown(self) -> None:
        while self.outbox.unsent_count:
            self.send(5)
        while self.line:
            self.deliver()
        assert self.accepted == self.log


TestSenderAndEvs = SenderAndEvs.TestCase
TestSenderAndEvs.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
