"""
Two clients that know nothing of our code: one has read `docs/PROTOCOL.md`, one is what the exchange's frontend has.

Both speak to a real database, EVS and bridge. Whatever the first one hears is held against `docs/asyncapi.yaml`.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from evs_client import ExecutionManagerClient
from jsonschema import Draft7Validator
from websockets.asyncio.client import ClientConnection, connect

from evs_server import tokens
from evs_server.app import Application
from evs_server.bridge.policy import Policy
from evs_server.bridge.server import Bridge
from evs_server.config import Settings, load
from tests.golden_values import GOLDEN
from tests.patience import PATIENCE_SECONDS, eventually_true

ROOT = Path(__file__).resolve().parents[2]
OPENING_CENTS = 1_000_000

Frame = dict[str, Any]


@pytest.fixture
async def settings(database: str, tmp_path: Path) -> Settings:
    """An EVS whose exchange has accounts 7 and 8 with their opening cash, and bridges that find it."""
    connection = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    rows = [(7, OPENING_CENTS), (8, OPENING_CENTS)]
    await connection.executemany("INSERT INTO accounts (id, currency_balance) VALUES ($1, $2)", rows)
    await connection.close(timeout=PATIENCE_SECONDS)
    address = f"unix:{tmp_path}/evs.sock"
    return load(database_url=database, data_dir=tmp_path, listen=address, server=address, bridge_listen="127.0.0.1:0")


@pytest.fixture
async def address(settings: Settings) -> AsyncIterator[str]:
    """Where the socket is, with an EVS behind it whose accounts 7 and 8 have traded: 7 is 1,000.00 up."""
    async with Application(settings) as evs:
        await evs.wait_ready()
        async with ExecutionManagerClient(settings.server, source="exchange") as sender, sender.batch() as batch:
            batch.trade(7, 1, "BUY", shares=100, price_cents=5_000, settlement_id=1)
            batch.trade(8, 1, "SELL", shares=100, price_cents=5_000, settlement_id=2)
            batch.tick(41)
            batch.price(1, 6_000)
            batch.tick(42)
        async with Bridge(settings, Policy()).serving() as page:
            yield page.replace("http", "ws") + "ws"


# --- who has read the protocol -----------------------------------------------------------------------------------


class Stranger:
    """Says what the examples of the protocol say, and believes nothing that is not of its schema."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.pushes: list[Frame] = []
        self._ids: itertools.cycle[int | str] = itertools.cycle([1, "one", 0, "", -5, "ü" * 64, 2**53 - 1])
        document = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))
        self._components = document["components"]

    async def ask(self, example: str, answer: str, **params: object) -> Any:
        """The result of an example's request, sent with parameters of its own where given."""
        request = json.loads((GOLDEN / f"{example}.json").read_text(encoding="utf-8"))
        request |= {"id": next(self._ids), "params": request["params"] | params}
        await self.socket.send(json.dumps(request))
        while "stream" in (frame := await self._receive()):
            self._check(frame, "equity" if frame["stream"] == "equity" else frame["status"])
            self.pushes.append(frame)
        self._check(frame, answer)
        assert (type(request["id"]), request["id"]) == (type(frame["id"]), frame["id"])
        return frame.get("result", frame.get("error"))

    async def next_equity(self) -> Frame:
        """The next push of equity."""
        frame = self.pushes.pop(0) if self.pushes else await self._receive()
        self._check(frame, "equity")
        return frame

    async def _receive(self) -> Frame:
        async with asyncio.timeout(PATIENCE_SECONDS):
            frame: Frame = json.loads(await self.socket.recv())
        return frame

    def _check(self, frame: Frame, message: str) -> None:
        schema = {**self._components["messages"][message]["payload"], "components": self._components}
        Draft7Validator(schema).validate(frame)


async def test_a_client_that_knows_only_the_protocol_gets_what_it_says(settings: Settings, address: str) -> None:
    """Every method; and what one says of the account, all say."""
    async with connect(address, compression=None) as socket:
        stranger = Stranger(socket)
        refused = await stranger.ask("request_summary", "error")
        assert "UNAUTHENTICATED" == refused["code"]
        authenticated = await stranger.ask("request_auth", "authenticated", token=tokens.issue(settings, 7))
        assert {"authenticated": True, "account_id": 7} == authenticated
        assert {"pong": True} == await stranger.ask("request_ping", "pong")
        assert {"subscribed": True} == await stranger.ask("request_subscribe", "subscribed")
        frame = await stranger.next_equity()
        assert (True, 1_100_000) == (frame["snapshot"], frame["data"]["total_equity"])
        await agree(stranger, frame)
        error = await stranger.ask("request_history", "error", range="2D")
        assert "INVALID_REQUEST" == error["code"]
        assert {"subscribed": False} == await stranger.ask("request_unsubscribe", "unsubscribed")
        assert [] == stranger.pushes


async def agree(stranger: Stranger, frame: Frame) -> None:
    """Reads say what the frame says."""
    data = frame["data"]
    summary = await stranger.ask("request_summary", "summary")
    assert frame["version"] == summary["version"]
    assert data["cash_balance"] == summary["balance"] == summary["buying_power"]
    held = await stranger.ask("request_positions", "positions")
    assert data["position_value"] == sum(row["market_value"] for row in held["positions"])
    page = await stranger.ask("request_history", "history", range="ALL", resolution="1d", limit=10)
    assert ("1d", None) == (page["resolution"], page["next"])
    assert data["total_equity"] == page["points"][-1]["last"]
    assert [False] == [point["final"] for point in page["points"]][-1:]
    made = await stranger.ask("request_performance", "performance", range="1D")
    assert (data["day_change"], data["day_change_percent"]) == (made["profit"], made["time_weighted_return_percent"])
    board = await stranger.ask("request_leaderboard", "leaderboard", range="1D", limit=10)
    assert {"rank": 1, "name": None, "return_percent": data["day_change_percent"], "own": True} == board["own"]


async def test_history_is_paged_as_the_protocol_says(settings: Settings, address: str) -> None:
    """Page by page it is what it is in one answer: ascending, unique, no point lost."""

    async def stored() -> list[Frame] | None:
        whole = await stranger.ask("request_history", "history", range="ALL", resolution="raw", limit=5_000)
        points: list[Frame] = whole["points"]
        return points if points and points[-1]["last"] == 1_100_000 else None

    async with connect(address, compression=None) as socket:
        stranger = Stranger(socket)
        await stranger.ask("request_auth", "authenticated", token=tokens.issue(settings, 7))
        whole = await eventually_true(stored, "the newest valuation is in the history")
        assert whole is not None
        paged: list[Frame] = []
        following = None
        while not paged or following is not None:
            page = await stranger.ask(
                "request_history_next", "history", range="ALL", resolution="raw", limit=1, next=following
            )
            paged += page["points"]
            following = page["next"]
        assert whole == paged
        times = [point["time"] for point in paged]
        assert sorted(set(times)) == times
        error = await stranger.ask("request_history_next", "error", range="ALL", resolution="raw", next="nonsense")
        assert ("INVALID_REQUEST", "next") == (error["code"], error["message"].split(":")[0])


# --- the exchange's frontend -------------------------------------------------------------------------------------


class Frontend:
    """
    As the exchange's websocket client is: every request waits for the frame with its id, any other frame is dropped.

    Args:
        socket: Open.
        first_id: It counts on from a number, or from a text.
    """

    def __init__(self, socket: ClientConnection, first_id: int | str) -> None:
        self._socket = socket
        self._first_id = first_id
        self._counter = itertools.count(1)
        self._waiting: dict[int | str, asyncio.Future[Frame]] = {}
        self._reading = asyncio.create_task(self._read())

    async def request(self, method: str, params: Frame) -> Frame:
        """What comes back under the request's id."""
        number = next(self._counter)
        request_id = f"{self._first_id}-{number}" if isinstance(self._first_id, str) else self._first_id + number
        self._waiting[request_id] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": request_id, "method": method, "params": params}))
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._waiting[request_id]

    async def _read(self) -> None:
        async for message in self._socket:
            frame = json.loads(message)
            waiting = self._waiting.pop(frame.get("id"), None)
            if waiting is not None:
                waiting.set_result(frame)


@pytest.mark.parametrize("first_id", [100, "req"])
async def test_the_exchanges_own_client_gets_its_answers_under_its_ids(
    first_id: int | str, settings: Settings, address: str
) -> None:
    """Pushes come in between, which it drops."""
    async with connect(address) as socket:
        frontend = Frontend(socket, first_id)
        answer = await frontend.request("auth.jwt", {"token": tokens.issue(settings, 7)})
        assert {"id", "result"} == set(answer)
        assert answer["result"]["authenticated"] is True
        assert (await frontend.request("equity.subscribe", {}))["result"]["subscribed"] is True
        summaries = await asyncio.gather(*(frontend.request("account.summary", {}) for _ in range(10)))
        wanted = {
            "balance": 500_000,
            "total_equity": 1_100_000,
            "position_value": 600_000,
            "day_change": 100_000,
            "day_change_percent": 10.0,
            "buying_power": 500_000,
            "unrealized_pnl": 100_000,
            "realized_pnl": 0,
        }
        for summary in summaries:
            assert wanted.items() <= summary["result"].items()
            assert isinstance(summary["result"]["last_updated"], int)


async def test_the_exchanges_own_client_is_told_that_its_token_is_not_good(address: str) -> None:
    """An error under its id, then a close: it does not wait for ever."""
    async with connect(address) as socket:
        frontend = Frontend(socket, 1)
        answer = await frontend.request("auth.jwt", {"token": "forged"})
        assert "UNAUTHENTICATED" == answer["error"]["code"]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await socket.wait_closed()
        assert 4401 == socket.close_code
