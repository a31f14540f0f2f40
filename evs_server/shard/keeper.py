"""
The journal keeper: the one virtual shard without accounts, which commits how far each source is. Touches I/O.

It reads the journal as the others read events, and commits what it has folded with its own position. A gateway that
starts reads that, and the journal from there on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Final

from evs_server.cluster import codec
from evs_server.cluster.codec import decode_journal
from evs_server.cluster.news import News
from evs_server.cluster.shards import KEEPER
from evs_server.cluster.subjects import SOURCES
from evs_server.limits import FLUSH_DELAY_MS
from evs_server.model import (
    AccountColumns,
    EngineMeta,
    EngineState,
    Flush,
    MarkColumns,
    PositionColumns,
    SettlementColumns,
    UnannouncedColumns,
)
from evs_server.shard.journal import FoldedJournal
from evs_server.shard.owned import WRITER_LIMITS, Common, ShardStatistics
from evs_server.shard.tell import ALIVE_SECONDS
from evs_server.works import Works

CANCEL_SECONDS: Final = 1.0

_NO_STATE: Final = EngineState(EngineMeta(), AccountColumns.empty(), PositionColumns.empty(), MarkColumns.empty())


Upkeep = Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
"""What has to be done by one worker only, by name: it is done where the keeper is."""


class Keeper:
    """
    A ``shard.owned.Owned`` without accounts.

    Args:
        common: What it shares with the others of its worker.
        upkeep: What else to do as long as it is here.
    """

    def __init__(self, common: Common, upkeep: Upkeep) -> None:
        self._common = common
        self._upkeep = upkeep
        self._journal = FoldedJournal()
        self._works = Works()
        self._moved = asyncio.Event()
        self._flush_number = self._start_number = self._told_count = self._event_count = 0
        self._pending_count = 0
        self._source_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """As of ``Owned``."""
        common = self._common
        store = common.store(KEEPER)
        recovered = await store.recover()
        common.began(KEEPER, recovered.start_number)
        self._journal.restore(recovered.watermarks)
        self._flush_number, self._start_number = recovered.flush_number, recovered.start_number
        self._writer = common.kinds().writer(
            store, common.clock, on_durable=self._durable, on_fenced=self._works.fail, limits=WRITER_LIMITS
        )
        self._works.start("writer of the journal keeper", self._writer.run())
        self._source_task = self._works.start("journal keeper", self._follow())
        self._works.start("flushes of the journal keeper", self._flush_moved())
        if not recovered.imported:
            # Whoever waits for all to have begun waits for this one, too.
            self._flush(even_if_nothing=True)
        self._works.start("news of the journal keeper", self._keep_telling())
        for name, work in self._upkeep.items():
            self._works.start(name, work())

    async def failure(self) -> BaseException:
        """As of ``Owned``."""
        return await self._works.failure()

    def fail(self, error: BaseException) -> None:
        """As of ``Owned``."""
        self._works.fail(error)

    async def stop(self, seconds: float) -> int:
        """As of ``Owned``."""
        if self._source_task is not None:
            self._source_task.cancel()
            await asyncio.wait([self._source_task], timeout=CANCEL_SECONDS)
        self._flush()
        left = await self._writer.drain(seconds)
        self._tell()
        return left

    async def drop(self) -> None:
        """As of ``Owned``."""
        await self._works.stop(CANCEL_SECONDS)
        if hasattr(self, "_writer"):
            self._writer.close()

    def statistics(self) -> ShardStatistics:
        """As of ``Owned``."""
        journal = self._journal
        return ShardStatistics(
            applied=journal.applied,
            committed=journal.committed,
            pending_count=self._pending_count,
            lag_seconds=0.0,
            oldest_age_ms=self._writer.statistics().oldest_age_ms,
            degraded=self._writer.degraded_since_ms is not None,
        )

    async def _follow(self) -> None:
        async with aclosing(self._common.event_log.follow((SOURCES,), self._journal.applied)) as chunks:
            async for entries in chunks:
                for entry in entries:
                    self._pending_count = entry.pending
                    told = decode_journal(entry.data)
                    self._journal.fold(entry.position, told)
                    self._event_count += len(told.digest)
                self._moved.set()
                await asyncio.sleep(0)

    async def _flush_moved(self) -> None:
        while True:
            await self._moved.wait()
            await asyncio.sleep(FLUSH_DELAY_MS / 1_000)
            self._moved.clear()
            self._flush()
            self._tell()

    async def _keep_telling(self) -> None:
        while True:
            self._tell()
            await asyncio.sleep(ALIVE_SECONDS)

    def _flush(self, *, even_if_nothing: bool = False) -> None:
        watermarks = self._journal.capture()
        if watermarks or even_if_nothing:
            self._flush_number += 1
            flush = Flush(
                self._flush_number,
                self._event_count,
                _NO_STATE,
                (),
                watermarks,
                SettlementColumns.empty(),
                UnannouncedColumns.empty(),
                UnannouncedColumns.empty(),
            )
            self._event_count = 0
            self._writer.offer(flush)

    def _durable(self, flush: Flush) -> None:
        self._journal.mark_durable(flush.watermarks)
        self._common.on_durable(flush)
        self._tell()

    def _tell(self) -> None:
        self._told_count += 1
        news = News(
            KEEPER,
            self._start_number,
            self._told_count,
            self._common.owner,
            self._journal.applied,
            self._journal.committed,
            applied_ms=0,
        )
        self._common.news.tell(KEEPER, codec.encode_news(news))
