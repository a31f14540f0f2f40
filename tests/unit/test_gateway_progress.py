"""How far shards are, and who waits for them."""

import asyncio

import pytest

from evs_server.cluster.shards import KEEPER, SHARD_COUNT
from evs_server.gateway import progress as room
from evs_server.gateway.progress import Progress, ShardProgress


async def test_who_waits_is_answered_when_every_shard_it_waits_for_is_there() -> None:
    progress = Progress()
    waiting = asyncio.create_task(progress.reached((3, 4), 10))
    await asyncio.sleep(0)
    progress.told(3, ShardProgress(1, 1, applied=12))
    await asyncio.sleep(0)
    assert not waiting.done()
    progress.told(4, ShardProgress(1, 1, applied=10))
    assert frozenset() == await waiting


async def test_what_is_there_already_is_not_waited_for() -> None:
    progress = Progress()
    progress.told(3, ShardProgress(1, 1, applied=12))
    assert frozenset() == await progress.reached((3,), 12)


async def test_a_late_shard_is_waited_for_once_and_again_when_it_has_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAIT_SECONDS", 0.0)
    progress = Progress()
    assert {5} == await progress.reached((5,), 10)
    assert {5} == progress.late
    monkeypatch.setattr(room, "WAIT_SECONDS", 60.0)
    assert {5} == await progress.reached((5,), 11)
    assert 1 == progress.waited_in_vain_count
    progress.told(5, ShardProgress(1, 1, applied=11))
    assert frozenset() == progress.late


async def test_lost_news_and_new_owners_are_noticed() -> None:
    progress = Progress()
    assert progress.told(3, ShardProgress(1, 1))
    assert not progress.told(3, ShardProgress(1, 2))
    assert progress.told(3, ShardProgress(1, 4))
    assert progress.told(3, ShardProgress(2, 5))
    assert not progress.told(3, ShardProgress(2, 6))


async def test_an_owner_that_has_been_replaced_is_not_listened_to() -> None:
    progress = Progress()
    progress.told(3, ShardProgress(2, 1, applied=10, committed=9))
    assert not progress.told(3, ShardProgress(1, 8, applied=50, committed=50))
    assert (10, 9) == (progress[3].applied, progress[3].committed)


async def test_what_was_committed_once_stays_so_under_a_new_owner() -> None:
    progress = Progress()
    for shard in range(SHARD_COUNT + 1):
        progress.told(shard, ShardProgress(1, 1, committed=20 + shard))
    progress.told(0, ShardProgress(2, 1, applied=3, committed=3))
    assert 20 == progress.committed_everywhere()
    assert 20 + KEEPER == progress[KEEPER].committed


async def test_at_the_end_nobody_waits_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is heard from then on: whoever waited would wait in vain, and hold up the end."""
    monkeypatch.setattr(room, "WAIT_SECONDS", 3_600.0)
    progress = Progress()
    waiting = asyncio.create_task(progress.reached((3,), 10))
    await asyncio.sleep(0)
    progress.end()
    assert frozenset({3}) == await waiting
    assert frozenset({4}) == await progress.reached((4,), 10)
    assert (0, frozenset()) == (progress.waited_in_vain_count, progress.late)
