"""The writer: on the stand-in where an outcome is to be chosen, on PostgreSQL where it is to be real."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
import uvloop

from evs_server.errors import Fenced
from evs_server.model import Flush
from evs_server.ports import Store
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.memory import Fault, MemoryStore
from evs_server.store.migrate import migrate
from evs_server.store.poison import Sift
from evs_server.store.postgres import PostgresStore
from evs_server.store.spool import Spool
from evs_server.store.writer import Writer, WriterLimits
from tests.builders import NOON_MS
from tests.flushes import a_flush, a_valuation, an_account_row, plain
from tests.patience import eventually_true

SECONDS = 30
PATIENT = WriterLimits(backoff_seconds=0.001, backoff_seconds_max=0.01)


class HandClock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_ms(self) -> int:
        return NOON_MS + int(1_000 * self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Bench:
    """A writer at work, and what it said."""

    store: Store
    limits: WriterLimits = PATIENT
    clock: HandClock = field(default_factory=HandClock)
    durable: list[Flush] = field(default_factory=list)
    fenced: list[Fenced] = field(default_factory=list)
    spool: Spool | None = None
    sift: Sift | None = None

    def __post_init__(self) -> None:
        self.writer = Writer(
            self.store,
            self.clock,
            on_durable=self.durable.append,
            on_fenced=self.fenced.append,
            limits=self.limits,
            spool=self.spool,
            sift=self.sift,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The writer runs within the block."""
        task = asyncio.create_task(self.writer.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=SECONDS)
            assert task.cancelled() or task.exception() is None

    async def drained(self, *flushes: Flush) -> int:
        """Offer flushes and wait until all are written; how many are not."""
        for flush in flushes:
            self.writer.offer(flush)
        return await self.writer.drain(SECONDS)


async def a_memory_store(*faults: Fault) -> MemoryStore:
    store = MemoryStore()
    await store.recover()
    store.faults.extend(faults)
    return store


async def test_what_is_offered_is_written_and_said_to_be_durable() -> None:
    bench = Bench(await a_memory_store())
    async with bench.running():
        assert 0 == await bench.drained(a_flush(1, rows=[a_valuation(1, {1: 10})]))
        assert 0 == await bench.drained(a_flush(2, rows=[a_valuation(2, {1: 11, 2: 20})]))
    assert [1, 2] == [flush.number for flush in bench.durable]
    statistics = bench.writer.statistics()
    assert (2, 3, 2, 0) == (
        statistics.committed_flush_number,
        statistics.committed_row_count,
        statistics.commit_count,
        statistics.waiting_flush_count,
    )


async def test_what_has_queued_up_is_one_transaction() -> None:
    bench = Bench(await a_memory_store())
    for number in (1, 2, 3):
        bench.writer.offer(a_flush(number))
    async with bench.running():
        assert 0 == await bench.drained()
    assert [(3, 3)] == [(flush.number, flush.event_count) for flush in bench.durable]


class TellingStore(MemoryStore):
    """A store that tells of each flush it has written."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: asyncio.Queue[int] = asyncio.Queue()

    async def write(self, flush: Flush) -> None:
        await super().write(flush)
        self.numbers.put_nowait(flush.number)

    async def next_number(self) -> int:
        """The number of the next flush that is written."""
        return await asyncio.wait_for(self.numbers.get(), SECONDS)


class SlowStore(TellingStore):
    """A store whose writes take a while, by a clock that a test has set."""

    clock: HandClock
    seconds = 0.0

    async def write(self, flush: Flush) -> None:
        self.clock.seconds += self.seconds
        await super().write(flush)


HOUR_SECONDS = 3_600.0


@asynccontextmanager
async def a_leisurely_writer(limits: WriterLimits) -> AsyncIterator[tuple[Bench, TellingStore]]:
    """One that has just written flush 1, and is in no hurry to write the next."""
    store = TellingStore()
    await store.recover()
    bench = Bench(store, limits)
    async with bench.running():
        bench.writer.offer(a_flush(1))
        assert 1 == await store.next_number()
        yield bench, store


async def test_while_flushes_keep_coming_transactions_begin_at_a_pace_and_share_them() -> None:
    """Draining does not wait for it."""
    async with a_leisurely_writer(WriterLimits(pace_seconds=HOUR_SECONDS)) as (bench, store):
        for number in (2, 3, 4):
            bench.writer.offer(a_flush(number))
            await asyncio.sleep(0)
        assert (3, 1) == (bench.writer.statistics().waiting_flush_count, bench.writer.statistics().commit_count)
        assert 0 == await bench.drained()
        assert 4 == await store.next_number()
    assert [1, 4] == [flush.number for flush in bench.durable]


async def test_after_a_quiet_time_a_flush_is_written_at_once() -> None:
    async with a_leisurely_writer(WriterLimits(pace_seconds=HOUR_SECONDS)) as (bench, store):
        bench.clock.seconds = HOUR_SECONDS
        bench.writer.offer(a_flush(2))
        assert 2 == await store.next_number()


async def test_transactions_that_take_long_begin_less_often() -> None:
    """Within a bound: whoever waits to hear that an event is durable does not wait for ever."""
    limits = WriterLimits(pace_factor=6.0, pace_seconds_max=HOUR_SECONDS)
    store = SlowStore()
    await store.recover()
    bench = Bench(store, limits)
    store.clock, store.seconds = bench.clock, HOUR_SECONDS / 10
    async with bench.running():
        bench.writer.offer(a_flush(1))
        assert 1 == await store.next_number()
        bench.clock.seconds = HOUR_SECONDS / 2  # the next may begin after six tenths of an hour
        bench.writer.offer(a_flush(2))
        for _ in range(20):
            await asyncio.sleep(0)
        bench.writer.offer(a_flush(3))
        assert 0 == await bench.drained()
    assert [1, 3] == [flush.number for flush in bench.durable]


async def test_what_is_announced_is_asked_for_when_the_time_of_the_next_transaction_has_come() -> None:
    """Once, however often it was announced: what has changed by then is captured as one."""
    async with a_leisurely_writer(WriterLimits(pace_seconds=HOUR_SECONDS)) as (bench, store):
        asked: list[int] = []

        def offer() -> None:
            asked.append(2)
            bench.writer.offer(a_flush(2))

        bench.writer.on_turn = offer
        for _ in range(3):
            bench.writer.announce()
            await asyncio.sleep(0)
        assert [] == asked
        assert 0 == await bench.drained()
        assert 2 == await store.next_number()
        assert [2] == asked
        bench.clock.seconds = HOUR_SECONDS
        bench.writer.offer(a_flush(3))
        assert 3 == await store.next_number()
        assert [2] == asked


async def test_after_a_quiet_time_what_is_announced_is_asked_for_at_once() -> None:
    async with a_leisurely_writer(WriterLimits(pace_seconds=HOUR_SECONDS)) as (bench, store):
        bench.clock.seconds = HOUR_SECONDS
        bench.writer.on_turn = lambda: bench.writer.offer(a_flush(2))
        bench.writer.announce()
        assert 2 == await store.next_number()


async def test_an_announcement_that_has_come_to_nothing_is_no_transaction() -> None:
    """A timer may have offered it before."""
    async with a_leisurely_writer(WriterLimits(pace_seconds=HOUR_SECONDS)) as (bench, _):
        bench.writer.announce()
        assert 0 == await bench.drained()
        assert 1 == bench.writer.statistics().commit_count


async def test_a_full_transaction_is_not_held_back() -> None:
    """Nor one that fills up while it is."""
    limits = WriterLimits(pace_seconds=HOUR_SECONDS, transaction_rows=3)
    async with a_leisurely_writer(limits) as (bench, store):
        bench.writer.offer(a_flush(2, rows=[a_valuation(2, {1: 1, 2: 2, 3: 3})]))
        assert 2 == await store.next_number()
        bench.writer.offer(a_flush(3, rows=[a_valuation(3, {1: 1})]))
        await asyncio.sleep(0)
        bench.writer.offer(a_flush(4, rows=[a_valuation(4, {1: 1, 2: 2})]))
        assert 4 == await store.next_number()


async def test_what_failed_is_tried_again_without_regard_to_the_pace() -> None:
    limits = WriterLimits(pace_seconds=HOUR_SECONDS, backoff_seconds=0.001)
    async with a_leisurely_writer(limits) as (bench, store):
        store.faults.append(Fault.LOST)
        bench.clock.seconds = HOUR_SECONDS
        bench.writer.offer(a_flush(2))
        assert 2 == await store.next_number()
        assert 1 == bench.writer.statistics().failure_count


async def test_a_transaction_takes_no_more_rows_than_its_bound() -> None:
    """A single flush beyond it goes alone: it commits whole or not at all."""
    bench = Bench(await a_memory_store(), WriterLimits(transaction_rows=3, queue_rows=100))
    for number, row_count in enumerate([2, 1, 1, 5], start=1):
        bench.writer.offer(a_flush(number, rows=[a_valuation(number, dict.fromkeys(range(row_count), 1))]))
    async with bench.running():
        assert 0 == await bench.drained()
    assert [2, 3, 4] == [flush.number for flush in bench.durable]


@pytest.mark.parametrize("fault", list(Fault))
async def test_a_failed_write_is_tried_again_as_it_was(fault: Fault) -> None:
    """Also when it had been committed after all: nothing is there twice."""
    store = await a_memory_store(fault, fault)
    bench = Bench(store)
    async with bench.running():
        assert 0 == await bench.drained(a_flush(1, rows=[a_valuation(1, {1: 10})]), a_flush(2))
    assert [2] == [flush.number for flush in bench.durable]
    assert [1] == [row.version for row in store.tables.rows]
    assert 2 == bench.writer.statistics().failure_count
    assert None is bench.writer.degraded_since_ms


class StandingStore(MemoryStore):
    """A store in which writes stand still until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[Flush] = []
        self.arrived = asyncio.Event()
        self.may_go = asyncio.Event()

    async def write(self, flush: Flush) -> None:
        self.attempts.append(flush)
        self.arrived.set()
        await self.may_go.wait()
        await super().write(flush)

    def let_one_go(self) -> None:
        """Let the write go that stands still, and none after it."""
        self.arrived.clear()
        self.may_go.set()
        self.may_go.clear()


async def test_a_batch_of_unknown_outcome_is_not_merged_with_what_came_later() -> None:
    store = StandingStore()
    await store.recover()
    store.faults.append(Fault.UNKNOWN)
    bench = Bench(store)
    async with bench.running():
        bench.writer.offer(a_flush(1, accounts=[an_account_row(1, 10)]))
        await asyncio.wait_for(store.arrived.wait(), SECONDS)
        bench.writer.offer(a_flush(2, accounts=[an_account_row(1, 11)]))
        bench.writer.offer(a_flush(3))
        store.may_go.set()
        assert 0 == await bench.drained()
    assert [1, 1, 3] == [flush.number for flush in store.attempts]
    assert [11] == store.tables.recovered.state.accounts.cash_cents.tolist()


async def test_a_write_that_hangs_is_given_up_and_tried_again() -> None:
    store = StandingStore()
    await store.recover()
    bench = Bench(store, WriterLimits(attempt_seconds=0.01, backoff_seconds=0.001))
    async with bench.running():
        bench.writer.offer(a_flush(1))
        while bench.writer.statistics().failure_count < 2:
            store.arrived.clear()
            await asyncio.wait_for(store.arrived.wait(), SECONDS)
        assert "flush 1 was not written within 0.01 s" == bench.writer.statistics().last_failure
        store.may_go.set()
        assert 0 == await bench.drained()
    assert [1] == [flush.number for flush in bench.durable]


async def test_a_failing_database_is_told_of_since_the_first_failure() -> None:
    store = StandingStore()
    await store.recover()
    store.faults.extend([Fault.LOST, Fault.LOST])
    bench = Bench(store)
    async with bench.running():
        bench.clock.seconds = 1.0
        bench.writer.offer(a_flush(1))
        for failure_count, seconds in ((0, 3.0), (1, 5.0), (2, 7.0)):
            await asyncio.wait_for(store.arrived.wait(), SECONDS)
            assert failure_count == bench.writer.statistics().failure_count
            assert (NOON_MS + 1_000 if failure_count else None) == bench.writer.degraded_since_ms
            bench.clock.seconds = seconds
            store.let_one_go()
        assert 0 == await bench.drained()
    assert None is bench.writer.degraded_since_ms


async def test_a_slow_database_is_told_of_since_the_oldest_flush() -> None:
    bench = Bench(await a_memory_store())
    bench.clock.seconds = 5.0
    bench.writer.offer(a_flush(1))
    bench.clock.seconds = 15.0
    assert (None, 10_000) == (bench.writer.degraded_since_ms, bench.writer.statistics().oldest_age_ms)
    bench.clock.seconds = 15.5
    bench.writer.offer(a_flush(2))
    assert NOON_MS + 5_000 == bench.writer.degraded_since_ms


async def test_past_the_high_water_mark_the_newest_row_of_each_account_is_kept() -> None:
    """What is given up is counted, and state, unlike rows, loses nothing."""
    store = await a_memory_store()
    bench = Bench(store, WriterLimits(transaction_rows=4, queue_rows=4))
    for number in range(1, 8):
        bench.writer.offer(
            a_flush(
                number,
                accounts=[an_account_row(number)],
                rows=[a_valuation(number, {1: number, 2: number})],
                settlements=[(1, 1, number)],
            )
        )
    assert 4 >= bench.writer.statistics().waiting_row_count
    async with bench.running():
        assert 0 == await bench.drained()
    statistics = bench.writer.statistics()
    assert 14 == statistics.coalesced_row_count + statistics.committed_row_count
    assert plain(a_valuation(7, {1: 7, 2: 7})) == plain(store.tables.rows[-1])
    recovered = await store.recover()
    assert list(range(1, 8)) == recovered.state.accounts.account_id.tolist()
    assert list(range(1, 8)) == recovered.settlements.settlement_id.tolist()
    assert 7 == recovered.flush_number


async def test_more_accounts_than_the_high_water_mark_are_not_thinned_again_and_again() -> None:
    bench = Bench(await a_memory_store(), WriterLimits(transaction_rows=4, queue_rows=4))
    for number in range(1, 9):
        bench.writer.offer(a_flush(number, rows=[a_valuation(number, dict.fromkeys(range(10), number))]))
        assert 20 >= bench.writer.statistics().waiting_row_count


async def test_flushes_without_rows_do_not_pile_up() -> None:
    bench = Bench(await a_memory_store(), WriterLimits(queue_flushes=3))
    for number in range(1, 101):
        bench.writer.offer(a_flush(number, accounts=[an_account_row(1, number)]))
        assert 3 >= bench.writer.statistics().waiting_flush_count
    async with bench.running():
        assert 0 == await bench.drained()
    assert 100 == sum(flush.event_count for flush in bench.durable)


async def test_a_replaced_process_stops_writing_and_says_so() -> None:
    store = await a_memory_store()
    await MemoryStore(store.tables).recover()
    bench = Bench(store)
    async with bench.running():
        assert 1 == await bench.drained(a_flush(1))
        assert 2 == await bench.drained(a_flush(2))  # at once: nothing will ever be written
    assert ["start 2 has taken over from start 1"] == [fenced.message for fenced in bench.fenced]
    assert [] == bench.durable


async def test_draining_ends_at_its_deadline() -> None:
    store = StandingStore()
    await store.recover()
    bench = Bench(store)
    async with bench.running():
        bench.writer.offer(a_flush(1))
        assert 1 == await bench.writer.drain(0.01)


async def test_a_connection_that_is_cut_off_loses_and_doubles_nothing(any_database: str) -> None:
    """Someone ends all of our backends, again and again, while ticks are written."""
    store = await PostgresStore.open(any_database)
    await store.recover()
    bench = Bench(store, WriterLimits(transaction_rows=50, queue_rows=100_000, backoff_seconds=0.001))
    hand = await asyncpg.connect(any_database, timeout=SECONDS)
    async with bench.running():
        for number in range(1, 201):
            bench.writer.offer(
                a_flush(
                    number,
                    accounts=[an_account_row(1, number)],
                    rows=[a_valuation(number, dict.fromkeys(range(1, 21), number))],
                )
            )
            if number % 10 == 0:
                await hand.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evs'",
                    timeout=SECONDS,
                )
        assert 0 == await bench.drained()
    assert bench.writer.statistics().failure_count > 0
    found = await hand.fetchrow(
        "SELECT count(*), count(DISTINCT (account_id, version)) AS kinds, max(version) FROM equity_timeseries",
        timeout=SECONDS,
    )
    assert (4_000, 4_000, 200) == tuple(found or ())
    assert (200, 200) == tuple(await hand.fetchrow("SELECT flush_number, event_count FROM evs.engine") or ())
    await hand.close(timeout=SECONDS)
    await store.close()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_is_lost_in_a_copy_costs_one_attempt_and_not_its_deadline(
    new_loop: Callable[[], asyncio.AbstractEventLoop], any_database: str
) -> None:
    """The socket is full when it goes: nothing but its end could tell who waits for room in it."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_lose_the_connection_in_a_copy(any_database))


async def _lose_the_connection_in_a_copy(dsn: str) -> None:
    store = await PostgresStore.open(dsn)
    hand = await asyncpg.connect(dsn, timeout=SECONDS)
    try:
        await store.recover()
        bench = Bench(store)
        async with bench.running():
            async with hand.transaction():
                await hand.execute("LOCK TABLE equity_timeseries", timeout=SECONDS)
                bench.writer.offer(a_flush(1, rows=[a_valuation(1, dict.fromkeys(range(1, 20_001), 10))]))
                ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = $1::regclass"
                await eventually_true(
                    lambda: hand.fetchval(ended, "equity_timeseries", timeout=SECONDS), "the copy waits for the table"
                )
            assert 0 == await bench.drained()
        assert 1 == bench.writer.statistics().failure_count
        stored = "SELECT count(*), count(DISTINCT account_id) AS accounts FROM equity_timeseries"
        assert (20_000, 20_000) == tuple(await hand.fetchrow(stored, timeout=SECONDS) or ())
    finally:
        await hand.close(timeout=SECONDS)
        await store.close()


async def test_a_database_that_goes_and_comes_back_gets_everything(tmp_path: Path) -> None:
    """While it is away offers go on; then what has gathered is written, once."""
    server = EmbeddedPostgres(tmp_path, durable=False)
    dsn = await server.start()
    await migrate(dsn)
    store = await PostgresStore.open(dsn)
    await store.recover()
    bench = Bench(store)
    async with bench.running():
        assert 0 == await bench.drained(a_flush(1, rows=[a_valuation(1, {1: 10})]))
        await server.stop()
        for number in range(2, 51):
            bench.writer.offer(a_flush(number, rows=[a_valuation(number, {1: number})]))
        assert 0 < await bench.writer.drain(0.05)
        assert NOON_MS == bench.writer.degraded_since_ms
        assert dsn == await server.start()
        assert 0 == await bench.drained()
    assert 50 == (await store.recover()).flush_number
    assert 50 == bench.writer.statistics().committed_row_count
    await store.close()
    await server.stop()


async def test_a_locked_table_holds_up_the_writer_and_nobody_else(database: str) -> None:
    """Offers go on; the write that waited in vain is tried again once the lock is gone."""
    store = await PostgresStore.open(database)
    await store.recover()
    bench = Bench(store, WriterLimits(attempt_seconds=0.2, backoff_seconds=0.001))
    hand = await asyncpg.connect(database, timeout=SECONDS)
    async with bench.running():
        transaction = hand.transaction()
        await transaction.start()
        await hand.execute("LOCK TABLE equity_timeseries IN ACCESS EXCLUSIVE MODE", timeout=SECONDS)
        bench.writer.offer(a_flush(1, rows=[a_valuation(1, {1: 10})]))
        assert 1 == await bench.writer.drain(0.5)
        bench.writer.offer(a_flush(2, rows=[a_valuation(2, {1: 10})]))
        assert NOON_MS == bench.writer.degraded_since_ms
        await transaction.rollback()
        assert 0 == await bench.drained()
    assert 2 == await hand.fetchval("SELECT count(*) FROM equity_timeseries", timeout=SECONDS)
    await hand.close(timeout=SECONDS)
    await store.close()
