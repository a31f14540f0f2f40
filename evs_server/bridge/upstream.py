"""
The bridge's streams from EVS: one per followed account, however many browsers follow it.

Lives here: opening, reading, losing and reopening streams. Not here: who may follow what (``session``), reads
(``reads``), protobuf fields (``codec``). A lost stream is opened again after a wait that grows, with jitter, so that a
restarted EVS is not met by every bridge at once.

Invariants: readers get versions in ascending order, each at most once; every call has a deadline or a watchdog, and is
cancelled explicitly (a call merely dropped keeps memory and a stream of the server's).
"""

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import grpc
import grpc.aio
from evs.v1 import evs_pb2

from evs_server.bridge import codec
from evs_server.bridge.frames import CloseCode
from evs_server.bridge.policy import Policy
from evs_server.bridge.reads import failure
from evs_server.bridge.values import EquityValue
from evs_server.clock import Clock

if TYPE_CHECKING:
    # A name of the types alone: at run time one class serves both kinds of channel.
    from evs.v1.evs_pb2_grpc import EquityValuationServiceAsyncStub

log = logging.getLogger(__name__)

CHANNEL_OPTIONS: Final = (
    # Left alone, a channel waits up to two minutes before it tries a server again that has come back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

_Call = grpc.aio.UnaryStreamCall[evs_pb2.SubscribeEquityRequest, evs_pb2.SubscribeEquityResponse]

_FINAL: Final = {
    grpc.StatusCode.NOT_FOUND: CloseCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED: CloseCode.FORBIDDEN,
    grpc.StatusCode.INVALID_ARGUMENT: CloseCode.INTERNAL_ERROR,
    grpc.StatusCode.UNIMPLEMENTED: CloseCode.INTERNAL_ERROR,
}
"""
Ends of a stream that opening it again would only repeat; after any other it is opened again.

UNAUTHENTICATED is of those others: it is the bridge's own token that has ended, never a browser's, and each stream is
opened with a fresh one.
"""


class Reader(Protocol):
    """Who follows an account. Each method returns at once."""

    def deliver(self, value: EquityValue) -> None:
        """Take a value."""
        ...

    def set_stale(self, since_ms: int) -> None:
        """EVS cannot be heard since a unix time in milliseconds."""
        ...

    def set_live(self) -> None:
        """EVS is heard again."""
        ...

    def end(self, code: CloseCode, reason: str) -> None:
        """Nothing more will come."""
        ...


@dataclass(eq=False, slots=True)
class _Feed:
    """One account's stream, and who reads it."""

    account_id: int
    readers: set[Reader] = field(default_factory=set)
    latest: EquityValue | None = None
    stale_since_ms: int | None = None
    attempt_count: int = 0
    heard: bool = False
    task: asyncio.Task[None] | None = None


class Upstream:
    """
    EVS, as the bridge sees it.

    Args:
        stub: The contract's client.
        tasks: Where the streams run; they end when nobody follows them any more, or with the group.
        clock: What dates a loss.
        policy: Deadlines and waits.
    """

    def __init__(
        self,
        stub: "EquityValuationServiceAsyncStub",
        tasks: asyncio.TaskGroup,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._stub = stub
        self._tasks = tasks
        self._clock = clock
        self._policy = policy
        self._feeds: dict[int, _Feed] = {}
        self._stale: set[int] = set()
        self._random = random.Random()  # noqa: S311  jitter, not a secret

    @property
    def stream_count(self) -> int:
        """Accounts that are followed."""
        return len(self._feeds)

    @property
    def stale_count(self) -> int:
        """Accounts whose stream is lost at present."""
        return len(self._stale)

    def follow(self, account_id: int, reader: Reader) -> None:
        """Deliver an account's values to one more reader, the newest known at once."""
        feed = self._feeds.get(account_id)
        if feed is None:
            feed = self._feeds[account_id] = _Feed(account_id)
            feed.task = self._tasks.create_task(self._run(feed), name=f"equity of account {account_id}")
        feed.readers.add(reader)
        if feed.latest is not None:
            reader.deliver(feed.latest)
        if feed.stale_since_ms is not None:
            reader.set_stale(feed.stale_since_ms)

    def unfollow(self, account_id: int, reader: Reader) -> None:
        """Deliver no more to a reader; after the last one the stream is cancelled. Harmless if it does not follow."""
        feed = self._feeds.get(account_id)
        if feed is None:
            return
        feed.readers.discard(reader)
        if not feed.readers:
            del self._feeds[account_id]
            self._stale.discard(account_id)
            if feed.task is not None:
                feed.task.cancel()

    def close(self) -> None:
        """Cancel every stream."""
        for feed in self._feeds.values():
            if feed.task is not None:
                feed.task.cancel()
        self._feeds.clear()
        self._stale.clear()

    # --- one stream ----------------------------------------------------------------------------------------------

    async def _run(self, feed: _Feed) -> None:
        while True:
            feed.heard = False
            call = self._stub.SubscribeEquity(evs_pb2.SubscribeEquityRequest(account_id=feed.account_id))
            try:
                await self._receive(feed, call)
                reason = "it was ended"
            except grpc.aio.AioRpcError as error:
                if error.code() in _FINAL and not (feed.heard and error.code() is grpc.StatusCode.UNAUTHENTICATED):
                    self._finish(feed, error)
                    return
                reason = error.code().name
            except TimeoutError:
                reason = f"silent for {self._policy.silence_s:g} s"
            finally:
                call.cancel()
            self._lose(feed, reason)
            await asyncio.sleep(self._wait_s(feed))

    async def _receive(self, feed: _Feed, call: _Call) -> None:
        while True:
            async with asyncio.timeout(self._policy.silence_s):
                message = await call.read()
            if not isinstance(message, evs_pb2.SubscribeEquityResponse):
                return  # the end of the stream, which EVS never ends without a status
            self._take(feed, codec.decode_update(message))

    def _take(self, feed: _Feed, value: EquityValue | None) -> None:
        feed.attempt_count = 0
        feed.heard = True
        if feed.stale_since_ms is not None:
            feed.stale_since_ms = None
            self._stale.discard(feed.account_id)
            if not self._stale:
                log.info("EVS is heard again")
            for reader in feed.readers:
                reader.set_live()
        if value is None or (feed.latest is not None and value.version <= feed.latest.version):
            return
        feed.latest = value
        for reader in feed.readers:
            reader.deliver(value)

    def _lose(self, feed: _Feed, reason: str) -> None:
        if feed.stale_since_ms is not None:
            return
        if not self._stale:
            # Said once for all streams, which are lost together.
            log.warning("EVS lost: the stream of account %d: %s", feed.account_id, reason)
        self._stale.add(feed.account_id)
        feed.stale_since_ms = self._clock.now_ms()
        for reader in feed.readers:
            reader.set_stale(feed.stale_since_ms)

    def _finish(self, feed: _Feed, error: grpc.aio.AioRpcError) -> None:
        del self._feeds[feed.account_id]
        self._stale.discard(feed.account_id)
        log.info("account %d: stream of EVS refused: %s", feed.account_id, error.code().name)
        told = failure(error, feed.account_id).message
        for reader in tuple(feed.readers):
            reader.end(_FINAL[error.code()], told)

    def _wait_s(self, feed: _Feed) -> float:
        longest: float = min(self._policy.backoff_max_s, self._policy.backoff_min_s * 2 ** min(feed.attempt_count, 16))
        feed.attempt_count += 1
        return self._random.uniform(longest / 2, longest)
