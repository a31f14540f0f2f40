"""StreamEvents: batches in order, one answer each, news of what is durable, and how a batch or a stream ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.ingest import loader as loader_module
from evs_server.lifecycle import Phase
from evs_server.limits import EXACT_MAX
from evs_server.model import Side
from tests.builders import ALICE, BOB, CAROL, KICK
from tests.serving import Rooms, Stub, served, until, within_patience
from tests.wire import BUY, EM, SELL, a_request, a_trade, cash, numbered, prices, refusal, ticks, trades

StatusCode = grpc.StatusCode
GHOST = 404
SHARE = 10_000


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    """Alice, Bob and Carol with their opening cash; nothing becomes durable before ``start_writing``."""
    rooms = Rooms(dict.fromkeys((ALICE, BOB, CAROL), 1_000_000))
    await rooms.open(writing=False)
    yield rooms
    await rooms.close()


@pytest.fixture
async def stub(rooms: Rooms, tmp_path: Path) -> AsyncIterator[Stub]:
    async with served(rooms, tmp_path) as stub:
        yield stub


class Line:
    """One stream of batches."""

    def __init__(self, stub: Stub) -> None:
        self.call: Any = stub.StreamEvents()

    async def send(self, *runs: pb.EventRun, first: int = 0, epoch: int = 1) -> pb.StreamEventsResponse:
        """Send a batch and read its answer."""
        await within_patience(self.call.write(a_request(*runs, first=first, epoch=epoch)))
        return await self.read()

    async def read(self) -> pb.StreamEventsResponse:
        response: Any = await within_patience(self.call.read())
        assert isinstance(response, pb.StreamEventsResponse), await self.call.details()
        return response

    async def end(self) -> None:
        """Read on until the stream ends; raises if it ended badly."""
        while await within_patience(self.call.read()) is not grpc.aio.EOF:
            pass


@pytest.fixture
async def line(stub: Stub) -> AsyncIterator[Line]:
    line = Line(stub)
    yield line
    line.call.cancel()


def cash_cents(rooms: Rooms, account_id: int = ALICE) -> int:
    """Live, valued or not."""
    accounts = rooms.engine.export_state().accounts
    return int(accounts.cash_cents[accounts.account_id == account_id][0])


def refusals(answer: pb.StreamEventsResponse) -> list[tuple[int, int, str]]:
    """Sequence, index and reason of each."""
    return [(each.sequence, each.index, each.reason) for each in answer.refusals]


# --- answers -------------------------------------------------------------------------------------------------------


async def test_a_batch_is_answered_once_it_is_applied(line: Line) -> None:
    answer = await line.send(trades((ALICE, KICK, BUY, SHARE, 500), (BOB, KICK, SELL, SHARE, 500)), ticks(1), first=1)
    assert pb.StreamEventsResponse(applied_sequence=3, batch_answer=True, accounts_valued=2) == answer


async def test_answers_come_in_the_order_of_the_batches(line: Line) -> None:
    for first in range(1, 41, 2):
        await line.call.write(a_request(cash((ALICE, 1), (BOB, 1)), first=first))
    assert list(range(2, 42, 2)) == [(await line.read()).applied_sequence for _ in range(20)]


async def test_an_empty_batch_is_answered(line: Line) -> None:
    assert pb.StreamEventsResponse(batch_answer=True) == await line.send()
    assert pb.StreamEventsResponse(batch_answer=True) == await line.send(first=1)
    await line.send(cash((ALICE, 1)), first=1)
    assert pb.StreamEventsResponse(applied_sequence=1, batch_answer=True) == await line.send(first=2)


async def test_an_unsequenced_batch_has_no_watermarks(line: Line, rooms: Rooms) -> None:
    answer = await line.send(cash((ALICE, 5)), trades((ALICE, KICK, BUY, SHARE, 500, 0, 41)))
    again = await line.send(trades((ALICE, KICK, BUY, SHARE, 500, 0, 41), (ALICE, KICK, SELL, SHARE, 500, 0, 41)))
    assert [pb.StreamEventsResponse(batch_answer=True)] == [answer]
    assert [pb.StreamEventsResponse(batch_answer=True, duplicate_count=1)] == [again]
    assert 1_000_005 == cash_cents(rooms)


async def test_a_stream_that_its_sender_ends_ends_well(line: Line) -> None:
    await line.send(cash((ALICE, 1)), first=1)
    await line.call.done_writing()
    await line.end()


async def test_what_ends_a_stream_is_told_though_the_first_answer_is_still_on_its_way(line: Line) -> None:
    """A good batch and, at its heels, one that cannot be read: the first is answered, the stream ends by the second."""
    await line.call.write(a_request(cash((ALICE, 1)), first=1))
    await line.call.write(pb.StreamEventsRequest(runs=[pb.EventRun()]))
    assert pb.StreamEventsResponse(applied_sequence=1, batch_answer=True) == await line.read()
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await line.read()
    assert grpc.StatusCode.INVALID_ARGUMENT == ended.value.code()


# --- news of what is durable ---------------------------------------------------------------------------------------


async def test_what_becomes_durable_is_told_without_being_asked(line: Line, rooms: Rooms) -> None:
    assert 0 == (await line.send(cash((ALICE, 1), (BOB, 1)), ticks(1), first=1)).durable_sequence
    rooms.start_writing()
    assert pb.StreamEventsResponse(applied_sequence=3, durable_sequence=3) == await line.read()
    await line.send(cash((ALICE, 1)), first=4)
    assert pb.StreamEventsResponse(applied_sequence=4, durable_sequence=4) == await line.read()


async def test_unsequenced_batches_in_between_do_not_silence_the_news(line: Line, rooms: Rooms) -> None:
    await line.send(cash((ALICE, 1)), ticks(1), first=1)
    await line.send(cash((ALICE, 1)))
    rooms.start_writing()
    assert 2 == (await line.read()).durable_sequence


async def test_what_becomes_durable_while_an_answer_is_being_sent_is_told(rooms: Rooms) -> None:
    """The commit finds nobody waiting; the stream must look before it waits."""

    async def requests() -> AsyncIterator[pb.StreamEventsRequest]:
        yield a_request(cash((ALICE, 1)), first=1)
        await asyncio.Event().wait()

    responses = rooms.servicer.StreamEvents(requests(), None)
    assert pb.StreamEventsResponse(applied_sequence=1, batch_answer=True) == await within_patience(anext(responses))
    rooms.start_writing()
    await rooms.commit()
    assert pb.StreamEventsResponse(applied_sequence=1, durable_sequence=1) == await within_patience(anext(responses))
    await responses.aclose()


# --- refusals ------------------------------------------------------------------------------------------------------


async def test_refused_events_are_named_and_the_rest_is_applied(line: Line, rooms: Rooms) -> None:
    answer = await line.send(
        cash((ALICE, 1), (GHOST, 1), (ALICE, 0)),
        trades((ALICE, KICK, 99, SHARE, 500), (0, KICK, 0, 0, 0), (BOB, KICK, BUY, SHARE, 500)),
        cash((ALICE, EXACT_MAX), (ALICE, 2)),
        ticks(1),
        first=11 - 10,
    )
    assert [
        (2, 1, "NOT_FOUND"),
        (3, 2, "INVALID_ARGUMENT"),
        (4, 3, "INVALID_ARGUMENT"),
        (5, 4, "INVALID_ARGUMENT"),
        (7, 6, "OUT_OF_RANGE"),
    ] == refusals(answer)
    assert "account 404 does not exist on the exchange" == answer.refusals[0].message
    assert (9, 2, 1_000_003) == (answer.applied_sequence, answer.accounts_valued, cash_cents(rooms))


async def test_unsequenced_refusals_have_an_index_and_no_sequence(line: Line) -> None:
    assert [(0, 1, "NOT_FOUND")] == refusals(await line.send(cash((ALICE, 1), (GHOST, 1))))


async def test_refused_events_are_repeats_when_sent_again(line: Line) -> None:
    runs = [cash((ALICE, 1), (GHOST, 1), (ALICE, 0))]
    await line.send(*runs, first=1)
    again = await line.send(*runs, first=1)
    assert (3, 3, []) == (again.applied_sequence, again.duplicate_count, refusals(again))


async def test_a_batch_that_begins_too_late_is_not_applied(line: Line, rooms: Rooms) -> None:
    await line.send(cash((ALICE, 1)), first=1)
    before = rooms.state()
    answer = await line.send(cash((ALICE, 9), (GHOST, 9)), first=3)
    assert [(3, 0, "ABORTED")] == refusals(answer)
    assert f"sequence 3 of source {EM}, epoch 1, is not the next: expected 2" == answer.refusals[0].message
    assert (1, before) == (answer.applied_sequence, rooms.state())
    assert 2 == (await line.send(cash((ALICE, 9)), first=2)).applied_sequence


async def test_a_batch_of_an_older_epoch_is_not_applied(line: Line, rooms: Rooms) -> None:
    await line.send(cash((ALICE, 1)), first=1, epoch=2)
    before = rooms.state()
    answer = await line.send(cash((ALICE, 9)), first=2, epoch=1)
    assert ([(2, 0, "FAILED_PRECONDITION")], before) == (refusals(answer), rooms.state())


async def test_a_batch_ends_where_it_contradicts_what_was_sent(line: Line, rooms: Rooms) -> None:
    await line.send(cash((ALICE, 1), (ALICE, 2), (ALICE, 3)), first=1)
    before = rooms.state()
    answer = await line.send(cash((ALICE, 1), (ALICE, 7), (ALICE, 3), (ALICE, 4)), first=1)
    assert [(2, 1, "ALREADY_EXISTS")] == refusals(answer)
    assert (1, 3, before) == (answer.duplicate_count, answer.applied_sequence, rooms.state())


async def test_a_new_epoch_goes_on_from_one(line: Line) -> None:
    await line.send(cash((ALICE, 1), (ALICE, 2)), first=1)
    assert 1 == (await line.send(cash((ALICE, 9)), first=1, epoch=2)).applied_sequence


async def test_calls_and_batches_share_a_numbering(line: Line, stub: Stub, rooms: Rooms) -> None:
    """And the content of an event is the same whichever way it comes."""
    leg = (ALICE, KICK, BUY, SHARE, 500)
    await within_patience(stub.OnTradeSettled(a_trade(*leg, event_id=numbered(1))))
    answer = await line.send(trades(leg), prices((KICK, 510)), ticks(7), first=1)
    assert (1, 3) == (answer.duplicate_count, answer.applied_sequence)
    before = rooms.state()
    tick = pb.OnTickCompleteRequest(tick_id=7, event_id=numbered(3))
    assert (await within_patience(stub.OnTickComplete(tick))).duplicate
    with refusal() as told:
        await within_patience(stub.OnTickComplete(pb.OnTickCompleteRequest(tick_id=8, event_id=numbered(3))))
    assert (StatusCode.ALREADY_EXISTS, before) == (told.code, rooms.state())
    assert [(1, 0, "ALREADY_EXISTS")] == refusals(await line.send(trades((BOB, KICK, BUY, SHARE, 500)), first=1))


async def test_sixty_five_thousand_events_fit_into_a_batch(line: Line) -> None:
    answer = await line.send(prices(*[(KICK, 100)] * 65_535), ticks(1), first=1)
    assert (65_536, []) == (answer.applied_sequence, refusals(answer))


async def test_a_batch_may_name_more_new_accounts_than_are_looked_up_at_a_time(
    line: Line, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it could never pass, however often it is sent."""
    monkeypatch.setattr(loader_module, "LOADS_MAX", 10)
    rooms.tables.balances_cents.update(dict.fromkeys(range(1_000, 1_050), 5))
    answer = await line.send(cash(*((account_id, -5) for account_id in range(1_000, 1_051))), first=1)
    assert [(51, 50, "NOT_FOUND")] == refusals(answer)


async def test_one_account_that_cannot_be_keeps_no_other_out(line: Line, rooms: Rooms) -> None:
    rooms.tables.balances_cents.update({1_001: 7, 1_002: EXACT_MAX + 1, 1_003: 7})
    for trade_id, account_id in enumerate((1_001, 1_002, 1_003), start=1):
        rooms.settle(trade_id, account_id, KICK, Side.BUY, SHARE, 500)
    legs = [(account_id, KICK, BUY, SHARE, 500) for account_id in (1_001, 1_002, 1_003)]
    answer = await line.send(trades(*legs), ticks(1), first=1)
    assert [(2, 1, "OUT_OF_RANGE")] == refusals(answer)
    assert [507, None, 507] == [
        snapshot and snapshot.equity_cents for snapshot in map(rooms.engine.snapshot, (1_001, 1_002, 1_003))
    ]


# --- how a stream ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("runs", a_request(cash((ALICE, 9)), pb.EventRun(), first=2)),
        ("runs", a_request(ticks(*range(65_537)), first=2)),
        ("runs.cash", a_request(pb.EventRun(cash=pb.CashColumns(account_id=[1, 2], amount_cents=[9])), first=2)),
        ("source", a_request(cash((ALICE, 9)), first=2, source="")),
        ("source", a_request(cash((ALICE, 9)), first=2, source="nul\0")),
    ],
    ids=["no kind", "too many", "misaligned", "no source", "NUL"],
)
async def test_a_batch_that_cannot_be_read_ends_the_stream(
    line: Line, rooms: Rooms, field: str, request_: pb.StreamEventsRequest
) -> None:
    await line.send(cash((ALICE, 1)), first=1)
    before = rooms.state()
    await line.call.write(request_)
    with refusal() as told:
        await line.end()
    assert (StatusCode.INVALID_ARGUMENT, field) == (told.code, told.field)
    assert (before, 1) == (rooms.state(), rooms.sequencer.state(EM).applied_sequence)


async def test_shutting_down_ends_a_stream_that_waits(line: Line, rooms: Rooms) -> None:
    await line.send(cash((ALICE, 1)), first=1)
    rooms.lifecycle.enter(Phase.STOPPING)
    with refusal() as told:
        await line.end()
    assert (StatusCode.UNAVAILABLE, "SHUTTING_DOWN") == (told.code, told.reason)


async def test_waiting_for_what_is_durable_ends_when_evs_does(stub: Stub, rooms: Rooms) -> None:
    call = stub.GetIngestState(pb.GetIngestStateRequest(source=EM, wait_durable_sequence=1))
    waiting = asyncio.ensure_future(within_patience(call))
    await until(lambda: rooms.gate._news is not None)
    rooms.lifecycle.enter(Phase.STOPPING)
    with refusal() as told:
        await waiting
    assert (StatusCode.UNAVAILABLE, "SHUTTING_DOWN") == (told.code, told.reason)


async def test_streams_that_come_and_go_leave_no_task_behind(stub: Stub) -> None:
    """FAULTS 24."""
    before = len(asyncio.all_tasks())
    lines = [Line(stub) for _ in range(100)]
    for line in lines:
        await line.send(ticks(1))
    for line in lines:
        line.call.cancel()
    await until(lambda: len(asyncio.all_tasks()) <= before)
