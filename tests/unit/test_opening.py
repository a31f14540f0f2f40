"""How accounts begin: opened late as the fold of their trades, or imported with everything else at the first start."""

import pytest

from evs_server.model import Flag, MarkSource, Side
from tests.builders import (
    ALICE,
    BOB,
    CAROL,
    KICK,
    NOON_MS,
    PUNT,
    SHARE_BP,
    Floor,
    an_account,
    exchange_tables,
    snapshots,
)


@pytest.fixture
def floor() -> Floor:
    """Alice and Bob have paid in 1,000,000 each; Carol nothing. No tick has been completed."""
    return Floor(cash_cents={ALICE: 1_000_000, BOB: 1_000_000, CAROL: 0})


def test_an_account_opened_late_has_what_was_paid_in_as_its_base(floor: Floor) -> None:
    floor.mark(6_000)
    floor.tick()
    floor.open(an_account(9, 500_000, [(KICK, Side.BUY, 100 * SHARE_BP, 5_000)]))
    opened = floor.equity(9)
    assert (1_100_000, 1_000_000) == (opened.equity_cents, opened.net_flow_cents)
    assert (100_000, 100_000) == (opened.day_change_cents, opened.day_change_percent_e4)


def test_an_account_opened_within_a_tick_is_valued_with_the_last_ones_marks() -> None:
    """Reads are never half a tick: the mark that moved since shows at the next completion, to the new holder too."""
    floor = Floor(cash_cents={ALICE: 0})
    floor.mark(5_000)
    floor.tick()
    floor.mark(6_000)
    floor.open(an_account(BOB, 0, [(KICK, Side.BUY, SHARE_BP, 5_000)]))
    assert 5_000 == floor.equity(BOB).position_value_cents
    assert 6_000 == floor.tick()[BOB].position_value_cents


def test_an_account_opened_late_is_stamped_with_the_time_of_the_market(floor: Floor) -> None:
    """EVS's clock is ahead of ticks that carry their time: its next valuation must not seem older than its first."""
    floor.complete(tick_time_ms=NOON_MS - 2_000)
    floor.open(an_account(8))
    assert NOON_MS - 2_000 == floor.equity(8).timestamp_ms
    floor.complete()
    floor.wait(500)
    floor.open(an_account(9))
    assert NOON_MS + 500 == floor.equity(9).timestamp_ms, "without such a time it is the clock's"


def test_accounts_opened_together_share_a_version(floor: Floor) -> None:
    made = floor.open(an_account(8, 5), an_account(9, 6))
    assert [8, 9] == made.account_id.tolist()
    assert floor.equity(ALICE).version + 1 == made.version
    assert floor.engine.knows(9)
    assert [ALICE, BOB, CAROL, 8, 9] == floor.engine.account_ids().tolist()


def test_an_import_values_everything_once_at_the_newest_trades() -> None:
    floor = Floor()
    tables = exchange_tables(
        {ALICE: 500_000, BOB: 100, CAROL: 0},
        {(ALICE, KICK): (100 * SHARE_BP, 5_000), (BOB, PUNT): (-5_000, 333)},
        {KICK: 6_000, PUNT: 333},
    )
    made = floor.engine.import_exchange(tables, NOON_MS)
    assert [600_000, -166, 0] == made.position_value_cents.tolist()
    assert [1_000_000, 100 - 166, 0] == made.net_flow_cents.tolist(), "cash and what the positions cost"
    assert [100_000, 0, 0] == made.unrealized_cents.tolist()
    assert [0, 0, 0] == made.realized_cents.tolist() == made.day_change_cents.tolist()
    assert (6_000, MarkSource.LAST_TRADE) == (floor.position(ALICE).mark_cents, floor.position(ALICE).mark_source)
    assert {} == floor.tick(), "valued once"


def test_an_imported_account_has_no_base_until_it_is_fully_priced() -> None:
    floor = Floor()
    tables = exchange_tables(
        {ALICE: 1_000}, {(ALICE, KICK): (SHARE_BP, 5_000), (ALICE, PUNT): (SHARE_BP, 70)}, {KICK: 6_000}
    )
    made = floor.engine.import_exchange(tables, NOON_MS)
    assert [Flag.UNPRICED | Flag.NO_BASE] == made.flags.tolist()
    assert [(0, 0)] == [(each.day_change_cents, each.day_change_percent_e4) for each in snapshots([made])]
    floor.mark(6_500)
    assert Flag.UNPRICED | Flag.NO_BASE == floor.tick()[ALICE].flags
    floor.mark(80, symbol=PUNT)
    based = floor.tick()[ALICE]
    assert (0, 0) == (based.day_change_cents, based.flags), "1,000 + 6,500 + 80 is its base"
    floor.mark(6_510)
    assert 10 == floor.tick()[ALICE].day_change_cents
