"""What a new engine takes over from the one before, and what a pass leaves behind."""

from dataclasses import replace

import pytest

from evs_server.engine import Engine
from evs_server.model import Flag, Side, Valuation
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


def left_out(floor: Floor) -> tuple[Engine, list[Valuation]]:
    """Alice's purchase is stored and the price after it is not; a start finds so, and makes what it has to."""
    floor.buy(ALICE, 100, 5_000)
    floor.complete()
    stored = floor.engine.latest_snapshots()
    floor.wait(1_000)
    floor.mark(6_000)
    floor.complete()
    successor = an_engine(version_floor=1 << 32)
    successor.restore(floor.engine.export_state(), stored)
    return successor, [made for made in successor.restate(floor.now_ms + 500, whole=False) if made is not None]


def test_a_valuation_that_was_not_stored_is_made_again(floor: Floor) -> None:
    """Its money is what was told, its version is new; it says a time at which it was so."""
    told = floor.engine
    successor, [made] = left_out(floor)
    [snapshot] = snapshots([made])
    before = told.snapshot(ALICE)
    assert before is not None
    assert replace(before, version=(1 << 32) + 1, timestamp_ms=NOON_MS + 1_500) == snapshot
    assert (1_100_000, 100_000, 100_000) == (
        snapshot.equity_cents, snapshot.day_change_cents, snapshot.day_change_percent_e4,
    )  # fmt: skip
    assert snapshot == successor.snapshot(ALICE)
    assert told.snapshot(BOB) == successor.snapshot(BOB), "nothing of it was left out"
    assert told.positions(ALICE) == successor.positions(ALICE)
    assert told.state_hash() == successor.state_hash()


def test_live_numbers_are_no_part_of_a_valuation_made_again(floor: Floor) -> None:
    """What was applied since the last completed tick is told by the next, not by a start."""
    floor.buy(ALICE, 100, 5_000)
    floor.complete()
    stored = floor.engine.latest_snapshots()
    floor.mark(6_000)
    floor.complete()
    floor.flow(ALICE, 77)
    floor.sell(ALICE, 50, 7_000)
    successor = an_engine()
    successor.restore(floor.engine.export_state(), stored)
    successor.restate(floor.now_ms, whole=False)
    assert floor.equity(ALICE).equity_cents == Floor(successor).equity(ALICE).equity_cents
    assert floor.equity(ALICE).cash_cents == Floor(successor).equity(ALICE).cash_cents
    assert {ALICE} == set(Floor(successor).tick())


def test_where_everything_was_stored_nothing_is_made_again(floor: Floor) -> None:
    floor.buy(ALICE, 100, 5_000)
    floor.complete()
    successor = restarted(floor.engine)
    assert (None, None) == successor.restate(floor.now_ms, whole=False)
    assert floor.engine.latest_snapshots().version.tolist() == successor.latest_snapshots().version.tolist()


def test_on_request_all_others_get_another_version_too(floor: Floor) -> None:
    """In a pass of their own, after those that differ: what it says is stored already."""
    floor.complete()
    successor = restarted(floor.engine)
    changed, others = successor.restate(floor.now_ms, whole=True)
    assert changed is None
    assert others is not None
    assert [ALICE, BOB, CAROL] == others.account_id.tolist()
    for account_id in (ALICE, BOB, CAROL):
        before, after = floor.equity(account_id), successor.snapshot(account_id)
        assert after is not None
        assert before.version < after.version
        assert before.equity_cents == after.equity_cents
    assert (None, None) == an_engine().restate(floor.now_ms, whole=True), "there is nobody"


@pytest.mark.parametrize(
    ("tick_time_ms", "restart_ms", "said_ms"),
    [
        (NOON_MS - DAY_MS, NOON_MS, NOON_MS - DAY_MS),  # the market's, where ticks carry it
        (0, NOON_MS + HOUR_MS, NOON_MS + HOUR_MS),  # the clock's, while its session lasts
        (0, NOON_MS + 2 * DAY_MS, MIDNIGHT_MS - 1),  # its last moment, once that is over
        (0, NOON_MS - HOUR_MS, NOON_MS),  # never before what is stored: the clock has stepped back
    ],
)
def test_a_valuation_made_again_is_of_its_session(tick_time_ms: int, restart_ms: int, said_ms: int) -> None:
    floor = Floor(cash_cents={ALICE: 1})
    floor.flow(ALICE, 1)
    floor.complete(tick_time_ms=tick_time_ms)
    successor = restarted(floor.engine)
    _, made = successor.restate(restart_ms, whole=True)
    assert made is not None
    assert said_ms == made.timestamp_ms


def test_flags_of_a_valuation_made_again_are_of_the_moment() -> None:
    """A price that was young when it was stored is old by now; a position that had none has one."""
    floor = Floor(an_engine(stale_after_ms=HOUR_MS), {ALICE: 10**6, BOB: 10**6})
    floor.mark(100)
    floor.buy(ALICE, 1, 100)
    floor.complete()
    successor = restarted(floor.engine, an_engine(stale_after_ms=HOUR_MS))
    floor.wait(HOUR_MS + 1)
    _, made = successor.restate(floor.now_ms, whole=True)
    assert made is not None
    assert [Flag.STALE_PRICE, 0] == made.flags.tolist()
    successor.apply_price(KICK, 100, floor.now_ms)
    successor.apply_cash(ALICE, 1)
    [after] = successor.complete_tick(2, 0, floor.now_ms)
    assert [0] == after.flags.tolist(), "ages are counted on from there"
