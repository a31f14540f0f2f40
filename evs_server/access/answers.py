"""
The answers of one stream, written while what makes them goes on. Touches the event loop, and gRPC's context.

For gRPC to say that a message is written takes as long as to apply a batch of a thousand events: a stream that waited
for each would take twice the time. Invariants: answers are written in order, one at a time; few wait, so that whoever
takes none holds up its own stream, and its memory; before a stream's end is told, all of its answers are written.
"""

import asyncio
from collections import deque
from typing import Any, Final

ANSWERS_MAX: Final = 8
"""Of one stream, made and not written; the next one is not asked for before there are fewer."""


class Answers:
    """
    What one call is answered; to be made within a loop.

    Args:
        context: The call.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._waiting: deque[Any] = deque()
        self._has_more = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_whole = False
        self._writing = asyncio.ensure_future(self._write_all())
        self._writing.add_done_callback(lambda _: self._has_room.set())

    async def put(self, answer: Any) -> None:
        """Have an answer written behind those before it; raises why one of them could not be."""
        self._waiting.append(answer)
        self._has_more.set()
        await asyncio.sleep(0)  # its writing begins before what may take a while
        while len(self._waiting) >= ANSWERS_MAX and not self._writing.done():
            self._has_room.clear()
            await self._has_room.wait()
        if self._writing.done():
            self._writing.result()

    async def finish(self) -> None:
        """Return when all is written; raises why something could not be."""
        self._is_whole = True
        self._has_more.set()
        await self._writing

    def give_up(self) -> None:
        """Write no more: nobody asks any more whether it was taken."""
        self._writing.cancel()

    async def _write_all(self) -> None:
        # Were metadata to go with the first, a stream that ends meanwhile would send them again, and gRPC would refuse
        # its status.
        await self._context.send_initial_metadata(())
        while True:
            while self._waiting:
                await self._context.write(self._waiting[0])
                self._waiting.popleft()
                self._has_room.set()
            if self._is_whole:
                return
            self._has_more.clear()
            await self._has_more.wait()
