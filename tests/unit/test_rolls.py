"""The session roll: a pass of its own over every account, once a session, before the tick that is past it."""

from datetime import time

import pytest

from tests.builders import (
    ALICE,
    BOB,
    CAROL,
    DAY_MS,
    HOUR_MS,
    NOON_MS,
    Floor,
    an_engine,
)

MIDNIGHT_MS = NOON_MS + 12 * HOUR_MS


@pytest.fixture
def floor() -> Floor:
    """Alice and Bob have paid in 1,000,000 each; Carol nothing. No tick has been completed."""
    return Floor(cash_cents={ALICE: 1_000_000, BOB: 1_000_000, CAROL: 0})


def test_the_first_completed_tick_opens_the_session_and_rolls_nothing(floor: Floor) -> None:
    floor.flow(ALICE, 1)
    [made] = floor.complete(tick_time_ms=NOON_MS - 900 * DAY_MS)
    assert [ALICE] == made.account_id.tolist(), "market time may lie in the past"


def test_a_roll_values_every_account_and_makes_the_close_its_base(floor: Floor) -> None:
    floor.buy(ALICE, 100, 5_000)
    floor.mark(6_000)
    floor.tick()
    floor.wait(DAY_MS)
    [rolled] = floor.complete(tick=5)
    assert [ALICE, BOB, CAROL] == rolled.account_id.tolist()
    assert [1_100_000, 1_000_000, 0] == rolled.equity_cents.tolist()
    assert [0, 0, 0] == rolled.day_change_cents.tolist() == rolled.day_change_percent_e4.tolist()
    assert (MIDNIGHT_MS, 1) == (rolled.timestamp_ms, rolled.tick), "the instant of the roll, the tick before it"


def test_an_overnight_gap_belongs_to_the_new_day(floor: Floor) -> None:
    """What moved since the last completed tick is not in the close: the roll comes first, in a pass of its own."""
    floor.buy(ALICE, 100, 5_000)
    floor.tick()
    floor.wait(DAY_MS)
    floor.mark(6_000)
    floor.flow(BOB, 7)
    rolled, made = floor.complete()
    assert rolled.version + 1 == made.version
    assert [1_000_000, 1_000_000, 0] == rolled.equity_cents.tolist()
    assert (100_000, 100_000) == (
        floor.equity(ALICE).day_change_cents,
        floor.equity(ALICE).day_change_percent_e4,
    )
    assert 0 == floor.equity(BOB).day_change_cents, "a flow is no profit"


def test_a_session_rolls_once_and_never_back(floor: Floor) -> None:
    rolls = []
    for hours in (0, 13, -13, 13, 14, -24, 12):
        floor.flow(ALICE, 1)
        rolls.append(len(floor.complete(tick_time_ms=NOON_MS + hours * HOUR_MS)) - 1)
    assert [0, 1, 0, 0, 0, 0, 0] == rolls


def test_a_roll_happens_at_its_time_to_the_millisecond(floor: Floor) -> None:
    assert [] == floor.complete(tick_time_ms=NOON_MS)
    assert [] == floor.complete(tick_time_ms=MIDNIGHT_MS - 1)
    assert 1 == len(floor.complete(tick_time_ms=MIDNIGHT_MS))


def test_a_weekend_rolls_once_at_its_end(floor: Floor) -> None:
    floor.tick()
    floor.wait(3 * DAY_MS)
    [rolled] = floor.complete()
    assert MIDNIGHT_MS + 2 * DAY_MS == rolled.timestamp_ms


def test_the_clock_rolls_a_session_only_if_ticks_carry_no_time(floor: Floor) -> None:
    assert floor.engine.roll_if_due(NOON_MS + DAY_MS) is None, "no session before the first tick"
    floor.complete(tick_time_ms=NOON_MS)
    assert floor.engine.roll_if_due(NOON_MS + DAY_MS) is None, "market time rolls it"
    floor.complete()
    rolled = floor.engine.roll_if_due(NOON_MS + DAY_MS)
    assert rolled is not None
    assert (MIDNIGHT_MS, 3) == (rolled.timestamp_ms, len(rolled))
    assert floor.engine.roll_if_due(NOON_MS + DAY_MS) is None, "once"


def test_a_roll_follows_zone_and_roll_time() -> None:
    floor = Floor(an_engine(zone="America/New_York", roll=time(17)), {ALICE: 100})
    floor.complete()  # noon UTC on 1 January is seven in the morning there
    [rolled] = floor.complete(tick_time_ms=NOON_MS + 10 * HOUR_MS)
    assert NOON_MS + 10 * HOUR_MS == rolled.timestamp_ms
