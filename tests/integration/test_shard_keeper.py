"""The journal keeper on a real database: how far each source is, and up to which position in the log that is so."""

from collections.abc import AsyncIterator

import pytest

from evs_server.cluster import subjects
from evs_server.cluster.shards import KEEPER, SHARD_COUNT
from evs_server.shard.keeper import Keeper
from evs_server.store.database import Database
from evs_server.store.journal import read_journal
from tests.integration.running import exchange_at
from tests.log_in_process import LogInProcess
from tests.patience import PATIENCE_SECONDS
from tests.serving import SetClock
from tests.shard_world import Feeder, Worker, told_position
from tests.wire import EM, cash, ticks

CASH = {1: 1_000_000}


@pytest.fixture
def log() -> LogInProcess:
    return LogInProcess()


@pytest.fixture
async def worker(database: str, log: LogInProcess) -> AsyncIterator[Worker]:
    async with exchange_at(database) as exchange:
        await exchange.register(CASH)
    async with Worker(database, log, SetClock(), "worker").entered() as worker:
        assert await worker.ownership.take(KEEPER)
        yield worker


@pytest.fixture
async def reading(database: str) -> AsyncIterator[Database]:
    reading = await Database.open(database)
    yield reading
    await reading.close()


async def test_the_journal_is_committed_and_taken_up_by_the_next(
    worker: Worker, log: LogInProcess, reading: Database
) -> None:
    """Digests, sequences and the keeper's own position; batches of no source move that alone."""
    feeder = Feeder(log, SetClock(), CASH)
    keeper = Keeper(worker.common, {})
    await keeper.start()
    first = await feeder.put_batch_of(cash((1, 5), (1, 6)), ticks(1), first=1)
    await feeder.put(ticks(2))
    await told_position(log, KEEPER, feeder.position)
    assert 0 == await keeper.stop(PATIENCE_SECONDS)
    await keeper.drop()
    kept = await read_journal(reading)
    [mark] = kept.watermarks
    assert (feeder.position, EM, 1, 3) == (kept.kept_position, mark.source, mark.epoch, mark.applied_sequence)
    assert first.digest.tolist() == mark.digest.tolist()

    await feeder.put(cash((1, 7)), first=4)
    next_one = Keeper(worker.common, {})
    await next_one.start()
    await told_position(log, KEEPER, feeder.position)
    await next_one.drop()
    [mark] = (await read_journal(reading)).watermarks
    assert (4, 4) == (mark.applied_sequence, len(mark.digest))


async def test_a_keeper_without_a_journal_has_begun_nevertheless(worker: Worker, reading: Database) -> None:
    """Gateways wait until all slices have."""
    keeper = Keeper(worker.common, {})
    await keeper.start()
    assert 0 == await keeper.stop(PATIENCE_SECONDS)
    await keeper.drop()
    kept = await read_journal(reading)
    assert (1, False) == (kept.slice_count, kept.is_whole)
    assert SHARD_COUNT == KEEPER


async def test_a_keeper_reads_its_journal_whatever_readers_of_events_do(worker: Worker, log: LogInProcess) -> None:
    """It has subjects of its own."""
    feeder = Feeder(log, SetClock(), CASH)
    log.held.add(subjects.SHARED)
    keeper = Keeper(worker.common, {})
    await keeper.start()
    await feeder.put(cash((1, 5)), ticks(1), first=1)
    await told_position(log, KEEPER, feeder.position)
    await keeper.drop()
