"""An EVS that is killed and started again: one process or, of a cluster, the gateway and a worker with it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from tests.cluster.deployment import Cluster, ready
from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import serving

ANYWHERE = "127.0.0.1:0"


class Served(NamedTuple):
    """Where an EVS serves, and how to end it as a crash would."""

    address: str
    kill: Callable[[], None]


class Crashing(Protocol):
    """An EVS that serves now and then; what it has stored stays."""

    tables: ExchangeTables

    def serving(self, listen: str = ANYWHERE) -> AbstractContextManager[Served]:
        """It serves as long as the block lasts, unless it is killed in between."""
        ...


class OneProcess:
    """``evs serve``."""

    def __init__(self, tables: ExchangeTables, data_dir: Path) -> None:
        self.tables = tables
        self._data_dir = data_dir

    @contextmanager
    def serving(self, listen: str = ANYWHERE) -> Iterator[Served]:
        with serving(self.tables.dsn, self._data_dir, listen=listen) as (evs, address):
            yield Served(address, evs.kill)


class ManyProcesses:
    """A gateway and three workers, begun with the first block; a worker that is killed is replaced."""

    def __init__(self, tables: ExchangeTables, cluster: Cluster) -> None:
        self.tables = tables
        self._cluster = cluster

    @contextmanager
    def serving(self, listen: str = ANYWHERE) -> Iterator[Served]:
        cluster = self._cluster
        if not cluster.shards:
            cluster.add_shards(3)
        gateway = cluster.add_gateway(listen)

        def kill() -> None:
            gateway.kill()
            next(each for each in cluster.shards if each.process.poll() is None).kill()
            cluster.add_shards(1)

        yield Served(ready(gateway), kill)
        if gateway.process.poll() is None:
            gateway.kill()
