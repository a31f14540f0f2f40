"""Workers and gateways are killed while a sender sends and readers read: nothing is lost, and nothing counts twice."""

from random import Random

import pytest

from tests.cluster.deployment import Cluster, ready
from tests.cluster.trial import ClusterTrial
from tests.e2e.exchange_tables import ExchangeTables


def test_a_worker_and_the_gateway_are_killed_in_the_middle(tables: ExchangeTables, cluster: Cluster) -> None:
    """The workers that stay take over, and the second gateway is what the first was."""
    trial = ClusterTrial(tables)
    cluster.add_shards(3)
    first = cluster.add_gateway()
    addresses = [ready(first), ready(cluster.add_gateway())]
    with trial.running(f"ipv4:{','.join(addresses)}"):
        trial.trade(20)
        trial.wait_until_applied(50)
        cluster.shards[0].kill()
        trial.trade(20)
        trial.wait_until_applied(trial.event_count - 50)
        first.kill()
        trial.trade(20)
        trial.finish(addresses[1])
    cluster.stop()


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_workers_are_killed_at_random_again_and_again(tables: ExchangeTables, cluster: Cluster, seed: int) -> None:
    """One at a time, each replaced by a new one."""
    random, trial = Random(seed), ClusterTrial(tables, seed=seed)
    cluster.add_shards(3)
    address = ready(cluster.add_gateway())
    with trial.running(address):
        for _ in range(8):
            trial.trade(random.randrange(5, 40))
            trial.wait_until_applied(trial.event_count - random.randrange(60))
            alive = [each for each in cluster.shards if each.process.poll() is None]
            random.choice(alive).kill()
            cluster.add_shards(1)
        trial.finish(address)
    cluster.stop()
