"""The embedded PostgreSQL when it dies while EVS lives: it comes back, and nothing is lost or counted twice (F5)."""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from evs_server.config import load
from evs_server.store.embedded import EmbeddedPostgres, running_database
from tests.database import run_apart
from tests.e2e.caller import Caller
from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import STOP_SECONDS, Command, running
from tests.integration.sequenced import EVENTS_PER_BLOCK, SOURCE, Market, assert_counted_once, open_accounts
from tests.patience import PATIENCE_SECONDS, eventually, eventually_true

LOOP_FOR_EVER = "DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$"


@pytest.fixture
def server(tmp_path: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(tmp_path / "postgres", durable=False)


@asynccontextmanager
async def supervised(server: EmbeddedPostgres) -> AsyncIterator[str]:
    """A server that runs and is looked after; its address."""
    dsn = await server.start()
    keeping = asyncio.create_task(server.keep_running())
    try:
        yield dsn
    finally:
        keeping.cancel()
        await server.stop()
        await asyncio.wait({keeping})


async def fetch(dsn: str, query: str) -> object:
    """The one value of a query, committed as soon as the server answers."""
    survives = {"synchronous_commit": "on"}  # a kill, on a server that is not durable otherwise

    async def ask() -> list[object]:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(dsn, timeout=PATIENCE_SECONDS, server_settings=survives)
            try:
                return [await connection.fetchval(query, timeout=PATIENCE_SECONDS)]
            finally:
                await connection.close(timeout=PATIENCE_SECONDS)
        return []

    return (await eventually_true(ask, "the server answers"))[0]


def kill(server: EmbeddedPostgres) -> int:
    """End the server as a crash would; its process id."""
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


async def test_a_server_that_is_killed_comes_back_with_what_was_committed(server: EmbeddedPostgres) -> None:
    """At the same address, again and again."""
    async with supervised(server) as dsn:
        await fetch(dsn, "CREATE TABLE kept AS SELECT 7 AS seven")
        for _ in range(2):
            before = kill(server)
            assert 7 == await fetch(dsn, "SELECT seven FROM kept")
            assert before != server.pid


async def test_a_server_that_cannot_start_is_tried_until_it_can(
    server: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What keeps it from running, such as a full disk, may pass; till then the log says what it is."""
    settings = tmp_path / "postgres" / "cluster" / "postgresql.auto.conf"
    async with supervised(server) as dsn:
        well = settings.read_bytes()
        settings.write_text("shared_buffers = 'a great many'\n")
        kill(server)

        async def has_failed() -> bool:
            return "does not start" in caplog.text

        await eventually_true(has_failed, "the log says that it does not start")
        settings.write_bytes(well)
        assert 1 == await fetch(dsn, "SELECT 1")


async def test_a_stop_is_no_death(server: EmbeddedPostgres, tmp_path: Path) -> None:
    """Who is looked after stays stopped, and leaves nothing but its data."""
    async with supervised(server) as dsn:
        assert 1 == await fetch(dsn, "SELECT 1")
    assert server.pid is None
    assert ["cluster"] == [entry.name for entry in (tmp_path / "postgres").iterdir()]


async def somebody_is_busy(dsn: str) -> None:
    looping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'"
    await eventually_true(lambda: fetch(dsn, looping), "somebody is busy")


async def test_a_stop_waits_for_nobody_who_is_busy(server: EmbeddedPostgres) -> None:
    """Neither while the server lives, which ends its processes, nor if it was killed, and they go on by themselves."""
    for killed in (False, True):
        dsn = await server.start()
        connection = await asyncpg.connect(dsn, timeout=PATIENCE_SECONDS)
        await connection.execute("SET statement_timeout = '8s'")
        busy = asyncio.create_task(connection.execute(LOOP_FOR_EVER))
        await somebody_is_busy(dsn)
        if killed:
            kill(server)
        before = time.monotonic()
        await server.stop()
        assert time.monotonic() - before < 5
        connection.terminate()
        await asyncio.wait({busy})
        assert busy.exception() is not None


@contextmanager
def serving(data_dir: Path) -> Iterator[tuple[Command, str, ExchangeTables]]:
    """An EVS with a database of its own, in which accounts 7 and 8 have their opening cash."""
    if not data_dir.joinpath("postgres").exists():
        # EVS would make it safe against a crash of the machine, which takes a slow disk many seconds.
        made = EmbeddedPostgres(data_dir / "postgres", durable=False)
        run_apart(made.start())
        run_apart(made.stop())
    with running("serve", data_dir=data_dir, listen="127.0.0.1:0", metrics_listen="127.0.0.1:0") as command:
        address = command.wait_for(r"ready (\S+)").group(1)
        dsn = running_database(load(data_dir=data_dir))
        assert dsn is not None
        yield command, address, ExchangeTables(dsn)


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])


def is_replaced(data_dir: Path, killed_pid: int) -> bool:
    """Whether another postmaster than the one killed has taken over the data directory."""
    with contextlib.suppress(FileNotFoundError, IndexError):
        return postmaster(data_dir) != killed_pid
    return False


def send_until_a_commit_hangs(tables: ExchangeTables, market: Market, caller: Caller, first_block: int) -> int:
    """
    Send blocks until a commit of EVS's is on disk and not answered: it waits for a standby that does not exist.

    Returns:
        How many blocks have been sent in all.
    """
    tables.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    tables.run("SELECT pg_reload_conf()")
    blocks = itertools.count(first_block)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'evs' AND wait_event = 'SyncRep'"

    def send_one() -> bool:
        number = next(blocks)
        market.send(caller, range(number, number + 1))
        return bool(tables.rows(waiting))

    eventually(send_one, "a commit waits")
    tables.run("ALTER SYSTEM RESET synchronous_standby_names")  # for the next life of the server
    return next(blocks)


def test_a_database_that_dies_in_a_commit_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """The commit is on disk and its answer is lost: the flush's number, found in the database, decides."""
    market = Market()
    with serving(tmp_path) as (evs, address, tables), Caller(address) as caller:
        open_accounts(tables)
        market.send(caller, range(10))
        caller.wait_stored()
        sent = send_until_a_commit_hangs(tables, market, caller, 10)
        os.kill(postmaster(tmp_path), signal.SIGKILL)
        market.send(caller, range(sent, sent + 10))
        evs.wait_for("embedded PostgreSQL runs again")
        assert_counted_once(tables, caller, sent + 10)
        assert 0 == caller.ingest_state(SOURCE).degraded_since
        assert 0 == evs.terminate(), evs.said


def test_a_database_that_dies_again_and_again_under_load(tmp_path: Path) -> None:
    """EVS takes events all the while, catches up each time, and ends as it should."""
    market = Market()
    with serving(tmp_path) as (evs, address, tables), Caller(address) as caller:
        open_accounts(tables)
        for death in range(3):
            market.send(caller, range(20 * death, 20 * death + 10))
            pid = postmaster(tmp_path)
            os.kill(pid, signal.SIGKILL)
            market.send(caller, range(20 * death + 10, 20 * death + 20))
            caller.ingest_state(SOURCE, wait_durable=EVENTS_PER_BLOCK * (20 * death + 20))
            # What had reached a backend that outlived the postmaster was committed by that.
            eventually(lambda killed=pid: is_replaced(tmp_path, killed), "another postmaster")  # type: ignore[misc]
        assert_counted_once(tables, caller, 60)
        assert 0 == evs.terminate(), evs.said


def test_an_orderly_end_does_not_wait_for_an_embedded_database_that_hangs(tmp_path: Path) -> None:
    """FAULTS F2: within its time, though neither the flush nor the server's own end can be had."""
    market = Market()
    with serving(tmp_path) as (evs, address, tables), Caller(address) as caller:
        open_accounts(tables)
        market.send(caller, range(10))
        everybody = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        stopped = [row["pid"] for row in tables.rows(everybody)] + [postmaster(tmp_path)]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            market.send(caller, range(10, 20))
            evs.process.terminate()
            assert 0 == evs.wait_for_end(STOP_SECONDS), evs.said
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
    with serving(tmp_path) as (again, address, tables), Caller(address) as caller:
        market.resume(caller, 30)
        assert_counted_once(tables, caller, 30)
        assert 0 == again.terminate(), again.said
