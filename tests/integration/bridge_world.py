"""
A bridge with real websockets in front and a real gRPC server behind, which a script stands in for EVS on.
"""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from evs.v1 import evs_pb2
from evs.v1.evs_pb2_grpc import EquityValuationServiceServicer, add_EquityValuationServiceServicer_to_server
from google.protobuf.message import Message
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from evs_server import tokens
from evs_server.bridge.policy import Policy
from evs_server.bridge.server import Bridge
from evs_server.config import Settings, load
from evs_server.errors import EvsError
from evs_server.rpc_status import to_status
from tests.patience import PATIENCE_SECONDS

PATIENCE_S = PATIENCE_SECONDS
QUICK = Policy(
    push_interval_s=0.001,
    backoff_min_s=0.01,
    backoff_max_s=0.05,
    messages_per_minute=10_000,
    auth_s=PATIENCE_S,
    read_s=PATIENCE_S,
    send_s=PATIENCE_S,
)
"""Hurries where it can, and gives up on nobody."""


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


@cache
def a_point(number: int) -> evs_pb2.EquityPoint:
    return evs_pb2.EquityPoint(
        time=1_700_000_040 + 60 * number,
        open=1_000_000 + number,
        high=1_000_100 + number,
        low=999_900 + number,
        last=1_000_050 + number,
        realized_pnl=-number,
        net_flow=1_000_000,
        final=True,
    )


class ScriptedEvs(EquityValuationServiceServicer):
    """Says what the test tells it to, on a socket that stays the same across its restarts."""

    def __init__(self, address: str, account_ids: Sequence[int] = (7, 8)) -> None:
        self.address = address
        self.versions = dict.fromkeys(account_ids, 1)
        self.position_count = 2
        self.point_count = 3
        self.end = grpc.StatusCode.UNAVAILABLE
        self.refusal: EvsError | None = None
        self.asked: list[Message] = []
        self.reading = self.reading_max = 0
        self.opened: Counter[int] = Counter()
        self.streams: dict[int, list[asyncio.Queue[evs_pb2.SubscribeEquityResponse | None]]] = {
            account_id: [] for account_id in account_ids
        }
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = grpc.aio.server()
        self.add_to(self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    def add_to(self, server: grpc.aio.Server) -> None:
        add_EquityValuationServiceServicer_to_server(self, server)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def push(self, account_id: int, version: int) -> None:
        self.versions[account_id] = version
        for stream in self.streams[account_id]:
            stream.put_nowait(update(account_id, version))

    def drop_streams(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self.end = code
        for queues in self.streams.values():
            for stream in queues:
                stream.put_nowait(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(condition)

    async def WatchEquity(  # type: ignore[override]  # noqa: N802
        self, requests: AsyncIterator[evs_pb2.WatchEquityRequest], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        followed: dict[int, asyncio.Task[None]] = {}
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        coming = asyncio.create_task(self._follow(requests, context, followed, ended))
        try:
            await asyncio.wait([coming, ended], return_when=asyncio.FIRST_COMPLETED)
            await context.abort(self.end, "secret host name")
        finally:
            for task in (coming, *followed.values()):
                task.cancel()
            await asyncio.wait([coming, *followed.values()])

    async def _follow(
        self,
        requests: AsyncIterator[evs_pb2.WatchEquityRequest],
        context: grpc.aio.ServicerContext[Any, Any],
        followed: dict[int, asyncio.Task[None]],
        ended: asyncio.Future[None],
    ) -> None:
        async for request in requests:
            for account_id in request.remove:
                if account_id in followed:
                    followed[account_id].cancel()
                    await asyncio.wait([followed.pop(account_id)])
            for account_id in request.add:
                if account_id in self.versions:
                    followed[account_id] = asyncio.create_task(self._tell_of(account_id, context, ended))
                else:
                    await context.write(evs_pb2.WatchEquityResponse(refused_account_ids=[account_id]))

    async def _tell_of(
        self, account_id: int, context: grpc.aio.ServicerContext[Any, Any], ended: asyncio.Future[None]
    ) -> None:
        stream: asyncio.Queue[evs_pb2.SubscribeEquityResponse | None] = asyncio.Queue(10_000)
        self.streams[account_id].append(stream)
        self.opened[account_id] += 1
        await self._tell()
        try:
            message: evs_pb2.SubscribeEquityResponse | None = update(
                account_id, self.versions[account_id], snapshot=True
            )
            while message is not None:
                async with self._turn:
                    await context.write(evs_pb2.WatchEquityResponse(updates=[message]))
                message = await stream.get()
            if not ended.done():
                ended.set_result(None)
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

    async def GetEquityHistory(  # noqa: N802
        self, request: evs_pb2.GetEquityHistoryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> evs_pb2.GetEquityHistoryResponse:
        await self._note(request, context)
        first = int(request.page_token or 0)
        numbers = range(first, min(first + request.page_size, self.point_count))
        return evs_pb2.GetEquityHistoryResponse(
            resolution=evs_pb2.RESOLUTION_ONE_MINUTE,
            points=[a_point(number) for number in numbers],
            next_page_token=str(numbers.stop) if numbers.stop < self.point_count else "",
        )

    async def GetPerformance(  # noqa: N802
        self, request: evs_pb2.GetPerformanceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> evs_pb2.GetPerformanceResponse:
        await self._note(request, context)
        return evs_pb2.GetPerformanceResponse(profit=50, time_weighted_return_percent=0.5, version=3)

    async def GetLeaderboard(  # noqa: N802
        self, request: evs_pb2.GetLeaderboardRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> evs_pb2.GetLeaderboardResponse:
        await self._note(request, context)
        places = [
            evs_pb2.LeaderboardEntry(rank=1, account_id=123_456_789, display_name="Ada", return_percent=2.5),
            evs_pb2.LeaderboardEntry(rank=2, account_id=request.account_id, return_percent=1.25),
        ]
        return evs_pb2.GetLeaderboardResponse(entries=places, own=places[1], ranked_count=50, version=3)

    async def _note(self, request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Remember what was asked, and how many asked at one time; refuse it if the script says so."""
        assert context.time_remaining() is not None, "every read has a deadline"
        self.asked.append(request)
        self.reading += 1
        self.reading_max = max(self.reading, self.reading_max)
        for _ in range(100):
            await asyncio.sleep(0)
        self.reading -= 1
        if self.refusal is not None:
            await context.abort_with_status(to_status(self.refusal))

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def a_narrow_socket(port: int, source: str) -> socket.socket:
    """A connection whose receiving end holds little; the default may hold dozens of megabytes."""
    narrow = socket.socket()
    narrow.bind((source, 0))
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
    narrow.connect(("127.0.0.1", port))
    narrow.setblocking(False)
    return narrow


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

    @property
    def port(self) -> int:
        """The bridge's."""
        return int(self.address.rstrip("/").rpartition(":")[2])

    async def open_bridge(self, policy: Policy = QUICK, **options: Any) -> None:
        self.address = await self.stack.enter_async_context(Bridge(self.settings, policy, **options).serving())

    async def browser(
        self,
        account_id: int | None = None,
        *,
        subscribe: bool = False,
        narrow: bool = False,
        source: str = "127.0.0.1",
        **options: Any,
    ) -> Browser:
        """
        A browser; with an account it is authenticated, and subscribed and past its snapshot if asked.

        Into a narrow one little fits that its test does not take: 40 large answers are more than lies on the way. Where
        more come than one address may have, they come from several sources.
        """
        url = self.address.replace("http", "ws") + "ws"
        if narrow:
            options |= {"sock": a_narrow_socket(self.port, source), "max_queue": 1}
        else:
            options |= {"local_addr": (source, 0)}
        browser = Browser(await self.stack.enter_async_context(connect(url, compression=None, **options)))
        if narrow:
            # At the end its close would not get through.
            self.stack.callback(browser.websocket.transport.abort)
        if account_id is not None:
            assert (await browser.call("auth.jwt", token=self.token(account_id)))["result"]["authenticated"]
        if subscribe:
            assert (await browser.call("equity.subscribe"))["result"]["subscribed"]
            await browser.push("equity", snapshot=True)
        return browser

    def token(self, account_id: int, ttl_s: int = 3_600) -> str:
        return tokens.issue(self.settings, account_id, ttl_s)

    async def get(self, path: str, host: str | None = None, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a page."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{self.port}'}\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, body

    async def health(self) -> dict[str, int]:
        """The bridge's counts."""
        counts: dict[str, int] = json.loads((await self.get("/healthz"))[2])
        return counts

    async def until_health(self, **wanted: int) -> None:
        """Return once the bridge's counts are as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while not wanted.items() <= (await self.health()).items():
                pass

    async def until_connections(self, count: int) -> None:
        """Return once so many sockets are open."""
        await self.until_health(connections=count)


@asynccontextmanager
async def a_world(directory: Path, kind: Callable[[str], ScriptedEvs] | None = None) -> AsyncIterator[World]:
    """A scripted EVS that serves accounts 7 and 8, and nothing else yet."""
    evs = (kind or ScriptedEvs)(f"unix:{directory}/evs.sock")
    settings = load(server=evs.address, bridge_listen="127.0.0.1:0", data_dir=directory, origins="https://app.example")
    await evs.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(evs.stop)
        yield World(settings, evs, stack)
