"""
The methods that operators call: decode, ask the reconciler, answer. Touches I/O.

Each is a door; what a number means is decided behind it, and who may come in before it (``access``).
"""

from typing import Any

import grpc
from evs.v1 import admin_pb2 as pb
from evs.v1 import admin_pb2_grpc

from evs_server.lifecycle import Lifecycle
from evs_server.reconcile import codec
from evs_server.reconcile.recompute import Recompute
from evs_server.reconcile.reconciler import Reconciler
from evs_server.rpc_status import answers_with_status

Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Serves once ``attach`` has been called and the lifecycle says so."""

    _reconciler: Reconciler
    _recompute: Recompute

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def attach(self, reconciler: Reconciler, recompute: Recompute) -> None:
        """Take what is behind the methods."""
        self._reconciler, self._recompute = reconciler, recompute

    @answers_with_status
    async def Reconcile(self, request: pb.ReconcileRequest, _: Context) -> pb.ReconcileResponse:
        """Compare all quiet accounts, and correct what can be explained if asked to."""
        return codec.encode_report(await self._reconciler.reconcile(repair=request.repair, requested=True))

    @answers_with_status
    async def GetCluster(self, _request: pb.GetClusterRequest, _: Context) -> pb.GetClusterResponse:
        """No shards: one process has all accounts."""
        return pb.GetClusterResponse()

    @answers_with_status
    async def Recompute(self, request: pb.RecomputeRequest, _: Context) -> pb.RecomputeResponse:
        """Rebuild accounts from their trades, or say what that would change."""
        account_ids = codec.decode_account_ids(request.account_ids)
        return codec.encode_recomputed(await self._recompute.recompute(account_ids, apply=request.apply))
