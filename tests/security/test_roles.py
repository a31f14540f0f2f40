"""Who may call what, method by method, on a real server (FAULTS F15, F17)."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from evs.v1 import admin_pb2, evs_pb2
from evs.v1 import evs_pb2 as pb
from evs.v1.evs_pb2_grpc import EquityValuationServiceServicer
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from evs_server.access.rules import RULES
from evs_server.limits import EXACT_MAX
from evs_server.roles import Role
from tests.builders import ALICE, BOB
from tests.security.secured import BY_ROLE, NOBODYS, VALUATION, Secure, a_token, as_bearer

StatusCode = grpc.StatusCode

SERVED = (evs_pb2, admin_pb2, health_pb2)
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
LIST = reflection_pb2.ServerReflectionRequest(list_services="*")

SENDERS = {"OnTradeSettled", "OnPriceUpdated", "OnTickComplete", "OnCashAdjusted", "StreamEvents"}
READERS = {
    "GetEquity", "BatchGetEquity", "ListPositions", "GetEquityHistory", "GetPerformance", "GetLeaderboard",
    "SubscribeEquity", "WatchEquity",
}  # fmt: skip
OPERATORS = {"Reconcile", "Recompute"}
EVERYBODY = {"Check", "List", "Watch"}

LET_IN = {
    "nobody": EVERYBODY,
    "read:own": EVERYBODY | READERS,  # its own account, that is
    "read:any": EVERYBODY | READERS | {"GetCluster"},
    "ingest": EVERYBODY | SENDERS | {"GetIngestState"},
    "admin": EVERYBODY | OPERATORS | {"GetIngestState", "GetCluster"},
}
"""Which methods each kind of caller gets at; no other."""

OWN: dict[str, Message] = {
    "GetEquity": pb.GetEquityRequest(account_id=ALICE),
    "BatchGetEquity": pb.BatchGetEquityRequest(account_ids=[ALICE]),
    "ListPositions": pb.ListPositionsRequest(account_id=ALICE),
    "GetEquityHistory": pb.GetEquityHistoryRequest(account_id=ALICE),
    "GetPerformance": pb.GetPerformanceRequest(account_id=ALICE),
    "GetLeaderboard": pb.GetLeaderboardRequest(),
    "SubscribeEquity": pb.SubscribeEquityRequest(account_id=ALICE),
    "WatchEquity": pb.WatchEquityRequest(add=[ALICE]),
}
"""What a reader may ask."""


def methods() -> Iterator[str]:
    """Every method of every service that EVS serves, as the contract's own descriptors have them."""
    for module in SERVED:
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from (f"/{service.full_name}/{method.name}" for method in service.methods)


def test_the_table_has_every_method_and_no_other() -> None:
    """A method that is added to a contract is served to nobody until somebody has said to whom."""
    assert {*methods(), REFLECTION} == set(RULES)


@pytest.mark.parametrize("kind", list(BY_ROLE))
async def test_each_kind_of_caller_gets_at_its_methods_and_no_other(secure: Secure, kind: str) -> None:
    """Deny by default: for each kind, each method, unary and stream alike."""
    async with secure() as evs:
        let_in = set()
        for method in methods():
            name = method.rpartition("/")[2]
            outcome = await evs.stream(method, OWN.get(name, b""), metadata=BY_ROLE[kind])
            if outcome.is_let_in:
                let_in.add(name)
            else:
                expected = StatusCode.PERMISSION_DENIED if BY_ROLE[kind] else StatusCode.UNAUTHENTICATED
                assert (method, expected) == (method, outcome.code)
        assert LET_IN[kind] == let_in


async def test_a_method_that_nobody_serves_is_not_there(secure: Secure) -> None:
    async with secure() as evs:
        outcome = await evs.call("/evs.v1.EquityValuationService/Delete", metadata=BY_ROLE["admin"])
    assert StatusCode.UNIMPLEMENTED == outcome.code


async def test_what_is_served_cannot_be_listed_where_callers_are_asked_who_they_are(secure: Secure) -> None:
    """Reflection is for development."""
    async with secure() as evs:
        outcome = await evs.stream(REFLECTION, LIST, metadata=BY_ROLE["admin"])
    assert StatusCode.UNIMPLEMENTED == outcome.code


async def test_without_keys_and_on_this_machine_every_caller_has_every_role(secure: Secure) -> None:
    """DESIGN 10: development; a token changes nothing, not even a bad one."""
    async with secure(jwt_secret_file=None) as evs:
        for metadata in ((), BY_ROLE["read:own"], as_bearer("nonsense")):
            for method in (*methods(), REFLECTION):
                request = LIST if method == REFLECTION else OWN.get(method.rpartition("/")[2], b"")
                outcome = await evs.stream(method, request, metadata=metadata)
                assert (method, True) == (method, outcome.is_let_in)


# --- one's own account -------------------------------------------------------------------------------------------


async def test_a_reader_reads_its_own_account(secure: Secure) -> None:
    async with secure() as evs:
        outcome = await evs.call(f"{VALUATION}GetEquity", OWN["GetEquity"], a_token(ALICE))
    assert 1_000_000 == pb.GetEquityResponse.FromString(outcome.response).equity.total_equity


@pytest.mark.parametrize("method", sorted(READERS - {"GetLeaderboard", "WatchEquity"}))
async def test_anothers_account_and_one_that_does_not_exist_are_answered_alike(secure: Secure, method: str) -> None:
    """Nothing can be found out by asking; not even which ids are taken, or could be."""
    field = "account_ids" if method == "BatchGetEquity" else "account_id"
    kind = getattr(pb, f"{method}Request")
    async with secure() as evs:
        outcomes = {
            (await evs.stream(f"{VALUATION}{method}", kind(**{field: value}), metadata=a_token(ALICE)))
            for account_id in (BOB, NOBODYS, 0, -1, EXACT_MAX + 1)
            for value in ([[account_id], [ALICE, account_id]] if field != "account_id" else [account_id])
        }
        assert [ALICE, BOB] == sorted(evs.rooms.engine.account_ids())
    [outcome] = outcomes
    assert StatusCode.PERMISSION_DENIED == outcome.code
    assert f"may read account {ALICE}" in outcome.details


class Following(EquityValuationServiceServicer):
    """Notes what it is asked to follow, and says nothing."""

    def __init__(self) -> None:
        self.asked: list[pb.WatchEquityRequest] = []

    async def WatchEquity(  # noqa: N802
        self, requests: AsyncIterator[pb.WatchEquityRequest], _: Any
    ) -> AsyncIterator[pb.WatchEquityResponse]:
        async for request in requests:
            self.asked.append(request)
        yield pb.WatchEquityResponse()


NOT_ALICES = [
    pb.WatchEquityRequest(all=True),
    pb.WatchEquityRequest(add=[BOB]),
    pb.WatchEquityRequest(add=[ALICE, NOBODYS]),
    pb.WatchEquityRequest(remove=[BOB]),
]


@pytest.mark.parametrize("request_", NOT_ALICES, ids=str)
async def test_each_request_of_a_stream_is_held_to_the_readers_account(
    secure: Secure, request_: pb.WatchEquityRequest
) -> None:
    """What comes first must not open the door for what comes later."""
    method, own = f"{VALUATION}WatchEquity", OWN["WatchEquity"]
    following = Following()  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED
    async with secure(servicer=following) as evs:
        refused = await evs.stream(method, own, request_, metadata=a_token(ALICE))
        assert StatusCode.PERMISSION_DENIED == refused.code
        assert [own] == following.asked
        served = await evs.stream(method, own, request_, metadata=a_token("risk", Role.READ_ANY))
        assert StatusCode.OK == served.code
        assert [own, own, request_] == following.asked


@pytest.mark.parametrize("request_", NOT_ALICES, ids=str)
async def test_a_reader_follows_nobody_else(secure: Secure, request_: pb.WatchEquityRequest) -> None:
    """The same of EVS's own method: nothing comes of it."""
    async with secure() as evs:
        outcome = await evs.stream(f"{VALUATION}WatchEquity", request_, metadata=a_token(ALICE))
    assert StatusCode.PERMISSION_DENIED == outcome.code


async def test_a_leaderboard_is_asked_for_oneself_or_for_nobody(secure: Secure) -> None:
    async with secure() as evs:
        for account_id, let_in in ((0, True), (ALICE, True), (BOB, False), (NOBODYS, False), (-1, False)):
            request = pb.GetLeaderboardRequest(account_id=account_id)
            outcome = await evs.call(f"{VALUATION}GetLeaderboard", request, a_token(ALICE))
            assert (account_id, let_in) == (account_id, outcome.is_let_in)


def test_a_leaderboard_shows_a_reader_no_id_but_its_own() -> None:
    """Others have a name and a return there; an id could be asked about elsewhere."""
    shown = RULES[f"{VALUATION}GetLeaderboard"].shown
    assert shown is not None
    entries = [pb.LeaderboardEntry(rank=1, account_id=BOB, display_name="Bob"), pb.LeaderboardEntry(account_id=ALICE)]
    made = pb.GetLeaderboardResponse(entries=entries, own=entries[1], ranked_count=2)
    seen = shown(made, ALICE)
    assert [(0, "Bob"), (ALICE, "")] == [(each.account_id, each.display_name) for each in seen.entries]
    assert (ALICE, 2) == (seen.own.account_id, seen.ranked_count)
    assert BOB == made.entries[0].account_id, "what all are answered with is not changed"


async def test_roles_add_up(secure: Secure) -> None:
    """An account's token may allow more than to read it."""
    async with secure() as evs:
        both = a_token(ALICE, Role.READ_OWN, Role.INGEST)
        price = pb.OnPriceUpdatedRequest(symbol_id=1, price_cents=100)
        assert StatusCode.OK == (await evs.call(f"{VALUATION}OnPriceUpdated", price, both)).code
        assert StatusCode.OK == (await evs.call(f"{VALUATION}GetEquity", OWN["GetEquity"], both)).code
        refused = await evs.call("/evs.v1.AdminService/Reconcile", b"", both)
    assert (StatusCode.PERMISSION_DENIED, f"account {ALICE} may not call this: it takes admin") == (
        refused.code,
        refused.details,
    )
