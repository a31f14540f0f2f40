"""The JSON of the websocket: what parses as what, and the exact bytes of each frame (`tests/golden`)."""

import json
from pathlib import Path

import pytest
from evs.v1 import evs_pb2
from hypothesis import given
from hypothesis import strategies as st

from evs_server.bridge import codec, frames
from evs_server.bridge.frames import (
    Authenticate,
    EquityData,
    EquityValue,
    Failure,
    Malformed,
    Ping,
    PositionRow,
    Positions,
    ReadHistory,
    ReadPositions,
    ReadSummary,
    Request,
    Subscribe,
    Unsubscribe,
)
from evs_server.limits import EXACT_MAX

GOLDEN = Path(__file__).parent.parent / "golden"

# Vector 2 of DESIGN 3: a deposit of 1,000,000, 100 shares bought at 5000, now at 6000.
DATA = EquityData(7, 42, 1_700_000_000, 1_100_000, 500_000, 600_000, 100_000, 10.0, 100_000, 0)
VALUE = EquityValue(DATA, version=4_294_967_297, snapshot=True, conflated=0, flags=())
SHORT = EquityData(8, 43, 1_700_000_001, -25, 275_000, -275_025, -25, -0.0025, -25, 50_000)
WARNED = EquityValue(SHORT, version=EXACT_MAX, snapshot=False, conflated=0, flags=("UNPRICED", "NO_BASE"))
HELD = Positions(
    [
        PositionRow(1, 1_000_000, 5_000, 500_000, 6_000, "MARK", 600_000, 100_000, 0, 1_700_000_000, 1_700_000_000_250),
        PositionRow(9, -5_000, 333, -166, 333, "COST", -166, 0, -12, 1_699_999_999, 0),
    ],
    version=4_294_967_297,
)

LEAVES = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


# --- requests ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Authenticate(1, "abc"), '{"id":1,"method":"auth.jwt","params":{"token":"abc"}}'),
        (Authenticate("a-1", "abc"), '{"id":"a-1","method":"auth","params":{"token":"abc"}}'),
        (Subscribe(2), '{"id":2,"method":"equity.subscribe","params":{}}'),
        (Subscribe(2), '{"id":2,"method":"equity.subscribe"}'),
        (Subscribe(2), '{"id":2,"method":"equity.subscribe","params":null}'),
        (Subscribe(2), '{"id":2,"method":"equity.subscribe","params":{"account_id":99}}'),
        (Subscribe(2), '{"jsonrpc":"2.0","id":2,"method":"equity.subscribe","params":[[1,{"a":2}]]}'),
        (Unsubscribe(3), ' {"method":"equity.unsubscribe","id":3} '),
        (ReadHistory(4), '{"id":4,"method":"equity.history","params":{"range":"1d","resolution":"1m"}}'),
        (ReadSummary(5), '{"id":5,"method":"account.summary"}'),
        (ReadPositions(6), '{"id":6,"method":"positions.list"}'),
        (Ping(0), '{"id":0,"method":"ping"}'),
        (Ping(-EXACT_MAX), f'{{"id":{-EXACT_MAX},"method":"ping"}}'),
        (Ping(""), '{"id":"","method":"ping"}'),
    ],
)
def test_a_request_is_read_and_what_it_does_not_need_is_ignored(request_: Request, text: str) -> None:
    assert request_ == frames.parse(text)
    assert request_ == frames.parse(text.encode())


@pytest.mark.parametrize(
    ("request_id", "text"),
    [
        (None, ""),
        (None, "hello"),
        (None, "{"),
        (None, '{"id":1,"method":"ping"} trailing'),
        (None, "null"),
        (None, "[]"),
        (None, '[{"id":1,"method":"ping"}]'),
        (None, '"ping"'),
        (None, "{}"),
        (None, '{"method":"ping"}'),
        (None, '{"id":null,"method":"ping"}'),
        (None, '{"id":true,"method":"ping"}'),
        (None, '{"id":1.5,"method":"ping"}'),
        (None, '{"id":[1],"method":"ping"}'),
        (None, f'{{"id":{EXACT_MAX + 1},"method":"ping"}}'),
        (None, '{"id":' + "9" * 5_000 + ',"method":"ping"}'),
        (None, '{"id":"' + "x" * 65 + '","method":"ping"}'),
        (None, '{"id":NaN,"method":"ping"}'),
        (None, '{"id":1,"x":' + "[" * 4_000 + "]" * 4_000 + "}"),
        (None, '{"a":' * 1_500),
        (1, '{"id":1}'),
        (1, '{"id":1,"method":null}'),
        (1, '{"id":1,"method":7}'),
        (1, '{"id":1,"method":{"a":[]}}'),
        (1, '{"id":1,"method":""}'),
        (1, '{"id":1,"method":"equity.Subscribe"}'),
        ("x", '{"id":"x","method":"__class__"}'),
        (1, '{"id":1,"method":"auth.jwt"}'),
        (1, '{"id":1,"method":"auth.jwt","params":null}'),
        (1, '{"id":1,"method":"auth.jwt","params":"abc"}'),
        (1, '{"id":1,"method":"auth.jwt","params":{"token":7}}'),
        (1, '{"id":1,"method":"auth","params":{"Token":"abc"}}'),
    ],
)
def test_what_is_no_request_is_malformed_with_its_id_where_it_has_one(request_id: object, text: str) -> None:
    parsed = frames.parse(text)
    assert isinstance(parsed, Malformed)
    assert request_id == parsed.id
    assert parsed.message


@given(st.text() | st.binary())
def test_anything_at_all_parses(message: str | bytes) -> None:
    assert frames.parse(message) is not None


@given(ANY_JSON)
def test_any_json_at_all_parses_and_its_refusal_can_be_sent(value: object) -> None:
    parsed = frames.parse(json.dumps({"id": 1, "method": value, "params": value}))
    assert isinstance(parsed, Malformed)
    assert json.loads(frames.refusal(parsed.id, Failure("INVALID_REQUEST", parsed.message)))["id"] == 1


def test_a_token_shows_in_no_repr_and_in_no_error() -> None:
    assert "secret" not in repr(frames.parse('{"id":1,"method":"auth","params":{"token":"secret"}}'))
    assert "secret" not in repr(frames.parse('{"id":1,"method":"auth","params":{"token":["secret"]}}'))


# --- answers and pushes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("authenticated", frames.authenticated(1, 7)),
        ("subscribed", frames.subscribed("s-2", now=True)),
        ("unsubscribed", frames.subscribed(3, now=False)),
        ("pong", frames.pong(4)),
        ("summary", frames.summary(5, VALUE)),
        ("positions", frames.positions(6, HELD)),
        ("error", frames.refusal(7, Failure("UNAUTHENTICATED", "not authenticated: send auth.jwt with a token first"))),
        ("error_without_id", frames.refusal(None, Failure("INVALID_REQUEST", "not valid JSON"))),
        ("equity_snapshot", frames.equity(VALUE, snapshot=True, conflated=0)),
        ("equity_change", frames.equity(WARNED, snapshot=False, conflated=3)),
        ("status_stale", frames.stale(1_700_000_000_123)),
        ("status_live", frames.live()),
        ("status_expiring", frames.expiring(25_000)),
    ],
)
def test_a_frame_is_exactly_the_golden_one(name: str, frame: bytes) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert golden == json.loads(frame)
    assert list(golden) == list(json.loads(frame)), "the order is part of what people read"


def test_the_data_of_an_equity_frame_has_the_ten_names_of_the_contract_and_no_others() -> None:
    frame = json.loads(frames.equity(WARNED, snapshot=False, conflated=3))
    assert [field.name for field in evs_pb2.EquityUpdate.DESCRIPTOR.fields] == list(frame["data"])
    assert ["stream", "data", "version", "snapshot", "conflated", "flags"] == list(frame)


@given(st.integers(-9_999_999_999, 9_999_999_999))
def test_a_percentage_of_four_decimals_is_a_json_number_that_reads_back_the_same(percent_e4: int) -> None:
    data = EquityData(7, 1, 1, 0, 0, 0, 0, percent_e4 / 10_000, 0, 0)
    frame = json.loads(frames.equity(EquityValue(data, 1, False, 0, ()), snapshot=False, conflated=0))
    assert percent_e4 == round(frame["data"]["day_change_percent"] * 10_000)


# --- from the contract's messages --------------------------------------------------------------------------------


def test_every_field_of_a_value_is_carried_over() -> None:
    message = evs_pb2.SubscribeEquityResponse(
        equity=evs_pb2.EquityUpdate(
            account_id=7,
            tick=42,
            timestamp=1_700_000_000,
            total_equity=1_100_000,
            cash_balance=500_000,
            position_value=600_000,
            day_change=100_000,
            day_change_percent=10.0,
            unrealized_pnl=100_000,
        ),
        version=4_294_967_297,
        snapshot=True,
    )
    assert codec.decode_update(message) == VALUE
    assert codec.decode_equity(evs_pb2.GetEquityResponse(equity=message.equity, version=message.version)) == VALUE


def test_a_heartbeat_has_no_value() -> None:
    assert codec.decode_update(evs_pb2.SubscribeEquityResponse(version=3)) is None


def test_flags_and_sources_go_by_name_and_unknown_ones_by_number() -> None:
    message = evs_pb2.SubscribeEquityResponse(
        equity=evs_pb2.EquityUpdate(account_id=7),
        flags=[evs_pb2.EQUITY_FLAG_UNPRICED, evs_pb2.EQUITY_FLAG_IDENTITY_VIOLATED, 77],  # type: ignore[list-item]
    )
    value = codec.decode_update(message)
    assert value is not None
    assert ("UNPRICED", "IDENTITY_VIOLATED", "77") == value.flags


def test_every_field_of_a_position_is_carried_over() -> None:
    message = evs_pb2.ListPositionsResponse(
        positions=[
            evs_pb2.Position(
                symbol_id=1,
                quantity_bp=1_000_000,
                avg_cost=5_000,
                basis_cents=500_000,
                mark_price=6_000,
                mark_source=evs_pb2.MARK_SOURCE_MARK,
                market_value=600_000,
                unrealized_pnl=100_000,
                last_updated=1_700_000_000,
                mark_time=1_700_000_000_250,
            )
        ],
        version=4_294_967_297,
    )
    assert Positions([HELD.rows[0]], 4_294_967_297) == codec.decode_positions(message)
    names = {field.name for field in evs_pb2.Position.DESCRIPTOR.fields}
    assert names == set(PositionRow.__struct_fields__)
