"""The embedded PostgreSQL: started and stopped in every state that a life can leave it in."""

import asyncio
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from evs_server.config import load
from evs_server.errors import ConfigError
from evs_server.store.embedded import EmbeddedPostgres, open_database, running_database
from evs_server.store.embedded import server as embedded
from evs_server.store.embedded.installation import choose_user, packaged_bin_dir
from tests.database import system_bin_dir

SECONDS = 30

# Another EVS, as far as its database goes: says that it is up, then waits until its input ends.
OTHER_EVS = """
import asyncio, sys
from pathlib import Path
from evs_server.store.embedded import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
    await server.start()
    print(server.pid, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()

asyncio.run(main())
"""

# So that a Python beside our own finds the same packages.
PACKAGES = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another user")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "postgres"


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn, timeout=SECONDS)
    try:
        yield connection
    finally:
        await connection.close(timeout=SECONDS)


def has_gone(pid: int) -> bool:
    """Wait for a process of whatever parent to end."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], SECONDS)[0])
    finally:
        os.close(watch)


def python_for(user: str) -> str | None:
    """A Python of this version that another user can run with our packages; None if there is none."""
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            command = [python, "-c", "import evs_server.store.embedded"]
            tried = subprocess.run(command, env=PACKAGES, cwd="/", user=user, stderr=subprocess.DEVNULL, check=False)
        except OSError:
            continue
        if tried.returncode == 0:
            return python
    return None


def start_other_evs(
    data_dir: Path, python: str = sys.executable, user: str | None = None
) -> tuple["subprocess.Popen[str]", int]:
    """Another process with an embedded server on a directory, and the server's process id."""
    other = subprocess.Popen(
        [python, "-c", OTHER_EVS, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=PACKAGES,
        cwd="/",
        user=user,
    )
    assert other.stdout is not None
    return other, int(other.stdout.readline())


@pytest.fixture
def other_evs(data_dir: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    other, server_pid = start_other_evs(data_dir)
    with other:
        yield other, server_pid


async def test_data_survives_a_stop(data_dir: Path) -> None:
    """What was committed is there after a stop and a start, at the same address."""
    server = EmbeddedPostgres(data_dir)
    first = await server.start()
    async with connected(first) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    await server.stop()
    assert first == await server.start()
    async with connected(first) as connection:
        assert 7 == await connection.fetchval("SELECT seven FROM kept")
    await server.stop()


async def test_nothing_is_left_after_a_stop(data_dir: Path) -> None:
    """No process, no socket, no lock: only the data, closed to others."""
    server = EmbeddedPostgres(data_dir, durable=False)
    dsn = await server.start()
    pid = server.pid
    async with connected(dsn) as connection:
        runtime = Path(await connection.fetchval("SHOW unix_socket_directories"))
        assert 0o700 == stat.S_IMODE(runtime.stat().st_mode)
    assert pid is not None
    await server.stop()
    assert has_gone(pid)
    assert not runtime.exists()
    assert ["cluster"] == [entry.name for entry in data_dir.iterdir()]
    assert not (data_dir / "cluster" / "postmaster.pid").exists()
    assert 0o700 == stat.S_IMODE(data_dir.stat().st_mode)
    assert server.pid is None


async def test_stopping_twice_is_stopping_once(data_dir: Path) -> None:
    """Whoever cleans up need not know how far a start got."""
    server = EmbeddedPostgres(data_dir, durable=False)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()


@pytest.mark.parametrize("durable", [True, False])
async def test_a_commit_is_on_disk_unless_told_otherwise(data_dir: Path, durable: bool) -> None:
    """Only tests may give up durability; the network is never listened to, and times are UTC."""
    expected = {
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        "synchronous_commit": "on" if durable else "off",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
    }
    async with EmbeddedPostgres(data_dir, durable=durable) as dsn, connected(dsn) as connection:
        assert expected == {name: await connection.fetchval(f"SHOW {name}") for name in expected}


async def test_settings_for_another_postgresql_have_no_say(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that psql reads often stand in an operator's shell."""
    foreign = {"PGDATA": "/nowhere", "PGPORT": "1", "PGSSLMODE": "verify-full", "PGUSER": "me", "TZ": "Asia/Tokyo"}
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    async with EmbeddedPostgres(data_dir, durable=False) as dsn, connected(dsn) as connection:
        assert "UTC" == await connection.fetchval("SHOW TimeZone")


async def test_the_server_cannot_be_reached_by_ctrl_c(data_dir: Path) -> None:
    """A signal to our terminal's processes must not stop the server before the last flush."""
    async with EmbeddedPostgres(data_dir, durable=False) as dsn, connected(dsn) as connection:
        assert os.getsid(0) != os.getsid(connection.get_server_pid())
        postmaster = int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0])
        assert os.getsid(0) != os.getsid(postmaster)


async def test_a_server_that_was_killed_recovers_what_was_committed(data_dir: Path) -> None:
    """A crash of PostgreSQL alone leaves a stale lock and socket; the next start recovers."""
    server = EmbeddedPostgres(data_dir)
    dsn = await server.start()
    async with connected(dsn) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await server.stop()
    async with EmbeddedPostgres(data_dir) as again, connected(again) as connection:
        assert 7 == await connection.fetchval("SELECT seven FROM kept")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose directory a process is in")
async def test_a_process_that_outlives_its_killed_server_is_ended(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one would that waits for a lock of a killed one: it never notices, and no server could start beside it."""
    monkeypatch.setattr(embedded, "ORPHAN_SECONDS", 0.2)
    server = EmbeddedPostgres(data_dir)
    dsn = await server.start()
    async with connected(dsn) as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
        orphan = await connection.fetchval("SELECT pg_backend_pid()")
        os.kill(orphan, signal.SIGSTOP)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await server.stop()
        connection.terminate()
    async with EmbeddedPostgres(data_dir) as again, connected(again) as connection:
        assert 7 == await connection.fetchval("SELECT seven FROM kept")
    assert f"process {orphan} of a PostgreSQL that has gone is still there; ending it" in caplog.text


async def test_the_server_goes_when_its_evs_is_killed(
    data_dir: Path, other_evs: tuple["subprocess.Popen[str]", int]
) -> None:
    """A killed EVS takes its server along, and the next EVS starts at once, even while that is still going."""
    other, server_pid = other_evs
    other.kill()
    other.wait(SECONDS)
    async with EmbeddedPostgres(data_dir, durable=False) as dsn, connected(dsn) as connection:
        assert 1 == await connection.fetchval("SELECT 1")
    assert has_gone(server_pid)


async def test_a_directory_in_use_names_its_user(
    data_dir: Path, other_evs: tuple["subprocess.Popen[str]", int]
) -> None:
    """Two EVS never share a cluster; the second is told who has it and what to do, and disturbs nothing."""
    other, server_pid = other_evs
    with pytest.raises(ConfigError, match=rf"in use by another EVS \(process {other.pid}\).*EVS_DATABASE_URL"):
        await EmbeddedPostgres(data_dir).start()
    assert other.poll() is None
    os.kill(server_pid, 0)


async def test_a_lock_whose_process_id_went_to_another_program_is_no_obstacle(data_dir: Path) -> None:
    """Process ids come round again, in containers at every start; PostgreSQL would refuse for good."""
    async with EmbeddedPostgres(data_dir, durable=False):
        left_behind = (data_dir / "cluster" / "postmaster.pid").read_text().splitlines()
    user = choose_user(data_dir)
    stranger = subprocess.Popen(["sleep", "600"], user=user.uid if user.switched else None)
    try:
        lock = data_dir / "cluster" / "postmaster.pid"
        lock.write_text("\n".join([str(stranger.pid), *left_behind[1:], ""]))
        user.own(lock)
        async with EmbeddedPostgres(data_dir, durable=False) as dsn, connected(dsn) as connection:
            assert 1 == await connection.fetchval("SELECT 1")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_lock_whose_process_has_ended_and_was_not_waited_for_is_no_obstacle(data_dir: Path) -> None:
    """Such a process has no command line left, and PostgreSQL would take it for a server for as long as it is there."""
    async with EmbeddedPostgres(data_dir, durable=False):
        left_behind = (data_dir / "cluster" / "postmaster.pid").read_text().splitlines()
    user = choose_user(data_dir)
    with subprocess.Popen(["true"], user=user.uid if user.switched else None) as ended:
        await asyncio.to_thread(os.waitid, os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        lock = data_dir / "cluster" / "postmaster.pid"
        lock.write_text("\n".join([str(ended.pid), *left_behind[1:], ""]))
        user.own(lock)
        async with EmbeddedPostgres(data_dir, durable=False) as dsn, connected(dsn) as connection:
            assert 1 == await connection.fetchval("SELECT 1")


async def test_a_start_that_is_given_up_leaves_nothing_running(data_dir: Path) -> None:
    """Cancelled while the cluster is being made; the next start makes it anew."""
    server = EmbeddedPostgres(data_dir, durable=False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(server.start(), 0.15)
    assert not (data_dir / "evs.pid").exists()
    assert not (data_dir / "cluster").exists()
    async with EmbeddedPostgres(data_dir, durable=False) as dsn, connected(dsn) as connection:
        assert 1 == await connection.fetchval("SELECT 1")


async def test_a_cluster_that_was_half_made_is_made_again(data_dir: Path) -> None:
    """What a kill leaves of initdb is thrown away."""
    unfinished = data_dir / "cluster.new" / "base"
    unfinished.mkdir(parents=True)
    (unfinished / "1").write_text("half")
    async with EmbeddedPostgres(data_dir, durable=False) as dsn, connected(dsn) as connection:
        assert 1 == await connection.fetchval("SELECT 1")
    assert not (data_dir / "cluster.new").exists()


async def test_a_directory_of_somebody_else_is_left_alone(data_dir: Path) -> None:
    """EVS makes no cluster among files that it does not know."""
    data_dir.mkdir()
    (data_dir / "holiday.jpg").touch()
    with pytest.raises(ConfigError, match=r"holds 'holiday\.jpg', which is not EVS's"):
        await EmbeddedPostgres(data_dir).start()
    assert ["holiday.jpg"] == [entry.name for entry in data_dir.iterdir()]


async def test_data_of_another_major_version_is_refused_in_words(data_dir: Path) -> None:
    """The server's own explanation reaches the operator, and nothing stays behind."""
    bin_dir = system_bin_dir()
    if bin_dir is None:
        pytest.skip("the system has no PostgreSQL of its own under /usr/lib/postgresql")
    async with EmbeddedPostgres(data_dir, durable=False, bin_dir=bin_dir):
        pass
    with pytest.raises(ConfigError, match=r"does not start on .*cluster(.|\n)*not compatible with this version"):
        await EmbeddedPostgres(data_dir, durable=False).start()
    assert ["cluster"] == [entry.name for entry in data_dir.iterdir()]


@as_root
async def test_binaries_that_the_servers_user_cannot_reach_are_copied(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may have installed EVS where nobody else may look."""
    bin_dir = packaged_bin_dir()
    package = bin_dir.parent.parent
    closed = tmp_path / "closed"
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    shutil.copytree(bin_dir.parent, closed / package.name / bin_dir.parent.name)
    closed.chmod(0o700)
    monkeypatch.setattr(embedded, "packaged_bin_dir", lambda: closed / bin_dir.relative_to(package.parent))
    async with EmbeddedPostgres(data_dir, durable=False) as dsn, connected(dsn) as connection:
        runtime = Path(await connection.fetchval("SHOW unix_socket_directories"))
        assert (runtime / package.name / bin_dir.parent.name / "bin" / "postgres").exists()
    assert not runtime.exists()


@as_root
def test_an_ordinary_user_needs_no_help_from_root() -> None:
    """The same as somebody who may change nothing but their own files."""
    python = python_for("nobody")
    if python is None:
        pytest.skip("user nobody can run no Python of this version")
    home = Path(tempfile.mkdtemp(prefix="evs-test-", dir="/tmp"))
    try:
        shutil.chown(home, "nobody")
        other, server_pid = start_other_evs(home / "postgres", python=python, user="nobody")
        with other:
            assert home.stat().st_uid == (home / "postgres" / "cluster").stat().st_uid
            assert home.stat().st_uid == Path(f"/proc/{server_pid}").stat().st_uid
        assert 0 == other.returncode
        assert has_gone(server_pid)
    finally:
        shutil.rmtree(home)


async def test_a_database_that_is_set_is_used_as_it_is(tmp_path: Path) -> None:
    """With EVS_DATABASE_URL nothing is started and nothing is made."""
    url = "postgresql://evs@db.internal/exchange"
    settings = load(database_url=url, data_dir=tmp_path / "evs")
    async with open_database(settings) as dsn:
        assert url == dsn
    assert url == running_database(settings)
    assert not (tmp_path / "evs").exists()


async def test_without_a_database_one_is_started(tmp_path: Path) -> None:
    """As long as it runs, commands beside it find it; before and after there is none."""
    settings = load(data_dir=tmp_path / "evs")
    assert running_database(settings) is None
    async with open_database(settings) as dsn:
        assert dsn == running_database(settings)
        async with connected(dsn) as connection:
            assert 1 == await connection.fetchval("SELECT 1")
    assert running_database(settings) is None
