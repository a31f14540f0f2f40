"""Connections and what becomes of them: every failure has one name, and no wait is without an end."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import pytest
import uvloop

from evs_server.clock import SystemClock
from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.store import rows
from evs_server.store.database import CONNECTIONS_MAX, Database, copy_in
from evs_server.store.inspection import inspect
from evs_server.store.leader import Leadership, LeaderTimes
from evs_server.store.migrate import pending
from evs_server.store.postgres import PostgresStore
from tests.flushes import a_flush, a_valuation
from tests.patience import PATIENCE_SECONDS, eventually_true

if TYPE_CHECKING:
    from evs_server.store.database import Connection


async def test_a_url_that_cannot_be_read_is_a_problem_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="EVS_DATABASE_URL"):
        await Database.open("mysql://localhost/evs")


async def lead(dsn: str) -> None:
    await Leadership(dsn, name="evs", clock=SystemClock(), on_following=lambda _: None, times=LeaderTimes()).acquire()


@pytest.mark.parametrize("connect", [Database.open, pending, inspect, lead])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://evs:hunter2/secret@127.0.0.1/evs",
        "postgresql://evs:hunter2#secret@127.0.0.1/evs",
        "postgresql://evs:hunter2?secret@127.0.0.1/evs",
        "postgresql://evs:hunter2[secret@127.0.0.1/evs",
        "postgresql://evs:[hunter2]@127.0.0.1/evs",
        "postgresql://evs@127.0.0.1:hunter2/evs",
        "postgresql://evs:hunter2@127.0.0.1:65536/evs?sslmode=disable",
    ],
)
async def test_a_url_that_cannot_be_read_is_told_without_any_piece_of_it(
    connect: Callable[[str], Awaitable[object]], url: str
) -> None:
    """A password with characters that mean something in a URL is taken for a host or a port: either is kept quiet."""
    with pytest.raises(ConfigError, match=r"^EVS_DATABASE_URL: expected postgresql://USER:PASSWORD@HOST") as raised:
        await connect(url)
    assert "hunter2" not in raised.value.message


async def test_a_database_that_is_away_is_unavailable() -> None:
    with socket.socket() as nobody:  # bound and not listening: the port is refused, and nobody else can take it
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(StoreUnavailable, match="could not connect to the database"):
            await Database.open(f"postgresql://evs@127.0.0.1:{nobody.getsockname()[1]}/evs?sslmode=disable")


async def test_a_database_without_our_tables_is_unavailable(empty_database: str) -> None:
    with pytest.raises(StoreUnavailable, match=r'schema "evs" does not exist') as raised:
        await Database.open(empty_database)
    assert "3F000" == raised.value.metadata["sqlstate"]


async def test_what_is_done_within_a_block_is_committed_at_its_end(database: str) -> None:
    opened = await Database.open(database)
    async with opened.transaction("write") as connection:
        await connection.execute("INSERT INTO accounts (id) VALUES (7)")
    async with opened.transaction("read", snapshot=True) as connection:
        assert 7 == await connection.fetchval("SELECT id FROM accounts")
    await opened.close()


async def test_what_is_done_within_a_block_that_fails_is_not(database: str) -> None:
    """More often than there are connections: none of them is lost to later blocks."""
    opened = await Database.open(database)
    for _ in range(CONNECTIONS_MAX + 1):
        with pytest.raises(StoreUnavailable, match=r"could not divide: division by zero \(22012\)"):
            await _insert_and_divide(opened)
    async with opened.transaction("read") as connection:
        assert 0 == await connection.fetchval("SELECT count(*) FROM accounts")
    await opened.close()


@pytest.mark.parametrize("writer", [False, True])
async def test_a_server_that_hangs_is_given_up_with_its_connection(database: str, writer: bool) -> None:
    """Its backend is stopped as a hanging machine would be; others still answer."""
    opened = await Database.open(database)
    stopped: list[int] = []
    try:
        with pytest.raises(StoreUnavailable, match="could not wait: no answer in time"):
            await _stop_and_wait(opened, stopped, writer)
        async with opened.transaction("read", writer=writer) as connection:
            assert stopped != [await connection.fetchval("SELECT pg_backend_pid()")]
    finally:
        for backend in stopped:
            os.kill(backend, signal.SIGCONT)
    await opened.close()


async def test_readers_that_wait_for_a_locked_table_do_not_hold_up_a_flush(database: str) -> None:
    """Many times as many as there are connections; they go on once the table is free."""
    store = await PostgresStore.open(database)
    await store.recover()
    hand = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    lock = hand.transaction()
    await lock.start()
    await hand.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE", timeout=PATIENCE_SECONDS)
    readers = [asyncio.create_task(store.read_accounts([1])) for _ in range(200)]
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'accounts'::regclass"

    async def all_connections_wait() -> bool:
        return bool(CONNECTIONS_MAX == await hand.fetchval(waiting, timeout=PATIENCE_SECONDS))

    await eventually_true(all_connections_wait, "the readers wait")
    for number in range(1, 4):
        await store.write(a_flush(number, rows=[a_valuation(number, {1: 10})]))
    assert not any(reader.done() for reader in readers)
    await lock.rollback()
    assert [{}] * len(readers) == await asyncio.gather(*readers)
    await hand.close(timeout=PATIENCE_SECONDS)
    await store.close()


async def test_a_flush_whose_connection_is_lost_is_written_on_a_new_one(database: str) -> None:
    """The writer has but one: it must not be out of reach for long."""
    store = await PostgresStore.open(database)
    await store.recover()
    await store.write(a_flush(1))
    hand = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    others += " AND backend_type = 'client backend'"
    await hand.execute(f"SELECT pg_terminate_backend(pid) {others}", timeout=PATIENCE_SECONDS)

    async def all_are_gone() -> bool:
        return bool(0 == await hand.fetchval(f"SELECT count(*) {others}", timeout=PATIENCE_SECONDS))

    await eventually_true(all_are_gone, "the store's connections are gone")
    with suppress(StoreUnavailable):  # unless it has noticed already
        await store.write(a_flush(2))
    await store.write(a_flush(2))
    assert 2 == (await store.recover()).flush_number
    await hand.close(timeout=PATIENCE_SECONDS)
    await store.close()


LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
MANY = "SELECT id FROM accounts WHERE id = octet_length($1::bytea)"


@LOOPS
@pytest.mark.parametrize("cancels", [False, True])
def test_who_copies_is_told_at_once_that_the_connection_is_lost(
    new_loop: Callable[[], asyncio.AbstractEventLoop], database: str, *, cancels: bool
) -> None:
    """Also with the socket full. Who is cancelled at that moment stays so: whoever cancels waits for it."""

    async def copy(connection: "Connection") -> None:
        task = asyncio.current_task()

        def cancel(_: object) -> None:
            if cancels and task is not None:
                task.cancel()

        connection.add_termination_listener(cancel)
        valuation = a_valuation(1, dict.fromkeys(range(1, 20_001), 10))
        await copy_in(connection, None, "equity_timeseries", rows.EQUITY, rows.encode_valuations([valuation]))

    with (
        asyncio.Runner(loop_factory=new_loop) as runner,
        pytest.raises(asyncio.CancelledError if cancels else StoreUnavailable, match=None if cancels else "08003"),
    ):
        runner.run(_lose_connection(database, "equity_timeseries", copy))


@LOOPS
def test_who_runs_a_statement_many_times_is_told_at_once_that_the_connection_is_lost(
    new_loop: Callable[[], asyncio.AbstractEventLoop], database: str
) -> None:
    async def insert(connection: "Connection") -> None:
        await connection.executemany(MANY, [(bytes(20_000 + size),) for size in range(1_000)])

    with (
        asyncio.Runner(loop_factory=new_loop) as runner,
        pytest.raises(StoreUnavailable, match="08003"),
    ):
        runner.run(_lose_connection(database, "accounts", insert))


async def _lose_connection(dsn: str, table: str, use: "Callable[[Connection], Awaitable[None]]") -> None:
    """Have the server end the writer's connection while the use of it waits for a table; well before its deadline."""
    opened = await Database.open(dsn)
    # Two: what one does while the other is asked is up to the loop, and a connection does one thing at a time.
    holder, hand = [await asyncpg.connect(dsn, timeout=PATIENCE_SECONDS) for _ in range(2)]

    async def use_it() -> None:
        async with opened.connection("prepare it", writer=True) as connection:
            await connection.executemany(MANY, [(b"1",), (b"2",)])
        async with opened.transaction("use it", seconds=4 * PATIENCE_SECONDS, writer=True) as connection:
            await holder.execute(f"BEGIN; LOCK TABLE {table}")
            await use(connection)

    task = asyncio.create_task(use_it())
    ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = $1::regclass"
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await eventually_true(lambda: hand.fetchval(ended, table), "the server waits for the table")
            await task
    finally:
        await holder.close(timeout=PATIENCE_SECONDS)
        await hand.close(timeout=PATIENCE_SECONDS)
        await opened.close()


async def _insert_and_divide(opened: Database) -> None:
    async with opened.transaction("divide") as connection:
        await connection.execute("INSERT INTO accounts (id) VALUES (7)")
        await connection.execute("SELECT 1 / 0")


async def _stop_and_wait(opened: Database, stopped: list[int], writer: bool) -> None:
    async with opened.transaction("wait", seconds=1, writer=writer) as connection:
        stopped.append(await connection.fetchval("SELECT pg_backend_pid()"))
        os.kill(stopped[0], signal.SIGSTOP)
        await connection.execute("SELECT 1")
