"""F4 to F8: the database is gone, killed in a COMMIT, locked, frozen, full. EVS takes events and goes on all along."""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from evs_server.store.embedded import EmbeddedPostgres
from tests.database import run_apart, system_bin_dir
from tests.e2e.caller import SHARE, Caller
from tests.e2e.exchange_tables import ExchangeTables, exchange_tables
from tests.faults.conftest import OwnServer
from tests.faults.processes import children, resident_kib
from tests.faults.trial import SOURCE, SYMBOLS, Trial, started
from tests.patience import PATIENCE_SECONDS, eventually

OUTAGE_SECONDS = 300
PACE_SECONDS = 0.05
GROWTH_KIB_MAX = 400_000
COMMIT_DELAY_US = 100_000
CROWD = 20_000


def finish(trial: Trial, address: str) -> None:
    """The market closes, everything becomes durable, and is what it should be."""
    closing = trial.close_market()
    trial.wait_until_durable()
    trial.verify(address, closing)


def expect_to_go_on(trial: Trial, address: str, *, degraded: bool) -> None:
    """Events are applied though nothing becomes durable."""
    with Caller(address) as caller:
        durable = caller.ingest_state(SOURCE).durable_sequence
        trial.trade(30)
        trial.wait_until_applied(trial.event_count)
        if degraded:
            eventually(lambda: caller.ingest_state(SOURCE).degraded_since, "EVS says since when nothing is stored")
        state = caller.ingest_state(SOURCE)
        assert (trial.event_count, True) == (state.applied_sequence, durable <= state.durable_sequence)
        assert state.durable_sequence < state.applied_sequence


def test_f04_postgres_is_stopped_under_load(own: OwnServer, tmp_path: Path) -> None:
    trial = Trial(own.tables)
    with started(own.tables, tmp_path) as (_, address), trial.sending(address):
        trial.trade(20)
        trial.wait_until_durable()
        run_apart(own.postgres.stop())
        expect_to_go_on(trial, address, degraded=True)
        run_apart(own.postgres.start())
        finish(trial, address)
        with Caller(address) as caller:
            assert 0 == caller.ingest_state(SOURCE).degraded_since


def test_f04_a_connection_is_lost_in_a_copy(tables: ExchangeTables, tmp_path: Path) -> None:
    """The one of the writer alone, with more on its way than its socket holds; the database is there all along."""
    trial = Trial(tables)
    tables.run(
        f"INSERT INTO accounts (google_id) SELECT 'crowd-' || n FROM generate_series(1, {CROWD}) n;"
        f"INSERT INTO positions (account_id, symbol_id, quantity, avg_cost) SELECT id, {SYMBOLS[0]}, {SHARE}, 100"
        " FROM accounts WHERE google_id LIKE 'crowd-%'"
    )
    with started(tables, tmp_path) as (evs, address), trial.sending(address):
        trial.trade(20)
        trial.wait_until_durable()
        with locked(tables.dsn, "equity_timeseries"):
            closing = trial.close_market()
            ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = $1::regclass"
            eventually(lambda: tables.rows(ended, "equity_timeseries"), "the copy waits for the table")
        trial.wait_until_durable()
        assert trial.expected(closing) == trial.served(address)
        assert None is evs.process.poll()
    stored = tables.rows(
        "SELECT count(*) AS n FROM equity_timeseries JOIN accounts ON accounts.id = account_id"
        " WHERE google_id LIKE 'crowd-%' AND version = (SELECT max(version) FROM equity_timeseries) GROUP BY account_id"
    )
    assert CROWD * [1] == [row["n"] for row in stored]


@pytest.mark.faults
def test_f04_postgres_is_away_for_five_minutes_under_load(own: OwnServer, tmp_path: Path) -> None:
    trial = Trial(own.tables, account_count=50)
    with started(own.tables, tmp_path) as (evs, address), trial.sending(address):
        trial.trade(100)
        trial.wait_until_durable()
        before_kib = resident_kib(evs.process.pid)
        run_apart(own.postgres.stop())
        for _ in range(int(OUTAGE_SECONDS / PACE_SECONDS)):
            trial.trade(1, trades_per_tick=10)
            threading.Event().wait(PACE_SECONDS)
        trial.wait_until_applied(trial.event_count)
        assert resident_kib(evs.process.pid) - before_kib < GROWTH_KIB_MAX
        run_apart(own.postgres.start())
        finish(trial, address)


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.faults)])
def test_f05_postgres_is_killed_in_a_commit(kills: int, own: OwnServer, tmp_path: Path) -> None:
    """Each commit takes a tenth of a second before it is safe, so a moment at random lies within one."""
    admin = ExchangeTables(own.admin_dsn)
    admin.rows(f"ALTER SYSTEM SET commit_delay = {COMMIT_DELAY_US}")
    admin.rows("ALTER SYSTEM SET commit_siblings = 0")
    admin.rows("SELECT pg_reload_conf()")
    trial = Trial(own.tables)
    with started(own.tables, tmp_path) as (_, address), trial.sending(address):
        for _ in range(kills):
            trial.trade(10)
            trial.wait_until_applied(trial.event_count)
            assert own.postgres.pid is not None
            for pid in children(own.postgres.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            run_apart(own.postgres.stop())
            run_apart(own.postgres.start())
            trial.wait_until_durable(trial.event_count - 20)
        finish(trial, address)


def test_f06_a_lock_on_the_table_holds_up_nobody_but_the_writer(own: OwnServer, tmp_path: Path) -> None:
    trial = Trial(own.tables)
    with started(own.tables, tmp_path) as (_, address), trial.sending(address):
        trial.trade(20)
        trial.wait_until_durable()
        with locked(own.tables.dsn, "equity_timeseries"):
            expect_to_go_on(trial, address, degraded=False)
        finish(trial, address)


@contextmanager
def locked(dsn: str, table: str) -> Iterator[None]:
    """Nobody gets at a table as long as the block lasts."""
    loop = asyncio.new_event_loop()
    try:
        connection = loop.run_until_complete(asyncpg.connect(dsn, timeout=PATIENCE_SECONDS))
        loop.run_until_complete(connection.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield
        loop.run_until_complete(connection.close(timeout=PATIENCE_SECONDS))
    finally:
        loop.close()


@pytest.mark.parametrize("degraded", [False, pytest.param(True, marks=pytest.mark.faults)])
def test_f07_postgres_is_frozen(*, degraded: bool, own: OwnServer, tmp_path: Path) -> None:
    trial = Trial(own.tables)
    with started(own.tables, tmp_path) as (_, address), trial.sending(address):
        trial.trade(20)
        trial.wait_until_durable()
        assert own.postgres.pid is not None
        frozen = children(own.postgres.pid)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            expect_to_go_on(trial, address, degraded=degraded)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        finish(trial, address)


@contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[None]:
    """A file system that is soon full."""
    path.mkdir()
    path.chmod(0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "evs-small", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_f08_the_disk_of_postgres_is_full(tmp_path: Path) -> None:
    bin_dir = system_bin_dir()
    if bin_dir is None:
        pytest.skip("the system has no PostgreSQL of its own under /usr/lib/postgresql")
    with small_disk(tmp_path / "disk", 160):
        postgres = EmbeddedPostgres(tmp_path / "disk" / "postgres", bin_dir=bin_dir)
        try:
            tables = exchange_tables(run_apart(postgres.start()))
            trial = Trial(tables, account_count=50)
            with started(tables, tmp_path / "evs") as (evs, address), trial.sending(address):
                trial.trade(20)
                trial.wait_until_durable()
                filler = tmp_path / "disk" / "filler"
                fill(filler)
                until_it_shows(trial, address)
                assert evs.process.poll() is None
                filler.unlink()
                finish(trial, address)
        finally:
            run_apart(postgres.stop())


def fill(path: Path) -> None:
    """Take all the room there is."""
    # Unbuffered: what a buffer could not write would be written once more when the file is closed, and fail there.
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**16))


def until_it_shows(trial: Trial, address: str) -> None:
    """Go on until EVS says that nothing gets stored; what it takes is applied all the same."""
    with Caller(address) as caller:

        def degraded() -> bool:
            trial.trade(5, trades_per_tick=20)
            trial.wait_until_applied(trial.event_count)
            return caller.ingest_state(SOURCE).degraded_since > 0

        eventually(degraded, "the full disk to show")
