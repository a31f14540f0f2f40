"""
The methods that operators call: decode, ask the reconciler, answer. Touches I/O.

Each is a door; what a number means is decided behind it, and who may come in before it (``access``).
"""

from collections.abc import Sequence
from typing import Any

import grpc
from evs.v1 import admin_pb2 as pb
from evs.v1 import admin_pb2_grpc

from evs_server.errors import InvalidRequest
from evs_server.lifecycle import Lifecycle
from evs_server.limits import EXACT_MAX, RECOMPUTED_ACCOUNTS_MAX
from evs_server.model import Change
from evs_server.reconcile.recompute import Recompute, Recomputed
from evs_server.reconcile.reconciler import Found, Reconciler
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
        report = await self._reconciler.reconcile(repair=request.repair, requested=True)
        return pb.ReconcileResponse(
            accounts=[_difference(found) for found in report.found],
            compared_count=report.compared_count,
            busy_count=report.busy_count,
            withheld=report.withheld,
        )

    @answers_with_status
    async def GetCluster(self, _request: pb.GetClusterRequest, _: Context) -> pb.GetClusterResponse:
        """No shards: one process has all accounts."""
        return pb.GetClusterResponse()

    @answers_with_status
    async def Recompute(self, request: pb.RecomputeRequest, _: Context) -> pb.RecomputeResponse:
        """Rebuild accounts from their trades, or say what that would change."""
        account_ids = _account_ids(request.account_ids)
        recomputed = await self._recompute.recompute(account_ids, apply=request.apply)
        return pb.RecomputeResponse(accounts=[_recomputed(account) for account in recomputed])


def _account_ids(account_ids: Sequence[int]) -> list[int]:
    count = len(account_ids)
    if not 0 < count <= RECOMPUTED_ACCOUNTS_MAX:
        raise InvalidRequest(
            "account_ids",
            f"{count} accounts were named; expected 1 to {RECOMPUTED_ACCOUNTS_MAX}",
            count=count,
            bound=RECOMPUTED_ACCOUNTS_MAX,
        )
    for account_id in account_ids:
        if not 0 < account_id <= EXACT_MAX:
            raise InvalidRequest(
                "account_ids",
                f"account {account_id} cannot exist; expected 1 to {EXACT_MAX}",
                account_id=account_id,
                bound=EXACT_MAX,
            )
    return list(account_ids)


def _difference(found: Found) -> pb.AccountDifference:
    return pb.AccountDifference(
        account_id=found.account_id,
        differences=[
            pb.Difference(
                field=f"DIFFERENCE_FIELD_{each.field.name}",
                symbol_id=each.symbol_id,
                ours=each.ours,
                theirs=each.theirs,
            )
            for each in found.differences
        ],
        since=found.since_ms,
        finding=found.finding,
        correction=None if found.correction is None else f"CORRECTION_KIND_{found.correction.kind.name}",
        changes=_changes(found.changes),
    )


def _recomputed(account: Recomputed) -> pb.RecomputedAccount:
    return pb.RecomputedAccount(
        account_id=account.account_id, changes=_changes(account.changes), applied=account.applied, note=account.note
    )


def _changes(changes: Sequence[Change]) -> list[pb.CorrectedValue]:
    return [
        pb.CorrectedValue(
            field=f"CORRECTED_FIELD_{change.field.name}",
            symbol_id=change.symbol_id,
            before=change.before,
            after=change.after,
        )
        for change in changes
    ]
