"""
One connection to NATS: kept up for ever, told apart from its outages, and every question on it with a deadline.

Lives here: reconnecting, and the errors of the client library as ours. Not here: addresses and credentials
(``servers``), and what is asked. An outage is logged once when it begins and once when it is over. Invariant: nothing
is handed to the library while the connection is down, since it would keep it, and send it when nobody expects it any
more.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Never

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from evs_server.errors import ConfigError, LogUnavailable, NoOwner
from evs_server.log.servers import EncryptedClient, Servers, distrust, read_servers, refuses

CONNECT_SECONDS: Final = 10.0
"""How long a start waits for its first connection."""

REQUEST_SECONDS: Final = 5.0
"""How long an answer of JetStream may take: within it, a cluster of three finds another leader."""

CLOSE_SECONDS: Final = 1.0

MESSAGES_WAITING: Final = 65_536
BYTES_WAITING: Final = 64 * 2**20
"""What of one subscription may wait in memory if its reader does not say."""

_NOBODY: Final = "evs.nobody"
_RECONNECT_SECONDS: Final = 0.5
_PING_SECONDS: Final = 5
"""A server that has said nothing for three of these is gone."""

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """
    What JetStream refuses, by its number.

    Args:
        code: JetStream's own number, not that of HTTP which comes with it.
    """

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"JetStream says: {description} ({code})")
        self.code = code
        self.description = description


class Connection:
    """
    One connection, as ``connect`` opens it.

    Args:
        addresses: Shown to people; without credentials.
        client: The library's, if it is to be a special one.
        server_count: How many addresses there are: one server that cannot be trusted does not keep us from the others.

    Attributes:
        client: The library's; down while ``is_up`` is false, whatever it takes.
        last_error: What it said last of what goes wrong by itself.
        refused: Set once it is clear that no trying will help; ``refusal`` says why.
        refusal: What a server does, in words.
    """

    def __init__(self, addresses: str, client: Client | None = None, *, server_count: int = 1) -> None:
        self.client = client or Client()
        self._distrusted_left = server_count
        self.addresses = addresses
        self.last_error = "no answer"
        self.refused, self.refusal = asyncio.Event(), ""
        self._up = asyncio.Event()
        self._closed = asyncio.Event()
        self._closing = False
        self._waiting: set[asyncio.Timeout] = set()
        self._lost: set[Callable[[], None]] = set()

    @property
    def is_up(self) -> bool:
        """Whether it stands."""
        return self._up.is_set() and self.client.is_connected

    def mark_up(self) -> None:
        """Take note that it stands."""
        self._up.set()

    async def wait_up(self) -> None:
        """Return once it stands."""
        await self._up.wait()

    @contextlib.contextmanager
    def tells_when_lost(self, lost: Callable[[], None]) -> Iterator[None]:
        """Have ``lost`` called whenever the connection is lost, for as long as the context."""
        self._lost.add(lost)
        try:
            yield
        finally:
            self._lost.discard(lost)

    async def publish(self, subject: str, data: bytes, headers: dict[str, str] | None = None, reply: str = "") -> None:
        """
        Send a message; that it went out is all that is known.

        Raises:
            LogUnavailable: If the connection is down.
        """
        self._require_up()
        try:
            await self.client.publish(subject, data, reply=reply, headers=headers)
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(f"cannot send to NATS at {self.addresses}: {error}") from error

    async def request(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, seconds: float = REQUEST_SECONDS
    ) -> Msg:
        """
        The answer to a message.

        Raises:
            NoOwner: If nobody listens on the subject.
            LogUnavailable: If the connection is down or lost meanwhile, or no answer comes in time.
        """
        self._require_up()
        try:
            async with asyncio.timeout(seconds) as deadline:
                self._waiting.add(deadline)
                # Its own deadline is beyond ours, which also ends when the connection is lost.
                with _cancellations_kept():
                    return await self.client.request(subject, data, timeout=2 * seconds, headers=headers)
        except nats.errors.NoRespondersError:
            raise NoOwner(f"nobody answers on {subject}", subject=subject) from None
        except TimeoutError:
            what = f"no answer on {subject} within {seconds:g} s" if self.is_up else "the connection is lost"
            raise LogUnavailable(f"NATS at {self.addresses}: {what}") from None
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(f"cannot ask NATS at {self.addresses}: {error}") from error
        finally:
            self._waiting.discard(deadline)

    async def subscribe(
        self,
        subject: str,
        received: Callable[[Msg], Awaitable[None]],
        *,
        messages_max: int = MESSAGES_WAITING,
        bytes_max: int = BYTES_WAITING,
    ) -> Subscription:
        """
        Have ``received`` called, in order, with what comes on a subject; the servers know of it when this returns.

        Args:
            messages_max: How many may wait; more are dropped.
            bytes_max: How many bytes of them.

        Raises:
            LogUnavailable: If the connection is down.
        """
        self._require_up()
        try:
            subscription = await self.client.subscribe(
                subject, cb=received, pending_msgs_limit=messages_max, pending_bytes_limit=bytes_max
            )
        except (nats.errors.Error, OSError) as error:
            raise LogUnavailable(f"cannot listen to NATS at {self.addresses}: {error}") from error
        try:
            # The library's flush overtakes what waits to be sent; a question, if only to nobody, goes behind it.
            with contextlib.suppress(NoOwner):
                await self.request(_NOBODY, b"")
        except LogUnavailable:
            await leave(subscription)
            raise
        return subscription

    async def api(self, subject: str, request: dict[str, Any], seconds: float = REQUEST_SECONDS) -> dict[str, Any]:
        """
        The answer of JetStream to a request of its API.

        Args:
            subject: Without the prefix ``$JS.API``.

        Raises:
            ApiError: If it refuses.
            LogUnavailable: If it cannot be asked, or has no leader.
        """
        try:
            message = await self.request(f"$JS.API.{subject}", json.dumps(request).encode(), seconds=seconds)
        except NoOwner:
            raise LogUnavailable(
                f"no JetStream answers at {self.addresses}: it is not enabled there, or only just starting"
            ) from None
        return answer_of(message.data)

    async def close(self) -> None:
        """End it; nothing that waits to be sent is waited for longer than ``CLOSE_SECONDS``."""
        self._closing = True
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.client.close()

    async def closed(self) -> Never:
        """
        Wait for the end of all trying.

        Raises:
            LogUnavailable: When the library has given up, as it does when its credentials are refused.
        """
        await self._closed.wait()
        raise LogUnavailable(f"the connection to NATS at {self.addresses} is closed: {self.last_error}")

    async def on_lost(self) -> None:
        """Take note of an outage; called by the library, whenever it begins to connect anew."""
        if self._closing or not self._up.is_set():
            return
        self._up.clear()
        logger.warning("the connection to NATS at %s is lost; trying again for as long as it takes", self.addresses)
        now = asyncio.get_running_loop().time()
        for deadline in self._waiting:
            deadline.reschedule(now)
        for lost in list(self._lost):
            lost()

    async def on_up(self) -> None:
        """Take note of the end of an outage."""
        logger.warning("the connection to NATS at %s stands again", self.addresses)
        self.mark_up()

    async def on_error(self, error: Exception) -> None:
        """Take note of what goes wrong beside all requests."""
        self.last_error = str(error)
        found = distrust(error)
        self._distrusted_left -= bool(found)
        if not found and refuses(error):
            found, self._distrusted_left = "refuses the credentials", 0
        self.refusal = found or self.refusal
        if self.refusal and self._distrusted_left <= 0:
            self.refused.set()
        logger.debug("NATS at %s: %s", self.addresses, error)

    async def on_closed(self) -> None:
        """Take note of the end."""
        self._up.clear()
        self._closed.set()

    def _require_up(self) -> None:
        if not self.is_up:
            raise LogUnavailable(f"no connection to NATS at {self.addresses}")


@contextlib.contextmanager
def _cancellations_kept() -> Iterator[None]:
    """Cancel for certain: before Python 3.12 a wait within the library forgets a cancellation that an answer meets."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


async def leave(subscription: Subscription) -> None:
    """End a subscription, whether or not the connection stands."""
    with contextlib.suppress(nats.errors.Error, OSError):
        await subscription.unsubscribe()


def answer_of(data: bytes) -> dict[str, Any]:
    """
    What JetStream has answered.

    Raises:
        ApiError: If it is a refusal.
    """
    answer: dict[str, Any] = json.loads(data)
    if "error" in answer:
        error = answer["error"]
        raise ApiError(error.get("err_code", error.get("code", 0)), error.get("description", "no reason given"))
    return answer


@contextlib.asynccontextmanager
async def connect(
    url: str, name: str, creds_file: Path | None = None, ca_file: Path | None = None
) -> AsyncIterator[Connection]:
    """
    A connection for as long as the context.

    Args:
        url: One address or several, comma-separated, such as ``nats://user:password@host:4222``; ``tls://`` encrypts,
            and then all must. The credentials of the first are used for all, those that the servers tell of included.
        name: What this connection is called on the server.
        creds_file: A user's credentials, as NATS makes them.
        ca_file: Who signs the servers' certificates; None: whom the system trusts.

    Raises:
        ConfigError: If an address cannot be one, the file holds no certificate, or the credentials are refused.
        LogUnavailable: If no server answers within ``CONNECT_SECONDS``.
    """
    servers = read_servers(url, ca_file)
    options = servers.options(creds_file)
    client = EncryptedClient() if servers.encrypted else Client()
    connection = Connection(servers.shown, client, server_count=len(servers.parts))
    try:
        await _open(connection, servers, name, options)
        yield connection
    finally:
        await connection.close()


async def _open(connection: Connection, servers: Servers, name: str, options: dict[str, Any]) -> None:
    connecting = connection.client.connect(
        servers=list(servers.urls),
        name=name,
        error_cb=connection.on_error,
        disconnected_cb=connection.on_lost,
        reconnected_cb=connection.on_up,
        closed_cb=connection.on_closed,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]  # any number of seconds will do
        ping_interval=_PING_SECONDS,
        **options,
    )
    tasks = {asyncio.create_task(connecting), asyncio.create_task(connection.refused.wait())}
    try:
        done, _ = await asyncio.wait(tasks, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except (nats.errors.Error, OSError, ValueError) as error:
        raise ConfigError(f"cannot use NATS at {connection.addresses}: {error}") from error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
    if connection.refused.is_set():
        raise ConfigError(f"NATS at {connection.addresses} {connection.refusal}")
    if not done:
        why = connection.last_error
        raise LogUnavailable(f"cannot reach NATS at {connection.addresses} within {CONNECT_SECONDS:g} s: {why}")
    connection.mark_up()
