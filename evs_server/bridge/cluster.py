"""
What a browser may see of a cluster, and do to it: in the demo alone, where the cluster is there to be played with.

Lives here: the calls, and what is answered where there is no such demo. Not here: which processes there are, and how
one is killed (``demo``). Touches the network.
"""

from typing import TYPE_CHECKING, Final

from evs.v1 import admin_pb2

from evs_server.bridge import codec
from evs_server.bridge.requests import KillShard, ReadCluster
from evs_server.bridge.site import Workers
from evs_server.bridge.values import Failure, Killed, Outcome
from evs_server.errors import NotServed

if TYPE_CHECKING:
    # A name of the types alone: at run time one class serves both kinds of channel.
    from evs.v1.admin_pb2_grpc import AdminServiceAsyncStub

NO_CLUSTER: Final = Failure(NotServed.reason, "this is not the demo of a cluster: see `evs demo-cluster`")
NONE_RUNS: Final = Failure("UNAVAILABLE", "none of the demo's shards runs at present: they are started again soon")


class ClusterReads:
    """
    What can be asked about the cluster behind a bridge.

    Args:
        stub: The client of the contract's part for operators.
        workers: The demo's; None if this is no demo, or the demo is one process.
        read_s: Deadline of a call, in seconds.
    """

    def __init__(self, stub: "AdminServiceAsyncStub", workers: Workers | None, read_s: float) -> None:
        self._stub = stub
        self._workers = workers
        self._read_s = read_s

    async def read(self, request: ReadCluster | KillShard) -> Outcome:
        """
        What there is to answer.

        Raises:
            AioRpcError: If the gateway does not say.
        """
        if self._workers is None:
            return NO_CLUSTER
        if isinstance(request, KillShard):
            name = self._workers.kill()
            return NONE_RUNS if name is None else Killed(name)
        answer = await self._stub.GetCluster(admin_pb2.GetClusterRequest(), timeout=self._read_s)
        return codec.decode_cluster(answer, self._workers.name_of)
