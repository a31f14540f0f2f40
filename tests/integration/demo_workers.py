"""Workers of a demo that do nothing but run, and a gateway that says of them what a test wants it to."""

import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from evs.v1 import admin_pb2
from evs.v1.admin_pb2_grpc import AdminServiceServicer, add_AdminServiceServicer_to_server

from evs_server.demo.workers import Roll, Started
from tests.integration.bridge_world import ScriptedEvs
from tests.patience import PATIENCE_SECONDS

SHARDS = range(65)
NOW_MS = 1_700_000_000_000
RUNS = "print(flush=True); input()"


@contextmanager
def some_workers(roll: Path, *names: str) -> Iterator[Mapping[str, subprocess.Popen[bytes]]]:
    """Processes that stand for workers, as the demo notes them; none outlives the block."""
    with ExitStack() as stack:
        processes = {}
        for name in names:
            word = f"evs_started={secrets.token_hex(8)}"
            command = [sys.executable, "-I", "-S", "-X", word, "-c", RUNS]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.kill)
            # Until its program runs it has no command line, and nothing says that it is the one.
            assert process.stdout is not None
            assert process.stdout.readline()
            processes[name] = process
            Roll(roll).add(Started(name, process.pid, word))
        yield processes


def ended_by(process: subprocess.Popen[bytes]) -> int:
    """The status that a process ends with."""
    return process.wait(PATIENCE_SECONDS)


def owner(process: subprocess.Popen[bytes]) -> str:
    """What a worker calls itself that is a process."""
    return f"evs shard {process.pid}.0123abcd on somewhere"


def shard(number: int, owned_by: str, **differences: Any) -> admin_pb2.VirtualShard:
    """A virtual shard that is well."""
    usual: dict[str, Any] = {
        "start_number": 1,
        "applied_position": 1_000 + number,
        "committed_position": 900 + number,
        "owned_since": NOW_MS - 60_000,
        "heard": NOW_MS - 200,
    }
    return admin_pb2.VirtualShard(shard=number, owner=owned_by, **(usual | differences))


def cluster(owners: Sequence[str], *, later_ms: int = 0, **differences: Any) -> admin_pb2.GetClusterResponse:
    """All virtual shards, owned in turn; at a moment after ``NOW_MS``."""
    shards = [shard(number, owners[number % len(owners)], **differences) for number in SHARDS]
    for each in shards:
        each.heard += later_ms
    return admin_pb2.GetClusterResponse(last_position=1_100, shards=shards, time=NOW_MS + later_ms)


class ScriptedGateway(ScriptedEvs, AdminServiceServicer):
    """Says of its virtual shards what the test tells it to."""

    state = admin_pb2.GetClusterResponse()

    def add_to(self, server: grpc.aio.Server) -> None:
        super().add_to(server)
        add_AdminServiceServicer_to_server(self, server)

    async def GetCluster(  # noqa: N802
        self, _request: admin_pb2.GetClusterRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> admin_pb2.GetClusterResponse:
        assert context.time_remaining() is not None, "every read has a deadline"
        return self.state
