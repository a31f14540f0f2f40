"""The short way of a value through a session: open to a browser that keeps up, and sends what the long one would."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evs_server.bridge.frames import CloseCode
from evs_server.bridge.framing import Change
from evs_server.bridge.values import EquityValue
from tests.unit.bridge_browser import POLICY, STEPS, Browser, value


def a_follower() -> Browser:
    """One that keeps up: it has its snapshot, and the next change would be due."""
    browser = Browser(policy=replace(POLICY, messages_per_minute=10_000, subscribes_per_second=10_000)).follow()
    browser.session.deliver(value(1, snapshot=True))
    browser.frames()
    browser.now += 60
    return browser


def the_long_way(browser: Browser, coming: EquityValue) -> list[dict[str, Any]]:
    browser.session.deliver(coming)
    return browser.frames()


def the_short_way(browser: Browser, coming: EquityValue) -> list[dict[str, Any]]:
    """Where it is open; otherwise the long way."""
    if not browser.session.passes(coming, browser.now):
        return the_long_way(browser, coming)
    assert [] == browser.frames(), "that was all there was to send"
    return [json.loads(Change(coming).text()[4:])]


def test_a_value_for_a_browser_that_keeps_up_takes_the_short_way_and_counts_as_sent() -> None:
    browser = a_follower()
    assert browser.session.passes(value(2), browser.now)
    assert not browser.session.passes(value(3), browser.now), "the next is not due yet"
    assert [] == browser.frames()
    assert browser.now + 3_600 - 60 == browser.session.due(), "nothing is due before the token ends"


def lose_and_find(browser: Browser) -> None:
    browser.session.set_stale(5)
    browser.frames()
    browser.session.set_live()


CLOSED_TO: dict[str, Callable[[Browser], object]] = {
    "a browser that has not subscribed": lambda browser: browser.call("equity.unsubscribe"),
    "one that is owed a snapshot": lambda browser: browser.call("equity.subscribe"),
    "one that is owed an answer": lambda browser: browser.send('{"id":9,"method":"ping"}'),
    "one that is owed an earlier value": lambda browser: browser.session.deliver(value(2)),
    "one that has to be told of a loss": lambda browser: browser.session.set_stale(5),
    "one that has to be told that it is over": lose_and_find,
    "one whose token has ended": lambda browser: setattr(browser, "now", browser.now + 3_600),
    "one that is to be closed": lambda browser: browser.session.end(CloseCode.SLOW, "slow"),
    "one that was sent something just now": lambda browser: setattr(browser, "now", browser.now - 60),
}


@pytest.mark.parametrize("whom", CLOSED_TO)
def test_the_short_way_is_closed_to(whom: str) -> None:
    browser = a_follower()
    CLOSED_TO[whom](browser)
    assert not browser.session.passes(value(3), browser.now)


@pytest.mark.parametrize("coming", [value(1), value(9, snapshot=True)])
def test_a_value_that_is_no_change_does_not_take_the_short_way(coming: EquityValue) -> None:
    assert not a_follower().session.passes(coming, 160.0)


@settings(max_examples=200)
@given(st.lists(STEPS, max_size=60))
def test_both_ways_send_the_same_at_the_same_time(steps: list[tuple[str, Any]]) -> None:
    """Whatever happens in between; what EVS skipped is counted in both."""
    long, short = a_follower(), a_follower()
    for step, argument in steps:
        if step == "deliver":
            coming = value(argument, snapshot=argument % 7 == 0, conflated=argument % 3)
            assert the_long_way(long, coming) == the_short_way(short, coming)
            continue
        for browser in (long, short):
            match step:
                case "wait":
                    browser.now += argument
                case "stale":
                    browser.session.set_stale(argument)
                case "live":
                    browser.session.set_live()
        if step in {"subscribe", "unsubscribe"}:
            assert long.call(f"equity.{step}") == short.call(f"equity.{step}")
        assert long.frames() == short.frames()
        assert long.session.due() == short.session.due()
