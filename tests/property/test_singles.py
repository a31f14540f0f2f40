"""
An event of a unary call is a batch of one: taken by itself where that will do, the same becomes of it.

The accounts are those of ``test_batches``, of every kind that the intake treats apart.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evs_server.ingest import sequencer as sequencing
from evs_server.ingest.intake import Outcome
from evs_server.ingest.sequencer import EventId
from evs_server.limits import EXACT_MAX, FEE_CENTS_MAX, PRICE_CENTS_MAX, QUANTITY_BP_MAX, TICK_TIME_MS_MAX
from tests.builders import ALICE, CAROL, NOON_MS
from tests.flushes import a_watermark, plain
from tests.property.test_batches import RUNS, Desk, Row, a_run, seen, stored
from tests.wire import EM

Event = tuple[str, Row]

EVENTS = RUNS.flatmap(lambda run: st.sampled_from([(run[0], row) for row in run[1]]))
# What is beyond a bound by little, and by as much as the wire holds.
FAR = st.sampled_from([-(2**63), -1, 0, 2**53, 2**63 - 1])
WRONG_LEGS = st.tuples(
    FAR, st.just(1), st.integers(0, 3), FAR | st.just(QUANTITY_BP_MAX + 1), FAR | st.just(PRICE_CENTS_MAX + 1),
    FAR | st.just(FEE_CENTS_MAX + 1), FAR,
)  # fmt: skip
ONE_WRONG = st.tuples(st.integers(0, 6), WRONG_LEGS).map(
    lambda wrong: (
        "trades",
        tuple(wrong[1][at] if at == wrong[0] else (1, 1, 1, 10_000, 100, 0, 0)[at] for at in range(7)),
    )
)


# How a sender numbers an event, and how far back one is that it sends again.
HOWS = st.tuples(
    st.sampled_from(["next"] * 8 + ["repeat", "contradict", "skip", "old epoch", "new epoch", "not at all"]),
    st.integers(0, 5),
)


class Sender:
    """What one source has sent in its epoch, and how it goes on, rightly or wrongly."""

    def __init__(self, name: str) -> None:
        self.name, self.epoch = name, 1
        self.events: list[Event] = []

    def say(self, event: Event, how: str, back: int) -> tuple[Event, EventId | None]:
        """What it sends in the place of an event, and under which number."""
        sent, epoch = len(self.events), self.epoch
        earlier = sent - back % sent if sent else 1
        if how == "repeat" and sent:
            event = self.events[earlier - 1]
        numbers = {
            "next": (epoch, sent + 1),
            "repeat": (epoch, earlier),
            "contradict": (epoch, earlier),
            "skip": (epoch, sent + 2 + back),
            "old epoch": (max(epoch - 1, 0), sent + 1),
            "new epoch": (epoch + 1, 1 + back % 2),
        }
        return event, (self.name, *numbers[how]) if how in numbers else None

    def note(self, event: Event, event_id: EventId, state: sequencing.IngestState) -> None:
        """Remember what was sent, if it has been taken."""
        _, epoch, sequence = event_id
        if (state.epoch, state.applied_sequence) == (epoch, sequence):
            self.events = [] if epoch != self.epoch else self.events[: sequence - 1]
            self.events.append(event)
            self.epoch = epoch


def taken_singly(desk: Desk, kind: str, row: Row, event_id: EventId | None = None) -> Outcome | None:
    """What becomes of an event that is taken by itself; None if it is not."""
    singles = desk.intake.singles
    match kind:
        case "trades":
            return Outcome(end=1) if singles.take_trade(row, NOON_MS, event_id) else None
        case "prices":
            return Outcome(end=1) if singles.take_price(row[0], row[1], NOON_MS, event_id) else None
        case "ticks":
            valued_count = singles.take_tick(row[0], 0, NOON_MS, event_id)
            return None if valued_count is None else Outcome(accounts_valued=valued_count, end=1)
    return None


def is_taken_singly(desk: Desk, kind: str, row: Row, event_id: EventId | None = None) -> bool:
    """Whether an event is taken by itself."""
    return taken_singly(desk, kind, row, event_id) is not None


def taken(desk: Desk, kind: str, row: Row, event_id: EventId | None) -> Outcome:
    """What becomes of an event as a batch of one."""
    if event_id is None:
        return desk.take(a_run(kind, [row]), first=0)
    source, epoch, sequence = event_id
    return desk.take(a_run(kind, [row]), first=sequence, source=source, epoch=epoch)


def told(outcome: Outcome) -> list[Any]:
    """What a sender is told, new or not: where a batch of one begins to be new is nobody's business."""
    errors = [error.message for error in (*outcome.refusals.values(), outcome.error) if error is not None]
    return [errors, outcome.accounts_valued, outcome.end, outcome.duplicate_count]


class Twins:
    """A desk that takes events singly where it may, and one that takes batches of one; what they make is compared."""

    def __init__(self) -> None:
        self.singly, self.batched = Desk(), Desk()

    def take(self, kind: str, row: Row, event_id: EventId | None = None) -> None:
        outcome = taken_singly(self.singly, kind, row, event_id) or taken(self.singly, kind, row, event_id)
        assert told(taken(self.batched, kind, row, event_id)) == told(outcome)
        assert seen(self.batched) == seen(self.singly)
        assert self.batched.sequencer.states() == self.singly.sequencer.states()

    def end(self) -> None:
        """The watermarks with their digests are those of the flushes."""
        assert stored(self.batched) == stored(self.singly)
        assert plain(self.batched.flushes) == plain(self.singly.flushes)


def check(events: list[Event]) -> None:
    twins = Twins()
    for kind, row in events:
        twins.take(kind, row)
    twins.end()


@given(st.lists(EVENTS, max_size=30))
def test_an_event_by_itself_does_what_a_batch_of_it_does(events: list[Event]) -> None:
    """(9) Pass by pass and flush by flush, settlement ids that are repeated included."""
    check(events)


@given(st.lists(EVENTS | ONE_WRONG, max_size=8))
def test_what_is_refused_is_never_taken_by_itself(events: list[Event]) -> None:
    """(13) Whatever is wrong with it; a refused event changes nothing, on either way."""
    check(events)


@given(st.lists(st.tuples(EVENTS | EVENTS | ONE_WRONG, st.sampled_from(["em", "other"]), HOWS), max_size=30))
def test_a_numbered_event_by_itself_does_what_a_batch_of_it_does(
    sent: list[tuple[Event, str, tuple[str, int]]],
) -> None:
    """(8) (9) Told the same, with the same watermarks and digests; repeats, gaps, conflicts and epochs included."""
    twins, senders = Twins(), {name: Sender(name) for name in ("em", "other")}
    # One of them is known from the beginning, and so are the symbols: most of what follows is plain.
    known = [(("trades", but(1, symbol)), "em", ("next", 0)) for symbol in (1, 2, 3)]
    for event, name, how in known + sent:
        said, event_id = senders[name].say(event, *how)
        twins.take(*said, event_id)
        if event_id is not None:
            senders[name].note(said, event_id, twins.batched.sequencer.state(name))
    twins.end()


LEG = (ALICE, 1, 1, 10_000, 100, 0, 0)


def but(place: int, value: int) -> Row:
    return (*LEG[:place], value, *LEG[place + 1 :])


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        *(
            ("trades", but(place, value))
            for place, bound in ((3, QUANTITY_BP_MAX), (4, PRICE_CENTS_MAX))
            for value in (0, bound + 1)
        ),
        *(("trades", but(0, value)) for value in (0, -1, 99, EXACT_MAX + 1)),
        *(("trades", but(2, side)) for side in (0, 3)),
        *(("trades", but(5, value)) for value in (-1, FEE_CENTS_MAX + 1)),
        *(("trades", but(6, value)) for value in (-1, EXACT_MAX + 1)),
        ("trades", but(0, CAROL)),
        *(("prices", (1, value)) for value in (0, -1, PRICE_CENTS_MAX + 1)),
        ("ticks", (EXACT_MAX + 1,)),
    ],
)
def test_what_has_to_be_refused_or_looked_up_is_left_to_the_long_way(kind: str, row: Row) -> None:
    """Carol's trades are yet to be announced: one of them may be in the books already."""
    desk = Desk()
    desk.take(a_run("trades", [LEG]), first=0)
    before = seen(desk)
    assert (False, before) == (is_taken_singly(desk, kind, row), seen(desk))


def test_what_is_plain_takes_the_short_way() -> None:
    """Once its symbol is known; a settlement id that comes again does not."""
    desk = Desk()
    desk.take(a_run("trades", [LEG]), first=0)
    assert [True] * 4 == [
        is_taken_singly(desk, kind, row)
        for kind, row in (("trades", LEG), ("trades", but(6, 7)), ("prices", (1, 101)), ("ticks", (1,)))
    ]
    assert not is_taken_singly(desk, "trades", but(6, 7))
    assert desk.intake.singles.take_tick(2, TICK_TIME_MS_MAX + 1, NOON_MS) is None


PLAIN = (("trades", LEG), ("prices", (1, 101)), ("ticks", (1,)))


def test_what_is_plain_and_numbered_takes_the_short_way() -> None:
    """Once its sender is known. A settlement id that comes again says nothing there, and is not remembered."""
    desk = Desk()
    desk.take(a_run("trades", [LEG]), first=1)
    again = ("trades", but(6, 7))
    assert [True] * 5 == [
        is_taken_singly(desk, kind, row, (EM, 1, sequence))
        for sequence, (kind, row) in enumerate((*PLAIN, again, again), 2)
    ]
    assert 6 == desk.sequencer.state(EM).applied_sequence
    assert is_taken_singly(desk, *again)


@pytest.mark.parametrize(("kind", "row"), PLAIN)
@pytest.mark.parametrize(
    "event_id",
    [(EM, 5, 1), (EM, 5, 2), (EM, 5, 4), (EM, 5, 0), (EM, 4, 3), (EM, 6, 1), (EM, 6, 3), ("new", 1, 1), ("", 5, 3)],
)
def test_what_is_not_the_next_of_its_sender_is_left_to_the_long_way(kind: str, row: Row, event_id: EventId) -> None:
    desk = Desk()
    desk.take(a_run("trades", [LEG, LEG]), first=1, epoch=5)
    before = seen(desk)
    assert (False, before, {EM: sequencing.IngestState(5, 2, 0)}) == (
        is_taken_singly(desk, kind, row, event_id),
        seen(desk),
        desk.sequencer.states(),
    )


def test_what_there_is_no_room_for_is_left_to_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until what came before is durable."""
    monkeypatch.setattr(sequencing, "UNDURABLE_EVENTS_MAX", 2)
    desk = Desk()
    desk.take(a_run("trades", [LEG]), first=1)
    assert [True, False] == [is_taken_singly(desk, "trades", LEG, (EM, 1, sequence)) for sequence in (2, 3)]
    desk.intake.flush()
    desk.sequencer.mark_durable(desk.flushes[-1].watermarks)
    assert is_taken_singly(desk, "trades", LEG, (EM, 1, 3))


def test_a_sequence_that_no_reader_would_keep_exactly_is_left_to_the_long_way() -> None:
    desk = Desk()
    desk.take(a_run("trades", [LEG]), first=0)
    desk.sequencer.restore([a_watermark(EM, 1, EXACT_MAX - 1, [0])])
    assert [True, False] == [
        is_taken_singly(desk, "trades", LEG, (EM, 1, sequence)) for sequence in (EXACT_MAX, EXACT_MAX + 1)
    ]


def test_more_numbered_events_than_there_was_room_to_remember_are_remembered() -> None:
    """(8) Each of them is a repeat when it comes again."""
    twins, count = Twins(), 600
    for sequence in range(1, count + 1):
        for desk in (twins.singly, twins.batched):
            row = (1, 100 + sequence)
            if desk is twins.batched or not is_taken_singly(desk, "prices", row, (EM, 1, sequence)):
                taken(desk, "prices", row, (EM, 1, sequence))
    again = a_run("prices", [(1, 100 + sequence) for sequence in range(1, count + 1)])
    assert [count, count] == [desk.take(again, first=1).duplicate_count for desk in (twins.singly, twins.batched)]
    twins.end()
