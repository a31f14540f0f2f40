"""
A cluster as an operator runs it: NATS, the exchange's database, workers and gateways, each a process of its own.

Whatever a test does to them, none outlives the block; what they have said can be read afterwards.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from evs.v1 import admin_pb2, admin_pb2_grpc

from evs_server.log import EmbeddedNats
from tests.database import run_apart
from tests.e2e.caller import Caller
from tests.e2e.processes import Command, running
from tests.patience import PATIENCE_SECONDS

READY = r"(?m)^evs \w+ ready (.+)$"


class Cluster:
    """
    Workers and gateways on one NATS and one database; none at first.

    Args:
        nats_url: Where the log is.
        dsn: The exchange's database.
        directory: Where a gateway keeps its development key.
        settings: ``EVS_<NAME>`` of all of them, by name in lower case.

    Attributes:
        shards: The workers, in the order they were started; those that were ended, too.
        gateways: The same of gateways.
    """

    def __init__(self, nats_url: str, dsn: str, directory: Path, **settings: str) -> None:
        self._settings = {"nats_url": nats_url, "database_url": dsn, "data_dir": str(directory)} | settings
        self._processes = ExitStack()
        self.shards: list[Command] = []
        self.gateways: list[Command] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def add_shards(self, count: int) -> list[Command]:
        """Start workers; they need not be ready on return."""
        added = [self._start("shard", metrics_listen="") for _ in range(count)]
        self.shards += added
        return added

    def add_gateway(self, listen: str = "127.0.0.1:0") -> Command:
        """Start a gateway; it need not be ready on return."""
        gateway = self._start("gateway", listen=listen, metrics_listen="")
        self.gateways.append(gateway)
        return gateway

    def stop(self) -> None:
        """
        End every process that still runs, in order, gateways first; each must end well.

        One that has only just been started, and has said nothing, does not listen to signals yet: it ends at once.
        """
        for command in [*self.gateways, *self.shards]:
            if command.process.poll() is None:
                status = command.terminate()
                assert status == 0 or (status == -signal.SIGTERM and not command.said), (status, command.said)

    def said(self) -> str:
        """Everything that all have said, one after the other."""
        return "\n".join(command.said for command in [*self.gateways, *self.shards])

    def _start(self, role: str, **settings: str) -> Command:
        return self._processes.enter_context(running(role, **self._settings, **settings))


def ready(command: Command) -> str:
    """What a process says of itself once it is ready: a gateway its address, a worker its name."""
    return command.wait_for(READY).group(1)


def started(cluster: Cluster, *, workers: int = 3) -> str:
    """Workers and one gateway, all ready; where the gateway serves."""
    shards, gateway = cluster.add_shards(workers), cluster.add_gateway()
    for shard in shards:
        ready(shard)
    return ready(gateway)


def owners(address: str) -> dict[int, str]:
    """Who owns which virtual shard, as far as a gateway hears them."""
    with Caller(address) as caller:
        stub: Any = admin_pb2_grpc.AdminServiceStub(caller.channel)
        answer = stub.GetCluster(admin_pb2.GetClusterRequest(), timeout=PATIENCE_SECONDS)
    return {each.shard: each.owner for each in answer.shards if not each.silent}


@contextmanager
def a_nats(directory: Path) -> Iterator[EmbeddedNats]:
    """A NATS that runs as long as the block, unless a test ends it before."""
    nats = EmbeddedNats(directory)
    run_apart(nats.start())
    try:
        yield nats
    finally:
        run_apart(nats.stop())
