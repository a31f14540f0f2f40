"""A worker on a real database, its virtual shards stand-ins of this test: what it takes, gives up, and lets go of."""

import logging
from collections.abc import AsyncIterator

import pytest

from evs_server.clock import SystemClock
from evs_server.errors import Fenced, LogGap
from evs_server.shard import worker as room
from evs_server.shard.balance import SHARDS
from evs_server.shard.owned import Owned, ShardStatistics
from evs_server.shard.worker import Worker
from evs_server.store.ownership import Ownership
from evs_server.works import Works
from tests.patience import PATIENCE_SECONDS, eventually_true
from tests.serving import within_patience


class Plain:
    """The least that can be owned: it runs, until it is told to fail or stop."""

    def __init__(self) -> None:
        self._works = Works()
        self.is_stopped = self.is_dropped = False
        self.violation_count = 0

    async def start(self) -> None:
        pass

    async def failure(self) -> BaseException:
        return await self._works.failure()

    def fail(self, error: BaseException) -> None:
        self._works.fail(error)

    async def stop(self, seconds: float) -> int:
        assert seconds > 0
        self.is_stopped = True
        return 0

    async def drop(self) -> None:
        self.is_dropped = True

    def statistics(self) -> ShardStatistics:
        return ShardStatistics(0, 0, 0, 0.0, 0, degraded=False, violation_count=self.violation_count)


class Broken(Plain):
    """One that cannot start."""

    async def start(self) -> None:
        raise LogGap("the log has lost what comes next")


class Crew:
    """Workers on one database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.workers: list[Worker] = []
        self.works: list[Works] = []
        self.ownerships: list[Ownership] = []
        self.broken: set[tuple[str, int]] = set()
        self.made: dict[int, list[Plain]] = {shard: [] for shard in SHARDS}

    async def add(self, name: str) -> Worker:
        """One more worker, at work."""
        gone: list[int] = []
        ownership = Ownership(self._dsn, name=name, on_lost=lambda: None, on_gone=gone.append)
        await ownership.join()
        works = Works()

        def make(shard: int) -> Owned:
            self.made[shard].append(Broken() if (name, shard) in self.broken else Plain())
            return self.made[shard][-1]

        worker = Worker(ownership, make, works, SystemClock())
        works.start("balance", worker.run())
        self.workers.append(worker)
        self.works.append(works)
        self.ownerships.append(ownership)
        return worker

    async def end(self, worker: Worker) -> None:
        """End one without a word."""
        at = self.workers.index(worker)
        self.workers.pop(at)
        works, ownership = self.works.pop(at), self.ownerships.pop(at)
        connection = ownership._connection
        assert connection is not None
        connection.terminate()
        await works.stop(PATIENCE_SECONDS)

    async def close(self) -> None:
        for worker in tuple(self.workers):
            await self.end(worker)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.02)


@pytest.fixture
async def crew(database: str) -> AsyncIterator[Crew]:
    crew = Crew(database)
    yield crew
    await crew.close()


async def even(crew: Crew) -> bool:
    counts = [len(worker.running) for worker in crew.workers]
    return sum(counts) == len(SHARDS) and max(counts) - min(counts) <= 1


async def test_those_of_a_worker_that_ended_are_taken_over(crew: Crew) -> None:
    """Its locks go with its connection, and the others share what it had."""
    first = await crew.add("a")
    await within_patience(first.settled.wait())
    assert len(SHARDS) == first.counts.taken_count
    await crew.add("b")
    await eventually_true(lambda: even(crew), "balance of two")
    assert 32 == first.counts.given_up_count
    assert all(made[0].is_stopped for shard, made in crew.made.items() if shard not in first.running)
    await crew.end(first)
    await eventually_true(lambda: even(crew), "one has all")


async def test_a_worker_that_joins_is_ready_once_it_has_its_share(crew: Crew, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever replaces workers one by one may then go on to the next; what moved for it is told in one line."""
    caplog.set_level(logging.INFO, room.__name__)
    first = await crew.add("a")
    await within_patience(first.settled.wait())
    second = await crew.add("b")
    await within_patience(second.settled.wait())
    assert 32 <= len(second.running)
    await eventually_true(lambda: told(caplog, "gave up 32 virtual shards"), "it is told")
    assert 1 == sum("gave up" in line for line in caplog.messages)


async def test_a_worker_that_nobody_gives_anything_is_ready_nevertheless(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the others that are not well; a rollout must not stand still for that."""
    first = await crew.add("a")
    await within_patience(first.settled.wait())
    first._hold.begin(float("inf"))
    monkeypatch.setattr(room, "UNSHARED_SECONDS", 0.1)
    second = await crew.add("b")
    await within_patience(second.settled.wait())
    assert {} == second.running


async def test_what_fails_at_once_is_told_together(
    crew: Crew, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is lost fails all; the same words for each would bury them. The first is told at once."""
    monkeypatch.setattr(room, "AVOIDED_SECONDS", float("inf"))
    worker = await crew.add("a")
    await within_patience(worker.settled.wait())
    worker.running[0].fail(LogGap("the log has lost what comes next"))
    await eventually_true(lambda: told(caplog, "virtual shard 0 cannot go on here: the log has lost"), "it is told")
    monkeypatch.setattr(room, "TELL_SECONDS", float("inf"))
    for shard in range(1, 5):
        worker.running[shard].fail(LogGap("the log has lost what comes next"))
    await eventually_true(lambda: are_free(crew, {0, 1, 2, 3, 4}), "all are let go of")
    await within_patience(worker.rest())
    assert await told(caplog, "cannot go on here, nor can 3 others: the log has lost what comes next")


async def told(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return any(words in line for line in caplog.messages)


async def are_free(crew: Crew, shards: set[int]) -> bool:
    return shards.isdisjoint(await crew.ownerships[0].owners())


async def test_one_that_cannot_go_on_is_let_go_of_and_the_others_go_on(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has applied is committed; it is left alone for a while, and then tried again."""
    monkeypatch.setattr(room, "AVOIDED_SECONDS", 0.1)
    worker = await crew.add("a")
    await within_patience(worker.settled.wait())
    crew.made[5][0].violation_count = 3
    worker.running[5].fail(LogGap("the log has lost what comes next"))
    await eventually_true(lambda: has_been_made(crew, 5, 2), "it is tried again")
    assert (True, True) == (crew.made[5][0].is_stopped, crew.made[5][0].is_dropped)
    assert {1} == {len(made) for shard, made in crew.made.items() if shard != 5}
    assert (1, 3) == (worker.counts.failed_count, worker.counts.left_violation_count), "what it has found stays told"


async def has_been_made(crew: Crew, shard: int, count: int) -> bool:
    return len(crew.made[shard]) == count and all(shard in worker.running for worker in crew.workers)


async def test_what_one_worker_cannot_run_another_takes(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it has its share already."""
    monkeypatch.setattr(room, "OVERDUE_SECONDS", 0.1)
    crew.broken = {("a", shard) for shard in SHARDS}
    await crew.add("a")
    other = await crew.add("b")

    async def has_all() -> bool:
        return len(other.running) == len(SHARDS)

    await eventually_true(has_all, "the other has all")


async def test_what_belongs_to_another_by_now_is_dropped(crew: Crew) -> None:
    """Ownership tells so after a lost connection; what is not committed is the other one's to apply."""
    worker = await crew.add("a")
    await within_patience(worker.settled.wait())
    lost = crew.made[7][0]
    worker.lose(7, Fenced("another worker has taken virtual shard 7"))

    async def is_dropped() -> bool:
        return lost.is_dropped

    await eventually_true(is_dropped, "it is dropped")
    assert not lost.is_stopped


async def test_a_bug_in_one_is_the_end_of_the_worker(crew: Crew) -> None:
    """What nobody expected is not tried again and again."""
    worker = await crew.add("a")
    await within_patience(worker.settled.wait())
    worker.running[5].fail(ZeroDivisionError())
    assert isinstance(await within_patience(crew.works[0].failure()), ZeroDivisionError)


async def test_a_worker_gives_up_everything_in_the_end(crew: Crew) -> None:
    """All side by side, each in order; then nothing is owned."""
    worker = await crew.add("a")
    await within_patience(worker.settled.wait())
    await within_patience(worker.rest())
    await worker.stop(PATIENCE_SECONDS)
    assert ({}, {}) == (worker.running, dict(await crew.ownerships[0].owners()))
    assert all(made[0].is_stopped and made[0].is_dropped for made in crew.made.values())
