"""
The times of one stream: when it has been quiet for so long that a heartbeat is due, and when its reader is stuck.

Lives here: one timer a stream. To set and cancel one for every message would cost as much as the message does, so this
one rings when something may be due at the earliest, looks, and goes back to sleep. Touches the event loop's clock.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from evs_server.errors import Overloaded
from evs_server.limits import STUCK_READER_SECONDS

Context = grpc.aio.ServicerContext[Any, Any]


class Pulse:
    """
    Sends one stream's messages; an async context manager around all of its life.

    Args:
        heartbeat_seconds: Silence after which ``is_quiet``.
        wake: Called when the stream has become quiet; must return at once.
        on_stuck: Called when its reader is being cut off.

    Raises:
        Overloaded: On leaving, if the reader took no message for ``STUCK_READER_SECONDS``.
    """

    def __init__(
        self, heartbeat_seconds: float, wake: Callable[[], None], on_stuck: Callable[[], None] = lambda: None
    ) -> None:
        self._on_stuck = on_stuck
        self._heartbeat_seconds = heartbeat_seconds
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._said_at = self._loop.time()
        self._writing = False
        self._patience = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._patience.__aenter__()
        self._ring_in(self._heartbeat_seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._patience.__aexit__(kind, error, trace)
        except TimeoutError:
            self._on_stuck()
            raise Overloaded(
                f"the reader took no message for {STUCK_READER_SECONDS} s; subscribe again", bound=STUCK_READER_SECONDS
            ) from None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was said for so long that a heartbeat is due."""
        return self._loop.time() - self._said_at >= self._heartbeat_seconds

    async def write(self, context: Context, message: Any) -> None:
        """Send a message."""
        self._said_at, self._writing = self._loop.time(), True
        await context.write(message)
        self._writing = False

    def _ring(self) -> None:
        silence = self._loop.time() - self._said_at
        bound = STUCK_READER_SECONDS if self._writing else self._heartbeat_seconds
        if silence < bound:
            self._ring_in(bound - silence)
        elif self._writing:
            self._patience.reschedule(self._loop.time())
        else:
            self._wake()
            self._ring_in(self._heartbeat_seconds)

    def _ring_in(self, seconds: float) -> None:
        self._timer = self._loop.call_later(min(seconds, STUCK_READER_SECONDS), self._ring)
