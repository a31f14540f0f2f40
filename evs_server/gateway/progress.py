"""
How far each shard is, as its owner tells; and who waits for it. Runs on the event loop, touches nothing else.

A caller waits for shards to apply its batch, so that what it reads next has it. It never waits long: a shard that has
let somebody wait in vain is late, and nobody waits for it again until it has caught up. So one slow shard costs one
caller a second, and all others nothing.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from evs_server.cluster.shards import SHARD_COUNT

WAIT_SECONDS: Final = 1.0
"""How long a caller waits at most for shards that are not late."""


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """
    One shard, as last told.

    Attributes:
        start_number: Its owner's; 0 if nothing was told yet.
        number: Of its last news.
        owner: What its owner calls itself.
        applied: The position in the log up to which it has applied everything.
        committed: The same of what is committed.
        applied_ms: The gateway's clock when the newest batch it applied was taken (unix milliseconds).
        heard_at: When it last told something, by the monotonic clock.
        owned_since: When this owner first did; kept by ``Progress``.
    """

    start_number: int = 0
    number: int = 0
    owner: str = ""
    applied: int = 0
    committed: int = 0
    applied_ms: int = 0
    heard_at: float = 0.0
    owned_since: float = 0.0


@dataclass(slots=True, eq=False)
class _Waiter:
    position: int
    waited_for: set[int]
    done: asyncio.Future[None]


class Progress:
    """
    Progress of every shard, the keeper included.

    Attributes:
        waited_in_vain_count: Callers that were answered before every shard had applied their batch, since the start.
        all_heard: Set once every shard has told something, the keeper included.
    """

    def __init__(self) -> None:
        self._shards = dict.fromkeys(range(SHARD_COUNT + 1), ShardProgress())
        self._late: dict[int, int] = {}
        self._waiters: set[_Waiter] = set()
        self._has_ended = False
        self.waited_in_vain_count = 0
        self.all_heard = asyncio.Event()

    def __getitem__(self, shard: int) -> ShardProgress:
        return self._shards[shard]

    def all(self) -> Mapping[int, ShardProgress]:
        """That of every shard."""
        return self._shards

    @property
    def late(self) -> frozenset[int]:
        """The shards that nobody waits for."""
        return frozenset(self._late)

    def committed_everywhere(self) -> int:
        """The position up to which every shard has committed everything that concerned it when it last told."""
        return min(self._shards[shard].committed for shard in range(SHARD_COUNT))

    def told(self, shard: int, progress: ShardProgress) -> bool:
        """
        Take note of news.

        Returns:
            Whether something may have been missed: another owner than before, or news lost in between.
        """
        before = self._shards[shard]
        if progress.start_number < before.start_number:
            return False
        # An owner that has just taken over may be behind the one before: what was applied once stays so for callers.
        self._shards[shard] = replace(
            progress,
            committed=max(progress.committed, before.committed),
            owned_since=before.owned_since if progress.start_number == before.start_number else progress.heard_at,
        )
        if not before.start_number and all(each.start_number for each in self._shards.values()):
            self.all_heard.set()
        if progress.applied >= self._late.get(shard, 0):
            self._late.pop(shard, None)
        for waiter in tuple(self._waiters):
            if shard in waiter.waited_for and progress.applied >= waiter.position:
                waiter.waited_for.discard(shard)
                if not waiter.waited_for and not waiter.done.done():
                    waiter.done.set_result(None)
        return progress.start_number != before.start_number or progress.number != before.number + 1

    def end(self) -> None:
        """Let nobody wait any more: nothing is heard from now on."""
        self._has_ended = True
        for waiter in self._waiters:
            if not waiter.done.done():
                waiter.done.set_result(None)

    async def reached(self, shards: Iterable[int], position: int) -> frozenset[int]:
        """
        Return once shards have applied a position, or have had their time.

        Returns:
            Those that have not.
        """
        behind = {shard for shard in shards if self._shards[shard].applied < position}
        waited_for = behind - self._late.keys()
        if not waited_for or self._has_ended:
            return frozenset(behind)
        waiter = _Waiter(position, set(waited_for), asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await waiter.done
        except TimeoutError:
            self.waited_in_vain_count += 1
            self._late |= dict.fromkeys(waiter.waited_for, position)
        finally:
            self._waiters.discard(waiter)
        return frozenset(shard for shard in behind if self._shards[shard].applied < position)
