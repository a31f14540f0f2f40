"""
The address that a process is watched at: ``/metrics`` for Prometheus, ``/livez`` and ``/readyz`` for who starts it.

Lives here: a small HTTP server, on the process's own event loop: numbers are read between two events, never in the
middle of one, and a loop that stands still does not answer that it is alive. Not here: which numbers there are. What it
tells are counts, times and reasons: no account, no money, no key. Touches the network.

It is bounded: so many connections at a time, one request each, of so many bytes, within so many seconds.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from evs_server.certificates import ServerCertificate, expires_at
from evs_server.config import Settings
from evs_server.errors import ConfigError
from evs_server.listener import check_free, is_private
from evs_server.telemetry.families import gauge, histogram
from evs_server.telemetry.lag import LoopLag

log = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 16
REQUEST_BYTES_MAX: Final = 8_192
REQUEST_SECONDS: Final = 10.0

PLAIN_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Watched:
    """
    What can be seen of a process.

    Attributes:
        collector: Gives its numbers, on its event loop.
        not_ready: Why it should not be sent anything now, in words; empty if it is ready.
    """

    collector: Collector
    not_ready: Callable[[], Sequence[str]]


def check_exposed(settings: Settings, field: str) -> None:
    """
    Return if there is nothing wrong with the address that a process is to be shown at; opens nothing.

    Raises:
        ConfigError: As ``exposed``, which may still find the address taken.
    """
    setting, address = f"EVS_{field.upper()}", getattr(settings, field)
    if address is None:
        return
    _certificate(settings, setting, address)
    _host_and_port(setting, address)
    if field in settings.model_fields_set:
        check_free(setting, address)


@asynccontextmanager
async def exposed(settings: Settings, field: str, watched: Watched) -> AsyncIterator[str | None]:
    """
    Show a process at the address that a setting says, for as long as the context.

    A default address that is taken is only warned of: the second EVS of a machine is to serve nevertheless. One that
    was set must be had.

    Args:
        field: Name of the setting.

    Yields:
        The address, its port made out; None if there is none.

    Raises:
        ConfigError: If the address that was set cannot be had, or would carry plain text off this machine.
    """
    setting, address = f"EVS_{field.upper()}", getattr(settings, field)
    if address is None:
        yield None
        return
    certificate = _certificate(settings, setting, address)
    lag = LoopLag()
    server = _Server(watched, _Process(settings, watched.not_ready, lag))
    try:
        host, port = _host_and_port(setting, address)
        context = None if certificate is None else certificate.context()
        listening = await asyncio.start_server(
            server.answer,
            host,
            port,
            ssl=context,
            ssl_handshake_timeout=None if context is None else REQUEST_SECONDS,
            limit=REQUEST_BYTES_MAX,
            reuse_address=True,
        )
    except OSError as error:
        problem = f"{setting}: cannot listen on {address}: {error.strerror or error}"
        if field in settings.model_fields_set:
            raise ConfigError(f"{problem}; stop what uses it, or set {setting} to another address") from None
        log.warning("%s; metrics are not served: set %s to another address, or to nothing", problem, setting)
        yield None
        return
    lag.start()
    try:
        shown = f"{address.rpartition(':')[0]}:{listening.sockets[0].getsockname()[1]}"
        log.info("metrics at %s", shown)
        yield shown
    finally:
        lag.stop()
        listening.close()
        server.drop()


class _Server:
    """Answers one request for each connection."""

    def __init__(self, watched: Watched, process: "_Process") -> None:
        self._not_ready = watched.not_ready
        self._registry = CollectorRegistry()
        for collector in (watched.collector, process):
            self._registry.register(collector)
        # Memory, processor time, descriptors and the interpreter's own, by the names everybody gives them.
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._open: set[asyncio.StreamWriter] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        if len(self._open) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._response(head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)

    def drop(self) -> None:
        """Wait for nobody."""
        for writer in self._open:
            writer.transport.abort()

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        if method not in (b"GET", b"HEAD"):
            return _written(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n", with_body=True)
        path = rest.partition(b" ")[0].partition(b"?")[0]
        return self._found(path, with_body=method == b"GET")

    def _found(self, path: bytes, *, with_body: bool) -> bytes:
        match path:
            case b"/metrics":
                return _written(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4, with_body)
            case b"/livez":
                return _written(HTTPStatus.OK, "alive\n", with_body=with_body)
            case b"/readyz":
                reasons = self._not_ready()
                status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
                return _written(status, "".join(f"{line}\n" for line in reasons or ["ready"]), with_body=with_body)
            case _:
                return _written(HTTPStatus.NOT_FOUND, "here are /metrics, /livez and /readyz\n", with_body=with_body)


class _Process(Collector):
    """What every process of ours tells about itself."""

    def __init__(self, settings: Settings, not_ready: Callable[[], Sequence[str]], lag: LoopLag) -> None:
        self._certificate_file = settings.tls_cert_file
        self._not_ready = not_ready
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """The numbers of now."""
        yield gauge("evs_ready", "Whether the process is ready: 1, or 0; /readyz says why not.", not self._not_ready())
        yield histogram("evs_loop_lag_seconds", "How late the event loop is, ten times a second.", self._lag.seconds)
        if self._certificate_file is not None:
            about = "When the process's certificate ends, unix time; 0 if it cannot be read."
            yield gauge("evs_certificate_expiry_timestamp_seconds", about, _ends(self._certificate_file))


def _ends(certificate_file: Path) -> float:
    try:
        return expires_at(certificate_file).timestamp()
    except ConfigError:
        return 0.0  # no better than one that has ended


def _certificate(settings: Settings, setting: str, address: str) -> ServerCertificate | None:
    # On this machine Prometheus, which has no part in who may call, needs none: there is nothing in it to hide.
    if is_private(address):
        return None
    certificate = ServerCertificate.of(settings, asking_clients=False)
    if certificate is None and not settings.allow_plaintext:
        raise ConfigError(
            f"{setting}: {address} can be reached from other machines; set EVS_TLS_CERT_FILE and EVS_TLS_KEY_FILE, or"
            " EVS_ALLOW_PLAINTEXT=true where something else encrypts"
        )
    return certificate


def _host_and_port(setting: str, address: str) -> tuple[str, int]:
    if address.startswith("unix:"):
        raise ConfigError(f"{setting}: Prometheus needs host:port, not {address}")
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _written(status: HTTPStatus, body: bytes | str, content_type: str = PLAIN_TEXT, with_body: bool = True) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    return head + content if with_body else head
