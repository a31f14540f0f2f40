"""F18 to F23, F25: what senders get wrong, clocks that jump, a loop that stalls. Nothing changes that should not."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.limits import EXACT_MAX, FEE_CENTS_MAX, PRICE_CENTS_MAX, QUANTITY_BP_MAX
from tests.builders import ALICE, BOB, CAROL, DAY_MS, HOUR_MS, KICK, NOON_MS, PUNT
from tests.integration.running import Evs, Exchange, exchange_at, running
from tests.serving import SetClock
from tests.wire import BUY, a_trade, cash, numbered, prices, refusal, ticks, trades

OPENING_CENTS = 1_000_000
SHARE = 10_000
INT64_MIN = -(2**63)
MIDNIGHT_MS = NOON_MS + DAY_MS // 2
STALL_SECONDS = 0.5
StatusCode = grpc.StatusCode


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """The exchange, with three accounts."""
    async with exchange_at(database) as exchange:
        await exchange.register(dict.fromkeys((ALICE, BOB, CAROL), OPENING_CENTS))
        yield exchange


@pytest.fixture
async def evs(exchange: Exchange, database: str, tmp_path: Path) -> AsyncIterator[Evs]:
    """An EVS on that exchange, on which Alice has bought a share at 500."""
    assert exchange
    async with running(database, tmp_path, reconcile_seconds=0) as evs:
        await evs.send(trades((ALICE, KICK, BUY, SHARE, 500)), ticks(1))
        yield evs


def state_hash(evs: Evs) -> str:
    """A digest of everything that events decide."""
    core = evs.application._core
    assert core is not None
    return core.engine.state_hash()


# --- F18: sequences ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event_id", "price", "status"),
    [
        (numbered(2), 502, None),
        (numbered(2), 503, StatusCode.ALREADY_EXISTS),
        (numbered(4), 504, StatusCode.ABORTED),
        (numbered(3, epoch=6), 504, StatusCode.FAILED_PRECONDITION),
        (numbered(0, epoch=7), 504, StatusCode.INVALID_ARGUMENT),
        (numbered(3, source=""), 504, StatusCode.INVALID_ARGUMENT),
    ],
    ids=["repeated", "repeated with other content", "gap", "older epoch", "no sequence", "no source"],
)
async def test_f18_a_sequence_out_of_step_changes_nothing(
    evs: Evs, event_id: pb.EventId, price: int, status: StatusCode | None
) -> None:
    def priced(event_id: pb.EventId, price: int) -> pb.OnPriceUpdatedRequest:
        event_id.epoch = event_id.epoch if event_id.epoch == 6 else 7
        return pb.OnPriceUpdatedRequest(symbol_id=PUNT, price_cents=price, event_id=event_id)

    for sequence in (1, 2):
        await evs.stub.OnPriceUpdated(priced(numbered(sequence), 500 + sequence))
    before = state_hash(evs), await evs.state("em")
    if status is None:
        answer = await evs.stub.OnPriceUpdated(priced(event_id, price))
        assert (True, 2) == (answer.duplicate, answer.applied_sequence)
    else:
        with refusal() as told:
            await evs.stub.OnPriceUpdated(priced(event_id, price))
        assert status == told.code
    after = await evs.state("em")
    assert (before[0], before[1].applied_sequence) == (state_hash(evs), after.applied_sequence)


# --- F19, F20: values ----------------------------------------------------------------------------------------------

GOOD: dict[str, int] = {
    "account_id": ALICE, "symbol_id": KICK, "side": BUY, "quantity_bp": SHARE, "price_cents": 500, "fee_cents": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("quantity_bp", value) for value in (0, -1, INT64_MIN)),
        *(("price_cents", value) for value in (0, -1, INT64_MIN)),
        *(("account_id", value) for value in (0, -1, INT64_MIN)),
        *(("side", value) for value in (0, 99, -1)),
        *(("fee_cents", value) for value in (-1, INT64_MIN)),
    ],
)
async def test_f19_what_cannot_be_is_refused_by_its_field(evs: Evs, field: str, value: int) -> None:
    before = state_hash(evs)
    with refusal() as told:
        await evs.stub.OnTradeSettled(a_trade(**(GOOD | {field: value})))
    assert (StatusCode.INVALID_ARGUMENT, field) == (told.code, told.field)
    assert before == state_hash(evs)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity_bp", QUANTITY_BP_MAX + 1),
        ("price_cents", PRICE_CENTS_MAX + 1),
        ("fee_cents", FEE_CENTS_MAX + 1),
        ("account_id", EXACT_MAX + 1),
        ("settlement_id", EXACT_MAX + 1),
    ],
)
async def test_f20_what_is_beyond_a_bound_is_refused(evs: Evs, field: str, value: int) -> None:
    before = state_hash(evs)
    with refusal() as told:
        await evs.stub.OnTradeSettled(a_trade(**(GOOD | {field: value})))
    assert (StatusCode.OUT_OF_RANGE, field) == (told.code, told.field)
    assert before == state_hash(evs)


async def test_f20_what_would_wrap_together_is_refused(evs: Evs) -> None:
    """Each value is within its bound; what they come to is not."""
    before = state_hash(evs)
    with refusal() as told:
        await evs.stub.OnTradeSettled(
            a_trade(**(GOOD | {"quantity_bp": QUANTITY_BP_MAX, "price_cents": PRICE_CENTS_MAX}))
        )
    assert StatusCode.OUT_OF_RANGE == told.code
    with refusal() as told:
        await evs.stub.OnCashAdjusted(pb.OnCashAdjustedRequest(account_id=ALICE, amount_cents=EXACT_MAX))
    assert StatusCode.OUT_OF_RANGE == told.code
    assert before == state_hash(evs)


# --- F21, F22 --------------------------------------------------------------------------------------------------------


async def test_f21_an_unknown_account_is_refused_and_an_unknown_symbol_is_not(evs: Evs) -> None:
    before = state_hash(evs)
    with refusal() as told:
        await evs.stub.OnTradeSettled(a_trade(**(GOOD | {"account_id": 404})))
    assert (StatusCode.NOT_FOUND, before) == (told.code, state_hash(evs))
    await evs.send(prices((2**32 - 1, 7)), trades((BOB, 2**32 - 2, BUY, SHARE, 9)), ticks(2))
    assert OPENING_CENTS == (await evs.read(BOB)).equity.total_equity


async def test_f21_a_position_without_a_price_is_worth_its_cost_and_says_so(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    await exchange.hold(ALICE, PUNT, -5_000, 333)
    async with running(database, tmp_path, reconcile_seconds=0) as evs:
        await evs.send(cash((ALICE, 1)), ticks(1))
        found = await evs.read(ALICE)
        assert (-166, 0) == (found.equity.position_value, found.equity.unrealized_pnl)
        assert pb.EQUITY_FLAG_UNPRICED in found.flags


async def test_f22_ticks_repeat_go_back_and_jump(evs: Evs, exchange: Exchange) -> None:
    await evs.stored()
    before = await exchange.rows(ALICE)
    ids = [1, 1, 0, 10**9 + 1, 5, 2]
    for number, tick_id in enumerate(ids):
        await evs.send(prices((KICK, 600 + number)), ticks(tick_id))
        assert tick_id == (await evs.read(ALICE)).equity.tick
    await evs.stored()
    rows = await exchange.rows(ALICE)
    assert before == rows[: len(before)]
    assert ids == [row["tick"] for row in rows[len(before) :]]
    versions = [row["version"] for row in rows]
    assert sorted(set(versions)) == versions


# --- F23: clocks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps_ms", "rolls"),
    [
        ([HOUR_MS, -HOUR_MS], 0),
        ([DAY_MS, -DAY_MS, DAY_MS], 1),
        ([DAY_MS, DAY_MS, -DAY_MS], 2),
        ([0, 0, 0], 0),
        ([MIDNIGHT_MS - NOON_MS - 1, 1, 1, -2, 1, 1], 1),
    ],
    ids=["an hour", "a day", "two days", "frozen", "around midnight"],
)
async def test_f23_whatever_the_clock_does_each_day_begins_once(
    exchange: Exchange, database: str, tmp_path: Path, steps_ms: list[int], rolls: int
) -> None:
    clock = SetClock()
    async with running(database, tmp_path, clock, reconcile_seconds=0) as evs:
        core = evs.application._core
        assert core is not None
        await evs.send(trades((ALICE, KICK, BUY, SHARE, 500)), ticks(1))
        for number, step_ms in enumerate(steps_ms):
            clock.ms += step_ms
            core.gate.roll_if_due()
            await evs.send(prices((KICK, 501 + number)), ticks(2 + number))
        await evs.stored()
    # Carol never trades: she is valued at the import, and at each roll.
    assert rolls == len(await exchange.rows(CAROL)) - 1


async def test_f23_a_restart_a_millisecond_before_midnight_keeps_the_base(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    assert exchange
    clock = SetClock(MIDNIGHT_MS - 1)
    async with running(database, tmp_path, clock, reconcile_seconds=0) as evs:
        await evs.send(trades((ALICE, KICK, BUY, SHARE, 500)), ticks(1))
        await evs.send(prices((KICK, 510)), ticks(2))
        assert 10 == (await evs.read(ALICE)).equity.day_change
    async with running(database, tmp_path, clock, reconcile_seconds=0) as evs:
        assert 10 == (await evs.read(ALICE)).equity.day_change
        clock.ms += 1
        await evs.send(prices((KICK, 530)), ticks(3))
        assert 20 == (await evs.read(ALICE)).equity.day_change


# --- F25 ----------------------------------------------------------------------------------------------------------


async def test_f25_a_loop_that_stalls_loses_nothing(evs: Evs) -> None:
    call: Any = evs.stub.StreamEvents()
    for number in range(1, 6):
        request = pb.StreamEventsRequest(source="em", epoch=1, first_sequence=2 * number - 1)
        request.runs.extend([trades((BOB, KICK, BUY, SHARE, 500)), ticks(number)])
        await call.write(request)
    threading.Event().wait(STALL_SECONDS)
    state = await evs.state("em", wait_durable_sequence=10)
    assert (10, 10) == (state.applied_sequence, state.durable_sequence)
    assert OPENING_CENTS - 5 * 500 == (await evs.read(BOB)).equity.cash_balance
    call.cancel()
