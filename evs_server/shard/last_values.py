"""
Keeps the newest valuation of each account where it can be read while nobody owns the shard. Runs on the event loop.

It is of use for the moment in which a virtual shard has no owner, and says when it was made. So an account's is put out
once a second at most, and no more than ``PUT_MAX`` a second in all: those that have changed, the longest waiting first,
each as it is then. What room is left goes to all the others, once each: who owned the shard before may have ended
before it had put out the last of them.
"""

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Final

from evs_server.cluster.codec import encode_snapshots
from evs_server.cluster.ports import LastValues
from evs_server.engine import Engine
from evs_server.model import Valuation
from evs_server.shard.answers import as_columns

EVERY_SECONDS: Final = 1.0
PUT_MAX: Final = 256
"""Of one virtual shard, a second. Low: values are older when they are needed. High: more for the log's machines."""


class LastValuesOut:
    """
    A ``ports.ValuationSink`` that puts out the newest valuation of the accounts whose has changed.

    Args:
        shard: Which virtual shard.
        engine: Has the newest valuations.
        kept: Where to.
    """

    def __init__(self, shard: int, engine: Engine, kept: LastValues) -> None:
        self._shard = shard
        self._engine = engine
        self._kept = kept
        self._changed: dict[int, None] = {}  # a set that keeps its order: nobody is put off for ever
        self._others: list[int] = []

    def begin(self) -> None:
        """Put out all that there is, by and by."""
        self._others = self._engine.account_ids().tolist()

    def publish(self, valuation: Valuation) -> None:
        """As of ``ValuationSink``: only whose has changed is remembered."""
        self._changed.update(dict.fromkeys(valuation.account_id.tolist()))

    @property
    def waiting_count(self) -> int:
        """Accounts whose newest valuation has yet to be put out."""
        return len(self._changed) + len(self._others)

    async def run(self) -> None:
        """Put them out until cancelled."""
        while True:
            self.put()
            await asyncio.sleep(EVERY_SECONDS)

    def put(self) -> None:
        """Put out as many as may be at one time."""
        due = dict.fromkeys(islice(self._changed, PUT_MAX))
        for account_id in due:
            del self._changed[account_id]
        while self._others and len(due) < PUT_MAX:
            due[self._others.pop()] = None
        if due:
            self._kept.keep(self._shard, dict(self._encoded(due)))

    def _encoded(self, account_ids: Iterable[int]) -> Iterable[tuple[int, bytes]]:
        for account_id in account_ids:
            snapshot = self._engine.snapshot(account_id)
            assert snapshot is not None, "what was valued is known"
            yield account_id, encode_snapshots(as_columns([snapshot])).SerializeToString()
