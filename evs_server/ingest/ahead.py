"""
A stream's messages, read ahead, and how a stream waits for one of several things. Touches the event loop alone.

Lives here: waiting and reading. Not here: what a message is, and what becomes of it (``servicer``, ``gateway.stream``).
Invariants: messages come out in the order in which they were sent; few are kept, so that a sender is held up by whoever
does not take them; what reading raises is raised when everything before it has been taken.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Generic, TypeVar

import grpc

from evs_server.errors import EvsError
from evs_server.rpc_status import end_process

T = TypeVar("T")

MESSAGES_MAX: Final = 2
"""Of one stream, read and not taken: one that is there, and one whose coming the loop may yet have to notice."""


class Awake:
    """Wakes one stream when any of its futures is done; ``asyncio.wait`` would do so at ten times the cost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def by(self, future: "asyncio.Future[T]") -> "asyncio.Future[T]":
        """The same future, which from now on wakes."""
        future.add_done_callback(self.wake)
        return future

    def wake(self, _future: object = None) -> None:
        """Be woken."""
        self._event.set()

    async def wait(self) -> None:
        """Return once woken since the last time."""
        await self._event.wait()
        self._event.clear()


class Ahead(Generic[T]):
    """
    The messages of one stream: while one of them is being applied and answered, the next are on their way.

    Args:
        messages: What is sent.
        awake: Woken when one has come, and when there will be no more.
    """

    def __init__(self, messages: AsyncIterator[T], awake: Awake) -> None:
        self._messages = messages
        self._awake = awake
        self._come: deque[T] = deque()
        self._taken = Awake()
        self._reading = awake.by(asyncio.ensure_future(self._read_all()))

    @property
    def is_over(self) -> bool:
        """Whether all has been taken that will ever come; raises why no more could be read, if it is for that."""
        if self._come or not self._reading.done():
            return False
        self._reading.result()
        return True

    def take(self) -> T | None:
        """The next message, or None if it has yet to come."""
        if not self._come:
            return None
        self._taken.wake()
        return self._come.popleft()

    def close(self) -> None:
        """Read nothing more."""
        abandon(self._reading)

    async def _read_all(self) -> None:
        async for message in self._messages:
            self._come.append(message)
            self._awake.wake()
            while len(self._come) >= MESSAGES_MAX:
                await self._taken.wait()


def abandon(task: "asyncio.Future[None]") -> None:
    """End a task that nobody waits for any more."""
    task.cancel()
    task.add_done_callback(_ended)


def _ended(task: "asyncio.Future[None]") -> None:
    try:
        task.result()
    except (asyncio.CancelledError, EvsError, grpc.aio.BaseError):
        return  # the last: of a call that is over
    except AssertionError:
        end_process("a stream")
