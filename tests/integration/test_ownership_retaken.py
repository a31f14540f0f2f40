"""Locks that are taken anew after a lost connection, while virtual shards move: none is held twice."""

import asyncio

import asyncpg
import pytest

from evs_server.store.ownership import Ownership
from evs_server.works import Works
from tests.patience import PATIENCE_SECONDS, eventually_true

SHARDS = range(20)
LAST = SHARDS[-1]


async def test_a_shard_given_up_while_locks_are_taken_anew_is_free_afterwards(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that held its lock twice would let go of it once, and nobody could ever have it."""
    ownership = Ownership(database, name="a", on_lost=lambda: None, on_gone=lambda _: None)
    other = Ownership(database, name="b", on_lost=lambda: None, on_gone=lambda _: None)
    settled_one, reached, go_on = ownership._is_settled, asyncio.Event(), asyncio.Event()
    settled: set[int] = set()

    async def settled_late(shard: int) -> bool:
        reached.set()
        await asyncio.wait_for(go_on.wait(), PATIENCE_SECONDS)
        is_settled = await settled_one(shard)
        settled.add(shard)
        return is_settled

    async def all_settled() -> bool:
        return settled == set(SHARDS)

    monkeypatch.setattr(ownership, "_is_settled", settled_late)
    hand, works = await asyncpg.connect(database, timeout=PATIENCE_SECONDS), Works()
    try:
        await ownership.join()
        await other.join()
        for shard in SHARDS:
            assert await ownership.take(shard)
        pid = await hand.fetchval("SELECT pid FROM pg_stat_activity WHERE application_name = 'a'")
        works.start("ownership", ownership.keep())
        await hand.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)
        await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)
        await ownership.release(LAST)
        assert await ownership.take(LAST), "the balance wants it back"
        go_on.set()
        await eventually_true(all_settled, "all are looked at again")
        await ownership.release(LAST)
        assert await other.take(LAST), "nobody runs it, and nobody else can have it"
    finally:
        await works.stop(PATIENCE_SECONDS)
        for each in (ownership, other):
            await each.close()
        await hand.close(timeout=PATIENCE_SECONDS)
