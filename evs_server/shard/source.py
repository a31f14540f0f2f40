"""
From the log into a core: one virtual shard's entries, in order, joined into batches, taken one by one. Touches I/O.

Lives here: where reading goes on after a start, when to wait, and until when others wait for us. Not here: how entries
follow each other (``log``), how parts make a batch (``cluster``), what a batch does (``ingest``).

A batch in the log cannot be refused any more. What would have a caller try again later, a full room or tables that
cannot be read, has the source wait and try the same again. A large batch is applied in slices, between which others of
the worker get a turn. Until the last one its position stays where it was, and nothing is captured: a source that is
stopped in the middle leaves the whole batch to the next owner.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from evs_server.cluster.join import Joining
from evs_server.cluster.ports import Entry, EventLog
from evs_server.cluster.subjects import read_by
from evs_server.errors import Overloaded, Recovering
from evs_server.ingest.gate import Gate
from evs_server.ingest.position import LogPosition
from evs_server.ingest.slices import slices
from evs_server.limits import PARKED_EVENTS_MAX
from evs_server.model import Batch
from evs_server.shard.log_clock import LogClock
from evs_server.shard.tell import Teller

log = logging.getLogger(__name__)

TURN_SECONDS: Final = 0.005
"""How long a source keeps the event loop while it has much to catch up with; others wait meanwhile."""
QUIET_SECONDS: Final = 5.0
"""A log that has given nothing for so long has nothing: where nothing has come yet, nothing says so by itself."""
RETRY_SECONDS: Final = 0.2
"""How long it leaves a full room alone."""


class Source:
    """
    Reads the log for one virtual shard.

    Args:
        shard: Which one.
        event_log: The log.
        gate: Takes the batches.
        position: The gate's; says where to begin.
        clock: The core's.
        teller: Told of each batch, and whenever it is time to tell others.

    Attributes:
        pending_count: Entries that it could have and has not taken yet, as of the last it was given.
        applied_ms: When the newest batch applied was taken, by the gateway's clock; 0 if none was.
    """

    def __init__(
        self, shard: int, event_log: EventLog, gate: Gate, position: LogPosition, clock: LogClock, teller: Teller
    ) -> None:
        self._shard = shard
        self._log = event_log
        self._gate = gate
        self._position = position
        self._clock = clock
        self._teller = teller
        self._joining = Joining(shard)
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._heard_at = clock.monotonic()
        self._is_taking = False
        self._turn_began_at = self._heard_at
        self.pending_count = 0
        self.applied_ms = 0

    async def run(self) -> None:
        """
        Take what is in the log, and what comes, until cancelled.

        Raises:
            LogGap: If the log does not have any more what comes next.
        """
        async with aclosing(self._log.follow(read_by(self._shard), self._position.applied)) as chunks:
            async for entries in chunks:
                self._is_taking = True
                await self._take_all(entries)
                self._is_taking, self._heard_at = False, self._clock.monotonic()
                self._teller.tell()
                self._wake()

    async def reached(self, position: int, seconds: float) -> None:
        """
        Return once everything up to a position is applied.

        Args:
            position: Where something is that this shard has to apply.
            seconds: How long to wait at most.

        Raises:
            Recovering: If it is not by then.
        """
        if self._position.applied >= position:
            return
        waiter = (position, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter[1]
        except TimeoutError:
            raise Recovering(
                f"virtual shard {self._shard} has applied the log up to position {self._position.applied}, and not yet"
                f" up to {position}; retry with backoff",
                shard=self._shard,
                applied=self._position.applied,
                position=position,
            ) from None
        finally:
            self._waiters.remove(waiter)

    def note_quiet(self) -> None:
        """Take note that time passes: after a while without anything from the log, the present is reached."""
        is_quiet = self._clock.monotonic() - self._heard_at >= QUIET_SECONDS
        if is_quiet and not (self._is_taking or self.pending_count):
            self._clock.catch_up()

    async def _take_all(self, entries: Sequence[Entry]) -> None:
        self._turn_began_at = self._clock.monotonic()
        for entry in entries:
            self.pending_count = entry.pending
            joined = self._joining.take(entry)
            if joined is not None:
                await self._take(joined.batch, joined.batch_id)
            await self._let_others()
        if not self.pending_count:
            self._clock.catch_up()

    async def _let_others(self) -> None:
        """Give the event loop to others, if they have waited for long enough."""
        if self._clock.monotonic() - self._turn_began_at > TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn_began_at = self._clock.monotonic()

    async def _take(self, batch: Batch, batch_id: str) -> None:
        self._clock.follow(batch.taken_ms)
        for first, part in slices(batch):
            if first:
                await self._let_others()
            await self._take_slice(part, batch_id)
        self.applied_ms = batch.taken_ms

    async def _take_slice(self, batch: Batch, batch_id: str) -> None:
        while True:
            await self._room_for(batch)
            try:
                outcome = await self._gate.take(batch)
                break
            except Overloaded as error:
                log.warning("virtual shard %d waits: %s", self._shard, error.message)
            await asyncio.sleep(RETRY_SECONDS)
        # A batch that stops half way would be applied in part, and its position says all or nothing.
        assert outcome.error is None, f"position {batch.position} of the log was not applied whole: {outcome.error}"
        self._teller.end(batch, batch_id, outcome)

    async def _room_for(self, batch: Batch) -> None:
        """Return once events of unknown accounts could all be parked: nothing else ends a batch early."""
        while self._gate.parked_statistics()["parked_events"] + len(batch) > PARKED_EVENTS_MAX:  # noqa: ASYNC110 -- tables that cannot be read tell nobody when they can
            await asyncio.sleep(RETRY_SECONDS)

    def _wake(self) -> None:
        for position, waiter in self._waiters:
            if position <= self._position.applied and not waiter.done():
                waiter.set_result(None)
