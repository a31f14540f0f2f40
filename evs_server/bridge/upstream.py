"""
The bridge's stream from EVS: one for all the accounts that browsers follow, however many browsers follow one.

Lives here: opening, reading, losing and reopening it, and what it is to follow. Not here: who may follow what
(``session``), reads (``reads``), protobuf fields (``codec``). A lost stream is opened again after a wait that grows,
with jitter, so that a restarted EVS is not met by every bridge at once.

Invariants: readers get versions in ascending order, each at most once; the stream has a watchdog, and is cancelled
explicitly (a call merely dropped keeps memory and a stream of the server's).
"""

import asyncio
import logging
import random
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import grpc
import grpc.aio
from evs.v1 import evs_pb2

from evs_server.bridge import codec
from evs_server.bridge.frames import CloseCode
from evs_server.bridge.framing import Change
from evs_server.bridge.policy import Policy
from evs_server.bridge.reads import failure
from evs_server.bridge.values import EquityValue
from evs_server.clock import Clock
from evs_server.errors import UnknownAccount
from evs_server.limits import WATCH_CHANGES_MAX

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

_FINAL: Final = {
    grpc.StatusCode.PERMISSION_DENIED: CloseCode.FORBIDDEN,
    grpc.StatusCode.INVALID_ARGUMENT: CloseCode.INTERNAL_ERROR,
    grpc.StatusCode.UNIMPLEMENTED: CloseCode.INTERNAL_ERROR,
}
"""
Ends of the stream that opening it again would only repeat; after any other it is opened again.

UNAUTHENTICATED is of those others: it is the bridge's own token that has ended, never a browser's, and the stream is
opened with a fresh one.
"""


class Reader(Protocol):
    """Who follows an account. Each method returns at once."""

    def deliver(self, change: Change) -> None:
        """Take a value, which others may be given, too."""
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
    """One account, who reads it, and what was last said of it."""

    readers: set[Reader] = field(default_factory=set)
    latest: EquityValue | None = None
    stale: bool = False


class Upstream:
    """
    EVS, as the bridge sees it.

    Args:
        stub: The contract's client.
        tasks: Where the stream runs; it ends when nobody follows any account, or with the group.
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
        self._lost_since_ms: int | None = None
        self._attempt_count = 0
        self._task: asyncio.Task[None] | None = None
        # What the open stream has yet to be told: accounts whose wanted state it does not know.
        self._untold: dict[int, None] = {}
        self._changed = asyncio.Event()
        self._random = random.Random()  # noqa: S311  jitter, not a secret

    @property
    def stream_count(self) -> int:
        """Accounts that are followed."""
        return len(self._feeds)

    @property
    def stale_count(self) -> int:
        """Accounts of which nothing is heard at present."""
        return sum(feed.stale for feed in self._feeds.values())

    def follow(self, account_id: int, reader: Reader) -> None:
        """Deliver an account's values to one more reader, the newest known at once."""
        feed = self._feeds.get(account_id)
        if feed is None:
            feed = self._feeds[account_id] = _Feed(stale=self._lost_since_ms is not None)
            self._tell(account_id)
            if self._task is None:
                self._task = self._tasks.create_task(self._run(), name="equity of accounts")
        feed.readers.add(reader)
        if feed.latest is not None:
            reader.deliver(Change(feed.latest))
        if feed.stale and self._lost_since_ms is not None:
            reader.set_stale(self._lost_since_ms)

    def unfollow(self, account_id: int, reader: Reader) -> None:
        """Deliver no more to a reader; after the last one its account is let go. Harmless if it does not follow."""
        feed = self._feeds.get(account_id)
        if feed is None:
            return
        feed.readers.discard(reader)
        if not feed.readers:
            del self._feeds[account_id]
            self._tell(account_id)
            if not self._feeds:
                self._stop()

    def close(self) -> None:
        """Cancel the stream."""
        self._feeds.clear()
        self._stop()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task, self._lost_since_ms, self._attempt_count = None, None, 0

    def _tell(self, account_id: int) -> None:
        # Put last, so that an account that comes back is told once, and as it then is.
        self._untold.pop(account_id, None)
        self._untold[account_id] = None
        self._changed.set()

    # --- the stream ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._untold = dict.fromkeys(self._feeds)
            self._changed.set()
            call = self._stub.WatchEquity()
            try:
                async with asyncio.TaskGroup() as both:
                    writing = both.create_task(self._write(call))
                    await self._read(call)
                    writing.cancel()
                reason = "it was ended"
            except* grpc.aio.AioRpcError as errors:
                [error, *_] = errors.exceptions
                assert isinstance(error, grpc.aio.AioRpcError)
                if error.code() in _FINAL:
                    self._finish(error)
                reason = error.code().name
            except* TimeoutError:
                reason = f"silent for {self._policy.silence_s:g} s"
            finally:
                call.cancel()
            if self._task is not asyncio.current_task():
                return
            self._lose(reason)
            await asyncio.sleep(self._wait_s())

    async def _write(self, call: Any) -> None:
        while True:
            await self._changed.wait()
            told = [*self._untold][: WATCH_CHANGES_MAX // 2]
            for account_id in told:
                del self._untold[account_id]
            if not self._untold:
                self._changed.clear()
            # An account is removed even if it is wanted: one that has come back begins anew with its current value.
            wanted = [account_id for account_id in told if account_id in self._feeds]
            try:
                await call.write(evs_pb2.WatchEquityRequest(add=wanted, remove=told))
            except asyncio.InvalidStateError:
                return  # the stream is over, and whoever reads it is about to say why

    async def _read(self, call: Any) -> None:
        async with _Watchdog(self._policy.silence_s) as watchdog:
            await self._take_all(call, watchdog)

    async def _take_all(self, call: Any, watchdog: "_Watchdog") -> None:
        while True:
            message = await call.read()
            watchdog.hear()
            if not isinstance(message, evs_pb2.WatchEquityResponse):
                return  # the end of the stream, which EVS never ends without a status
            self._attempt_count = 0
            if self._lost_since_ms is not None:
                self._lost_since_ms = None
                log.info("EVS is heard again")
            for update in message.updates:
                self._take(update)
            for account_id in message.refused_account_ids:
                self._refuse(account_id)

    def _take(self, update: evs_pb2.SubscribeEquityResponse) -> None:
        feed = self._feeds.get(update.equity.account_id)
        if feed is None:
            return
        if feed.stale:
            feed.stale = False
            for reader in feed.readers:
                reader.set_live()
        if feed.latest is not None and update.version <= feed.latest.version:
            return
        value = codec.decode_update(update)
        if value is not None:
            feed.latest = value
            change = Change(value)
            for reader in feed.readers:
                reader.deliver(change)

    def _refuse(self, account_id: int) -> None:
        feed = self._feeds.pop(account_id, None)
        if feed is not None:
            log.info("account %d: refused by EVS", account_id)
            for reader in tuple(feed.readers):
                reader.end(CloseCode.NOT_FOUND, UnknownAccount(account_id).message)

    def _lose(self, reason: str) -> None:
        if self._lost_since_ms is None:
            log.warning("EVS lost: %s", reason)
            self._lost_since_ms = self._clock.now_ms()
        for feed in self._feeds.values():
            if not feed.stale:
                feed.stale = True
                for reader in feed.readers:
                    reader.set_stale(self._lost_since_ms)

    def _finish(self, error: grpc.aio.AioRpcError) -> None:
        log.warning("EVS refuses to be watched: %s", error.code().name)
        feeds, self._feeds = self._feeds, {}
        self._task, self._lost_since_ms, self._attempt_count = None, None, 0
        for account_id, feed in feeds.items():
            told = failure(error, account_id).message
            for reader in tuple(feed.readers):
                reader.end(_FINAL[error.code()], told)

    def _wait_s(self) -> float:
        longest: float = min(
            self._policy.backoff_max_s,
            self._policy.backoff_min_s * 2 ** min(self._attempt_count, 16),
        )
        self._attempt_count += 1
        return self._random.uniform(longest / 2, longest)


class _Watchdog:
    """
    Ends a block, with ``TimeoutError``, in which nothing is heard for so long; an async context manager.

    It has one timer, which looks when it rings: to set and cancel one for each message costs as much as reading it.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._patience = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._patience.__aenter__()
        self.hear()
        self._timer = self._loop.call_later(self._silence_s, self._ring)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._patience.__aexit__(kind, error, trace)

    def hear(self) -> None:
        """Take note that something was heard."""
        self._heard_at = self._loop.time()

    def _ring(self) -> None:
        left_s = self._heard_at + self._silence_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._ring)
        else:
            self._patience.reschedule(self._loop.time())
