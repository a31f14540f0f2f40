"""
A valuation core: the rooms from an event to its commit and to its readers, wired to each other.

``evs serve`` has one, with all accounts of the exchange; a worker has one for each of its virtual shards. What
differs is what is handed in: the store, who judges what is new of a batch, and who is told of each pass. No rules live
here, and no task is started here: ``works`` says which there are, and whoever made the core watches them.
"""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from evs_server.clock import Clock
from evs_server.config import Settings
from evs_server.engine import Engine, SessionCalendar
from evs_server.errors import Fenced
from evs_server.fanout.hub import Hub
from evs_server.fanout.servicer import FanoutServicer, PositionsServicer
from evs_server.history.pages import Pages
from evs_server.history.servicer import HistoryServicer
from evs_server.ingest.books import Books
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.gate import Gate
from evs_server.ingest.keeping import keeping
from evs_server.ingest.loader import Loader
from evs_server.ingest.sequencer import Sequencing
from evs_server.ingest.servicer import IngestServicer
from evs_server.ingest.settled import Settled
from evs_server.lifecycle import Lifecycle
from evs_server.metrics.traced import Kinds
from evs_server.model import ExchangeImport, Flush, Recovered
from evs_server.performance.leaderboard import Leaderboard
from evs_server.performance.names import Names
from evs_server.performance.returns import Returns
from evs_server.performance.servicer import PerformanceServicer
from evs_server.ports import ValuationSink
from evs_server.store.growth import DisplayNames, PastReader, SessionCloses
from evs_server.store.history import StoredHistory
from evs_server.store.merge import row_count
from evs_server.store.postgres import PostgresStore
from evs_server.store.spool import Spool
from evs_server.store.writer import WriterLimits
from evs_server.telemetry.distribution import ROWS, Distribution


class Servicer(IngestServicer, FanoutServicer, PositionsServicer, HistoryServicer, PerformanceServicer):
    """Every method of the contract; serves once ``attach`` has given it its rooms and the lifecycle says so."""

    _engine: Engine

    def __init__(self, lifecycle: Lifecycle, heartbeat_seconds: float) -> None:
        self._lifecycle = lifecycle
        self._heartbeat_seconds = heartbeat_seconds
        self._wakers = set()
        lifecycle.on_change(self._wake_all)

    def attach(self, gate: Gate, engine: Engine, hub: Hub) -> None:
        """Take the rooms behind the methods."""
        self._gate, self._engine, self._hub, self._accounts = gate, engine, hub, gate
        self._single_door = gate if gate.takes_singly else None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What a core is handed.

    Attributes:
        store: Where it is kept; recovered already.
        sequencer: Judges what is new of a batch, and keeps how far each source is.
        hub: Told of each pass ...
        valuations: ... by way of this, which may tell others, too.
        on_fenced: Told if a newer start has taken over.
        kinds: What makes the rooms that can be followed.
        spool: Where flushes go that cannot wait in memory; absent where the events can be had again.
        from_log: Whether events come from the log, where prices of trades are told apart from them.
        writer_limits: Sizes and times of the writer; absent: the usual ones.
    """

    store: PostgresStore
    sequencer: Sequencing
    hub: Hub
    valuations: ValuationSink
    on_fenced: Callable[[Fenced], None]
    kinds: Kinds
    spool: Spool | None = None
    from_log: bool = False
    writer_limits: WriterLimits | None = None


class Core:
    """
    Accounts from their events to their readers.

    Args:
        settings: What an operator has set.
        clock: Where the time comes from.
        lifecycle: Says whether events are taken.
        given: What it stands in.

    Attributes:
        on_durable: Called with each committed flush; to be added to before anything is taken.
    """

    def __init__(self, settings: Settings, clock: Clock, lifecycle: Lifecycle, given: Surroundings) -> None:
        kinds, store, database = given.kinds, given.store, given.store.database
        self._clock = clock
        self.on_durable: list[Callable[[Flush], None]] = []
        self.hub, self.sequencer, self.flush_rows = given.hub, given.sequencer, Distribution(ROWS)
        self.calendar = SessionCalendar(settings.zone, settings.session_roll)
        self.engine = kinds.engine(self.calendar, stale_after_ms=settings.stale_price_seconds * 1_000, clock=clock)
        self.engine.trades_move_marks = not given.from_log
        self.clearing = Clearing(self.engine, Settled())
        self.writer = kinds.writer(
            store,
            clock,
            on_durable=self._durable,
            on_fenced=given.on_fenced,
            limits=given.writer_limits,
            spool=given.spool,
            sift=store.write_sifted,
        )
        kept = keeping(settings.persist, settings.persist_seconds)
        self.intake = kinds.intake(self.engine, self.sequencer, self.clearing, given.valuations, self.writer, kept)
        self.loader = Loader(self.intake, store, clock)
        self.gate = kinds.gate(lifecycle, self.intake, self.sequencer, self.loader, clock)
        if not given.from_log:
            # What shards do of a batch of the log must be captured between two of them: their ticks do not wait.
            self.gate.announce, self.writer.on_turn = self.writer.announce, self.gate.flush_in_turn
        self.books = Books(self.engine, self.sequencer, self.clearing, self.intake, clock, self.gate.flush_soon)
        self.pages = Pages(StoredHistory(database), self.engine, self.calendar, clock, kept.stored_with)
        self.leaderboard = Leaderboard(self.engine, SessionCloses(database, store.shard), self.calendar, clock)
        self.returns = Returns(self.engine, PastReader(database), self.calendar, clock)
        self._names = Names(DisplayNames(database), clock)

    def restore(self, recovered: Recovered) -> None:
        """Take over what the last process had committed, and what follows from it."""
        self.intake.restore(recovered)
        self.intake.restate(self._clock.now_ms())
        self.pages.mark_durable(recovered.state.meta.version)
        self.loader.look_after_parked()

    def works(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """What has to run for as long as the core does, by name."""
        yield "writer", self.writer.run()
        yield "parked events", self.loader.run()
        yield "leaderboard", self.leaderboard.run()

    async def import_exchange(self, tables: ExchangeImport, seconds: float) -> int:
        """
        Take in the exchange's tables at the first start, and wait until that is committed; ``works`` must run.

        Returns:
            The number of flushes still to be committed when the time was up; wait on with ``writer.drain``.
        """
        self.intake.import_exchange(tables, self._clock.now_ms())
        self.gate.flush_now()
        return await self.writer.drain(seconds)

    def serve_by(self, servicer: Servicer) -> None:
        """Have a servicer answer from this core."""
        servicer.attach(self.gate, self.engine, self.hub)
        servicer.attach_history(self.pages)
        servicer.attach_performance(self.returns, self.leaderboard, self._names)

    def close(self) -> None:
        """Let go of what the writer holds; nothing is offered any more."""
        self.writer.close()

    def _durable(self, flush: Flush) -> None:
        self.gate.mark_durable(flush)
        self.flush_rows.observe(row_count(flush))
        self.pages.mark_durable(flush.state.meta.version)
        self.leaderboard.offer(flush)
        for told in self.on_durable:
            told(flush)
