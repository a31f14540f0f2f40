"""
What the writer has yet to write, in order: the batch in flight, then the spool on disk, then what waits in memory.

Lives here: the queue, its bounds, and when it goes to disk. Not here: transactions and retries (``writer``), the files
of the spool (``spool``), what merging and thinning mean (``merge``).

Past its high-water mark what waits in memory goes to the spool, in a thread, while offers go on. The first of an empty
spool is the batch in flight, exactly as it was attempted: should this process end before its outcome is known, the next
one finds either that batch's number in the database, or all that is needed to write it again. Where there is no
spool, or it is full or fails, rows are given up in memory for newer ones of their accounts, and counted; state never
is. A disk that hangs holds up what is behind it, and nobody who offers.

Invariant: numbers ascend without a gap from the batch in flight to the newest in memory.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from evs_server.clock import Clock
from evs_server.model import Flush
from evs_server.store.flush_file import array_bytes
from evs_server.store.merge import coalesce_rows, merge
from evs_server.store.spool import Spool, Spooled

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_MERGED_AT_ONCE_BYTES: Final = 256 * 2**10
"""Flushes of more bytes are merged in a thread, where sorting them holds up nobody."""


@dataclass(frozen=True, slots=True)
class BacklogLimits:
    """
    What waits where.

    Attributes:
        transaction_rows: Rows after which a batch takes no further flush. Low: small delays. High: throughput.
        transaction_bytes: The same of all columns, state included: what a batch from the spool takes in memory.
        queue_rows: High-water mark in memory: past it flushes are spooled, or only each account's newest row is kept.
        spool_bytes: High-water mark from which flushes are spooled ...
        queue_bytes: ... and that beyond which, where they cannot be, they are merged and thinned.
        queue_flushes: Flushes after which those waiting are merged into one, so that state that changes again and again
            is held once.
        spool_retry_seconds: How long a spool that is full or has failed is left alone.
    """

    transaction_rows: int = 65_536
    transaction_bytes: int = 64 * 2**20
    queue_rows: int = 1_000_000
    spool_bytes: int = 32 * 2**20
    queue_bytes: int = 256 * 2**20
    queue_flushes: int = 1_024
    spool_retry_seconds: float = 5.0

    def __post_init__(self) -> None:
        assert 0 < self.transaction_rows <= self.queue_rows
        assert 0 < self.spool_bytes <= self.queue_bytes
        assert self.transaction_bytes > 0
        assert self.queue_flushes > 1


@dataclass(frozen=True, slots=True)
class Batch:
    """
    One flush, or several merged, on its way to the database.

    Attributes:
        flush: To be written.
        first_number: The first of those merged into it.
        rows: Its rows of ``equity_timeseries``.
        size: Bytes of its columns.
        offered_at: When the oldest of it was offered, monotonic ...
        offered_ms: ... and in unix milliseconds.
    """

    flush: Flush
    first_number: int
    rows: int
    size: int
    offered_at: float
    offered_ms: int


@dataclass(frozen=True, slots=True)
class _OnDisk:
    """What is remembered of a flush that is in the spool; fields as in ``Batch``."""

    rows: int
    size: int
    offered_at: float
    offered_ms: int


class Backlog:
    """
    The queue between capture and database.

    Args:
        clock: For ages.
        limits: What waits where.
        spool: Empty, and begun; None if there is none.

    Attributes:
        arrival: Set whenever there may be something to write.
        coalesced_row_count: Rows given up for a newer one of the same account.
        spooled_flush_count: Flushes that went to the spool.
        drained_flush_count: Flushes read back from it.
        spool_failure: What the spool said when it last failed; empty while it works.
    """

    def __init__(self, clock: Clock, limits: BacklogLimits, spool: Spool | None = None) -> None:
        assert spool is None or not spool.flush_count, "an old spool is replayed before anything new is captured"
        self._clock = clock
        self._limits = limits
        self._spool = spool
        self._thread: Final = ThreadPoolExecutor(1, "spool") if spool is not None else None
        self._in_flight: Batch | None = None
        self._in_flight_records = 0  # of the spool; 0 if it came straight from memory and is nowhere else
        self._merging: list[Batch] = []  # they become the batch in flight
        self._on_disk: deque[_OnDisk] = deque()
        self._on_disk_rows = 0
        self._spooling: list[Batch] = []
        self._queue: deque[Batch] = deque()
        self._queue_rows = self._queue_size = 0
        self._rows_after_thinning = self._size_after_thinning = 0
        self._append: asyncio.Future[None] | None = None
        self._spool_rests_until = float("-inf")
        self._broken: BaseException | None = None
        self.arrival: Final = asyncio.Event()
        self.coalesced_row_count = 0
        self.spooled_flush_count = 0
        self.drained_flush_count = 0
        self.spool_failure = ""

    # --- looking -------------------------------------------------------------------------------------------------

    @property
    def flush_count(self) -> int:
        """Flushes not known to be committed, wherever they wait; merged ones count once."""
        in_flight = (self._in_flight is not None) + len(self._merging)
        return in_flight + len(self._on_disk) + len(self._spooling) + len(self._queue)

    @property
    def row_count(self) -> int:
        """Their rows."""
        in_flight = self._in_flight.rows if self._in_flight else sum(each.rows for each in self._merging)
        return in_flight + self._on_disk_rows + sum(each.rows for each in self._spooling) + self._queue_rows

    @property
    def unsafe_flush_count(self) -> int:
        """Those of them that would be lost with this process."""
        in_flight = 0 if self._in_flight_records else (self._in_flight is not None) + len(self._merging)
        return in_flight + len(self._spooling) + len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whether what waits makes a whole batch: waiting for more would make it no larger."""
        limits = self._limits
        return (
            bool(self._on_disk)
            or self._queue_rows >= limits.transaction_rows
            or self._queue_size >= limits.transaction_bytes
        )

    @property
    def has_spool(self) -> bool:
        """Whether there is a spool at all."""
        return self._spool is not None

    @property
    def spool_byte_count(self) -> int:
        """What the spool takes on disk."""
        return self._spool.byte_count if self._spool is not None else 0

    @property
    def spool_flush_count(self) -> int:
        """Flushes in the spool, those in flight included."""
        return len(self._on_disk) + self._in_flight_records

    def oldest(self) -> "Batch | _OnDisk | None":
        """What has waited longest."""
        if self._in_flight is not None:
            return self._in_flight
        waiting: Sequence[Batch | _OnDisk] = self._merging or self._on_disk or self._spooling or self._queue
        return waiting[0] if waiting else None

    # --- in and out ----------------------------------------------------------------------------------------------

    def offer(self, flush: Flush) -> None:
        """Put one flush behind all others; returns at once."""
        rows, size = sum(len(valuation) for valuation in flush.rows), array_bytes(flush)
        self._queue.append(Batch(flush, flush.number, rows, size, self._clock.monotonic(), self._clock.now_ms()))
        self._queue_rows += rows
        self._queue_size += size
        self._relieve()
        self.arrival.set()

    async def next(self) -> Batch | None:
        """
        The oldest flushes as one batch, the same until it is settled; None if there is nothing to write.

        Raises:
            Damaged: If the spool no longer gives what was put into it.
            OSError: The same, in other words: what it held is only in the engine, and with the senders.
        """
        while self._in_flight is None:
            if self._broken is not None:
                raise self._broken
            if self._on_disk:
                self._in_flight = await self._read()
            elif self._append is not None:
                # What goes to disk is older than what is in memory, and must not be overtaken.
                await self._append_ended()
            elif self._queue:
                self._in_flight = await self._take()
            else:
                return None
        return self._in_flight

    async def settle(self) -> None:
        """Forget the batch in flight: it is known to be committed."""
        assert self._in_flight is not None
        if not self._in_flight_records:
            await self._append_ended()  # it may be on its way to the spool right now
        number, record_count = self._in_flight.flush.number, self._in_flight_records
        self._in_flight, self._in_flight_records = None, 0
        if not record_count:
            return
        self.drained_flush_count += record_count
        try:
            await self._on_thread(lambda spool: spool.drop(number))
        except OSError as error:
            # What is committed is passed over by the next start as well: it costs room, nothing else.
            self.spool_failure = str(error)
            logger.exception("the spool keeps what is in the database already")
        if not self._on_disk:
            # No warning, and none when it began: for a moment more may come than can be written. That the database
            # fails, or the disk, is told as such.
            logger.info("the spool is drained: everything up to flush %d is in the database", number)

    async def save(self, seconds: float) -> None:
        """Put everything into the spool, where there is one, that is not in it yet, as far as the time allows."""
        await self._append_ended(seconds)
        if self._spool is not None and self._append is None and self.unsafe_flush_count:
            self._start_append()
            await self._append_ended(seconds)

    def close(self) -> None:
        """Let go of the thread; an append that is under way is finished first."""
        if self._thread is not None:
            self._thread.shutdown()

    # --- inside --------------------------------------------------------------------------------------------------

    def _relieve(self) -> None:
        limits = self._limits
        if self._queue_rows > limits.queue_rows or self._queue_size > limits.spool_bytes:
            if self._may_append():
                self._start_append()
                return
            # Thinned rows may be many by themselves: only once as many again have come is there something to gain.
            if self._queue_rows > max(limits.queue_rows, 2 * self._rows_after_thinning) or self._queue_size > max(
                limits.queue_bytes, 2 * self._size_after_thinning
            ):
                self._merge_queue(coalesce=True)
                return
        if len(self._queue) > limits.queue_flushes:
            self._merge_queue(coalesce=False)

    def _may_append(self) -> bool:
        rested = self._clock.monotonic() >= self._spool_rests_until
        return self._spool is not None and self._append is None and rested

    def _start_append(self) -> None:
        """Begin to move what waits in memory to the spool, behind the batch in flight if that is not there yet."""
        in_flight = self._merging if self._in_flight is None else [self._in_flight]
        self._spooling = list(self._queue)
        self._queue.clear()
        self._queue_rows = self._queue_size = 0
        # Only a batch that came straight from memory is not in the spool, and then nothing else is either.
        first = [] if self._in_flight_records else in_flight
        flushes = [Spooled(batch.first_number, batch.flush) for batch in (*first, *self._spooling)]
        assert self._thread is not None
        assert self._spool is not None
        self._append = asyncio.get_running_loop().run_in_executor(self._thread, self._spool.append, flushes)
        self._append.add_done_callback(lambda append: self._end_append(append, len(flushes)))

    def _end_append(self, append: "asyncio.Future[None]", count: int) -> None:
        error = append.exception()
        if error is None:
            if not self.spool_flush_count:
                logger.info("what the database has yet to take is more than fits in memory: it goes to the spool")
            self._in_flight_records = self._in_flight_records or count - len(self._spooling)
            self._on_disk.extend(
                _OnDisk(batch.rows, batch.size, batch.offered_at, batch.offered_ms) for batch in self._spooling
            )
            self._on_disk_rows += sum(batch.rows for batch in self._spooling)
            self.spooled_flush_count += count
            self.spool_failure = ""
        elif isinstance(error, OSError):
            self._give_back(error)
        else:
            self._broken = error
        self._spooling = []
        self._append = None
        self._relieve()

    def _give_back(self, error: OSError) -> None:
        self._queue.extendleft(reversed(self._spooling))
        self._queue_rows += sum(batch.rows for batch in self._spooling)
        self._queue_size += sum(batch.size for batch in self._spooling)
        self._spool_rests_until = self._clock.monotonic() + self._limits.spool_retry_seconds
        if not self.spool_failure:
            logger.error("the spool takes nothing: %s; in memory only the newest row of each account is kept", error)
        self.spool_failure = str(error)

    async def _read(self) -> Batch:
        """The oldest of the spool, merged."""
        count, rows, size = self._portion(self._on_disk)
        oldest = self._on_disk[0]
        spooled = await self._on_thread(lambda spool: _merged(spool.read(count)))
        for _ in range(count):
            self._on_disk.popleft()
        self._on_disk_rows -= rows
        self._in_flight_records = count
        return Batch(spooled.flush, spooled.first_number, rows, size, oldest.offered_at, oldest.offered_ms)

    async def _take(self) -> Batch:
        """The oldest in memory, merged."""
        count, rows, size = self._portion(self._queue)
        batches = self._merging = [self._queue.popleft() for _ in range(count)]
        self._queue_rows -= rows
        self._queue_size -= size
        flushes = [batch.flush for batch in batches]
        if count == 1 or size <= _MERGED_AT_ONCE_BYTES:
            merged = merge(flushes)
        else:
            merged = await asyncio.get_running_loop().run_in_executor(None, merge, flushes)
        self._merging = []
        return replace(batches[0], flush=merged, rows=rows, size=size)

    def _portion(self, waiting: Iterable[Batch | _OnDisk]) -> tuple[int, int, int]:
        """How many of the oldest make one batch, their rows and bytes: as the bounds allow, and at least one."""
        count = rows = size = 0
        for each in waiting:
            beyond = (
                rows + each.rows > self._limits.transaction_rows or size + each.size > self._limits.transaction_bytes
            )
            if count and beyond:
                break
            count, rows, size = count + 1, rows + each.rows, size + each.size
        return count, rows, size

    def _merge_queue(self, *, coalesce: bool) -> None:
        merged = merge([waiting.flush for waiting in self._queue])
        if coalesce:
            kept, dropped_count = coalesce_rows(merged.rows)
            merged = replace(merged, rows=kept)
            self._queue_rows -= dropped_count
            self.coalesced_row_count += dropped_count
            logger.warning(
                "the database is behind: %d rows are given up for newer ones of their accounts", dropped_count
            )
        self._queue_size = array_bytes(merged)
        if coalesce:
            self._rows_after_thinning, self._size_after_thinning = self._queue_rows, self._queue_size
        oldest = self._queue[0]
        self._queue.clear()
        self._queue.append(replace(oldest, flush=merged, rows=self._queue_rows, size=self._queue_size))

    async def _append_ended(self, seconds: float | None = None) -> None:
        if self._append is not None:
            await asyncio.wait({self._append}, timeout=seconds)

    async def _on_thread(self, work: Callable[[Spool], _T]) -> _T:
        assert self._spool is not None
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._spool)


def _merged(spooled: list[Spooled]) -> Spooled:
    return Spooled(spooled[0].first_number, merge([each.flush for each in spooled]))
