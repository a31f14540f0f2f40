"""Virtual shards move, and workers sleep, while a sender sends and readers read: streams pause, and go on."""

import signal
from functools import partial
from pathlib import Path

import pytest

from evs_server.cluster.shards import SHARD_COUNT, shard_of
from evs_server.log import EmbeddedNats
from tests.cluster.conftest import SETTINGS
from tests.cluster.deployment import Cluster, owners, ready, started
from tests.cluster.trial import ClusterTrial
from tests.e2e.caller import Caller
from tests.e2e.exchange_tables import ExchangeTables
from tests.patience import eventually


def owns_something(address: str, name: str) -> bool:
    """Whether a worker takes part, as a gateway hears it."""
    return name in owners(address).values()


def has_tick(caller: Caller, account_id: int, tick: int) -> bool:
    """Whether an account's newest value is of a tick."""
    return caller.equity(account_id).equity.tick == tick


@pytest.mark.faults
def test_a_worker_is_added_and_another_taken_away(tables: ExchangeTables, cluster: Cluster) -> None:
    """Virtual shards move one by one until the new worker has its third, and at once when another ends in order."""
    trial = ClusterTrial(tables, account_count=40)
    address = started(cluster, workers=2)
    with trial.running(address):
        (added,) = cluster.add_shards(1)
        name = ready(added)

        def share() -> int:
            trial.trade(2)
            trial.wait_until_applied(trial.event_count - 50)
            return sum(owner == name for owner in owners(address).values())

        eventually(lambda: share() >= SHARD_COUNT // 3, "the new worker has its share")
        assert 0 == cluster.shards[0].terminate(), cluster.shards[0].said
        trial.trade(20)
        trial.finish(address)
    cluster.stop()


@pytest.mark.faults
def test_a_worker_that_sleeps_is_replaced_and_not_believed(
    tables: ExchangeTables, nats: EmbeddedNats, tmp_path: Path
) -> None:
    """Its locks end while it sleeps; when it wakes it neither writes nor is heard, and then takes part again."""
    trial = ClusterTrial(tables, account_count=40)
    with Cluster(nats.url, tables.dsn, tmp_path, takeover_seconds="2", **SETTINGS) as cluster:
        address = started(cluster)
        with trial.running(address):
            for sleeper in cluster.shards:
                name = ready(sleeper)
                trial.trade(20)
                trial.wait_until_applied(trial.event_count - 50)
                sleeper.process.send_signal(signal.SIGSTOP)
                try:
                    trial.trade(20)
                    trial.wait_until_durable()
                    assert name not in owners(address).values()
                finally:
                    sleeper.process.send_signal(signal.SIGCONT)
                trial.trade(20)
                trial.wait_until_applied(trial.event_count)
                eventually(partial(owns_something, address, name), "it takes part again")
            trial.finish(address)
        cluster.stop()


@pytest.mark.faults
def test_a_worker_that_sleeps_holds_up_nobody_else(tables: ExchangeTables, nats: EmbeddedNats, tmp_path: Path) -> None:
    """Events, ticks and reads of other accounts are answered; its own are in the log, and count once it wakes."""
    ids = [tables.open_account(1_000) for _ in range(12)]
    with Cluster(nats.url, tables.dsn, tmp_path, takeover_seconds="300", **SETTINGS) as cluster:
        address = started(cluster, workers=2)
        sleeper = cluster.shards[0]
        name, owner = ready(sleeper), owners(address)
        held = [each for each in ids if owner[shard_of(each)] == name]
        free = [each for each in ids if each not in held]
        with Caller(address) as caller:
            sleeper.process.send_signal(signal.SIGSTOP)
            try:
                for number in range(1, 6):
                    for account_id in (held[0], free[0]):
                        caller.cash(account_id, 1)
                    caller.tick(number)
                    eventually(partial(has_tick, caller, free[0], number), "the tick is told")
                    assert {} == caller.positions(free[0])
                assert (1_005, 1_000) == (caller.numbers(free[0]).equity, caller.numbers(held[0]).equity)
            finally:
                sleeper.process.send_signal(signal.SIGCONT)
            eventually(lambda: caller.numbers(held[0]).equity == 1_005, "what was held up counts")
        cluster.stop()
