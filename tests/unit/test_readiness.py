"""Whether EVS counts as ready, and the words for why not."""

import pytest

from evs_server.lifecycle import Lifecycle, Phase
from evs_server.metrics.readiness import Readiness
from evs_server.store.memory import MemoryStore, Tables
from evs_server.store.writer import Writer
from tests.builders import ALICE, Floor
from tests.flushes import a_flush
from tests.serving import SetClock

LAG_SECONDS_MAX = 60


class Watched:
    """A readiness and the rooms it judges; the database takes nothing."""

    def __init__(self) -> None:
        self.lifecycle, self.clock = Lifecycle(), SetClock()
        self.floor = Floor(cash_cents={ALICE: 1_000})
        self.writer = Writer(MemoryStore(Tables()), self.clock, on_durable=lambda _: None, on_fenced=lambda _: None)
        self.readiness = Readiness(self.lifecycle, LAG_SECONDS_MAX)
        self.readiness.attach(self.floor.engine, self.writer)
        self.lifecycle.enter(Phase.SERVING)

    def reason(self) -> str:
        """The first word of the only reason; empty if there is none."""
        reasons = self.readiness.reasons()
        assert len(reasons) <= 1
        return reasons[0].partition(":")[0] if reasons else ""


async def test_an_evs_that_serves_is_ready() -> None:
    watched = Watched()
    assert ("", True, True) == (watched.reason(), watched.readiness.is_storing, watched.readiness.numbers_agree)


@pytest.mark.parametrize(
    ("phase", "reason"),
    [(Phase.FOLLOWING, "following"), (Phase.RECOVERING, "recovering"), (Phase.STOPPING, "stopping")],
)
async def test_one_that_does_not_serve_is_not(phase: Phase, reason: str) -> None:
    watched = Watched()
    watched.lifecycle.enter(phase)
    assert (reason, False) == (watched.reason(), watched.readiness.is_storing)


async def test_before_the_state_is_read_it_recovers() -> None:
    readiness = Readiness(Lifecycle(), LAG_SECONDS_MAX)
    assert ["recovering: EVS reads its state, or waits for PostgreSQL"] == readiness.reasons()
    assert (False, True) == (readiness.is_storing, readiness.numbers_agree)


async def test_one_whose_numbers_once_contradicted_each_other_is_not_until_it_is_restarted() -> None:
    watched = Watched()
    watched.floor.engine._book.accounts.cash_cents[0] += 1
    watched.floor.flow(ALICE, 5)
    watched.floor.tick()
    assert ("identity", False) == (watched.reason(), watched.readiness.numbers_agree)
    watched.floor.engine._book.accounts.cash_cents[0] -= 1
    watched.floor.flow(ALICE, 5)
    watched.floor.tick()
    assert "identity" == watched.reason()


@pytest.mark.parametrize(("waited_seconds", "reason"), [(LAG_SECONDS_MAX, ""), (LAG_SECONDS_MAX + 1, "storage")])
async def test_one_that_cannot_store_is_ready_for_so_long(waited_seconds: int, reason: str) -> None:
    """Degraded comes first, and is no reason to send anybody away."""
    watched = Watched()
    watched.writer.offer(a_flush(1))
    watched.clock.ms += 1_000 * waited_seconds
    assert (reason, False) == (watched.reason(), watched.readiness.is_storing)
