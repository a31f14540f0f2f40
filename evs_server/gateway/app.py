"""
A gateway, from opening to closing: what is wired to what, and in which order it starts and stops. No rules live here.

open (log, database, listener) -> read the journal -> hear every shard -> serve -> stop. It keeps nothing: what it knows
is in the log, in the database and with the shards, and another one knows the same.
"""

import asyncio
import contextlib
import gc
import logging
import platform
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Self
from uuid import uuid4

from evs.v1 import admin_pb2_grpc, evs_pb2_grpc

from evs_server.access.servers import check, serving
from evs_server.clock import Clock, SystemClock
from evs_server.config import Settings
from evs_server.engine import SessionCalendar
from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.fanout.hub import Hub
from evs_server.gateway.accounts import Accounts
from evs_server.gateway.admin import GatewayAdminServicer
from evs_server.gateway.checks import Checks
from evs_server.gateway.hearing import Hearing
from evs_server.gateway.journal import Journal
from evs_server.gateway.owners import Owners
from evs_server.gateway.progress import Progress
from evs_server.gateway.seen import GatewayCollector, GatewayReadiness
from evs_server.gateway.servicer import GatewayServicer
from evs_server.gateway.table import SnapshotTable
from evs_server.gateway.traced import carried, inlet_kind
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.log import Log, open_log
from evs_server.log.connect import CLOSE_SECONDS as LOG_SECONDS
from evs_server.metrics.health import TELL_SECONDS, Health
from evs_server.performance.leaderboard import Leaderboard
from evs_server.performance.names import Names
from evs_server.stopping import unless_stopped
from evs_server.store.database import CLOSE_SECONDS as DATABASE_SECONDS
from evs_server.store.database import Database
from evs_server.store.growth import DisplayNames, SessionCloses
from evs_server.store.journal import KeptJournal, claim_log, read_journal
from evs_server.telemetry.exposition import Watched, check_exposed, exposed
from evs_server.telemetry.tracing import LAST_EXPORT_SECONDS, check_tracing, open_tracing
from evs_server.works import Works, once_available

log = logging.getLogger(__name__)

END_SECONDS: Final = 12.0
"""How long an orderly end may take, all parts one after the other (FAULTS F2)."""
GRACE_SECONDS: Final = 2.0
STOP_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 0.5
HEALTH_SECONDS: Final = 1.0

_PARTS_SECONDS: Final = (
    TELL_SECONDS, STOP_SECONDS, DATABASE_SECONDS, GRACE_SECONDS, LOG_SECONDS, LAST_EXPORT_SECONDS
)  # fmt: skip
assert sum(_PARTS_SECONDS) < END_SECONDS, "whoever ends a gateway waits for so long, and kills it then"


class Gateway:
    """
    One gateway; an async context manager.

    Args:
        settings: What an operator has set.
        clock: Where the time comes from.

    Raises:
        ConfigError: On entering, if there is no log or no database to use, or an address cannot be had.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._lifecycle = Lifecycle()
        self._servicer = GatewayServicer(self._lifecycle, settings.heartbeat_seconds)
        self.progress = Progress()
        self._journal = Journal()
        self._admin = GatewayAdminServicer(self._lifecycle, self.progress, self._journal, self._clock)
        self._table = SnapshotTable()
        self._readiness = GatewayReadiness(self._lifecycle, self.progress, self._clock)
        self._health = Health(self._readiness)
        self._collector = GatewayCollector(self.progress, self._journal, self._table)
        self._ready = asyncio.Event()
        self._resources = contextlib.AsyncExitStack()
        self._name = f"gateway/{platform.node()}/{uuid4().hex[:12]}"
        self.address = ""
        self.metrics_address: str | None = None

    async def __aenter__(self) -> Self:
        check(self._settings, self._clock)
        check_exposed(self._settings, "metrics_listen")
        check_tracing(self._settings)
        if self._settings.database_url is None:
            raise ConfigError("EVS_DATABASE_URL: a gateway uses the PostgreSQL that its shards do; set its URL")
        dsn = self._settings.database_url.get_secret_value()
        self._works = Works()
        async with self._resources:
            self._tracing = await self._resources.enter_async_context(open_tracing(self._settings, "evs-gateway"))
            opened = await self._resources.enter_async_context(
                open_log(self._settings, self._name, carried(self._tracing))
            )
            await self._resources.enter_async_context(self._listening())
            self._works.start("log", opened.run())
            self._works.start("gateway", self._begin(opened, dsn))
            self._resources = self._resources.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._lifecycle.enter(Phase.STOPPING)
        async with self._resources:
            await self._health.tell()
            await self._works.stop(STOP_SECONDS)

    async def wait_ready(self) -> None:
        """Return once calls are served; raises what ended the gateway before."""
        await self._works.unless_failed(self._ready.wait())

    async def run_until(self, stop: asyncio.Event) -> None:
        """Return once ``stop`` is set; raises what ended the gateway before."""
        await self._works.unless_failed(stop.wait())

    # --- starting ------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        await self._health.tell()
        settings, clock = self._settings, self._clock
        watched = Watched(self._collector, self._readiness.reasons)
        async with (
            exposed(settings, "metrics_listen", watched) as self.metrics_address,
            serving(settings, clock, self._add_methods, grace_seconds=GRACE_SECONDS, tracing=self._tracing) as places,
        ):
            self.address = places[0]
            yield

    def _add_methods(self, server: Any) -> None:
        evs_pb2_grpc.add_EquityValuationServiceServicer_to_server(self._servicer, server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self._admin, server)
        self._health.add_to(server)

    async def _begin(self, opened: Log, dsn: str) -> None:
        # While the database is away, callers are told so, and the gateway can be stopped.
        database = await once_available(lambda: Database.open(dsn))
        self._resources.push_async_callback(database.close)
        hub, owners = Hub(), Owners(opened.asks, self._clock, self.progress)
        accounts = Accounts(self._table, owners)
        hearing = Hearing(self._table, hub, self.progress, owners, self._clock)
        inlet = inlet_kind(self._tracing)(
            self._name, self._lifecycle, opened.events, self._journal, accounts, hearing, self.progress, self._clock
        )
        self._collector.attach(hearing, hub, inlet)
        self._servicer.attach(inlet, self._table, hub, accounts, owners)
        calendar = SessionCalendar(self._settings.zone, self._settings.session_roll)
        self._admin.attach(Checks(owners, self._settings.reconcile_cents_max))
        leaderboard = Leaderboard(self._table, SessionCloses(database), calendar, self._clock)
        self._servicer.attach_ranking(leaderboard, Names(DisplayNames(database), self._clock))

        def hear(shard: int, data: bytes) -> None:
            hearing.hear(shard, data)
            inlet.settle()
            leaderboard.note_session(self._table.session_start_ms)

        kept = await self._kept_journal(database)
        await once_available(lambda: claim_log(database, opened.cluster_id))
        self._journal.restore(kept.watermarks, kept.kept_position, kept.lowest_position)
        async with opened.news.hear(hear):
            self._works.start("journal", inlet.follow())
            self._works.start("signs of life", inlet.tell_of_life())
            self._works.start("newest values", hearing.run())
            self._works.start("leaderboard", leaderboard.run())
            await inlet.followed_to(await once_available(opened.events.last_position))
            await hearing.complete.wait()
            await self.progress.all_heard.wait()
            self._lifecycle.enter(Phase.SERVING)
            log.info("serving %d accounts of %d shards", self._table.account_count, len(self.progress.all()) - 1)
            self._ready.set()
            await self._look_after()

    async def _kept_journal(self, database: Database) -> KeptJournal:
        """What there is of the journal, once every slice has begun."""
        told = False
        while True:
            try:
                kept = await read_journal(database)
            except StoreUnavailable as error:
                log.warning("not serving yet: %s; trying again", error.message)
            else:
                if kept.is_whole:
                    return kept
                if not told:
                    log.info("not serving yet: %d slices have begun, shards are importing the rest", kept.slice_count)
                told = True
            await asyncio.sleep(AGAIN_SECONDS)

    async def _look_after(self) -> None:
        reasons: list[str] = []
        while self._lifecycle.phase is Phase.SERVING:
            before, reasons = reasons, self._readiness.reasons()
            if reasons and not before:
                log.critical("this gateway is not ready any more: %s", "; ".join(reasons))
            elif before and not reasons:
                log.warning("this gateway is ready again")
            await self._health.tell()
            await asyncio.sleep(HEALTH_SECONDS)


async def run_gateway(settings: Settings, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """
    Run a gateway until ``stop`` is set; says one line, with ``ready`` and its address, once calls are served.

    Raises:
        EvsError: If it cannot start, or cannot go on.
    """
    async with Gateway(settings) as gateway:
        await unless_stopped(stop, gateway.wait_ready())
        if not stop.is_set():
            # As of ``evs serve``. An end is done sooner for it, too, by what it takes to look through everything.
            gc.collect()
            gc.freeze()
            say(f"evs gateway ready {gateway.address}")
            await gateway.run_until(stop)
