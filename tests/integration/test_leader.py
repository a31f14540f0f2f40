"""Who leads: the lock taken, kept, lost, taken again, and lost for good, on a real PostgreSQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from evs_server.clock import SystemClock
from evs_server.errors import ConfigError, Fenced, StoreUnavailable
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.leader import Leadership, LeaderTimes
from evs_server.store.postgres import PostgresStore
from tests.database import DatabaseServer
from tests.patience import PATIENCE_SECONDS, eventually_true

QUICK = LeaderTimes(silence_seconds=2)

HOLDER = """
SELECT pid, application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Candidate:
    """A process that would lead, and whom it has been told of."""

    def __init__(self, dsn: str, name: str, times: LeaderTimes = QUICK) -> None:
        self.followed: list[str] = []
        self.claim = Leadership(dsn, name=name, clock=SystemClock(), on_following=self.followed.append, times=times)

    async def lead(self) -> None:
        """Return once it leads, as often as the database has to be asked."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    return await self.claim.acquire()
                # A server whose socket has gone is refused without waiting for anything: nobody else would get a turn.
                await asyncio.sleep(0)

    async def following(self) -> "asyncio.Task[None]":
        """Its wait for the lead, once it has seen that another one has it."""
        waiting = asyncio.create_task(self.lead())
        await eventually_true(self._has_followed, "somebody else is seen to lead")
        return waiting

    async def _has_followed(self) -> bool:
        return bool(self.followed)


@asynccontextmanager
async def candidate(dsn: str, name: str, times: LeaderTimes = QUICK) -> AsyncIterator[Candidate]:
    made = Candidate(dsn, name, times)
    try:
        yield made
    finally:
        await made.claim.close()


@asynccontextmanager
async def keeping(leader: Candidate) -> AsyncIterator["asyncio.Task[None]"]:
    """A lead that is kept in the background; the task ends only as it should not."""
    task = asyncio.create_task(leader.claim.keep())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def ask(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, timeout=PATIENCE_SECONDS)
    try:
        return await connection.fetch(query, timeout=PATIENCE_SECONDS)
    finally:
        await connection.close(timeout=PATIENCE_SECONDS)


async def holder(dsn: str) -> tuple[int, str]:
    """The process id of the session that holds the lock, and its name, as soon as there is one."""
    found = await eventually_true(lambda: ask(dsn, HOLDER), "somebody leads")
    return found[0]["pid"], found[0]["application_name"]


async def start_number(dsn: str) -> int:
    """Start as EVS does, and be gone at once; the number of the start."""
    store = await PostgresStore.open(dsn)
    try:
        return (await store.recover()).start_number
    finally:
        await store.close()


async def test_the_first_leads_and_the_next_knows_whom_it_follows(database: str) -> None:
    """The second waits, and leads when the first lets go."""
    async with candidate(database, "evs one") as one, candidate(database, "evs two") as two:
        await one.lead()
        async with keeping(one):
            waiting = await two.following()
            assert ["evs one"] == two.followed
            assert not waiting.done()
        await one.claim.close()
        await waiting
        assert "evs two" == (await holder(database))[1]


async def test_each_database_has_a_leader_of_its_own(database: str, empty_database: str) -> None:
    """The lock is not the server's; nor need there be tables yet."""
    async with candidate(database, "evs one") as one, candidate(empty_database, "evs two") as two:
        await one.lead()
        await two.lead()
        assert [] == two.followed


async def test_a_name_is_what_postgres_can_show(database: str) -> None:
    """It would cut one that is too long with a warning, and show nothing but ASCII."""
    async with candidate(database, "ä" + "b" * 70) as one:
        await one.lead()
        assert "?" + "b" * 62 == (await holder(database))[1]


async def test_a_lost_connection_is_no_lost_lead(database: str) -> None:
    """Who waits leaves the lock alone for long enough that its leader comes back first, again and again."""
    async with candidate(database, "evs one") as one, candidate(database, "evs two") as two:
        await one.lead()
        one.claim.began(await start_number(database))
        async with keeping(one) as kept:
            waiting = await two.following()
            for _ in range(3):
                before, _ = await holder(database)
                await ask(database, f"SELECT pg_terminate_backend({before}, 5000)")
                after, name = await holder(database)
                assert before != after
                assert "evs one" == name
            assert not kept.done()
            assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_a_leader_that_says_nothing_is_replaced_and_fenced_when_it_wakes(database: str) -> None:
    """As when its process sleeps: PostgreSQL ends the session, and who waits takes over."""
    async with candidate(database, "evs one") as one, candidate(database, "evs two") as two:
        await one.lead()
        number = await start_number(database)
        one.claim.began(number)
        await (await two.following())
        two.claim.began(await start_number(database))
        async with keeping(two) as kept:
            with pytest.raises(Fenced, match=f"start {number + 1} has taken over from start {number}"):
                await one.claim.keep()
            assert not kept.done()


async def test_who_has_been_replaced_is_fenced_even_if_the_lock_is_free(database: str) -> None:
    """The other one may have come and gone while this one slept."""
    async with candidate(database, "evs one") as one:
        await one.lead()
        one.claim.began(await start_number(database))
        await start_number(database)
        pid, _ = await holder(database)
        await ask(database, f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(Fenced):
            await one.claim.keep()


async def test_a_restart_of_postgres_changes_no_leader(tmp_path: Path) -> None:
    """Leader and follower both come back, each as what it was."""
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    dsn = await server.start()
    try:
        async with candidate(dsn, "evs one") as one, candidate(dsn, "evs two") as two:
            await one.lead()
            async with keeping(one) as kept:
                waiting = await two.following()
                await server.stop()
                await server.start()
                assert "evs one" == (await holder(dsn))[1]
                assert (False, False) == (kept.done(), waiting.done())
            waiting.cancel()
            await asyncio.wait({waiting})
    finally:
        await server.stop()


async def test_a_database_that_is_away_may_be_asked_again(tmp_path: Path) -> None:
    async with candidate(f"postgresql://evs@/postgres?host={tmp_path}", "evs one") as one:
        with pytest.raises(StoreUnavailable, match="ask who leads"):
            await one.claim.acquire()


async def test_a_url_that_cannot_be_read_is_the_operators(embedded_server: DatabaseServer) -> None:
    async with candidate(embedded_server.dsn("postgres").replace("port=5432", "port=many"), "evs one") as one:
        with pytest.raises(ConfigError, match="EVS_DATABASE_URL"):
            await one.claim.acquire()


@pytest.mark.parametrize("silence_seconds", [1, 10, 3_600])
def test_a_leader_may_miss_a_word_and_gives_up_after_who_follows(silence_seconds: int) -> None:
    """Else a server that hangs for a while would change the leader."""
    times = LeaderTimes(silence_seconds)
    assert 3 * times.heartbeat_seconds < times.silence_seconds
    assert times.follower_answer_seconds < times.leader_answer_seconds
    assert 3 * times.poll_seconds < times.patience_seconds
