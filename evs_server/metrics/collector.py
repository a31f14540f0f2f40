"""
All numbers of EVS, read from its rooms at the moment somebody looks. Runs on the event loop, between two events.

Nothing is kept here: rooms count what they do in plain integers, and this names them. Before the state has been read
there are no rooms, and only what the process says of itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from evs_server.config import Settings
from evs_server.fanout.hub import Hub
from evs_server.ingest.gate import Gate
from evs_server.ingest.loader import Loader
from evs_server.ingest.sequencer import Sequencing
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.metrics.measured import MeasuredEngine
from evs_server.metrics.shared import build, calls, events, fanout, reconciliation
from evs_server.reconcile.reconciler import Reconciler
from evs_server.store.writer import Writer
from evs_server.telemetry.distribution import Distribution
from evs_server.telemetry.families import counter, counters, gauge, gauges, histogram


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of an EVS that has read its state, each with counts of its own."""

    engine: MeasuredEngine
    sequencer: Sequencing
    gate: Gate
    loader: Loader
    hub: Hub
    writer: Writer
    flush_rows: Distribution
    reconciler: Reconciler


class EvsCollector(Collector):
    """
    What ``/metrics`` of EVS shows.

    Args:
        settings: Has the bounds.
        lifecycle: Says which phase the process is in.
    """

    def __init__(self, settings: Settings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._rooms: Rooms | None = None

    def attach(self, rooms: Rooms) -> None:
        """Take the rooms, once they are there."""
        self._rooms = rooms

    def collect(self) -> Iterator[Metric]:
        """The numbers of now."""
        yield from _process(self._settings, self._lifecycle)
        if self._rooms is not None:
            rooms = self._rooms
            yield from _valuation(rooms.engine, rooms.gate)
            yield from _ingest(rooms.gate, rooms.loader, rooms.engine)
            yield from fanout(rooms.hub)
            yield from _storage(rooms.writer, rooms.sequencer, rooms.flush_rows)
            yield from reconciliation(rooms.reconciler, again_and_again=self._settings.reconcile_seconds > 0)


def _process(settings: Settings, lifecycle: Lifecycle) -> Iterator[Metric]:
    yield build()
    phases = {phase.value: float(phase is lifecycle.phase) for phase in Phase}
    yield gauges("evs_phase", "What the process is doing: 1 for the current phase.", "phase", phases)
    yield from calls()
    yield gauge("evs_spool_limit_bytes", "What the spool may grow to.", settings.spool_bytes)


def _valuation(engine: MeasuredEngine, gate: Gate) -> Iterator[Metric]:
    marks = engine.mark_counts()
    yield histogram(
        "evs_valuation_seconds", "How long it took to value what a completed tick made dirty.", engine.valuation_seconds
    )
    yield histogram(
        "evs_tick_to_publish_seconds",
        "From the arrival of a call or batch with ticks to when their values were offered to every reader.",
        gate.publish_seconds,
    )
    yield counter("evs_ticks_total", "Ticks completed.", engine.tick_count)
    yield counters(
        "evs_accounts_valued_total", "Valuations of one account, by what made them.", ("cause",),
        {("tick",): engine.valued_count, ("session_roll",): engine.rolled_count},
    )  # fmt: skip
    yield gauge("evs_accounts", "Accounts in memory.", engine.account_count)
    yield gauge("evs_positions", "Positions in memory, closed ones included.", engine.position_count)
    yield counter(
        "evs_identity_violations_total",
        "Valuations whose equity, less its net flow, was not realized plus unrealized.",
        engine.identity_violation_count,
    )
    yield gauge(
        "evs_unpriced_positions", "Open positions without any price, valued at cost.", marks.unpriced_position_count
    )
    yield gauge("evs_stale_positions", "Open positions whose price is too old.", marks.stale_position_count)
    yield gauge("evs_stale_marks", "Symbols whose price is too old.", marks.stale_symbol_count)


def _ingest(gate: Gate, loader: Loader, engine: MeasuredEngine) -> Iterator[Metric]:
    tally = gate.tally
    yield from events(tally)
    yield counters(
        "evs_account_cache_hits_total", "Reads and batches of events whose accounts were in memory.", ("by",),
        {("read",): engine.hit_count, ("batch",): tally.known_batch_count},
    )  # fmt: skip
    yield counter("evs_account_loads_total", "Accounts loaded from the exchange's tables.", loader.loaded_count)
    yield counter("evs_account_load_failures_total", "Looks at the exchange's tables that failed.", loader.failed_count)
    parked = gate.parked_statistics()
    yield gauge("evs_parked_events", "Events that wait for their account to be read.", parked["parked_events"])
    yield gauge("evs_parked_accounts", "Accounts that events wait for.", parked["parked_accounts"])


def _storage(writer: Writer, sequencer: Sequencing, flush_rows: Distribution) -> Iterator[Metric]:
    done = writer.statistics()
    lag = sum(state.applied_sequence - state.durable_sequence for state in sequencer.states().values())
    yield gauge("evs_durable_lag_events", "Events of numbering senders that are applied and not yet stored.", lag)
    yield gauge(
        "evs_durable_lag_seconds",
        "How long the oldest of what was applied has waited to be stored.",
        done.oldest_age_ms / 1_000,
    )
    yield gauge(
        "evs_degraded", "Whether what is applied does not get stored: 1, or 0.", writer.degraded_since_ms is not None
    )
    yield gauge("evs_writer_queue_flushes", "Flushes that wait to be stored.", done.waiting_flush_count)
    yield gauge("evs_writer_queue_rows", "Rows of them.", done.waiting_row_count)
    yield histogram("evs_writer_batch_rows", "Rows that one transaction stored.", flush_rows)
    yield counter("evs_writer_commits_total", "Transactions that stored flushes.", done.commit_count)
    yield counter("evs_writer_rows_total", "Rows stored.", done.committed_row_count)
    yield counter("evs_writer_retries_total", "Attempts to store that failed and were repeated.", done.failure_count)
    yield counter(
        "evs_writer_rows_coalesced_total",
        "Rows given up for a newer one of their account, with no room left to wait in.",
        done.coalesced_row_count,
    )
    yield counter(
        "evs_writer_rows_set_aside_total", "Rows that PostgreSQL refused, in evs.set_aside.", done.set_aside_row_count
    )
    yield gauge("evs_spool_bytes", "Bytes on disk of what waits there for PostgreSQL.", done.spool_byte_count)
    yield gauge("evs_spool_flushes", "Flushes that wait there.", done.spool_flush_count)
    yield gauge("evs_spool_failed", "Whether the spool takes nothing: 1, or 0.", bool(done.spool_failure))
