"""
A worker's process, from opening to closing: what is wired to what, in which order it starts and stops. No rules here.

open (database, log) -> join -> take its share -> serve -> stand aside -> give up everything -> close. Nothing listens
but for metrics: events come from the log, and questions by way of it.
"""

import asyncio
import contextlib
import gc
import logging
import os
import platform
from collections.abc import Callable
from functools import partial
from typing import Final, Self, TypeVar
from uuid import uuid4

from evs_server.clock import Clock, SystemClock
from evs_server.cluster.shards import KEEPER
from evs_server.config import Settings
from evs_server.engine import SessionCalendar
from evs_server.errors import ConfigError, Fenced, StoreUnavailable
from evs_server.heap import keep_freed_memory
from evs_server.ingest.tally import Tally
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.log import Log, open_log
from evs_server.metrics.traced import kinds
from evs_server.ports import Books
from evs_server.reconcile.reconciler import Reconciler, Rules
from evs_server.shard.books import UnitedBooks
from evs_server.shard.checks import InTurn
from evs_server.shard.keeper import Keeper, Upkeep
from evs_server.shard.owned import Common, Owned
from evs_server.shard.seen import WorkerCollector, WorkerReadiness
from evs_server.shard.virtual_shard import VirtualShard
from evs_server.shard.worker import Worker
from evs_server.stopping import unless_stopped
from evs_server.store.database import Database
from evs_server.store.derived import RealizedColumns
from evs_server.store.joint import JointCommits
from evs_server.store.journal import claim_log
from evs_server.store.leader import LeaderTimes
from evs_server.store.ledger import LedgerReader
from evs_server.store.migrate import migrate
from evs_server.store.ownership import Ownership
from evs_server.store.partitions import keep_partitions, make_partitions
from evs_server.store.postgres import PostgresStore
from evs_server.store.thinning import keep_thin
from evs_server.telemetry.exposition import Watched, exposed
from evs_server.telemetry.tracing import open_tracing
from evs_server.works import Works, once_available

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 8.0
"""What giving up everything may take at the end; an orderly end takes no longer than that of ``evs serve``."""
REST_SECONDS: Final = 2.0
CANCEL_SECONDS: Final = 1.0

T = TypeVar("T")


class ShardProcess:
    """
    One worker; an async context manager.

    Args:
        settings: What an operator has set.
        clock: Where the time comes from.

    Raises:
        ConfigError: On entering, if there is no log or no database to use.

    Attributes:
        name: What others see of it.
        worker: What it owns; once it is ready.
        metrics_address: Where its numbers are; None if nowhere.
    """

    worker: Worker

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._lifecycle = Lifecycle()
        self._readiness = WorkerReadiness(self._lifecycle, settings.ready_lag_seconds)
        self._collector = WorkerCollector(checks_again=settings.reconcile_seconds > 0)
        self._resources = contextlib.AsyncExitStack()
        self._ready = asyncio.Event()
        self.name = f"evs shard {os.getpid()}.{uuid4().hex[:8]} on {platform.node()}"
        self.metrics_address: str | None = None

    async def __aenter__(self) -> Self:
        self._works = Works()
        if self._settings.database_url is None:
            raise ConfigError("EVS_DATABASE_URL: all workers of a cluster use one PostgreSQL; set its URL")
        async with self._resources:
            watched = Watched(self._collector, self._readiness.reasons)
            self._tracing = await self._resources.enter_async_context(open_tracing(self._settings, "evs-shard"))
            shown = exposed(self._settings, "metrics_listen", watched)
            self.metrics_address = await self._resources.enter_async_context(shown)
            opened = await self._resources.enter_async_context(open_log(self._settings, self.name))
            self._works.start("log", opened.run())
            self._works.start("worker", self._begin(opened, self._settings.database_url.get_secret_value()))
            self._resources = self._resources.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._lifecycle.enter(Phase.STOPPING)
        async with self._resources:
            try:
                await self._give_up()
            finally:
                await self._works.stop(CANCEL_SECONDS)

    async def wait_ready(self) -> None:
        """Return once this worker has its share; raises what ended it before."""
        await self._works.unless_failed(self._ready.wait())

    async def run_until(self, stop: asyncio.Event) -> None:
        """Return once ``stop`` is set; raises what ended the worker before."""
        await self._works.unless_failed(stop.wait())

    # --- starting ------------------------------------------------------------------------------------------------

    async def _begin(self, opened: Log, dsn: str) -> None:
        database = await once_available(lambda: self._open_database(dsn))
        self._resources.push_async_callback(database.close)
        await once_available(lambda: claim_log(database, opened.cluster_id))
        self._ownership = ownership = Ownership(
            dsn,
            name=self.name,
            on_lost=lambda: None,
            on_gone=self._gone,
            times=LeaderTimes(self._settings.takeover_seconds),
        )
        self._resources.push_async_callback(ownership.close)
        await once_available(ownership.join)
        self._works.start("ownership", ownership.keep())
        joint = JointCommits(ownership.transaction, self._clock)
        self._works.start("commits", joint.run())
        realized, ledgers = RealizedColumns(database), LedgerReader(database)
        common = Common(
            settings=self._settings,
            clock=self._clock,
            owner=ownership.name,
            event_log=opened.events,
            news=opened.news,
            asks=opened.asks,
            last_values=opened.last_values,
            ledgers=InTurn(ledgers),
            store=lambda shard: PostgresStore(
                database, shard=shard, writing=ownership.transaction, committing=joint.write
            ),
            began=ownership.began,
            kinds=partial(kinds, self._tracing),
            on_durable=realized.offer,
            tally=Tally(),
        )
        self.worker = worker = Worker(ownership, self._maker(common, database), self._works, self._clock)
        reconciler = Reconciler(UnitedBooks(self._books), ledgers, self._clock, Rules.of(self._settings))
        self._readiness.attach(worker)
        self._collector.attach(worker, reconciler, joint, common.tally)
        self._works.start("realized columns", realized.run())
        self._works.start("reconciliation", reconciler.run())
        self._works.start("balance", worker.run())
        await worker.settled.wait()
        self._lifecycle.enter(Phase.SERVING)
        log.info("%s owns %d virtual shards", self.name, len(worker.running))
        self._ready.set()

    async def _open_database(self, dsn: str) -> Database:
        await migrate(dsn, expects_exchange=True)
        database = await Database.open(dsn)
        try:
            await make_partitions(database, self._clock.now_ms())
        except StoreUnavailable:
            await database.close()
            raise
        return database

    def _maker(self, common: Common, database: Database) -> Callable[[int], Owned]:
        settings, clock = self._settings, self._clock
        starts = SessionCalendar(settings.zone, settings.session_roll).session_starts_ms
        upkeep: Upkeep = {
            "partitions": lambda: keep_partitions(database, clock, settings.retention_days),
            "thinning": lambda: keep_thin(database, clock, settings.thin_after_days, starts),
        }

        def make(shard: int) -> Owned:
            return Keeper(common, upkeep) if shard == KEEPER else VirtualShard(shard, common)

        return make

    def _books(self) -> dict[int, Books]:
        running = self.worker.running.items()
        return {shard: owned.core.books for shard, owned in running if isinstance(owned, VirtualShard)}

    def _gone(self, shard: int) -> None:
        self.worker.lose(shard, Fenced(f"another worker has taken virtual shard {shard}", shard=shard))

    # --- stopping ------------------------------------------------------------------------------------------------

    async def _give_up(self) -> None:
        """Let others plan without this worker, and give up what it owns."""
        if not hasattr(self, "worker"):
            return
        try:
            async with asyncio.timeout(REST_SECONDS):
                await self.worker.rest()
                await self._ownership.stand_aside()
        except (StoreUnavailable, TimeoutError):
            log.warning("PostgreSQL does not answer: what this worker owns is free once it has noticed that it ended")
        await self.worker.stop(DRAIN_SECONDS)


async def run_shard(settings: Settings, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """
    Run a worker until ``stop`` is set; says one line, with ``ready`` and its name, once it has its share.

    Raises:
        EvsError: If it cannot start, or cannot go on.
    """
    async with ShardProcess(settings) as process:
        await unless_stopped(stop, process.wait_ready())
        if not stop.is_set():
            # As of ``evs serve``: the collector leaves alone what a start leaves in memory.
            gc.collect()
            gc.freeze()
            keep_freed_memory()
            say(f"evs shard ready {process.name}")
            await process.run_until(stop)
