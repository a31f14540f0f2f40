"""What a frontend may count on that was written from DESIGN 7: the bridge as a process, beside an EVS as a process."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.database import DatabaseServer
from tests.e2e.browser import Browser
from tests.e2e.caller import BUY, SELL, SHARE, Caller, ten_fields
from tests.e2e.exchange_tables import ExchangeTables, exchange_database
from tests.e2e.processes import issue_token, running, serving
from tests.patience import PATIENCE_SECONDS

OPENING = 1_000_000


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where bridge and ``evs token`` share their key."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def bridge_url(evs_address: str, data_dir: Path) -> Iterator[str]:
    """Where a bridge serves that pushes as often as values change."""
    with running(
        "bridge", server=evs_address, data_dir=data_dir, bridge_listen="127.0.0.1:0", push_per_second="1000"
    ) as bridge:
        yield bridge.wait_for(r"http://127\.0\.0\.1:\d+/").group()
        assert 0 == bridge.terminate(), bridge.said


@pytest.fixture
def account_id(exchange: ExchangeTables) -> int:
    """An account that trades in these tests."""
    return exchange.open_account(OPENING)


@pytest.fixture
def token(data_dir: Path, account_id: int) -> str:
    """What ``evs token --account`` prints for it."""
    return issue_token(data_dir, account_id)


@pytest.fixture
def browser(bridge_url: str, token: str, account_id: int) -> Iterator[Browser]:
    """A socket of the account, logged in."""
    with Browser(bridge_url) as browser:
        browser.log_in(token, account_id)
        yield browser


@pytest.fixture(scope="module")
def visitor_account(exchange: ExchangeTables) -> int:
    """An account in which nothing happens."""
    return exchange.open_account(OPENING)


@pytest.fixture(scope="module")
def visitor_token(data_dir: Path, visitor_account: int) -> str:
    """Its token, made once: each is a process of its own."""
    return issue_token(data_dir, visitor_account)


@pytest.fixture
def visitor(bridge_url: str, visitor_token: str, visitor_account: int) -> Iterator[Browser]:
    """A socket of that account, logged in."""
    with Browser(bridge_url) as browser:
        browser.log_in(visitor_token, visitor_account)
        yield browser


def test_a_browser_sees_its_account_as_the_stream_has_it(
    browser: Browser, caller: Caller, account_id: int, symbol: int
) -> None:
    """A snapshot at once, then each change: the ten numbers in ``data``, everything else beside it."""
    assert {"subscribed": True} == browser.ask("equity.subscribe")["result"]
    frame = browser.next_equity()
    assert (True, 0) == (frame["snapshot"], frame["conflated"])
    for number in range(1, 6):
        caller.trade(account_id, symbol, SELL if number == 4 else BUY, number * SHARE, 100 * number, fee_cents=number)
        caller.tick(number)
        latest = caller.equity(account_id)
        frame = browser.equity_until(latest.version)[-1]
        assert ten_fields(latest.equity) == frame["data"]
        assert (latest.version, False) == (frame["version"], frame["snapshot"])


def test_the_old_name_of_the_method_will_do(bridge_url: str, visitor_token: str, visitor_account: int) -> None:
    """``auth`` is ``auth.jwt``."""
    with Browser(bridge_url) as browser:
        answer = browser.ask("auth", token=visitor_token)
        assert {"authenticated": True, "account_id": visitor_account} == answer["result"]


def test_a_browser_that_unsubscribes_is_left_alone(browser: Browser, caller: Caller, account_id: int) -> None:
    """It may subscribe again, and gets a snapshot that is not older than what it has seen."""
    browser.ask("equity.subscribe")
    first = browser.next_equity()
    assert {"subscribed": False} == browser.ask("equity.unsubscribe")["result"]
    caller.cash(account_id, 1)
    caller.tick()
    assert "result" in browser.ask("ping")
    assert [] == browser.pushes
    browser.ask("equity.subscribe")
    again = browser.next_equity()
    assert (True, OPENING + 1) == (again["snapshot"], again["data"]["total_equity"])
    assert first["version"] < again["version"]


def test_a_browser_never_sees_another_account(
    bridge_url: str, data_dir: Path, exchange: ExchangeTables, caller: Caller, symbol: int
) -> None:
    """Whatever account it names in its requests: only the token counts."""
    mine, theirs = exchange.open_account(OPENING), exchange.open_account(OPENING)
    with ExitStack() as stack:
        sockets = [stack.enter_context(Browser(bridge_url)) for _ in range(2)]
        for browser, account_id, other in zip(sockets, (mine, theirs), (theirs, mine), strict=True):
            browser.log_in(issue_token(data_dir, account_id), account_id)
            browser.ask("equity.subscribe", account_id=other, account=other, account_ids=[other])
            assert account_id == browser.ask("account.summary", account_id=other)["result"]["account_id"]
            assert [] == browser.ask("positions.list", account_id=other)["result"]["positions"]
        for number in range(1, 11):
            caller.trade(mine, symbol, BUY, SHARE, 100 + number)
            caller.trade(theirs, symbol, SELL, SHARE, 100 + number)
            caller.tick(number)
        frames = [
            browser.equity_until(caller.equity(account_id).version)
            for browser, account_id in zip(sockets, (mine, theirs), strict=True)
        ]
        other_token = issue_token(data_dir, theirs)
        assert "error" in sockets[0].ask("auth.jwt", token=other_token), "a socket does not change hands"
    assert [{mine}, {theirs}] == [{frame["data"]["account_id"] for frame in seen} for seen in frames]
    for seen in frames:
        versions = [frame["version"] for frame in seen]
        assert sorted(set(versions)) == versions


def test_sockets_of_one_account_see_the_same(
    bridge_url: str, token: str, account_id: int, browser: Browser, caller: Caller, symbol: int
) -> None:
    """Two pages of one user, one of which leaves without a word."""
    with Browser(bridge_url) as second:
        second.log_in(token, account_id)
        for each in (browser, second):
            each.ask("equity.subscribe")
        caller.trade(account_id, symbol, BUY, SHARE, 100)
        caller.tick()
        version = caller.equity(account_id).version
        assert browser.equity_until(version)[-1]["data"] == second.equity_until(version)[-1]["data"]
        second.socket.socket.close()
    caller.trade(account_id, symbol, BUY, SHARE, 100)
    caller.tick()
    frame = browser.equity_until(caller.equity(account_id).version)[-1]
    assert OPENING - 200 == frame["data"]["cash_balance"]


def test_reads_say_what_frames_say(browser: Browser, caller: Caller, account_id: int, symbol: int) -> None:
    """``account.summary`` under the frontend's names, ``positions.list`` under the contract's."""
    caller.trade(account_id, symbol, BUY, SHARE, 123)
    caller.tick()
    equity = caller.equity(account_id)
    summary = browser.ask("account.summary")["result"]
    assert (equity.equity.cash_balance, equity.equity.total_equity) == (summary["balance"], summary["total_equity"])
    named = ("position_value", "day_change", "day_change_percent", "unrealized_pnl", "realized_pnl")
    assert [getattr(equity.equity, name) for name in named] == [summary[name] for name in named]
    assert {"buying_power", "last_updated"} <= set(summary)
    (position,) = browser.ask("positions.list")["result"]["positions"]
    assert (symbol, SHARE, 123) == (position["symbol_id"], position["quantity_bp"], position["market_value"])
    assert "result" in browser.ask("ping")


# --- who may not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["equity.subscribe", "equity.unsubscribe", "account.summary", "positions.list"])
def test_without_a_token_there_is_only_an_error(method: str, bridge_url: str) -> None:
    """An error answer with a code and a message, and no data."""
    with Browser(bridge_url) as browser:
        error = browser.ask(method)["error"]
        assert "UNAUTHENTICATED" == error["code"]
        assert {"code", "message"} == set(error)
        assert [] == browser.pushes


UNSIGNED = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
"""The header ``{"alg":"none","typ":"JWT"}``."""


def test_a_token_that_is_not_good_opens_nothing(bridge_url: str, visitor_token: str) -> None:
    """Empty, cut short, without its signature, unsigned, nonsense, too long: refused, and the token is not quoted."""
    header, claims, signature = visitor_token.split(".")
    spoiled = [
        "",
        visitor_token[:-4],
        f"{header}.{claims}.",
        f"{UNSIGNED}.{claims}.",
        f"{UNSIGNED}.{claims}.{signature}",
        "x",
    ]
    for each in [*spoiled, "x" * 7_000]:
        with Browser(bridge_url) as browser:
            error = browser.ask("auth.jwt", token=each)["error"]
            assert "UNAUTHENTICATED" == error["code"]
            assert len(each) < 2 or each not in error["message"]
            assert 4401 == browser.close_code()


def test_a_token_of_another_installation_opens_nothing(bridge_url: str, tmp_path: Path) -> None:
    """Another data directory has another key."""
    with Browser(bridge_url) as browser:
        assert "UNAUTHENTICATED" == browser.ask("auth.jwt", token=issue_token(tmp_path, 1))["error"]["code"]


def test_who_says_nothing_for_five_seconds_is_sent_away(bridge_url: str) -> None:
    """Close 4408; asking for other things does not buy time."""
    with Browser(bridge_url) as silent, Browser(bridge_url) as chatty, ThreadPoolExecutor(1) as pool:
        code = pool.submit(silent.close_code)
        chatty.ask("equity.subscribe")
        assert [4408, 4408] == [code.result(), chatty.close_code()]


def test_pages_of_others_cannot_open_the_socket(bridge_url: str) -> None:
    """Refused before the upgrade."""
    address = bridge_url.replace("http://", "ws://") + "ws"
    for origin in ("https://evil.example", "null", bridge_url.rstrip("/") + ".evil.example"):
        with pytest.raises(InvalidStatus) as caught, ExitStack() as stack:
            stack.enter_context(connect(address, origin=Origin(origin), open_timeout=PATIENCE_SECONDS))
        assert 403 == caught.value.response.status_code


# --- nonsense ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"ping"',
        "{}",
        '{"id": null, "method": "ping"}',
        '{"id": {"a": 1}, "method": "ping"}',
        '{"id": 1e400, "method": "ping"}',
        "[" * 8_000,
        '{"id": 1, "id": 2',
    ],
)
def test_nonsense_gets_an_error_and_the_socket_lives(message: str, visitor: Browser) -> None:
    """An answer whose id is null, since none could be read."""
    assert "error" in visitor.ask_raw(message, None)
    assert "result" in visitor.ask("ping")


@pytest.mark.parametrize("request_", [{"method": "fly"}, {"method": 7}, {}, {"method": "auth.jwt", "params": []}])
def test_a_request_that_cannot_be_is_answered_under_its_id(request_: dict[str, object], visitor: Browser) -> None:
    """Numbers and strings both serve as ids."""
    for number in (41, "x-1"):
        assert "error" in visitor.ask_raw(json.dumps({"id": number} | request_), number)


def test_more_than_five_times_nonsense_is_the_end(visitor: Browser) -> None:
    """1008; binary is 1003, and a message beyond the limit 1009."""
    for _ in range(5):
        assert "error" in visitor.ask_raw("{", None)
    visitor.socket.send("{")
    assert 1008 == visitor.close_code()


@pytest.mark.parametrize(("code", "message"), [(1003, b"{}"), (1009, '"' + "x" * 9_000 + '"')])
def test_what_is_no_text_of_a_sane_size_is_the_end(code: int, message: str | bytes, bridge_url: str) -> None:
    """Each with its own close code."""
    with Browser(bridge_url) as browser:
        browser.socket.send(message)
        assert code == browser.close_code()


# --- EVS or the bridge goes ----------------------------------------------------------------------------------------


def test_a_browser_outlives_evs_and_is_told_when_it_stops(system_server: DatabaseServer, tmp_path: Path) -> None:
    """EVS gone: a frame of another stream says so; back: values go on. The bridge gone: close 1012."""
    with exchange_database(system_server) as exchange:
        outlive(exchange, exchange.open_account(OPENING), tmp_path)


def outlive(exchange: ExchangeTables, account_id: int, data_dir: Path) -> None:
    """One browser of an account, on a bridge whose EVS is killed and comes back."""
    address = f"unix:{data_dir}/evs.sock"
    with running("bridge", server=address, data_dir=data_dir, bridge_listen="127.0.0.1:0") as bridge:
        url = bridge.wait_for(r"http://127\.0\.0\.1:\d+/").group()
        with Browser(url) as browser:
            browser.log_in(issue_token(data_dir, account_id), account_id)
            with serving(exchange.dsn, data_dir, listen=address):
                browser.ask("equity.subscribe")
                browser.next_equity()
            browser.next_status()
            with serving(exchange.dsn, data_dir, listen=address), Caller(address) as caller:
                caller.trade(account_id, 1, BUY, SHARE, 100)
                caller.tick()
                seen = browser.equity_until(caller.equity(account_id).version)
                assert OPENING - 100 == seen[-1]["data"]["cash_balance"]
                bridge.process.terminate()
                assert 1012 == browser.close_code()
                assert 0 == bridge.wait_for_end()
