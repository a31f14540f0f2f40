"""
The log without a server: every promise of ``cluster.ports``, kept within the process of a test.

A list in order, and readers that wait for it to grow. Appends can be withheld from a reader, so that one may be slow.
"""

import asyncio
import fnmatch
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from evs_server.cluster.ports import Entry, Message, Reply
from evs_server.cluster.subjects import whole_journal
from evs_server.errors import LogGap, LogUnavailable, NoOwner, Superseded

CHUNK = 64
"""Entries that a reader is given at once."""


class LogInProcess:
    """
    ``EventLog``, ``News``, ``Asks`` and ``LastValues`` in one.

    Attributes:
        messages: What was put in, in order; the first is at position 1.
        dropped: How many of them are gone.
        held: Subjects whose readers are given nothing for now.
        told: What shards have told, in order.
        last_values: By virtual shard and account.
        away: Whether nothing can be put in or asked.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.dropped = 0
        self.held: set[str] = set()
        self.told: list[tuple[int, bytes]] = []
        self.last_values: dict[int, dict[int, bytes]] = defaultdict(dict)
        self.away = False
        self._grown = asyncio.Condition()
        self._heard: list[Callable[[int, bytes], None]] = []
        self._answered: dict[int, Callable[[str, bytes], Awaitable[Reply]]] = {}

    # --- EventLog ----------------------------------------------------------------------------------------------------

    async def append(self, parts: Sequence[Message], journal: Message, expected: int, batch_id: str) -> int:
        assert batch_id
        self._require_here()
        last = self._last_of(journal.subject)
        if last != expected:
            raise Superseded(last)
        self.messages += [*parts, journal]
        await self.wake()
        return len(self.messages)

    async def last_position(self) -> int:
        self._require_here()
        return len(self.messages)

    async def follow(self, subjects: Sequence[str], after: int) -> AsyncGenerator[Sequence[Entry], None]:
        position = after
        if position < self.dropped:
            raise LogGap(f"the log begins at {self.dropped + 1}, and {position + 1} is next")
        while True:
            async with self._grown:
                while self._is_held(subjects) or not (waiting := self._next(subjects, position)):
                    await self._grown.wait()
            chunk = waiting[:CHUNK]
            yield [
                Entry(at, message.subject, message.data, len(waiting) - index - 1)
                for index, (at, message) in enumerate(chunk)
            ]
            position = chunk[-1][0]

    async def wake(self) -> None:
        """Have readers look again."""
        async with self._grown:
            self._grown.notify_all()

    def _next(self, subjects: Sequence[str], after: int) -> list[tuple[int, Message]]:
        return [
            (at, message)
            for at, message in enumerate(self.messages[after:], after + 1)
            if any(_is_on(message.subject, subject) for subject in subjects)
        ]

    def _is_held(self, subjects: Sequence[str]) -> bool:
        return not self.held.isdisjoint(subjects)

    def _last_of(self, subject: str) -> int:
        journal = whole_journal(subject)
        return max((at for at, message in enumerate(self.messages, 1) if _is_on(message.subject, journal)), default=0)

    def _require_here(self) -> None:
        if self.away:
            raise LogUnavailable("the log is away")

    # --- News, Asks, LastValues --------------------------------------------------------------------------------------

    def tell(self, shard: int, data: bytes) -> None:
        self.told.append((shard, data))
        for heard in self._heard:
            heard(shard, data)

    @asynccontextmanager
    async def hear(self, heard: Callable[[int, bytes], None]) -> AsyncIterator[None]:
        self._heard.append(heard)
        try:
            yield
        finally:
            self._heard.remove(heard)

    async def ask(self, shard: int, method: str, data: bytes, seconds: float) -> Reply:
        if self.away or shard not in self._answered:
            raise NoOwner(f"nobody owns virtual shard {shard}")
        async with asyncio.timeout(seconds):
            return await self._answered[shard](method, data)

    @asynccontextmanager
    async def answer(self, shard: int, answered: Callable[[str, bytes], Awaitable[Reply]]) -> AsyncIterator[None]:
        self._answered[shard] = answered
        try:
            yield
        finally:
            if self._answered.get(shard) is answered:
                del self._answered[shard]

    def keep(self, shard: int, values: Mapping[int, bytes]) -> None:
        self.last_values[shard].update(values)

    async def read(self, shard: int, account_id: int) -> bytes | None:
        self._require_here()
        return self.last_values[shard].get(account_id)


def _is_on(subject: str, wanted: str) -> bool:
    return fnmatch.fnmatchcase(subject, wanted.replace(">", "*"))
