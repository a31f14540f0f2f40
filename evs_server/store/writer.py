"""
Takes flushes as they are captured and commits them, behind everyone's back: the only caller of ``Store.write``.

Lives here: attempts, when to try again, and what is said about it. Not here: what waits where (``backlog``), SQL, what
a flush is made of, and which row of it is to blame (``poison``). Does no I/O of its own.

A batch that was tried is tried again exactly as it was until it is known to be committed: its outcome may be unknown,
and only its own number, found or not found in the database, can tell. What comes meanwhile waits behind it, in memory
and, past a mark, in the spool. A batch that fails because of what is in it is sifted: the rows that the database
refuses are set aside, and the rest is committed, as the one flush it was.

The first flush after a quiet time is written at once; while they keep coming, transactions begin at a pace, and each
takes all that has come by then: a transaction costs the event loop, and the machine, as much as some calls do. Where
they take long, they begin less often, within a bound: the machine, or the database, has others to serve. What was only
announced is captured when the turn of a transaction has come, once for all that has changed since the one before.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from evs_server.clock import Clock
from evs_server.errors import Fenced, StoreUnavailable
from evs_server.model import Flush
from evs_server.ports import Store
from evs_server.store.backlog import Backlog, BacklogLimits, Batch
from evs_server.store.merge import row_count
from evs_server.store.poison import Sift, is_poisoned
from evs_server.store.spool import Spool

logger = logging.getLogger(__name__)

_SIFTING_FACTOR: Final = 4
"""A flush that is sifted is written about twice, in ever smaller parts."""
_SAVING_SHARE: Final = 0.4
"""Of the deadline of a drain, what the spool gets in the end."""


@dataclass(frozen=True, slots=True)
class WriterLimits(BacklogLimits):
    """
    Sizes and times of the writer, besides those of its backlog.

    Attributes:
        attempt_seconds: Deadline of one attempt ...
        rows_per_second_min: ... plus what its rows take a database that is only just fast enough.
        pace_seconds: From the beginning of a transaction to that of the next, unless that is full or somebody drains.
            Low: durable sooner. High: fewer transactions. 0: each begins as soon as the one before it is committed.
        pace_factor: Where so many times what the last transaction took is longer, that is the pace ...
        pace_seconds_max: ... up to this.
        backoff_seconds: Longest wait before the first retry; doubles with each.
        backoff_seconds_max: Where doubling ends.
        late_ms: Age of the oldest flush from which the database counts as not keeping up, though no write has failed.
    """

    attempt_seconds: float = 60.0
    rows_per_second_min: int = 2_500
    pace_seconds: float = 0.01
    pace_factor: float = 6.0
    pace_seconds_max: float = 0.05
    backoff_seconds: float = 0.1
    backoff_seconds_max: float = 5.0
    late_ms: int = 10_000

    def __post_init__(self) -> None:
        BacklogLimits.__post_init__(self)
        assert 0 < self.backoff_seconds <= self.backoff_seconds_max
        assert self.attempt_seconds > 0
        assert self.pace_seconds >= 0
        assert self.pace_seconds_max >= 0


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """
    What the writer has done and has yet to do.

    Attributes:
        waiting_flush_count: Flushes offered and not known to be committed; merged ones count once.
        waiting_row_count: Their rows.
        oldest_age_ms: How long the oldest of them has waited; 0 if none.
        committed_flush_number: The last one known to be committed by this process; 0 if none.
        committed_row_count: Rows committed by this process.
        commit_count: Transactions committed.
        failure_count: Attempts that failed, or whose outcome is unknown.
        coalesced_row_count: Rows given up for a newer one of the same account.
        last_failure: What the last failed attempt said, or empty.
        set_aside_row_count: Rows that the database refused, kept in ``evs.set_aside``.
        spool_flush_count: Flushes in the spool now.
        spool_byte_count: Bytes of the spool's files now.
        spooled_flush_count: Flushes that ever went to the spool.
        drained_flush_count: Those of them that have reached the database.
        spool_failure: Why the spool takes nothing, or empty.
    """

    waiting_flush_count: int = 0
    waiting_row_count: int = 0
    oldest_age_ms: int = 0
    committed_flush_number: int = 0
    committed_row_count: int = 0
    commit_count: int = 0
    failure_count: int = 0
    coalesced_row_count: int = 0
    last_failure: str = ""
    set_aside_row_count: int = 0
    spool_flush_count: int = 0
    spool_byte_count: int = 0
    spooled_flush_count: int = 0
    drained_flush_count: int = 0
    spool_failure: str = ""


class Writer:
    """
    A ``ports.FlushSink`` that stores what it is offered, as soon as the database lets it.

    Args:
        store: Where to.
        clock: For ages and for ``degraded_since_ms``.
        on_durable: Told of each committed flush, several merged into one as the one they became; must return at once.
        on_fenced: Told once if a newer start has taken over; the writer has then stopped for good.
        limits: Sizes and times.
        random: Source of the jitter.
        spool: Where to put what cannot wait in memory: empty, and begun. Without one, rows are given up sooner.
        sift: How to write a flush that the database refuses because of what is in it; without, it is tried as it is.

    Attributes:
        on_turn: Called when a transaction that was announced is about to take what waits: to offer what has yet to be
            captured, once for all that has changed since the one before.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        on_durable: Callable[[Flush], None],
        on_fenced: Callable[[Fenced], None],
        limits: WriterLimits | None = None,
        random: Random | None = None,
        spool: Spool | None = None,
        sift: Sift | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_durable = on_durable
        self._on_fenced = on_fenced
        self._limits = limits or WriterLimits()
        self._random = random or Random()  # noqa: S311 -- jitter, not a secret
        self._sift = sift
        self._backlog = Backlog(clock, self._limits, spool)
        self._settled = asyncio.Event()
        self._settled.set()
        self._hurry = asyncio.Event()
        self.on_turn: Callable[[], None] = lambda: None
        self._announced = False
        self._draining = False
        self._began_at = float("-inf")
        self._took_seconds = 0.0
        self._stopped = False
        self._poisoned = False
        self._failing_since_ms: int | None = None
        self._statistics = WriterStatistics()

    @property
    def degraded_since_ms(self) -> int | None:
        """Since when flushes have not been reaching the database (unix ms), or None if all is well."""
        if self._failing_since_ms is not None:
            return self._failing_since_ms
        oldest = self._backlog.oldest()
        if oldest is not None and self._age_ms(oldest.offered_at) > self._limits.late_ms:
            return oldest.offered_ms
        return None

    def announce(self) -> None:
        """Have ``on_turn`` called when the time of the next transaction has come, for it to take what is offered."""
        self._announced = True
        self._backlog.arrival.set()
        if not self._stopped:
            self._settled.clear()

    def offer(self, flush: Flush) -> None:
        """Queue one flush; past the high-water mark it goes to the spool, or rows are given up for newer ones."""
        self._backlog.offer(flush)
        if self._backlog.is_full:
            self._hurry.set()
        if not self._stopped:
            self._settled.clear()

    async def run(self) -> None:
        """
        Write until cancelled, or until a newer start has taken over; one task of ``app`` runs this.

        Raises:
            OSError: If the spool no longer gives what was put into it: only a new start, and what senders send again,
                can fill the gap.
            Damaged: The same.
        """
        try:
            while True:
                await self._backlog.arrival.wait()
                await self._write_waiting()
        except Fenced as fenced:
            logger.critical("%s; this process writes no more", fenced.message)
            self._on_fenced(fenced)
        finally:
            self._stopped = True
            self._settled.set()

    async def drain(self, deadline_seconds: float) -> int:
        """
        The number of flushes that could not be committed in time; ``run`` must be running, and nothing be offered.

        With a spool, those are in it when this returns, but for what the log says: the next start writes them.

        Args:
            deadline_seconds: How long to wait for the last commit, and for the spool after that.
        """
        saving_seconds = deadline_seconds * _SAVING_SHARE if self._backlog.has_spool else 0.0
        if self._failing_since_ms is not None:
            await self._backlog.save(saving_seconds)  # at once: whoever stops us may lose patience
        try:
            async with asyncio.timeout(deadline_seconds - saving_seconds):
                await self._settle()
        except TimeoutError:
            await self._backlog.save(saving_seconds)
            logger.error(
                "%d flushes could not be written within %s s: %s; %d of them are not in the spool either",
                self._backlog.flush_count,
                deadline_seconds,
                self._statistics.last_failure or "the database is slow",
                self._backlog.unsafe_flush_count,
            )
        return self._backlog.flush_count

    def close(self) -> None:
        """Let go of the spool's thread; what it is doing is finished first. The spool itself is its opener's."""
        self._backlog.close()

    def statistics(self) -> WriterStatistics:
        """What the writer has done and has yet to do, now."""
        backlog, oldest = self._backlog, self._backlog.oldest()
        return replace(
            self._statistics,
            waiting_flush_count=backlog.flush_count,
            waiting_row_count=backlog.row_count,
            oldest_age_ms=self._age_ms(oldest.offered_at) if oldest else 0,
            coalesced_row_count=backlog.coalesced_row_count,
            spool_flush_count=backlog.spool_flush_count,
            spool_byte_count=backlog.spool_byte_count,
            spooled_flush_count=backlog.spooled_flush_count,
            drained_flush_count=backlog.drained_flush_count,
            spool_failure=backlog.spool_failure,
        )

    async def _settle(self) -> None:
        """Return when nothing waits; what does is not held back meanwhile."""
        self._draining = True
        self._hurry.set()
        try:
            await self._settled.wait()
        finally:
            self._draining = False

    async def _write_waiting(self) -> None:
        attempt = 0
        while (batch := await self._next(again=attempt > 0)) is not None:
            if await self._attempt(batch.flush):
                self._took_seconds = self._clock.monotonic() - self._began_at
                self._commit_known(batch)
                await self._backlog.settle()
                attempt = 0
            else:
                attempt += 1
                await asyncio.sleep(self._backoff_seconds(attempt))
        self._backlog.arrival.clear()
        self._settled.set()

    async def _next(self, *, again: bool) -> Batch | None:
        """The batch to write: the one that failed, or, when its time has come, all that waits by then."""
        if not again and (self._announced or self._backlog.flush_count):
            await self._keep_pace()
            self._began_at = self._clock.monotonic()
            if self._announced:
                self._announced = False
                self.on_turn()
        return await self._backlog.next()

    async def _keep_pace(self) -> None:
        seconds = self._began_at + self._pace_seconds() - self._clock.monotonic()
        self._hurry.clear()
        if seconds <= 0 or self._draining or self._backlog.is_full:
            return
        alarm = asyncio.get_running_loop().call_later(seconds, self._hurry.set)
        try:
            await self._hurry.wait()
        finally:
            alarm.cancel()

    def _pace_seconds(self) -> float:
        limits = self._limits
        if not limits.pace_seconds:
            return 0.0
        return max(limits.pace_seconds, min(limits.pace_factor * self._took_seconds, limits.pace_seconds_max))

    async def _attempt(self, flush: Flush) -> bool:
        """Whether the flush is known to be committed."""
        started_ms = self._clock.now_ms()
        deadline_seconds = self._deadline_seconds(flush)
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._write(flush)
        except (StoreUnavailable, TimeoutError) as error:
            reason = str(error) or f"flush {flush.number} was not written within {deadline_seconds} s"
            self._poisoned = self._sift is not None and isinstance(error, StoreUnavailable) and is_poisoned(error)
            if self._failing_since_ms is None:
                self._failing_since_ms = started_ms
                logger.warning("%s; trying again until it is", reason)
            self._statistics = replace(
                self._statistics, failure_count=self._statistics.failure_count + 1, last_failure=reason
            )
            return False
        return True

    async def _write(self, flush: Flush) -> None:
        if not self._poisoned or self._sift is None:
            await self._store.write(flush)
            return
        set_aside_count = len(await self._sift(flush))
        self._poisoned = False
        self._statistics = replace(
            self._statistics, set_aside_row_count=self._statistics.set_aside_row_count + set_aside_count
        )

    def _commit_known(self, written: Batch) -> None:
        if self._failing_since_ms is not None:
            age_ms = self._age_ms(written.offered_at)
            logger.warning("flush %d is written; it took %d ms", written.flush.number, age_ms)
        self._failing_since_ms = None
        self._statistics = replace(
            self._statistics,
            committed_flush_number=written.flush.number,
            committed_row_count=self._statistics.committed_row_count + written.rows,
            commit_count=self._statistics.commit_count + 1,
        )
        self._on_durable(written.flush)

    def _deadline_seconds(self, flush: Flush) -> float:
        seconds = self._limits.attempt_seconds + row_count(flush) / self._limits.rows_per_second_min
        return seconds * _SIFTING_FACTOR if self._poisoned else seconds

    def _backoff_seconds(self, attempt: int) -> float:
        doubled = self._limits.backoff_seconds * 2.0 ** min(attempt - 1, 32)
        return min(doubled, self._limits.backoff_seconds_max) * self._random.uniform(0.5, 1.0)

    def _age_ms(self, offered_at: float) -> int:
        return int(1_000 * (self._clock.monotonic() - offered_at))
