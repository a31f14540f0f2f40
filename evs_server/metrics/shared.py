"""
Numbers that several roles tell, each of itself, by one name: rules and panels then hold for all of them.

Which they are, not what else a role tells (``collector`` of ``evs serve``; ``seen`` of gateways and workers).
"""

from collections.abc import Iterator
from importlib.metadata import version

from prometheus_client.core import InfoMetricFamily, Metric

from evs_server.fanout.hub import Hub
from evs_server.ingest.tally import Tally
from evs_server.reconcile.reconciler import Reconciler
from evs_server.rpc_status import UNEXPECTED, refusals
from evs_server.telemetry.families import counter, counters, gauge, gauges


def build() -> Metric:
    """Which EVS a process is."""
    family = InfoMetricFamily("evs_build", "Which EVS this is.")
    family.add_metric([], {"version": version("equity-valuation-service")})
    return family


def calls() -> Iterator[Metric]:
    """Calls, and questions of gateways, that a process refused, and those that it failed to answer."""
    yield counters(
        "evs_calls_refused_total", "Calls that were refused, by method and reason.", ("method", "reason"),
        {key: count for key, count in refusals.items() if key[1] != UNEXPECTED},
    )  # fmt: skip
    yield counter(
        "evs_unexpected_errors_total",
        "Calls that failed in a way nobody expected; the log has the stack.",
        sum(count for (_, reason), count in refusals.items() if reason == UNEXPECTED),
    )


def events(tally: Tally) -> Iterator[Metric]:
    """What came in, and what became of it."""
    yield counters(
        "evs_events_total", "Events that came in, by kind and by what became of them.", ("kind", "outcome"),
        tally.events,
    )  # fmt: skip
    yield counters(
        "evs_event_refusals_total", "Events refused, and ends of batches, by reason; SEQUENCE_GAP is a gap.",
        ("reason",), {(reason,): count for reason, count in tally.refusals.items()},
    )  # fmt: skip


def fanout(hub: Hub) -> Iterator[Metric]:
    """Who follows, and what slow readers were not sent."""
    statistics = hub.statistics()
    yield gauge("evs_followed_accounts", "Accounts that somebody follows one by one.", statistics["followed_accounts"])
    yield gauges(
        "evs_subscriptions", "Readers of single accounts, each account they follow counted; and of all accounts.",
        "scope", {"account": statistics["subscriptions"], "all": hub.reader_of_all_count},
    )  # fmt: skip
    yield counter(
        "evs_snapshots_conflated_total",
        "Snapshots that a slow reader was not sent because a newer one came.",
        hub.conflated_count,
    )
    yield counter("evs_readers_evicted_total", "Readers cut off because they took nothing.", hub.evicted_count)


def reconciliation(reconciler: Reconciler, *, again_and_again: bool) -> Iterator[Metric]:
    """
    Checks against the exchange's tables, and what they found.

    Args:
        again_and_again: Whether more are to come by themselves.
    """
    done = reconciler.statistics()
    yield counters(
        "evs_reconcile_passes_total", "Checks against the exchange's tables, by how they ended.", ("outcome",),
        {("done",): done.pass_count, ("failed",): done.failed_pass_count},
    )  # fmt: skip
    yield counter(
        "evs_reconcile_withheld_total",
        "Checks that would have corrected too much, and corrected nothing.",
        done.withheld_count,
    )
    yield gauge(
        "evs_reconcile_differing_accounts",
        "Accounts that differed from the exchange's tables at the end of the last check, and were not corrected.",
        done.differing_count + done.overflow_count,
    )
    yield gauge("evs_reconcile_compared_accounts", "Accounts that the last check compared.", done.compared_count)
    yield counter("evs_reconcile_corrections_total", "Accounts corrected.", done.corrected_count)
    if again_and_again or done.last_pass_ms:
        # Left out where none is to come: nobody is to wait for it.
        yield gauge(
            "evs_reconcile_last_pass_timestamp_seconds",
            "When the last check ended, unix time; 0 if none did.",
            done.last_pass_ms / 1_000,
        )
