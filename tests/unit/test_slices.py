"""A large batch in slices: the same becomes of it as if it were taken whole, and what must not come between waits."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import numpy as np
import pytest
from evs.v1 import evs_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from evs_server.errors import EvsError, ShuttingDown, StaleEpoch
from evs_server.ingest import slices as module
from evs_server.ingest.course import Outcome
from evs_server.ingest.slices import add, is_large, slices
from evs_server.lifecycle import Phase
from evs_server.limits import SLICE_EVENTS
from evs_server.model import Batch
from tests.builders import ALICE, BOB, DAY_MS, KICK, NOON_MS, PUNT
from tests.flushes import plain
from tests.serving import Rooms
from tests.unit.test_intake import Desk
from tests.wire import BUY, EM, SELL, a_batch, cash, prices, ticks, trades

MINUTE_MS = 60_000
SMALL = 3
"""Events of a slice in most of these tests."""
BROKEN = (ALICE, KICK, 3, 1, 1)
RUNS = st.one_of(
    st.lists(st.just((ALICE, KICK, BUY, 10_000, 100)) | st.just(BROKEN), min_size=1, max_size=8).map(
        lambda rows: trades(*rows)
    ),
    st.lists(st.integers(0, 3).map(lambda price: (PUNT, price)), min_size=1, max_size=4).map(
        lambda rows: prices(*rows)
    ),
    st.just(cash((BOB, 5), (ALICE, -5))),
    st.just(ticks(1)),
)


@pytest.fixture(autouse=True, scope="module")
def small_slices() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLICE_EVENTS", SMALL)
        yield


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    opened = Rooms({ALICE: 1_000_000, BOB: 1_000_000})
    await opened.open()
    yield opened
    await opened.close()


def both_legs(count: int) -> pb.EventRun:
    """So many purchases, and behind them the sales: a sum of shares in between is not 0."""
    bought = [(ALICE, KICK, BUY, 10_000, 100)] * count
    return trades(*bought, *[(BOB, KICK, SELL, 10_000, 100)] * count)


def shares(rooms: Rooms) -> list[int]:
    """What Alice and Bob hold by their newest valuations, in bp."""
    return [sum(held.quantity_bp for held in rooms.engine.positions(account)) for account in (ALICE, BOB)]


def taken(desk: Desk, batch: Batch) -> Outcome:
    """What becomes of a batch, taken in slices."""
    whole = Outcome()
    for first, part in slices(batch):
        add(whole, first, desk.intake.take(part, NOON_MS))
        if whole.error is not None:
            break
    return whole


def told(outcome: Outcome) -> list[object]:
    refusals = [(index, error.message) for index, error in outcome.refusals.items()]
    return [refusals, outcome.end, outcome.error, outcome.duplicate_count, outcome.accounts_valued]


# --- how a batch is cut --------------------------------------------------------------------------------------------


def test_slices_follow_each_other_and_lose_nothing() -> None:
    batch = a_batch(trades(*[BROKEN, (ALICE, KICK, BUY, 1, 1)] * 3), prices((KICK, 1), (KICK, 0)), first=41)
    parts = dict(slices(batch))
    assert [0, 3, 6] == list(parts)
    assert [41, 44, 47] == [part.first_sequence for part in parts.values()]
    assert batch.digest.tolist() == [word for part in parts.values() for word in part.digest.tolist()]
    assert [0, 2, 4, 7] == [first + index for first, part in parts.items() for index in part.refusals]
    assert [[KICK, KICK], [1, 0]] == list(plain(parts[6].runs[0]).values())


def test_slices_of_an_unsequenced_batch_are_unsequenced() -> None:
    assert [0, 0] == [part.first_sequence for _, part in slices(a_batch(both_legs(2)))]


def test_slices_of_a_batch_from_the_log_have_its_position_and_say_whether_there_is_more() -> None:
    """Half a batch has no position of its own; each event keeps its place in the batch as it was sent."""
    sent = a_batch(prices((KICK, 1), (KICK, 2), (KICK, 3), (KICK, 4), (KICK, 5)))
    parts = [part for _, part in slices(replace(sent, position=12, taken_ms=7, index=np.array([0, 2, 4, 6, 8])))]
    assert [(12, 7, True), (12, 7, False)] == [(part.position, part.taken_ms, part.has_more) for part in parts]
    assert [[0, 2, 4], [6, 8]] == [part.index.tolist() for part in parts if part.index is not None]


@pytest.mark.parametrize("runs", [[], [cash((BOB, 5), (ALICE, -5))]])
def test_a_batch_that_makes_one_slice_is_that(runs: list[pb.EventRun]) -> None:
    batch = a_batch(*runs)
    assert [(0, batch)] == list(slices(batch))


def test_a_tick_counts_as_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """It values accounts: a few of them take as long as thousands of events. What follows is cut as well."""
    monkeypatch.setattr(module, "SLICE_EVENTS", 10)
    monkeypatch.setattr(module, "TICK_EVENTS", 4)
    batch = a_batch(prices((KICK, 1)), ticks(*range(5)), prices(*[(KICK, 1)] * 8))
    assert [3, 2, 7, 2] == [len(part) for _, part in slices(batch)]


def test_a_batch_of_one_slice_is_not_large() -> None:
    assert [False, True] == [is_large(a_batch(ticks(*range(count)))) for count in (SMALL, SMALL + 1)]


@given(st.lists(RUNS, max_size=5), st.booleans(), st.integers(0, 5))
def test_a_batch_in_slices_becomes_what_it_would_become_whole(
    runs: list[pb.EventRun], is_sequenced: bool, repeated: int
) -> None:
    whole, cut = Desk(), Desk()
    for desk in (whole, cut):
        desk.intake.take(a_batch(*runs[:repeated], first=int(is_sequenced)), NOON_MS)
    batch = a_batch(*runs, first=int(is_sequenced))
    assert told(whole.intake.take(batch, NOON_MS)) == told(taken(cut, batch)) or not len(batch)
    assert whole.engine.state_hash() == cut.engine.state_hash()
    assert whole.sequencer.states() == cut.sequencer.states()


# --- what comes between --------------------------------------------------------------------------------------------


async def test_others_get_a_turn_while_a_large_batch_is_applied(rooms: Rooms) -> None:
    large = asyncio.ensure_future(rooms.gate.take(a_batch(both_legs(9))))
    other = asyncio.ensure_future(rooms.gate.take(a_batch(prices((PUNT, 7)))))
    done, _ = await asyncio.wait([large, other], return_when=asyncio.FIRST_COMPLETED)
    assert {other} == done
    assert 18 == (await large).end


async def test_no_tick_parts_the_two_legs_of_a_trade(rooms: Rooms) -> None:
    """Neither another sender's, nor the roll of the session."""
    await rooms.gate.take(a_batch(ticks(1)))
    large = asyncio.ensure_future(rooms.gate.take(a_batch(both_legs(9))))
    tick = asyncio.ensure_future(rooms.gate.take(a_batch(ticks(2), first=1, source="other")))
    await asyncio.sleep(0)
    rooms.clock.ms += DAY_MS
    rooms.gate.roll_if_due()
    assert [0, 0] == shares(rooms)
    await asyncio.gather(large, tick)
    assert [90_000, -90_000] == shares(rooms)
    rolled_at = rooms.engine.meta.session_start_ms
    rooms.gate.roll_if_due()
    assert rolled_at == rooms.engine.meta.session_start_ms > NOON_MS, "the tick has rolled it"


async def test_large_batches_are_applied_one_after_the_other(rooms: Rooms) -> None:
    sold = [(BOB, KICK, SELL, 10_000, 100)] * 9
    outcomes = await asyncio.gather(
        rooms.gate.take(a_batch(trades(*sold), ticks(1))), rooms.gate.take(a_batch(both_legs(9), ticks(2)))
    )
    assert [1, 2] == [outcome.accounts_valued for outcome in outcomes]


async def test_the_same_sender_does_not_overtake_itself(rooms: Rooms) -> None:
    """It sends on another connection before it has its answer: what it sends is the next, not a gap."""
    large = rooms.gate.take(a_batch(both_legs(9), first=1))
    outcomes = await asyncio.gather(large, rooms.gate.take(a_batch(prices((PUNT, 7)), first=19)))
    assert [None, None] == [outcome.error for outcome in outcomes]
    assert 19 == rooms.gate.state(EM).applied_sequence


async def test_a_call_of_the_same_sender_waits_for_its_large_batch(rooms: Rooms) -> None:
    """Though one of the numbers in the middle is the next just then: it is left to the long way, which waits."""
    await rooms.gate.take(a_batch(prices((PUNT, 7)), first=1))
    large = asyncio.ensure_future(rooms.gate.take(a_batch(both_legs(9), first=2)))
    await asyncio.sleep(0)
    event_id = (EM, 1, rooms.sequencer.state(EM).applied_sequence + 1)
    assert event_id[2] in range(3, 20)
    leg = (ALICE, KICK, BUY, 10_000, 100, 0, 0)
    assert [False, False, None] == [
        rooms.gate.take_trade(leg, event_id),
        rooms.gate.take_price(PUNT, 8, event_id),
        rooms.gate.take_tick(1, 0, event_id),
    ]
    assert 18 == (await large).end
    assert rooms.gate.take_price(PUNT, 8, (EM, 1, 20))


async def test_who_hangs_up_in_the_middle_has_sent_a_whole_batch(rooms: Rooms) -> None:
    large = asyncio.ensure_future(rooms.gate.take(a_batch(both_legs(9), first=1)))
    await asyncio.sleep(0)
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    assert 18 == rooms.gate.state(EM).applied_sequence


async def test_a_batch_that_a_stop_comes_into_is_answered_with_it(rooms: Rooms) -> None:
    """What of it counts is what the watermark says; the sender sends the rest to whoever is next."""
    large = asyncio.ensure_future(rooms.gate.take(a_batch(both_legs(9), first=1)))
    await asyncio.sleep(0)
    rooms.lifecycle.enter(Phase.STOPPING)
    with pytest.raises(ShuttingDown):
        await large
    assert rooms.sequencer.state(EM).applied_sequence in range(SMALL, 18, SMALL)


async def test_a_batch_that_ends_early_says_where(rooms: Rooms) -> None:
    await rooms.gate.take(a_batch(both_legs(9), first=1, epoch=2))
    outcome = await rooms.gate.take(a_batch(both_legs(9), first=1))
    error: EvsError | None = outcome.error
    assert (0, StaleEpoch, {}) == (outcome.end, type(error), outcome.refusals)


def test_a_slice_is_a_small_part_of_the_largest_batch() -> None:
    assert 65_536 >= 16 * SLICE_EVENTS
