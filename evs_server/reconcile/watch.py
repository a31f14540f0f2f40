"""
Accounts that differ from the exchange's tables: since when, and whether that stood. Pure.

AccountService settles in four statements without a transaction, and tells us afterwards: for a moment the tables are
torn, and for another moment ahead of us. So one look proves nothing. A difference counts once two looks, a grace period
apart, saw the very same numbers on both sides, and all that senders had sent before the first is durable at the second.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evs_server.limits import DIFFERENCES_KEPT
from evs_server.model import Holdings, Ledger
from evs_server.reconcile.compare import Difference, differences

Watermarks = Mapping[str, tuple[int, int, int]]
"""Epoch, applied and durable sequence of each source."""


@dataclass(frozen=True, slots=True)
class Look:
    """
    Both sides of one account, seen at one moment.

    Attributes:
        theirs: Without trades; None if the exchange's tables do not have the account.
        at_seconds: When, on a clock that never steps.
        at_ms: When, for people.
    """

    ours: Holdings
    theirs: Ledger | None
    watermarks: Watermarks
    at_seconds: float
    at_ms: int


@dataclass(slots=True)
class Standing:
    """
    An account that differs.

    Attributes:
        first: The first look that saw what the last one saw.
        stood: Whether the difference counts.
        finding: What is known of its cause, in words; empty before that was looked into.
    """

    first: Look
    stood: bool = False
    finding: str = ""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What differs."""
        return differences(self.first.ours, self.first.theirs)


class Watch:
    """
    The accounts that differ, bounded by ``limits.DIFFERENCES_KEPT``.

    Args:
        grace_seconds: How far two looks must lie apart.
    """

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._standing: dict[int, Standing] = {}
        self.overflow_count = 0

    def see(self, account_id: int, look: Look) -> None:
        """Take note of one look at a quiet account."""
        if not differences(look.ours, look.theirs):
            self._standing.pop(account_id, None)
            return
        known = self._standing.get(account_id)
        if known is None and len(self._standing) >= DIFFERENCES_KEPT:
            self.overflow_count += 1
            return
        if known is None or (known.first.ours, known.first.theirs) != (look.ours, look.theirs):
            self._standing[account_id] = Standing(look)
        elif look.at_seconds - known.first.at_seconds >= self._grace_seconds:
            known.stood = known.stood or has_caught_up(known.first.watermarks, look.watermarks)

    def forget(self, account_id: int) -> None:
        """Take note that an account is busy, or was corrected: what was seen of it says nothing any more."""
        self._standing.pop(account_id, None)

    def forget_others(self, account_ids: Iterable[int]) -> None:
        """Forget all accounts but these."""
        kept = set(account_ids)
        self._standing = {known: standing for known, standing in self._standing.items() if known in kept}

    def stood(self) -> dict[int, Standing]:
        """The accounts whose difference counts, the longest standing first."""
        return {account_id: standing for account_id, standing in self._standing.items() if standing.stood}

    def undecided(self) -> dict[int, float]:
        """The accounts that need another look, each with the time from which that can decide."""
        return {
            account_id: standing.first.at_seconds + self._grace_seconds
            for account_id, standing in self._standing.items()
            if not standing.stood
        }


def has_caught_up(before: Watermarks, now: Watermarks) -> bool:
    """Whether all that was applied at one time is durable at another; a new epoch says so of the one before it."""
    for source, (epoch, applied, _) in before.items():
        now_epoch, _, now_durable = now[source]
        if now_epoch == epoch and now_durable < applied:
            return False
    return True
