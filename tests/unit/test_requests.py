"""What a browser sends: what parses as what, and what is refused with which words."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evs_server.bridge import frames, requests
from evs_server.bridge.requests import (
    Authenticate,
    KillShard,
    Malformed,
    Ping,
    ReadCluster,
    ReadHistory,
    ReadLeaderboard,
    ReadPerformance,
    ReadPositions,
    ReadSummary,
    Request,
    Span,
    Subscribe,
    Unfit,
    Unsubscribe,
)
from evs_server.bridge.values import Failure
from evs_server.limits import EXACT_MAX
from tests.golden_values import GOLDEN

LEAVES = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


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
        (ReadSummary(5), '{"id":5,"method":"account.summary"}'),
        (ReadPositions(6), '{"id":6,"method":"positions.list"}'),
        (ReadCluster(15), '{"id":15,"method":"cluster.state","params":{}}'),
        (KillShard(16), '{"id":16,"method":"demo.kill_shard","params":{"shard":"shard-1"}}'),
        (Ping(0), '{"id":0,"method":"ping"}'),
        (Ping(-EXACT_MAX), f'{{"id":{-EXACT_MAX},"method":"ping"}}'),
        (Ping(""), '{"id":"","method":"ping"}'),
    ],
)
def test_a_request_is_read_and_what_it_does_not_need_is_ignored(request_: Request, text: str) -> None:
    assert request_ == requests.parse(text)
    assert request_ == requests.parse(text.encode())


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
    parsed = requests.parse(text)
    assert isinstance(parsed, Malformed)
    assert request_id == parsed.id
    assert parsed.message


TODAY = Span("1D")


@pytest.mark.parametrize(
    ("request_", "method", "params"),
    [
        (ReadHistory(1, TODAY, None, False, 2_500, ""), "equity.history", None),
        (ReadHistory(1, TODAY, None, False, 2_500, ""), "equity.history", {}),
        (ReadHistory(1, TODAY, None, False, 2_500, ""), "equity.history", {"account_id": 99, "Range": "2D"}),
        (
            ReadHistory(1, TODAY, None, False, 2_500, ""),
            "equity.history",
            dict.fromkeys(("range", "start", "end", "resolution", "fill", "limit", "next")),
        ),
        (
            ReadHistory(1, Span("ALL"), "raw", True, 5_000, "x"),
            "equity.history",
            {"range": "ALL", "resolution": "raw", "fill": True, "limit": 5_000, "next": "x"},
        ),
        (ReadHistory(1, Span(None, 0), None, False, 1, ""), "equity.history", {"start": 0, "limit": 1}),
        (ReadPerformance(1, Span("3M")), "equity.performance", {"range": "3M", "limit": "ignored"}),
        (ReadPerformance(1, Span(None, 1, 2)), "equity.performance", {"start": 1, "end": 2}),
        (ReadPerformance(1, TODAY), "equity.performance", None),
        (ReadLeaderboard(1, "1D", 10), "leaderboard.list", None),
        (ReadLeaderboard(1, "ALL", 100), "leaderboard.list", {"range": "ALL", "limit": 100}),
    ],
)
def test_what_a_read_leaves_out_has_its_usual_value(request_: Request, method: str, params: object) -> None:
    assert request_ == requests.parse(json.dumps({"id": 1, "method": method, "params": params}))


@pytest.mark.parametrize(
    ("message", "method", "params"),
    [
        ('range "2D" is none of 1D, 1W, 1M, 3M, 1Y, ALL', "equity.history", {"range": "2D"}),
        ('range "1d" is none of 1D, 1W, 1M, 3M, 1Y, ALL', "equity.performance", {"range": "1d"}),
        ('range "" is none of 1D, 1W, 1M, 3M, 1Y, ALL', "equity.history", {"range": ""}),
        ("range 7 is none of 1D, 1W, 1M, 3M, 1Y, ALL", "equity.history", {"range": 7}),
        ('range "3M" is none of 1D, 1W, 1M, ALL', "leaderboard.list", {"range": "3M"}),
        ('resolution "1w" is none of raw, 1m, 5m, 1h, 1d', "equity.history", {"resolution": "1w"}),
        ('resolution ["1m"] is none of raw, 1m, 5m, 1h, 1d', "equity.history", {"resolution": ["1m"]}),
        ("limit 0 is no whole number from 1 to 5000", "equity.history", {"limit": 0}),
        ("limit 5001 is no whole number from 1 to 5000", "equity.history", {"limit": 5_001}),
        ("limit 2.5 is no whole number from 1 to 5000", "equity.history", {"limit": 2.5}),
        ("limit true is no whole number from 1 to 5000", "equity.history", {"limit": True}),
        ("limit 101 is no whole number from 1 to 100", "leaderboard.list", {"limit": 101}),
        ('limit "10" is no whole number from 1 to 100', "leaderboard.list", {"limit": "10"}),
        ("start -1 is no whole number from 0 to 253370764799", "equity.history", {"start": -1}),
        ("start 253370764800 is no whole number from 0 to 253370764799", "equity.history", {"start": 253_370_764_800}),
        ("end 5 is not after start 5", "equity.performance", {"start": 5, "end": 5}),
        ("end goes with a start; a range ends now", "equity.history", {"end": 5}),
        ("end goes with a start; a range ends now", "equity.history", {"range": "1D", "end": 5}),
        ("start cannot go with range 1D: expected one of the two", "equity.history", {"range": "1D", "start": 5}),
        ("fill 1 is neither true nor false", "equity.history", {"fill": 1}),
        ("next 7 is no text of up to 256 characters", "equity.history", {"next": 7}),
        (f'next "{"x" * 39}... is no text of up to 256 characters', "equity.history", {"next": "x" * 257}),
        ("params cannot be read: expected an object", "equity.history", ["1D"]),
        ("params cannot be read: expected an object", "leaderboard.list", "1D"),
    ],
)
def test_a_parameter_that_cannot_be_is_named_with_its_value_and_the_bound(
    message: str, method: str, params: object
) -> None:
    assert Unfit("a", f"{method}: {message}") == requests.parse(
        json.dumps({"id": "a", "method": method, "params": params})
    )


@pytest.mark.parametrize("params", ['{"start":1e400}', '{"start":' + "9" * 5_000 + "}", '{"a":' + "[" * 3_000 + "}"])
def test_parameters_that_json_cannot_carry_are_no_request(params: str) -> None:
    parsed = requests.parse(f'{{"id":1,"method":"equity.history","params":{params}}}')
    assert isinstance(parsed, Unfit | Malformed)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("request_*.json")), ids=lambda path: path.stem)
def test_every_golden_request_is_one_that_the_bridge_understands(path: Path) -> None:
    golden = json.loads(path.read_text())
    parsed = requests.parse(path.read_text())
    assert not isinstance(parsed, Malformed | Unfit)
    assert golden["id"] == parsed.id


@given(st.sampled_from(["equity.history", "equity.performance", "leaderboard.list"]), ANY_JSON, ANY_JSON)
def test_any_parameters_at_all_are_read_or_refused_in_words(method: str, some: object, other: object) -> None:
    names = ("range", "start", "end", "resolution", "fill", "limit", "next")
    for params in (some, dict.fromkeys(names, some), dict.fromkeys(names[::2], other)):
        parsed = requests.parse(json.dumps({"id": 1, "method": method, "params": params}))
        assert 1 == parsed.id
        if isinstance(parsed, Unfit):
            assert json.loads(frames.refusal(1, Failure("INVALID_REQUEST", parsed.message)))["error"]["message"]


@given(st.text() | st.binary())
def test_anything_at_all_parses(message: str | bytes) -> None:
    assert requests.parse(message) is not None


@given(ANY_JSON)
def test_any_json_at_all_parses_and_its_refusal_can_be_sent(value: object) -> None:
    parsed = requests.parse(json.dumps({"id": 1, "method": value, "params": value}))
    assert isinstance(parsed, Malformed)
    assert json.loads(frames.refusal(parsed.id, Failure("INVALID_REQUEST", parsed.message)))["id"] == 1


def test_a_token_shows_in_no_repr_and_in_no_error() -> None:
    assert "secret" not in repr(requests.parse('{"id":1,"method":"auth","params":{"token":"secret"}}'))
    assert "secret" not in repr(requests.parse('{"id":1,"method":"auth","params":{"token":["secret"]}}'))
