"""
Processes that the benchmarks measure: EVS with its database, the bridge, and yardsticks, each in a process of its own.

A server and its caller in one process would share an event loop, and the caller's own time would hide the server's.
Ends what it has started, and nothing else.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.migrate import migrate

START_SECONDS = 120.0
STOP_SECONDS = 20.0
READY = re.compile(r"\bready\b.*?(?P<address>[\w.-]+:\d+)|\bready (?P<name>evs shard .+)")
"""What a process says that can be used; a worker listens nowhere, and has a name."""


@contextlib.asynccontextmanager
async def process(*arguments: str, **settings: object) -> AsyncIterator[tuple[str, int]]:
    """
    A process that prints a line with ``ready`` and its address, or its name.

    Args:
        arguments: Program and what follows it on the command line.
        settings: ``EVS_<NAME>`` by its name in lower case; nothing of the caller's own is handed on.

    Yields:
        The address or name, and the process's id.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVS_")}
    env |= {f"EVS_{name.upper()}": str(value) for name, value in settings.items()}
    child = await asyncio.create_subprocess_exec(
        *arguments,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert child.stdout is not None
    draining = None
    try:
        address = await _address(child.stdout, arguments)
        # What nobody reads would stop it in the end.
        draining = asyncio.create_task(child.stdout.read())
        yield address, child.pid
    finally:
        await _end(child)
        if draining is not None:
            await draining


def evs(
    database_url: str, data_dir: Path, **settings: object
) -> contextlib.AbstractAsyncContextManager[tuple[str, int]]:
    """``evs serve`` as anybody runs it, on a free port of loopback."""
    quiet: dict[str, object] = {"log_level": "ERROR", "reconcile_seconds": 0, "metrics_listen": "127.0.0.1:0"}
    return process(
        *(str(Path(sys.executable).with_name("evs")), "serve"),
        database_url=database_url,
        data_dir=data_dir,
        listen="127.0.0.1:0",
        **(quiet | settings),
    )


def bridge(evs_address: str, data_dir: Path) -> contextlib.AbstractAsyncContextManager[tuple[str, int]]:
    """``evs bridge``, which holds back nothing: every value is pushed at once."""
    return process(
        *(str(Path(sys.executable).with_name("evs")), "bridge"),
        data_dir=data_dir,
        server=evs_address,
        bridge_listen="127.0.0.1:0",
        push_per_second=1_000,
    )


def cpu_seconds(pid: int) -> float:
    """Processor time that all threads of a process have taken so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


@contextlib.asynccontextmanager
async def an_exchange(folder: Path, account_count: int) -> AsyncIterator[str]:
    """
    An embedded PostgreSQL whose exchange has so many accounts with cash and no positions; the URL of its database.

    It does not wait for the disk: what is measured is our work and the server's, not this machine's storage.
    """
    async with EmbeddedPostgres(folder / "postgres", durable=False) as dsn:
        await migrate(dsn)
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "INSERT INTO accounts (id, currency_balance) SELECT id, 1000000000 FROM generate_series(1, $1) AS id",
            account_count,
        )
        await connection.close()
        yield dsn


async def _address(output: asyncio.StreamReader, arguments: tuple[str, ...]) -> str:
    said, what = "", f"{' '.join(arguments)} was not ready"
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := (await output.readline()).decode():
                said += line
                if found := READY.search(line):
                    return found["address"] or found["name"]
        what = f"{what} when it ended"
    except TimeoutError:
        what = f"{what} after {START_SECONDS:.0f} s"
    raise RuntimeError(f"{what}, and said:\n{said}")


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
