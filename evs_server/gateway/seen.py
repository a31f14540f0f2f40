"""
What is seen of a gateway: whether it should be sent anything now, and its numbers. Pure but for the clock.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from evs_server.clock import Clock
from evs_server.cluster.shards import SHARD_COUNT
from evs_server.fanout.hub import Hub
from evs_server.gateway.hearing import Hearing
from evs_server.gateway.inlet import Inlet
from evs_server.gateway.journal import Journal
from evs_server.gateway.progress import Progress
from evs_server.gateway.table import SnapshotTable
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.metrics.shared import build, calls, events, fanout
from evs_server.telemetry.families import counter, gauge

SILENCE_SECONDS: Final = 15.0
"""An owner tells that it lives every second: a shard that has been silent for so long has none."""

_NOT_SERVING: Final = {
    Phase.RECOVERING: "starting: the journal is being read, or shards have no owner yet",
    Phase.STOPPING: "stopping: this gateway shuts down",
}


class GatewayReadiness:
    """Judges what is heard of shards; the interface of ``metrics.readiness``."""

    def __init__(self, lifecycle: Lifecycle, progress: Progress, clock: Clock) -> None:
        self._lifecycle = lifecycle
        self._progress = progress
        self._clock = clock

    @property
    def numbers_agree(self) -> bool:
        """True: nothing is valued here."""
        return True

    @property
    def is_storing(self) -> bool:
        """Whether this gateway serves, and every shard has an owner that stores."""
        return self._lifecycle.phase is Phase.SERVING and not self.silent_shards()

    def silent_shards(self) -> list[int]:
        """Shards that nobody has told anything of lately, the keeper included."""
        since = self._clock.monotonic() - SILENCE_SECONDS
        return [shard for shard, each in self._progress.all().items() if each.heard_at < since]

    def reasons(self) -> list[str]:
        """Why nothing should be sent here, each in words; empty if it may."""
        if self._lifecycle.phase is not Phase.SERVING:
            return [_NOT_SERVING.get(self._lifecycle.phase, self._lifecycle.phase.value)]
        silent = self.silent_shards()
        if len(silent) > SHARD_COUNT:
            return ["no shard tells anything: no worker runs, or NATS is away; see `evs shard`"]
        if silent:
            return [f"{len(silent)} of {SHARD_COUNT + 1} shards have no owner, such as {silent[0]}: start `evs shard`"]
        return []


class GatewayCollector(Collector):
    """What ``/metrics`` of a gateway shows."""

    def __init__(self, progress: Progress, journal: Journal, table: SnapshotTable) -> None:
        self._progress = progress
        self._journal = journal
        self._table = table
        self._rooms: tuple[Hearing, Hub, Inlet] | None = None

    def attach(self, hearing: Hearing, hub: Hub, inlet: Inlet) -> None:
        """Take the rooms, once they are there."""
        self._rooms = (hearing, hub, inlet)

    def collect(self) -> Iterator[Metric]:
        """The numbers of now."""
        applied = [each.applied for each in self._progress.all().values()]
        yield build()
        yield from calls()
        yield gauge("evs_gateway_accounts", "Accounts whose newest value is at hand.", self._table.account_count)
        yield gauge("evs_gateway_journal_position", "Up to where in the log batches are known.", self._journal.position)
        yield gauge(
            "evs_gateway_applied_position_min", "Up to where the shard has applied that is least far.", min(applied)
        )
        yield gauge(
            "evs_gateway_committed_position_min",
            "Up to where every shard has committed, as far as it was touched.",
            self._progress.committed_everywhere(),
        )
        yield gauge(
            "evs_gateway_batches_not_durable",
            "Sequenced batches in the log that some shard has yet to commit.",
            self._journal.waiting_count(),
        )
        yield gauge("evs_gateway_late_shards", "Shards that nobody waits for.", len(self._progress.late))
        yield counter(
            "evs_gateway_waited_in_vain_total",
            "Calls answered before every shard that they concerned had applied them.",
            self._progress.waited_in_vain_count,
        )
        if self._rooms is not None:
            hearing, hub, inlet = self._rooms
            yield from events(inlet.tally)
            yield counter(
                "evs_gateway_shards_reread_total",
                "Times a shard was asked for all of its newest values: at the start, for a new owner, for lost news.",
                hearing.missed_count,
            )
            yield from fanout(hub)
