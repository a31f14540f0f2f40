"""
How a process is told to stop: one event, set by the first signal.

Lives here: signals, and waiting for something that a stop may cut short. Not here: what stopping means, which each room
says for itself. Does I/O.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_new_fast_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with contextlib.suppress(ImportError):
    # Not made for Windows; everything works without it, and a call takes a fifth longer.
    import uvloop

    _new_fast_loop = uvloop.new_event_loop


def run_until_signal(body: Callable[[asyncio.Event], Awaitable[T]], *, fast_loop: bool = False) -> T:
    """
    Run ``body`` to its end, with an event that the first SIGTERM or SIGINT sets; a second one ends the process at once.

    Nothing durable is lost by the second: what is stored is whole, and senders keep the rest until it is stored.

    Args:
        body: Takes the event, and returns soon after it is set.
        fast_loop: Whether to run on uvloop, where there is one. Not what accepts sockets by itself: out of files, that
            loop turns callers away, where asyncio's lets them wait.

    Returns:
        What ``body`` returns.
    """

    async def run() -> T:
        stop = asyncio.Event()

        def on_signal(number: int) -> None:
            if stop.is_set():
                os._exit(128 + number)
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
        return await body(stop)

    with asyncio.Runner(loop_factory=_new_fast_loop if fast_loop else None) as runner:
        return runner.run(run())


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """
    The result of ``work``, or None if ``stop`` is set first: ``work`` is then cancelled, and has ended on return.

    Raises:
        Whatever ``work`` raises, also while it is being cancelled.
    """
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        working.cancel()  # does nothing to work that is done
        await asyncio.wait({working, stopping})
    return None if working.cancelled() else working.result()
