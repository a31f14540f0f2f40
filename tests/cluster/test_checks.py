"""``evs reconcile`` as an operator types it, at a gateway: all workers' books against the exchange's tables, as one."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evs_server.cluster.shards import KEEPER, shard_of
from evs_server.log import EmbeddedNats
from tests.cluster.deployment import Cluster, owners, ready, started
from tests.e2e.caller import SHARE, Caller
from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import running
from tests.patience import PATIENCE_SECONDS, eventually

OPENING_CENTS = 1_000_000


@pytest.fixture
def cluster(tables: ExchangeTables, nats: EmbeddedNats, tmp_path: Path) -> Iterator[Cluster]:
    """One whose differences count soon, and that checks nothing by itself."""
    settings = {"reconcile_seconds": "0", "reconcile_grace_seconds": "0.2"}
    with Cluster(nats.url, tables.dsn, tmp_path, **settings) as cluster:
        yield cluster
        sys.stderr.write(cluster.said())  # shown with a test that fails


def evs(*arguments: str, server: str, folder: Path) -> tuple[int, Any]:
    """The status of a command, and its answer for programs."""
    with running(*arguments, "--json", server=server, data_dir=folder) as command:
        status = command.wait_for_end(PATIENCE_SECONDS)
        return status, json.loads(command.said)


@pytest.mark.faults
def test_differences_of_accounts_of_several_workers_are_shown_repaired_and_gone(
    tables: ExchangeTables, cluster: Cluster, tmp_path: Path
) -> None:
    """A trade that nobody announced, and cash; then accounts rebuilt, after a worker has been killed."""
    accounts = [tables.open_account(OPENING_CENTS) for _ in range(12)]
    assert len({shard_of(each) for each in accounts}) > 6
    address = started(cluster)
    status, found = evs("reconcile", server=address, folder=tmp_path)
    assert (0, len(accounts), []) == (status, found["compared_count"], found["accounts"])
    tables.settle(accounts[0], 5, "BUY", 10 * SHARE, 500)
    tables.deposit(accounts[7], 99)
    status, found = evs("reconcile", server=address, folder=tmp_path)
    assert (1, {accounts[0], accounts[7]}) == (status, {int(each["account_id"]) for each in found["accounts"]})
    status, found = evs("reconcile", "--repair", server=address, folder=tmp_path)
    assert (0, {"CORRECTION_KIND_TRADES", "CORRECTION_KIND_FLOW"}) == (
        status,
        {each["correction"] for each in found["accounts"]},
    )
    with Caller(address) as caller:
        caller.tick()
        assert (995_000, 5_000) == caller.numbers(accounts[0])[:2]
        assert OPENING_CENTS + 99 == caller.numbers(accounts[7]).equity
    killed = ready(cluster.shards[0])
    cluster.shards[0].kill()
    eventually(lambda: KEEPER < len(alive := owners(address)) and killed not in alive.values(), "others take over")
    status, found = evs("recompute", *map(str, accounts), server=address, folder=tmp_path)
    assert (0, list(map(str, accounts))) == (status, [each["account_id"] for each in found["accounts"]])
    assert [] == [each for each in found["accounts"] if each["changes"]]
    cluster.stop()
