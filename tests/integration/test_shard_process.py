"""Workers as processes have them: on a real database and a real NATS, sharing what there is, and taking over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from urllib.request import urlopen

import pytest

from evs_server.cluster.shards import KEEPER
from evs_server.config import load
from evs_server.errors import ConfigError
from evs_server.log import EmbeddedNats
from evs_server.shard import worker as room
from evs_server.shard.app import ShardProcess
from evs_server.shard.balance import SHARDS
from evs_server.shard.virtual_shard import VirtualShard
from tests.integration.running import exchange_at
from tests.nats import a_log
from tests.patience import eventually_true
from tests.serving import SetClock, within_patience
from tests.shard_world import Day, Feeder, committed, shown, united_hash

CASH = dict.fromkeys(range(1, 100), 1000000)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.02)


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[str]:
    async with EmbeddedNats(tmp_path / "nats") as url:
        yield url


@contextlib.asynccontextmanager
async def a_worker(database: str, nats: str, directory: Path) -> AsyncIterator[ShardProcess]:
    """A worker that has its share; time stands still for it, so that no session rolls by the clock."""
    settings = load(database_url=database, nats_url=nats, data_dir=directory, metrics_listen="127.0.0.1:0")
    async with ShardProcess(settings, SetClock()) as process:
        await within_patience(process.wait_ready())
        yield process


async def are_even(processes: list[ShardProcess]) -> bool:
    """Whether everything runs somewhere, evenly."""
    counts = [len(process.worker.running) for process in processes]
    return sum(counts) == len(SHARDS) and max(counts) - min(counts) <= 1


async def have_applied(processes: list[ShardProcess], positions: dict[int, int]) -> bool:
    """Whether all that run have applied the log up to where it concerns them."""
    running = [(number, owned) for process in processes for number, owned in process.worker.running.items()]
    return all(owned.statistics().applied >= positions.get(number, 0) for number, owned in running)


def shards_with_accounts(processes: list[ShardProcess]) -> list[VirtualShard]:
    """All that run and have accounts."""
    running = [owned for process in processes for owned in process.worker.running.values()]
    return [owned for owned in running if isinstance(owned, VirtualShard) and owned.core.engine.account_count]


async def test_workers_share_and_take_over_while_events_come(database: str, nats: str, tmp_path: Path) -> None:
    """One has all; with a second each has its half; whoever is left in the end has what one engine would have."""
    async with exchange_at(database) as exchange:
        await exchange.register(CASH)
    clock = SetClock()
    async with a_worker(database, nats, tmp_path) as first, a_log(nats) as log:
        assert set(SHARDS) == first.worker.running.keys()
        feeder, day = Feeder(log.events, clock, CASH), Day(Random(7), list(CASH), clock)
        async with a_worker(database, nats, tmp_path) as second:
            for _ in range(12):
                await eventually_true(lambda: have_applied([first, second], dict(feeder.touched)), "they keep up")
                await feeder.put_batch(day.batch())
            await eventually_true(lambda: are_even([first, second]), "balance of two")
            assert 32 == first.worker.counts.given_up_count
            await feeder.put_batch(day.batch())
        await eventually_true(lambda: are_even([first]), "one has all again")
        shards = shards_with_accounts([first])
        await committed(shards, feeder)
        for shard in shards:
            account_ids = shard.core.engine.account_ids().tolist()
            assert shown(feeder.whole.engine, account_ids) == shown(shard.core.engine, account_ids)
        assert feeder.whole.engine.state_hash() == united_hash(shards)


async def test_a_worker_shows_how_its_virtual_shards_are(database: str, nats: str, tmp_path: Path) -> None:
    """One line of metrics for each, and whether it is ready."""
    async with a_worker(database, nats, tmp_path) as process:
        address = process.metrics_address

        def read(path: str) -> str:
            with urlopen(f"http://{address}{path}", timeout=10) as response:
                return str(response.read().decode())

        shown = await asyncio.to_thread(read, "/metrics")
        assert "evs_shard_owned 65.0" in shown
        assert f'evs_shard_applied_position{{shard="{KEEPER}"}} 0.0' in shown
        assert "ready\n" == await asyncio.to_thread(read, "/readyz")


@pytest.mark.parametrize("missing", ["database_url", "nats_url"])
async def test_a_worker_needs_what_the_others_use(missing: str) -> None:
    """A database of its own, or no log, would be no part of the cluster."""
    given = {"database_url": "postgresql://localhost/evs", "nats_url": "nats://127.0.0.1:4222", "metrics_listen": ""}
    with pytest.raises(ConfigError, match=f"EVS_{missing.upper()}"):
        async with ShardProcess(load(**given | {missing: None})):
            pass
