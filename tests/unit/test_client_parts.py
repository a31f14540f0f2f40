"""The client's small parts: pauses, refusals, statuses, values, settings."""

from typing import Any, cast

import grpc
import grpc.aio
import pytest
from evs.v1 import evs_pb2
from evs_client import ExecutionManagerClient, PostSettlementCallback, Refusal, SenderTuning, TradeEvent
from evs_client.backoff import Backoff
from evs_client.equity_value import decode_value
from evs_client.errors import (
    CallRefused,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    refused_for_good,
)
from evs_client.refusals import RefusalLog
from evs_client.testing import RecordedEvents


def test_pauses_double_up_to_the_longest_and_begin_again_after_success() -> None:
    backoff = Backoff(0.1, 0.5, chance=lambda: 0.0)
    assert [0.1, 0.2, 0.4, 0.5, 0.5] == [backoff.next_s() for _ in range(5)]
    backoff.reset()
    assert 0.1 == backoff.next_s()


def test_chance_shortens_a_pause_by_up_to_a_half() -> None:
    assert 0.5 == Backoff(1.0, 1.0, chance=lambda: 1.0).next_s()


@pytest.mark.parametrize(("first_s", "max_s"), [(0, 1), (-1, 1), (2, 1)])
def test_pauses_that_cannot_be_are_an_error(first_s: float, max_s: float) -> None:
    with pytest.raises(ValueError, match="expected 0 < first <= max"):
        Backoff(first_s, max_s)


def refusal(sequence: int) -> Refusal:
    return Refusal(sequence, "NOT_FOUND", "account 9 does not exist on the exchange", None)


def test_a_refusal_is_noted_once_however_often_its_event_is_sent() -> None:
    log = RefusalLog(kept=10)
    assert [True, True, False] == [log.note(refusal(sequence)) for sequence in (3, 4, 3)]
    assert (2, [3, 4]) == (log.count, [noted.sequence for noted in log.newest])


def test_a_refusal_log_keeps_the_newest_and_counts_all() -> None:
    log = RefusalLog(kept=2)
    for sequence in range(1, 6):
        log.note(refusal(sequence))
        log.forget_durable(sequence)
    assert (5, [4, 5]) == (log.count, [noted.sequence for noted in log.newest])


def failed_call(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "account 9 is not yours")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (InvalidArgument, grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound, grpc.StatusCode.NOT_FOUND),
        (PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
        (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
        (CallRefused, grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_a_status_that_no_retry_changes_becomes_an_error_of_its_own(
    kind: type[CallRefused], code: grpc.StatusCode
) -> None:
    refused = refused_for_good(failed_call(code))
    assert refused is not None
    assert (kind, code) == (type(refused), refused.code)
    assert f"{code.name}: account 9 is not yours" == str(refused)


@pytest.mark.parametrize("name", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "CANCELLED"])
def test_a_status_that_passes_is_worth_another_try(name: str) -> None:
    assert refused_for_good(failed_call(grpc.StatusCode[name])) is None


def test_a_message_of_the_stream_becomes_a_value() -> None:
    a_newer_flag = cast("evs_pb2.EquityFlag", 99)
    message = evs_pb2.SubscribeEquityResponse(
        equity=evs_pb2.EquityUpdate(
            account_id=7,
            tick=3,
            timestamp=1_700_000_000,
            total_equity=1_100_000,
            cash_balance=500_000,
            position_value=600_000,
            day_change=100_000,
            day_change_percent=10.0,
            unrealized_pnl=100_000,
            realized_pnl=0,
        ),
        version=42,
        snapshot=True,
        conflated=2,
        flags=[evs_pb2.EQUITY_FLAG_UNPRICED, a_newer_flag],
    )
    value = decode_value(message)
    assert value is not None
    assert (7, 3, 1_100_000, 100_000, 10.0) == (
        value.account_id, value.tick, value.total_equity, value.day_change, value.day_change_percent,
    )  # fmt: skip
    assert (42, True, 2, ("UNPRICED", "99")) == (value.version, value.snapshot, value.conflated, value.flags)


def test_a_heartbeat_is_no_value() -> None:
    assert decode_value(evs_pb2.SubscribeEquityResponse(version=42)) is None


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("outbox_events_max 0 cannot be", {"outbox_events_max": 0}),
        ("close_deadline_s -1 cannot be", {"close_deadline_s": -1}),
        ("batch_events_max 2001 is above 2000", {"batch_events_max": 2_001}),
        ("batch_events_max 2000 is above outbox_events_max 10", {"outbox_events_max": 10}),
    ],
)
def test_tuning_that_cannot_work_is_an_error(message: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        SenderTuning(**settings)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("has 0 bytes: expected 1 to 64", {"source": ""}),
        ("has 66 bytes: expected 1 to 64", {"source": "é" * 33}),
        ("epoch 0 cannot be", {"source": "em", "epoch": 0}),
    ],
)
def test_a_sender_that_cannot_be_is_an_error(message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        ExecutionManagerClient("localhost:1", **arguments)


def test_the_client_and_its_stand_in_are_callbacks_of_the_exchange() -> None:
    callbacks: list[PostSettlementCallback] = [ExecutionManagerClient("localhost:1", source="em"), RecordedEvents()]
    assert 2 == len(callbacks)


async def test_the_stand_in_keeps_events_and_checks_them_like_the_client() -> None:
    recorded = RecordedEvents()
    await recorded.on_trade_settled(7, 1, "SELL", quantity_bp=10_000, price_cents=1_500)
    await recorded.on_price_updated(1, 1_600)
    await recorded.on_tick_complete(3)
    assert TradeEvent(7, 1, 2, 10_000, 1_500, 0, 0) == recorded.events[0]
    assert [(1, 1_600), (3, 0)] == recorded.events[1:]
    with pytest.raises(TypeError, match="price_cents"):
        await recorded.on_price_updated(1, cast("int", 1.5))
