"""
Which role each method asks for, by its exact name. Pure.

Lives here: the table, and the judgement of one call. Not here: how a caller proves who it is, and what hangs the table
before the methods (``guard``). A method that is not in the table is served to nobody.

A caller that may read its own account alone is answered alike about an account that is another's and one that does not
exist: the judgement looks at nothing but the id.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from evs_server.errors import PermissionDenied, Unauthenticated
from evs_server.roles import Caller, Role

Within = Callable[[Any, int], bool]
"""Whether a request stays within the account of an id."""

Shown = Callable[[Any, int], Any]
"""What of a response somebody may see who may read the account of an id alone."""


@dataclass(frozen=True, slots=True)
class Rule:
    """
    Who may call one method.

    Attributes:
        roles: Any of them will do, for whatever the request names; none: nobody need say who it is.
        within: With ``READ_OWN`` a request that stays within the caller's own account will do, too; None: it will not.
        shown: What such a caller sees of the response; None: all of it.
    """

    roles: frozenset[Role]
    within: Within | None = None
    shown: Shown | None = None

    @property
    def is_open(self) -> bool:
        """Whether anybody may call."""
        return not self.roles

    @property
    def is_for_senders(self) -> bool:
        """Whether senders call this."""
        return self.is_open or Role.INGEST in self.roles

    @property
    def is_for_others(self) -> bool:
        """Whether others than senders call this."""
        return self.is_open or self.roles != {Role.INGEST}

    def judge(self, caller: Caller | None) -> bool:
        """
        Let a caller in, or not.

        Returns:
            Whether it is restricted to its own account: then each of its requests must pass ``judge_request``.

        Raises:
            Unauthenticated: If nobody is known to call.
            PermissionDenied: If the caller may not.
        """
        if self.is_open:
            return False
        if caller is None:
            raise Unauthenticated("this method asks who calls: send a token, as `authorization: Bearer ...`")
        if self.roles & caller.roles:
            return False
        if self.within is not None and Role.READ_OWN in caller.roles and caller.account_id is not None:
            return True
        also = " or read:own" if self.within is not None else ""
        raise PermissionDenied(f"{caller.name} may not call this: it takes {' or '.join(sorted(self.roles))}{also}")

    def judge_request(self, caller: Caller, request: Any) -> None:
        """
        Let a request of a restricted caller pass, or not.

        Raises:
            PermissionDenied: If it names what is not the caller's own; whether that exists is not looked at.
        """
        assert self.within is not None
        assert caller.account_id is not None
        if not self.within(request, caller.account_id):
            raise PermissionDenied(
                f"this caller may read account {caller.account_id}, its own, and nothing else",
                account_id=caller.account_id,
            )


def _one(request: Any, own_id: int) -> bool:
    return bool(request.account_id == own_id)


def _several(request: Any, own_id: int) -> bool:
    return all(account_id == own_id for account_id in request.account_ids)


def _place(request: Any, own_id: int) -> bool:
    # Without an account the first places are asked for, which everybody may see.
    return request.account_id in (0, own_id)


def _followed(request: Any, own_id: int) -> bool:
    return not request.all and all(account_id == own_id for ids in (request.add, request.remove) for account_id in ids)


def _without_ids(response: Any, own_id: int) -> Any:
    """A leaderboard on which others have a name and a return, and no id that could be asked about."""
    shown = type(response)()
    # The response may be one that everybody is answered with.
    shown.CopyFrom(response)
    for entry in shown.entries:
        if entry.account_id != own_id:
            entry.account_id = 0
    return shown


_OPEN: Final = Rule(frozenset())
_INGEST: Final = Rule(frozenset({Role.INGEST}))
_ADMIN: Final = Rule(frozenset({Role.ADMIN}))
_ANY: Final = frozenset({Role.READ_ANY})
_READ: Final = Rule(_ANY, _one)

_VALUATION: Final = "/evs.v1.EquityValuationService/"

RULES: Final[Mapping[str, Rule]] = {
    f"{_VALUATION}OnTradeSettled": _INGEST,
    f"{_VALUATION}OnPriceUpdated": _INGEST,
    f"{_VALUATION}OnTickComplete": _INGEST,
    f"{_VALUATION}OnCashAdjusted": _INGEST,
    f"{_VALUATION}StreamEvents": _INGEST,
    f"{_VALUATION}GetIngestState": Rule(frozenset({Role.INGEST, Role.ADMIN})),
    f"{_VALUATION}GetEquity": _READ,
    f"{_VALUATION}BatchGetEquity": Rule(_ANY, _several),
    f"{_VALUATION}ListPositions": _READ,
    f"{_VALUATION}GetEquityHistory": _READ,
    f"{_VALUATION}GetPerformance": _READ,
    f"{_VALUATION}GetLeaderboard": Rule(_ANY, _place, _without_ids),
    f"{_VALUATION}SubscribeEquity": _READ,
    f"{_VALUATION}WatchEquity": Rule(_ANY, _followed),
    "/evs.v1.AdminService/Reconcile": _ADMIN,
    "/evs.v1.AdminService/Recompute": _ADMIN,
    "/evs.v1.AdminService/GetCluster": Rule(frozenset({Role.READ_ANY, Role.ADMIN})),
    "/grpc.health.v1.Health/Check": _OPEN,
    "/grpc.health.v1.Health/List": _OPEN,
    "/grpc.health.v1.Health/Watch": _OPEN,
    # Only served where every caller has every role.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ADMIN,
}
"""Every method that is served to anybody, by its name on the wire."""
