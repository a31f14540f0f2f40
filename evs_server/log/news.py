"""
What shards tell everyone as it happens: plain NATS, kept nowhere.

Telling never waits. What cannot be sent in time is dropped, the oldest first, and counted; who hears sees the gap in
the numbers that news carries, and asks. Invariant: what is heard of one shard is in the order in which it was told.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from nats.aio.msg import Msg

from evs_server.cluster import subjects
from evs_server.errors import LogUnavailable
from evs_server.log.connect import Connection, leave

NEWS_BYTES_MAX: Final = 64 * 2**20
"""What waits to be sent, and on the other side to be heard: a session roll of half a million accounts."""

logger = logging.getLogger(__name__)


class NatsNews:
    """
    Tells and hears news.

    Attributes:
        dropped_count: Messages that were told and never sent.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._told = asyncio.Event()
        self.dropped_count = 0

    def tell(self, shard: int, data: bytes) -> None:
        """As ``News.tell`` has it."""
        if not self._connection.is_up:
            self.dropped_count += 1
            return
        self._waiting.append((subjects.news_of(shard), data))
        self._waiting_bytes += len(data)
        while self._waiting_bytes > NEWS_BYTES_MAX:
            self._take()
            self.dropped_count += 1
        self._told.set()

    def hear(self, heard: Callable[[int, bytes], None]) -> AbstractAsyncContextManager[None]:
        """As ``News.hear`` has it."""
        return self._hearing(heard)

    async def send(self) -> None:
        """Send what is told; a task of whoever opened the log, to be cancelled."""
        while True:
            self._told.clear()
            while self._waiting:
                subject, data = self._take()
                try:
                    await self._connection.publish(subject, data)
                except LogUnavailable:
                    self.dropped_count += 1
            await self._told.wait()

    def _take(self) -> tuple[str, bytes]:
        subject, data = self._waiting.popleft()
        self._waiting_bytes -= len(data)
        return subject, data

    @asynccontextmanager
    async def _hearing(self, heard: Callable[[int, bytes], None]) -> AsyncIterator[None]:
        async def received(message: Msg) -> None:
            heard(subjects.shard_in(message.subject), message.data)

        subscription = await self._connection.subscribe(subjects.NEWS, received, bytes_max=NEWS_BYTES_MAX)
        try:
            yield
        finally:
            await leave(subscription)
