"""The bridge with real websockets in front and a real gRPC server behind, which a script stands in for EVS on."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from evs.v1 import evs_pb2
from evs.v1.evs_pb2_grpc import EquityValuationServiceServicer, add_EquityValuationServiceServicer_to_server
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from evs_server import tokens
from evs_server.bridge.policy import Policy
from evs_server.bridge.server import Bridge, policy_of, run_bridge
from evs_server.config import Settings, load
from evs_server.errors import ConfigError

PATIENCE_S = 20
QUICK = Policy(push_interval_s=0.001, backoff_min_s=0.01, backoff_max_s=0.05, messages_per_minute=10_000)


def update(account_id: int, version: int, *, snapshot: bool = False) -> evs_pb2.SubscribeEquityResponse:
    equity = evs_pb2.EquityUpdate(
        account_id=account_id,
        tick=version,
        timestamp=1_700_000_000,
        total_equity=1_000_000 + version,
        cash_balance=1_000_000,
        position_value=version,
        day_change=version,
        day_change_percent=0.0025,
    )
    return evs_pb2.SubscribeEquityResponse(equity=equity, version=version, snapshot=snapshot)


class ScriptedEvs(EquityValuationServiceServicer):
    """Says what the test tells it to, on a socket that stays the same across its restarts."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.versions = {7: 1, 8: 1}
        self.position_count = 2
        self.opened: Counter[int] = Counter()
        self.streams: dict[int, list[asyncio.Queue[evs_pb2.SubscribeEquityResponse | None]]] = {7: [], 8: []}
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server()
        add_EquityValuationServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def push(self, account_id: int, version: int) -> None:
        self.versions[account_id] = version
        for stream in self.streams[account_id]:
            stream.put_nowait(update(account_id, version))

    def drop_streams(self) -> None:
        for queues in self.streams.values():
            for stream in queues:
                stream.put_nowait(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(condition)

    async def SubscribeEquity(  # noqa: N802
        self, request: evs_pb2.SubscribeEquityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[evs_pb2.SubscribeEquityResponse]:
        account_id = request.account_id
        if account_id not in self.versions:
            await context.abort(grpc.StatusCode.NOT_FOUND, "secret host name")
        stream: asyncio.Queue[evs_pb2.SubscribeEquityResponse | None] = asyncio.Queue(10_000)
        self.streams[account_id].append(stream)
        self.opened[account_id] += 1
        await self._tell()
        try:
            yield update(account_id, self.versions[account_id], snapshot=True)
            while (message := await stream.get()) is not None:
                yield message
            await context.abort(grpc.StatusCode.UNAVAILABLE, "secret host name")
        finally:
            self.streams[account_id].remove(stream)
            await self._tell()

    async def GetEquity(  # noqa: N802
        self, request: evs_pb2.GetEquityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> evs_pb2.GetEquityResponse:
        if request.account_id not in self.versions:
            await context.abort(grpc.StatusCode.NOT_FOUND, "secret host name")
        newest = update(request.account_id, self.versions[request.account_id])
        return evs_pb2.GetEquityResponse(equity=newest.equity, version=newest.version)

    async def ListPositions(  # noqa: N802
        self, request: evs_pb2.ListPositionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> evs_pb2.ListPositionsResponse:
        assert context.time_remaining() is not None, "every read has a deadline"
        held = [evs_pb2.Position(symbol_id=number + 1, quantity_bp=10_000) for number in range(self.position_count)]
        return evs_pb2.ListPositionsResponse(positions=held, version=self.versions[request.account_id])

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Browser:
    """A websocket client that counts its requests."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.next_id = 0

    async def send(self, method: str, **params: object) -> int:
        self.next_id += 1
        await self.websocket.send(json.dumps({"id": self.next_id, "method": method, "params": params}))
        return self.next_id

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        request_id = await self.send(method, **params)
        while (frame := await self.frame()).get("id") != request_id:
            pass
        return frame

    async def frame(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            frame: dict[str, Any] = json.loads(await self.websocket.recv())
        return frame

    async def push(self, stream: str, **wanted: object) -> dict[str, Any]:
        """The next frame of a stream that has all the wanted values."""
        while True:
            frame = await self.frame()
            if frame.get("stream") == stream and wanted.items() <= frame.items():
                return frame

    async def close_code(self) -> int | None:
        """Why the socket is closed, once it is."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while True:
                    await self.websocket.recv()
            except ConnectionClosed as closed:
                return closed.rcvd.code if closed.rcvd else None


class World:
    """A scripted EVS, a bridge, and as many browsers as a test opens."""

    def __init__(self, settings: Settings, evs: ScriptedEvs, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.evs = evs
        self.stack = stack
        self.address = ""

    async def open_bridge(self, policy: Policy = QUICK, **options: Any) -> None:
        self.address = await self.stack.enter_async_context(Bridge(self.settings, policy, **options).serving())

    async def browser(self, account_id: int | None = None, *, subscribe: bool = False, **options: Any) -> Browser:
        """A browser; with an account it is authenticated, and subscribed and past its snapshot if asked."""
        url = self.address.replace("http", "ws") + "ws"
        browser = Browser(await self.stack.enter_async_context(connect(url, compression=None, **options)))
        if account_id is not None:
            assert (await browser.call("auth.jwt", token=self.token(account_id)))["result"]["authenticated"]
        if subscribe:
            assert (await browser.call("equity.subscribe"))["result"]["subscribed"]
            await browser.push("equity", snapshot=True)
        return browser

    def token(self, account_id: int) -> str:
        return tokens.issue(self.settings, account_id)

    async def get(self, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a page."""
        port = self.address.split(":")[-1].rstrip("/")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{port}'}\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, body

    async def until_connections(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while json.loads((await self.get("/healthz"))[2])["connections"] != count:
                pass


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    evs = ScriptedEvs(f"unix:{tmp_path}/evs.sock")  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED
    settings = load(server=evs.address, bridge_listen="127.0.0.1:0", data_dir=tmp_path, origins="https://app.example")
    await evs.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(evs.stop)
        yield World(settings, evs, stack)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Event]:
    """`run_bridge` as a process runs it; ends when its event is set."""
    stop = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_bridge(settings, stop))
        yield stop
        stop.set()


# --- values ------------------------------------------------------------------------------------------------------


async def test_a_browser_follows_its_account_from_the_snapshot_on(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser()
    answer = await browser.call("auth.jwt", token=world.token(7))
    assert {"id": 1, "result": {"authenticated": True, "account_id": 7}} == answer
    await browser.send("equity.subscribe", account_id=8)
    assert {"id": 2, "result": {"subscribed": True}} == await browser.frame()
    snapshot = await browser.frame()
    assert (True, 1, 7) == (snapshot["snapshot"], snapshot["version"], snapshot["data"]["account_id"])
    assert 0.0025 == snapshot["data"]["day_change_percent"]
    world.evs.push(8, 50)
    world.evs.push(7, 2)
    change = await browser.frame()
    assert (False, 2, 1_000_002) == (change["snapshot"], change["version"], change["data"]["total_equity"])


async def test_many_changes_are_conflated_and_the_final_one_arrives(world: World) -> None:
    await world.open_bridge(replace(QUICK, push_interval_s=0.2))
    browser = await world.browser(7, subscribe=True)
    for version in range(2, 502):
        world.evs.push(7, version)
    received: list[dict[str, Any]] = []
    while not received or received[-1]["version"] != 501:
        received.append(await browser.push("equity"))
    assert 500 == len(received) + sum(frame["conflated"] for frame in received), "every version sent or counted"
    assert len(received) < 50


async def test_reads_are_answered_beside_the_stream(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    summary = (await browser.call("account.summary"))["result"]
    assert (1_000_001, 1_000_000, 1_000_000, 1) == tuple(
        summary[name] for name in ("total_equity", "balance", "buying_power", "version")
    )
    assert [1, 2] == [row["symbol_id"] for row in (await browser.call("positions.list"))["result"]["positions"]]
    assert "NOT_SERVED" == (await browser.call("equity.history"))["error"]["code"]
    assert {"pong": True} == (await browser.call("ping"))["result"]


async def test_however_many_browsers_follow_an_account_evs_has_one_stream(world: World) -> None:
    await world.open_bridge()
    browsers = [await world.browser(7, subscribe=True) for _ in range(3)]
    world.evs.push(7, 2)
    assert [2, 2, 2] == [(await browser.push("equity"))["version"] for browser in browsers]
    assert {7: 1} == dict(world.evs.opened)
    await browsers[0].call("equity.unsubscribe")
    await browsers[1].websocket.close()
    world.evs.push(7, 3)
    assert 3 == (await browsers[2].push("equity", version=3))["version"]
    await browsers[2].websocket.close()
    await world.evs.until(lambda: not world.evs.streams[7])


async def test_who_joins_later_gets_the_newest_value_at_once(world: World) -> None:
    await world.open_bridge()
    first = await world.browser(7, subscribe=True)
    world.evs.push(7, 9)
    await first.push("equity", version=9)
    second = await world.browser(7)
    await second.call("equity.subscribe")
    snapshot = await second.push("equity")
    assert (True, 9) == (snapshot["snapshot"], snapshot["version"])


async def test_each_browser_sees_only_its_own_account(world: World) -> None:
    await world.open_bridge()
    seven, eight = await world.browser(7, subscribe=True), await world.browser(8, subscribe=True)
    world.evs.push(8, 100)
    world.evs.push(7, 101)
    assert (7, 101) == ((frame := await seven.frame())["data"]["account_id"], frame["version"])
    assert (8, 100) == ((frame := await eight.frame())["data"]["account_id"], frame["version"])


# --- losing EVS --------------------------------------------------------------------------------------------------


async def test_a_lost_evs_is_told_and_so_is_its_return(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    await world.evs.stop()
    assert 0 < (await browser.push("status"))["since"]
    world.evs.versions[7] = 5
    await world.evs.start()
    assert {"stream": "status", "status": "live"} == await browser.push("status")
    snapshot = await browser.push("equity")
    assert (5, True) == (snapshot["version"], snapshot["snapshot"])


async def test_a_stream_that_ends_is_opened_again_and_says_nothing_twice(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    world.evs.drop_streams()
    await browser.push("status", status="stale")
    await browser.push("status", status="live")
    world.evs.push(7, 2)
    assert [2, False] == [(frame := await browser.frame())["version"], frame["snapshot"]]
    assert 2 == world.evs.opened[7]


async def test_an_evs_that_has_fallen_back_is_not_believed(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    world.evs.push(7, 10)
    await browser.push("equity", version=10)
    world.evs.versions[7] = 4
    world.evs.drop_streams()
    await browser.push("status", status="live")
    world.evs.push(7, 9)
    world.evs.push(7, 11)
    assert 11 == (await browser.push("equity"))["version"]


async def test_a_silent_evs_counts_as_lost(world: World) -> None:
    await world.open_bridge(replace(QUICK, silence_s=0.05))
    browser = await world.browser(7, subscribe=True)
    await browser.push("status", status="stale")
    await browser.push("status", status="live")


async def test_without_evs_a_browser_is_told_and_reads_fail_softly(world: World) -> None:
    await world.evs.stop()
    await world.open_bridge()
    browser = await world.browser(7)
    await browser.call("equity.subscribe")
    await browser.push("status", status="stale")
    error = (await browser.call("account.summary"))["error"]
    assert {"code": "UNAVAILABLE", "message": "EVS cannot be reached at present: try again"} == error
    await world.evs.start()
    await browser.push("status", status="live")
    await browser.push("equity", snapshot=True)


async def test_an_account_that_does_not_exist_closes_and_nothing_of_ours_is_told(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(99)
    error = (await browser.call("account.summary"))["error"]
    assert {"code": "UNKNOWN_ACCOUNT", "message": "account 99 does not exist on the exchange"} == error
    await browser.call("equity.subscribe")
    assert 4404 == await browser.close_code()
    assert world.evs.opened[99] == 0


# --- closing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        (1003, b'{"id":1,"method":"ping"}', False),
        (1007, b"\xff\xfe", True),
        (1009, b"x" * 8_193, True),
        (4401, b'{"id":1,"method":"auth","params":{"token":"forged"}}', True),
        (4408, b'{"id":1,"method":"ping"}', True),
    ],
)
async def test_what_a_browser_may_not_do_closes_its_socket(world: World, code: int, message: bytes, text: bool) -> None:
    await world.open_bridge(replace(QUICK, auth_s=0.1 if code == 4408 else 5))
    browser = await world.browser()
    await browser.websocket.send(message, text=text)
    assert code == await browser.close_code()
    await world.until_connections(0)


@pytest.mark.parametrize(("code", "message"), [(1008, "{"), (4429, '{"id":1,"method":"ping"}')])
async def test_too_much_of_it_closes_too(world: World, code: int, message: str) -> None:
    await world.open_bridge(replace(QUICK, messages_per_minute=100))
    browser = await world.browser(7)
    try:
        for _ in range(300):
            await browser.websocket.send(message)
    except ConnectionClosed:
        pass
    assert code == await browser.close_code()


async def test_a_browser_that_vanishes_with_requests_under_way_leaves_nothing(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    for _ in range(20):
        await browser.send("positions.list")
    browser.websocket.transport.abort()
    await world.until_connections(0)
    await world.evs.until(lambda: not world.evs.streams[7])


async def test_a_stuck_reader_is_cut_off_and_holds_up_nobody(world: World) -> None:
    await world.open_bridge(replace(QUICK, send_s=0.3, push_interval_s=0.02))
    world.evs.position_count = 4_096
    stuck, lively = await world.browser(7, max_queue=1), await world.browser(8, subscribe=True)
    for _ in range(30):
        await stuck.send("positions.list")
    for version in range(2, 60):
        world.evs.push(8, version)
        await lively.push("equity", version=version)
    assert 4508 == await stuck.close_code()
    await world.until_connections(1)


async def test_stopping_closes_every_socket_with_a_restart_and_ends(world: World) -> None:
    tasks_before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(Bridge(world.settings, QUICK).serving())
        world.address = address
        browsers = [await world.browser(account, subscribe=True) for account in (7, 7, 8)]
        waiting = [asyncio.create_task(browser.close_code()) for browser in browsers]
    assert [1012, 1012, 1012] == [await task for task in waiting]
    await world.evs.until(lambda: not any(world.evs.streams.values()))
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await world.get("/")
    assert {task for task in asyncio.all_tasks() - tasks_before if "equity of account" in task.get_name()} == set()


async def test_the_process_runs_until_it_is_told_to_stop(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(world.settings):
        pass
    assert any("bridge ready on http://127.0.0.1:" in line for line in caplog.messages)


# --- who may come in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "http://localhost:{port}", "https://app.example", None])
async def test_own_pages_named_origins_and_programs_may_connect(world: World, origin: str | None) -> None:
    await world.open_bridge()
    port = world.address.split(":")[-1].rstrip("/")
    browser = await world.browser(7, origin=origin.format(port=port) if origin else None)
    assert {"pong": True} == (await browser.call("ping"))["result"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:{port}.evil.example",
        "https://app.example.evil.example",
        "https://app.example/",
        "https://APP.example",
    ],
)
async def test_pages_from_elsewhere_are_refused_before_the_upgrade(world: World, origin: str) -> None:
    await world.open_bridge()
    port = world.address.split(":")[-1].rstrip("/")
    with pytest.raises(InvalidStatus) as refused:
        await world.browser(additional_headers={"Origin": origin.format(port=port)})
    assert 403 == refused.value.response.status_code


async def test_an_account_has_a_bounded_number_of_sockets_and_gets_them_back(world: World) -> None:
    await world.open_bridge(replace(QUICK, connections_per_account=2))
    first, _ = await world.browser(7), await world.browser(7)
    third = await world.browser()
    await third.send("auth", token=world.token(7))
    assert 4410 == await third.close_code()
    await world.browser(8)
    await first.websocket.close()
    await world.until_connections(2)
    await world.browser(7)


async def test_an_address_has_a_bounded_number_of_sockets_and_gets_them_back(world: World) -> None:
    await world.open_bridge(replace(QUICK, connections_per_address=2))
    first, _ = await world.browser(), await world.browser()
    with pytest.raises(InvalidStatus) as refused:
        await world.browser()
    assert 503 == refused.value.response.status_code
    assert b"2 connections from 127.0.0.1 are open: the bound is 2\n" == refused.value.response.body
    await first.websocket.close()
    await world.until_connections(1)
    await world.browser(7)


# --- pages -------------------------------------------------------------------------------------------------------


async def test_every_page_says_what_it_may_load(world: World) -> None:
    await world.open_bridge()
    for path, status, content_type in [
        ("/", 200, "text/html"),
        ("/static/app.js", 200, "text/javascript"),
        ("/static/style.css", 200, "text/css"),
        ("/healthz", 200, "application/json"),
        ("/nothing", 404, "text/plain"),
        ("/static/../server.py", 404, "text/plain"),
        ("/static/%2e%2e/server.py", 404, "text/plain"),
        ("//evil.example/", 200, "text/html"),
    ]:
        answered, headers, _ = await world.get(path)
        assert (path, status) == (path, answered)
        assert headers["Content-Type"].startswith(content_type)
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        assert "unsafe" not in policy


async def test_the_page_has_nothing_inline(world: World) -> None:
    await world.open_bridge()
    page = (await world.get("/"))[2].decode()
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count("<script src=") == 1
    script = (await world.get("/static/app.js"))[2].decode()
    assert "innerHTML" not in script


async def test_health_counts_what_is_open(world: World) -> None:
    await world.open_bridge()
    await world.browser(7, subscribe=True)
    health = json.loads((await world.get("/healthz"))[2])
    assert {"status": "serving", "connections": 1, "accounts": 1, "stale": 0} == health


async def test_outside_the_demo_nobody_is_given_a_token(world: World) -> None:
    await world.open_bridge()
    assert 404 == (await world.get("/demo/token?account=7"))[0]
    assert 404 == (await world.get("/demo/accounts"))[0]


async def test_in_the_demo_its_accounts_are_listed_and_given_tokens(world: World) -> None:
    await world.open_bridge(demo={7: "Ada", 8: "Grace"})
    assert [{"id": 7, "name": "Ada"}, {"id": 8, "name": "Grace"}] == json.loads((await world.get("/demo/accounts"))[2])
    token = json.loads((await world.get("/demo/token?account=7"))[2])["token"]
    assert 7 == tokens.TokenVerifier.of(world.settings).verify(token)
    for path in ("/demo/token", "/demo/token?account=9", "/demo/token?account=07", "/demo/else"):
        assert 404 == (await world.get(path))[0]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1"])
async def test_the_demo_answers_only_to_its_own_names(world: World, host: str) -> None:
    await world.open_bridge(demo={7: "Ada"})
    assert 403 == (await world.get("/demo/token?account=7", host=host))[0]


async def test_the_demo_is_not_served_beyond_this_machine(world: World) -> None:
    settings = load(bridge_listen="0.0.0.0:0", data_dir=world.settings.data_dir)
    with pytest.raises(ConfigError, match=r"loopback only, not on 0\.0\.0\.0"):
        Bridge(settings, QUICK, demo={})


async def test_a_port_that_is_taken_is_named(world: World) -> None:
    await world.open_bridge()
    taken = world.address.removeprefix("http://").rstrip("/")
    settings = load(bridge_listen=taken, data_dir=world.settings.data_dir)
    with pytest.raises(ConfigError, match=f"EVS_BRIDGE_LISTEN: cannot listen on {taken}"):
        await run_bridge(settings, asyncio.Event())


def test_settings_set_the_pace_and_the_patience(tmp_path: Path) -> None:
    policy = policy_of(load(data_dir=tmp_path, push_per_second=10, heartbeat_seconds=2))
    assert (0.1, 9.0) == (policy.push_interval_s, policy.silence_s)
