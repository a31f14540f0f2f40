"""
The other end of the operators' methods: what ``evs reconcile`` and ``evs recompute`` ask, and how they say the answer.

Lives here: words and JSON. Not here: printing, and exit statuses (``cli``). Touches the network.
"""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
from evs.v1 import admin_pb2 as pb
from evs.v1.admin_pb2_grpc import AdminServiceStub
from google.protobuf import json_format
from google.protobuf.message import Message

from evs_server.channel import open_channel, why_unreachable
from evs_server.config import Settings
from evs_server.errors import EvsError, InvalidRequest, PermissionDenied, StoreUnavailable, Unauthenticated
from evs_server.roles import Role

if TYPE_CHECKING:
    from evs.v1.admin_pb2_grpc import AdminServiceAsyncStub

CALL_SECONDS: Final = 900.0
"""Deadline of a call: a pass over all accounts, another one that goes first, and the grace period."""

_DETAILS: Final = "grpc-status-details-bin"

_CREDENTIALS: Final = {
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a command has to say.

    Attributes:
        lines: To print.
        good: Whether nothing is wrong, or nothing is left so.
    """

    lines: list[str]
    good: bool


async def ask_reconcile(settings: Settings, *, repair: bool, as_json: bool) -> Answer:
    """
    The answer to ``evs reconcile``.

    Raises:
        Unauthenticated, PermissionDenied: If EVS does not let it.
        StoreUnavailable: If EVS is not there, or cannot look.
    """
    async with _admin(settings) as stub:
        response = await stub.Reconcile(pb.ReconcileRequest(repair=repair), timeout=CALL_SECONDS)
    good = all(account.correction for account in response.accounts)
    return Answer([_json(response)] if as_json else list(_reconciled_lines(response)), good)


async def ask_recompute(settings: Settings, account_ids: Sequence[int], *, apply: bool, as_json: bool) -> Answer:
    """
    The answer to ``evs recompute``.

    Raises:
        InvalidRequest: If an id cannot be one, or there are too many.
        Unauthenticated, PermissionDenied: If EVS does not let it.
        StoreUnavailable: If EVS is not there, or cannot look.
    """
    async with _admin(settings) as stub:
        request = pb.RecomputeRequest(account_ids=account_ids, apply=apply)
        response = await stub.Recompute(request, timeout=CALL_SECONDS)
    # To have been told what would change is what was asked for without --apply.
    good = all(account.applied or not (apply and account.changes) for account in response.accounts)
    return Answer([_json(response)] if as_json else list(_recomputed_lines(response, apply=apply)), good)


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator["AdminServiceAsyncStub"]:
    async with open_channel(settings, "evs-admin", [Role.ADMIN]) as channel:
        # The types tell the two kinds of channel apart; when run, one class serves both.
        stub: AdminServiceAsyncStub = AdminServiceStub(channel)
        try:
            yield stub
        except grpc.aio.AioRpcError as error:
            raise _in_words(settings, error) from error


def _in_words(settings: Settings, error: grpc.aio.AioRpcError) -> EvsError:
    said = error.details() or "no reason given"
    server, code = settings.server, error.code()
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidRequest("account_ids", said)
    if code in _CREDENTIALS:
        return _CREDENTIALS[code](
            f"EVS at {server} refuses: {said}; set EVS_JWT_SECRET_FILE to its key, or EVS_TOKEN_FILE to a token with"
            " the role admin",
            server=server,
        )
    # EVS itself always gives details; without them it is the network that speaks.
    if code is grpc.StatusCode.UNAVAILABLE and _DETAILS not in dict(error.trailing_metadata()):
        return StoreUnavailable(f"EVS is not there: {why_unreachable(settings, error)}", server=server)
    return StoreUnavailable(f"EVS at {server} answers {code.name}: {said}", server=server)


def _json(response: Message) -> str:
    return json.dumps(
        json_format.MessageToDict(response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    )


def _reconciled_lines(response: pb.ReconcileResponse) -> Iterator[str]:
    yield f"compared {response.compared_count} accounts; {response.busy_count} were busy, and left alone"
    for account in response.accounts:
        since = datetime.fromtimestamp(account.since // 1_000, UTC).isoformat()
        yield f"account {account.account_id}, since {since}: {account.finding or 'not looked into'}"
        for each in account.differences:
            name, unit = _named(pb.DifferenceField.Name(each.field), each.symbol_id)
            yield f"    {name}: EVS has {each.ours}{unit}, the exchange {each.theirs}{unit}"
        if account.correction:
            yield "  corrected:"
            yield from _change_lines(account.changes)
    if response.withheld:
        yield f"NOT CORRECTED: {response.withheld}"
    corrected_count = sum(account.correction > 0 for account in response.accounts)
    yield f"{len(response.accounts)} accounts differ, {corrected_count} of them were corrected"


def _recomputed_lines(response: pb.RecomputeResponse, *, apply: bool) -> Iterator[str]:
    for account in response.accounts:
        if account.applied:
            verdict = "corrected"
        elif account.changes:
            verdict = "NOT CORRECTED" if apply else "would change"
        else:
            verdict = "nothing to change"
        yield f"account {account.account_id}: {verdict}" + (f" ({account.note})" if account.note else "")
        yield from _change_lines(account.changes)


def _change_lines(changes: Sequence[pb.CorrectedValue]) -> Iterator[str]:
    for change in changes:
        name, unit = _named(pb.CorrectedField.Name(change.field), change.symbol_id)
        yield f"    {name}: {change.before}{unit} -> {change.after}{unit}"


def _named(enum_name: str, symbol_id: int) -> tuple[str, str]:
    """What a number is, for people, and its unit."""
    name = enum_name.removeprefix("DIFFERENCE_FIELD_").removeprefix("CORRECTED_FIELD_").removeprefix("POSITION_")
    name = name.lower().replace("_", " ")
    unit = {"quantity": " bp", "account": ""}.get(name, " cents")
    of_symbol = f" of symbol {symbol_id}" if symbol_id or name == "quantity" else ""
    return name + of_symbol, unit
