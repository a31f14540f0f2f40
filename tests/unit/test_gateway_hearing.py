"""What a gateway hears, and what it asks for that it has missed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from evs_server.cluster.codec import decode_latest_request, encode_latest_response, encode_news
from evs_server.cluster.news import LatestRequest, LatestResponse, News
from evs_server.cluster.ports import Reply
from evs_server.cluster.shards import KEEPER, SHARD_COUNT, shard_of
from evs_server.errors import NoOwner
from evs_server.fanout.hub import Hub
from evs_server.gateway.hearing import Hearing
from evs_server.gateway.owners import Owners
from evs_server.gateway.progress import Progress
from evs_server.gateway.table import SnapshotTable
from evs_server.model import SnapshotColumns
from tests.log_in_process import LogInProcess
from tests.patience import eventually_true
from tests.serving import SetClock, within_patience

ACCOUNT = 7
SHARD = shard_of(ACCOUNT)


def snapshots(version: int) -> SnapshotColumns:
    """The newest of one account."""
    names = SnapshotColumns.__dataclass_fields__
    given = {"account_id": ACCOUNT, "version": version}
    return SnapshotColumns(*(np.array([given.get(name, 0)], np.int64) for name in names))


class World:
    """A gateway's hearing, and owners of all shards, each of which answers as it is set to."""

    def __init__(self) -> None:
        self.log, self.table, self.progress = LogInProcess(), SnapshotTable(), Progress()
        owners = Owners(self.log, SetClock(), self.progress)
        self.hearing = Hearing(self.table, Hub(), self.progress, owners, SetClock())
        self.asked: list[tuple[int, LatestRequest]] = []
        self.version = 1
        self.asleep: set[int] = set()

    def owner(self, shard: int) -> Callable[[str, bytes], Awaitable[Reply]]:
        async def answer(_method: str, question: bytes) -> Reply:
            self.asked.append((shard, decode_latest_request(question)))
            if shard in self.asleep:
                await asyncio.Event().wait()
            known = snapshots(self.version)
            empty = SnapshotColumns(*(column[:0] for column in (getattr(known, n) for n in known.__slots__)))
            return Reply(encode_latest_response(LatestResponse(known if shard == SHARD else empty, 1)), start_number=9)

        return answer

    @asynccontextmanager
    async def owned(self, *shards: int) -> AsyncIterator[None]:
        """Some shards have an owner as long as the block lasts."""
        self.log._answered |= {shard: self.owner(shard) for shard in shards}
        yield
        for shard in shards:
            del self.log._answered[shard]

    def tell(self, shard: int, number: int, start_number: int = 1) -> None:
        self.hearing.hear(shard, encode_news(News(shard, start_number, number, "worker", 5, 5, 0)))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    running = asyncio.create_task(world.hearing.run())
    yield world
    running.cancel()
    await asyncio.wait([running])


async def test_a_shard_that_does_not_answer_holds_up_no_other(world: World) -> None:
    """All others are complete; it is asked as long as it takes."""
    world.asleep = {0}
    async with world.owned(*range(SHARD_COUNT)):
        await eventually_true(lambda: answered(world), "every shard is asked")
        assert world.table.knows(ACCOUNT)
        assert not world.hearing.complete.is_set()


async def answered(world: World) -> bool:
    await asyncio.sleep(0)
    return {shard for shard, _ in world.asked} == set(range(SHARD_COUNT)) and world.table.knows(ACCOUNT)


async def test_shards_without_owners_are_told_of_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """However many and however long: a line when it begins, and one when it is over."""
    async with world.owned(*range(1, SHARD_COUNT)):
        await eventually_true(lambda: answered_but(world, 0), "all others are asked")
        async with world.owned(0):
            await within_patience(world.hearing.complete.wait())
    lines = [record.message for record in caplog.records if record.name == "evs_server.gateway.hearing"]
    assert 2 == len(lines)
    assert "shard 0" in lines[0]
    assert "again" in lines[1]


async def answered_but(world: World, *missing: int) -> bool:
    await asyncio.sleep(0)
    return set(world.hearing.missing) == set(missing) and len(world.asked) == SHARD_COUNT - len(missing)


@pytest.mark.parametrize(("number", "start_number"), [(3, 1), (1, 2)], ids=["news lost", "another owner"])
async def test_what_may_have_been_missed_is_asked_for(world: World, number: int, start_number: int) -> None:
    """At a gap in the numbers, and of whoever takes over; the answer is to be of what was told at least."""
    async with world.owned(*range(SHARD_COUNT)):
        await within_patience(world.hearing.complete.wait())
        world.tell(SHARD, 1)
        world.asked.clear()
        world.version = 2
        world.tell(SHARD, number, start_number)

        async def is_newer() -> bool:
            await asyncio.sleep(0)
            snapshot = world.table.snapshot(ACCOUNT)
            return snapshot is not None and snapshot.version == 2

        await eventually_true(is_newer, "the newest values are asked for")
    assert (SHARD, LatestRequest(5)) in world.asked


async def test_an_owner_that_was_replaced_is_not_believed(world: World) -> None:
    """One that wakes after another has taken over goes on telling for a moment."""
    world.tell(SHARD, 1, start_number=2)
    world.tell(SHARD, 9, start_number=1)
    assert (2, 1) == (world.progress[SHARD].start_number, world.progress[SHARD].number)


async def test_a_gateway_has_heard_all_once_the_keeper_has_spoken_too(world: World) -> None:
    """Before, it would say of itself that shards have no owner."""
    for shard in range(SHARD_COUNT):
        world.tell(shard, 1)
    assert not world.progress.all_heard.is_set()
    world.tell(KEEPER, 1)
    assert world.progress.all_heard.is_set()


async def test_a_shard_that_moves_is_asked_for_again_in_time(world: World) -> None:
    """Whoever asks waits for the next owner, and is told if there is none."""
    owners = Owners(world.log, SetClock(), world.progress)
    with pytest.raises(NoOwner):
        await owners.ask(SHARD, "Latest", b"", moving_seconds=0.0)


async def test_an_answer_of_who_was_replaced_is_none(world: World) -> None:
    """One that wakes after another has taken over may be the first to answer."""
    owners = Owners(world.log, SetClock(), world.progress)

    async def answer(_method: str, _question: bytes) -> Reply:
        return Reply(b"old", start_number=1)

    async with world.log.answer(SHARD, answer):
        assert b"old" == await owners.ask(SHARD, "ListPositions", b"")
        world.tell(SHARD, 1, start_number=2)
        with pytest.raises(NoOwner):
            await owners.ask(SHARD, "ListPositions", b"", moving_seconds=0.0)
