"""Who owns which virtual shard: taken, released, lost with the connection, taken again, and lost for good."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from evs_server.errors import ConfigError, Fenced, StoreUnavailable
from evs_server.store import ownership as room
from evs_server.store.database import Database
from evs_server.store.leader import LeaderTimes
from evs_server.store.ownership import Ownership
from evs_server.store.postgres import PostgresStore
from tests.database import DatabaseServer
from tests.flushes import a_flush, a_valuation, an_account_row
from tests.patience import PATIENCE_SECONDS, eventually_true

QUICK = LeaderTimes(silence_seconds=1)
PATIENT = LeaderTimes(silence_seconds=60)
SHARD = 7


class Worker:
    """A worker, and what it has been told."""

    def __init__(self, dsn: str, name: str, times: LeaderTimes) -> None:
        self.lost_count = 0
        self.gone: list[int] = []
        self.dsn = dsn
        self.ownership = Ownership(dsn, name=name, on_lost=self._lost, on_gone=self.gone.append, times=times)

    def _lost(self) -> None:
        self.lost_count += 1

    async def pid(self) -> int:
        """The server's process behind its connection."""
        async with self.ownership.transaction("ask who serves us") as connection:
            pid: int = await connection.fetchval("SELECT pg_backend_pid()")
        return pid

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Its hold is kept in the background."""
        task = asyncio.create_task(self.ownership.keep())
        try:
            yield
            assert not task.done(), "it ends only when it is told to"
        finally:
            task.cancel()
            await asyncio.wait({task})


@asynccontextmanager
async def worker(dsn: str, name: str, times: LeaderTimes = PATIENT) -> AsyncIterator[Worker]:
    made = Worker(dsn, name, times)
    await made.ownership.join()
    try:
        yield made
    finally:
        await made.ownership.close()


@asynccontextmanager
async def begun(owner: Worker) -> AsyncIterator[PostgresStore]:
    """The store of ``SHARD``, which its owner has started on."""
    database = await Database.open(owner.dsn)
    try:
        assert await owner.ownership.take(SHARD)
        store = PostgresStore(database, shard=SHARD, writing=owner.ownership.transaction)
        owner.ownership.began(SHARD, (await store.recover()).start_number)
        yield store
    finally:
        await database.close()


async def ask(dsn: str, query: str, *arguments: object) -> object:
    connection = await asyncpg.connect(dsn, timeout=PATIENCE_SECONDS)
    try:
        return await connection.fetchval(query, *arguments, timeout=PATIENCE_SECONDS)
    finally:
        await connection.close(timeout=PATIENCE_SECONDS)


async def end_session(dsn: str, pid: int) -> None:
    assert await ask(dsn, "SELECT pg_terminate_backend($1, 10000)", pid)


async def see_owners(owner: Worker, expected: dict[int, str]) -> None:
    """Return once a worker, which has to find back first, sees that these own what they own."""

    async def look() -> bool:
        with contextlib.suppress(StoreUnavailable):
            return await owner.ownership.owners() == expected
        return False

    await eventually_true(look, f"the owners are {expected}")


async def see_gone(owner: Worker, expected: list[int]) -> None:
    """Return once a worker has been told what it owns no more."""

    async def look() -> bool:
        return owner.gone == expected

    await eventually_true(look, f"{expected} are gone")


async def test_what_one_owns_another_cannot_take_until_it_is_released(any_database: str) -> None:
    async with worker(any_database, "one") as one, worker(any_database, "two") as two:
        assert (True, True, False) == (
            await one.ownership.take(SHARD),
            await one.ownership.take(SHARD),
            await two.ownership.take(SHARD),
        )
        assert await two.ownership.take(64)
        assert {SHARD: "one", 64: "two"} == await two.ownership.owners()
        await one.ownership.release(SHARD)
        assert await two.ownership.take(SHARD)
        assert ([], [SHARD, 64]) == (one.ownership.owned, two.ownership.owned)


async def test_workers_are_those_that_take_part(any_database: str) -> None:
    """Who stands aside owns what it owns; who has gone is gone."""
    async with worker(any_database, "one") as one:
        async with worker(any_database, "two") as two:
            await two.ownership.take(SHARD)
            assert ["one", "two"] == await one.ownership.workers()
            await two.ownership.stand_aside()
            assert ["one"] == await one.ownership.workers()
            assert {SHARD: "two"} == await one.ownership.owners()
        await one.ownership.join()
        assert ["one"] == await one.ownership.workers()
        assert {} == await one.ownership.owners()


async def test_databases_of_one_server_have_owners_of_their_own(database: str, any_database: str) -> None:
    async with worker(database, "one") as one, worker(any_database, "two") as two:
        assert await one.ownership.take(SHARD)
        assert await two.ownership.take(SHARD)
        assert ({SHARD: "one"}, ["one"]) == (await one.ownership.owners(), await one.ownership.workers())


async def test_a_flush_that_fails_costs_no_lock(any_database: str) -> None:
    """It is rolled back; the connection, and what hangs on it, stays."""
    async with worker(any_database, "one") as one, begun(one) as store:
        pid = await one.pid()
        broken = a_valuation(9, {1: 1})
        broken.equity_cents[0] += 1
        with pytest.raises(StoreUnavailable, match="write flush 1"):
            await store.write(a_flush(1, accounts=[an_account_row(1)], rows=[broken]))
        await store.write(a_flush(1, accounts=[an_account_row(1, 5)]))
        assert (pid, {SHARD: "one"}) == (await one.pid(), await one.ownership.owners())
        assert [5] == (await store.recover()).state.accounts.cash_cents.tolist()


async def test_a_flush_that_nobody_waits_for_any_more_costs_no_lock(any_database: str) -> None:
    """As when its attempt takes too long: here since somebody holds its table."""
    hand = await asyncpg.connect(any_database, timeout=PATIENCE_SECONDS)
    async with worker(any_database, "one") as one, begun(one) as store:
        pid = await one.pid()
        async with hand.transaction():
            await hand.execute("LOCK TABLE evs.account", timeout=PATIENCE_SECONDS)
            writing = asyncio.create_task(store.write(a_flush(1, accounts=[an_account_row(1)])))
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'evs.account'::regclass"
            await eventually_true(lambda: hand.fetchval(waits, timeout=PATIENCE_SECONDS), "the flush waits")
            writing.cancel()
            await asyncio.wait({writing})
        assert (pid, 0) == (await one.pid(), (await store.recover()).flush_number)
    await hand.close(timeout=PATIENCE_SECONDS)


async def test_a_flush_that_is_cut_off_at_whatever_moment_costs_no_lock(any_database: str) -> None:
    """Also while it begins, or is being committed: the next one finds the connection as it should be."""
    async with worker(any_database, "one") as one, begun(one) as store:
        pid = await one.pid()
        for turns in range(150):
            writing = asyncio.create_task(store.write(a_flush(1 + turns, accounts=[an_account_row(1, turns)])))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait({writing})
        assert (pid, {SHARD: "one"}) == (await one.pid(), await one.ownership.owners())
        await store.write(a_flush(200, accounts=[an_account_row(1, 5)]))
        assert [5] == (await store.recover()).state.accounts.cash_cents.tolist()


async def test_a_lock_that_could_not_be_let_go_of_is_let_go_of_later(
    any_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection was busy for too long: until then the lock is nobody's to take, not even ours."""
    monkeypatch.setattr(room, "TURN_SECONDS", 0.05)
    async with worker(any_database, "one", QUICK) as one, worker(any_database, "two") as two:
        await one.ownership.take(SHARD)
        async with one.ownership.transaction("keep it busy"):
            with pytest.raises(StoreUnavailable):
                await one.ownership.release(SHARD)
        assert ([], False, False) == (
            one.ownership.owned,
            await one.ownership.take(SHARD),
            await two.ownership.take(SHARD),
        )
        async with one.keeping():
            await eventually_true(lambda: two.ownership.take(SHARD), "the other takes it")


async def test_transactions_take_turns_in_the_order_asked_for(any_database: str) -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        async with one.ownership.transaction(f"work {number}") as connection:
            await connection.fetchval("SELECT pg_sleep(0)")
            done.append(number)
            await asyncio.sleep(0)
            assert number == done[-1], "nobody else came in between"

    async with worker(any_database, "one") as one:
        await asyncio.gather(*(work(number) for number in range(5)))
    assert [0, 1, 2, 3, 4] == done


async def test_a_lost_connection_is_made_again_and_the_work_goes_on(any_database: str) -> None:
    async with worker(any_database, "one") as one, begun(one) as store, one.keeping():
        before = await one.pid()
        await end_session(any_database, before)

        async def written() -> bool:
            with contextlib.suppress(StoreUnavailable):
                await store.write(a_flush(1, accounts=[an_account_row(1)]))
                return True
            return False

        await eventually_true(written, "the flush is written by another connection")
        await see_owners(one, {SHARD: "one"})
        assert ["one"] == await one.ownership.workers()
        assert ([], 1, True) == (one.gone, one.lost_count, before != await one.pid())


async def test_what_another_has_started_on_is_gone(any_database: str) -> None:
    """Here one worker sleeps: nobody keeps its hold until the other is done. It says so, and can write nothing."""
    async with worker(any_database, "one", QUICK) as one, begun(one) as store, worker(any_database, "two") as two:
        await one.ownership.take(SHARD + 1)
        await eventually_true(lambda: two.ownership.take(SHARD), "PostgreSQL ends the session of who says nothing")
        async with begun(two) as others:
            async with one.keeping():
                await see_owners(one, {SHARD: "two", SHARD + 1: "one"})
                await see_gone(one, [SHARD])
                with pytest.raises(Fenced, match="start 2 has taken over from start 1"):
                    await store.write(a_flush(1, accounts=[an_account_row(1)]))
            await others.write(a_flush(1, accounts=[an_account_row(1)]))
            assert [SHARD + 1] == one.ownership.owned


async def test_what_another_has_started_on_is_gone_even_if_it_is_free_again(any_database: str) -> None:
    async with worker(any_database, "one") as one, begun(one):
        pid = await one.pid()
        await end_session(any_database, pid)
        async with worker(any_database, "two") as two, begun(two):
            pass
        async with one.keeping():
            await see_gone(one, [SHARD])
            await see_owners(one, {})


async def test_who_says_something_now_and_then_keeps_its_connection(any_database: str) -> None:
    """For longer than PostgreSQL lets a session be silent."""
    async with worker(any_database, "one", QUICK) as one, one.keeping():
        pid = await one.pid()
        old = "SELECT clock_timestamp() - backend_start > interval '3 s' FROM pg_stat_activity WHERE pid = $1"
        await eventually_true(lambda: ask(any_database, old, pid), "its session is three silences old")
        assert (pid, 0) == (await one.pid(), one.lost_count)


async def test_while_the_connection_is_lost_everything_says_so(any_database: str) -> None:
    async with worker(any_database, "one") as one, begun(one) as store:
        await end_session(any_database, await one.pid())

        async def refused() -> bool:
            with contextlib.suppress(StoreUnavailable):
                return not await one.ownership.workers()
            return True

        await eventually_true(refused, "the connection is known to be lost")
        with pytest.raises(StoreUnavailable, match="write flush 1"):
            await store.write(a_flush(1))
        await one.ownership.release(SHARD)
        assert [] == one.ownership.owned


async def test_a_worker_cannot_join_an_address_that_is_none(embedded_server: DatabaseServer) -> None:
    dsn = embedded_server.dsn("postgres").replace("port=5432", "port=many")
    with pytest.raises(ConfigError, match="EVS_DATABASE_URL"):
        await Worker(dsn, "one", PATIENT).ownership.join()


async def test_a_worker_cannot_join_before_the_database_is_migrated(empty_database: str) -> None:
    with pytest.raises(StoreUnavailable, match="connect to the database"):
        await Worker(empty_database, "one", PATIENT).ownership.join()
