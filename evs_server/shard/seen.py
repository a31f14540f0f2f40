"""
What is seen of a worker: whether it does what it should, and its numbers. Pure but for the clock.

Whether a worker is ready says nothing about who may call it, since nobody does: it is for who starts and stops it.
"""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from evs_server.ingest.tally import Tally
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.metrics.shared import build, calls, reconciliation
from evs_server.reconcile.reconciler import Reconciler
from evs_server.shard.owned import ShardStatistics
from evs_server.shard.virtual_shard import VirtualShard
from evs_server.shard.worker import Worker
from evs_server.store.joint import JointCommits, JointStatistics
from evs_server.telemetry.families import counter, gauge

_NOT_SERVING = {
    Phase.FOLLOWING: "following: another worker has what this one should own",
    Phase.RECOVERING: "starting: this worker waits for PostgreSQL or NATS, or takes its share",
    Phase.STOPPING: "stopping: this worker gives up what it owns",
}


class WorkerReadiness:
    """
    Judges what a worker's virtual shards say of themselves.

    Args:
        lifecycle: Says which phase the process is in.
        lag_seconds_max: How long what is applied may wait to be committed.
    """

    def __init__(self, lifecycle: Lifecycle, lag_seconds_max: int) -> None:
        self._lifecycle = lifecycle
        self._lag_seconds_max = lag_seconds_max
        self._worker: Worker | None = None

    def attach(self, worker: Worker) -> None:
        """Take the worker, once it is there."""
        self._worker = worker

    def reasons(self) -> list[str]:
        """Why the worker is not as it should be, each in words; empty if it is."""
        if self._lifecycle.phase is not Phase.SERVING:
            return [_NOT_SERVING[self._lifecycle.phase]]
        assert self._worker is not None, "it serves once there is a worker"
        reasons = ["PostgreSQL: who owns what cannot be seen"] if self._worker.is_blind else []
        statistics = statistics_of(self._worker)
        lags = {shard: each.oldest_age_ms // 1_000 for shard, each in statistics.items()}
        late = {shard: lag for shard, lag in lags.items() if lag > self._lag_seconds_max}
        if late:
            shard = max(late, key=lambda each: late[each])
            reasons.append(
                f"storage: what virtual shard {shard} applied {late[shard]} s ago is not stored yet, nor that of"
                f" {len(late) - 1} others; the most is {self._lag_seconds_max}"
            )
        violation_count = sum(each.violation_count for each in statistics.values())
        if violation_count:
            reasons.append(f"identity: {violation_count} snapshots violate the identity of equity since this start")
        return reasons


class WorkerCollector(Collector):
    """
    What ``/metrics`` of a worker shows.

    Args:
        checks_again: Whether its accounts are held against the exchange's tables again and again.
    """

    def __init__(self, *, checks_again: bool) -> None:
        self._checks_again = checks_again
        self._rooms: tuple[Worker, Reconciler, JointCommits, Tally] | None = None

    def attach(self, worker: Worker, reconciler: Reconciler, joint: JointCommits, tally: Tally) -> None:
        """Take the rooms, once they are there."""
        self._rooms = (worker, reconciler, joint, tally)

    def collect(self) -> Iterator[Metric]:
        """The numbers of now."""
        yield build()
        yield from calls()
        if self._rooms is not None:
            worker, reconciler, joint, tally = self._rooms
            yield from _worker(worker)
            yield from _commits(joint.statistics())
            yield from _shards(statistics_of(worker))
            yield from _accounts(worker)
            yield _events(tally)
            yield from reconciliation(reconciler, again_and_again=self._checks_again)


def statistics_of(worker: Worker) -> Mapping[int, ShardStatistics]:
    """How each virtual shard is that runs, ascending by number."""
    return {shard: worker.running[shard].statistics() for shard in sorted(worker.running)}


def _worker(worker: Worker) -> Iterator[Metric]:
    counts = worker.counts
    yield gauge("evs_shard_owned", "Virtual shards that this worker owns and that run.", len(worker.running))
    yield counter("evs_shard_takeovers_total", "Virtual shards taken, that came to run.", counts.taken_count)
    yield counter("evs_shard_given_up_total", "Virtual shards given up for other workers.", counts.given_up_count)
    yield counter("evs_shard_failures_total", "Virtual shards that could not go on here.", counts.failed_count)
    yield gauge(
        "evs_shard_last_takeover_seconds",
        "How long the last one took from its lock to its first news.",
        counts.last_taking_seconds,
    )


def _commits(done: JointStatistics) -> Iterator[Metric]:
    yield counter(
        "evs_shard_transactions_total", "Transactions in which flushes were committed.", done.transaction_count
    )
    yield counter("evs_shard_flushes_total", "Flushes of virtual shards committed in them.", done.flush_count)


def _shards(statistics: Mapping[int, ShardStatistics]) -> Iterator[Metric]:
    def by_shard(name: str, about: str, value: str) -> Metric:
        family = GaugeMetricFamily(name, about, labels=["shard"])
        for shard, each in statistics.items():
            family.add_metric([str(shard)], getattr(each, value))
        return family

    yield by_shard(
        "evs_shard_applied_position", "Position in the log up to which a virtual shard has applied it.", "applied"
    )
    yield by_shard(
        "evs_shard_committed_position", "Position in the log up to which a virtual shard is committed.", "committed"
    )
    yield by_shard(
        "evs_shard_lag_messages", "Messages of the log that a virtual shard has yet to take.", "pending_count"
    )
    yield by_shard(
        "evs_shard_lag_seconds",
        "Age of the newest batch that a virtual shard has applied, if others wait.",
        "lag_seconds",
    )
    # By virtual shard, since one that moves takes its count with it: a sum that falls looks as if it had begun anew.
    set_aside = CounterMetricFamily(
        "evs_writer_rows_set_aside_total", "Rows that PostgreSQL refused, in evs.set_aside.", labels=["shard"]
    )
    for shard, each in statistics.items():
        set_aside.add_metric([str(shard)], each.set_aside_row_count)
    yield set_aside
    yield gauge(
        "evs_shard_durable_lag_seconds",
        "How long the oldest of what was applied has waited to be stored.",
        max((each.oldest_age_ms for each in statistics.values()), default=0) / 1_000,
    )
    yield gauge(
        "evs_shard_degraded",
        "Virtual shards that do not get stored what they apply.",
        sum(each.degraded for each in statistics.values()),
    )


def _accounts(worker: Worker) -> Iterator[Metric]:
    cores = [owned.core for owned in worker.running.values() if isinstance(owned, VirtualShard)]
    here = sum(core.engine.identity_violation_count for core in cores)
    yield counter(
        "evs_identity_violations_total",
        "Valuations whose equity, less its net flow, was not realized plus unrealized.",
        worker.counts.left_violation_count + here,
    )
    yield gauge("evs_shard_accounts", "Accounts in memory.", sum(core.engine.account_count for core in cores))
    yield gauge("evs_shard_positions", "Positions in memory.", sum(core.engine.position_count for core in cores))


def _events(tally: Tally) -> Metric:
    family = CounterMetricFamily(
        "evs_shard_events_total", "Events of the virtual shards that are or were here, by kind and outcome.",
        labels=["kind", "outcome"],
    )  # fmt: skip
    for kind_and_outcome, count in sorted(tally.events.items()):
        family.add_metric(list(kind_and_outcome), count)
    return family
