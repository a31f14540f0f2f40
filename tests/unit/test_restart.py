"""What a new engine takes over from the one before, and what a pass leaves behind."""

import pytest

from evs_server.model import Flag, Side
from tests.builders import (
    ALICE,
    BOB,
    CAROL,
    DAY_MS,
    HOUR_MS,
    KICK,
    NOON_MS,
    SHARE_BP,
    Floor,
    an_account,
    an_engine,
    restarted,
    snapshots,
)

MIDNIGHT_MS = NOON_MS + 12 * HOUR_MS


@pytest.fixture
def floor() -> Floor:
    """Alice and Bob have paid in 1,000,000 each; Carol nothing. No tick has been completed."""
    return Floor(cash_cents={ALICE: 1_000_000, BOB: 1_000_000, CAROL: 0})


def test_versions_grow_from_the_floor_and_restarts_go_on_from_the_higher() -> None:
    floor = Floor(an_engine(version_floor=1 << 32), {ALICE: 5})
    assert (1 << 32) + 1 == floor.equity(ALICE).version
    second = restarted(floor.engine, an_engine(version_floor=2 << 32))
    assert floor.equity(ALICE) == second.snapshot(ALICE), "a restart makes no valuation"
    second.apply_cash(ALICE, 1)
    [made] = second.complete_tick(1, 0, NOON_MS)
    assert (2 << 32) + 1 == made.version


def test_dirty_marks_survive_a_restart(floor: Floor) -> None:
    floor.buy(ALICE, 10, 5_000)
    floor.tick()
    floor.mark(6_000)
    floor.flow(BOB, 1)
    floor.engine = restarted(floor.engine)
    assert {ALICE, BOB} == set(floor.tick())


def test_a_session_survives_a_restart_and_still_rolls_once(floor: Floor) -> None:
    floor.buy(ALICE, 10, 5_000)
    floor.complete(tick_time_ms=MIDNIGHT_MS - 1)
    floor.engine = restarted(floor.engine)
    floor.mark(6_000)
    rolled, made = floor.complete(tick_time_ms=MIDNIGHT_MS)
    assert [0, 0, 0] == rolled.day_change_cents.tolist()
    assert [10_000] == made.day_change_cents.tolist()
    floor.engine = restarted(floor.engine)
    assert [] == floor.complete(tick_time_ms=MIDNIGHT_MS + 1)


def test_columns_of_a_pass_never_change_once_made(floor: Floor) -> None:
    """Sinks keep them while the engine goes on."""
    floor.buy(ALICE, 10, 5_000)
    [made] = floor.complete()
    before = snapshots([made])
    latest = floor.engine.latest_snapshots()
    floor.mark(6_000)
    floor.flow(ALICE, 10)
    floor.wait(DAY_MS)
    floor.complete()
    assert before == snapshots([made])
    assert 1_000_000 == latest.equity_cents[0]


def test_a_position_opened_and_closed_within_the_tick_is_not_listed_before_it_is_valued(floor: Floor) -> None:
    """Reads are as of the newest valuation, before and after a restart: this one has yet to be seen by any."""
    floor.buy(ALICE, 10, 5_000)
    floor.sell(ALICE, 10, 5_000)
    floor.engine = restarted(floor.engine)
    assert [] == floor.engine.positions(ALICE)
    floor.tick()
    assert [0] == [view.quantity_bp for view in floor.engine.positions(ALICE)]


def test_an_old_price_stays_old_across_a_restart() -> None:
    """An account that is opened right after a restart is told what it would have been told without it."""
    floor = Floor(an_engine(stale_after_ms=HOUR_MS), {ALICE: 1_000})
    floor.mark(100)
    floor.tick()
    floor.wait(HOUR_MS + 1)
    floor.tick()
    floor.engine = restarted(floor.engine, an_engine(stale_after_ms=HOUR_MS))
    floor.open(an_account(BOB, 1_000, [(KICK, Side.BUY, SHARE_BP, 100)]))
    assert Flag.STALE_PRICE == floor.equity(BOB).flags
