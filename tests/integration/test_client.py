"""
The sender against a real gRPC server whose EVS keeps the contract of ingest and, on request, misbehaves.

Nearly every test ends by comparing what EVS has applied with what was sent: each event once, in order.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs_client import (
    CashEvent,
    Event,
    ExecutionManagerClient,
    PriceEvent,
    Refusal,
    SenderTuning,
    TickEvent,
    TradeEvent,
)
from evs_client.errors import (
    CallRefused,
    ClientClosed,
    HistoryLost,
    NotApplied,
    NotDurable,
    NotOpened,
    OutboxFull,
    PermissionDenied,
    SenderFailed,
    SequenceConflict,
    StaleEpoch,
)
from evs_client.testing import events_in

from tests.integration.scripted_evs import (
    PATIENCE_S,
    Batch,
    Context,
    Deed,
    ScriptedEvs,
    drop,
    fail,
    ignore,
    refuse_all,
    served,
    take_and_crash,
    take_and_drop,
)

QUICK = {"backoff_first_s": 0.001, "backoff_max_s": 0.01}


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/evs.sock"


@pytest.fixture
async def evs(target: str) -> AsyncIterator[ScriptedEvs]:
    scripted = ScriptedEvs()
    async with served(scripted, target):
        yield scripted


def sender(target: str, *, tuning: dict[str, Any] | None = None, **arguments: Any) -> ExecutionManagerClient:
    return ExecutionManagerClient(target, source="em", tuning=SenderTuning(**{**QUICK, **(tuning or {})}), **arguments)


async def send_prices(client: ExecutionManagerClient, prices: range) -> list[Event]:
    for price_cents in prices:
        await client.on_price_updated(1, price_cents)
    return [PriceEvent(1, price_cents) for price_cents in prices]


async def test_events_of_all_kinds_arrive_once_and_in_order(target: str, evs: ScriptedEvs) -> None:
    async with sender(target, metadata=(("authorization", "Bearer t"),)) as client:
        await client.on_cash_adjusted(7, 1_000_000, "opening")
        await client.on_trade_settled(7, 1, "BUY", shares=100, price_cents=5_000, fee_cents=3, settlement_id=41)
        await client.on_price_updated(1, 6_000)
        await client.on_tick_complete(9, 1_700_000_000_000)
        await client.wait_applied(PATIENCE_S)
        await client.wait_durable(PATIENCE_S)
        assert (1, 4, 4) == (client.epoch, client.applied_sequence, client.durable_sequence)
        assert 0 == client.statistics().kept_count
    assert [
        CashEvent(7, 1_000_000, "opening"),
        TradeEvent(7, 1, 1, 1_000_000, 5_000, 3, 41),
        PriceEvent(1, 6_000),
        TickEvent(9, 1_700_000_000_000),
    ] == evs.applied
    assert ("authorization", "Bearer t") in evs.metadata_seen


async def test_a_caller_is_not_held_up_and_what_queues_up_shares_batches(target: str, evs: ScriptedEvs) -> None:
    async with sender(target) as client:
        sent = await send_prices(client, range(1, 10_001))
        await client.wait_durable(PATIENCE_S)
        assert client.statistics().batch_count < 100
    assert sent == evs.applied


async def test_a_block_stays_in_one_request(target: str, evs: ScriptedEvs) -> None:
    async with sender(target, tuning={"batch_events_max": 3}) as client:
        for number in range(1, 101):
            async with client.batch() as batch:
                batch.trade(7, 1, "BUY", shares=1, price_cents=100, settlement_id=2 * number - 1)
                batch.trade(8, 1, "SELL", shares=1, price_cents=100, settlement_id=2 * number)
        await client.wait_durable(PATIENCE_S)
    assert list(range(1, 201)) == [event.settlement_id for event in evs.applied if isinstance(event, TradeEvent)]
    assert {2} == {len(events_in(request)) for request in evs.requests}


async def test_a_block_that_ends_in_an_exception_sends_nothing(target: str, evs: ScriptedEvs) -> None:
    async with sender(target) as client:
        with pytest.raises(ZeroDivisionError):
            async with client.batch() as batch:
                batch.tick(1 // 0)
        await client.on_tick_complete(2)
    assert [TickEvent(2, 0)] == evs.applied


@pytest.mark.parametrize("deed", [drop, take_and_drop, take_and_crash, refuse_all("UNAVAILABLE"),
                                  refuse_all("RESOURCE_EXHAUSTED"), refuse_all("ABORTED"),
                                  fail(grpc.StatusCode.INTERNAL)])  # fmt: skip
async def test_whatever_breaks_nothing_is_lost_or_doubled(target: str, evs: ScriptedEvs, deed: Deed) -> None:
    evs.prompt = False
    # The batches that are in flight behind the first misdeed may still arrive: the second one comes well after them.
    evs.script.extend([ScriptedEvs.take, deed, *[ScriptedEvs.take] * 8, deed])
    async with sender(target, tuning={"batch_events_max": 10}) as client:
        sent = await send_prices(client, range(1, 1_001))
        await client.wait_applied(PATIENCE_S)
        assert 2 <= client.statistics().reconnect_count
        evs.prompt = True
        await evs.commit()
    assert sent == evs.applied


async def test_after_a_crash_sending_begins_again_after_what_is_durable(target: str, evs: ScriptedEvs) -> None:
    evs.prompt = False
    async with sender(target, tuning={"batch_events_max": 10, "batches_in_flight_max": 1}) as client:
        sent = await send_prices(client, range(1, 11))
        await client.wait_applied(PATIENCE_S)
        await evs.commit()
        await client.wait_durable(PATIENCE_S)
        evs.script.extend([ScriptedEvs.take, take_and_crash])
        sent += await send_prices(client, range(11, 31))
        await evs.until(lambda: len(evs.applied) == 30)
        assert [1, 11, 21, 11, 21] == [request.first_sequence for request in evs.requests]
        assert 20 == client.statistics().resent_count
        evs.prompt = True
        await evs.commit()
    assert sent == evs.applied


async def test_evs_may_be_away_for_a_while(target: str) -> None:
    evs = ScriptedEvs()
    async with served(evs, target):
        client = await sender(target).__aenter__()
        sent = await send_prices(client, range(1, 11))
        await client.wait_durable(PATIENCE_S)
    sent += await send_prices(client, range(11, 21))
    async with served(evs, target):
        await client.__aexit__(None, None, None)
    assert sent == evs.applied


async def test_a_line_that_swallows_batches_is_given_up(target: str, evs: ScriptedEvs) -> None:
    evs.script.append(ignore)
    async with sender(target, tuning={"answer_deadline_s": 0.05}) as client:
        sent = await send_prices(client, range(1, 11))
        await client.wait_durable(PATIENCE_S)
    assert sent == evs.applied


async def test_a_full_outbox_holds_the_caller_until_something_is_durable(target: str, evs: ScriptedEvs) -> None:
    evs.prompt = False
    async with sender(target, tuning={"outbox_events_max": 5, "batch_events_max": 5}) as client:
        sent = await send_prices(client, range(1, 6))
        sixth = asyncio.create_task(send_prices(client, range(6, 7)))
        await client.wait_applied(PATIENCE_S)
        assert not sixth.done()
        evs.prompt = True
        await evs.commit()
        sent += await sixth
    assert sent == evs.applied


async def test_a_full_outbox_may_refuse_instead(target: str, evs: ScriptedEvs) -> None:
    evs.prompt = False
    tuning = {"outbox_events_max": 5, "batch_events_max": 5}
    async with sender(target, tuning=tuning, block=False) as client:
        sent = await send_prices(client, range(1, 6))
        with pytest.raises(OutboxFull, match="no room for 1 events: 5 of 5 are not durable"):
            await client.on_tick_complete(1)
        assert 1 == client.statistics().full_count
        await client.wait_applied(PATIENCE_S)
        await evs.commit()
    assert sent == evs.applied


async def test_a_refused_event_is_told_once_with_its_content_and_the_rest_goes_on(
    target: str, evs: ScriptedEvs
) -> None:
    evs.prompt = False
    evs.refuse = {2: "NOT_FOUND"}
    evs.script.extend([take_and_crash])
    told: asyncio.Queue[Refusal] = asyncio.Queue()
    async with sender(target, on_refused=told.put_nowait) as client:
        await client.on_tick_complete(1)
        await client.on_cash_adjusted(99, 5)
        await client.on_tick_complete(2)
        await evs.until(lambda: len(evs.requests) == 2)
        await client.wait_applied(PATIENCE_S)
        expected = Refusal(2, "NOT_FOUND", "event 2 as scripted", CashEvent(99, 5, ""))
        assert expected == await told.get()
        assert told.empty()
        assert [expected] == list(client.refusals)
        assert 1 == client.statistics().refused_count
        await evs.commit()


async def test_a_callback_that_raises_harms_nobody(target: str, evs: ScriptedEvs) -> None:
    reported: asyncio.Queue[object] = asyncio.Queue()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: reported.put_nowait(what["exception"]))

    def raise_key_error(_refusal: Refusal) -> None:
        raise KeyError("the caller's own")

    evs.refuse = {1: "OUT_OF_RANGE"}
    async with sender(target, on_refused=raise_key_error) as client:
        sent = await send_prices(client, range(1, 4))
        await client.wait_durable(PATIENCE_S)
        assert isinstance(await reported.get(), KeyError)
    assert sent == evs.applied


@pytest.mark.parametrize(
    ("kind", "deed"),
    [
        (SequenceConflict, refuse_all("ALREADY_EXISTS")),
        (StaleEpoch, refuse_all("FAILED_PRECONDITION")),
        (SenderFailed, refuse_all("A_REASON_OF_THE_FUTURE")),
        (PermissionDenied, fail(grpc.StatusCode.PERMISSION_DENIED)),
        (CallRefused, fail(grpc.StatusCode.UNIMPLEMENTED)),
    ],
)
async def test_a_sender_that_cannot_go_on_says_so_to_every_caller(
    target: str, evs: ScriptedEvs, kind: type[Exception], deed: Deed
) -> None:
    evs.script.append(deed)
    client = await sender(target).__aenter__()
    await client.on_tick_complete(1)
    with pytest.raises(kind) as first:
        await client.wait_applied(PATIENCE_S)
    with pytest.raises(kind) as second:
        await client.on_tick_complete(2)
    with pytest.raises(kind) as third:
        await client.__aexit__(None, None, None)
    assert first.value is second.value is third.value
    assert 1 == len(evs.requests)


async def test_a_caller_that_waits_for_room_hears_of_the_failure(target: str, evs: ScriptedEvs) -> None:
    evs.prompt = False
    evs.script.extend([ScriptedEvs.take, refuse_all("FAILED_PRECONDITION")])
    tuning = {"outbox_events_max": 2, "batch_events_max": 1, "batches_in_flight_max": 1, "close_deadline_s": None}
    async with sender(target, tuning=tuning) as client:
        await send_prices(client, range(1, 3))
        with pytest.raises(StaleEpoch, match="event 2 was refused"):
            await client.on_tick_complete(3)


async def test_history_that_evs_has_lost_is_an_error_with_its_numbers(target: str, evs: ScriptedEvs) -> None:
    async with sender(target, tuning={"close_deadline_s": None}) as client:
        await send_prices(client, range(1, 11))
        await client.wait_durable(PATIENCE_S)
        del evs.applied[4:]
        evs.durable = 4
        evs.script.append(drop)
        await client.on_tick_complete(1)
        with pytest.raises(HistoryLost, match="up to 4 durable, but once had up to 10"):
            await client.wait_applied(PATIENCE_S)


async def test_another_process_with_the_same_name_is_an_error(target: str, evs: ScriptedEvs) -> None:
    async with sender(target, tuning={"close_deadline_s": None}) as client:
        await client.on_tick_complete(1)
        await client.wait_durable(PATIENCE_S)
        evs.applied += [TickEvent(2, 0), TickEvent(3, 0)]
        evs.script.append(drop)
        await client.on_tick_complete(2)
        with pytest.raises(SequenceConflict, match=r"applied sequences up to 3 .* only those up to 2 were sent"):
            await client.wait_applied(PATIENCE_S)


async def test_a_fresh_process_opens_the_next_epoch_once_everything_before_is_durable(
    target: str, evs: ScriptedEvs
) -> None:
    evs.epoch, evs.applied, evs.durable = 4, [TickEvent(1, 0), TickEvent(2, 0)], 1
    opening = asyncio.create_task(sender(target).__aenter__())
    await evs.until(lambda: evs.states_asked >= 2)
    assert not opening.done()
    await evs.commit()
    client = await opening
    assert 5 == client.epoch
    await client.on_tick_complete(3)
    await client.__aexit__(None, None, None)
    assert (5, [TickEvent(3, 0)]) == (evs.epoch, evs.applied)


async def test_an_epoch_that_evs_lost_in_a_crash_is_opened_again(target: str, evs: ScriptedEvs) -> None:
    evs.epoch, evs.applied, evs.durable = 4, [TickEvent(1, 0)], 1

    async def take_and_lose_the_epoch(evs: ScriptedEvs, batch: Batch, context: Context) -> None:
        evs.prompt = False
        await evs.take(batch, context)
        evs.epoch, evs.applied, evs.durable, evs.prompt = 4, [TickEvent(1, 0)], 1, True
        await context.abort(grpc.StatusCode.UNAVAILABLE, "crashed")

    evs.script.append(take_and_lose_the_epoch)
    async with sender(target) as client:
        await client.on_tick_complete(2)
        await client.wait_durable(PATIENCE_S)
    assert (5, [TickEvent(2, 0)]) == (evs.epoch, evs.applied)


async def test_opening_gives_up_when_what_was_sent_before_does_not_become_durable(
    target: str, evs: ScriptedEvs
) -> None:
    evs.epoch, evs.applied = 4, [TickEvent(1, 0)]
    with pytest.raises(NotOpened, match="epoch 4 is applied up to 1 and durable only up to 0"):
        await sender(target, tuning={"open_deadline_s": 0.1}).__aenter__()


async def test_opening_gives_up_when_evs_is_not_there(target: str) -> None:
    with pytest.raises(NotOpened, match=r"is not open at .* within 0.1 s: UNAVAILABLE"):
        await sender(target, tuning={"open_deadline_s": 0.1}).__aenter__()


async def test_a_client_may_come_up_before_evs(target: str) -> None:
    evs = ScriptedEvs(epoch=2)
    client = await sender(target, tuning={"open_deadline_s": None}).__aenter__()
    sent = await send_prices(client, range(1, 4))
    assert 0 == client.epoch
    async with served(evs, target):
        await client.__aexit__(None, None, None)
    assert (3, sent) == (evs.epoch, evs.applied)


async def test_an_epoch_that_is_asked_for_is_continued(target: str, evs: ScriptedEvs) -> None:
    evs.epoch, evs.applied, evs.durable = 4, [TickEvent(1, 0), TickEvent(2, 0)], 2
    async with sender(target, epoch=4) as client:
        await client.on_tick_complete(3)
        await client.wait_durable(PATIENCE_S)
        assert (4, 3) == (client.epoch, client.durable_sequence)
    assert [TickEvent(1, 0), TickEvent(2, 0), TickEvent(3, 0)] == evs.applied


async def test_an_epoch_older_than_evs_knows_cannot_be_opened(target: str, evs: ScriptedEvs) -> None:
    evs.epoch = 4
    with pytest.raises(StaleEpoch, match="epoch 3 of source 'em' is older than EVS's 4"):
        await sender(target, epoch=3).__aenter__()


async def test_leaving_says_what_is_not_durable(target: str, evs: ScriptedEvs) -> None:
    evs.prompt = False
    client = await sender(target, tuning={"close_deadline_s": 0.1}).__aenter__()
    await client.on_tick_complete(1)
    await client.wait_applied(PATIENCE_S)
    with pytest.raises(NotDurable, match=r"sequence 1 is not durable .* applied up to 1, durable up to 0"):
        await client.__aexit__(None, None, None)


async def test_waiting_has_a_deadline_and_may_be_repeated(target: str, evs: ScriptedEvs) -> None:
    evs.script.append(ignore)
    async with sender(target, tuning={"answer_deadline_s": 0.3}) as client:
        await client.on_tick_complete(1)
        with pytest.raises(NotApplied, match=r"sequence 1 is not applied within 0.05 s"):
            await client.wait_applied(0.05)
        await client.wait_applied(PATIENCE_S)


async def test_a_client_is_used_inside_its_block_and_opens_once(target: str, evs: ScriptedEvs) -> None:
    client = sender(target)
    with pytest.raises(ClientClosed, match="is not open"):
        await client.on_tick_complete(1)
    async with client:
        pass
    with pytest.raises(ClientClosed, match="is closed"):
        await client.on_tick_complete(1)
    with pytest.raises(ClientClosed, match="opens once"):
        await client.__aenter__()
    assert [] == evs.applied
