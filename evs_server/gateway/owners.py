"""
Questions to whoever owns a shard: asked again while it is on its way, answers as values or as the errors they were.

Lives here: how long to try. Not here: what is asked, and how it travels (``log``). Touches the network by ``Asks``.
"""

import asyncio
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

    async def ask(self, shard: int, method: str, data: bytes, *, moving_seconds: float = MOVING_SECONDS) -> bytes:
        """
        The owner's answer.

        Args:
            method: A method of the contract, or one between gateways and shards.
            data: Its request, serialized.
            moving_seconds: How long to try again if nobody answers.

        Raises:
            NoOwner: If nobody owned the shard for that long.
            EvsError: As the owner has it.
        """
        give_up_at = self._clock.monotonic() + moving_seconds
        while True:
            try:
                reply = await self._asks.ask(shard, method, data, ASK_SECONDS)
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
