"""What senders are answered, call by call: every refusal with its status and details, and what each leaves behind."""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from google.protobuf.message import Message

from evs_server.lifecycle import Phase
from evs_server.limits import EXACT_MAX, PRICE_CENTS_MAX
from evs_server.model import Side
from evs_server.store.memory import Fault
from tests.builders import ALICE, BOB, KICK, NOON_MS, PUNT
from tests.patience import PATIENCE_SECONDS
from tests.serving import LoopServer, Rooms
from tests.wire import BUY, SELL, a_trade, numbered, refusal

StatusCode = grpc.StatusCode
GHOST = 404
SHARE = 10_000
INT64_MIN = -(2**63)

Send = Callable[[Message], Any]


@pytest.fixture
def send(grpc_stub: Any) -> Send:
    """Sends a request to the method it belongs to."""

    def to_its_method(request: Message) -> Any:
        method = request.DESCRIPTOR.name.removesuffix("Request")
        return getattr(grpc_stub, method)(request, timeout=PATIENCE_SECONDS)

    return to_its_method


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    """Names that no other test of the module uses."""
    return (f"sender-{number}" for number in itertools.count(1))


@pytest.fixture
def source(names: Iterator[str]) -> str:
    """A sender that nobody has heard of yet."""
    return next(names)


@pytest.fixture
def state(loop_server: LoopServer, rooms: Rooms) -> Callable[[], str]:
    """A digest of everything that events decide."""
    return lambda: loop_server.call(rooms.state)


def a_deposit(amount_cents: int = 1, account_id: int = ALICE, **rest: Any) -> pb.OnCashAdjustedRequest:
    return pb.OnCashAdjustedRequest(account_id=account_id, amount_cents=amount_cents, **rest)


def with_id(request: Message, event_id: pb.EventId) -> Any:
    """The same event, numbered."""
    same: Any = type(request)()
    same.CopyFrom(request)
    same.event_id.CopyFrom(event_id)
    return same


GOOD = [
    a_trade(ALICE, KICK, BUY, SHARE, 5_000),
    pb.OnPriceUpdatedRequest(symbol_id=KICK, price_cents=6_000),
    pb.OnTickCompleteRequest(tick_id=7, tick_time=NOON_MS),
    a_deposit(),
]


# --- accepted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", GOOD, ids=lambda request: request.DESCRIPTOR.name)
def test_an_unsequenced_event_is_applied_on_arrival(send: Send, request_: Message) -> None:
    response = send(request_)
    assert (False, 0, 0) == (response.duplicate, response.applied_sequence, response.durable_sequence)


def test_sequenced_events_of_all_kinds_share_one_numbering(send: Send, source: str) -> None:
    for sequence, request in enumerate(GOOD, start=1):
        response = send(with_id(request, numbered(sequence, source=source)))
        assert (False, sequence) == (response.duplicate, response.applied_sequence)
        assert 0 <= response.durable_sequence <= sequence


def test_a_tick_says_how_many_accounts_it_valued(send: Send, source: str) -> None:
    send(pb.OnTickCompleteRequest(tick_id=1))
    send(a_deposit(5, ALICE))
    send(a_deposit(5, BOB))
    tick = pb.OnTickCompleteRequest(tick_id=2, event_id=numbered(1, source=source))
    assert [(False, 2), (True, 0)] == [
        (answer.duplicate, answer.accounts_valued) for answer in (send(tick), send(tick))
    ]
    assert 0 == send(pb.OnTickCompleteRequest(tick_id=2)).accounts_valued


@pytest.mark.parametrize("request_", GOOD, ids=lambda request: request.DESCRIPTOR.name)
def test_a_repeat_is_a_duplicate_and_changes_nothing(
    send: Send, source: str, state: Callable[[], str], request_: Message
) -> None:
    numbered_request = with_id(request_, numbered(1, source=source))
    send(numbered_request)
    before = state()
    response = send(numbered_request)
    assert (True, 1, before) == (response.duplicate, response.applied_sequence, state())


def test_a_settlement_id_makes_a_retry_safe_without_a_sequence(send: Send, state: Callable[[], str]) -> None:
    leg = a_trade(BOB, KICK, BUY, SHARE, 5_000, settlement_id=77)
    assert not send(leg).duplicate
    before = state()
    assert send(leg).duplicate
    assert before == state()
    assert not send(a_trade(BOB, KICK, SELL, SHARE, 5_000, settlement_id=77)).duplicate


# --- refused -------------------------------------------------------------------------------------------------------

REFUSED = [
    # In order of precedence: expected status and field; the request.
    (StatusCode.INVALID_ARGUMENT, "account_id", a_trade(0, KICK, 0, 0, 0)),
    (StatusCode.INVALID_ARGUMENT, "account_id", a_trade(INT64_MIN, KICK, BUY, SHARE, 1)),
    (StatusCode.INVALID_ARGUMENT, "side", a_trade(ALICE, KICK, 0, 0, 0)),
    (StatusCode.INVALID_ARGUMENT, "side", a_trade(ALICE, KICK, 99, SHARE, 1)),
    (StatusCode.INVALID_ARGUMENT, "quantity_bp", a_trade(ALICE, KICK, BUY, 0, 0)),
    (StatusCode.INVALID_ARGUMENT, "quantity_bp", a_trade(ALICE, KICK, BUY, -1, 1)),
    (StatusCode.INVALID_ARGUMENT, "quantity_bp", a_trade(ALICE, KICK, BUY, INT64_MIN, 1)),
    (StatusCode.INVALID_ARGUMENT, "price_cents", a_trade(ALICE, KICK, BUY, SHARE, 0)),
    (StatusCode.INVALID_ARGUMENT, "price_cents", a_trade(ALICE, KICK, BUY, SHARE, INT64_MIN)),
    (StatusCode.INVALID_ARGUMENT, "fee_cents", a_trade(ALICE, KICK, BUY, SHARE, 1, fee_cents=-1)),
    (StatusCode.INVALID_ARGUMENT, "settlement_id", a_trade(ALICE, KICK, BUY, SHARE, 1, settlement_id=-1)),
    (StatusCode.INVALID_ARGUMENT, "quantity_bp", a_trade(GHOST, KICK, BUY, 0, 1)),
    (StatusCode.OUT_OF_RANGE, "account_id", a_trade(EXACT_MAX + 1, KICK, BUY, SHARE, 1)),
    (StatusCode.OUT_OF_RANGE, "price_cents", a_trade(GHOST, KICK, BUY, SHARE, PRICE_CENTS_MAX + 1)),
    (StatusCode.OUT_OF_RANGE, "quantity_bp", a_trade(ALICE, KICK, BUY, 2**63 - 1, 1)),
    (StatusCode.NOT_FOUND, "", a_trade(GHOST, KICK, BUY, EXACT_MAX, PRICE_CENTS_MAX)),
    (StatusCode.OUT_OF_RANGE, "market_value", a_trade(ALICE, PUNT, BUY, EXACT_MAX, PRICE_CENTS_MAX)),
    (StatusCode.INVALID_ARGUMENT, "price_cents", pb.OnPriceUpdatedRequest(symbol_id=KICK)),
    (StatusCode.INVALID_ARGUMENT, "price_cents", pb.OnPriceUpdatedRequest(symbol_id=KICK, price_cents=INT64_MIN)),
    (StatusCode.OUT_OF_RANGE, "price_cents", pb.OnPriceUpdatedRequest(price_cents=PRICE_CENTS_MAX + 1)),
    (StatusCode.INVALID_ARGUMENT, "tick_time", pb.OnTickCompleteRequest(tick_id=2**64 - 1, tick_time=-1)),
    (StatusCode.OUT_OF_RANGE, "tick_id", pb.OnTickCompleteRequest(tick_id=2**64 - 1)),
    (StatusCode.OUT_OF_RANGE, "tick_time", pb.OnTickCompleteRequest(tick_time=2**63 - 1)),
    (StatusCode.INVALID_ARGUMENT, "account_id", a_deposit(0, -1)),
    (StatusCode.INVALID_ARGUMENT, "amount_cents", a_deposit(0, GHOST)),
    (StatusCode.INVALID_ARGUMENT, "reason", a_deposit(1, GHOST, reason="x" * 257)),
    (StatusCode.OUT_OF_RANGE, "amount_cents", a_deposit(INT64_MIN, GHOST)),
    (StatusCode.NOT_FOUND, "", a_deposit(EXACT_MAX, GHOST)),
    (StatusCode.OUT_OF_RANGE, "cash_balance", a_deposit(EXACT_MAX)),
]
REASON = {
    StatusCode.INVALID_ARGUMENT: "INVALID_REQUEST",
    StatusCode.OUT_OF_RANGE: "OUT_OF_BOUNDS",
    StatusCode.NOT_FOUND: "UNKNOWN_ACCOUNT",
}


@pytest.mark.parametrize(("code", "field", "request_"), REFUSED)
def test_a_refused_event_says_why_and_changes_nothing(
    send: Send, state: Callable[[], str], code: StatusCode, field: str, request_: Message
) -> None:
    before = state()
    with refusal() as told:
        send(request_)
    assert (code, REASON[code], field) == (told.code, told.reason, told.field)
    assert told.metadata is not None
    assert set(re.findall(r"-?\d+", told.message.replace("+-", ""))) <= set(told.metadata.values())
    assert before == state()


@pytest.mark.parametrize(("code", "field", "request_"), REFUSED)
def test_a_refused_event_consumes_its_sequence(
    send: Send, source: str, code: StatusCode, field: str, request_: Message
) -> None:
    """A sender must be able to go on; and a repeat of it is a duplicate as any other."""
    with refusal() as told:
        send(with_id(request_, numbered(1, source=source)))
    assert (code, field) == (told.code, told.field)
    assert send(with_id(request_, numbered(1, source=source))).duplicate
    assert 2 == send(a_deposit(event_id=numbered(2, source=source))).applied_sequence


@pytest.mark.parametrize(
    ("field", "event_id"),
    [
        ("event_id.source", pb.EventId()),
        ("event_id.source", pb.EventId(epoch=1, sequence=1)),
        ("event_id.source", numbered(1, source="x" * 65)),
        ("event_id.source", numbered(1, source="nul\0")),
        ("event_id.sequence", numbered(0)),
    ],
)
@pytest.mark.parametrize("request_", GOOD, ids=lambda request: request.DESCRIPTOR.name)
def test_an_event_id_that_names_nothing_is_refused(
    send: Send, state: Callable[[], str], field: str, event_id: pb.EventId, request_: Message
) -> None:
    before = state()
    with refusal() as told:
        send(with_id(request_, event_id))
    assert (StatusCode.INVALID_ARGUMENT, field, before) == (told.code, told.field, state())


# --- out of turn ---------------------------------------------------------------------------------------------------


@pytest.fixture
def at_two(send: Send, source: str) -> str:
    """A sender whose epoch 5 is at sequence 2."""
    for sequence in (1, 2):
        send(a_deposit(sequence, event_id=numbered(sequence, source=source, epoch=5)))
    return source


OUT_OF_TURN = [
    # In order of precedence: status, reason and metadata; what is sent after sequence 2 of epoch 5.
    (StatusCode.FAILED_PRECONDITION, "STALE_EPOCH", {"epoch": "4", "current": "5"}, (4, 9)),
    (StatusCode.FAILED_PRECONDITION, "STALE_EPOCH", {"epoch": "4", "current": "5"}, (4, 2)),
    (StatusCode.ABORTED, "SEQUENCE_GAP", {"epoch": "5", "sequence": "4", "expected": "3"}, (5, 4)),
    (StatusCode.ABORTED, "SEQUENCE_GAP", {"epoch": "6", "sequence": "2", "expected": "1"}, (6, 2)),
    (StatusCode.ALREADY_EXISTS, "EVENT_CONFLICT", {"epoch": "5", "sequence": "2"}, (5, 2)),
]


@pytest.mark.parametrize("event", [a_deposit(9), a_deposit(9, GHOST), a_deposit(0)], ids=["good", "ghost", "zero"])
@pytest.mark.parametrize(("code", "reason", "metadata", "turn"), OUT_OF_TURN)
def test_an_event_out_of_turn_is_refused_and_changes_nothing(
    send: Send,
    at_two: str,
    state: Callable[[], str],
    code: StatusCode,
    reason: str,
    metadata: dict[str, str],
    turn: tuple[int, int],
    event: Message,
) -> None:
    """Whatever the event itself says: its turn is asked first. It consumes no sequence."""
    before, (epoch, sequence) = state(), turn
    with refusal() as told:
        send(with_id(event, numbered(sequence, source=at_two, epoch=epoch)))
    assert (code, reason, metadata | {"source": at_two}) == (told.code, told.reason, told.metadata)
    assert before == state()
    assert 3 == send(a_deposit(event_id=numbered(3, source=at_two, epoch=5))).applied_sequence


def test_a_new_epoch_starts_again_at_one(send: Send, at_two: str) -> None:
    assert 1 == send(a_deposit(9, event_id=numbered(1, source=at_two, epoch=6))).applied_sequence
    with refusal() as told:
        send(a_deposit(event_id=numbered(3, source=at_two, epoch=5)))
    assert StatusCode.FAILED_PRECONDITION == told.code
    ingest = send(pb.GetIngestStateRequest(source=at_two))
    assert (6, 1) == (ingest.epoch, ingest.applied_sequence)


def test_two_senders_count_apart(send: Send, names: Iterator[str]) -> None:
    one, other = next(names), next(names)
    assert [1, 2, 1] == [
        send(a_deposit(event_id=numbered(sequence, source=source))).applied_sequence
        for source, sequence in ((one, 1), (one, 2), (other, 1))
    ]


# --- how far EVS is ------------------------------------------------------------------------------------------------


def test_a_source_never_seen_is_all_zeros(send: Send, source: str) -> None:
    assert pb.GetIngestStateResponse() == send(pb.GetIngestStateRequest(source=source))


def test_a_sender_may_wait_until_its_events_are_durable(send: Send, at_two: str) -> None:
    response = send(pb.GetIngestStateRequest(source=at_two, wait_durable_sequence=2))
    assert (5, 2, 2) == (response.epoch, response.applied_sequence, response.durable_sequence)


def test_waiting_ends_with_the_callers_deadline(grpc_stub: Any, at_two: str) -> None:
    with refusal() as told:
        grpc_stub.GetIngestState(pb.GetIngestStateRequest(source=at_two, wait_durable_sequence=3), timeout=0.05)
    assert StatusCode.DEADLINE_EXCEEDED == told.code


@pytest.mark.parametrize("name", ["", "x" * 65, "nul\0"])
def test_the_state_of_nobody_cannot_be_asked(send: Send, name: str) -> None:
    with refusal() as told:
        send(pb.GetIngestStateRequest(source=name))
    assert (StatusCode.INVALID_ARGUMENT, "source") == (told.code, told.field)


def test_nothing_is_durable_that_the_database_did_not_take(
    send: Send, at_two: str, rooms: Rooms, loop_server: LoopServer
) -> None:
    """An answer that was lost is asked for again; what was not written is written again."""
    loop_server.run(rooms.commit())
    loop_server.call(lambda: rooms.store.faults.extend([Fault.LOST, Fault.UNKNOWN]))
    assert 2 == send(a_deposit(event_id=numbered(3, source=at_two, epoch=5))).durable_sequence
    assert 3 == send(pb.GetIngestStateRequest(source=at_two, wait_durable_sequence=3)).durable_sequence
    assert not loop_server.call(lambda: rooms.store.faults)


# --- accounts that the exchange created later ----------------------------------------------------------------------


def test_an_account_is_loaded_on_its_first_event(send: Send, rooms: Rooms, loop_server: LoopServer) -> None:
    """The exchange has written the trade before it tells us: it counts once."""

    def register() -> None:
        rooms.tables.balances_cents[1_001] = 995_000
        rooms.settle(501, 1_001, PUNT, Side.BUY, SHARE, 5_000)

    loop_server.call(register)
    assert not send(a_trade(1_001, PUNT, BUY, SHARE, 5_000, settlement_id=501)).duplicate
    send(pb.OnTickCompleteRequest(tick_id=9))
    snapshot = loop_server.call(lambda: rooms.engine.snapshot(1_001))
    assert snapshot is not None
    assert (995_000, 5_000, 1_000_000) == (snapshot.cash_cents, snapshot.position_value_cents, snapshot.equity_cents)


def test_an_account_whose_numbers_cannot_be_is_refused_and_holds_up_nobody(
    send: Send, source: str, rooms: Rooms, loop_server: LoopServer
) -> None:
    """Its events consume their sequences, or its sender could never go on."""
    loop_server.call(lambda: rooms.tables.balances_cents.update({1_002: EXACT_MAX + 1, 1_003: 7}))
    with refusal() as told:
        send(a_deposit(1, 1_002, event_id=numbered(1, source=source)))
    assert (StatusCode.OUT_OF_RANGE, "cash_balance") == (told.code, told.field)
    assert 2 == send(a_deposit(1, 1_003, event_id=numbered(2, source=source))).applied_sequence


# --- before and after ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("phase", "reason"), [(Phase.RECOVERING, "RECOVERING"), (Phase.STOPPING, "SHUTTING_DOWN")])
@pytest.mark.parametrize(
    "request_", [*GOOD, pb.GetIngestStateRequest(source="em")], ids=lambda request: request.DESCRIPTOR.name
)
def test_nothing_is_taken_before_or_after(
    send: Send,
    rooms: Rooms,
    state: Callable[[], str],
    phase: Phase,
    reason: str,
    request_: Message,
) -> None:
    before = state()
    # Set rather than entered: from stopping there is no way back, and the rooms are shared.
    rooms.lifecycle.phase = phase
    try:
        with refusal() as told:
            send(request_)
    finally:
        rooms.lifecycle.phase = Phase.SERVING
    assert (StatusCode.UNAVAILABLE, reason, before) == (told.code, told.reason, state())
