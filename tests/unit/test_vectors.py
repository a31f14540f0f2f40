"""The vectors of DESIGN 3, and what they imply for flips, shorts, fees and self-trades; all in cents."""

import pytest

from evs_server.engine.accounting import Fill, Lot, fill, fold
from evs_server.model import MarkSource, SettledTrade, Side, Snapshot
from tests.builders import ALICE, BOB, CAROL, KICK, PUNT, SHARE_BP, Floor, an_account


@pytest.fixture
def floor() -> Floor:
    """Alice and Bob have paid in 1,000,000 each; Carol nothing."""
    return Floor(cash_cents={ALICE: 1_000_000, BOB: 1_000_000, CAROL: 0})


def money(snapshot: Snapshot) -> tuple[int, int, int, int, int]:
    """Cash, value, equity, unrealized and realized."""
    return (
        snapshot.cash_cents,
        snapshot.position_value_cents,
        snapshot.equity_cents,
        snapshot.unrealized_cents,
        snapshot.realized_cents,
    )


def day(snapshot: Snapshot) -> tuple[int, int]:
    """Day change in cents and in ten-thousandths of a percent."""
    return snapshot.day_change_cents, snapshot.day_change_percent_e4


# --- the seven -----------------------------------------------------------------


def test_vectors_1_to_4_follow_a_position_from_buy_to_loss(floor: Floor) -> None:
    """Vectors 1 to 4: buy, a rise, a partial sale at the rise, a fall."""
    floor.buy(ALICE, 100, 5_000)
    bought = floor.tick()[ALICE]
    assert (500_000, 500_000, 1_000_000, 0, 0) == money(bought)
    assert (0, 0) == day(bought)

    floor.mark(6_000)
    risen = floor.tick()[ALICE]
    assert (500_000, 600_000, 1_100_000, 100_000, 0) == money(risen)
    assert (100_000, 100_000) == day(risen)  # 10.0000 %

    floor.sell(ALICE, 50, 6_000)
    sold = floor.tick()[ALICE]
    assert (800_000, 300_000, 1_100_000, 50_000, 50_000) == money(sold)

    floor.mark(4_000)
    fallen = floor.tick()[ALICE]
    assert (800_000, 200_000, 1_000_000, -50_000, 50_000) == money(fallen)
    assert (0, 0) == day(fallen)


def test_vector_5_a_sale_beyond_the_holding_closes_it_and_opens_a_short(floor: Floor) -> None:
    """Vector 5: long 100 shares at 5,000, sell 150 at 5,500."""
    floor.buy(ALICE, 100, 5_000)
    floor.sell(ALICE, 150, 5_500)
    snapshot, position = floor.tick()[ALICE], floor.position(ALICE)
    assert 50_000 == snapshot.realized_cents == position.realized_cents
    assert (-50 * SHARE_BP, -275_000) == (position.quantity_bp, position.basis_cents)
    assert 1_000_000 - 500_000 + 825_000 == snapshot.cash_cents
    assert 1_050_000 == snapshot.equity_cents


def test_vector_6_the_total_cost_is_kept_to_the_cent(floor: Floor) -> None:
    """Vector 6: shares at 100, 100 and 101 cost 301; sold at 101 each they bring 2."""
    for price in (100, 100, 101):
        floor.buy(ALICE, 1, price)
    floor.tick()
    assert 301 == floor.position(ALICE).basis_cents
    assert 100 == floor.position(ALICE).avg_cost_cents, "cut toward zero, for display only"
    floor.sell(ALICE, 3, 101)
    assert 2 == floor.tick()[ALICE].realized_cents
    assert (0, 0) == (floor.position(ALICE).quantity_bp, floor.position(ALICE).basis_cents)


def test_vector_7_a_price_alone_reaches_each_holder_exactly_once(floor: Floor) -> None:
    """Vector 7: a holder that did not trade gets one snapshot, a trader that also holds gets one, others none."""
    floor.buy(ALICE, 10, 5_000)
    floor.buy(BOB, 10, 5_000)
    floor.tick()
    floor.buy(BOB, 1, 5_100)
    floor.mark(5_200)
    assert {ALICE, BOB} == set(floor.tick()), "Floor.tick sees to it that each comes once"
    assert {} == floor.tick()


# --- shorts and flips -----------------------------------------------------------------


def test_a_short_gains_as_the_price_falls(floor: Floor) -> None:
    floor.sell(ALICE, 10, 5_000)
    assert (1_050_000, -50_000, 1_000_000, 0, 0) == money(floor.tick()[ALICE])
    floor.mark(4_000)
    assert (1_050_000, -40_000, 1_010_000, 10_000, 0) == money(floor.tick()[ALICE])
    floor.buy(ALICE, 10, 4_000)
    assert (1_010_000, 0, 1_010_000, 0, 10_000) == money(floor.tick()[ALICE])


def test_a_short_of_half_a_share_is_cut_toward_zero(floor: Floor) -> None:
    """5,000 bp short at 333 is worth -166, not -167 (DESIGN 2.1)."""
    floor.sell(ALICE, 0, 333, bp=5_000)
    assert (1_000_166, -166, 1_000_000, 0, 0) == money(floor.tick()[ALICE])


def test_the_basis_of_a_partly_closed_short_is_cut_toward_zero(floor: Floor) -> None:
    """A short of 3 shares with a basis of -301 that buys 1 back closes -100 of it, not -101."""
    for price in (100, 100, 101):
        floor.sell(ALICE, 1, price)
    floor.buy(ALICE, 1, 90)
    floor.tick()
    assert (-2 * SHARE_BP, -201, 10) == (
        floor.position(ALICE).quantity_bp,
        floor.position(ALICE).basis_cents,
        floor.position(ALICE).realized_cents,
    )


@pytest.mark.parametrize(
    ("before", "quantity_bp", "price", "after"),
    [
        (Lot(), 10_000, 100, Lot(10_000, 100, 0)),
        (Lot(), -10_000, 100, Lot(-10_000, -100, 0)),
        (Lot(10_000, 100, 7), 10_000, 101, Lot(20_000, 201, 7)),
        (Lot(-10_000, -100, 7), -10_000, 101, Lot(-20_000, -201, 7)),
        (Lot(20_000, 201, 7), -10_000, 101, Lot(10_000, 101, 8)),  # 100 of 201 closes, 101 comes in
        (Lot(-20_000, -201, 7), 10_000, 101, Lot(-10_000, -101, 6)),  # its mirror
        (Lot(20_000, 201, 7), -20_000, 101, Lot(0, 0, 8)),  # the last close takes what is left
        (Lot(-20_000, -201, 7), 20_000, 101, Lot(0, 0, 6)),
        (Lot(10_000, 100, 0), -30_000, 110, Lot(-20_000, -220, 10)),  # a flip closes at cost, opens at the fill price
        (Lot(-10_000, -100, 0), 30_000, 110, Lot(20_000, 220, -10)),
        (Lot(5_000, 50, 0), -10_001, 333, Lot(-5_001, -167, 116)),  # 333 in all: 166 closes, the other 167 opens
        (Lot(-5_000, -50, 0), 10_001, 333, Lot(5_001, 167, -116)),
        (Lot(1, 0, 0), -1, 1, Lot(0, 0, 0)),  # less than a cent
    ],
)
def test_a_fill_changes_a_lot_as_the_rules_say(before: Lot, quantity_bp: int, price: int, after: Lot) -> None:
    """Open, add, reduce, close, flip: long, and short as its exact mirror."""
    assert after == fill(before, quantity_bp, price).lot


def test_a_flip_pays_one_notional() -> None:
    """What closes and what opens are cut once together: cash moves by the notional of the whole fill."""
    assert Fill(Lot(-5_001, -167, 116), 333) == fill(Lot(5_000, 50, 0), -10_001, 333)


# --- fees -----------------------------------------------------------------


def test_a_fee_lowers_cash_and_realized_alike(floor: Floor) -> None:
    floor.buy(ALICE, 100, 5_000, fee=25)
    assert (499_975, 500_000, 999_975, 0, -25) == money(floor.tick()[ALICE])
    floor.sell(ALICE, 100, 5_000, fee=30)
    assert (999_945, 0, 999_945, 0, -55) == money(floor.tick()[ALICE])
    assert -55 == floor.position(ALICE).realized_cents


def test_a_fee_of_a_flip_is_charged_once() -> None:
    assert Fill(Lot(-10_000, -120, 20 - 3), 237) == fill(Lot(10_000, 100, 0), -20_000, 120, 3)


# --- self-trades, round trips, flows -----------------------------------------------------------------


def test_a_self_trade_changes_nothing_but_fees(floor: Floor) -> None:
    floor.buy(ALICE, 100, 5_000, bp=1)
    floor.sell(ALICE, 100, 5_000, fee=7, bp=1)
    assert (999_993, 0, 999_993, 0, -7) == money(floor.tick()[ALICE])


def test_a_closed_position_stays_listed_with_what_it_realized(floor: Floor) -> None:
    floor.buy(ALICE, 1, 100)
    floor.sell(ALICE, 1, 150)
    floor.tick()
    closed = floor.position(ALICE)
    assert (0, 0, 0, 0, 50) == (
        closed.quantity_bp,
        closed.basis_cents,
        closed.value_cents,
        closed.avg_cost_cents,
        closed.realized_cents,
    )


def test_a_flow_is_no_profit(floor: Floor) -> None:
    floor.flow(ALICE, 250_000)
    deposited = floor.tick()[ALICE]
    assert (1_250_000, 0, 1_250_000, 0, 0) == money(deposited)
    assert (0, 0) == day(deposited)
    assert 1_250_000 == deposited.net_flow_cents
    floor.flow(ALICE, -1_250_000)
    assert (0, 0, 0, 0, 0) == money(floor.tick()[ALICE])


def test_both_legs_of_a_trade_leave_the_sums_as_they_were(floor: Floor) -> None:
    """Conservation: cash moves from one account to the other, less the fees; the quantities cancel."""
    floor.buy(ALICE, 3, 3_333, fee=2, bp=3_333)
    floor.sell(BOB, 3, 3_333, fee=1, bp=3_333)
    made = floor.tick()
    assert 2_000_000 - 3 == made[ALICE].cash_cents + made[BOB].cash_cents
    assert 0 == floor.position(ALICE).quantity_bp + floor.position(BOB).quantity_bp


def test_two_accounts_in_two_symbols_keep_apart(floor: Floor) -> None:
    floor.buy(ALICE, 1, 100, symbol=KICK)
    floor.buy(ALICE, 1, 200, symbol=PUNT)
    floor.buy(BOB, 2, 200, symbol=PUNT)
    floor.mark(300, symbol=PUNT)
    made = floor.tick()
    assert [100, 100] == [floor.position(ALICE, KICK).value_cents, floor.position(ALICE, KICK).mark_cents]
    assert (999_700, 400, 1_000_100, 100, 0) == money(made[ALICE])
    assert (999_600, 600, 1_000_200, 200, 0) == money(made[BOB])
    assert CAROL not in made


# --- accounts that were traded before they were known -----------------------------------------------------------------


def test_a_fold_gives_what_the_fills_give() -> None:
    trades = [
        SettledTrade(9, KICK, Side.BUY, 100 * SHARE_BP, 5_000),
        SettledTrade(4, PUNT, Side.SELL, 1 * SHARE_BP, 100),
        SettledTrade(7, KICK, Side.SELL, 150 * SHARE_BP, 5_500),
    ]
    assert {KICK: Lot(-50 * SHARE_BP, -275_000, 50_000), PUNT: Lot(-SHARE_BP, -100, 0)} == fold(trades)


def test_an_account_that_is_opened_late_stands_where_its_trades_left_it() -> None:
    """Its net flow is what must have been paid in: 1,325,000 in cash after vector 5 means 1,000,000 paid in."""
    floor = Floor()
    trades = [(KICK, Side.BUY, 100 * SHARE_BP, 5_000), (KICK, Side.SELL, 150 * SHARE_BP, 5_500)]
    floor.open(an_account(ALICE, 1_325_000, trades))
    opened = floor.equity(ALICE)
    assert 1_000_000 == opened.net_flow_cents
    assert (1_325_000, -275_000, 1_050_000, 0, 50_000) == money(opened), "no price is known: it is worth its cost"
    assert MarkSource.COST == floor.position(ALICE).mark_source
