"""Records of events, their checks, and the requests made of them."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, cast

import pytest
from evs.v1 import evs_pb2
from evs_client.block import BLOCK_BYTES_MAX, REQUEST_BYTES_MAX, EventBlock
from evs_client.encode import (
    WIRE_BYTES_PER_RECORD_BYTE,
    CashEvent,
    Event,
    PriceEvent,
    Side,
    TickEvent,
    TradeEvent,
    cash_record,
    encode_batch,
    event_of,
    price_record,
    quantity_from_shares,
    tick_record,
    trade_record,
)
from evs_client.testing import events_in
from hypothesis import given
from hypothesis import strategies as st

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
REASON = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)  # at most 256 bytes

TRADE_EVENTS = st.builds(TradeEvent, INT64, UINT32, st.sampled_from([1, 2]), INT64, INT64, INT64, INT64)
EVENTS = st.one_of(
    TRADE_EVENTS,
    st.builds(PriceEvent, UINT32, INT64),
    st.builds(TickEvent, UINT64, INT64),
    st.builds(CashEvent, INT64, INT64, REASON),
)


def record_of(event: Event) -> bytes:
    if isinstance(event, TradeEvent):
        return trade_record(
            event.account_id,
            event.symbol_id,
            event.side,
            quantity_bp=event.quantity_bp,
            price_cents=event.price_cents,
            fee_cents=event.fee_cents,
            settlement_id=event.settlement_id,
        )
    if isinstance(event, PriceEvent):
        return price_record(*event)
    return tick_record(*event) if isinstance(event, TickEvent) else cash_record(*event)


@given(EVENTS)
def test_a_record_holds_its_event_whole(event: Event) -> None:
    assert event == event_of(record_of(event))


@given(st.lists(EVENTS, max_size=20))
def test_a_request_carries_its_events_in_order(events: list[Event]) -> None:
    request = encode_batch("em", 3, 41, [record_of(event) for event in events])
    assert ("em", 3, 41) == (request.source, request.epoch, request.first_sequence)
    assert events == events_in(evs_pb2.StreamEventsRequest.FromString(request.SerializeToString()))


@given(st.lists(EVENTS, max_size=20))
def test_a_request_is_never_bigger_than_its_records_promise(events: list[Event]) -> None:
    records = [record_of(event) for event in events]
    request = encode_batch("s" * 64, 2**63, 2**63, records)
    header = 2 + 64 + 11 + 11
    assert request.ByteSize() <= header + WIRE_BYTES_PER_RECORD_BYTE * sum(map(len, records))


def test_consecutive_events_of_one_kind_share_a_run() -> None:
    price, tick = price_record(1, 100), tick_record(1)
    request = encode_batch("em", 1, 1, [price, price, tick, price])
    assert ["prices", "ticks", "prices"] == [run.WhichOneof("events") for run in request.runs]
    assert [1, 1] == list(request.runs[0].prices.symbol_id)


def test_columns_that_are_all_zero_are_left_out() -> None:
    request = encode_batch("em", 1, 1, [trade_record(7, 1, "BUY", shares=2, price_cents=1_500), cash_record(7, 5)])
    assert [] == list(request.runs[0].trades.fee_cents)
    assert [] == list(request.runs[0].trades.settlement_id)
    assert [] == list(request.runs[1].cash.reason)
    assert [20_000] == list(request.runs[0].trades.quantity_bp)


@pytest.mark.parametrize(
    ("quantity_bp", "shares"),
    [
        (100_000, 10),
        (-10_000, -1),
        (1, Decimal("0.0001")),
        (15_000, Decimal("1.5")),
        (15_000, Decimal("1.50000000")),
        (20_000, Decimal("2E+0")),
        # More digits than a decimal context keeps, and still exact.
        (123_456_789_012_345_678_9001, Decimal("123456789012345678.9001")),
    ],
)
def test_shares_become_basis_points_exactly(quantity_bp: int, shares: int | Decimal) -> None:
    assert quantity_bp == quantity_from_shares(shares)


@pytest.mark.parametrize("shares", [Decimal("0.00001"), Decimal("NaN"), Decimal("Infinity"), Decimal("1E+999999")])
def test_shares_that_are_no_whole_basis_points_are_an_error(shares: Decimal) -> None:
    with pytest.raises(ValueError, match="shares are"):
        quantity_from_shares(shares)


@pytest.mark.parametrize("shares", [1.0, "1", None])
def test_shares_that_are_no_exact_number_are_an_error(shares: Any) -> None:
    with pytest.raises(TypeError, match="shares must be an integer"):
        quantity_from_shares(shares)


@pytest.mark.parametrize("sizes", [{}, {"shares": 1, "quantity_bp": 10_000}])
def test_a_trade_has_its_size_in_one_unit(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected one of shares and quantity_bp"):
        trade_record(7, 1, "BUY", price_cents=100, **sizes)


@pytest.mark.parametrize(("number", "side"), [(1, "BUY"), (2, "SELL"), (1, evs_pb2.TRADE_SIDE_BUY), (2, 2)])
def test_a_side_goes_by_name_or_number(number: int, side: Side) -> None:
    event = event_of(trade_record(7, 1, side, shares=1, price_cents=100))
    assert isinstance(event, TradeEvent)
    assert number == event.side


@pytest.mark.parametrize("side", [0, 3, "buy", "", None])
def test_an_unknown_side_is_an_error_and_never_a_buy(side: Any) -> None:
    with pytest.raises(ValueError, match="is neither BUY nor SELL"):
        trade_record(7, 1, side, shares=1, price_cents=100)


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("account_id 9223372036854775808 does", lambda: trade_record(2**63, 1, "BUY", shares=1, price_cents=1)),
        ("symbol_id -1 does not fit", lambda: trade_record(7, -1, "BUY", shares=1, price_cents=1)),
        ("symbol_id 4294967296 does", lambda: price_record(2**32, 1)),
        ("quantity_bp 92233720368547758080000 does", lambda: trade_record(7, 1, "BUY", shares=2**63, price_cents=1)),
        ("tick_id -1 does not fit its field: expected 0 to", lambda: tick_record(-1)),
        ("amount_cents -9223372036854775809 does", lambda: cash_record(7, -(2**63) - 1)),
        ("a reason of 257 bytes is longer than 256", lambda: cash_record(7, 1, "x" * 257)),
    ],
)
def test_a_number_beyond_its_field_is_named_with_its_bound(message: str, make: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_float_of_money_is_an_error_that_names_the_field() -> None:
    with pytest.raises(TypeError, match=r"price_cents must be an integer, not float: 1\.5"):
        price_record(1, cast("int", 1.5))


def fullest_block(accept: Callable[[list[bytes]], Awaitable[None]]) -> EventBlock:
    """A block that has no room for another trade, made of events that take the most of their request."""
    block = EventBlock(accept)

    def fill() -> None:
        while True:
            block.trade(-1, 2**32 - 1, "SELL", quantity_bp=-1, price_cents=-1, fee_cents=-1, settlement_id=-1)
            block.price(2**32 - 1, -1)

    with pytest.raises(ValueError, match="begin another"):
        fill()
    return block


async def test_a_block_stops_growing_before_its_request_would_be_too_big() -> None:
    taken: list[list[bytes]] = []

    async def accept(records: list[bytes]) -> None:
        taken.append(records)

    async with fullest_block(accept) as block:
        assert [] == taken
    assert len(block) == len(taken[0])
    assert BLOCK_BYTES_MAX // 2 < sum(map(len, taken[0])) <= BLOCK_BYTES_MAX
    assert encode_batch("s" * 64, 1, 1, taken[0]).ByteSize() <= REQUEST_BYTES_MAX
