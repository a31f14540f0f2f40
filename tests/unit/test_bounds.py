"""Nothing ever wraps: what would leave a bound is refused and changes nothing; what stays within is exact."""

from collections.abc import Callable

import pytest

from evs_server.engine import bounds
from evs_server.engine.book import Book
from evs_server.errors import OutOfBounds
from evs_server.limits import (
    EXACT_MAX,
    MONEY_CENTS_MAX,
    POSITIONS_PER_ACCOUNT_MAX,
    PRICE_CENTS_MAX,
    PROFIT_CENTS_MAX,
    QUANTITY_BP_MAX,
    QUIET_MONEY_CENTS,
    QUIET_POSITION_CENTS,
)
from evs_server.model import Side
from tests.builders import (
    ALICE,
    BOB,
    KICK,
    NOON_MS,
    PUNT,
    SHARE_BP,
    Floor,
    an_account,
    an_engine,
    exchange_tables,
    restarted,
)


def refused(floor: Floor, event: Callable[[], object]) -> OutOfBounds:
    """What an event is refused with; the engine is as it was."""
    before = floor.engine.state_hash(), floor.engine.meta
    with pytest.raises(OutOfBounds) as refusal:
        event()
    assert before == (floor.engine.state_hash(), floor.engine.meta)
    assert {} == floor.tick(), "a refused event leaves nobody dirty"
    return refusal.value


# --- cash ------------------------------------------------------------------------------------------------------


def test_cash_may_reach_the_bound_and_not_a_cent_more() -> None:
    floor = Floor(cash_cents={ALICE: 0})
    floor.flow(ALICE, MONEY_CENTS_MAX)
    assert MONEY_CENTS_MAX == floor.tick()[ALICE].equity_cents
    refusal = refused(floor, lambda: floor.flow(ALICE, 1))
    assert ("cash_balance", str(EXACT_MAX + 1), str(EXACT_MAX)) == (
        refusal.field,
        refusal.metadata["value"],
        refusal.metadata["bound"],
    )


def test_a_debt_may_reach_the_bound_and_not_a_cent_more() -> None:
    floor = Floor(cash_cents={ALICE: 0})
    floor.flow(ALICE, -MONEY_CENTS_MAX)
    assert -MONEY_CENTS_MAX == floor.tick()[ALICE].cash_cents
    refused(floor, lambda: floor.flow(ALICE, -1))


def test_the_message_of_a_refusal_names_thing_value_and_bound() -> None:
    floor = Floor(cash_cents={ALICE: MONEY_CENTS_MAX})
    message = refused(floor, lambda: floor.flow(ALICE, 1)).message
    assert all(part in message for part in ("cash", str(EXACT_MAX + 1), str(EXACT_MAX)))


# --- trades ----------------------------------------------------------------------------------------------------


def test_a_trade_whose_notional_would_wrap_is_refused() -> None:
    """9 * 10**11 shares at 10**12 cents are 9 * 10**23: beyond any int64."""
    floor = Floor(cash_cents={ALICE: 0})
    for side in Side:
        refused(
            floor,
            lambda side=side: floor.engine.apply_trade(  # type: ignore[misc]
                ALICE, KICK, side, QUANTITY_BP_MAX, PRICE_CENTS_MAX, 0, NOON_MS
            ),
        )


def test_the_largest_quantity_can_be_held_and_not_a_bp_more() -> None:
    floor = Floor(cash_cents={ALICE: 0})
    floor.buy(ALICE, 0, 1, bp=QUANTITY_BP_MAX)
    assert QUANTITY_BP_MAX // SHARE_BP == floor.tick()[ALICE].position_value_cents
    refused(floor, lambda: floor.buy(ALICE, 0, 1, bp=1))
    floor.sell(ALICE, 0, 1, bp=QUANTITY_BP_MAX)
    floor.sell(ALICE, 0, 1, bp=QUANTITY_BP_MAX)
    assert -(QUANTITY_BP_MAX // SHARE_BP) == floor.tick()[ALICE].position_value_cents
    refused(floor, lambda: floor.sell(ALICE, 0, 1, bp=1))


def test_a_large_position_is_valued_to_the_cent() -> None:
    """900,719,925,474 shares and 991 bp at 9,999 cents: a plain product of the two would wrap."""
    floor = Floor(cash_cents={ALICE: 0})
    floor.buy(ALICE, 0, 1, bp=QUANTITY_BP_MAX)
    floor.tick()
    floor.engine.apply_price(KICK, 4_999, floor.now_ms)
    assert QUANTITY_BP_MAX * 4_999 // 10_000 == floor.tick()[ALICE].position_value_cents


def test_a_trade_of_a_symbol_never_seen_leaves_no_trace_when_refused() -> None:
    floor = Floor(cash_cents={ALICE: 0})
    refused(floor, lambda: floor.buy(ALICE, 0, PRICE_CENTS_MAX, symbol=PUNT, bp=QUANTITY_BP_MAX))
    assert 0 == floor.engine.position_count
    assert [] == floor.engine.export_state().marks.symbol_id.tolist()


def test_a_fee_counts_towards_the_bounds() -> None:
    floor = Floor(cash_cents={ALICE: 100 - MONEY_CENTS_MAX})
    refused(floor, lambda: floor.sell(ALICE, 1, 100, fee=101))
    floor.sell(ALICE, 1, 100, fee=100)
    assert -MONEY_CENTS_MAX == floor.tick()[ALICE].equity_cents


# --- what a price does to holders ------------------------------------------------------------------------------


@pytest.fixture
def rich() -> Floor:
    """Alice holds 10**10 shares at a cent each, and Bob nothing; 2**53 - 1 cents are 900,719 a share."""
    floor = Floor(cash_cents={ALICE: 10**10, BOB: 10**10})
    floor.buy(ALICE, 10**10, 1)
    floor.tick()
    return floor


def test_a_mark_that_would_take_a_holder_out_of_bounds_is_refused(rich: Floor) -> None:
    refusal = refused(rich, lambda: rich.mark(PRICE_CENTS_MAX))
    assert str(PRICE_CENTS_MAX * 10**10) == refusal.metadata["value"]


def test_the_profit_of_an_account_bounds_what_a_mark_may_do(rich: Floor) -> None:
    """A day change is the difference of two profits: each stays below 2**52."""
    highest = PROFIT_CENTS_MAX // 10**10 + 1  # 10**10 of it was paid in
    rich.mark(highest)
    assert highest * 10**10 == rich.tick()[ALICE].equity_cents
    assert "total_equity" == refused(rich, lambda: rich.mark(highest + 1)).field


def test_a_trade_that_makes_the_mark_is_refused_for_its_holders(rich: Floor) -> None:
    """Until a symbol's first mark its trades set it: Bob's fill of a few cents would be worth 10**22 to Alice."""
    refused(rich, lambda: rich.buy(BOB, 0, PRICE_CENTS_MAX, bp=1))
    rich.mark(1)
    rich.buy(BOB, 0, PRICE_CENTS_MAX, bp=1)
    assert {BOB} == set(rich.tick()), "with a mark of its own the symbol takes no price from a trade"


def test_a_mark_of_a_symbol_nobody_holds_may_be_anything(rich: Floor) -> None:
    rich.mark(PRICE_CENTS_MAX, symbol=PUNT)
    assert {} == rich.tick()


def test_a_holder_who_has_sold_is_no_reason_to_refuse(rich: Floor) -> None:
    rich.sell(ALICE, 10**10, 1)
    rich.mark(PRICE_CENTS_MAX)
    assert [ALICE] == list(rich.tick())


def test_prices_of_several_symbols_cannot_add_up_beyond_the_bound() -> None:
    """Each position is within bounds by itself; together they would not be."""
    floor = Floor(cash_cents={ALICE: 0})
    for symbol in range(4):
        floor.buy(ALICE, 10**9, 1, symbol=symbol)
    quarter = PROFIT_CENTS_MAX // 10**9 // 4 + 2
    for symbol in range(3):
        floor.mark(quarter, symbol=symbol)
    floor.tick()
    refused(floor, lambda: floor.mark(quarter, symbol=3))
    floor.mark(quarter - 3, symbol=3)
    assert 3 * quarter + quarter - 3 == floor.tick()[ALICE].position_value_cents // 10**9


@pytest.mark.parametrize("edge", [QUIET_POSITION_CENTS - 1, QUIET_POSITION_CENTS, QUIET_POSITION_CENTS + 1])
def test_around_the_edge_of_quiet_accounts_nothing_differs(edge: int) -> None:
    """Past the bound below which sums need no exact check the same numbers come out, and the same are refused."""
    floor = Floor(cash_cents={ALICE: QUIET_MONEY_CENTS - 1})
    floor.buy(ALICE, edge, 1)
    floor.mark(2)
    made = floor.tick()[ALICE]
    assert (QUIET_MONEY_CENTS - 1 - edge, 2 * edge, edge) == (
        made.cash_cents,
        made.position_value_cents,
        made.unrealized_cents,
    )
    refused(floor, lambda: floor.mark(PRICE_CENTS_MAX))
    refused(floor, lambda: floor.flow(ALICE, MONEY_CENTS_MAX - QUIET_MONEY_CENTS + 1))


def test_an_account_that_has_grown_loud_is_checked_in_every_symbol_it_holds() -> None:
    """Cash near the bound leaves no room for a position that is small by itself."""
    floor = Floor(cash_cents={ALICE: 0})
    floor.buy(ALICE, 1_000, 1)
    floor.flow(ALICE, MONEY_CENTS_MAX)
    floor.tick()
    refused(floor, lambda: floor.mark(3))
    floor.mark(1)
    floor.buy(ALICE, 1_000, 1, symbol=PUNT)
    floor.tick()
    refused(floor, lambda: floor.mark(3, symbol=PUNT))


def test_of_many_holders_a_price_looks_only_at_those_that_it_may_concern(monkeypatch: pytest.MonkeyPatch) -> None:
    """One account whose sums must be worked out is no reason to work out everybody's, at every price."""
    floor = Floor(cash_cents=dict.fromkeys(range(1, 101), 0))
    for account in range(1, 101):
        floor.buy(account, 10, 1)
    floor.flow(ALICE, 2 * QUIET_MONEY_CENTS)
    floor.buy(BOB, 10**6, 1)
    looked_at: list[int] = []
    check = bounds.check_account

    def counted(book: Book, prospect: bounds.Prospect) -> bool:
        looked_at.append(book.accounts.account_id.item(prospect.account_row))
        return check(book, prospect)

    monkeypatch.setattr(bounds, "check_account", counted)
    floor.mark(2)
    assert [ALICE] == looked_at
    looked_at.clear()
    floor.mark(QUIET_POSITION_CENTS // 10**6 + 1)
    assert [ALICE, BOB] == sorted(looked_at)


# --- room ------------------------------------------------------------------------------------------------------


def test_an_account_may_trade_so_many_symbols_and_no_more() -> None:
    floor = Floor(cash_cents={ALICE: 0})
    for symbol in range(POSITIONS_PER_ACCOUNT_MAX):
        floor.buy(ALICE, 1, 100, symbol=symbol)
    floor.tick()
    refusal = refused(floor, lambda: floor.buy(ALICE, 1, 100, symbol=POSITIONS_PER_ACCOUNT_MAX))
    assert str(POSITIONS_PER_ACCOUNT_MAX) in refusal.message
    floor.sell(ALICE, 1, 100, symbol=7)
    assert [ALICE] == list(floor.tick()), "those it has it may go on trading"


# --- what the exchange's tables hold ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trades",
    [
        [(KICK, Side.BUY, QUANTITY_BP_MAX, PRICE_CENTS_MAX)],
        [(KICK, Side.BUY, QUANTITY_BP_MAX, 1), (KICK, Side.BUY, 1, 1)],
    ],
)
def test_an_account_beyond_the_bounds_is_not_taken_in(trades: list[tuple[int, Side, int, int]]) -> None:
    floor = Floor(cash_cents={BOB: 5})
    refused(floor, lambda: floor.open(an_account(9, 5), an_account(ALICE, 0, trades)))
    assert not floor.engine.knows(ALICE)
    assert not floor.engine.knows(9), "none of those that come together"


def test_an_account_whose_cash_is_beyond_the_bounds_is_not_taken_in() -> None:
    floor = Floor(cash_cents={BOB: 5})
    refused(floor, lambda: floor.open(an_account(ALICE, MONEY_CENTS_MAX + 1)))


def test_an_opening_is_judged_at_the_marks_it_is_valued_with_too() -> None:
    """The mark fell within the tick: at the last tick's, which value it, the position would be worth 10**22."""
    floor = Floor(cash_cents={BOB: 5})
    floor.mark(PRICE_CENTS_MAX)
    floor.tick()
    floor.mark(1)
    account = an_account(ALICE, 0, [(KICK, Side.BUY, 10**10 * SHARE_BP, 1)])
    before = floor.engine.state_hash()
    with pytest.raises(OutOfBounds):
        floor.open(account)
    assert before == floor.engine.state_hash()


@pytest.mark.parametrize(
    ("cash", "quantity", "average_cost", "price"),
    [
        (MONEY_CENTS_MAX + 1, SHARE_BP, 1, 1),
        (0, QUANTITY_BP_MAX + 1, 1, 1),
        (0, QUANTITY_BP_MAX, PRICE_CENTS_MAX, 1),  # a cost of 9 * 10**23
        (0, QUANTITY_BP_MAX, 1, PRICE_CENTS_MAX),  # a value of as much
        (0, SHARE_BP, 1, PRICE_CENTS_MAX + 1),
    ],
)
def test_tables_beyond_the_bounds_are_not_imported(cash: int, quantity: int, average_cost: int, price: int) -> None:
    tables = exchange_tables({ALICE: cash}, {(ALICE, KICK): (quantity, average_cost)}, {KICK: price})
    with pytest.raises(OutOfBounds):
        an_engine().import_exchange(tables, NOON_MS)


def test_a_restored_account_is_as_loud_as_it_was() -> None:
    """That its sums must be worked out exactly is found again from the state that was kept."""
    floor = Floor(cash_cents={ALICE: 0})
    floor.buy(ALICE, 1_000, 1)
    floor.flow(ALICE, MONEY_CENTS_MAX)
    floor.tick()
    floor.engine = restarted(floor.engine)
    refused(floor, lambda: floor.mark(3))
