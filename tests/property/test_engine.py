"""
The engine against the reference, and against itself: restarted, replayed, captured at other moments, corrupted.

Numbers in docstrings are those of the invariants in FAULTS 1.
"""

from itertools import pairwise

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from evs_server.engine.accounting import Lot, fill
from evs_server.engine.arithmetic import notional, notional_cents, percent_e4
from evs_server.engine.valuation import sum_from_scratch
from evs_server.limits import EXACT_MAX, MONEY_CENTS_MAX, PRICE_CENTS_MAX, QUANTITY_BP_MAX
from evs_server.model import Flag, Side, Valuation
from tests.builders import ALICE, BOB, CAROL, NOON_MS, Floor, an_account, int64
from tests.property.events import (
    FEES,
    FILLS,
    HISTORIES,
    LENGTHS,
    PRICES,
    QUANTITIES,
    ROLL_MINUTES,
    SIDES,
    SYMBOLS,
    VAST_HISTORIES,
    Event,
    Price,
    Tick,
    Trade,
)
from tests.property.twin import Kept, Twin, rows_of, sight, tell
from tests.reference import Reference
from tests.reference import notional as reference_notional

# --- against the reference -----------------------------------------------------------------------------------------


@given(HISTORIES, ROLL_MINUTES)
def test_the_engine_does_what_the_rules_say(history: list[Event], roll_minute: int) -> None:
    """(1, 3, 7, 9, 14, 15) Books, positions, snapshots and passes equal the reference's after every event."""
    twin = Twin(roll_minute)
    for event in history:
        twin.apply(event)


@given(VAST_HISTORIES)
def test_what_leaves_a_bound_is_refused_and_changes_nothing_and_all_else_is_exact(history: list[Event]) -> None:
    """(13) Over the whole range of the bounds the engine refuses exactly what the reference's plain ints forbid."""
    twin = Twin()
    for event in history:
        twin.apply(event)


@given(HISTORIES)
def test_a_pass_has_an_account_once_and_versions_grow(history: list[Event]) -> None:
    """(7, 15, 16) Within one pass all numbers are of one version, and each version is higher than the one before."""
    twin = Twin()
    passes = [made for event in history for made in twin.apply(event)]
    for made in passes:
        assert len(made) == len(set(made.account_id.tolist())) > 0
        assert made.equity_cents.tolist() == (made.cash_cents + made.position_value_cents).tolist()
    assert all(earlier.version < later.version for earlier, later in pairwise(passes))


# --- fills -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(SIDES, QUANTITIES, PRICES, FEES), max_size=20))
def test_a_lot_keeps_its_invariants_under_any_fills(fills: list[tuple[Side, int, int, int]]) -> None:
    """(1, 4) No holding has no cost; a cost never has the other sign; and cash + cost - realized is never lost."""
    lot, cash = Lot(), 0
    for side, quantity, price, fee in fills:
        lot, cash_change = fill(lot, quantity if side is Side.BUY else -quantity, price, fee)
        cash += cash_change
        assert lot.basis_cents == 0 if lot.quantity_bp == 0 else lot.basis_cents * lot.quantity_bp >= 0
        assert cash + lot.basis_cents == lot.realized_cents


@given(QUANTITIES, PRICES, SIDES)
def test_a_round_trip_at_one_price_leaves_nothing_behind(quantity: int, price: int, side: Side) -> None:
    """(5) Bought and sold at a price, or the other way round: nothing realized, nothing held, no cash moved."""
    signed = quantity if side is Side.BUY else -quantity
    there, out = fill(Lot(), signed, price)
    back, home = fill(there, -signed, price)
    assert (Lot(), 0) == (back, out + home)


@given(st.lists(st.tuples(SIDES, QUANTITIES, PRICES), max_size=12))
def test_a_short_is_the_exact_mirror_of_a_long(fills: list[tuple[Side, int, int]]) -> None:
    """The same fills with sides exchanged give the same lot with signs exchanged."""
    lot, mirror = Lot(), Lot()
    for side, quantity, price in fills:
        signed = quantity if side is Side.BUY else -quantity
        lot, mirror = fill(lot, signed, price).lot, fill(mirror, -signed, price).lot
        assert Lot(-lot.quantity_bp, -lot.basis_cents, -lot.realized_cents) == mirror


@given(st.lists(st.tuples(st.permutations([ALICE, BOB, CAROL]), FILLS), max_size=20))
def test_both_legs_of_trades_leave_the_sums_as_they_were(
    legs: list[tuple[list[int], tuple[int, Side, int, int]]],
) -> None:
    """(2) Without fees the sum of cash stays, and in each symbol what one holds long others hold short."""
    floor = Floor(cash_cents={ALICE: 10**6, BOB: 0, CAROL: -5})
    for (one, other, _), (symbol, side, quantity, price) in legs:
        against = Side.SELL if side is Side.BUY else Side.BUY
        floor.engine.apply_trade(one, symbol, side, quantity, price, 0, NOON_MS)
        floor.engine.apply_trade(other, symbol, against, quantity, price, 0, NOON_MS)
    state = floor.engine.export_state()
    assert 10**6 - 5 == sum(state.accounts.cash_cents.tolist())
    for symbol in set(state.positions.symbol_id.tolist()):
        assert 0 == sum(state.positions.quantity_bp[state.positions.symbol_id == symbol].tolist())


@given(HISTORIES, SYMBOLS, PRICES)
def test_a_price_changes_no_books(history: list[Event], symbol: int, price: int) -> None:
    """(3) Cash, net flow, realized, quantities and costs are the same before and after, and after it is valued."""
    twin = Twin()
    for event in history:
        twin.apply(event)
    before = _books(twin)
    twin.apply(Price(symbol, price))
    assert before == _books(twin)
    twin.apply(Tick(1))
    assert before == _books(twin)


def _books(twin: Twin) -> list[list[tuple[int, ...]]]:
    state = twin.engine.export_state()
    return [[row[:4] for row in rows_of(state.accounts)], [row[:5] for row in rows_of(state.positions)]]


@given(st.lists(FILLS, max_size=12, unique_by=lambda each: each[0]), st.randoms(use_true_random=False))
def test_trades_of_different_symbols_in_one_tick_commute(
    fills: list[tuple[int, Side, int, int]], shuffle: np.random.Generator
) -> None:
    """(6) In whichever order they come, the tick completes to the same state."""
    shuffled = list(fills)
    shuffle.shuffle(shuffled)
    hashes = []
    for order in (fills, shuffled):
        floor = Floor(cash_cents={ALICE: 10**6})
        for symbol, side, quantity, price in order:
            floor.engine.apply_trade(ALICE, symbol, side, quantity, price, 0, NOON_MS)
        floor.tick()
        hashes.append(floor.engine.state_hash())
    assert hashes[0] == hashes[1]


@given(st.lists(FILLS, max_size=12))
def test_an_account_opened_with_its_trades_has_the_books_of_one_that_made_them(
    fills: list[tuple[int, Side, int, int]],
) -> None:
    """(9) The fold of an account's trades is what applying them one by one gives."""
    live = Floor(cash_cents={ALICE: 1_000})
    for symbol, side, quantity, price in fills:
        live.engine.apply_trade(ALICE, symbol, side, quantity, price, 0, NOON_MS)
    live.tick()
    late = Floor()
    late.open(an_account(ALICE, live.equity(ALICE).cash_cents, fills))
    books = [floor.engine.export_state() for floor in (live, late)]
    assert rows_of(books[0].accounts)[0][:4] == rows_of(books[1].accounts)[0][:4]
    assert sorted(row[:5] for row in rows_of(books[0].positions)) == sorted(
        row[:5] for row in rows_of(books[1].positions)
    )


# --- against itself --------------------------------------------------------------------------------------------------


@given(HISTORIES)
def test_replaying_a_history_gives_the_same_state(history: list[Event]) -> None:
    """Nothing but the events decides: the same passes, the same hash."""
    twin = Twin()
    for event in history:
        twin.apply(event)
    again = twin.new_engine()
    repeated = [made for told in twin.told for made in tell(again, told)]
    assert [_rows(made) for made in twin.passes] == [_rows(made) for made in repeated]
    assert sight(twin.engine) == sight(again)


def _rows(made: Valuation) -> list[object]:
    return [made.snapshot(index) for index in range(len(made))]


@given(HISTORIES, ROLL_MINUTES)
def test_running_sums_are_those_made_from_scratch(history: list[Event], roll_minute: int) -> None:
    """(9) What ticks add up by differences is what adding up all positions gives."""
    twin = Twin(roll_minute)
    for event in history:
        twin.apply(event)
        book = twin.engine._book
        every = slice(0, book.accounts.count)
        position_value, unrealized = sum_from_scratch(book)
        assert position_value.tolist() == book.accounts.position_value_cents[every].tolist()
        assert unrealized.tolist() == book.accounts.unrealized_cents[every].tolist()


@given(HISTORIES, LENGTHS, ROLL_MINUTES)
def test_a_restart_at_any_moment_changes_nothing_that_follows(
    history: list[Event], moment: int, roll_minute: int
) -> None:
    """(10, 11) An engine that takes over within a tick makes the passes that the one before would have made."""
    twin = Twin(roll_minute)
    for event in history[:moment]:
        twin.apply(event)
    successor = twin.new_engine()
    successor.restore(twin.engine.export_state(), twin.engine.latest_snapshots())
    assert twin.engine.state_hash() == successor.state_hash()
    for event in history[moment:]:
        expected = [_rows(made) for made in twin.apply(event)]
        assert expected == [_rows(made) for made in tell(successor, twin.told[-1])]
        assert twin.engine.state_hash() == successor.state_hash()


@given(HISTORIES, st.lists(st.booleans(), min_size=40, max_size=40))
def test_captures_add_up_to_the_whole_state_at_whatever_moments(history: list[Event], flushes: list[bool]) -> None:
    """(10) Each capture over the ones before, a start finds exactly what was there, and captures disturb nothing."""
    twin, kept, flushed_count = Twin(), Kept(), 0
    for event, is_flushed in zip([*history, Tick(3)], [*flushes, True][-len(history) - 1 :], strict=True):
        twin.apply(event)
        if is_flushed:
            kept.flush(twin.engine.capture(), twin.passes[flushed_count:])
            flushed_count = len(twin.passes)
            assert sight(twin.engine) == sight(kept.revive(twin.new_engine()))


@given(HISTORIES)
def test_what_was_valued_is_valued_once(history: list[Event]) -> None:
    """(8, 15) A tick completed again, with nothing in between, values nobody."""
    twin = Twin()
    for event in history:
        twin.apply(event)
    twin.apply(Tick(1))
    assert [] == twin.apply(Tick(1))


# --- corruption ------------------------------------------------------------------------------------------------------


TERMS = st.sampled_from(
    [
        ("accounts", "cash_cents"),
        ("accounts", "net_flow_cents"),
        ("accounts", "realized_cents"),
        ("accounts", "position_value_cents"),
        ("accounts", "unrealized_cents"),
        ("lots", "basis_cents"),
    ]
)


@given(TERMS, HISTORIES, st.integers(-(10**6), 10**6).filter(bool))
def test_a_term_that_is_wrong_by_anything_is_counted(
    term: tuple[str, str], history: list[Event], wrong_by: int
) -> None:
    """(1) Whatever came before, and whatever it is off by, the next valuation of the account counts and flags it."""
    twin = Twin()
    for event in [*history, Trade(0, 1, Side.BUY, 10_000, 100), Tick(1)]:
        twin.apply(event)
    engine, (table, column) = twin.engine, term
    getattr(getattr(engine._book, table), column)[0] += wrong_by
    account = int(engine.export_state().positions.account_id[0]) if table == "lots" else 1
    assume(table != "lots" or engine._book.lots.quantity_bp[0] != 0)
    for symbol in range(1, 5):
        engine.apply_price(symbol, 20_000_000 + symbol, twin.now_ms)
    engine.apply_cash(account, 1)
    made = engine.complete_tick(2, 0, twin.now_ms)
    flags = {
        each.account_id: each.flags
        for valuation in made[-1:]
        for each in map(valuation.snapshot, range(len(valuation)))
    }
    assert flags[account] & Flag.IDENTITY_VIOLATED
    assert engine.identity_violation_count >= 1
    assert not any(each & Flag.IDENTITY_VIOLATED for other, each in flags.items() if other != account)


# --- arithmetic ------------------------------------------------------------------------------------------------------


@given(st.integers(-QUANTITY_BP_MAX, QUANTITY_BP_MAX), st.integers(0, PRICE_CENTS_MAX))
def test_notionals_are_those_of_exact_fractions(quantity: int, price: int) -> None:
    """As plain ints over the whole range, as columns wherever the result is within the bounds."""
    expected = reference_notional(quantity, price)
    assert expected == notional_cents(quantity, price)
    if abs(expected) <= MONEY_CENTS_MAX:
        assert [expected] == notional(int64(quantity), int64(price)).tolist()


WIDE = st.tuples(st.integers(-EXACT_MAX, EXACT_MAX), st.integers(0, EXACT_MAX))
USUAL = st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 10**7))
# An odd number over two million is a half at the fourth decimal; scaled, it still is.
HALVES = st.builds(
    lambda odd, scale: (odd * scale, 2_000_000 * scale),
    st.integers(-2_500, 2_500).map(lambda half: 2 * half + 1),
    st.integers(1, 10**6),
)


@given(WIDE | USUAL | HALVES)
def test_percentages_are_those_of_exact_fractions(change_and_base: tuple[int, int]) -> None:
    """Half to even at four decimals, clamped, zero over nothing: as the reference has it."""
    change, base = change_and_base
    reference = Reference()
    reference.open({1: (base, [])}, 0)
    account = reference.accounts[1]
    account.shown |= {"equity_cents": base + change}
    assert [reference._day(account, 0)["day_change_percent_e4"]] == percent_e4(int64(change), int64(base)).tolist()
