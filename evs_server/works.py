"""
Tasks that belong together: those of one virtual shard, of a worker, of a gateway. Touches the event loop alone.

The first that fails is told to whoever waits for it, and the others are stopped with it. What nobody expected is no
different here: whoever waits decides. A failed assertion is a bug, and ends the process.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from evs_server.errors import LogUnavailable, StoreUnavailable
from evs_server.rpc_status import end_process

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.1
RETRY_SECONDS_MAX: Final = 5.0

T = TypeVar("T")


class Works:
    """Some tasks, until one of them fails or all are stopped."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin one; what it raises is the failure of all."""
        task = asyncio.create_task(_unless_broken(name, work), name=name)
        self._tasks.add(task)
        # One that is cancelled before its first step has not begun with its work, which would be told of as forgotten.
        task.add_done_callback(lambda _: work.close())
        task.add_done_callback(self._ended)
        return task

    def fail(self, error: BaseException) -> None:
        """Have an error be the failure, unless there was one before."""
        if not self._failure.done():
            self._failure.set_result(error)

    @property
    def has_failed(self) -> bool:
        """Whether one of them has."""
        return self._failure.done()

    async def failure(self) -> BaseException:
        """What the first one that fails raises; waits for it."""
        return await asyncio.shield(self._failure)

    async def unless_failed(self, work: Awaitable[object]) -> None:
        """Return once ``work`` has; raises the failure of all if that comes first, and ``work`` is cancelled then."""
        waiting, failing = asyncio.ensure_future(work), asyncio.ensure_future(self.failure())
        futures: set[asyncio.Future[Any]] = {waiting, failing}
        try:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                raise failing.result()
        finally:
            waiting.cancel()
            failing.cancel()

    async def stop(self, seconds: float) -> None:
        """Cancel all, and return once they have ended; those that do not, in time, are told of and left alone."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=seconds)
            for task in stuck:
                log.error("%s does not end; going on without it", task.get_name())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)


async def _unless_broken(name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except AssertionError:
        end_process(name)


async def once_available(attempt: Callable[[], Awaitable[T]]) -> T:
    """What ``attempt`` returns, as soon as the database and the log let it."""
    wait_seconds = RETRY_SECONDS
    while True:
        try:
            return await attempt()
        except (StoreUnavailable, LogUnavailable) as error:
            log.warning("not serving yet: %s; trying again", error.message)
        await asyncio.sleep(wait_seconds * random.uniform(0.5, 1.0))  # noqa: S311 -- jitter, not a secret
        wait_seconds = min(2 * wait_seconds, RETRY_SECONDS_MAX)
