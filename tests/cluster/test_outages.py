"""What a cluster stands on ends and comes back, while a sender sends and readers read: PostgreSQL, NATS, its leader."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from evs_server.log import EmbeddedNats
from tests.cluster.conftest import SETTINGS
from tests.cluster.deployment import Cluster, started
from tests.cluster.trial import ClusterTrial
from tests.database import run_apart
from tests.e2e.caller import Caller
from tests.e2e.exchange_tables import ExchangeTables
from tests.faults.conftest import OwnServer, own
from tests.faults.processes import children
from tests.faults.trial import SOURCE
from tests.nats import by_hand, three_servers
from tests.patience import eventually

__all__ = ["own"]


def kill(own: OwnServer) -> None:
    """End a PostgreSQL as a power cut would."""
    assert own.postgres.pid is not None
    for pid in children(own.postgres.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run_apart(own.postgres.stop())


@pytest.mark.faults
def test_postgres_is_killed_and_comes_back(own: OwnServer, nats: EmbeddedNats, tmp_path: Path) -> None:
    """Meanwhile events are taken and readers see them; afterwards everything becomes durable, where it was."""
    trial = ClusterTrial(own.tables)
    with Cluster(nats.url, own.tables.dsn, tmp_path, **SETTINGS) as cluster:
        address = started(cluster)
        with trial.running(address), Caller(address) as caller:
            trial.trade(20)
            trial.wait_until_durable()
            kill(own)
            trial.trade(30)
            trial.wait_until_applied(trial.event_count)
            eventually(lambda: caller.ingest_state(SOURCE).degraded_since, "the gateway says since when")
            trial.wait_until_read({each: caller.equity(each).equity.total_equity for each in trial.account_ids})
            run_apart(own.postgres.start())
            trial.finish(address)
            eventually(lambda: not caller.ingest_state(SOURCE).degraded_since, "the gateway says that it is over")
        cluster.stop()


@pytest.mark.faults
def test_postgres_is_killed_again_and_again(own: OwnServer, nats: EmbeddedNats, tmp_path: Path) -> None:
    """In the middle of commits, and of workers that take their locks again."""
    trial = ClusterTrial(own.tables, seed=2)
    with Cluster(nats.url, own.tables.dsn, tmp_path, **SETTINGS) as cluster:
        address = started(cluster)
        with trial.running(address):
            for _ in range(5):
                trial.trade(10)
                trial.wait_until_applied(trial.event_count)
                kill(own)
                run_apart(own.postgres.start())
            trial.finish(address)
        cluster.stop()


@pytest.mark.faults
def test_nats_is_killed_and_comes_back(tables: ExchangeTables, nats: EmbeddedNats, cluster: Cluster) -> None:
    """The sender keeps what it has until the log takes it; reads go on."""
    trial = ClusterTrial(tables)
    address = started(cluster)
    with trial.running(address), Caller(address) as caller:
        for _ in range(3):
            trial.trade(20)
            trial.wait_until_applied(trial.event_count - 50)
            run_apart(nats.kill())
            trial.trade(20)
            assert all(caller.equity(account_id).version for account_id in trial.account_ids)
            run_apart(nats.start())
        trial.finish(address)
    cluster.stop()


@contextmanager
def servers_apart(directory: Path) -> Iterator[tuple[list[EmbeddedNats], asyncio.AbstractEventLoop]]:
    """Three servers that keep the log together, and a loop that runs in a thread beside the test."""
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(loop.run_forever)
        context = three_servers(directory)
        try:
            yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(), loop
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            running.result()
            loop.close()


@pytest.mark.faults
def test_the_leader_of_three_is_killed_in_the_middle(tables: ExchangeTables, tmp_path: Path) -> None:
    """Each of the three in turn, whoever leads: what was answered is in the log of the others."""
    trial = ClusterTrial(tables)
    with servers_apart(tmp_path) as (servers, loop):

        def wait(coroutine: object) -> object:
            return asyncio.run_coroutine_threadsafe(coroutine, loop).result()  # type: ignore[arg-type]

        urls = ",".join(server.url for server in servers)
        with Cluster(urls, tables.dsn, tmp_path, nats_replicas="3", **SETTINGS) as cluster:
            address = started(cluster)
            with trial.running(address):
                for _ in range(3):
                    trial.trade(20)
                    trial.wait_until_applied(trial.event_count - 50)
                    alive = next(server for server in servers if server.pid is not None)
                    info = wait(by_hand(alive, "STREAM.INFO.EVS", {}))
                    leader = servers[int(info["cluster"]["leader"].removeprefix("nats-"))]  # type: ignore[index]
                    wait(leader.kill())
                    trial.trade(20)
                    trial.wait_until_applied(trial.event_count)
                    wait(leader.start())
                trial.finish(address)
            cluster.stop()
