"""
What operators have looked at in the books of one virtual shard: a gateway asks, on behalf of one who asked it.

Lives here: that all of a worker share what they may ask of the database. Not here: what differs and what is done about
it (``reconcile``). Touches I/O by it. Nothing to do with the passes in the background, which are the worker's.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from evs.cluster.v1 import checks_pb2
from evs.v1 import admin_pb2

from evs_server.clock import Clock
from evs_server.model import Ledger
from evs_server.ports import Books, ExchangeLedger
from evs_server.reconcile import codec
from evs_server.reconcile.recompute import Recompute
from evs_server.reconcile.reconciler import Reconciler, Rules

READS_AT_ONCE: Final = 2
"""Of all virtual shards of a worker, which are asked all at one time: its connections are others' as well."""


class InTurn:
    """A ``ports.ExchangeLedger`` that reads for a few at a time, and lets others wait."""

    def __init__(self, ledgers: ExchangeLedger) -> None:
        self._ledgers = ledgers
        self._room = asyncio.Semaphore(READS_AT_ONCE)

    async def read_ledgers(self, account_ids: Collection[int], *, with_trades: bool = False) -> Mapping[int, Ledger]:
        """As ``ports.ExchangeLedger`` has it."""
        async with self._room:
            return await self._ledgers.read_ledgers(account_ids, with_trades=with_trades)


class Checks:
    """
    Looks at the accounts of one virtual shard, and corrects them, when asked.

    Args:
        books: Of the virtual shard.
        ledgers: The exchange's tables.
        clock: Says how long a difference has stood.
        rules: Of these, the grace period and how much money one call may correct.
    """

    def __init__(self, books: Books, ledgers: ExchangeLedger, clock: Clock, rules: Rules) -> None:
        self._reconciler = Reconciler(books, ledgers, clock, rules)
        self._recompute = Recompute(books, ledgers, rules.grace_seconds)

    async def check(self, request: checks_pb2.CheckRequest, _: object) -> checks_pb2.CheckResponse:
        """All quiet accounts held against the tables; or some, of which those are corrected that can be explained."""
        only = set(request.corrected_account_ids) or None
        report = await self._reconciler.reconcile(repair=only is not None, requested=True, only=only)
        return checks_pb2.CheckResponse(
            found=codec.encode_report(report),
            correctable_account_ids=report.correctable_cents.keys(),
            correctable_cents=report.correctable_cents.values(),
        )

    async def recompute(self, request: admin_pb2.RecomputeRequest, _: object) -> admin_pb2.RecomputeResponse:
        """Accounts rebuilt from their trades, or what that would change."""
        account_ids = codec.decode_account_ids(request.account_ids)
        return codec.encode_recomputed(await self._recompute.recompute(account_ids, apply=request.apply))
