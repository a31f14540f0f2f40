"""
The composition root: what is wired to what, and in which order it starts and stops.

open (database, listener) -> lead -> recover (state, or the first import) -> serve -> drain -> close. Every long-lived
task is made here, and watched: one that ends by itself, with an error nobody expected, ends the process. No rules live
here.
"""

import asyncio
import contextlib
import gc
import logging
import platform
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Self, TypeVar

from evs.v1 import admin_pb2_grpc, evs_pb2_grpc

from evs_server.access.servers import check, serving
from evs_server.clock import Clock, SystemClock
from evs_server.config import Settings
from evs_server.core import Core, Servicer, Surroundings
from evs_server.engine import SessionCalendar
from evs_server.errors import EvsError, Fenced
from evs_server.fanout.hub import Hub
from evs_server.heap import keep_freed_memory
from evs_server.ingest.books import Books
from evs_server.ingest.gate import Gate
from evs_server.ingest.sequencer import Sequencer
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.metrics.collector import EvsCollector, Rooms
from evs_server.metrics.health import Health
from evs_server.metrics.readiness import Readiness
from evs_server.metrics.traced import kinds
from evs_server.model import ExchangeImport, Recovered
from evs_server.reconcile.recompute import Recompute
from evs_server.reconcile.reconciler import Reconciler, Rules
from evs_server.reconcile.servicer import AdminServicer
from evs_server.rpc_status import end_process
from evs_server.stopping import unless_stopped
from evs_server.store.database import Database
from evs_server.store.derived import RealizedColumns
from evs_server.store.embedded import EmbeddedPostgres, embedded_postgres
from evs_server.store.leader import Leadership, LeaderTimes
from evs_server.store.ledger import LedgerReader
from evs_server.store.migrate import migrate
from evs_server.store.partitions import keep_partitions, make_partitions
from evs_server.store.postgres import PostgresStore
from evs_server.store.spool import Spool
from evs_server.store.spool_replay import recover_with_spools
from evs_server.store.thinning import keep_thin
from evs_server.telemetry.exposition import Watched, check_exposed, exposed
from evs_server.telemetry.tracing import check_tracing, open_tracing
from evs_server.works import once_available

log = logging.getLogger(__name__)

STOP_SECONDS = 12.0
"""How long an orderly end may take, all parts together (FAULTS F2); none is left of a part that takes its own time."""
GRACE_SECONDS = 2.0
IMPORT_SECONDS = 120.0
DRAIN_SECONDS = 6.0
CANCEL_SECONDS = 1.0
ROLL_CHECK_SECONDS = 1.0

T = TypeVar("T")


class Application:
    """
    One EVS, from opening to closing; an async context manager.

    Args:
        settings: What an operator has set.
        clock: Where the time comes from.

    Raises:
        ConfigError: On entering, if the database or an address cannot be used.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._lifecycle = Lifecycle()
        self._servicer = Servicer(self._lifecycle, settings.heartbeat_seconds)
        self._admin = AdminServicer(self._lifecycle)
        self._readiness = Readiness(self._lifecycle, settings.ready_lag_seconds)
        self._health = Health(self._readiness)
        self._collector = EvsCollector(settings, self._lifecycle)
        self._ready = asyncio.Event()
        self._failure: asyncio.Future[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._resources = contextlib.AsyncExitStack()
        self._stop_at = 0.0
        self._core: Core | None = None
        self.address = ""
        self.metrics_address: str | None = None

    async def __aenter__(self) -> Self:
        self._failure = asyncio.get_running_loop().create_future()
        # Before a database is made for settings that cannot be served.
        check(self._settings, self._clock)
        check_exposed(self._settings, "metrics_listen")
        check_tracing(self._settings)
        async with self._resources:
            # The embedded server is a child process, and gRPC's threads do not survive a fork: it comes first.
            dsn = await self._open_database()
            await self._resources.enter_async_context(self._listening())
            self._watch("recovery", self._recover_and_serve(dsn))
            self._resources = self._resources.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._resources:
            await self._drain()

    async def wait_ready(self) -> None:
        """Return once ingest is served; raises what ended the process before."""
        await self._first_of(self._ready.wait())

    async def run_until(self, stop: asyncio.Event) -> None:
        """Return once ``stop`` is set; raises what ended the process before."""
        await self._first_of(stop.wait())

    # --- starting ------------------------------------------------------------------------------------------------

    async def _open_database(self) -> str:
        embedded = embedded_postgres(self._settings)
        if embedded is None:
            assert self._settings.database_url is not None
            return self._settings.database_url.get_secret_value()
        self._resources.push_async_callback(self._stop_embedded, embedded)
        dsn = await embedded.start()
        # Before it is stopped, lest it be started again.
        self._resources.callback(self._watch("embedded PostgreSQL", embedded.keep_running()).cancel)
        return dsn

    async def _stop_embedded(self, embedded: EmbeddedPostgres) -> None:
        await embedded.stop(self._stop_at - asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        await self._health.tell()
        settings, clock = self._settings, self._clock
        watched = Watched(self._collector, self._readiness.reasons)
        async with (
            open_tracing(settings) as self._tracing,
            exposed(settings, "metrics_listen", watched) as self.metrics_address,
            serving(settings, clock, self._add_methods, grace_seconds=GRACE_SECONDS, tracing=self._tracing) as places,
        ):
            self.address = places[0]
            yield

    def _add_methods(self, server: Any) -> None:
        evs_pb2_grpc.add_EquityValuationServiceServicer_to_server(self._servicer, server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self._admin, server)
        self._health.add_to(server)

    async def _recover_and_serve(self, dsn: str) -> None:
        leadership = await self._lead(dsn)
        store, spool, recovered, tables = await once_available(lambda: self._open_store(dsn))
        self._resources.callback(spool.close)
        self._resources.push_async_callback(store.close)
        leadership.began(recovered.start_number)
        realized = RealizedColumns(store.database)
        hub = Hub()
        core = Core(
            self._settings,
            self._clock,
            self._lifecycle,
            Surroundings(store, Sequencer(), hub, hub, self._fail, kinds(self._tracing), spool),
        )
        self._resources.callback(core.close)
        core.on_durable.append(realized.offer)
        core.restore(recovered)
        core.serve_by(self._servicer)
        for name, work in core.works():
            self._watch(name, work)
        self._watch("realized columns", realized.run())
        self._look_after_months(store.database, core.calendar)
        self._core = core
        if tables is not None:
            waiting = await core.import_exchange(tables, IMPORT_SECONDS)
            while waiting:
                if self._has_failed:
                    return
                log.warning("the first import is not committed yet; EVS serves once it is")
                waiting = await core.writer.drain(IMPORT_SECONDS)
        if self._lifecycle.phase is Phase.STOPPING:
            return
        reconciler = self._reconcile(core.books, store)
        self._collector.attach(
            Rooms(core.engine, core.sequencer, core.gate, core.loader, hub, core.writer, core.flush_rows, reconciler)
        )
        self._readiness.attach(core.engine, core.writer)
        self._lifecycle.enter(Phase.SERVING)
        await self._health.tell()
        log.info("serving %d accounts, %d positions", core.engine.account_count, core.engine.position_count)
        self._ready.set()
        await self._look_after(core.gate)

    async def _look_after(self, gate: Gate) -> None:
        """Roll sessions, and tell the health, for as long as EVS serves."""
        reasons: list[str] = []
        while self._lifecycle.phase is Phase.SERVING:
            gate.roll_if_due()
            before, reasons = reasons, self._readiness.reasons()
            if reasons and not before:
                log.critical("EVS is not ready any more: %s", "; ".join(reasons))
            elif before and not reasons:
                log.warning("EVS is ready again")
            await self._health.tell()
            await asyncio.sleep(ROLL_CHECK_SECONDS)

    async def _lead(self, dsn: str) -> Leadership:
        """The lead among all EVS on this database, once it is ours; it is watched from then on, and given up last."""
        leadership = Leadership(
            dsn,
            name=f"evs {self.address} on {platform.node()}",
            clock=self._clock,
            on_following=self._lifecycle.follow,
            times=LeaderTimes(self._settings.takeover_seconds),
        )
        self._resources.push_async_callback(leadership.close)
        await once_available(leadership.acquire)
        self._lifecycle.enter(Phase.RECOVERING)
        self._watch("leadership", leadership.keep())
        return leadership

    def _look_after_months(self, database: Database, calendar: SessionCalendar) -> None:
        settings, starts = self._settings, calendar.session_starts_ms
        self._watch("partitions", keep_partitions(database, self._clock, settings.retention_days))
        self._watch("thinning", keep_thin(database, self._clock, settings.thin_after_days, starts))

    def _reconcile(self, books: Books, store: PostgresStore) -> Reconciler:
        ledgers, rules = LedgerReader(store.database), Rules.of(self._settings)
        reconciler = Reconciler(books, ledgers, self._clock, rules)
        self._admin.attach(reconciler, Recompute(books, ledgers, rules.grace_seconds))
        self._watch("reconciliation", reconciler.run())
        return reconciler

    async def _open_store(self, dsn: str) -> tuple[PostgresStore, Spool, Recovered, ExchangeImport | None]:
        """The store and what it holds."""
        await migrate(dsn, expects_exchange=self._settings.database_url is not None)
        async with contextlib.AsyncExitStack() as undo:
            store = await PostgresStore.open(dsn)
            undo.push_async_callback(store.close)
            await make_partitions(store.database, self._clock.now_ms())
            folder, bytes_max = self._settings.data_dir / "spool", self._settings.spool_bytes
            recovered, spool = await recover_with_spools(store, folder, bytes_max)
            undo.callback(spool.close)
            tables = None if recovered.imported else await store.read_exchange()
            undo.pop_all()
        return store, spool, recovered, tables

    # --- stopping ------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """No more events in; what was applied goes to the database, as long as the deadline allows."""
        self._stop_at = asyncio.get_running_loop().time() + STOP_SECONDS
        self._lifecycle.enter(Phase.STOPPING)
        await self._health.tell()
        if self._core is not None:
            self._core.gate.flush_now()
            await self._core.writer.drain(DRAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
        _, stuck = await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)
        for task in stuck:
            log.error("%s does not end; going on without it", task.get_name())

    # --- watching ------------------------------------------------------------------------------------------------

    def _watch(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._watched(name, work), name=name)
        # One that is cancelled before its first step has not begun with its work, which would be told of as forgotten.
        task.add_done_callback(lambda _: work.close())
        self._tasks.append(task)
        return task

    async def _watched(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except AssertionError:
            end_process(name)
        except EvsError as error:
            self._fail(error)
        except Exception as error:
            log.critical("%s failed; ending the process", name, exc_info=True)
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        assert self._failure is not None
        if not self._failure.done():
            self._failure.set_exception(error)
            # Whether or not somebody waits for it, it has been told.
            self._failure.exception()
        if isinstance(error, Fenced):
            self._lifecycle.enter(Phase.STOPPING)

    @property
    def _has_failed(self) -> bool:
        return self._failure is not None and self._failure.done()

    async def _first_of(self, work: Coroutine[Any, Any, object]) -> None:
        assert self._failure is not None, "the application is entered first"
        waiting: asyncio.Future[Any] = asyncio.ensure_future(work)
        try:
            await asyncio.wait({waiting, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                await self._failure
        finally:
            waiting.cancel()


async def run_application(settings: Settings, stop: asyncio.Event, say: Callable[[str], None]) -> None:
    """
    Run EVS until ``stop`` is set; says one line, with ``ready`` and its address, once ingest is served.

    Raises:
        EvsError: If it cannot start, or cannot go on.
    """
    async with Application(settings) as application:
        await unless_stopped(stop, application.wait_ready())
        if not stop.is_set():
            # Next to nothing of what a start leaves in memory becomes garbage. To look through it takes 0.1 s at a
            # million positions, in which nobody is answered: the collector leaves it alone from now on.
            gc.collect()
            gc.freeze()
            keep_freed_memory()
            say(f"evs ready {application.address}")
            await application.run_until(stop)
