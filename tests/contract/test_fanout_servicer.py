"""What readers are answered: reads and lists, call by call."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from google.protobuf.message import Message

from evs_server.lifecycle import Phase
from evs_server.limits import EXACT_MAX
from evs_server.model import Side
from tests.builders import ALICE, BOB, CAROL, KICK, NOON_MS, PUNT
from tests.patience import PATIENCE_SECONDS
from tests.serving import LoopServer, Rooms
from tests.wire import BUY, SELL, a_trade, refusal

StatusCode = grpc.StatusCode
GHOST = 404
SHARE = 10_000
OPENING_CENTS = 1_000_000

Ask = Callable[[Message], Any]


@pytest.fixture(scope="module")
def ask(grpc_stub: Any) -> Ask:
    """Sends a request to the method it belongs to."""

    def to_its_method(request: Message) -> Any:
        method = request.DESCRIPTOR.name.removesuffix("Request")
        return getattr(grpc_stub, method)(request, timeout=PATIENCE_SECONDS)

    return to_its_method


@pytest.fixture(scope="module", autouse=True)
def traded(ask: Ask) -> None:
    """Alice is long 100 shares and 2,000 up, Bob short as many; both have closed another symbol."""
    for account_id, first, second in ((ALICE, BUY, SELL), (BOB, SELL, BUY)):
        ask(a_trade(account_id, KICK, first, 100 * SHARE, 1_000))
        ask(a_trade(account_id, PUNT, first, SHARE, 500))
        ask(a_trade(account_id, PUNT, second, SHARE, 600))
    ask(pb.OnPriceUpdatedRequest(symbol_id=KICK, price_cents=1_019))
    ask(pb.OnTickCompleteRequest(tick_id=7, tick_time=NOON_MS + 999))


def test_a_read_is_the_newest_valuation(ask: Ask) -> None:
    read = ask(pb.GetEquityRequest(account_id=ALICE))
    assert (
        pb.EquityUpdate(
            account_id=ALICE,
            tick=7,
            timestamp=NOON_MS // 1_000,
            total_equity=OPENING_CENTS + 2_000,
            cash_balance=900_100,
            position_value=101_900,
            day_change=2_000,
            day_change_percent=0.2,
            unrealized_pnl=1_900,
            realized_pnl=100,
        )
        == read.equity
    )
    assert (OPENING_CENTS, []) == (read.net_flow, list(read.flags))


def test_reads_do_not_see_half_a_tick(ask: Ask) -> None:
    before = [ask(pb.GetEquityRequest(account_id=ALICE)), ask(pb.ListPositionsRequest(account_id=ALICE))]
    ask(a_trade(ALICE, 99, BUY, SHARE, 5))
    ask(pb.OnPriceUpdatedRequest(symbol_id=KICK, price_cents=1))
    assert before == [ask(pb.GetEquityRequest(account_id=ALICE)), ask(pb.ListPositionsRequest(account_id=ALICE))]
    ask(a_trade(ALICE, 99, SELL, SHARE, 5))
    ask(pb.OnPriceUpdatedRequest(symbol_id=KICK, price_cents=1_019))


def test_positions_ascend_by_symbol_with_the_closed_ones(ask: Ask) -> None:
    listed = ask(pb.ListPositionsRequest(account_id=BOB))
    kick, punt = listed.positions[:2]
    assert (KICK, -100 * SHARE, 1_000, -100_000, 1_019, pb.MARK_SOURCE_MARK, -101_900, -1_900, 0) == (
        kick.symbol_id, kick.quantity_bp, kick.avg_cost, kick.basis_cents, kick.mark_price, kick.mark_source,
        kick.market_value, kick.unrealized_pnl, kick.realized_pnl,
    )  # fmt: skip
    assert (PUNT, 0, 0, 0, 600, pb.MARK_SOURCE_LAST_TRADE, 0, 0, -100) == (
        punt.symbol_id, punt.quantity_bp, punt.avg_cost, punt.basis_cents, punt.mark_price, punt.mark_source,
        punt.market_value, punt.unrealized_pnl, punt.realized_pnl,
    )  # fmt: skip


@pytest.mark.parametrize("account_id", [ALICE, BOB, CAROL])
def test_positions_add_up_to_the_read_of_the_same_version(ask: Ask, account_id: int) -> None:
    read = ask(pb.GetEquityRequest(account_id=account_id))
    listed = ask(pb.ListPositionsRequest(account_id=account_id))
    assert (read.version, read.equity.position_value, read.equity.unrealized_pnl, read.equity.realized_pnl) == (
        listed.version,
        sum(position.market_value for position in listed.positions),
        sum(position.unrealized_pnl for position in listed.positions),
        sum(position.realized_pnl for position in listed.positions),
    )
    assert read.equity.total_equity - read.net_flow == read.equity.realized_pnl + read.equity.unrealized_pnl


def test_several_accounts_come_in_the_order_asked(ask: Ask) -> None:
    response = ask(pb.BatchGetEquityRequest(account_ids=[BOB, GHOST, ALICE, BOB, GHOST + 1]))
    assert [BOB, ALICE, BOB] == [each.equity.account_id for each in response.equities]
    assert [GHOST, GHOST + 1] == list(response.unknown_account_ids)
    assert ask(pb.GetEquityRequest(account_id=BOB)) == response.equities[0]


def test_a_thousand_accounts_may_be_asked_for(ask: Ask) -> None:
    response = ask(pb.BatchGetEquityRequest(account_ids=[ALICE] * 999 + [GHOST]))
    assert (999, [GHOST]) == (len(response.equities), list(response.unknown_account_ids))


@pytest.mark.parametrize(
    ("code", "field", "request_"),
    [
        (StatusCode.INVALID_ARGUMENT, "account_id", pb.GetEquityRequest()),
        (StatusCode.INVALID_ARGUMENT, "account_id", pb.GetEquityRequest(account_id=-1)),
        (StatusCode.INVALID_ARGUMENT, "account_id", pb.ListPositionsRequest(account_id=-(2**63))),
        (StatusCode.INVALID_ARGUMENT, "account_ids", pb.BatchGetEquityRequest()),
        (StatusCode.INVALID_ARGUMENT, "account_ids", pb.BatchGetEquityRequest(account_ids=range(1, 1_002))),
        (StatusCode.INVALID_ARGUMENT, "account_ids", pb.BatchGetEquityRequest(account_ids=[ALICE, 0])),
        (StatusCode.OUT_OF_RANGE, "account_id", pb.GetEquityRequest(account_id=EXACT_MAX + 1)),
        (StatusCode.OUT_OF_RANGE, "account_ids", pb.BatchGetEquityRequest(account_ids=[ALICE, 2**63 - 1])),
        (StatusCode.NOT_FOUND, "", pb.GetEquityRequest(account_id=GHOST)),
        (StatusCode.NOT_FOUND, "", pb.ListPositionsRequest(account_id=EXACT_MAX)),
    ],
)
def test_a_read_that_cannot_be_answered_says_why(ask: Ask, code: StatusCode, field: str, request_: Message) -> None:
    with refusal() as told:
        ask(request_)
    assert (code, field) == (told.code, told.field)


def test_who_has_just_registered_sees_an_empty_account(ask: Ask, rooms: Rooms, loop_server: LoopServer) -> None:
    """DESIGN 7: an account that is not known yet is looked up."""
    loop_server.call(lambda: rooms.tables.balances_cents.update({1_001: 0, 1_002: 5}))
    assert 0 == ask(pb.GetEquityRequest(account_id=1_001)).equity.total_equity
    assert [5] == [each.equity.total_equity for each in ask(pb.BatchGetEquityRequest(account_ids=[1_002])).equities]
    assert [] == list(ask(pb.ListPositionsRequest(account_id=1_002)).positions)


def test_an_account_is_read_with_the_trades_it_has(ask: Ask, rooms: Rooms, loop_server: LoopServer) -> None:
    def register() -> None:
        rooms.tables.balances_cents[1_003] = 100
        rooms.settle(1, 1_003, 77, Side.BUY, SHARE, 5_000)

    loop_server.call(register)
    [position] = ask(pb.ListPositionsRequest(account_id=1_003)).positions
    assert (77, SHARE, 5_000, pb.MARK_SOURCE_COST) == (
        position.symbol_id, position.quantity_bp, position.market_value, position.mark_source,
    )  # fmt: skip
    assert [pb.EQUITY_FLAG_UNPRICED] == list(ask(pb.GetEquityRequest(account_id=1_003)).flags)


def test_an_account_whose_numbers_cannot_be_is_refused(ask: Ask, rooms: Rooms, loop_server: LoopServer) -> None:
    loop_server.call(lambda: rooms.tables.balances_cents.update({1_004: EXACT_MAX + 1}))
    for request in (pb.GetEquityRequest(account_id=1_004), pb.BatchGetEquityRequest(account_ids=[ALICE, 1_004])):
        with refusal() as told:
            ask(request)
        assert (StatusCode.OUT_OF_RANGE, "cash_balance") == (told.code, told.field)


@pytest.mark.parametrize("phase", [Phase.RECOVERING, Phase.STOPPING])
@pytest.mark.parametrize(
    "request_",
    [
        pb.GetEquityRequest(account_id=ALICE),
        pb.BatchGetEquityRequest(account_ids=[ALICE]),
        pb.ListPositionsRequest(account_id=ALICE),
        pb.GetEquityHistoryRequest(account_id=ALICE),
    ],
    ids=lambda request: request.DESCRIPTOR.name,
)
def test_nothing_is_read_before_or_after(
    ask: Ask, rooms: Rooms, loop_server: LoopServer, phase: Phase, request_: Message
) -> None:
    loop_server.call(lambda: rooms.lifecycle.enter(phase))
    try:
        with refusal() as told:
            ask(request_)
    finally:
        loop_server.call(lambda: rooms.lifecycle.enter(Phase.SERVING))
    assert StatusCode.UNAVAILABLE == told.code
