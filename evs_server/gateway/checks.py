"""
Books held against the exchange's tables, by a gateway that has none: every shard is asked, and the answers are one.

First all shards look, and none corrects. What could be corrected is then weighed for all of them together, since many
shards that are each a little wrong are a cluster that is very wrong; and only then those accounts are corrected, by
their shards, each of which looks again. Lives here: that order, and joining. Touches the network by ``Owners``.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from evs.cluster.v1 import checks_pb2
from evs.v1 import admin_pb2 as pb

from evs_server.cluster.shards import SHARD_COUNT, shard_of
from evs_server.errors import EvsError
from evs_server.gateway.owners import Owners
from evs_server.limits import DIFFERENCES_KEPT
from evs_server.reconcile.reconciler import too_much

CHECK_SECONDS: Final = 840.0
"""How long a shard may take, with all its accounts: somewhat less than callers of ours wait (``reconcile.command``)."""

CHECK: Final = "Check"
RECOMPUTE: Final = "Recompute"

T = TypeVar("T")


class Checks:
    """
    What ``evs serve`` answers operators, of all shards.

    Args:
        owners: The shards.
        cents_max: How much money one call may correct, on all shards together.
    """

    def __init__(self, owners: Owners, cents_max: int) -> None:
        self._owners = owners
        self._cents_max = cents_max

    async def reconcile(self, *, repair: bool) -> pb.ReconcileResponse:
        """
        All quiet accounts compared and, with ``repair``, corrected as far as they can be explained.

        Raises:
            EvsError: If a shard has no owner, or cannot look; nothing was corrected then.
        """
        looks = await _all(self._check(shard) for shard in range(SHARD_COUNT))
        joined = join(look.found for look in looks)
        correctable = {
            account_id: cents
            for look in looks
            for account_id, cents in zip(look.correctable_account_ids, look.correctable_cents, strict=True)
        }
        if repair and correctable:
            joined.withheld = too_much(len(correctable), sum(correctable.values()), self._cents_max)
            if not joined.withheld:
                await self._correct(correctable, joined)
        return joined

    async def recompute(self, account_ids: Sequence[int], *, apply: bool) -> pb.RecomputeResponse:
        """
        Accounts rebuilt by their shards, or what that would change, in the order given, each once.

        Raises:
            EvsError: If a shard has no owner, or cannot look; others may have rebuilt theirs. Safe to repeat.
        """
        questions = by_shard(dict.fromkeys(account_ids))
        answers = await _all(
            self._owners.ask_at_length(
                shard,
                RECOMPUTE,
                pb.RecomputeRequest(account_ids=asked, apply=apply).SerializeToString(),
                CHECK_SECONDS,
            )
            for shard, asked in questions.items()
        )
        rebuilt = {
            each.account_id: each for answer in answers for each in pb.RecomputeResponse.FromString(answer).accounts
        }
        return pb.RecomputeResponse(accounts=[rebuilt[account_id] for account_id in dict.fromkeys(account_ids)])

    async def _correct(self, account_ids: Collection[int], joined: pb.ReconcileResponse) -> None:
        """Have accounts corrected, and put what became of them in the place of what was found."""
        place = {each.account_id: each for each in joined.accounts}
        asked = by_shard(account_ids)
        for answers in await _all(self._corrected(shard, each) for shard, each in asked.items()):
            for account_id, answer in answers.items():
                if account_id not in place:
                    continue
                if isinstance(answer, str):
                    place[account_id].finding = answer
                else:
                    place[account_id].CopyFrom(answer)

    async def _corrected(self, shard: int, account_ids: Collection[int]) -> Mapping[int, pb.AccountDifference | str]:
        """What became of accounts of one shard, or why nothing did."""
        try:
            answer = await self._check(shard, account_ids)
        except EvsError as error:
            # Others are corrected by now, and whoever asked is to hear of it.
            return dict.fromkeys(account_ids, f"it may not have been corrected: {error.message}")
        found = {each.account_id: each for each in answer.found.accounts}
        return {each: found.get(each, "it has changed since") for each in account_ids}

    async def _check(self, shard: int, corrected: Collection[int] = ()) -> checks_pb2.CheckResponse:
        request = checks_pb2.CheckRequest(corrected_account_ids=corrected)
        answer = await self._owners.ask_at_length(shard, CHECK, request.SerializeToString(), CHECK_SECONDS)
        return checks_pb2.CheckResponse.FromString(answer)


def by_shard(account_ids: Iterable[int]) -> Mapping[int, list[int]]:
    """Accounts by the shard that has them."""
    found: dict[int, list[int]] = {}
    for account_id in account_ids:
        found.setdefault(shard_of(account_id), []).append(account_id)
    return found


def join(answers: Iterable[pb.ReconcileResponse]) -> pb.ReconcileResponse:
    """What several have found as one: the longest known first, and no more than one process would name."""
    joined, accounts = pb.ReconcileResponse(), list[pb.AccountDifference]()
    for answer in answers:
        joined.compared_count += answer.compared_count
        joined.busy_count += answer.busy_count
        accounts += answer.accounts
    accounts.sort(key=lambda each: each.since)
    joined.accounts.extend(accounts[:DIFFERENCES_KEPT])
    return joined


async def _all(answers: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All of them, in order; the first that fails ends the others."""
    asked = [asyncio.ensure_future(each) for each in answers]
    try:
        return await asyncio.gather(*asked)
    finally:
        for each in asked:
            each.cancel()
