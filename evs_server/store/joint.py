"""
Flushes of several slices in one transaction: what a worker's virtual shards have ready is committed at once.

Lives here: whether a flush may be written, its commit, and who commits with whom. Not here: which table gets what
(``commit``), retries (``writer``), what is to blame within a flush (``poison``), the connection (``ownership``).

64 virtual shards hear of the same tick, and each has a flush of it: 64 transactions would be 64 times the work of one,
on the one connection that holds the locks. So the first that is ready waits a little for the others. Each slice is
fenced by itself, and its own number says whether its flush is committed; what another has taken over is left out.

A transaction fails whole. Then its flushes are written one by one, and only who is to blame fails; that one goes alone
until it is committed, so that it holds up nobody twice. A caller that is cancelled takes its flush back, unless that is
being written: a lock is released on the same connection, thus after it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import asyncpg

from evs_server import failpoints
from evs_server.clock import Clock
from evs_server.errors import EvsError, Fenced, StoreUnavailable
from evs_server.model import Flush
from evs_server.store.commit import SliceFlush, write_parts
from evs_server.store.database import TRANSACTION_SECONDS
from evs_server.store.merge import row_count
from evs_server.store.poison import is_poisoned
from evs_server.store.queries import QUERIES

if TYPE_CHECKING:
    from evs_server.store.database import Connection

Writing = Callable[[str, float], "AbstractAsyncContextManager[Connection]"]
"""A transaction in which flushes are committed, given its purpose and its deadline in seconds."""

_ROWS_PER_SECOND_MIN: Final = 5_000
"""A transaction gets a second more for as many rows: the import of a large exchange must end some time, too."""


@dataclass(frozen=True, slots=True)
class Due:
    """
    A flush that is to be committed.

    Attributes:
        shard: Whose slice it is of.
        start_number: Of the start that made it.
        flush: All of it, or nothing.
    """

    shard: int
    start_number: int
    flush: Flush


@dataclass(frozen=True, slots=True)
class JointLimits:
    """
    When a transaction begins, and how large it gets.

    Attributes:
        gather_seconds: How long the first flush that is ready waits for others. Low: durable sooner. High: fewer
            transactions.
        pace_seconds: From the beginning of a transaction to that of the next.
        transaction_rows: Rows after which a transaction takes no further flush; of some 200 bytes each.
    """

    gather_seconds: float = 0.01
    pace_seconds: float = 0.05
    transaction_rows: int = 65_536

    def __post_init__(self) -> None:
        assert 0 <= self.gather_seconds <= self.pace_seconds
        assert self.transaction_rows > 0


@dataclass(frozen=True, slots=True)
class JointStatistics:
    """
    What has been committed together.

    Attributes:
        waiting_count: Flushes that wait for their transaction; of each slice there is one at most.
        transaction_count: Transactions committed ...
        flush_count: ... and the flushes in them.
    """

    waiting_count: int
    transaction_count: int
    flush_count: int


@dataclass(eq=False, slots=True)
class _Waiting:
    """A flush, since when it has been ready (monotonic), its rows, and who waits for it."""

    due: Due
    since: float
    rows: int
    answer: "asyncio.Future[None]"

    def tell(self, error: EvsError | None) -> None:
        """Answer: it is committed, or why not."""
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(error)


class JointCommits:
    """
    Commits flushes of slices that one connection writes, many at once.

    Args:
        writing: Where they are committed; one transaction at a time.
        clock: For the pace.
        limits: When a transaction begins, and how large it gets.
    """

    def __init__(self, writing: Writing, clock: Clock, limits: JointLimits | None = None) -> None:
        self._writing = writing
        self._clock = clock
        self._limits = limits or JointLimits()
        self._waiting: deque[_Waiting] = deque()
        self._under_way: Sequence[_Waiting] = ()
        self._arrival = asyncio.Event()
        self._began_at = float("-inf")
        self._apart: set[int] = set()
        self._has_ended = False
        self._transaction_count = self._flush_count = 0

    async def write(self, due: Due) -> None:
        """
        Commit a flush with whatever else is ready, as ``Store.write``; ``run`` must be running.

        Raises:
            Fenced: If a newer start has taken over.
            StoreUnavailable: If it is not known to be committed; write it again.
        """
        if self._has_ended:
            raise _ended()
        answer = asyncio.get_running_loop().create_future()
        waiting = _Waiting(due, self._clock.monotonic(), row_count(due.flush), answer)
        self._waiting.append(waiting)
        self._arrival.set()
        try:
            await answer
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    async def run(self) -> None:
        """Commit what is ready, until cancelled."""
        try:
            while True:
                await self._gather()
                self._under_way = self._take()
                if self._under_way:
                    await self._commit(self._under_way)
                    self._under_way = ()
        finally:
            self._has_ended = True
            for each in (*self._under_way, *self._waiting):
                each.tell(_ended())

    def statistics(self) -> JointStatistics:
        """What has been committed together, until now."""
        return JointStatistics(len(self._waiting), self._transaction_count, self._flush_count)

    async def _gather(self) -> None:
        """Return when it is time for a transaction."""
        while not self._waiting:
            self._arrival.clear()
            await self._arrival.wait()
        begins_at = max(
            self._waiting[0].since + self._limits.gather_seconds, self._began_at + self._limits.pace_seconds
        )
        await asyncio.sleep(begins_at - self._clock.monotonic())
        self._began_at = self._clock.monotonic()

    def _take(self) -> list[_Waiting]:
        """What is to be committed together, the longest waiting first; at least one, if any waits."""
        taken: list[_Waiting] = []
        rows = 0
        for each in tuple(self._waiting):
            if taken and (each.due.shard in self._apart or rows + each.rows > self._limits.transaction_rows):
                continue
            taken.append(each)
            rows += each.rows
            if each.due.shard in self._apart:
                break
        for each in taken:
            self._waiting.remove(each)
        return taken

    async def _commit(self, taken: Sequence[_Waiting]) -> None:
        if len(taken) == 1:
            await self._commit_alone(taken[0])
            return
        try:
            fences = await commit(self._writing, [each.due for each in taken])
        except StoreUnavailable:
            await self._commit_one_by_one(taken)
            return
        self._note(len(taken))
        for each, fenced in zip(taken, fences, strict=True):
            each.tell(fenced)

    async def _commit_one_by_one(self, taken: Sequence[_Waiting]) -> None:
        error = None
        for each in taken:
            if each.answer.done():
                continue  # nobody waits any more: its virtual shard may be another worker's soon
            if error is None or is_poisoned(error):
                error = await self._commit_alone(each)
            else:
                # Not what was written is to blame, and the rest would only find out the same: its callers try again.
                each.tell(error)

    async def _commit_alone(self, waiting: _Waiting) -> StoreUnavailable | None:
        """Why a flush is not known to be committed, if it is not."""
        shard = waiting.due.shard
        try:
            [fenced] = await commit(self._writing, [waiting.due])
        except StoreUnavailable as error:
            self._apart.add(shard)
            waiting.tell(error)
            return error
        self._apart.discard(shard)
        self._note(1)
        waiting.tell(fenced)
        return None

    def _note(self, flush_count: int) -> None:
        self._transaction_count += 1
        self._flush_count += flush_count


async def commit(writing: Writing, due: Sequence[Due]) -> list[Fenced | None]:
    """
    Commit flushes of different slices in one transaction, each whole, once: what is committed already is left out.

    Returns:
        For each, nothing; or, if a newer start has taken over its slice, that, and nothing of it is written. Whether it
        was committed before that is then not said.

    Raises:
        StoreUnavailable: If they are not known to be committed; write them again.
    """
    seconds = TRANSACTION_SECONDS + sum(row_count(each.flush) for each in due) // _ROWS_PER_SECOND_MIN
    what = f"write flush {due[0].flush.number}" if len(due) == 1 else f"write flushes of {len(due)} virtual shards"
    async with writing(what, seconds) as connection:
        # Fencing is decided first: once a successor writes, a committed flush of this number may be its, not ours.
        engines = await lock_engines(connection, [each.shard for each in due])
        fences = [fence(engines[each.shard], each.start_number) for each in due]
        written = [
            SliceFlush(engines[each.shard], each.flush)
            for each, fenced in zip(due, fences, strict=True)
            if fenced is None and engines[each.shard]["flush_number"] < each.flush.number
        ]
        if not written:
            return fences
        failpoints.hit(failpoints.BEFORE_WRITE)
        await write_parts(connection, written)
        failpoints.hit(failpoints.BEFORE_COMMIT)
    failpoints.hit(failpoints.AFTER_COMMIT)
    return fences


async def lock_engines(connection: "Connection", shards: Sequence[int]) -> dict[int, asyncpg.Record]:
    """
    The rows of ``evs.engine`` of some slices, locked by the connection's transaction.

    By number, as starts lock them, so that nobody waits for somebody who waits for him.
    """
    if len(shards) == 1:
        locked = await connection.fetch(QUERIES["lock_engine"], shards[0])
    else:
        locked = await connection.fetchmany(QUERIES["lock_engine"], [(shard,) for shard in sorted(shards)])
    assert len(locked) == len(shards), "a start puts its slice's row into evs.engine, and nobody deletes it"
    return {engine["shard"]: engine for engine in locked}


def fence(engine: asyncpg.Record, start_number: int) -> Fenced | None:
    """Why a start may not write the slice whose row of ``evs.engine`` this is, if it may not."""
    if engine["start_number"] == start_number:
        return None
    return Fenced(
        f"start {engine['start_number']} has taken over from start {start_number}",
        start_number=engine["start_number"],
        own_start_number=start_number,
    )


def _ended() -> StoreUnavailable:
    return StoreUnavailable("nothing is committed any more: this worker has ended")
