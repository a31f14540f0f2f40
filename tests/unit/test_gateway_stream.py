"""One sender's stream at a gateway: several batches on their way, and each answered as if it had been alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.cluster.codec import decode_ensure_request, encode_ensure_response, encode_news
from evs_server.cluster.news import EnsureResponse, News, ShardRefusal
from evs_server.cluster.ports import Reply
from evs_server.cluster.shards import shard_of
from evs_server.errors import EventConflict, InvalidRequest, LogUnavailable, OutOfBounds, ShuttingDown
from evs_server.gateway import inlet as door
from evs_server.gateway import progress as waiting
from evs_server.gateway import stream as room
from evs_server.ingest.codec import decode_batch
from evs_server.ingest.tally import APPLIED
from evs_server.lifecycle import Phase
from evs_server.model import SnapshotColumns
from tests.gateway_world import Gateway, HinderedLog, Line
from tests.serving import until
from tests.wire import BUY, a_request, cash, prices, ticks, trades

ACCOUNT = 7
SHARD = shard_of(ACCOUNT)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards are what each test says: nobody is answered because time has passed."""
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 3_600.0)


@pytest.fixture
def log() -> HinderedLog:
    return HinderedLog()


@pytest.fixture
async def gateway(log: HinderedLog) -> AsyncIterator[Gateway]:
    gateway = Gateway(log, log, "a")
    gateway.know(ACCOUNT)
    async with gateway.following():
        yield gateway


@pytest.fixture
async def line(gateway: Gateway) -> AsyncIterator[Line]:
    line = Line(gateway)
    yield line
    await line.close()


def flows(first: int, number: int = 2, *, epoch: int = 1) -> pb.StreamEventsRequest:
    """So many flows from a sequence on, each by its own amount."""
    return a_request(*(cash((ACCOUNT, first + at)) for at in range(number)), first=first, epoch=epoch)


def refusals(answer: pb.StreamEventsResponse) -> list[tuple[int, int, str]]:
    """Sequence, index and reason of each."""
    return [(each.sequence, each.index, each.reason) for each in answer.refusals]


def first_sequences(log: HinderedLog) -> list[int]:
    """Where the batches begin that are in the log."""
    return [each.first_sequence for each in log.journal()]


# --- several on their way --------------------------------------------------------------------------------------------


async def test_the_next_batch_goes_in_while_shards_are_at_the_one_before(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    line.send(flows(1))
    assert await line.is_quiet()
    line.send(flows(3))
    assert await line.is_quiet()
    assert [1, 3] == first_sequences(log)
    gateway.hear(await log.last_position())
    assert [2, 4] == [each.applied_sequence for each in await line.answers(2)]


async def test_an_answer_tells_nothing_of_what_comes_after_its_batch(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    """Though the journal has more by then, and all of that is committed."""
    for first in (1, 3, 5):
        line.send(flows(first))
        assert await line.is_quiet()
    last = await log.last_position()
    gateway.hear(last, committed=last)
    assert [(2, 2), (4, 4), (6, 6)] == [
        (each.applied_sequence, each.durable_sequence) for each in await line.answers(3)
    ]
    assert await line.is_quiet()


async def test_what_becomes_durable_is_told_when_no_answer_is_due(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    line.send(flows(1))
    assert await line.is_quiet()
    first = await log.last_position()
    gateway.hear(first)
    assert pb.StreamEventsResponse(applied_sequence=2, batch_answer=True) == await line.answer()
    line.send(flows(3))
    assert await line.is_quiet()
    gateway.hear(first, committed=first)
    assert await line.is_quiet()
    gateway.hear(await log.last_position(), committed=first)
    assert pb.StreamEventsResponse(applied_sequence=4, durable_sequence=2, batch_answer=True) == await line.answer()
    assert await line.is_quiet()
    gateway.hear(await log.last_position(), committed=await log.last_position())
    assert pb.StreamEventsResponse(applied_sequence=4, durable_sequence=4) == await line.answer()


async def test_while_a_batch_is_being_put_in_nothing_is_told_of_what_is_durable(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    """It would tell of that batch, too, as far as the journal is read."""
    line.send(flows(1))
    assert await line.is_quiet()
    last = await log.last_position()
    gateway.hear(last)
    assert 2 == (await line.answer()).applied_sequence
    log.is_open.clear()
    line.send(flows(3))
    assert await line.is_quiet()
    gateway.hear(last, committed=last)
    assert await line.is_quiet()
    log.is_open.set()
    assert await line.is_quiet()
    gateway.hear(await log.last_position(), committed=last)
    assert pb.StreamEventsResponse(applied_sequence=4, durable_sequence=2, batch_answer=True) == await line.answer()


async def test_an_answer_of_an_epoch_that_is_over_keeps_to_it(log: HinderedLog, gateway: Gateway, line: Line) -> None:
    line.send(flows(1, 3))
    assert await line.is_quiet()
    first = await log.last_position()
    gateway.hear(first, committed=first)
    assert 3 == (await line.answer()).durable_sequence
    line.send(flows(4, 2), flows(1, 1, epoch=2))
    assert await line.is_quiet()
    gateway.hear(await log.last_position(), committed=first)
    assert [(5, 3), (1, 0)] == [(each.applied_sequence, each.durable_sequence) for each in await line.answers(2)]


async def test_a_stream_is_not_read_while_too_much_is_on_its_way(
    log: HinderedLog, gateway: Gateway, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BATCHES_MAX", 4)
    line.send(*(flows(first) for first in range(1, 21, 2)))
    assert await line.is_quiet()
    assert 4 == line.read_count
    gateway.hear(await log.last_position())
    await line.answer()
    # That it was sent shows when the next is asked for.
    await line.answer()
    await until(lambda: line.read_count == 5)
    assert line.read_count < 10


async def test_a_stream_is_not_read_while_too_many_events_are_on_their_way(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "EVENTS_MAX", 5)
    line.send(*(flows(first) for first in range(1, 21, 2)))
    assert await line.is_quiet()
    assert 3 == line.read_count


async def test_no_more_goes_into_the_log_than_shards_may_be_behind(
    log: HinderedLog, gateway: Gateway, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes meanwhile goes in together, once they have caught up."""
    monkeypatch.setattr(room, "APPENDS_MAX", 2)
    for first in (1, 3, 5, 7):
        line.send(flows(first))
        assert await line.is_quiet()
    assert [1, 3] == first_sequences(log)
    gateway.hear(await log.last_position())
    assert [2, 4] == [each.applied_sequence for each in await line.answers(2)]
    assert await line.is_quiet()
    assert [1, 3, 5] == first_sequences(log)
    gateway.hear(await log.last_position())
    assert [6, 8] == [each.applied_sequence for each in await line.answers(2)]


async def test_a_joint_batch_is_one_of_those_that_shards_may_be_behind(
    log: HinderedLog, gateway: Gateway, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "APPENDS_MAX", 1)
    line.send(flows(1), flows(3))
    assert await line.is_quiet()
    gateway.hear(await log.last_position())
    line.send(flows(5))
    assert [2, 4] == [each.applied_sequence for each in await line.answers(2)]
    assert await line.is_quiet()
    line.send(flows(7))
    assert await line.is_quiet()
    assert [1, 5] == first_sequences(log)


# --- jointly ---------------------------------------------------------------------------------------------------------


async def test_what_has_come_while_the_log_was_busy_goes_in_as_one(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    log.is_open.clear()
    line.send(flows(1))
    assert await line.is_quiet()
    line.send(flows(3), flows(5, 3), flows(8, 1))
    assert await line.is_quiet()
    log.is_open.set()
    assert await line.is_quiet()
    assert [(1, 2), (3, 6)] == [(each.first_sequence, len(each.digest)) for each in log.journal()]
    gateway.hear(await log.last_position())
    assert [2, 4, 7, 8] == [each.applied_sequence for each in await line.answers(4)]


async def test_what_shards_refuse_is_told_to_the_batch_that_it_was_in(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    line.send(flows(1), flows(3), a_request(cash((ACCOUNT, 5), (ACCOUNT, 0), (ACCOUNT, 7)), first=5))
    assert await line.is_quiet()
    [joint], last = log.journal(), await log.last_position()
    refused = tuple(ShardRefusal(joint.batch_id, index, OutOfBounds("cash", "too much")) for index in (3, 6))
    gateway.hearing.hear(SHARD, encode_news(News(SHARD, 1, 1, "worker", last, 0, 0, refusals=refused)))
    assert [
        [],
        [(4, 1, "OUT_OF_RANGE")],
        [(6, 1, "INVALID_ARGUMENT"), (7, 2, "OUT_OF_RANGE")],
    ] == [refusals(each) for each in await line.answers(3)]


async def test_a_batch_behind_ticks_goes_in_by_itself(log: HinderedLog, line: Line) -> None:
    """So that it is clear whose the accounts are that were valued."""
    line.send(flows(1), flows(3), a_request(cash((ACCOUNT, 5)), ticks(1), first=5), flows(7), flows(9))
    assert await line.is_quiet()
    assert [1, 7] == first_sequences(log)


async def test_batches_that_repeat_and_go_beyond_are_each_told_their_own(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    gateway.hear(1_000)
    await gateway.inlet.put(decode_batch(flows(1, 5)))
    log.is_open.clear()
    line.send(flows(6, 1), flows(1, 3), flows(4, 3), flows(7, 2))
    assert await line.is_quiet()
    log.is_open.set()
    answers = await line.answers(4)
    assert [(6, 0), (6, 3), (6, 3), (8, 0)] == [(each.applied_sequence, each.duplicate_count) for each in answers]


async def test_a_batch_that_contradicts_ends_nobody_elses(log: HinderedLog, gateway: Gateway, line: Line) -> None:
    gateway.hear(1_000)
    await gateway.inlet.put(decode_batch(flows(1, 4)))
    log.is_open.clear()
    other = a_request(cash((ACCOUNT, 3), (ACCOUNT, 999)), first=3)
    line.send(flows(5, 1), flows(1, 2), other, flows(5, 2))
    assert await line.is_quiet()
    log.is_open.set()
    answers = await line.answers(4)
    assert [[], [], [(4, 1, "ALREADY_EXISTS")], []] == [refusals(each) for each in answers]
    assert [(5, 0), (5, 2), (5, 1), (6, 1)] == [(each.applied_sequence, each.duplicate_count) for each in answers]
    counted = gateway.inlet.tally
    assert (6, 1) == (counted.events["cash", APPLIED], counted.refusals[EventConflict.reason])


# --- how a batch or the stream ends ----------------------------------------------------------------------------------


async def test_behind_a_batch_that_is_not_in_the_log_nothing_slips_in(
    log: HinderedLog, gateway: Gateway, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "PUT_SECONDS", -1.0)
    gateway.hear(1_000)
    log.away = True
    line.send(flows(1), flows(3), flows(5))
    answers = await line.answers(3)
    assert [[(1, 0, "UNAVAILABLE")], [(3, 0, "ABORTED")], [(5, 0, "ABORTED")]] == [refusals(each) for each in answers]
    assert 1 == gateway.inlet.tally.refusals[LogUnavailable.reason]
    log.away = False
    line.send(flows(1))
    assert 2 == (await line.answer()).applied_sequence
    assert [1] == first_sequences(log)


async def test_a_batch_whose_answer_was_lost_is_once_in_the_log_and_the_next_behind_it(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    gateway.hear(1_000)
    log.lost = 1
    line.send(flows(1))
    assert 2 == (await line.answer()).applied_sequence
    line.send(flows(3))
    assert 4 == (await line.answer()).applied_sequence
    assert [1, 3] == first_sequences(log)


async def test_what_another_gateway_has_put_in_meanwhile_is_a_repeat_here(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    gateway.hear(1_000)
    other = Gateway(log, log, "b")
    other.hear(1_000)
    log.is_open.clear()
    line.send(flows(1), flows(3), flows(5))
    assert await line.is_quiet()
    elsewhere = asyncio.ensure_future(other.send(*flows(1, 4).runs, first=1))
    log.is_open.set()
    answers = await line.answers(3)
    async with other.following():
        assert 4 == (await elsewhere).end
    assert 6 == answers[-1].applied_sequence
    assert 6 == sum(len(each.digest) for each in log.journal())


async def test_what_cannot_be_read_ends_the_stream_when_all_before_it_is_answered(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    line.send(flows(1), flows(3), a_request(pb.EventRun(), first=5), flows(5))
    assert await line.is_quiet()
    gateway.hear(await log.last_position())
    assert [2, 4] == [each.applied_sequence for each in await line.answers(2)]
    with pytest.raises(InvalidRequest):
        await line.answer()
    assert [4] == [len(each.digest) for each in log.journal()]


async def test_a_stream_that_its_sender_ends_is_answered_to_the_end(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    line.send(flows(1), flows(3), flows(5))
    line.end()
    assert await line.is_quiet()
    gateway.hear(await log.last_position())
    assert [2, 4, 6] == [each.applied_sequence for each in await line.answers(3)]
    with pytest.raises(StopAsyncIteration):
        await line.answer()


async def test_shutting_down_ends_a_stream_with_batches_on_their_way(gateway: Gateway, line: Line) -> None:
    """At once, though no shard has told anything."""
    line.send(flows(1), flows(3))
    assert await line.is_quiet()
    gateway.lifecycle.enter(Phase.STOPPING)
    with pytest.raises(ShuttingDown):
        await line.answer()


async def test_a_sender_that_leaves_leaves_nothing_behind(log: HinderedLog, gateway: Gateway) -> None:
    """FAULTS 24: whether it is being read, put in or waited for."""
    before = len(asyncio.all_tasks())
    log.is_open.clear()
    lines = [Line(gateway) for _ in range(10)]
    for number, line in enumerate(lines):
        line.send(*(flows(first) for first in range(1, 1 + 2 * number, 2)))
        assert await line.is_quiet()
    for line in lines:
        await line.close()
    await until(lambda: len(asyncio.all_tasks()) <= before)


# --- without numbers -------------------------------------------------------------------------------------------------


async def test_a_settlement_is_asked_for_when_what_came_before_is_applied(
    log: HinderedLog, gateway: Gateway, line: Line
) -> None:
    """An owner that is asked too soon would not know yet that it has had it."""
    applied: list[int] = []

    async def answer(_method: str, question: bytes) -> Reply:
        asked = decode_ensure_request(question)
        applied.append(gateway.progress[SHARD].applied)
        repeated = tuple(range(len(asked.settlements))) if applied[-1] else ()
        return Reply(encode_ensure_response(EnsureResponse(SnapshotColumns.empty(), {}, repeated, 1)), start_number=1)

    trade = a_request(trades((ACCOUNT, 1, BUY, 10_000, 100, 0, 41)))
    async with log.answer(SHARD, answer):
        line.send(trade)
        assert await line.is_quiet()
        line.send(trade, a_request(prices((1, 105))))
        assert await line.is_quiet()
        assert [0] == applied
        gateway.hear(await log.last_position())
        answers = await line.answers(3)
    assert ([0, 1, 0], 2) == ([each.duplicate_count for each in answers], len(applied))
    assert applied[1] > 0
