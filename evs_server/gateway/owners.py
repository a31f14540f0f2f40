"""
Questions to whoever owns a shard: asked again while it is on its way, answers as values or as the errors they were.

Lives here: how long to try. Not here: what is asked, and how it travels (``log``). Touches the network by ``Asks``.
"""

import asyncio
from contextlib import suppress
from typing import Final

from evs_server.clock import Clock
from evs_server.cluster.ports import Asks
from evs_server.cluster.statuses import decode_error
from evs_server.errors import NoOwner
from evs_server.gateway.progress import Progress

ASK_SECONDS: Final = 10.0
"""How long one answer may take: a page of history is read from the database."""
MOVING_SECONDS: Final = 3.0
"""How long a caller waits for a shard to get an owner."""
AGAIN_SECONDS: Final = 0.1
TRIES: Final = 3
"""How many owners are asked, one after the other, what takes long; a cluster that is restarted moves a shard twice."""
LOOK_SECONDS: Final = 1.0
"""Between two looks whether whoever is working on such an answer is still the owner."""


class Owners:
    """
    The owners of all shards, whoever they are.

    Args:
        asks: The way to them.
        clock: Says how long one is waited for.
        progress: Knows whose start is the newest: one that wakes after another has taken over is not believed.
    """

    def __init__(self, asks: Asks, clock: Clock, progress: Progress) -> None:
        self._asks = asks
        self._clock = clock
        self._progress = progress

    async def ask(
        self,
        shard: int,
        method: str,
        data: bytes,
        *,
        seconds: float = ASK_SECONDS,
        moving_seconds: float = MOVING_SECONDS,
    ) -> bytes:
        """
        The owner's answer.

        Args:
            method: A method of the contract, or one between gateways and shards.
            data: Its request, serialized.
            seconds: How long one answer may take.
            moving_seconds: How long to try again if nobody answers.

        Raises:
            NoOwner: If nobody owned the shard for that long.
            EvsError: As the owner has it.
        """
        give_up_at = self._clock.monotonic() + moving_seconds
        while True:
            try:
                reply = await self._asks.ask(shard, method, data, seconds)
                if reply.start_number < self._progress[shard].start_number:
                    raise NoOwner(f"shard {shard} was answered for by who has been replaced", shard=shard)
            except NoOwner:
                if self._clock.monotonic() + AGAIN_SECONDS > give_up_at:
                    raise
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if reply.status:
                raise decode_error(reply.status)
            return reply.data

    async def ask_at_length(self, shard: int, method: str, data: bytes, seconds: float) -> bytes:
        """
        The owner's answer to what takes long, and is safe to ask again: whoever takes over meanwhile is asked anew.

        Raises:
            NoOwner: If nobody owned the shard for long enough to answer.
            EvsError: As the owner has it.
        """
        for _ in range(TRIES - 1):
            with suppress(NoOwner, _TakenOver):
                return await self._unless_taken_over(shard, method, data, seconds)
        return await self.ask(shard, method, data, seconds=seconds, moving_seconds=MOVING_SECONDS)

    async def _unless_taken_over(self, shard: int, method: str, data: bytes, seconds: float) -> bytes:
        owner = self._progress[shard].start_number
        asked = asyncio.ensure_future(self.ask(shard, method, data, seconds=seconds, moving_seconds=MOVING_SECONDS))
        try:
            while not asked.done():
                await asyncio.wait([asked], timeout=LOOK_SECONDS)
                # One that was killed tells nobody that it will not answer.
                if not asked.done() and self._progress[shard].start_number > owner:
                    raise _TakenOver
            return asked.result()
        finally:
            asked.cancel()


class _TakenOver(Exception):
    """Who was asked is not the owner any more."""
