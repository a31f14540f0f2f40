"""
The embedded PostgreSQL: a server of our own, for whoever has not set up another.

Lives here: making its cluster, starting it, starting it again, stopping it, and the choice between it and a given one.
Not here: how a child is run (``evs_server.child``), what lies in its directory (``data_directory``), which binaries
and user (``installation``). Does I/O.

Invariants: the server never outlives this process, not even when that is killed; it listens on one socket, in a
directory that only its user may enter, and on no network address; after ``stop`` nothing is left but the data.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from evs_server.child import Child
from evs_server.config import Settings
from evs_server.errors import ConfigError
from evs_server.store.embedded.data_directory import DataDirectory
from evs_server.store.embedded.installation import choose_user, copy_package, packaged_bin_dir

INITDB_SECONDS: Final = 120
"""Making a cluster takes about one second; a slow disk may take long to sync it."""

READY_SECONDS: Final = 600
"""After a crash PostgreSQL first replays its log; giving up early would make the next start replay it again."""

PROBE_SECONDS: Final = 30
LEFTOVER_SECONDS: Final = 20

STOP_SECONDS: Final = 14.0
"""How long a stop may take; a clean one takes 20 ms, and longer only where a large checkpoint meets a slow disk."""

STOP_SECONDS_MIN: Final = 2.0
"""What a stop takes at most if no time at all is left."""

RESTART_SECONDS_MAX: Final = 30.0
"""Longest wait before the server is started again; doubles from 0.1 s with each start that fails or does not last."""

LASTING_SECONDS: Final = 60.0
"""A server that has run for so long was started well: what ends it then has nothing to do with its start."""

ORPHAN_SECONDS: Final = 5.0
"""What processes of a server that was killed have to notice it; one that waits for a lock or computes may never."""

_POLL_SECONDS: Final = 0.01
_DYING_SECONDS: Final = 0.1
_RESTART_SECONDS_MIN: Final = 0.1
_PORT: Final = 5432  # names the socket's file; no network port is opened

# A shutdown that leaves a recovery to the next start; then the end (its children notice by themselves).
_FORCE_STEPS: Final = ((signal.SIGQUIT, 0.75), (signal.SIGKILL, 0.75))
_INITDB_STOP_STEPS: Final = ((signal.SIGINT, 5), (signal.SIGKILL, 5))

# What PostgreSQL says at start while processes of a server that was killed have yet to notice.
_STILL_DYING: Final = "pre-existing shared memory block"

_INITDB: Final = (
    *("-D", "{directory}", "--username=evs", "--auth=trust", "--encoding=UTF8", "--no-locale"),
    "--no-instructions",
)
_SERVER: Final = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    "shared_buffers": "128MB",
    "jit": "off",  # plans here are short; compiling them costs more than it saves
    "log_destination": "stderr",
    "logging_collector": "off",  # its lines go through our own log
    "log_line_prefix": "",
}
_NOT_DURABLE: Final = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

logger = logging.getLogger(__name__)


class EmbeddedPostgres:
    """
    A PostgreSQL server that runs as our child, on data in a directory of ours.

    Args:
        data_dir: Made at the first start; belongs to one process at a time.
        durable: False gives up safety against a crash of the machine for speed; for tests.
        bin_dir: Where ``initdb`` and ``postgres`` are; None for those installed with EVS.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, bin_dir: Path | None = None) -> None:
        self._data_dir = data_dir.resolve()
        self._durable = durable
        self._given_bin_dir = bin_dir
        self._server: Child | None = None
        self._place: tuple[DataDirectory, Path] | None = None
        self._stop_seconds = STOP_SECONDS
        self._undo: contextlib.AsyncExitStack | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; None if it does not run."""
        return self._server.pid if self._server is not None and self._server.running else None

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> str:
        """
        Start the server, on new data or on what an earlier process left, however that ended.

        Returns:
            The address of its database, for asyncpg and for psql.

        Raises:
            ConfigError: If it cannot run here; says what to do.
        """
        assert self._undo is None, f"the PostgreSQL on {self._data_dir} has been started already"
        user = choose_user(self._data_dir)
        directory = DataDirectory(self._data_dir, user)
        async with contextlib.AsyncExitStack() as undo:
            directory.claim()
            undo.callback(directory.release)
            await _end_leftover(directory)
            undo.callback(directory.remove_runtime)
            directory.make_runtime()
            bin_dir = await self._reachable_bin_dir(directory)
            if not directory.cluster.exists():
                await self._make_cluster(directory, bin_dir)
            undo.push_async_callback(self._stop_server)
            await self._run_server(directory, bin_dir)
            self._place = directory, bin_dir
            self._undo = undo.pop_all()
        logger.info("embedded PostgreSQL runs on %s as user %s", self._data_dir, user.name)
        return _dsn(directory)

    async def keep_running(self) -> None:
        """
        Start the server again, at the same address, whenever it ends by itself; a task of ``app``, to be cancelled.

        It never gives up: what keeps the server from running, such as a full disk, may pass, and meanwhile EVS goes on
        as it does without any other database.
        """
        assert self._place is not None, f"the PostgreSQL on {self._data_dir} has not been started"
        assert self._server is not None
        time, pause_seconds = asyncio.get_running_loop().time, _RESTART_SECONDS_MIN
        while True:
            started_at = time()
            await self._server.ended()
            if time() - started_at >= LASTING_SECONDS:
                pause_seconds = _RESTART_SECONDS_MIN
            logger.error("embedded PostgreSQL has ended by itself, and is started again in %g s", pause_seconds)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_SECONDS_MAX)
            try:
                await self._run_server(*self._place)
                logger.warning("embedded PostgreSQL runs again (process %s)", self.pid)
            except (ConfigError, OSError) as error:
                logger.error("%s", error)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """
        Stop the server; whoever is still connected is cut off. Does nothing if it does not run.

        Args:
            seconds: How long it may take; less than ``STOP_SECONDS_MIN`` counts as that.
        """
        self._stop_seconds = max(seconds, STOP_SECONDS_MIN)
        undo, self._undo = self._undo, None
        if undo is not None:
            await undo.aclose()

    async def _reachable_bin_dir(self, directory: DataDirectory) -> Path:
        """Where the programs are for the server's user: in place, or copied into the runtime directory."""
        bin_dir = self._given_bin_dir or packaged_bin_dir()
        if not directory.user.switched:
            return bin_dir
        problem = await _probe(bin_dir, directory)
        if problem and self._given_bin_dir is None:
            bin_dir = await asyncio.to_thread(copy_package, bin_dir, directory.runtime, directory.user)
            problem = await _probe(bin_dir, directory)
        if problem:
            raise ConfigError(
                f"user {directory.user.name} cannot run {bin_dir / 'postgres'}: {problem}\nLet that user read it, or"
                " run EVS as an ordinary user, or set EVS_DATABASE_URL to a PostgreSQL of your own"
            )
        return bin_dir

    async def _make_cluster(self, directory: DataDirectory, bin_dir: Path) -> None:
        arguments = [*_INITDB, *([] if self._durable else ["--no-sync"])]
        unfinished = directory.begin_cluster()
        status, output = await _run(bin_dir / "initdb", arguments, unfinished, directory, INITDB_SECONDS)
        if status != 0:
            raise ConfigError(
                f"cannot make a PostgreSQL cluster in {directory.path} (initdb status {status}):\n{output}"
            )
        directory.finish_cluster()

    async def _run_server(self, directory: DataDirectory, bin_dir: Path) -> None:
        settings = {
            **_SERVER,
            "unix_socket_directories": str(directory.runtime),
            **({} if self._durable else _NOT_DURABLE),
        }
        arguments = ["-D", "{directory}"]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        time = asyncio.get_running_loop().time
        patient_until = time() + ORPHAN_SECONDS
        try:
            async with asyncio.timeout(READY_SECONDS):
                while True:
                    self._server = Child(
                        bin_dir / "postgres", arguments, directory=directory.cluster, user=_switch(directory)
                    )
                    if await _becomes_ready(self._server, directory):
                        return
                    if _STILL_DYING not in self._server.output:
                        break
                    if time() >= patient_until:
                        _end_orphans(directory)
                    await asyncio.sleep(_DYING_SECONDS)
        except TimeoutError:
            raise ConfigError(
                f"PostgreSQL on {directory.cluster} is not ready after {READY_SECONDS} s:\n{self._output()}"
            ) from None
        raise ConfigError(f"PostgreSQL does not start on {directory.cluster}:\n{self._output()}")

    async def _stop_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            fast_seconds = self._stop_seconds - sum(seconds for _, seconds in _FORCE_STEPS)
            await server.stop([(signal.SIGINT, fast_seconds), *_FORCE_STEPS])

    def _output(self) -> str:
        return self._server.output if self._server is not None else ""


def embedded_postgres(settings: Settings) -> EmbeddedPostgres | None:
    """The embedded server that the settings ask for, not started; None if they name another one."""
    return None if settings.database_url is not None else EmbeddedPostgres(_embedded_dir(settings))


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[str]:
    """
    The address of the database to use: the one that is set, or an embedded server that runs as long as the context.

    Raises:
        ConfigError: If the embedded server cannot run; says what to do.
    """
    embedded = embedded_postgres(settings)
    if embedded is None:
        assert settings.database_url is not None
        yield settings.database_url.get_secret_value()
        return
    async with embedded as dsn:
        yield dsn


def running_database(settings: Settings) -> str | None:
    """
    The address of the database that is up for these settings, for a command beside a running EVS; starts nothing.

    Returns:
        The one that is set, or that of the embedded server that another process runs; None if none does, or it is
        closed to our user. Whether it answers is for the caller to see.

    Raises:
        ConfigError: If our user could run no embedded server at all.
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    data_dir = _embedded_dir(settings).resolve()
    try:
        directory = DataDirectory(data_dir, choose_user(data_dir))
        status = directory.postmaster_status()
        return _dsn(directory) if status is not None and _socket(directory).is_socket() else None
    except PermissionError:
        return None


def remove_runtime_of(data_dir: Path) -> None:
    """Remove what a killed process has left of a server beside its data, for who is about to remove those, too."""
    DataDirectory(data_dir.resolve(), choose_user(data_dir)).remove_runtime()


def _embedded_dir(settings: Settings) -> Path:
    return settings.data_dir / "postgres"


def _socket(directory: DataDirectory) -> Path:
    return directory.runtime / f".s.PGSQL.{_PORT}"


def _dsn(directory: DataDirectory) -> str:
    # Everything is said, so that the operator's own PGPORT or PGSSLMODE has no say.
    return f"postgresql://evs@/postgres?host={quote(str(directory.runtime), safe='')}&port={_PORT}&sslmode=disable"


def _switch(directory: DataDirectory) -> str:
    return directory.user.name if directory.user.switched else ""


async def _becomes_ready(server: Child, directory: DataDirectory) -> bool:
    """Wait until the server says that it accepts connections; False if it ends instead."""
    while server.running:
        if directory.postmaster_status() == (server.pid, "ready"):
            return True
        await asyncio.sleep(_POLL_SECONDS)
    await server.wait(PROBE_SECONDS)  # until all that it had to say has been read
    return False


def _end_orphans(directory: DataDirectory) -> None:
    """End what a server that was killed has left, and what keeps another from starting: nothing of it is needed."""
    for pid in directory.orphans():
        logger.warning("process %d of a PostgreSQL that has gone is still there; ending it", pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _end_leftover(directory: DataDirectory) -> None:
    """Let a server end whose EVS was killed: on Linux it is doing so already."""
    for force in (signal.SIGINT, signal.SIGQUIT):
        pid = directory.leftover_server()
        if pid is None:
            return
        logger.warning("the PostgreSQL of an EVS that has gone (process %d) is still there; ending it", pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, force)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEFTOVER_SECONDS):
                while directory.leftover_server() is not None:  # noqa: ASYNC110 - no event tells of another's child
                    await asyncio.sleep(_POLL_SECONDS)
                return
    raise ConfigError(f"the PostgreSQL of an EVS that has gone (process {pid}) does not end: end it by hand", pid=pid)


async def _probe(bin_dir: Path, directory: DataDirectory) -> str:
    """Why the server's user cannot run the programs; empty if it can."""
    status, output = await _run(bin_dir / "postgres", ["--version"], directory.path, directory, PROBE_SECONDS)
    return "" if status == 0 else output or f"status {status}"


async def _run(
    program: Path, arguments: Sequence[str], work_dir: Path, directory: DataDirectory, seconds: float
) -> tuple[int, str]:
    """Exit status and output of a program that ends by itself; it is stopped if it has not after ``seconds``."""
    child = Child(program, arguments, directory=work_dir, user=_switch(directory))
    try:
        status = await child.wait(seconds)
    except TimeoutError:
        raise ConfigError(f"{program.name} has not ended after {seconds:g} s:\n{child.output}") from None
    finally:
        if child.running:
            await child.stop(_INITDB_STOP_STEPS)
    return status, child.output
