"""
The answers of one stream, written while what makes them goes on. Touches the event loop, and gRPC's context.

For gRPC to say that a message is written takes as long as to apply a batch of a thousand events: a stream that waited
for each would take twice the time. One that took long over an answer does wait: a call of somebody else takes several
turns of the loop, and would wait for a batch at each. Invariants: answers are written in order, one at a time; few
wait, so that whoever takes none holds up its own stream; before a stream's end is told, all of its answers are written.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

ANSWERS_MAX: Final = 8
"""Of one stream, made and not being written; the next one is not asked for before there are fewer."""
LONG_SECONDS: Final = 0.001
"""From one answer to the next; behind one that took longer nothing is made before it is written."""


class Answers:
    """
    What one call is answered; to be made within a loop.

    Args:
        context: The call.
        clock: Seconds. Not the loop's, which may stand still for as long as one of its turns lasts.
    """

    def __init__(self, context: Any, clock: Callable[[], float] = time.perf_counter) -> None:
        self._context = context
        self._clock = clock
        self._waiting: deque[Any] = deque()
        self._has_more = asyncio.Event()
        self._is_written = asyncio.Event()
        self._is_whole = self._is_being_written = False
        self._made_at = self._clock()
        self._writing = asyncio.ensure_future(self._write_all())
        self._writing.add_done_callback(lambda _: self._is_written.set())

    async def put(self, answer: Any) -> None:
        """Have an answer written behind those before it; raises why one of them could not be."""
        took_long = self._clock() - self._made_at > LONG_SECONDS
        self._waiting.append(answer)
        self._has_more.set()
        await asyncio.sleep(0)  # its writing begins before what may take a while
        while self._holds_up(took_long) and not self._writing.done():
            self._is_written.clear()
            await self._is_written.wait()
        if self._writing.done():
            self._writing.result()
        self._made_at = self._clock()

    async def finish(self) -> None:
        """Return when all is written; raises why something could not be."""
        self._is_whole = True
        self._has_more.set()
        await self._writing

    def give_up(self) -> None:
        """Write nothing more: nobody asks any more whether it was taken."""
        self._writing.cancel()

    def _holds_up(self, took_long: bool) -> bool:
        if took_long:
            return bool(self._waiting) or self._is_being_written
        return len(self._waiting) >= ANSWERS_MAX

    async def _write_all(self) -> None:
        # Were metadata to go with the first, a stream that ends meanwhile would send them again, and gRPC would refuse
        # its status.
        await self._context.send_initial_metadata(())
        while True:
            while self._waiting:
                self._is_being_written = True
                await self._context.write(self._waiting.popleft())
                self._is_being_written = False
                self._is_written.set()
            if self._is_whole:
                return
            self._has_more.clear()
            await self._has_more.wait()
