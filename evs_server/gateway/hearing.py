"""
What shards tell, taken in: the table of newest snapshots, readers' mailboxes, progress, and what callers are owed.

One piece of news is taken in whole, with nothing awaited: the table has what was valued before anybody who waits for
it goes on. News can be lost. That shows in its numbers, and the shard's newest snapshots are asked for then, as they
are at the beginning, and when a shard has another owner. Touches the network when it asks.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import WeakValueDictionary

import numpy as np

from evs_server.clock import Clock
from evs_server.cluster.codec import (
    decode_latest_response,
    decode_news,
    encode_latest_request,
)
from evs_server.cluster.news import LatestRequest, News, Pass
from evs_server.cluster.shards import SHARD_COUNT
from evs_server.errors import EvsError, OperatingError
from evs_server.gateway.owners import Owners
from evs_server.gateway.progress import Progress, ShardProgress
from evs_server.gateway.table import SnapshotTable
from evs_server.model import VALUATION_COLUMNS, SnapshotColumns, Valuation, table_of
from evs_server.ports import ValuationSink

log = logging.getLogger(__name__)

LATEST: Final = "Latest"
AGAIN_SECONDS: Final = 0.5
"""Between two attempts to ask a shard that has no owner."""


@dataclass(slots=True, weakref_slot=True)
class Told:
    """
    What shards have told of one batch; goes on being told for as long as somebody holds it.

    Attributes:
        accounts_valued: By its ticks; session rolls apart.
        refusals: By place in the batch.
    """

    accounts_valued: int = 0
    refusals: dict[int, EvsError] = field(default_factory=dict)


class Hearing:
    """
    Takes in news.

    Args:
        table: Where the newest snapshots are kept.
        readers: Told of each pass, as far as it is new.
        progress: Told how far shards are.
        owners: Asked for what was missed.
        clock: Says when something was heard.

    Attributes:
        missed_count: How often a shard was asked for all its snapshots, since the start.
    """

    def __init__(
        self, table: SnapshotTable, readers: ValuationSink, progress: Progress, owners: Owners, clock: Clock
    ) -> None:
        self._table = table
        self._readers = readers
        self._progress = progress
        self._owners = owners
        self._clock = clock
        self._told: WeakValueDictionary[str, Told] = WeakValueDictionary()
        self._missing = dict.fromkeys(range(SHARD_COUNT))
        self._reading: set[int] = set()
        self._silent: set[int] = set()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self.complete = asyncio.Event()
        self.missed_count = 0
        self._degraded_since_ms: dict[int, int] = {}

    @property
    def degraded_since_ms(self) -> int | None:
        """Since when some shard has not been getting stored what it applies (unix ms); None if all is well."""
        return min(self._degraded_since_ms.values(), default=None)

    def hear(self, shard: int, data: bytes) -> None:
        """Take in one message."""
        news, before = decode_news(data), self._progress[shard]
        if news.start_number < before.start_number:
            return
        for made in news.passes:
            self._take(made)
        for refusal in news.refusals:
            if (told := self._told.get(refusal.batch_id)) is not None:
                told.refusals[refusal.index] = refusal.error
        self._degraded_since_ms.pop(shard, None)
        if news.degraded_since_ms is not None:
            self._degraded_since_ms[shard] = news.degraded_since_ms
        self._table.session_start_ms = max(self._table.session_start_ms, news.session_start_ms)
        if self._progress.told(shard, self._as_progress(news, before)) and shard < SHARD_COUNT:
            self._missing[shard] = None
            self._wanted.set()

    def told_of(self, batch_id: str) -> Told:
        """What is told of a batch from now on."""
        told = self._told[batch_id] = Told()
        return told

    async def run(self) -> None:
        """Ask for what was missed, until cancelled; sets ``complete`` once every shard has been asked with success."""
        async with asyncio.TaskGroup() as readings:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                # Each by itself: an owner that does not answer holds up nobody else's.
                for shard in self._missing.keys() - self._reading:
                    self._reading.add(shard)
                    readings.create_task(self._read_missing(shard), name=f"newest values of shard {shard}")

    @property
    def missing(self) -> Sequence[int]:
        """The shards whose newest values are still to be asked for."""
        return tuple(self._missing)

    # --- inside ----------------------------------------------------------------------------------------------

    async def _read_missing(self, shard: int) -> None:
        """Ask one shard until it has answered, and again if something was missed meanwhile."""
        while shard in self._missing:
            del self._missing[shard]
            try:
                await self._read_all_of(shard)
            except OperatingError as error:
                self._missing[shard] = None
                self._note_silent(shard, error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self._note_answered(shard)
        self._reading.remove(shard)
        if not self._missing and not self._reading:
            self.complete.set()

    def _note_silent(self, shard: int, error: OperatingError) -> None:
        if not self._silent:
            log.warning("the newest values of shard %d, or of more, are not to be had: %s", shard, error.message)
        self._silent.add(shard)

    def _note_answered(self, shard: int) -> None:
        if shard in self._silent:
            self._silent.remove(shard)
            if not self._silent:
                log.warning("the newest values of all shards are to be had again")

    async def _read_all_of(self, shard: int) -> None:
        self.missed_count += 1
        request = LatestRequest(self._progress[shard].applied)
        while True:
            answer = await self._owners.ask(shard, LATEST, encode_latest_request(request), moving_seconds=0.0)
            response = decode_latest_response(answer)
            self._publish(response.snapshots)
            if not response.more:
                return
            request = replace(request, after_account_id=response.snapshots.account_id.item(-1))

    def _take(self, made: Pass) -> None:
        valuation = made.valuation
        told = self._told.get(made.batch_id)
        if told is not None and not valuation.session_roll:
            told.accounts_valued += len(valuation)
        newer = self._table.put(table_of((valuation,)))
        if newer.any():
            self._readers.publish(valuation.selected(newer))

    def _publish(self, snapshots: SnapshotColumns) -> None:
        """Take in snapshots of several passes; readers get what they have not seen, pass by pass."""
        newer = self._table.put(snapshots)
        for version in np.unique(snapshots.version[newer]).tolist():
            row = np.flatnonzero(newer & (snapshots.version == version))
            columns = np.array([getattr(snapshots, name)[row] for name in VALUATION_COLUMNS])
            tick, timestamp_ms = snapshots.tick.item(row[0]), snapshots.timestamp_ms.item(row[0])
            self._readers.publish(Valuation(version, tick, timestamp_ms, columns))

    def _as_progress(self, news: News, before: ShardProgress) -> ShardProgress:
        return ShardProgress(
            news.start_number,
            news.number,
            news.owner,
            news.applied_position or before.applied,
            news.committed_position or before.committed,
            news.applied_ms,
            self._clock.monotonic(),
        )
