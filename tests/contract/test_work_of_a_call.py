"""
How much the interpreter does for one call, counted and not timed: between two calls a server sleeps, and wakes up cold.

The way is that of a call of ``evs serve`` from its bytes to its answer, without gRPC: guard, servicer, gate, intake.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from types import FrameType
from typing import Any

import pytest
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc
from google.protobuf.message import Message

from evs_server.ingest import codec
from evs_server.limits import TURN_ROWS
from tests.builders import ALICE, BOB, KICK
from tests.guarded import Context, Server, guarded
from tests.serving import Rooms, until
from tests.wire import BUY, EM, a_batch, cash, numbered, ticks, trades

SERVICE = "/evs.v1.EquityValuationService/"
TRADE = pb.OnTradeSettledRequest(account_id=ALICE, symbol_id=KICK, side=BUY, quantity_bp=10_000, price_cents=100)


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    rooms = Rooms(dict.fromkeys((ALICE, BOB), 1_000_000))
    await rooms.open(writing=False)
    yield rooms
    await rooms.close()


def calls(method: Any, request: Message) -> int:
    """How many functions the interpreter calls to answer a request, which must not wait for anything."""
    return functions(method(request.SerializeToString(), Context()))


def functions(answering: Coroutine[Any, Any, Any]) -> int:
    """How many functions the interpreter calls in a coroutine, which must not wait for anything."""
    count = 0

    def note(_frame: FrameType, event: str, _what: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        answering.send(None)
    except StopIteration:
        return count
    finally:
        sys.setprofile(before)
    raise AssertionError("the call waits")


def guarded_methods(rooms: Rooms) -> Callable[[str], Any]:
    """What answers the calls of a method, by its name, as the guard hangs it into a server."""
    server = Server()
    evs_pb2_grpc.add_EquityValuationServiceServicer_to_server(rooms.servicer, guarded(server, rooms.clock))
    return lambda name: server.handler(SERVICE + name).unary_unary


@pytest.mark.parametrize(
    ("calls_max", "name", "request_"),
    [
        (40, "OnPriceUpdated", pb.OnPriceUpdatedRequest(symbol_id=KICK, price_cents=101)),
        (50, "OnTradeSettled", TRADE),
        (70, "OnTickComplete", pb.OnTickCompleteRequest(tick_id=1)),
    ],
)
async def test_a_call_costs_no_more_than_so_many_functions(
    rooms: Rooms, calls_max: int, name: str, request_: Message
) -> None:
    method = guarded_methods(rooms)(name)
    for _ in range(3):  # what the first calls make once for all does not count
        calls(method, request_)
        await asyncio.sleep(0)
    counted = calls(method, request_)
    assert counted <= calls_max, counted


async def test_a_tick_that_values_an_account_costs_no_more_than_so_many_functions(rooms: Rooms) -> None:
    """Not that of its capture, which comes after the answer."""
    method = guarded_methods(rooms)
    for tick in range(1, 5):
        calls(method("OnTradeSettled"), TRADE)
        counted = calls(method("OnTickComplete"), pb.OnTickCompleteRequest(tick_id=tick))
        await asyncio.sleep(0)
    assert counted <= 100, counted


@pytest.mark.parametrize(
    ("calls_max", "name", "request_"),
    [
        (65, "OnPriceUpdated", pb.OnPriceUpdatedRequest(symbol_id=KICK, price_cents=101)),
        (75, "OnTradeSettled", TRADE),
        (95, "OnTickComplete", pb.OnTickCompleteRequest(tick_id=1)),
        (240, "OnCashAdjusted", pb.OnCashAdjustedRequest(account_id=ALICE, amount_cents=1)),
    ],
)
async def test_a_call_of_a_sender_that_numbers_its_events_costs_no_more_than_so_many_functions(
    rooms: Rooms, calls_max: int, name: str, request_: Any
) -> None:
    """A flow takes the way of a batch: whether its account is to be read first has to be asked."""
    method = guarded_methods(rooms)(name)
    for number in range(1, 5):
        request_.event_id.CopyFrom(numbered(number))
        counted = calls(method, request_)
        await asyncio.sleep(0)
    request_.ClearField("event_id")
    assert counted <= calls_max, counted


async def test_a_batch_costs_no_more_than_so_many_functions_however_long_it_is(rooms: Rooms) -> None:
    """From its bytes to what is answered, without gRPC; a few more where room for its digests is made."""

    async def take(payload: bytes) -> None:
        await rooms.gate.take(codec.decode_batch(pb.StreamEventsRequest.FromString(payload)))

    counted: dict[int, int] = {}
    first = 1
    for size in (10, 10, 10, 100, 1_000):
        runs = [trades(*[(ALICE, KICK, BUY, 10_000, 100)] * size)]
        request = pb.StreamEventsRequest(source=EM, epoch=1, first_sequence=first, runs=runs)
        counted[size] = functions(take(request.SerializeToString()))
        first += size
    assert counted[10] <= 190, counted
    assert counted[100] <= 200, counted
    assert counted[1_000] <= counted[100] + 10, counted


async def test_a_tick_that_values_nobody_is_captured_with_what_comes_after_it(rooms: Rooms) -> None:
    """An exchange that completes a tick for each symbol has many of them: no transaction for each."""
    before = rooms.writer.statistics().waiting_flush_count
    await rooms.gate.take(a_batch(ticks(1, 2), first=1))
    assert 0 == rooms.gate.take_tick(3, 0)
    await asyncio.sleep(0)
    assert (before, True) == (rooms.writer.statistics().waiting_flush_count, rooms.intake.has_unflushed)
    rooms.gate.flush_now()
    assert before + 1 == rooms.writer.statistics().waiting_flush_count


async def test_a_tick_is_answered_before_it_is_captured(rooms: Rooms) -> None:
    before = rooms.writer.statistics().waiting_flush_count
    outcome = await rooms.gate.take(a_batch(cash((ALICE, 1)), ticks(1), first=1))
    assert (1, before) == (outcome.accounts_valued, rooms.writer.statistics().waiting_flush_count)
    await asyncio.sleep(0)
    assert before + 1 == rooms.writer.statistics().waiting_flush_count


async def test_an_event_that_comes_before_a_tick_is_captured_is_not_captured_with_it(rooms: Rooms) -> None:
    before = rooms.writer.statistics().waiting_flush_count
    await rooms.gate.take(a_batch(cash((ALICE, 1)), ticks(1), first=1))
    await rooms.gate.take(a_batch(cash((ALICE, 2)), first=3))
    assert before + 1 == rooms.writer.statistics().waiting_flush_count
    assert (True, 3) == (rooms.intake.has_unflushed, rooms.sequencer.state(EM).applied_sequence)


async def test_ticks_that_complete_before_the_writers_turn_are_captured_as_one(rooms: Rooms) -> None:
    """A capture costs as much as the tick: one for each transaction will do."""
    rooms.await_turns()
    before = rooms.writer.statistics().waiting_flush_count
    for number in range(1, 4):
        await rooms.gate.take(a_batch(cash((ALICE, 1)), ticks(number), first=2 * number - 1))
    await asyncio.sleep(0)
    assert before == rooms.writer.statistics().waiting_flush_count
    rooms.start_writing()
    await until(lambda: rooms.sequencer.state(EM).durable_sequence == 6)
    statistics = rooms.writer.statistics()
    assert (1, before + 1) == (statistics.commit_count, statistics.committed_flush_number)


async def test_a_tick_of_many_accounts_is_captured_by_itself() -> None:
    """What waits until then is bounded."""
    accounts = range(1, TURN_ROWS + 2)
    rooms = Rooms(dict.fromkeys(accounts, 1_000_000))
    await rooms.open(writing=False)
    rooms.await_turns()
    before = rooms.writer.statistics().waiting_flush_count
    await rooms.gate.take(a_batch(cash(*((account, 1) for account in accounts)), ticks(1)))
    await asyncio.sleep(0)
    assert before + 1 == rooms.writer.statistics().waiting_flush_count
    await rooms.close()
