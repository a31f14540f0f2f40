"""
The bridge as a process: listening, letting in, draining.

Lives here: the websocket server's settings, who may open a socket, start and stop in order. Not here: what a socket
does (``connection``), what plain HTTP gets (``site``), signals (``cli``).

    listen -> channel to EVS -> ready -> stop is set -> refuse new, close all with 1012 -> cancel streams -> channel

A socket is drained through its session: what it is owed is still sent, and only then comes the close.
"""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from evs.v1.admin_pb2_grpc import AdminServiceStub
from evs.v1.evs_pb2_grpc import EquityValuationServiceStub
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from evs_server import tokens
from evs_server.bridge import policy as bounds
from evs_server.bridge.admission import Admission
from evs_server.bridge.cluster import ClusterReads
from evs_server.bridge.connection import Connection
from evs_server.bridge.frames import CloseCode
from evs_server.bridge.metrics import BridgeCollector, Traffic
from evs_server.bridge.policy import Policy
from evs_server.bridge.reads import Reads
from evs_server.bridge.session import Session
from evs_server.bridge.site import Demo, Site
from evs_server.bridge.upstream import CHANNEL_OPTIONS, Upstream
from evs_server.bridge.visitors import counted_as
from evs_server.certificates import ServerCertificate
from evs_server.channel import STREAMS_SECONDS, open_channel
from evs_server.clock import Clock, SystemClock
from evs_server.config import Settings
from evs_server.errors import ConfigError
from evs_server.listener import check_encryption
from evs_server.roles import Role
from evs_server.telemetry.exposition import Watched, exposed

log = logging.getLogger(__name__)

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
DEMO_TOKEN_S: Final = 12 * 3_600
RESTARTING: Final = "the bridge is restarting"


class Door:
    """Who may come in through one socket, and what is counted for it until it leaves."""

    def __init__(self, verifier: tokens.TokenVerifier, admission: Admission, on_revoked: Callable[[], None]) -> None:
        self._verifier = verifier
        self._admission = admission
        self._on_revoked = on_revoked
        self._unwatch: Callable[[], None] | None = None
        self._joined: int | None = None
        self._reserved = 0

    def verify(self, token: str) -> tokens.Grant:
        """What a token gives; ``Unauthenticated`` if it is not good."""
        grant = self._verifier.grant(token)
        # A new one takes the place of the one before: that may end.
        self._stop_watching()
        self._unwatch = self._verifier.watch(grant.token_id, self._on_revoked)
        return grant

    def admit(self, account_id: int) -> bool:
        """Let one more socket of an account in; False if it has too many."""
        if not self._admission.join(account_id):
            return False
        self._joined = account_id
        return True

    def reserve(self, byte_count: int) -> bool:
        """Hold a large answer until it is taken; False if those of all sockets already fill the room."""
        if not self._admission.reserve(byte_count):
            return False
        self._reserved += byte_count
        return True

    def release(self) -> None:
        """Count all that this socket reserved as taken."""
        self._admission.release(self._reserved)
        self._reserved = 0

    def leave(self) -> None:
        """Give everything back."""
        self._stop_watching()
        self.release()
        if self._joined is not None:
            self._admission.part(self._joined)

    def _stop_watching(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None


class Bridge:
    """
    The bridge, from what it was set to.

    Args:
        settings: Addresses, origins, key.
        policy: Bounds and times.
        demo: What the demo tells anybody; None outside the demo.

    Raises:
        ConfigError: If it cannot be run like this.
    """

    def __init__(self, settings: Settings, policy: Policy, demo: Demo | None = None) -> None:
        self._settings = settings
        self._policy = policy
        self._demo = demo
        self._clock: Clock = SystemClock()
        self._verifier = tokens.TokenVerifier.of(settings, self._clock)
        self._admission = Admission(policy)
        self._traffic = Traffic()
        self._host, self._port = _host_and_port(settings.bridge_listen)
        self._certificate = ServerCertificate.of(settings, asking_clients=False)
        self._scheme = "http" if self._certificate is None else "https"
        check_encryption(settings, "EVS_BRIDGE_LISTEN", settings.bridge_listen, encrypted=self._certificate is not None)
        if demo is not None and self._host not in LOOPBACK:
            raise ConfigError(f"EVS_BRIDGE_LISTEN: the demo is served on loopback only, not on {self._host}")
        self._serving = False
        self.metrics_address: str | None = None
        self._sockets: dict[ServerConnection, Connection] = {}
        self._visitors: set[ServerConnection] = set()
        self._origins: frozenset[str] = frozenset()
        self._upstream: Upstream | None = None
        self._reads: Reads
        self._site: Site

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """
        Serve within this context.

        Yields:
            The page's address, ``http://host:port/``, or ``https`` with a certificate.

        Raises:
            ConfigError: If the address cannot be listened on, or EVS would be called in plain text on another machine.
        """
        watched = Watched(BridgeCollector(self._traffic, self._held), self._not_ready)
        async with exposed(self._settings, "bridge_metrics_listen", watched) as self.metrics_address:
            # Outside the group, which would wrap the error of a taken port.
            server = await self._listen()
            async with (
                open_channel(
                    self._settings,
                    "evs-bridge",
                    [Role.READ_ANY],
                    options=CHANNEL_OPTIONS,
                    token_seconds=STREAMS_SECONDS,
                ) as channel,
                asyncio.TaskGroup() as streams,
            ):
                stub = EquityValuationServiceStub(channel)
                self._upstream = upstream = Upstream(stub, streams, self._clock, self._policy)
                workers = None if self._demo is None else self._demo.workers
                cluster = ClusterReads(AdminServiceStub(channel), workers, self._policy.read_s)
                self._reads = Reads(stub, self._policy, cluster)
                try:
                    yield self._open(server)
                finally:
                    await self._drain(server)
                    upstream.close()

    # --- start and stop ------------------------------------------------------------------------------------------

    async def _listen(self) -> Server:
        try:
            return await serve(
                self._serve,
                self._host,
                self._port,
                ssl=None if self._certificate is None else self._certificate.context(),
                process_request=self._process_request,
                compression=None,  # costs 70 KiB a connection, and lets 1 KB expand a thousandfold
                max_size=bounds.MESSAGE_BYTES_MAX,
                max_queue=bounds.MESSAGES_QUEUED_MAX,
                write_limit=bounds.WRITE_BYTES_MAX,
                ping_interval=self._policy.ping_interval_s,
                ping_timeout=self._policy.ping_timeout_s,
                open_timeout=self._policy.handshake_s,
                close_timeout=self._policy.close_s,
                server_header=None,
                logger=_library_logger(),
            )
        except OSError as error:
            address = self._settings.bridge_listen
            reason = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise ConfigError(
                f"EVS_BRIDGE_LISTEN: cannot listen on {address}: {reason}; stop what uses it, or set EVS_BRIDGE_LISTEN"
                " to another address"
            ) from None

    def _open(self, server: Server) -> str:
        port = server.sockets[0].getsockname()[1]
        names = ("127.0.0.1", "localhost", "[::1]") if self._host in LOOPBACK else (_in_url(self._host),)
        hosts = [f"{name}:{port}" for name in names]
        self._origins = frozenset(f"{self._scheme}://{host}" for host in hosts) | frozenset(self._settings.origins)
        if knows_no_page(self._settings):
            log.warning(
                "EVS_ORIGINS is empty, and nobody opens a page at %s: each browser's socket will be refused, also that"
                " of the bridge's own page; set it to what browsers show, such as %s://HOST:%s",
                self._settings.bridge_listen,
                self._scheme,
                port,
            )
        self._site = Site(self._scheme, hosts, self._demo, self._issue_token, self._health)
        self._serving = True
        return f"{self._scheme}://{_in_url(self._host)}:{port}/"

    async def _drain(self, server: Server) -> None:
        self._serving = False
        server.close(close_connections=False)
        for connection in self._sockets.values():
            connection.end(CloseCode.RESTART, RESTARTING)
        try:
            async with asyncio.timeout(self._policy.close_s):
                await asyncio.shield(server.wait_closed())
        except TimeoutError:
            # These take nothing, not even the close. Whatever still waits for EVS has a deadline.
            for websocket in (*self._sockets, *self._visitors):
                websocket.transport.abort()
            async with asyncio.timeout(2 * self._policy.read_s + self._policy.close_s):
                await server.wait_closed()

    def _issue_token(self, account_id: int) -> str:
        return tokens.issue(self._settings, account_id, DEMO_TOKEN_S, clock=self._clock)

    def _health(self) -> tuple[bool, Mapping[str, int]]:
        return self._serving, self._held()

    def _held(self) -> Mapping[str, int]:
        return {
            "connections": self._admission.connection_count,
            "accounts": 0 if self._upstream is None else self._upstream.stream_count,
            "stale": 0 if self._upstream is None else self._upstream.stale_count,
            "answer_bytes": self._admission.answer_bytes,
        }

    def _not_ready(self) -> list[str]:
        return [] if self._serving else ["the bridge is starting or draining"]

    # --- one connection ------------------------------------------------------------------------------------------

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP, or let a websocket handshake go on (None)."""
        if not self._serving:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "not serving\n")
        if request.method != "GET" or request.path.partition("?")[0] != "/ws":
            return self._visit(connection, request)
        # A browser always says where its page is from; who says nothing is no browser, and has no cookies to borrow.
        origins = request.headers.get_all("Origin")
        if origins and (len(origins) > 1 or origins[0] not in self._origins):
            self._traffic.refusals["origin"] += 1
            return self._site.refuse(HTTPStatus.FORBIDDEN, "this origin may not open the websocket")
        refusal = self._admission.refusal(self._address(connection, request))
        if refusal is not None:
            self._traffic.refusals["room"] += 1
            return self._site.refuse(HTTPStatus.SERVICE_UNAVAILABLE, refusal)
        return None

    def _visit(self, visitor: ServerConnection, request: Request) -> Response:
        # Who takes a page slowly holds it in memory: for longer than a socket's close may take, for the sake of slow
        # lines, but not for ever, and not by any number.
        self._visitors = {other for other in self._visitors if other.state is not State.CLOSED}
        if len(self._visitors) >= self._policy.visitors_max:
            return self._site.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages are being loaded: try again")
        self._visitors.add(visitor)
        visitor.close_timeout = self._policy.page_s
        return self._site.respond(request.method, request.path, _single(request, "Host"))

    def _address(self, connection: ServerConnection, request: Request) -> str:
        """What a socket is counted by."""
        peer = str(connection.remote_address[0]) if connection.remote_address else "unknown"
        return counted_as(peer, request.headers.get_all("X-Forwarded-For"), self._settings.trusted_proxies)

    async def _serve(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None, "it is served after its handshake"
        address = self._address(websocket, websocket.request)
        if not self._admission.enter(address):
            await _turn_away(websocket)
            return
        connection: Connection

        def end_with_token() -> None:
            connection.end(CloseCode.UNAUTHENTICATED, tokens.TAKEN_BACK)

        door = Door(self._verifier, self._admission, end_with_token)
        assert self._upstream is not None, "sockets come after the channel"
        session = Session(door, self._policy, self._clock.monotonic())
        connection = Connection(
            websocket, session, self._upstream, self._reads, self._clock, self._policy, self._traffic
        )
        self._traffic.opened_count += 1
        self._sockets[websocket] = connection
        if not self._serving:
            connection.end(CloseCode.RESTART, RESTARTING)
        try:
            await connection.run()
        finally:
            del self._sockets[websocket]
            self._admission.leave(address)
            door.leave()
            self._traffic.count_close(websocket.close_code)


async def run_bridge(
    settings: Settings, stop: asyncio.Event, *, demo: Demo | None = None, policy: Policy | None = None
) -> None:
    """
    Serve browsers until told to stop; then close their sockets with 1012 and return.

    Args:
        settings: Addresses, origins, key, pushes a second.
        stop: Set it to stop.
        demo: What the demo tells anybody; None outside the demo.
        policy: Bounds and times, where they are not to be the default ones.

    Raises:
        ConfigError: If there is no key, the address cannot be listened on, or the demo is not on loopback.
    """
    async with Bridge(settings, policy or policy_of(settings), demo).serving() as address:
        log.info("bridge ready on %s, values from %s", address, settings.server)
        await stop.wait()
        log.info("bridge stopping")


def knows_no_page(settings: Settings) -> bool:
    """Whether no browser can open a socket: it listens everywhere, which is no origin, and none is set."""
    if settings.origins:
        return False
    try:
        return ip_address(_host_and_port(settings.bridge_listen)[0]).is_unspecified
    except ValueError:
        return False  # a name


def policy_of(settings: Settings) -> Policy:
    """The bounds and times that go with the settings."""
    return Policy(push_interval_s=1 / settings.push_per_second, silence_s=2 * settings.heartbeat_seconds + 5)


async def _turn_away(websocket: ServerConnection) -> None:
    # Others came in between its handshake's check and now.
    try:
        await websocket.close(CloseCode.TOO_MANY_CONNECTIONS, "too many connections")
    except ConnectionClosed:
        return


def _library_logger() -> logging.Logger:
    # At INFO the library writes two lines per connection, and calls every page it serves a rejected connection.
    logger = logging.getLogger(f"{__name__}.websockets")
    logger.setLevel(logging.WARNING)
    return logger


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if address.startswith("unix:"):
        raise ConfigError(f"EVS_BRIDGE_LISTEN: browsers need host:port, not {address}")
    return host.strip("[]"), int(port)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _single(request: Request, name: str) -> str | None:
    values = request.headers.get_all(name)
    return values[0] if len(values) == 1 else None
