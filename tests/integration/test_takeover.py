"""Two EVS as processes on one database: who serves when one is killed, sleeps, or loses its database (FAULTS F24)."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.config import load
from evs_server.doctor import examine
from evs_server.limits import VERSION_START_BITS
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.migrate import migrate
from tests.database import run_apart
from tests.e2e.caller import SERVICE, Caller, refused
from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import STOP_SECONDS, Command, running
from tests.integration.sequenced import SOURCE, Market, assert_counted_once, open_accounts
from tests.patience import PATIENCE_SECONDS, eventually


@pytest.fixture
def tables(database: str) -> ExchangeTables:
    """A database in which accounts 7 and 8 have their opening cash."""
    tables = ExchangeTables(database)
    open_accounts(tables)
    return tables


@contextmanager
def starting(tables: ExchangeTables, tmp_path: Path) -> Iterator[tuple[Command, str]]:
    """An EVS that serves, or follows, at an address of its own; all share one data directory."""
    settings = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "takeover_seconds": "2"}
    with running("serve", database_url=tables.dsn, data_dir=tmp_path, **settings) as command:
        yield command, command.wait_for(r"listening on (\S+)").group(1)


def wait_following(command: Command, leader: str) -> None:
    command.wait_for(rf"evs {leader} on \S+ leads on this database")


def start_of(caller: Caller) -> int:
    """The start number of whoever made the newest valuation."""
    return int(caller.equity(7).version) >> VERSION_START_BITS


def test_who_follows_takes_over_whether_the_leader_is_killed_or_stopped(tables: ExchangeTables, tmp_path: Path) -> None:
    """Both orders: the second follows the first; once that is killed and back, it follows the second."""
    market = Market()
    with starting(tables, tmp_path) as (one, at_one):
        one.wait_for("ready")
        with starting(tables, tmp_path) as (two, at_two), Caller(at_one) as first, Caller(at_two) as second:
            wait_following(two, at_one)
            assert "NOT_SERVING" == second.health()
            with pytest.raises(grpc.RpcError) as answer:
                second.equity(7)
            assert "UNAVAILABLE" == refused(answer.value).code
            assert at_one in refused(answer.value).metadata["leader"]
            market.send(first, range(10))
            one.kill()
            two.wait_for("ready")
            market.resume(second, 20)
            version = second.equity(7).version
            with starting(tables, tmp_path) as (again, at_three), Caller(at_three) as third:
                wait_following(again, at_two)
                assert 0 == two.terminate(), two.said
                again.wait_for("ready")
                market.resume(third, 30)
                assert version < third.equity(7).version
                assert_counted_once(tables, third, 30)


@contextmanager
def locked(tables: ExchangeTables, table: str) -> Iterator[None]:
    """A table that nobody else can write to during the block."""
    taken, released = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(tables.dsn, timeout=PATIENCE_SECONDS)
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE", timeout=PATIENCE_SECONDS)
            taken.set()
            await asyncio.to_thread(released.wait, PATIENCE_SECONDS)
        await connection.close(timeout=PATIENCE_SECONDS)

    with ThreadPoolExecutor(max_workers=1) as executor:
        holding = executor.submit(asyncio.run, hold())
        assert taken.wait(PATIENCE_SECONDS)
        try:
            yield
        finally:
            released.set()
            holding.result(PATIENCE_SECONDS)


@contextmanager
def asleep_in_a_flush(tables: ExchangeTables, command: Command, market: Market, caller: Caller) -> Iterator[None]:
    """An EVS that is stopped while one of its transactions is open, and goes on after the block."""
    waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'evs.account'::regclass"
    with locked(tables, "evs.account"):
        market.send(caller, range(10, 20))
        eventually(lambda: tables.rows(waiting), "a flush waits for the table")
        command.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        command.process.send_signal(signal.SIGCONT)


def test_a_leader_that_slept_is_replaced_and_writes_nothing(tables: ExchangeTables, tmp_path: Path) -> None:
    """It sleeps in the midst of a flush; it wakes to find that another start has taken over, says so, and ends."""
    market = Market()
    with ExitStack() as stack:
        one, at_one = stack.enter_context(starting(tables, tmp_path))
        one.wait_for("ready")
        two, at_two = stack.enter_context(starting(tables, tmp_path))
        wait_following(two, at_one)
        first, second = stack.enter_context(Caller(at_one)), stack.enter_context(Caller(at_two))
        market.send(first, range(10))
        first.wait_stored()
        before = start_of(first)
        with asleep_in_a_flush(tables, one, market, first):
            two.wait_for("flushes of an EVS that has lost the lead were under way")
            two.wait_for("ready")
            market.resume(second, 25)
            second.wait_stored()
        assert 1 == one.wait_for_end(), one.said
        one.wait_for(rf"start {before + 1} has taken over from start {before}")
        market.resume(second, 30)
        assert before + 1 == start_of(second)
        assert_counted_once(tables, second, 30)
        assert 0 == two.terminate(), two.said


def test_a_leader_that_slept_alone_goes_on(tables: ExchangeTables, tmp_path: Path) -> None:
    """FAULTS F3: it has lost its lock and every connection, and takes them again."""
    market = Market()
    with starting(tables, tmp_path) as (one, at_one), Caller(at_one) as first:
        one.wait_for("ready")
        market.send(first, range(10))
        one.process.send_signal(signal.SIGSTOP)
        lock = """
            SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database
            WHERE locktype = 'advisory' AND granted AND datname = current_database()
        """
        eventually(lambda: not tables.rows(lock), "the lock is taken from it")
        one.process.send_signal(signal.SIGCONT)
        one.wait_for("the lead is held again")
        market.send(first, range(10, 20))
        assert_counted_once(tables, first, 20)
        assert 1 == start_of(first)
        assert 0 == one.terminate(), one.said


def test_a_caller_that_names_both_finds_the_one_that_leads(tables: ExchangeTables, tmp_path: Path) -> None:
    """Health says who serves, and gRPC goes by it if told to: nothing else is needed to follow a takeover."""
    policy = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": SERVICE},
    }
    options = [("grpc.service_config", json.dumps(policy)), ("grpc.use_local_subchannel_pool", 1)]
    request = pb.GetEquityRequest(account_id=7)
    with starting(tables, tmp_path) as (one, at_one):
        one.wait_for("ready")
        with starting(tables, tmp_path) as (two, at_two):
            wait_following(two, at_one)
            with grpc.insecure_channel(f"ipv4:{at_two},{at_one}", options=options) as channel:
                stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
                versions = [stub.GetEquity(request, timeout=PATIENCE_SECONDS, wait_for_ready=True).version]
                one.kill()
                versions.append(stub.GetEquity(request, timeout=PATIENCE_SECONDS, wait_for_ready=True).version)
    assert versions[0] == versions[1], "a restart restores the newest valuations and makes no new ones"


@contextmanager
def a_server(directory: Path) -> Iterator[tuple[EmbeddedPostgres, ExchangeTables]]:
    """A PostgreSQL of this test's own, which may be stopped and started."""
    postgres = EmbeddedPostgres(directory, durable=False)
    dsn = run_apart(postgres.start())
    try:
        run_apart(migrate(dsn))
        tables = ExchangeTables(dsn)
        open_accounts(tables)
        yield postgres, tables
    finally:
        run_apart(postgres.stop())


def test_a_restart_of_postgres_changes_no_leader(tmp_path: Path) -> None:
    """The leader serves on without its database, says since when, and catches up; who follows goes on following."""
    market = Market()
    with ExitStack() as stack:
        postgres, tables = stack.enter_context(a_server(tmp_path / "postgres"))
        one, at_one = stack.enter_context(starting(tables, tmp_path))
        one.wait_for("ready")
        two, _ = stack.enter_context(starting(tables, tmp_path))
        wait_following(two, at_one)
        first = stack.enter_context(Caller(at_one))
        market.send(first, range(10))
        run_apart(postgres.stop())
        market.send(first, range(10, 20))
        since = eventually(lambda: first.ingest_state(SOURCE).degraded_since, "EVS says that it is degraded")
        eventually(lambda: first.health("evs.v1.Storage") == "NOT_SERVING", "health says that it is degraded")
        assert "SERVING" == first.health()
        found = run_apart(examine(load(server=at_one, database_url=tables.dsn, data_dir=tmp_path)))
        assert ["degraded since"] == [one.text[:14] for one in found if one.subject == "storage" and not one.ok]
        market.send(first, range(20, 30))
        assert pb.EQUITY_FLAG_DEGRADED in first.equity(7).flags
        assert since == first.ingest_state(SOURCE).degraded_since
        run_apart(postgres.start())
        assert_counted_once(tables, first, 30)
        assert 0 == first.ingest_state(SOURCE).degraded_since
        eventually(lambda: first.health("evs.v1.Storage") == "SERVING", "health says that all is well")
        one.wait_for("the lead is held again")
        assert 1 == start_of(first)
        assert 0 == one.terminate(), one.said
        assert "ready" not in two.said.partition("leads no longer")[0]


@contextmanager
def hanging(postgres: EmbeddedPostgres, tables: ExchangeTables) -> Iterator[None]:
    """A server of which no process runs during the block."""
    pids = [row["pid"] for row in tables.rows("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")]
    assert postgres.pid is not None
    pids.append(postgres.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_an_orderly_end_does_not_wait_for_a_database_that_hangs(tmp_path: Path) -> None:
    """FAULTS F2 and F7 at once: what could not be stored is the sender's to send again; a second SIGTERM is at once."""
    market = Market()
    with a_server(tmp_path / "postgres") as (postgres, tables):
        with starting(tables, tmp_path) as (one, at_one), Caller(at_one) as first:
            one.wait_for("ready")
            market.send(first, range(10))
            with hanging(postgres, tables):
                market.send(first, range(10, 20))
                one.process.terminate()
                assert 0 == one.wait_for_end(STOP_SECONDS), one.said
        with starting(tables, tmp_path) as (again, at_one), Caller(at_one) as second:
            again.wait_for("ready")
            market.resume(second, 30)
            assert_counted_once(tables, second, 30)
            with hanging(postgres, tables):
                market.send(second, range(30, 40))
                again.process.terminate()
                eventually(lambda: second.health() == "NOT_SERVING", "it is ending")
                again.process.terminate()
                assert 128 + signal.SIGTERM == again.wait_for_end(1), again.said


def test_two_evs_do_not_share_a_port(tables: ExchangeTables, tmp_path: Path) -> None:
    """The second ends with the status of bad settings and disturbs nobody (``so_reuseport=0``)."""
    settings = {"database_url": tables.dsn, "metrics_listen": "127.0.0.1:0"}
    with running("serve", data_dir=tmp_path / "one", listen="127.0.0.1:0", **settings) as one:
        address = one.wait_for(r"ready (\S+)").group(1)
        with running("serve", data_dir=tmp_path / "two", listen=address, **settings) as two:
            assert 2 == two.wait_for_end(), two.said
            assert f"cannot listen on {address}" in two.said
        with Caller(address) as caller:
            assert "SERVING" == caller.health()
