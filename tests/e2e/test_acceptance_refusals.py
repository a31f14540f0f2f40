"""Every refusal of DESIGN 5 with its status, the field it names, and what it leaves behind: nothing."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from tests.e2e.caller import BUY, SELL, SERVICE, SHARE, Caller, Refused, refused
from tests.e2e.exchange_tables import ExchangeTables

EXACT_MAX = 2**53 - 1
NOBODY = 7_777_777
NO_SIDE: Any = 99

Call = Callable[[Caller, int], object]


def refusal(call: Callable[[], object]) -> Refused:
    """How a call is refused; that it is, is asserted."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return refused(caught.value)


def event_id(source: str, sequence: int, epoch: int = 1) -> pb.EventId:
    return pb.EventId(source=source, epoch=epoch, sequence=sequence)


@pytest.fixture
def account_id(exchange: ExchangeTables, caller: Caller) -> int:
    """An account that EVS knows, worth 500."""
    return known_account(exchange, caller, 500)


def known_account(exchange: ExchangeTables, caller: Caller, balance_cents: int = 0) -> int:
    """A new account that EVS has looked up, so that what it is told next is news."""
    account_id = exchange.open_account(balance_cents)
    assert balance_cents == caller.numbers(account_id).equity
    return account_id


# --- one event that cannot be --------------------------------------------------------------------------------------

REFUSALS: list[tuple[str, str, Call]] = [
    ("INVALID_ARGUMENT", "account_id", lambda caller, _: caller.trade(0, 1, BUY, SHARE, 1)),
    ("INVALID_ARGUMENT", "account_id", lambda caller, _: caller.trade(-(2**63), 1, BUY, SHARE, 1)),
    ("INVALID_ARGUMENT", "side", lambda caller, a: caller.trade(a, 1, pb.TRADE_SIDE_UNSPECIFIED, SHARE, 1)),
    ("INVALID_ARGUMENT", "side", lambda caller, a: caller.trade(a, 1, NO_SIDE, SHARE, 1)),
    ("INVALID_ARGUMENT", "quantity_bp", lambda caller, a: caller.trade(a, 1, BUY, 0, 1)),
    ("INVALID_ARGUMENT", "quantity_bp", lambda caller, a: caller.trade(a, 1, BUY, -1, 1)),
    ("INVALID_ARGUMENT", "quantity_bp", lambda caller, a: caller.trade(a, 1, BUY, -(2**63), 1)),
    ("INVALID_ARGUMENT", "price_cents", lambda caller, a: caller.trade(a, 1, BUY, SHARE, 0)),
    ("INVALID_ARGUMENT", "price_cents", lambda caller, a: caller.trade(a, 1, BUY, SHARE, -(2**63))),
    ("INVALID_ARGUMENT", "fee_cents", lambda caller, a: caller.trade(a, 1, BUY, SHARE, 1, fee_cents=-1)),
    ("OUT_OF_RANGE", "account_id", lambda caller, _: caller.trade(EXACT_MAX + 1, 1, BUY, SHARE, 1)),
    ("OUT_OF_RANGE", "quantity_bp", lambda caller, a: caller.trade(a, 1, SELL, EXACT_MAX + 1, 1)),
    ("OUT_OF_RANGE", "quantity_bp", lambda caller, a: caller.trade(a, 1, BUY, 2**63 - 1, 1)),
    ("OUT_OF_RANGE", "price_cents", lambda caller, a: caller.trade(a, 1, BUY, 1, 2**63 - 1)),
    ("OUT_OF_RANGE", "fee_cents", lambda caller, a: caller.trade(a, 1, BUY, 1, 1, fee_cents=2**63 - 1)),
    ("OUT_OF_RANGE", "settlement_id", lambda caller, a: caller.trade(a, 1, BUY, 1, 1, settlement_id=EXACT_MAX + 1)),
    ("NOT_FOUND", "", lambda caller, _: caller.trade(NOBODY, 1, BUY, SHARE, 1)),
    ("INVALID_ARGUMENT", "price_cents", lambda caller, _: caller.price(1, 0)),
    ("INVALID_ARGUMENT", "price_cents", lambda caller, _: caller.price(1, -1)),
    ("OUT_OF_RANGE", "price_cents", lambda caller, _: caller.price(1, EXACT_MAX + 1)),
    ("INVALID_ARGUMENT", "amount_cents", lambda caller, a: caller.cash(a, 0)),
    ("INVALID_ARGUMENT", "account_id", lambda caller, _: caller.cash(0, 1)),
    ("OUT_OF_RANGE", "amount_cents", lambda caller, a: caller.cash(a, EXACT_MAX + 1)),
    ("OUT_OF_RANGE", "amount_cents", lambda caller, a: caller.cash(a, -(2**63))),
    ("NOT_FOUND", "", lambda caller, _: caller.cash(NOBODY, 1)),
    ("OUT_OF_RANGE", "tick_id", lambda caller, _: caller.tick(EXACT_MAX + 1)),
    ("INVALID_ARGUMENT", "tick_time", lambda caller, _: caller.tick(1, tick_time=-1)),
    ("OUT_OF_RANGE", "tick_time", lambda caller, _: caller.tick(1, tick_time=2**63 - 1)),
]


@pytest.mark.parametrize(("code", "field", "call"), REFUSALS)
def test_an_event_that_cannot_be_is_refused_and_changes_nothing(
    code: str, field: str, call: Call, caller: Caller, account_id: int
) -> None:
    """The status says whose fault it is, the details name the field, and the account is as it was."""
    before = caller.equity(account_id)
    answer = refusal(lambda: call(caller, account_id))
    assert code == answer.code
    assert (field,) * bool(field) == answer.fields
    assert 0 == caller.tick().accounts_valued
    assert before == caller.equity(account_id)
    assert {} == caller.positions(account_id)


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("INVALID_ARGUMENT", lambda caller: caller.equity(0)),
        ("INVALID_ARGUMENT", lambda caller: caller.equity(-1)),
        ("NOT_FOUND", lambda caller: caller.equity(NOBODY)),
        ("OUT_OF_RANGE", lambda caller: caller.equity(EXACT_MAX + 1)),
        ("NOT_FOUND", lambda caller: caller.positions(NOBODY)),
        ("INVALID_ARGUMENT", lambda caller: caller.follow(0).next()),
        ("NOT_FOUND", lambda caller: caller.follow(NOBODY).next()),
        ("INVALID_ARGUMENT", lambda caller: caller.call("BatchGetEquity", pb.BatchGetEquityRequest())),
        ("INVALID_ARGUMENT", lambda caller: caller.ingest_state("")),
    ],
)
def test_a_read_that_cannot_be_is_refused(code: str, call: Callable[[Caller], object], caller: Caller) -> None:
    """As events are; ids beyond what JSON carries are out of range here too (DESIGN 3)."""
    assert code == refusal(lambda: call(caller)).code


def test_money_stays_within_what_json_carries(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """What would bring an account beyond 2^53 - 1 is refused; up to there everything is exact."""
    account_id = known_account(exchange, caller)
    caller.cash(account_id, EXACT_MAX)
    assert "OUT_OF_RANGE" == refusal(lambda: caller.cash(account_id, 1)).code
    assert "OUT_OF_RANGE" == refusal(lambda: caller.trade(account_id, symbol, SELL, SHARE, 1)).code
    caller.tick()
    assert (EXACT_MAX, 0, EXACT_MAX) == caller.numbers(account_id)[:3]
    caller.cash(account_id, -EXACT_MAX)
    caller.tick()
    assert 0 == caller.numbers(account_id).equity


def test_a_price_that_no_holder_can_bear_is_refused_or_flagged(
    exchange: ExchangeTables, caller: Caller, symbol: int, *, is_cluster: bool
) -> None:
    """A mark may not bring a holder's value beyond the bound; nothing wraps, and others are valued."""
    account_id, other = known_account(exchange, caller), known_account(exchange, caller)
    caller.trade(account_id, symbol, BUY, EXACT_MAX, 1)
    caller.tick()
    if is_cluster:  # where the holder's virtual shard refuses it by itself, and nobody waits to be told
        caller.price(symbol, 10**12)
    else:
        assert "OUT_OF_RANGE" == refusal(lambda: caller.price(symbol, 10**12)).code
    caller.cash(other, 1)
    caller.tick()
    assert EXACT_MAX // SHARE == caller.numbers(account_id).value
    assert 1 == caller.numbers(other).equity


# --- sequences -----------------------------------------------------------------------------------------------------


def test_a_sequence_counts_once_and_only_in_its_place(caller: Caller, account_id: int) -> None:
    """Repeats are duplicates; gaps, old epochs and other content are refused, each in its own way."""
    source = f"em-{account_id}"
    assert (0, 0, 0) == tuple(getattr(caller.ingest_state(source), name) for name in STATE)

    def send(sequence: int, amount: int = 1, epoch: int = 1) -> pb.OnCashAdjustedResponse:
        return caller.cash(account_id, amount, event_id=event_id(source, sequence, epoch))

    gap = refusal(lambda: send(2))
    assert ("ABORTED", "1") == (gap.code, gap.metadata["expected"])
    assert (False, 1) == (send(1).duplicate, send(2).applied_sequence - 1)
    assert (True, 2) == (send(1).duplicate, send(1).applied_sequence)
    assert "ALREADY_EXISTS" == refusal(lambda: send(2, amount=2)).code
    gap = refusal(lambda: send(4))
    assert ("ABORTED", "3") == (gap.code, gap.metadata["expected"])
    caller.ingest_state(source, wait_durable=2)
    assert "ABORTED" == refusal(lambda: send(3, epoch=2)).code
    assert 1 == send(1, epoch=2).applied_sequence
    assert "FAILED_PRECONDITION" == refusal(lambda: send(3)).code
    for bad in (event_id("", 1), event_id(source, 0), event_id("s" * 65, 1)):
        assert "INVALID_ARGUMENT" == refusal(partial(caller.cash, account_id, 1, event_id=bad)).code
    caller.tick()
    assert 503 == caller.numbers(account_id).equity


STATE = ("epoch", "applied_sequence", "durable_sequence")


def test_what_is_wrong_with_an_event_is_told_once_and_its_sequence_is_gone(caller: Caller, account_id: int) -> None:
    """A sender must be able to go on after a refusal that no retry could change."""
    source = f"em-{account_id}"
    calls: list[Callable[[pb.EventId], object]] = [
        lambda i: caller.cash(account_id, 0, event_id=i),
        lambda i: caller.trade(account_id, 1, BUY, EXACT_MAX + 1, 1, event_id=i),
        lambda i: caller.cash(NOBODY, 1, event_id=i),
    ]
    for sequence, (code, call) in enumerate(zip(("INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND"), calls, strict=True)):
        assert code == refusal(partial(call, event_id(source, sequence + 1))).code
        assert sequence + 1 == caller.ingest_state(source).applied_sequence
    assert 4 == caller.tick(event_id=event_id(source, 4)).applied_sequence
    assert 4 == caller.ingest_state(source, wait_durable=4).durable_sequence


def test_one_sequence_sent_by_two_at_once_counts_once(caller: Caller, account_id: int) -> None:
    """A retry that overtakes its first attempt is no second deposit."""
    source = f"em-{account_id}"
    with ThreadPoolExecutor(8) as pool:
        for sequence in range(1, 21):
            jobs = [pool.submit(caller.cash, account_id, 1, event_id=event_id(source, sequence)) for _ in range(8)]
            assert [False] + [True] * 7 == sorted(job.result().duplicate for job in jobs)
    caller.tick()
    assert 520 == caller.numbers(account_id).equity


def test_a_settlement_told_twice_counts_once(exchange: ExchangeTables, caller: Caller, symbol: int) -> None:
    """For callers without sequences: the id of the settlement, the account and the side say what it is."""
    first, second = exchange.open_account(OPENING), exchange.open_account(OPENING)
    legs = [(first, BUY), (second, SELL)] * 3
    answers = [caller.trade(account, symbol, side, SHARE, 100, settlement_id=4_711) for account, side in legs]
    assert [False, False, True, True, True, True] == [answer.duplicate for answer in answers]
    caller.tick()
    assert [OPENING - 100, OPENING + 100] == [caller.numbers(account).cash for account in (first, second)]


OPENING = 1_000_000

# --- batches -------------------------------------------------------------------------------------------------------


def cash_run(*amounts: tuple[int, int]) -> pb.EventRun:
    return pb.EventRun(cash=pb.CashColumns(account_id=[a for a, _ in amounts], amount_cents=[c for _, c in amounts]))


def batch(source: str, first_sequence: int, *runs: pb.EventRun) -> pb.StreamEventsRequest:
    return pb.StreamEventsRequest(source=source, epoch=1, first_sequence=first_sequence, runs=runs)


def answers(caller: Caller, *batches: pb.StreamEventsRequest) -> list[pb.StreamEventsResponse]:
    """One answer a batch, in order; news of the watermark left out."""
    return [answer for answer in caller.stream(iter(batches)) if answer.batch_answer]


def test_a_batch_goes_on_after_what_it_must_refuse(caller: Caller, account_id: int) -> None:
    """Each refusal is named with its sequence, its place and its status; the rest counts."""
    source = f"em-{account_id}"
    price = pb.EventRun(prices=pb.PriceColumns(symbol_id=[1, 1], price_cents=[-1, 10**15]))
    run = cash_run((account_id, 1), (account_id, 0), (NOBODY, 1), (account_id, 10))
    (answer,) = answers(caller, batch(source, 1, price, run))
    assert [
        (1, 0, "INVALID_ARGUMENT"),
        (2, 1, "OUT_OF_RANGE"),
        (4, 3, "INVALID_ARGUMENT"),
        (5, 4, "NOT_FOUND"),
    ] == [(each.sequence, each.index, each.reason) for each in answer.refusals]
    assert 6 == answer.applied_sequence
    caller.tick()
    assert 511 == caller.numbers(account_id).equity


def test_a_batch_ends_where_its_sequence_cannot_be(caller: Caller, account_id: int) -> None:
    """Other content in a known place, or a gap: nothing from there on counts, and the stream goes on."""
    source = f"em-{account_id}"
    good = batch(source, 1, cash_run((account_id, 1), (account_id, 2)))
    other = batch(source, 1, cash_run((account_id, 1), (account_id, 4), (account_id, 8)))
    overlap = batch(source, 2, cash_run((account_id, 2), (account_id, 16)))
    first, conflict, gap, last = answers(caller, good, other, batch(source, 9, cash_run((account_id, 1))), overlap)
    assert (0, 2) == (len(first.refusals), first.applied_sequence)
    assert [(2, 1, "ALREADY_EXISTS")] == [(each.sequence, each.index, each.reason) for each in conflict.refusals]
    assert [(9, 0, "ABORTED")] == [(each.sequence, each.index, each.reason) for each in gap.refusals]
    assert (3, 1, 0) == (last.applied_sequence, last.duplicate_count, len(last.refusals))
    caller.tick()
    assert 519 == caller.numbers(account_id).equity


@pytest.mark.parametrize(
    "unreadable",
    [
        pb.StreamEventsRequest(runs=[pb.EventRun()]),
        pb.StreamEventsRequest(first_sequence=1, epoch=1, runs=[cash_run((1, 1))]),
        pb.StreamEventsRequest(runs=[pb.EventRun(cash=pb.CashColumns(account_id=[1, 2], amount_cents=[1]))]),
        pb.StreamEventsRequest(runs=[pb.EventRun(ticks=pb.TickColumns(tick_id=[1], tick_time=[1, 2]))]),
        pb.StreamEventsRequest(runs=[cash_run(*[(1, 1)] * 65_537)]),
    ],
)
def test_a_batch_that_cannot_be_read_ends_the_stream(unreadable: pb.StreamEventsRequest, caller: Caller) -> None:
    """A run of no kind, no source, columns of different lengths, too many events."""
    assert "INVALID_ARGUMENT" == refusal(lambda: list(caller.stream(iter([unreadable])))).code
    assert 0 == caller.tick().accounts_valued


def test_a_message_beyond_the_limit_is_refused_before_it_is_read(caller: Caller, account_id: int) -> None:
    """EVS lives, and serves the next caller."""
    huge = pb.OnCashAdjustedRequest(account_id=account_id, amount_cents=1, reason="x" * 2**21)
    assert "RESOURCE_EXHAUSTED" == refusal(lambda: caller.call("OnCashAdjusted", huge)).code
    assert 0 == caller.tick().accounts_valued


def test_a_stream_tells_when_its_events_are_durable(caller: Caller, account_id: int) -> None:
    """Without another batch being sent: the watermark comes as news."""
    source = f"em-{account_id}"
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(caller.ingest_state, source, 2)

        def batches() -> Iterator[pb.StreamEventsRequest]:
            yield batch(source, 1, cash_run((account_id, 1), (account_id, 1)))
            told.result()

        seen = list(caller.stream(batches()))
    assert [True, False] == [seen[0].batch_answer, seen[-1].batch_answer]
    assert (2, 2) == (seen[-1].applied_sequence, seen[-1].durable_sequence)
    assert all(each.durable_sequence <= each.applied_sequence for each in seen)


def test_senders_of_all_kinds_at_once_lose_nothing(exchange: ExchangeTables, caller: Caller) -> None:
    """Streams, numbered calls and plain calls, interleaved on one account, with ticks in between."""
    account_id = known_account(exchange, caller)

    def stream(source: str) -> None:
        runs = [batch(source, 1 + 10 * each, cash_run(*[(account_id, 1)] * 10)) for each in range(20)]
        assert [] == [refusal for answer in answers(caller, *runs) for refusal in answer.refusals]

    def numbered(source: str) -> None:
        for sequence in range(1, 51):
            caller.cash(account_id, 1, event_id=event_id(source, sequence))

    def plain(_: str) -> None:
        for number in range(50):
            caller.cash(account_id, 1)
            caller.tick(number)

    with ThreadPoolExecutor(6) as pool:
        jobs = [
            pool.submit(kind, f"{kind.__name__}-{each}-{account_id}")
            for each in range(2)
            for kind in (stream, numbered, plain)
        ]
        for job in jobs:
            job.result()
    caller.tick()
    assert 2 * (200 + 50 + 50) == caller.numbers(account_id).equity


# --- what is no event at all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["OnTradeSettled", "OnTickComplete", "GetEquity"])
@pytest.mark.parametrize("junk", [b"\xff" * 10, b"\x08", b"\x0a\xff\xff\xff\xff\x0f"], ids=["random", "cut", "long"])
def test_what_is_no_message_is_an_error_and_no_more(junk: bytes, method: str, caller: Caller) -> None:
    """The library refuses it, and EVS serves the next caller."""
    send: Any = caller.channel.unary_unary(f"/{SERVICE}/{method}")
    answer = refusal(lambda: send(junk, timeout=30))
    assert answer.code in {"INTERNAL", "UNKNOWN"}
    assert 0 == caller.tick().accounts_valued


def test_a_wait_for_what_never_comes_ends_with_its_deadline(caller: Caller) -> None:
    """The caller's own, not one of EVS's."""
    request = pb.GetIngestStateRequest(source="nobody", wait_durable_sequence=1)
    assert "DEADLINE_EXCEEDED" == refusal(lambda: caller.call("GetIngestState", request, seconds=0.2)).code


# --- many accounts on one stream, and what is beside the methods ---------------------------------------------------


def test_a_watch_tells_of_the_accounts_asked_for_and_of_those_that_cannot_be(caller: Caller, account_id: int) -> None:
    """And says the same as a read."""
    wanted = iter([pb.WatchEquityRequest(add=[account_id, EXACT_MAX])])
    watch: Any = caller.stub.WatchEquity(wanted, timeout=30)
    updates: list[pb.SubscribeEquityResponse] = []
    refused_ids: list[int] = []
    while not (updates and refused_ids):
        message = next(watch)
        updates += message.updates
        refused_ids += message.refused_account_ids
    watch.cancel()
    read = caller.call("GetEquity", pb.GetEquityRequest(account_id=account_id))
    assert [(read.equity, read.version, True)] == [(each.equity, each.version, each.snapshot) for each in updates]
    assert [EXACT_MAX] == refused_ids
