"""The state machine of one browser: every rule of the protocol, without a socket or a clock."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evs_server.bridge.frames import CloseCode
from evs_server.bridge.policy import WRITE_BYTES_MAX
from evs_server.bridge.session import Follow, Read, Unfollow
from evs_server.bridge.values import (
    Failure,
    History,
    HistoryPoint,
    Leaderboard,
    Outcome,
    Performance,
    PositionRow,
    Positions,
)
from evs_server.tokens import Grant
from tests.unit.bridge_browser import POLICY, STEPS, Browser, Doorkeeper, value

FAR = 1e9


def versions(frames: list[dict[str, Any]]) -> list[int]:
    return [frame["version"] for frame in frames if frame.get("stream") == "equity"]


# --- authentication ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["auth.jwt", "auth"])
def test_a_good_token_is_answered_with_the_account_it_names(method: str) -> None:
    demands, answers = Browser().call(method, token="good", account_id=99)
    assert [] == demands
    assert [{"id": 1, "result": {"authenticated": True, "account_id": 7}}] == answers


def test_a_bad_token_is_answered_and_closes_the_socket() -> None:
    browser = Browser()
    _, answers = browser.call("auth.jwt", token="forged")
    assert [{"id": 1, "error": {"code": "UNAUTHENTICATED", "message": "token is not valid"}}] == answers
    assert CloseCode.UNAUTHENTICATED == browser.closed


@pytest.mark.parametrize(
    "method",
    [
        "equity.subscribe",
        "equity.unsubscribe",
        "equity.history",
        "equity.performance",
        "leaderboard.list",
        "account.summary",
        "positions.list",
        "ping",
    ],
)
def test_without_a_token_every_request_is_answered_with_an_error(method: str) -> None:
    browser = Browser()
    demands, answers = browser.call(method)
    assert [] == demands
    assert "UNAUTHENTICATED" == answers[0]["error"]["code"]
    assert browser.closed is None


def test_a_socket_that_does_not_authenticate_in_time_is_closed() -> None:
    browser = Browser()
    assert browser.now + 5 == browser.session.due()
    browser.now += 4.999
    assert browser.closed is None
    browser.now += 0.001
    assert CloseCode.NO_AUTH == browser.closed


def test_requests_do_not_put_the_deadline_of_authentication_off() -> None:
    browser = Browser()
    browser.now += 4
    browser.call("ping")
    browser.now += 1
    assert CloseCode.NO_AUTH == browser.closed


def test_an_account_with_too_many_sockets_gets_no_other() -> None:
    browser = Browser(Doorkeeper(room=0))
    _, answers = browser.call("auth.jwt", token="good")
    assert "OVERLOADED" == answers[0]["error"]["code"]
    assert CloseCode.TOO_MANY_CONNECTIONS == browser.closed
    assert browser.session.account_id is None


def test_a_token_is_not_taken_twice_from_the_accounts_share() -> None:
    browser = Browser(Doorkeeper(room=1)).login().login()
    assert browser.closed is None


def test_a_socket_outlives_its_token_by_the_grace_and_says_so() -> None:
    browser = Browser(Doorkeeper({"good": Grant(7, 60_000)})).login()
    assert browser.now + 60 == browser.session.due()
    browser.now += 60
    assert [{"stream": "status", "status": "expiring", "close_in_ms": 25_000}] == browser.frames()
    assert [] == browser.frames()
    browser.now += 25
    assert CloseCode.UNAUTHENTICATED == browser.closed


def test_a_new_token_within_the_grace_keeps_the_socket_open() -> None:
    browser = Browser(Doorkeeper({"old": Grant(7, 60_000), "new": Grant(7, 600_000)})).login("old")
    browser.now += 61
    assert "expiring" == browser.frames()[0]["status"]
    browser.login("new")
    browser.now += 100
    assert browser.closed is None


def test_a_token_that_is_good_only_by_the_leeway_gets_the_whole_grace() -> None:
    browser = Browser(Doorkeeper({"late": Grant(7, -20_000)})).login("late")
    browser.now += 24
    assert browser.closed is None


def test_another_accounts_token_does_not_change_whose_socket_it_is() -> None:
    browser = Browser(Doorkeeper({"good": Grant(7, 60_000), "other": Grant(8, 60_000)})).follow()
    _, answers = browser.call("auth.jwt", token="other")
    assert "PERMISSION_DENIED" == answers[0]["error"]["code"]
    assert CloseCode.FORBIDDEN == browser.closed


# --- following ---------------------------------------------------------------------------------------------------


def test_a_subscription_follows_the_tokens_account_whatever_is_asked() -> None:
    demands, answers = Browser().login().call("equity.subscribe", account_id=99)
    assert [Follow(7)] == demands
    assert {"subscribed": True} == answers[0]["result"]


def test_the_answer_comes_before_the_snapshot_and_the_snapshot_before_the_changes() -> None:
    browser = Browser().login()
    browser.send('{"id":2,"method":"equity.subscribe"}')
    browser.session.deliver(value(1, snapshot=True))
    answer, snapshot = browser.frames()
    assert {"id": 2, "result": {"subscribed": True}} == answer
    assert (True, 0, 1) == (snapshot["snapshot"], snapshot["conflated"], snapshot["version"])
    browser.now += POLICY.push_interval_s
    browser.session.deliver(value(2))
    [change] = browser.frames()
    assert (False, 0, 2) == (change["snapshot"], change["conflated"], change["version"])


def test_changes_are_conflated_to_the_push_rate_and_the_final_one_is_sent() -> None:
    browser = Browser().follow()
    browser.session.deliver(value(1, snapshot=True))
    assert [1] == versions(browser.frames())
    for version in range(2, 50):
        browser.session.deliver(value(version))
        assert [] == browser.frames()
    assert browser.now + POLICY.push_interval_s == browser.session.due()
    browser.now = browser.session.due()
    frame = browser.frames()[0]
    assert (49, 47) == (frame["version"], frame["conflated"])


def test_what_evs_skipped_is_counted_along() -> None:
    browser = Browser().follow()
    browser.session.deliver(value(1, snapshot=True))
    browser.frames()
    browser.session.deliver(value(5, conflated=3))
    browser.session.deliver(value(9, conflated=2))
    browser.now += 1
    assert 6 == browser.frames()[0]["conflated"], "3 + 2 skipped by EVS, and version 5 here"


def test_a_change_after_a_quiet_time_is_sent_at_once() -> None:
    browser = Browser().follow()
    browser.session.deliver(value(1, snapshot=True))
    browser.frames()
    browser.now += 60
    browser.session.deliver(value(2))
    assert [2] == versions(browser.frames())


@pytest.mark.parametrize("late", [1, 2])
def test_a_version_that_is_not_newer_is_dropped(late: int) -> None:
    browser = Browser().follow()
    browser.session.deliver(value(2, snapshot=True))
    browser.frames()
    browser.now += 1
    browser.session.deliver(value(late, snapshot=late == 1))
    assert [] == browser.frames()


def test_asking_again_sends_the_snapshot_again_and_follows_once() -> None:
    browser = Browser().follow()
    browser.session.deliver(value(3, snapshot=True))
    browser.frames()
    demands, answers = browser.call("equity.subscribe")
    assert [] == demands
    assert [3] == versions(answers)
    assert answers[1]["snapshot"]


def test_after_unsubscribing_nothing_more_is_sent() -> None:
    browser = Browser().follow()
    browser.session.deliver(value(1, snapshot=True))
    browser.frames()
    browser.session.deliver(value(2))
    demands, answers = browser.call("equity.unsubscribe")
    assert [Unfollow(7)] == demands
    assert [{"id": 3, "result": {"subscribed": False}}] == answers
    browser.session.deliver(value(3))
    browser.session.set_stale(5)
    browser.now += 1
    assert [] == browser.frames()


def test_unsubscribing_from_nothing_is_answered_alike() -> None:
    demands, answers = Browser().login().call("equity.unsubscribe")
    assert [] == demands
    assert {"subscribed": False} == answers[0]["result"]


def test_a_later_subscription_begins_with_a_snapshot_even_of_the_version_seen() -> None:
    browser = Browser().follow()
    browser.session.deliver(value(3, snapshot=True))
    browser.call("equity.unsubscribe")
    assert ([Follow(7)], 1) == (browser.call("equity.subscribe")[0], 1)
    browser.session.deliver(value(2))
    assert [] == browser.frames()
    browser.session.deliver(value(3))
    assert [(3, True)] == [(frame["version"], frame["snapshot"]) for frame in browser.frames()]


def test_subscribing_too_often_is_refused_and_keeps_the_socket_open() -> None:
    browser = Browser().login()
    browser.call("equity.subscribe")
    browser.call("equity.subscribe")
    assert "OVERLOADED" == browser.call("equity.subscribe")[1][0]["error"]["code"]
    browser.now += 1
    assert {"subscribed": True} == browser.call("equity.subscribe")[1][0]["result"]
    assert browser.closed is None


# --- losing EVS --------------------------------------------------------------------------------------------------


def test_a_loss_is_told_after_the_last_value_and_a_recovery_before_the_next() -> None:
    browser = Browser().follow()
    browser.session.deliver(value(1, snapshot=True))
    browser.frames()
    browser.session.deliver(value(2))
    browser.session.set_stale(1_234)
    last, stale = browser.frames()
    assert 2 == last["version"]
    assert {"stream": "status", "status": "stale", "since": 1_234} == stale
    assert [] == browser.frames()
    browser.now += 1
    browser.session.set_live()
    browser.session.deliver(value(3, snapshot=True))
    live, snapshot = browser.frames()
    assert {"stream": "status", "status": "live"} == live
    assert (3, True) == (snapshot["version"], snapshot["snapshot"])


def test_a_loss_that_is_over_before_it_could_be_told_is_not_told() -> None:
    browser = Browser().follow()
    browser.session.set_stale(1)
    browser.session.set_live()
    assert [] == browser.frames()


def test_who_subscribes_during_a_loss_is_told_of_it() -> None:
    browser = Browser().login()
    browser.send('{"id":2,"method":"equity.subscribe"}')
    browser.session.deliver(value(4))
    browser.session.set_stale(9)
    assert ["result", "stream", "stream"] == [next(key for key in frame if key != "id") for frame in browser.frames()]


# --- reads and the rest ------------------------------------------------------------------------------------------


OUTCOMES: dict[str, Outcome] = {
    "account.summary": value(4),
    "positions.list": Positions([PositionRow(1, 1, 1, 1, 1, "MARK", 1, 0, 0, 1, 1)], 4),
    "equity.history": History("1m", [], None),
    "equity.performance": Performance(1, 2, 3, 4, 5, 6, 7.0, 0.0, 0.0, 10, 11, 4),
    "leaderboard.list": Leaderboard("1D", [], None, 0, 4),
}


@pytest.mark.parametrize("method", OUTCOMES)
def test_a_read_is_demanded_for_the_tokens_account_and_answered_when_it_is_in(method: str) -> None:
    browser = Browser().login()
    [read], answers = browser.call(method, account_id=99)
    assert isinstance(read, Read)
    assert (7, []) == (read.account_id, answers)
    browser.session.fulfil(read, OUTCOMES[method])
    [answer] = browser.frames()
    assert 2 == answer["id"]
    assert 4 == answer["result"].get("version", 4)


def test_a_parameter_that_cannot_be_is_refused_as_often_as_it_comes_and_ends_nothing() -> None:
    browser = Browser().login()
    for _ in range(2 * POLICY.malformed_max):
        demands, [answer] = browser.call("equity.history", range="2D")
        assert [] == demands
        assert "INVALID_REQUEST" == answer["error"]["code"]
        assert "range" in answer["error"]["message"]
    assert browser.closed is None


def test_without_a_token_not_even_wrong_parameters_are_looked_at() -> None:
    assert "UNAUTHENTICATED" == Browser().call("equity.history", range="2D")[1][0]["error"]["code"]


def large_history() -> History:
    return History("1m", [HistoryPoint(number, 1, 1, 1, 1, 0, 0, True) for number in range(1_000)], None)


def test_a_large_answer_holds_its_room_until_it_has_been_sent() -> None:
    browser = Browser().login()
    [read], _ = browser.call("equity.history")
    assert isinstance(read, Read)
    browser.session.fulfil(read, large_history())
    answer = browser.session.take(browser.now)
    assert answer is not None
    assert len(answer) > WRITE_BYTES_MAX
    assert len(answer) == browser.door.bytes_held, "being sent"
    assert browser.session.take(browser.now) is None
    assert 0 == browser.door.bytes_held, "whoever asks for the next has sent this one"


def test_without_room_a_large_answer_is_refused_and_a_small_one_is_not() -> None:
    browser = Browser(Doorkeeper(bytes_max=WRITE_BYTES_MAX)).login()
    for outcome, expected in ((large_history(), "error"), (History("1m", [], None), "result")):
        [read], _ = browser.call("equity.history")
        assert isinstance(read, Read)
        browser.session.fulfil(read, outcome)
        [answer] = browser.frames()
        assert expected in answer
    assert 0 == browser.door.bytes_held
    assert browser.closed is None


def test_a_read_that_failed_is_answered_with_an_error() -> None:
    browser = Browser().login()
    [read], _ = browser.call("account.summary")
    assert isinstance(read, Read)
    browser.session.fulfil(read, Failure("UNAVAILABLE", "EVS cannot be reached"))
    assert {"code": "UNAVAILABLE", "message": "EVS cannot be reached"} == browser.frames()[0]["error"]


def test_ping_is_answered() -> None:
    assert [{"id": 2, "result": {"pong": True}}] == Browser().login().call("ping")[1]


# --- closing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["{", '{"id":1,"method":"nonsense"}', "[" * 8_000])
def test_what_makes_no_sense_is_answered_and_too_much_of_it_closes(message: str) -> None:
    browser = Browser().login()
    for _ in range(POLICY.malformed_max):
        browser.send(message)
        assert "INVALID_REQUEST" == browser.frames()[0]["error"]["code"]
        browser.now += 1
    assert browser.closed is None
    browser.send(message)
    assert "INVALID_REQUEST" == browser.frames()[0]["error"]["code"], "the last one is answered too"
    assert CloseCode.POLICY_VIOLATION == browser.closed


def test_what_makes_no_sense_now_and_then_is_forgiven() -> None:
    browser = Browser().login()
    for _ in range(50):
        browser.send("{")
        browser.frames()
        browser.now += POLICY.malformed_window_s / POLICY.malformed_max + 0.01
    assert browser.closed is None


def test_a_binary_message_closes() -> None:
    browser = Browser().login()
    browser.send(b'{"id":1,"method":"ping"}')
    assert CloseCode.UNSUPPORTED_DATA == browser.closed


def test_a_flood_is_cut_off_and_told_when_to_come_back() -> None:
    browser = Browser().login()
    for _ in range(POLICY.messages_per_minute - 1):
        browser.call("ping")
    assert browser.closed is None
    browser.call("ping")
    assert CloseCode.RATE_LIMITED == browser.closed
    assert browser.session.close is not None
    assert browser.session.close.reason.endswith("retry_ms=601")


def test_messages_at_the_allowed_rate_go_on_for_ever() -> None:
    browser = Browser().login()
    for _ in range(1_000):
        browser.now += 60 / POLICY.messages_per_minute
        browser.call("ping")
    assert browser.closed is None


def test_the_first_reason_to_close_stands_and_nothing_is_read_after_it() -> None:
    browser = Browser().follow()
    browser.session.end(CloseCode.NOT_FOUND, "gone")
    browser.session.end(CloseCode.SLOW, "slow")
    assert [] == browser.send('{"id":1,"method":"account.summary"}')
    browser.session.deliver(value(1, snapshot=True))
    assert CloseCode.NOT_FOUND == browser.closed


def test_every_reason_to_close_fits_into_a_close_frame() -> None:
    reasons: list[Callable[[Browser], object]] = [
        lambda browser: browser.send(b""),
        lambda browser: browser.login("forged"),
        lambda browser: [browser.call("nonsense") for _ in range(6)],
        lambda browser: [browser.call("ping") for _ in range(101)],
        lambda browser: setattr(browser, "now", FAR),
    ]
    for cause in reasons:
        browser = Browser()
        cause(browser)
        assert browser.closed is not None
        assert browser.session.close is not None
        assert len(browser.session.close.reason.encode()) <= 123


def test_a_reason_that_is_too_long_for_a_close_frame_is_cut() -> None:
    browser = Browser().login()
    browser.session.end(CloseCode.INTERNAL_ERROR, "é" * 200)
    assert browser.session.close is not None
    assert "é" * 61 == browser.session.close.reason


# --- whatever happens --------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.lists(STEPS, max_size=60))
def test_versions_only_grow_and_the_last_delivered_one_arrives(steps: list[tuple[str, Any]]) -> None:
    policy = replace(POLICY, messages_per_minute=10_000, subscribes_per_second=10_000)
    browser = Browser(policy=policy).login()
    taken: list[dict[str, Any]] = []
    subscribed, seen, newest = False, 0, 0
    for step, argument in steps:
        match step:
            case "deliver":
                browser.session.deliver(value(argument))
                if subscribed and argument >= seen:
                    seen = newest = argument
            case "wait":
                browser.now += argument
            case "stale":
                browser.session.set_stale(argument)
            case "live":
                browser.session.set_live()
            case "take":
                taken += browser.frames()
            case _:
                taken += browser.call(f"equity.{step}")[1]
                subscribed = step == "subscribe"
                newest = newest if subscribed else 0
    browser.now += 1
    taken += browser.frames()
    sent = [(frame["version"], frame["snapshot"]) for frame in taken if frame.get("stream") == "equity"]
    for (before, _), (after, snapshot) in pairwise(sent):
        assert after > before or (after == before and snapshot), "only a snapshot may repeat a version"
    if subscribed and newest:
        assert [newest] == [version for version, _ in sent[-1:]]
    told = [frame["status"] for frame in taken if frame.get("stream") == "status"]
    assert "live" not in told[:1], "nobody is told of the recovery of what was never lost"
