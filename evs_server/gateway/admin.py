"""
What operators ask of a gateway: how far the virtual shards are, and who owns them, as far as was heard.

What concerns books is asked of whoever has them (``checks``).
"""

from typing import Any

import grpc
from evs.v1 import admin_pb2 as pb
from evs.v1 import admin_pb2_grpc

from evs_server.clock import Clock
from evs_server.gateway.checks import Checks
from evs_server.gateway.journal import Journal
from evs_server.gateway.progress import Progress, ShardProgress
from evs_server.gateway.seen import SILENCE_SECONDS
from evs_server.lifecycle import Lifecycle
from evs_server.reconcile.codec import decode_account_ids
from evs_server.rpc_status import answers_with_status

Context = grpc.aio.ServicerContext[Any, Any]


class GatewayAdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Serves once ``attach`` has been called and the lifecycle says so."""

    _checks: Checks

    def __init__(self, lifecycle: Lifecycle, progress: Progress, journal: Journal, clock: Clock) -> None:
        self._lifecycle = lifecycle
        self._progress = progress
        self._journal = journal
        self._clock = clock

    def attach(self, checks: Checks) -> None:
        """Take what asks the shards."""
        self._checks = checks

    @answers_with_status
    async def GetCluster(self, _request: pb.GetClusterRequest, _: Context) -> pb.GetClusterResponse:  # noqa: N802
        """Every shard, as its owner has told."""
        return cluster_of(self._progress, self._journal.position, self._clock)

    @answers_with_status
    async def Reconcile(self, request: pb.ReconcileRequest, _: Context) -> pb.ReconcileResponse:  # noqa: N802
        """Have all quiet accounts compared, and corrected as far as they can be explained if asked to."""
        return await self._checks.reconcile(repair=request.repair)

    @answers_with_status
    async def Recompute(self, request: pb.RecomputeRequest, _: Context) -> pb.RecomputeResponse:  # noqa: N802
        """Have accounts rebuilt from their trades, or be told what that would change."""
        return await self._checks.recompute(decode_account_ids(request.account_ids), apply=request.apply)


def cluster_of(progress: Progress, last_position: int, clock: Clock) -> pb.GetClusterResponse:
    """What has been heard of every shard, as the contract has it."""
    now_ms, now = clock.now_ms(), clock.monotonic()
    newest_ms = max(each.applied_ms for each in progress.all().values())

    def unix_ms(moment: float) -> int:
        return now_ms - int(1_000 * (now - moment))

    def told(shard: int, each: ShardProgress) -> pb.VirtualShard:
        if not each.start_number:
            return pb.VirtualShard(shard=shard, silent=True)
        silent = each.heard_at < now - SILENCE_SECONDS
        as_of_ms = now_ms if silent else newest_ms
        return pb.VirtualShard(
            shard=shard,
            owner=each.owner,
            start_number=each.start_number,
            applied_position=each.applied,
            committed_position=each.committed,
            lag_ms=max(0, as_of_ms - each.applied_ms) if each.applied_ms else 0,
            silent=silent,
            owned_since=unix_ms(each.owned_since),
            heard=unix_ms(each.heard_at),
        )

    return pb.GetClusterResponse(
        last_position=last_position,
        shards=[told(shard, each) for shard, each in sorted(progress.all().items())],
        time=now_ms,
    )
