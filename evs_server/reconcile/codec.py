"""
What operators ask and are told, between messages of the contract and values. Pure.

Lives here: which numbers stand in which field, and what may be asked. Not here: what they mean.
"""

from collections.abc import Sequence

from evs.v1 import admin_pb2 as pb

from evs_server.errors import InvalidRequest
from evs_server.limits import EXACT_MAX, RECOMPUTED_ACCOUNTS_MAX
from evs_server.model import Change
from evs_server.reconcile.recompute import Recomputed
from evs_server.reconcile.reconciler import Found, Report


def decode_account_ids(account_ids: Sequence[int]) -> list[int]:
    """
    The accounts to rebuild.

    Raises:
        InvalidRequest: If there are none or too many, or one cannot exist.
    """
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


def encode_report(report: Report) -> pb.ReconcileResponse:
    """What a pass found."""
    return pb.ReconcileResponse(
        accounts=map(_encode_found, report.found),
        compared_count=report.compared_count,
        busy_count=report.busy_count,
        withheld=report.withheld,
    )


def encode_recomputed(recomputed: Sequence[Recomputed]) -> pb.RecomputeResponse:
    """Accounts that were rebuilt, or would be."""
    return pb.RecomputeResponse(
        accounts=[
            pb.RecomputedAccount(
                account_id=each.account_id,
                changes=_encode_changes(each.changes),
                applied=each.applied,
                note=each.note,
            )
            for each in recomputed
        ]
    )


def _encode_found(found: Found) -> pb.AccountDifference:
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
        changes=_encode_changes(found.changes),
    )


def _encode_changes(changes: Sequence[Change]) -> list[pb.CorrectedValue]:
    return [
        pb.CorrectedValue(
            field=f"CORRECTED_FIELD_{change.field.name}",
            symbol_id=change.symbol_id,
            before=change.before,
            after=change.after,
        )
        for change in changes
    ]
