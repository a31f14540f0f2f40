"""The writer with its spool: a database that is gone for long, a disk that is full, a stop, and the start after it."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from evs_server.errors import StoreUnavailable
from evs_server.model import Flush
from evs_server.store import backlog
from evs_server.store.database import Database
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.memory import Fault, MemoryStore
from evs_server.store.merge import merge
from evs_server.store.migrate import migrate
from evs_server.store.postgres import PostgresStore
from evs_server.store.spool import Spool, Spooled
from evs_server.store.spool_replay import Lineage, read_lineage, recover_with_spool, replay_spool
from evs_server.store.spool_segment import Damaged, Stamp
from evs_server.store.writer import WriterLimits
from tests.flushes import a_flush, a_valuation, an_account_row, plain
from tests.integration.test_writer import SECONDS, Bench, StandingStore, a_memory_store

ROOM = 2**24
SMALL = WriterLimits(
    transaction_rows=20, spool_bytes=1_000, backoff_seconds=0.001, backoff_seconds_max=0.01, spool_retry_seconds=1.0
)
HERE = Lineage("here", 1)
STAMP = Stamp("here", 1)


@dataclass
class Folder:
    """Opens the spool in one folder, as the next process would."""

    path: Path
    spool: Spool | None = None

    def open(self, stamp: Stamp | None = STAMP, bytes_max: int = ROOM) -> Spool:
        self.close()
        self.spool = Spool.open(self.path, bytes_max)
        if stamp is not None:
            self.spool.begin(stamp)
        return self.spool

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()
            self.spool = None

    def set_aside(self) -> list[str]:
        return sorted(path.name for path in (self.path / "set-aside").glob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    found = Folder(tmp_path / "spool")
    yield found
    found.close()


def a_tick(number: int, value: int | None = None) -> Flush:
    worth = number if value is None else value
    return a_flush(number, accounts=[an_account_row(1, worth)], rows=[a_valuation(number, {1: worth, 2: worth})])


async def appended(bench: Bench) -> None:
    """Wait until nothing is on its way to the spool."""
    backlog = bench.writer._backlog
    while backlog._append is not None:
        await asyncio.wait([backlog._append], timeout=SECONDS)


class AwayStore(MemoryStore):
    """A store that is away until told otherwise."""

    away = True

    async def write(self, flush: Flush) -> None:
        if self.away:
            raise StoreUnavailable(f"could not write flush {flush.number}: away")
        await super().write(flush)


async def test_what_cannot_wait_in_memory_goes_to_disk_and_comes_back_in_order(folder: Folder) -> None:
    """No row is given up, memory stays below its mark, and what arrives during the drain stays behind."""
    store = AwayStore()
    await store.recover()
    bench = Bench(store, SMALL, spool=folder.open())
    async with bench.running():
        for number in range(1, 201):
            bench.writer.offer(a_tick(number))
            await appended(bench)
            assert bench.writer._backlog._queue_size <= SMALL.spool_bytes
        statistics = bench.writer.statistics()
        assert (400, 0) == (statistics.waiting_row_count, statistics.coalesced_row_count)
        assert 190 < statistics.spool_flush_count <= 200
        assert statistics.spool_byte_count > 0
        assert [] == bench.durable
        store.away = False
        assert 0 == await bench.drained(*(a_tick(number) for number in range(201, 241)))
    assert list(range(1, 241)) == [row.version for row in store.tables.rows]
    assert 240 == store.tables.recovered.flush_number
    numbers = [flush.number for flush in bench.durable]
    assert sorted(numbers) == numbers
    assert len(numbers) <= 240 * 2 / SMALL.transaction_rows + 10  # large transactions
    statistics = bench.writer.statistics()
    assert (0, 0, 480) == (
        statistics.spool_flush_count,
        statistics.spool_byte_count,
        statistics.committed_row_count,
    )
    assert statistics.drained_flush_count == statistics.spooled_flush_count >= 195
    bench.writer.close()


async def test_a_queue_that_is_too_long_for_a_moment_is_no_warning(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing has failed: that the spool was used is told once, and so is that it is empty again."""
    store = StandingStore()
    await store.recover()
    bench = Bench(store, SMALL, spool=folder.open())
    with caplog.at_level(logging.INFO):
        async with bench.running():
            for number in range(1, 101):
                bench.writer.offer(a_tick(number))
                await appended(bench)
            assert 0 < bench.writer.statistics().spool_flush_count
            store.may_go.set()
            assert 0 == await bench.drained()
    told = [(record.levelno, record.getMessage()) for record in caplog.records if "spool" in record.getMessage()]
    assert {logging.INFO} == {level for level, _ in told}
    assert ["it goes to the spool", "the spool is drained"] == [
        next(part for part in ("it goes to the spool", "the spool is drained") if part in text) for _, text in told
    ]
    bench.writer.close()


async def test_flushes_that_are_being_merged_go_to_disk_before_those_behind_them(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large ones are merged in a thread; offers go on, and nothing is out of order or counted twice."""
    began, go, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def merged_late(flushes: Sequence[Flush]) -> Flush:
        loop.call_soon_threadsafe(began.set)
        assert go.wait(SECONDS)
        return merge(flushes)

    monkeypatch.setattr(backlog, "_MERGED_AT_ONCE_BYTES", 0)
    monkeypatch.setattr(backlog, "merge", merged_late)
    store = MemoryStore()
    await store.recover()
    bench = Bench(store, SMALL, spool=folder.open())
    bench.writer.offer(a_tick(1))
    bench.writer.offer(a_tick(2))
    async with bench.running():
        await asyncio.wait_for(began.wait(), SECONDS)
        for number in range(3, 30):
            bench.writer.offer(a_tick(number))
        await appended(bench)
        statistics = bench.writer.statistics()
        assert (58, 29) == (statistics.waiting_row_count, statistics.waiting_flush_count)
        assert folder.spool is not None
        assert [1, 2, 3] == [each.flush.number for each in folder.spool.read(3)]
        go.set()
        assert 0 == await bench.drained()
    assert list(range(1, 30)) == [row.version for row in store.tables.rows]
    statistics = bench.writer.statistics()
    assert (0, 58, 0) == (statistics.spool_flush_count, statistics.committed_row_count, statistics.waiting_row_count)
    bench.writer.close()


@pytest.mark.parametrize("committed", [False, True])
async def test_a_batch_of_unknown_outcome_is_the_first_in_the_spool_as_it_was_attempted(
    folder: Folder, committed: bool
) -> None:
    """So the next start finds either its number in the database, or all of it in the spool."""
    store = StandingStore()
    await store.recover()
    bench = Bench(store, SMALL, spool=folder.open())
    bench.writer.offer(a_tick(1))
    bench.writer.offer(a_tick(2))
    async with bench.running():
        await asyncio.wait_for(store.arrived.wait(), SECONDS)
        for number in range(3, 30):
            bench.writer.offer(a_tick(number))
        await appended(bench)
    bench.writer.close()
    spool = folder.open(None)
    first, second, *_ = spool.read(100)
    assert [(1, 2), (3, 3)] == [(each.first_number, each.flush.number) for each in (first, second)]
    assert plain(store.attempts[0]) == plain(first.flush)
    successor = MemoryStore(store.tables)
    await successor.recover()
    if committed:
        await successor.write(store.attempts[0])
    last_number = spool.last_number
    assert last_number is not None
    assert last_number > 2
    assert 0 < await replay_spool(spool, successor, await successor.recover(), HERE)
    assert list(range(1, last_number + 1)) == [row.version for row in store.tables.rows]


def refill(folder: Folder, flushes: list[Spooled], stamp: Stamp = STAMP) -> None:
    """Leave a spool as a process before would have."""
    folder.open(stamp).append(flushes)
    folder.close()


async def test_a_full_spool_leaves_the_newest_row_of_each_account(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    """What is given up is counted, state loses nothing, and what was spooled before is written first."""
    store = AwayStore()
    await store.recover()
    limits = WriterLimits(
        transaction_rows=4, queue_rows=10, spool_bytes=1_000, queue_bytes=2_000, backoff_seconds=0.001
    )
    bench = Bench(store, limits, spool=folder.open(bytes_max=8_000))
    async with bench.running():
        with caplog.at_level(logging.ERROR):
            for number in range(1, 101):
                bench.writer.offer(a_tick(number))
                await appended(bench)
        statistics = bench.writer.statistics()
        assert statistics.spool_byte_count <= 8_000
        assert "over its bound of 8000" in statistics.spool_failure
        assert 1 == sum("the spool takes nothing" in record.getMessage() for record in caplog.records)
        assert statistics.waiting_row_count < 50
        store.away = False
        assert 0 == await bench.drained()
    statistics = bench.writer.statistics()
    assert 200 == statistics.committed_row_count + statistics.coalesced_row_count
    versions = [row.version for row in store.tables.rows]
    assert sorted(set(versions)) == versions
    assert [100] == store.tables.recovered.state.accounts.cash_cents.tolist()
    assert 100 == versions[-1]
    bench.writer.close()


async def test_a_disk_that_was_full_is_used_again(folder: Folder) -> None:
    """The spool's first file is on a device that is always full; the next attempt comes a while later."""
    store = AwayStore()
    await store.recover()
    spool = folder.open()
    (folder.path / f"{1:012}.spool").symlink_to("/dev/full")
    bench = Bench(store, SMALL, spool=spool)
    async with bench.running():
        for number in range(1, 21):
            bench.writer.offer(a_tick(number))
            await appended(bench)
        assert "No space left" in bench.writer.statistics().spool_failure
        assert 0 == bench.writer.statistics().spool_flush_count
        bench.clock.seconds = 2.0
        bench.writer.offer(a_tick(21))
        await appended(bench)
        assert "" == bench.writer.statistics().spool_failure
        assert 0 < bench.writer.statistics().spool_flush_count
        store.away = False
        assert 0 == await bench.drained()
    assert list(range(1, 22)) == [row.version for row in store.tables.rows]
    bench.writer.close()


async def test_a_stop_without_a_database_leaves_everything_to_the_next_start(folder: Folder) -> None:
    store = AwayStore()
    await store.recover()
    bench = Bench(store, WriterLimits(backoff_seconds=0.001), spool=folder.open())
    async with bench.running():
        for number in range(1, 4):
            bench.writer.offer(a_tick(number))
        assert 0 < await bench.writer.drain(1.5)
        assert 0 == bench.writer._backlog.unsafe_flush_count
    bench.writer.close()
    store.away = False
    assert 0 < await replay_spool(folder.open(None), store, await store.recover(), HERE)
    assert [1, 2, 3] == [row.version for row in store.tables.rows]


async def test_a_spool_that_gives_back_something_else_ends_the_writer(folder: Folder) -> None:
    """What it held is only in the engine and with the senders: a start from what is durable is the way back."""
    store = AwayStore()
    await store.recover()
    bench = Bench(store, SMALL, spool=folder.open())
    task = asyncio.create_task(bench.writer.run())
    for number in range(1, 40):
        bench.writer.offer(a_tick(number))
        await appended(bench)
    path = folder.path / f"{1:012}.spool"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    store.away = False
    with pytest.raises(Damaged):
        await asyncio.wait_for(task, SECONDS)
    versions = [row.version for row in store.tables.rows]
    assert list(range(1, len(versions) + 1)) == versions
    bench.writer.close()


# --- the start after it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamp", "lineage", "first_number", "reason"),
    [
        (Stamp("there", 1), HERE, 6, "it was made for database there, and this is here"),
        (Stamp("here", 1), Lineage("here", 2), 6, "start 2 has written since it was made by start 1"),
        (Stamp("here", 1), HERE, 7, "it begins with flush 7, and the database is at flush 5"),
        (Stamp("here", 1), HERE, 4, "it begins with flush 4, and the database is at flush 5"),
    ],
)
async def test_a_spool_that_does_not_continue_the_database_is_set_aside(
    folder: Folder,
    caplog: pytest.LogCaptureFixture,
    stamp: Stamp,
    lineage: Lineage,
    first_number: int,
    reason: str,
) -> None:
    """Another database, one that others have written to, a gap, and a batch that overlaps: nothing of it is written."""
    store = await a_memory_store()
    for number in range(1, 6):
        await store.write(a_tick(number))
    refill(folder, [Spooled(first_number, a_tick(8)), Spooled(9, a_tick(9))], stamp)
    before = plain(store.tables.recovered)
    with caplog.at_level(logging.ERROR):
        assert 0 == await replay_spool(folder.open(None), store, store.tables.recovered, lineage)
    assert before == plain(store.tables.recovered)
    assert reason in caplog.text
    assert 1 == len(folder.set_aside())
    assert 0 == folder.open().flush_count


async def test_what_is_committed_already_is_dropped_and_the_rest_is_written(folder: Folder) -> None:
    store = await a_memory_store()
    for number in range(1, 6):
        await store.write(a_tick(number))
    refill(folder, [Spooled(number, a_tick(number)) for number in range(3, 9)])
    assert 3 == await replay_spool(folder.open(None), store, store.tables.recovered, HERE)
    assert list(range(1, 9)) == [row.version for row in store.tables.rows]
    assert [] == folder.set_aside()


async def test_a_replay_that_is_interrupted_goes_on_at_the_next_start(folder: Folder) -> None:
    """Although by then another start than the one that spooled has written."""
    store = await a_memory_store(Fault.UNKNOWN)
    refill(folder, [Spooled(number, a_tick(number)) for number in range(1, 4)])
    recovered = await store.recover()
    with pytest.raises(StoreUnavailable):
        await replay_spool(folder.open(None), store, recovered, Lineage("here", 0))
    lineage = Lineage("here", recovered.start_number)
    assert 0 == await replay_spool(folder.open(None), store, await store.recover(), lineage)
    assert [1, 2, 3] == [row.version for row in store.tables.rows]
    assert [] == folder.set_aside()


async def test_a_disk_that_fails_at_the_start_is_told_of(folder: Folder) -> None:
    store = await a_memory_store()
    refill(folder, [Spooled(1, a_tick(1))])
    spool = folder.open(None)
    (folder.path / f"{2:012}.spool").symlink_to("/dev/full")
    with pytest.raises(StoreUnavailable, match="the spool cannot be used"):
        await replay_spool(spool, store, await store.recover(), Lineage("here", 0))
    assert 1 == await replay_spool(folder.open(None), store, await store.recover(), Lineage("here", 0))


async def test_two_databases_are_told_apart_though_one_is_a_copy(embedded_server: object) -> None:
    names = [embedded_server.create() for _ in range(2)]  # type: ignore[attr-defined]
    found = []
    for name in names:
        database = await Database.open(embedded_server.dsn(name))  # type: ignore[attr-defined]
        found.append(await read_lineage(database))
        await database.close()
        embedded_server.drop(name)  # type: ignore[attr-defined]
    assert found[0].database_id != found[1].database_id
    assert [0, 0] == [each.committed_start_number for each in found]


async def started(store: PostgresStore, spool: Spool) -> int:
    """A start; the last committed flush that it finds."""
    return (await recover_with_spool(store, spool)).flush_number


async def test_postgres_gone_for_long_then_back_then_gone_and_a_restart(tmp_path: Path, folder: Folder) -> None:
    """Everything arrives once: what was spooled, what came meanwhile, and what only a start finds in the spool."""
    server = EmbeddedPostgres(tmp_path / "database", durable=False)
    dsn = await server.start()
    await migrate(dsn)
    store = await PostgresStore.open(dsn)
    assert 0 == await started(store, folder.open(None))
    bench = Bench(store, SMALL, spool=folder.spool)
    async with bench.running():
        assert 0 == await bench.drained(a_tick(1))
        await server.stop()
        for number in range(2, 151):
            bench.writer.offer(a_tick(number))
            await appended(bench)
        assert bench.writer.statistics().spool_flush_count > 100
        await server.start()
        assert 0 == await bench.drained(*(a_tick(number) for number in range(151, 161)))
        await server.stop()
        for number in range(161, 301):
            bench.writer.offer(a_tick(number))
        assert 0 < await bench.writer.drain(1.5)
    bench.writer.close()
    await store.close()
    await server.start()
    store = await PostgresStore.open(dsn)
    assert 300 == await started(store, folder.open(None))
    assert 300 == await started(store, folder.open(None))
    await expect_rows(dsn, 300)
    await store.close()
    await server.stop()


async def expect_rows(dsn: str, version_max: int) -> None:
    """Two accounts at each version, once."""
    hand = await asyncpg.connect(dsn, timeout=SECONDS)
    query = "SELECT count(*), count(DISTINCT (account_id, version)), count(DISTINCT version) FROM equity_timeseries"
    found = await hand.fetchrow(query, timeout=SECONDS)
    assert (2 * version_max, 2 * version_max, version_max) == tuple(found or ())
    await hand.close(timeout=SECONDS)


async def test_a_poisonous_row_in_the_spool_does_not_keep_a_start_from_going_on(database: str, folder: Folder) -> None:
    hand = await asyncpg.connect(database, timeout=SECONDS)
    await hand.execute("ALTER TABLE equity_timeseries ADD CHECK (total_equity <> 666)", timeout=SECONDS)
    store = await PostgresStore.open(database)
    await started(store, folder.open(None))
    assert folder.spool is not None
    folder.spool.append([Spooled(number, a_tick(number, 666 if number == 2 else None)) for number in range(1, 4)])
    assert 3 == await started(store, folder.open(None))
    assert (4, 2) == tuple(
        await hand.fetchrow(
            "SELECT (SELECT count(*) FROM equity_timeseries), (SELECT count(*) FROM evs.set_aside)", timeout=SECONDS
        )
        or ()
    )
    await hand.close(timeout=SECONDS)
    await store.close()
