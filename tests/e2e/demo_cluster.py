"""The demo of a cluster as processes: where it is, who does what, and a shard killed from another terminal."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from evs.v1 import admin_pb2, evs_pb2
from evs.v1.admin_pb2_grpc import AdminServiceStub
from evs.v1.evs_pb2_grpc import EquityValuationServiceStub

from evs_server.cluster.shards import shard_of
from tests.e2e.processes import Command, running
from tests.patience import PATIENCE_SECONDS, eventually

START_SECONDS: Final = 2 * PATIENCE_SECONDS
"""Seven programs start at one time."""

ACCOUNT_IDS: Final = range(1, 51)
"""Those of the exchange, on a database of its own."""


class DemoCluster:
    """
    A demo that runs, and whoever stands beside it.

    Args:
        command: The demo.
        data_dir: Its ``EVS_DATA_DIR``.
    """

    def __init__(self, command: Command, data_dir: Path) -> None:
        self.command = command
        self.data_dir = data_dir
        pages = command.wait_for(r"pages\s+(http://\S+)\s+(http://\S+)", START_SECONDS)
        self.pages: tuple[str, str] = (pages[1], pages[2])
        self.server = command.wait_for(r"gRPC\s+(\S+)")[1]
        command.wait_for(r"Ctrl-C")

    def processes(self) -> dict[str, int]:
        """The process of each shard, as the demo has told when it began."""
        return {name: int(pid) for name, pid in re.findall(r"(shard-\d) \(process (\d+)\)", self._told_at_start())}

    def kill(self) -> str:
        """Kill a shard as a person would; its name."""
        with running("demo-cluster", "--kill", data_dir=self.data_dir) as kill:
            assert 0 == kill.wait_for_end(PATIENCE_SECONDS), kill.said
            return kill.wait_for(r"^killed (shard-\d)$")[1]

    def cluster(self) -> admin_pb2.GetClusterResponse:
        """What the gateway tells."""
        with grpc.insecure_channel(self.server) as channel:
            return AdminServiceStub(channel).GetCluster(admin_pb2.GetClusterRequest(), timeout=PATIENCE_SECONDS)

    def owned(self, pid: int) -> set[int]:
        """The virtual shards of a process."""
        return {each.shard for each in self.cluster().shards if f"evs shard {pid}." in each.owner}

    def wait_until_owned(self, pids: set[int]) -> None:
        """Return once every virtual shard has one of some processes for its owner, and none of them has nothing."""

        def look() -> bool:
            owned = [self.owned(pid) for pid in pids]
            return all(owned) and 65 == sum(map(len, owned))

        eventually(look, f"all virtual shards owned by processes {sorted(pids)}")

    def version(self, account_id: int) -> int:
        """That of an account's newest valuation; 0 while nobody can say."""
        request: Any = evs_pb2.GetEquityRequest(account_id=account_id)
        with grpc.insecure_channel(self.server) as channel:
            try:
                answer = EquityValuationServiceStub(channel).GetEquity(request, timeout=PATIENCE_SECONDS)
            except grpc.RpcError:
                return 0
        return int(answer.version)

    def _told_at_start(self) -> str:
        return self.command.wait_for(r"(?m)^  shards.*$").group()


def an_account_in(shards: set[int]) -> int:
    """An account of the exchange that belongs to one of some virtual shards."""
    return next(account_id for account_id in ACCOUNT_IDS if shard_of(account_id) in shards)


@contextmanager
def demo_cluster(data_dir: Path) -> Iterator[DemoCluster]:
    """A demo on addresses of its own, that does not outlive the block."""
    settings = {"listen": "127.0.0.1:0", "bridge_listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
    with running("demo-cluster", data_dir=data_dir, bridge_metrics_listen="", **settings) as command:
        yield DemoCluster(command, data_dir)
