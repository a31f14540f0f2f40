"""What a completed tick values and what it says of it: dirty accounts, the ladder of prices, flags."""

import pytest

from evs_server.model import Flag, MarkSource, Side
from tests.builders import (
    ALICE,
    BOB,
    CAROL,
    HOUR_MS,
    KICK,
    NOON_MS,
    PUNT,
    SHARE_BP,
    Floor,
    an_account,
    an_engine,
    snapshots,
)


@pytest.fixture
def floor() -> Floor:
    """Alice and Bob have paid in 1,000,000 each; Carol nothing. No tick has been completed."""
    return Floor(cash_cents={ALICE: 1_000_000, BOB: 1_000_000, CAROL: 0})


# --- who is valued ------------------------------------------------------------------------------------


def test_nothing_is_valued_before_the_tick_completes(floor: Floor) -> None:
    before = floor.equity(ALICE)
    floor.buy(ALICE, 10, 5_000)
    floor.flow(ALICE, 5)
    assert before == floor.equity(ALICE)
    assert [] == floor.engine.positions(ALICE)


def test_a_trade_a_flow_and_a_moved_mark_each_make_an_account_dirty(floor: Floor) -> None:
    floor.buy(ALICE, 10, 5_000)
    assert {ALICE} == set(floor.tick())
    floor.flow(CAROL, 5)
    assert {CAROL} == set(floor.tick())
    floor.mark(5_001)
    assert {ALICE} == set(floor.tick())


def test_every_position_that_traded_is_valued_however_many_there_are() -> None:
    """Also where no price moves, which would have all who hold it valued."""
    accounts = range(1, 101)
    floor = Floor(cash_cents=dict.fromkeys(accounts, 100_000))
    floor.mark(500)
    floor.tick()
    for account in accounts:
        floor.buy(account, account, 400)
    assert {each: 500 * each for each in accounts} == {
        each: snapshot.position_value_cents for each, snapshot in floor.tick().items()
    }


def test_a_tick_with_nothing_new_values_nothing_and_uses_no_version(floor: Floor) -> None:
    floor.flow(ALICE, 1)
    [made] = floor.complete()
    assert [] == floor.complete()
    assert [] == floor.complete()
    floor.flow(ALICE, 1)
    [next_made] = floor.complete()
    assert made.version + 1 == next_made.version


def test_a_mark_set_to_the_same_price_changes_nothing(floor: Floor) -> None:
    floor.buy(ALICE, 10, 5_000)
    floor.tick()
    floor.mark(5_000)
    assert {} == floor.tick()


def test_a_mark_that_moved_and_came_back_has_moved(floor: Floor) -> None:
    floor.buy(ALICE, 10, 5_000)
    floor.tick()
    floor.mark(5_001)
    floor.mark(5_000)
    assert {ALICE} == set(floor.tick())


def test_an_account_that_closed_its_position_earlier_is_no_holder(floor: Floor) -> None:
    floor.buy(ALICE, 10, 5_000)
    floor.sell(ALICE, 10, 5_000)
    floor.tick()
    floor.mark(6_000)
    assert {} == floor.tick()


def test_a_short_is_held_too(floor: Floor) -> None:
    floor.sell(ALICE, 10, 5_000)
    floor.tick()
    floor.mark(6_000)
    assert {ALICE} == set(floor.tick())


def test_all_snapshots_of_a_tick_share_version_tick_and_time(floor: Floor) -> None:
    floor.flow(ALICE, 1)
    floor.flow(BOB, 1)
    floor.wait(250)
    made = snapshots(floor.complete(tick=77))
    version = floor.equity(CAROL).version + 1
    assert [(version, 77, NOON_MS + 250)] * 2 == [(each.version, each.tick, each.timestamp_ms) for each in made]


def test_a_tick_that_carries_its_time_is_stamped_with_it(floor: Floor) -> None:
    floor.flow(ALICE, 1)
    [made] = floor.complete(tick_time_ms=NOON_MS - 5)
    assert NOON_MS - 5 == made.timestamp_ms


@pytest.mark.parametrize("tick", [0, 3, 2, 10**9])
def test_tick_ids_repeat_go_back_and_jump_without_harm(floor: Floor, tick: int) -> None:
    """A tick is never refused, and versions order what ids do not (DESIGN 2.21)."""
    floor.flow(ALICE, 1)
    [first] = floor.complete(tick=3)
    floor.flow(ALICE, 1)
    [second] = floor.complete(tick=tick)
    assert (tick, first.version + 1) == (second.tick, second.version)


def test_an_untouched_account_keeps_its_snapshot(floor: Floor) -> None:
    before = floor.equity(BOB)
    floor.buy(ALICE, 10, 5_000)
    floor.tick()
    assert before == floor.equity(BOB)


def test_trades_of_different_symbols_in_one_tick_commute() -> None:
    hashes = set()
    for order in [(KICK, PUNT), (PUNT, KICK)]:
        floor = Floor(cash_cents={ALICE: 1_000_000})
        for symbol in order:
            floor.buy(ALICE, 3, 100 + symbol, symbol=symbol)
        floor.tick()
        hashes.add(floor.engine.state_hash())
    assert 1 == len(hashes)


# --- the ladder of prices ------------------------------------------------------------------------------------


def test_until_a_symbols_first_mark_its_trades_set_it(floor: Floor) -> None:
    floor.buy(ALICE, 10, 5_000)
    floor.buy(BOB, 10, 5_100)
    floor.tick()
    assert (5_100, MarkSource.LAST_TRADE) == (floor.position(ALICE).mark_cents, floor.position(ALICE).mark_source)
    assert 1_000 == floor.equity(ALICE).unrealized_cents


def test_after_a_symbols_first_mark_its_trades_do_not(floor: Floor) -> None:
    floor.mark(5_000)
    floor.buy(ALICE, 10, 4_000)
    floor.tick()
    assert (5_000, MarkSource.MARK) == (floor.position(ALICE).mark_cents, floor.position(ALICE).mark_source)
    assert 10_000 == floor.equity(ALICE).unrealized_cents


def test_a_trade_at_a_new_price_reaches_other_holders(floor: Floor) -> None:
    """The real exchange never sends marks: trades alone must move every holder (DESIGN 2.3)."""
    floor.buy(ALICE, 10, 5_000)
    floor.tick()
    floor.buy(BOB, 1, 5_500)
    assert {ALICE, BOB} == set(floor.tick())
    assert 5_000 == floor.equity(ALICE).unrealized_cents


def test_without_a_price_a_position_is_worth_its_cost_and_says_so() -> None:
    floor = Floor()
    floor.open(an_account(ALICE, 500_000, [(KICK, Side.BUY, 100 * SHARE_BP, 5_000)]))
    assert (1_000_000, 500_000, 0) == (
        floor.equity(ALICE).equity_cents,
        floor.equity(ALICE).position_value_cents,
        floor.equity(ALICE).unrealized_cents,
    )
    assert Flag.UNPRICED == floor.equity(ALICE).flags
    held = floor.position(ALICE)
    assert (5_000, MarkSource.COST, 0) == (held.mark_cents, held.mark_source, held.mark_time_ms)


def test_the_first_price_of_a_symbol_takes_the_flag_away() -> None:
    floor = Floor()
    floor.open(an_account(ALICE, 0, [(KICK, Side.BUY, SHARE_BP, 5_000)]))
    floor.mark(5_000)
    assert 0 == floor.tick()[ALICE].flags, "no price to 5,000 is a change, even if nothing is worth more by it"


def test_an_announcement_of_a_trade_that_is_in_the_books_moves_the_mark_alone() -> None:
    floor = Floor()
    floor.open(an_account(ALICE, 500_000, [(KICK, Side.BUY, 100 * SHARE_BP, 5_000)]))
    floor.engine.observe_trade(ALICE, KICK, 6_000, floor.now_ms)
    snapshot = floor.tick()[ALICE]
    assert (500_000, 600_000, 100_000) == (
        snapshot.cash_cents,
        snapshot.position_value_cents,
        snapshot.unrealized_cents,
    )


def test_a_closed_position_without_a_price_shows_none() -> None:
    floor = Floor()
    floor.open(an_account(ALICE, 5, [(KICK, Side.BUY, SHARE_BP, 100), (KICK, Side.SELL, SHARE_BP, 100)]))
    closed = floor.position(ALICE)
    assert (0, MarkSource.NONE) == (closed.mark_cents, closed.mark_source)
    assert 0 == floor.equity(ALICE).flags


def test_a_confirmed_mark_becomes_a_mark_at_the_next_tick(floor: Floor) -> None:
    """Set to the price that trades had made, within the same millisecond: nothing moves, but its source is another."""
    floor.buy(ALICE, 1, 100)
    floor.tick()
    floor.mark(100)
    floor.tick()
    assert MarkSource.MARK == floor.position(ALICE).mark_source


def test_when_a_position_last_changed_is_of_its_newest_valuation_too(floor: Floor) -> None:
    """Half a tick is not to be seen, not even that there has been a trade; a price changes no position."""
    floor.buy(ALICE, 1, 100)
    floor.tick()
    held = floor.position(ALICE)
    floor.wait(5)
    floor.buy(ALICE, 1, 100)
    assert held == floor.position(ALICE)
    floor.wait(5)
    floor.tick()
    assert held.updated_ms + 10 == floor.position(ALICE).updated_ms
    floor.wait(5)
    floor.mark(200)
    floor.tick()
    assert held.updated_ms + 10 == floor.position(ALICE).updated_ms


# --- flags ------------------------------------------------------------------------------------


def test_a_price_older_than_the_setting_is_flagged_when_it_values() -> None:
    floor = Floor(an_engine(stale_after_ms=HOUR_MS), {ALICE: 1_000})
    floor.buy(ALICE, 1, 100)
    floor.wait(HOUR_MS)
    floor.flow(ALICE, 1)
    assert 0 == floor.tick()[ALICE].flags, "as old as the setting allows"
    floor.wait(1)
    floor.flow(ALICE, 1)
    assert Flag.STALE_PRICE == floor.tick()[ALICE].flags


def test_a_stale_price_is_flagged_for_whoever_is_valued_with_it() -> None:
    """Of two holders of an old price only the one that is valued is told; a renewed price clears it."""
    floor = Floor(an_engine(stale_after_ms=HOUR_MS), {ALICE: 1_000, BOB: 1_000})
    floor.buy(ALICE, 1, 100)
    floor.buy(BOB, 1, 100)
    floor.tick()
    floor.wait(HOUR_MS + 1)
    floor.flow(ALICE, 1)
    floor.tick()
    assert [Flag.STALE_PRICE, 0] == [floor.equity(account).flags for account in (ALICE, BOB)]
    floor.mark(100)
    floor.flow(ALICE, 1)
    floor.tick()
    assert 0 == floor.equity(ALICE).flags, "the same price, but new"


def test_an_old_price_of_a_closed_position_is_no_matter() -> None:
    floor = Floor(an_engine(stale_after_ms=HOUR_MS), {ALICE: 0})
    floor.buy(ALICE, 1, 100)
    floor.sell(ALICE, 1, 100)
    floor.wait(HOUR_MS + 1)
    floor.flow(ALICE, 1_000)
    assert 0 == floor.tick()[ALICE].flags & Flag.STALE_PRICE


def test_an_account_opened_with_an_old_price_is_told_so() -> None:
    """The age of a price is judged when it values, and an opening is a valuation."""
    floor = Floor(an_engine(stale_after_ms=HOUR_MS), {ALICE: 0})
    floor.mark(100)
    floor.tick()
    floor.wait(HOUR_MS + 1)
    floor.open(an_account(BOB, 0, [(KICK, Side.BUY, SHARE_BP, 100)]))
    assert Flag.STALE_PRICE == floor.equity(BOB).flags


def test_a_degraded_tick_flags_what_it_values(floor: Floor) -> None:
    floor.flow(ALICE, 1)
    [made] = floor.complete(degraded=True)
    assert [Flag.DEGRADED] == made.flags.tolist()
    floor.flow(ALICE, 1)
    assert 0 == floor.tick()[ALICE].flags


@pytest.mark.parametrize(("paid_in", "flags"), [(0, Flag.NO_BASE), (-1, Flag.NO_BASE), (1, 0)])
def test_a_base_of_nothing_gives_no_percentage(paid_in: int, flags: int) -> None:
    """The day change itself is shown; its percent is 0 and flagged."""
    floor = Floor(cash_cents={ALICE: paid_in})
    floor.buy(ALICE, 1, 100)
    floor.mark(150)
    made = floor.tick()[ALICE]
    assert (50, flags) == (made.day_change_cents, made.flags)
    assert (made.day_change_percent_e4 == 0) == bool(flags)
