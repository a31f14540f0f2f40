"""What senders say becomes batches, checked field by field; unary calls and columns say the same."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import pytest
from evs.v1 import evs_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from evs_server.errors import InvalidRequest, OutOfBounds, RequestError
from evs_server.ingest import codec
from evs_server.limits import (
    BATCH_EVENTS_MAX,
    EXACT_MAX,
    FEE_CENTS_MAX,
    PRICE_CENTS_MAX,
    QUANTITY_BP_MAX,
    REASON_BYTES_MAX,
    SOURCE_BYTES_MAX,
    TICK_TIME_MS_MAX,
)
from evs_server.model import Batch, CashRun, PriceRun, TickRun, TradeRun
from tests.builders import ALICE, BOB, KICK, NOON_MS, PUNT
from tests.flushes import plain
from tests.wire import BUY, EM, SELL, a_batch, a_request, a_trade, cash, numbered, prices, ticks, trades

MANY = 20
"""Events of a run that are looked at as columns; the one of a unary call is looked at by itself."""
LONG = 150
"""Events of a run that is not merged with others of its kind before they become arrays."""
INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
INT64 = st.one_of(st.integers(-3, 3), st.integers(INT64_MIN, INT64_MAX), st.sampled_from([EXACT_MAX, EXACT_MAX + 1]))
SIDES = st.sampled_from([0, BUY, SELL, 3, 99, -1, 2**31 - 1])
GOOD_TRADE = {
    "account_id": ALICE, "symbol_id": KICK, "side": BUY, "quantity_bp": 10_000, "price_cents": 5_000,
    "fee_cents": 0, "settlement_id": 0,
}  # fmt: skip
GOOD_PRICE = {"symbol_id": KICK, "price_cents": 5_000}
GOOD_CASH = {"account_id": ALICE, "amount_cents": -1, "reason": "rent"}
GOOD_TICK = {"tick_id": 7, "tick_time": NOON_MS}


def decode_unary(event: dict[str, Any], event_id: pb.EventId | None = None) -> Batch:
    """The batch of a unary call; its kind shows by its fields."""
    if "side" in event:
        return codec.decode_trade(pb.OnTradeSettledRequest(**event, event_id=event_id))
    if "amount_cents" in event:
        return codec.decode_cash(pb.OnCashAdjustedRequest(**event, event_id=event_id))
    if "tick_id" in event:
        return codec.decode_tick(pb.OnTickCompleteRequest(**event, event_id=event_id))
    return codec.decode_price(pb.OnPriceUpdatedRequest(**event, event_id=event_id))


def a_run(*events: dict[str, Any]) -> pb.EventRun:
    """Events of one kind as columns."""
    columns = {name: [event[name] for event in events] for name in events[0]}
    if "side" in columns:
        return pb.EventRun(trades=pb.TradeColumns(**columns))
    if "amount_cents" in columns:
        return pb.EventRun(cash=pb.CashColumns(**columns))
    if "tick_id" in columns:
        return pb.EventRun(ticks=pb.TickColumns(**columns))
    return pb.EventRun(prices=pb.PriceColumns(**columns))


def shown(error: RequestError) -> tuple[type[RequestError], str, str, dict[str, str]]:
    """All that a caller would see of a refusal."""
    return type(error), str(getattr(error, "field", "")), error.message, dict(error.metadata)


# --- what is said --------------------------------------------------------------------------------------------------


def test_every_field_of_a_trade_arrives() -> None:
    request = a_trade(ALICE, KICK, SELL, 5_000, 333, fee_cents=2, settlement_id=41, event_id=numbered(9, epoch=3))
    batch = codec.decode_trade(request)
    [run] = batch.runs
    assert isinstance(run, TradeRun)
    assert [[ALICE], [KICK], [SELL], [5_000], [333], [2], [41]] == list(plain(run).values())
    assert (EM, 3, 9, 1, {}) == (batch.source, batch.epoch, batch.first_sequence, len(batch), batch.refusals)


def test_runs_arrive_in_order_whatever_their_kinds() -> None:
    batch = a_batch(
        prices((KICK, 5_000), (PUNT, 100)),
        trades((ALICE, KICK, BUY, 1, 2, 3, 4), (BOB, KICK, SELL, 1, 2, 0, 0)),
        cash((ALICE, -5)),
        ticks(7, 6, tick_time=(0, NOON_MS)),
        prices((KICK, 1)),
        first=41,
    )
    kinds: list[type[Any]] = [PriceRun, TradeRun, CashRun, TickRun, PriceRun]
    assert kinds == [type(run) for run in batch.runs]
    assert [[KICK, PUNT], [5_000, 100]] == list(plain(batch.runs[0]).values())
    assert [[7, 6], [0, NOON_MS]] == list(plain(batch.runs[3]).values())
    assert (41, 8, 8) == (batch.first_sequence, len(batch), len(set(batch.digest.tolist())))


def test_columns_that_may_be_left_out_mean_zero() -> None:
    batch = a_batch(trades((ALICE, KICK, BUY, 1, 2)), cash((ALICE, 5)), ticks(7))
    said = a_batch(trades((ALICE, KICK, BUY, 1, 2, 0, 0)), cash((ALICE, 5)), ticks(7, tick_time=(0,)))
    assert plain(said) == plain(batch)


def test_a_batch_may_be_empty() -> None:
    assert 0 == len(a_batch())
    assert 0 == len(a_batch(pb.EventRun(trades=pb.TradeColumns()), pb.EventRun(cash=pb.CashColumns()), first=1))


def test_without_an_event_id_nothing_is_numbered() -> None:
    batches = [decode_unary(event) for event in (GOOD_TRADE, GOOD_PRICE, GOOD_CASH, GOOD_TICK)]
    assert [("", 0, 0, 1)] * 4 == [(batch.source, batch.epoch, batch.first_sequence, len(batch)) for batch in batches]


def test_a_batch_without_a_first_sequence_has_no_source() -> None:
    """Contract: source and epoch are ignored then."""
    batch = codec.decode_batch(pb.StreamEventsRequest(source="x" * 999, epoch=7, runs=[ticks(1)]))
    assert ("", 0, 0) == (batch.source, batch.epoch, batch.first_sequence)


# --- the digest of content -----------------------------------------------------------------------------------------


@given(
    st.one_of(
        st.fixed_dictionaries(
            {"account_id": INT64, "symbol_id": st.integers(0, 2**32 - 1), "side": SIDES, "quantity_bp": INT64,
             "price_cents": INT64, "fee_cents": INT64, "settlement_id": INT64}
        ),
        st.fixed_dictionaries({"symbol_id": st.integers(0, 2**32 - 1), "price_cents": INT64}),
        st.fixed_dictionaries(
            {"account_id": INT64, "amount_cents": INT64, "reason": st.text(st.characters(codec="utf-8"), max_size=99)}
        ),
        st.fixed_dictionaries({"tick_id": st.integers(0, 2**64 - 1), "tick_time": INT64}),
    )
)  # fmt: skip
def test_a_call_and_a_column_say_the_same(event: dict[str, Any]) -> None:
    """The same digest, the same run and the same refusal, so that a sender may change ways in between."""
    unary = decode_unary(event)
    [run] = unary.runs
    for count in (1, MANY):
        batch = a_batch(a_run(*[event] * count))
        assert unary.digest.tolist() * count == batch.digest.tolist()
        assert [each * count for each in plain(run).values()] == [list(each) for each in plain(batch.runs[0]).values()]
        refusals = [shown(error) for error in unary.refusals.values()] * count
        assert refusals == [shown(batch.refusals[index]) for index in sorted(batch.refusals)]


def columns_of(run: Any) -> list[list[Any]]:
    return [list(column) for column in plain(run).values()]


def joined(runs: Sequence[Any]) -> list[list[Any]]:
    """Runs of one kind, one behind the other."""
    return [list(itertools.chain(*columns)) for columns in zip(*map(columns_of, runs), strict=True)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([GOOD_TRADE, GOOD_PRICE, GOOD_CASH, GOOD_TICK]),
            st.integers(-1, 3),
            st.sampled_from([1, 1, 1, 2, 3, MANY, LONG]),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_runs_cut_in_any_way_hold_the_same_events(stretches: list[tuple[dict[str, Any], int, int, bool]]) -> None:
    """Long and short ones, with columns left out and not, good and bad; refusals stand where their events do."""
    runs: list[pb.EventRun] = []
    digests: list[int] = []
    refusals: list[int] = []
    kinds: list[type[Any]] = []
    for number, (event, value, count, leaves_out) in enumerate(stretches):
        changed = {name: value for name in ("price_cents", "amount_cents", "tick_time") if name in event}
        left_out = {name for name in ("fee_cents", "settlement_id", "reason") if leaves_out and name in event}
        said = {name: each for name, each in (event | changed | {"settlement_id": number}).items() if name in event}
        runs.append(a_run(*[{name: each for name, each in said.items() if name not in left_out}] * count))
        meant = said | {name: "" if name == "reason" else 0 for name in left_out}
        alone = decode_unary(meant)
        kinds += [type(alone.runs[0])]
        refusals += [len(digests) + at for at in range(count) if alone.refusals]
        digests += alone.digest.tolist() * count
    batch = a_batch(*runs)
    assert [digests, refusals] == [batch.digest.tolist(), list(batch.refusals)]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [type(run) for run in batch.runs]
    apart = [a_batch(run).runs[0] for run in runs]
    for together, (_, parts) in zip(batch.runs, itertools.groupby(apart, type), strict=True):
        assert joined(list(parts)) == columns_of(together)


def test_a_run_is_not_made_whole_by_the_next() -> None:
    """One has a price too many and the next one too few: together their columns are of one length."""
    one, other = pb.PriceColumns(symbol_id=[1], price_cents=[2, 3]), pb.PriceColumns(symbol_id=[4, 5], price_cents=[6])
    for count in (1, 2):
        good = [prices((KICK, 1))] * (count - 1)
        with pytest.raises(InvalidRequest, match="symbol_id 1, price_cents 2"):
            a_batch(*good, pb.EventRun(prices=one), pb.EventRun(prices=other))


@pytest.mark.parametrize("event", [GOOD_TRADE, GOOD_PRICE, GOOD_CASH, GOOD_TICK])
def test_every_field_is_part_of_the_content(event: dict[str, Any]) -> None:
    for field, value in event.items():
        other = event | {field: SELL if field == "side" else "food" if field == "reason" else value + 1}
        assert decode_unary(event).digest != decode_unary(other).digest, field


def test_kinds_with_the_same_numbers_differ() -> None:
    batch = a_batch(prices((7, 8)), cash((7, 8)), ticks(7, tick_time=(8,)))
    assert 3 == len(set(batch.digest.tolist()))


def test_digests_are_what_they_always_were() -> None:
    """They are kept in Postgres: another digest for the same content would make conflicts of repeats."""
    batch = a_batch(trades((1, 2, BUY, 3, 4, 5, 6)), prices((7, 8)), cash((9, -10)), ticks(11, tick_time=(12,)))
    reason = codec.decode_cash(pb.OnCashAdjustedRequest(account_id=9, amount_cents=-10, reason="rent"))
    assert [DIGESTS, REASON_DIGEST] == [batch.digest.tolist(), reason.digest.tolist()]


DIGESTS = [15_766_132_989_986_103_871, 2_302_675_890_921_502_414, 17_004_377_150_479_074_243, 3_322_196_022_509_703_975]
REASON_DIGEST = [7_659_684_658_245_915_921]


# --- what is refused -----------------------------------------------------------------------------------------------

REFUSALS = [
    # Expected: kind and field. Given: a good event, and what is changed in it.
    (InvalidRequest, "account_id", GOOD_TRADE, {"account_id": 0}),
    (InvalidRequest, "account_id", GOOD_TRADE, {"account_id": -1}),
    (InvalidRequest, "account_id", GOOD_TRADE, {"account_id": INT64_MIN}),
    (InvalidRequest, "side", GOOD_TRADE, {"side": 0}),
    (InvalidRequest, "side", GOOD_TRADE, {"side": 3}),
    (InvalidRequest, "side", GOOD_TRADE, {"side": 99}),
    (InvalidRequest, "side", GOOD_TRADE, {"side": -1}),
    (InvalidRequest, "quantity_bp", GOOD_TRADE, {"quantity_bp": 0}),
    (InvalidRequest, "quantity_bp", GOOD_TRADE, {"quantity_bp": -1}),
    (InvalidRequest, "quantity_bp", GOOD_TRADE, {"quantity_bp": INT64_MIN}),
    (InvalidRequest, "price_cents", GOOD_TRADE, {"price_cents": 0}),
    (InvalidRequest, "price_cents", GOOD_TRADE, {"price_cents": -1}),
    (InvalidRequest, "price_cents", GOOD_TRADE, {"price_cents": INT64_MIN}),
    (InvalidRequest, "fee_cents", GOOD_TRADE, {"fee_cents": -1}),
    (InvalidRequest, "fee_cents", GOOD_TRADE, {"fee_cents": INT64_MIN}),
    (InvalidRequest, "settlement_id", GOOD_TRADE, {"settlement_id": -1}),
    (OutOfBounds, "account_id", GOOD_TRADE, {"account_id": EXACT_MAX + 1}),
    (OutOfBounds, "quantity_bp", GOOD_TRADE, {"quantity_bp": QUANTITY_BP_MAX + 1}),
    (OutOfBounds, "quantity_bp", GOOD_TRADE, {"quantity_bp": INT64_MAX}),
    (OutOfBounds, "price_cents", GOOD_TRADE, {"price_cents": PRICE_CENTS_MAX + 1}),
    (OutOfBounds, "fee_cents", GOOD_TRADE, {"fee_cents": FEE_CENTS_MAX + 1}),
    (OutOfBounds, "settlement_id", GOOD_TRADE, {"settlement_id": EXACT_MAX + 1}),
    (InvalidRequest, "price_cents", GOOD_PRICE, {"price_cents": 0}),
    (InvalidRequest, "price_cents", GOOD_PRICE, {"price_cents": INT64_MIN}),
    (OutOfBounds, "price_cents", GOOD_PRICE, {"price_cents": PRICE_CENTS_MAX + 1}),
    (InvalidRequest, "account_id", GOOD_CASH, {"account_id": 0}),
    (InvalidRequest, "amount_cents", GOOD_CASH, {"amount_cents": 0}),
    (InvalidRequest, "reason", GOOD_CASH, {"reason": "é" * (REASON_BYTES_MAX // 2) + "!"}),
    (OutOfBounds, "account_id", GOOD_CASH, {"account_id": INT64_MAX}),
    (OutOfBounds, "amount_cents", GOOD_CASH, {"amount_cents": EXACT_MAX + 1}),
    (OutOfBounds, "amount_cents", GOOD_CASH, {"amount_cents": -EXACT_MAX - 1}),
    (OutOfBounds, "amount_cents", GOOD_CASH, {"amount_cents": INT64_MIN}),
    (InvalidRequest, "tick_time", GOOD_TICK, {"tick_time": -1}),
    (OutOfBounds, "tick_id", GOOD_TICK, {"tick_id": EXACT_MAX + 1}),
    (OutOfBounds, "tick_id", GOOD_TICK, {"tick_id": 2**64 - 1}),
    (OutOfBounds, "tick_time", GOOD_TICK, {"tick_time": TICK_TIME_MS_MAX + 1}),
    # In order of precedence: what no state could make right goes first, then field by field.
    (InvalidRequest, "account_id", GOOD_TRADE, {"account_id": 0, "side": 0, "quantity_bp": 0, "price_cents": 0}),
    (InvalidRequest, "side", GOOD_TRADE, {"side": 0, "quantity_bp": 0, "price_cents": 0}),
    (InvalidRequest, "quantity_bp", GOOD_TRADE, {"quantity_bp": 0, "price_cents": 0, "fee_cents": -1}),
    (InvalidRequest, "fee_cents", GOOD_TRADE, {"fee_cents": -1, "quantity_bp": INT64_MAX}),
    (InvalidRequest, "amount_cents", GOOD_CASH, {"amount_cents": 0, "account_id": INT64_MAX}),
    (InvalidRequest, "tick_time", GOOD_TICK, {"tick_time": -1, "tick_id": 2**64 - 1}),
]


@pytest.mark.parametrize(("kind", "field", "event", "change"), REFUSALS)
def test_a_refusal_names_the_field_and_every_number(
    kind: type[RequestError], field: str, event: dict[str, Any], change: dict[str, Any]
) -> None:
    error = decode_unary(event | change).refusals[0]
    assert (kind, field) == shown(error)[:2]
    assert set(re.findall(r"-?\d+", error.message.replace("+-", ""))) <= set(error.metadata.values())


@pytest.mark.parametrize(("kind", "field", "event", "change"), REFUSALS)
def test_a_refusal_spares_its_neighbours(
    kind: type[RequestError], field: str, event: dict[str, Any], change: dict[str, Any]
) -> None:
    """In a batch it is refused by its own index, counted across the runs; whether neighbours are few or many."""
    for count in (1, MANY):
        batch = a_batch(ticks(1, 2), a_run(event, event | change, *[event] * count))
        assert {3: (kind, field)} == {index: shown(error)[:2] for index, error in batch.refusals.items()}


@pytest.mark.parametrize(
    "event",
    [
        GOOD_TRADE,
        GOOD_TRADE | {"account_id": EXACT_MAX, "symbol_id": 0, "quantity_bp": 1, "price_cents": 1},
        GOOD_TRADE | {"symbol_id": 2**32 - 1, "quantity_bp": QUANTITY_BP_MAX, "price_cents": PRICE_CENTS_MAX},
        GOOD_TRADE | {"fee_cents": FEE_CENTS_MAX, "settlement_id": EXACT_MAX},
        GOOD_PRICE | {"price_cents": PRICE_CENTS_MAX},
        GOOD_CASH | {"amount_cents": EXACT_MAX, "reason": ""},
        GOOD_CASH | {"amount_cents": -EXACT_MAX, "reason": "é" * (REASON_BYTES_MAX // 2)},
        GOOD_TICK | {"tick_id": 0, "tick_time": 0},
        GOOD_TICK | {"tick_id": EXACT_MAX, "tick_time": TICK_TIME_MS_MAX},
    ],
)
def test_what_is_just_within_bounds_is_taken(event: dict[str, Any]) -> None:
    assert {} == decode_unary(event).refusals


# --- calls that cannot be read at all ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "field", "event_id"),
    [
        (InvalidRequest, "event_id.source", pb.EventId()),
        (InvalidRequest, "event_id.source", pb.EventId(epoch=1, sequence=1)),
        (InvalidRequest, "event_id.source", numbered(1, source="é" * (SOURCE_BYTES_MAX // 2) + "!")),
        (InvalidRequest, "event_id.source", numbered(1, source="em\0")),
        (InvalidRequest, "event_id.sequence", numbered(0)),
        (OutOfBounds, "event_id.sequence", numbered(EXACT_MAX + 1)),
        (OutOfBounds, "event_id.sequence", numbered(2**64 - 1)),
        (OutOfBounds, "event_id.epoch", numbered(1, epoch=EXACT_MAX + 1)),
    ],
)
@pytest.mark.parametrize("event", [GOOD_TRADE, GOOD_PRICE, GOOD_CASH, GOOD_TICK])
def test_an_event_id_that_cannot_be_used_is_refused(
    kind: type[RequestError], field: str, event_id: pb.EventId, event: dict[str, Any]
) -> None:
    with pytest.raises(kind) as caught:
        decode_unary(event, event_id)
    assert (kind, field) == shown(caught.value)[:2]
    assert set(re.findall(r"\d+", caught.value.message)) <= set(caught.value.metadata.values())


@pytest.mark.parametrize(
    "event_id",
    [
        numbered(EXACT_MAX),
        numbered(1, epoch=0),
        numbered(1, epoch=EXACT_MAX),
        numbered(1, source="é" * (SOURCE_BYTES_MAX // 2)),
    ],
)
def test_an_event_id_at_the_bounds_is_taken(event_id: pb.EventId) -> None:
    batch = decode_unary(GOOD_TICK, event_id)
    assert (event_id.source, event_id.epoch, event_id.sequence) == (batch.source, batch.epoch, batch.first_sequence)


@pytest.mark.parametrize(
    ("kind", "field", "request_"),
    [
        (InvalidRequest, "source", a_request(ticks(1), first=1, source="")),
        (InvalidRequest, "source", a_request(ticks(1), first=1, source="x" * (SOURCE_BYTES_MAX + 1))),
        (InvalidRequest, "source", a_request(ticks(1), first=1, source="\0")),
        (OutOfBounds, "epoch", a_request(ticks(1), first=1, epoch=2**64 - 1)),
        (OutOfBounds, "first_sequence", a_request(ticks(1), first=EXACT_MAX + 1)),
        (OutOfBounds, "first_sequence", a_request(ticks(1, 2), first=EXACT_MAX)),
        (InvalidRequest, "runs", a_request(pb.EventRun())),
        (InvalidRequest, "runs", a_request(ticks(1), pb.EventRun(), first=1)),
        (InvalidRequest, "runs", a_request(ticks(*range(BATCH_EVENTS_MAX + 1)))),
        (InvalidRequest, "runs", a_request(ticks(*range(BATCH_EVENTS_MAX)), ticks(1), first=1)),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused(
    kind: type[RequestError], field: str, request_: pb.StreamEventsRequest
) -> None:
    with pytest.raises(kind) as caught:
        codec.decode_batch(request_)
    assert (kind, field) == shown(caught.value)[:2]
    assert set(re.findall(r"\d+", caught.value.message)) <= set(caught.value.metadata.values())


def test_a_batch_may_hold_as_many_events_as_the_contract_says() -> None:
    assert 65_536 == len(a_batch(ticks(*range(65_536)), first=EXACT_MAX - 65_535))


@pytest.mark.parametrize(
    ("kind", "dropped"),
    [
        *[("trades", name) for name in ("account_id", "symbol_id", "side", "quantity_bp", "price_cents")],
        *[("trades", name) for name in ("fee_cents", "settlement_id")],
        *[("prices", name) for name in ("symbol_id", "price_cents")],
        *[("cash", name) for name in ("account_id", "amount_cents", "reason")],
        *[("ticks", name) for name in ("tick_id", "tick_time")],
    ],
)
def test_columns_that_do_not_align_are_refused(kind: str, dropped: str) -> None:
    run = pb.EventRun()
    columns = getattr(run, kind)
    for field in columns.DESCRIPTOR.fields:
        getattr(columns, field.name).extend(["a", "b"] if field.name == "reason" else [1, 2])
    del getattr(columns, dropped)[1:]
    with pytest.raises(InvalidRequest) as caught:
        a_batch(run)
    assert f"runs.{kind}" == caught.value.field
    assert f"{dropped} 1" in caught.value.message
    assert "1" == caught.value.metadata[dropped]


def test_a_column_that_is_required_may_not_be_left_out() -> None:
    run = trades((ALICE, KICK, BUY, 1, 2))
    del run.trades.side[:]
    with pytest.raises(InvalidRequest, match="side 0"):
        a_batch(run)


@pytest.mark.parametrize("source", ["", "x" * (SOURCE_BYTES_MAX + 1), "a\0b"])
def test_a_source_is_checked_for_its_own_sake(source: str) -> None:
    """As ``GetIngestState`` asks."""
    with pytest.raises(InvalidRequest) as caught:
        codec.check_source(source)
    assert "source" == caught.value.field
    assert EM == codec.check_source(EM)
