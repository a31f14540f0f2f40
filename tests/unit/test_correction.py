"""Corrections: what each does to an account, that the identity holds after it, and that it is valued and recorded."""

import numpy as np
import pytest

from evs_server.errors import OutOfBounds
from evs_server.limits import MONEY_CENTS_MAX
from evs_server.model import (
    Change,
    CorrectedField,
    Correction,
    CorrectionKind,
    Holding,
    Holdings,
    SettledTrade,
    Side,
    Snapshot,
    TradeRun,
)
from tests.builders import ALICE, BOB, KICK, NOON_MS, PUNT, SHARE_BP, Floor, an_engine, exchange_tables, restarted

BOUGHT = SettledTrade(1, KICK, Side.BUY, 100 * SHARE_BP, 5_000)
SOLD = SettledTrade(2, KICK, Side.SELL, 50 * SHARE_BP, 6_000)


def a_flow(amount_cents: int, account: int = ALICE) -> Correction:
    return Correction(account, CorrectionKind.FLOW, requested=False, flow_cents=amount_cents)


def lost(*trades: SettledTrade) -> Correction:
    return Correction(ALICE, CorrectionKind.TRADES, requested=True, trades=trades)


def rebuilt(*trades: SettledTrade) -> Correction:
    return Correction(ALICE, CorrectionKind.RECOMPUTE, requested=True, trades=trades)


def a_floor() -> Floor:
    floor = Floor(cash_cents={ALICE: 1_000_000, BOB: 1_000_000})
    floor.tick()
    return floor


def correct(floor: Floor, correction: Correction) -> list[Change]:
    return floor.engine.corrections.apply(correction, floor.now_ms)


def holdings(floor: Floor, account: int = ALICE) -> Holdings:
    found = floor.engine.corrections.holdings(account)
    assert found is not None
    return found


def assert_identity(snapshot: Snapshot) -> None:
    assert snapshot.equity_cents - snapshot.net_flow_cents == snapshot.realized_cents + snapshot.unrealized_cents


def test_an_account_that_is_corrected_by_little_costs_nobody_more_than_before() -> None:
    """Trades in what it holds are still applied as a run, by whomever."""
    floor = a_floor()
    for account in (ALICE, BOB):
        floor.buy(account, 100, 5_000)
    correct(floor, a_flow(77))
    one = np.ones(8, np.int64)
    run = TradeRun(BOB * one, KICK * one, one, SHARE_BP * one, 5_000 * one, 0 * one, 0 * one)
    assert 8 == floor.engine.apply_trades(run, None, 0, NOON_MS)


def test_an_account_that_is_corrected_to_near_the_bounds_is_worked_out_from_then_on() -> None:
    floor = a_floor()
    floor.buy(ALICE, 1_000, 1)
    correct(floor, a_flow(MONEY_CENTS_MAX - 1_000_000))
    with pytest.raises(OutOfBounds):
        floor.mark(2_000)


def test_a_flow_is_no_profit() -> None:
    """Cash and net flow move alike, and the account is valued at the next tick."""
    floor = a_floor()
    assert [
        Change(CorrectedField.CASH, 0, 1_000_000, 1_000_250),
        Change(CorrectedField.NET_FLOW, 0, 1_000_000, 1_000_250),
    ] == correct(floor, a_flow(250))
    assert floor.engine.corrections.is_dirty(ALICE)
    assert not floor.engine.corrections.is_dirty(BOB)
    valued = floor.tick()
    assert {ALICE} == set(valued)
    assert (1_000_250, 0) == (valued[ALICE].equity_cents, valued[ALICE].day_change_cents)
    assert_identity(valued[ALICE])


def test_lost_trades_leave_what_announced_ones_would_have() -> None:
    """A repaired account and one that was told at once hold the same, to the cent."""
    told, repaired = a_floor(), a_floor()
    told.buy(ALICE, 100, 5_000)
    told.sell(ALICE, 50, 6_000)
    correct(repaired, lost(BOUGHT, SOLD))
    assert holdings(told) == holdings(repaired)
    for floor in (told, repaired):
        floor.mark(6_500)
    assert told.tick()[ALICE].equity_cents == repaired.tick()[ALICE].equity_cents
    assert_identity(repaired.equity(ALICE))


def test_lost_trades_move_no_mark() -> None:
    """Nobody knows how old their price is; a position without a price is worth what it cost."""
    floor = a_floor()
    floor.buy(BOB, 1, 7_000)
    correct(floor, lost(BOUGHT))
    assert 1_000_000 - 500_000 + 700_000 == floor.tick()[ALICE].equity_cents
    correct(floor, lost(SettledTrade(3, PUNT, Side.BUY, SHARE_BP, 300)))
    floor.tick()
    assert (300, 300) == (floor.position(ALICE, PUNT).value_cents, floor.position(ALICE, PUNT).basis_cents)


def test_a_recompute_replaces_positions_by_the_fold_of_the_trades() -> None:
    """An imported position costs what was paid for it, its gains are realized, and the day change stays as it was."""
    floor = Floor(an_engine())
    tables = exchange_tables({ALICE: 800_000}, {(ALICE, KICK): (50 * SHARE_BP, 4_999)}, {KICK: 6_000})
    floor.engine.import_exchange(tables, floor.now_ms)
    floor.complete()
    floor.mark(6_100)
    day_change = floor.tick()[ALICE].day_change_cents
    assert [
        Change(CorrectedField.NET_FLOW, 0, 1_049_950, 1_000_000),
        Change(CorrectedField.REALIZED, 0, 0, 50_000),
        Change(CorrectedField.BASIS, KICK, 249_950, 250_000),
        Change(CorrectedField.POSITION_REALIZED, KICK, 0, 50_000),
    ] == correct(floor, rebuilt(BOUGHT, SOLD))
    valued = floor.tick()[ALICE]
    assert_identity(valued)
    assert (50_000, 1_105_000, day_change) == (valued.realized_cents, valued.equity_cents, valued.day_change_cents)


def test_a_recompute_is_no_profit_of_today_even_if_shares_appear() -> None:
    floor = a_floor()
    floor.mark(6_000)
    floor.tick()
    correct(floor, rebuilt(BOUGHT))
    valued = floor.tick()[ALICE]
    assert_identity(valued)
    assert (1_600_000, 0) == (valued.equity_cents, valued.day_change_cents)
    assert Holding(100 * SHARE_BP, 500_000, 0) == holdings(floor).held[KICK]


def test_a_recompute_closes_what_no_trade_explains() -> None:
    floor = a_floor()
    floor.buy(ALICE, 3, 100, symbol=PUNT)
    floor.tick()
    correct(floor, rebuilt())
    assert {PUNT: Holding(0, 0, 0)} == holdings(floor).held
    assert_identity(floor.tick()[ALICE])


def test_a_recompute_that_changes_nothing_leaves_no_trace() -> None:
    floor = a_floor()
    floor.buy(ALICE, 100, 5_000)
    floor.sell(ALICE, 50, 6_000)
    floor.tick()
    assert [] == correct(floor, rebuilt(BOUGHT, SOLD))
    assert {} == floor.tick()
    assert 0 == len(floor.engine.corrections.capture())


@pytest.mark.parametrize(
    "correction",
    [
        a_flow(MONEY_CENTS_MAX),
        lost(BOUGHT, SettledTrade(2, KICK, Side.SELL, MONEY_CENTS_MAX, 10_000_000)),
        rebuilt(BOUGHT, SettledTrade(2, KICK, Side.BUY, MONEY_CENTS_MAX, 10_000_000)),
    ],
)
def test_a_correction_out_of_bounds_changes_nothing(correction: Correction) -> None:
    floor = a_floor()
    before = floor.engine.state_hash()
    with pytest.raises(OutOfBounds):
        correct(floor, correction)
    assert before == floor.engine.state_hash()
    assert 0 == len(floor.engine.corrections.capture())


def test_every_changed_number_is_recorded_once() -> None:
    """The record says when, whose, what was done, who asked, and what became of each number."""
    floor = a_floor()
    correct(floor, a_flow(250))
    correct(floor, a_flow(-1, BOB))
    captured = floor.engine.corrections.capture()
    assert [NOON_MS] * 4 == captured.corrected_ms.tolist()
    assert [ALICE, ALICE, BOB, BOB] == captured.account_id.tolist()
    assert [CorrectedField.CASH, CorrectedField.NET_FLOW] * 2 == captured.field.tolist()
    assert [1_000_250, 1_000_250, 999_999, 999_999] == captured.after.tolist()
    assert [0, 0, 0, 0] == captured.requested.tolist()
    assert 0 == len(floor.engine.corrections.capture())


def test_a_correction_is_captured_and_survives_a_restart_before_it_is_valued() -> None:
    """It changes state as an event does: the next flush has it, and the dirty mark."""
    floor = a_floor()
    floor.engine.capture()
    correct(floor, lost(BOUGHT))
    captured = floor.engine.capture()
    assert ([ALICE], [1]) == (captured.accounts.account_id.tolist(), captured.accounts.dirty.tolist())
    assert [100 * SHARE_BP] == captured.positions.quantity_bp.tolist()
    successor = Floor(restarted(floor.engine))
    assert floor.engine.state_hash() == successor.engine.state_hash()
    assert {ALICE} == set(successor.tick())
