"""
A cluster as processes for the benchmarks: NATS and PostgreSQL, a gateway, workers. Ends what it has started.

NATS answers once a message is on the disk, as a single one in earnest must; PostgreSQL does not wait for it, as in all
benchmarks.
"""

import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.serving import an_exchange, process
from evs_server.log import EmbeddedNats


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    One that serves.

    Attributes:
        address: The gateway's.
        nats_url: The log's.
        workers: Their processes' ids.
        settings: What each of its processes is told.
    """

    address: str
    nats_url: str
    workers: tuple[int, ...]
    settings: dict[str, Any]


@contextlib.asynccontextmanager
async def a_cluster(folder: Path, account_count: int, worker_count: int) -> AsyncIterator[Cluster]:
    """A gateway and so many workers, on an exchange of their own; yields it once all of them serve."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(EmbeddedNats(folder / "nats"))
        dsn = await stack.enter_async_context(an_exchange(folder, account_count))
        settings: dict[str, Any] = {
            "nats_url": url,
            "database_url": dsn,
            "data_dir": folder / "data",
            "log_level": "ERROR",
            "reconcile_seconds": 0,
            "metrics_listen": "127.0.0.1:0",
        }
        workers = [(await stack.enter_async_context(a_worker(settings)))[1] for _ in range(worker_count)]
        address, _ = await stack.enter_async_context(
            process(*_evs("gateway"), **settings, listen="127.0.0.1:0"),
        )
        yield Cluster(address, url, tuple(workers), settings)


def a_worker(settings: dict[str, Any]) -> AbstractAsyncContextManager[tuple[str, int]]:
    """One more worker, yielded once it has its share."""
    return process(*_evs("shard"), **settings)


def _evs(command: str) -> tuple[str, str]:
    return str(Path(sys.executable).with_name("evs")), command
