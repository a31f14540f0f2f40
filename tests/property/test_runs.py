"""
Runs of events by the kernels against the same events one by one, in plain integers: the same books, the same refusals.

Kernels stop before what is not plain; whoever calls them applies that one event the exact way and lets them go on.
However often they stop, and wherever a run is cut, nothing may tell the two apart.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from types import MappingProxyType

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evs_server.engine import Engine
from evs_server.errors import OutOfBounds
from evs_server.limits import EXACT_MAX, QUANTITY_BP_MAX, QUIET_MONEY_CENTS, QUIET_POSITION_CENTS
from evs_server.model import BoolArray, CashRun, PriceRun, Side, TradeRun
from tests.builders import NOON_MS, Floor, int64
from tests.property.events import FEES, PRICES, QUANTITIES, SIDES, SYMBOLS, VAST_PRICES, VAST_QUANTITIES
from tests.property.twin import sight

Trade = tuple[int, int, Side, int, int, int]
Price = tuple[int, int]
Flow = tuple[int, int]

CASH = {1: 1_000_000, 2: 0, 3: -5}
ACCOUNTS = st.sampled_from(list(CASH))

# Whatever a bound of quietness is compared with lies a little below it, on it, or a little above.
AROUND = st.integers(-3, 3)
EDGE_PRICES = st.sampled_from([1, 10, 333, 10**6]) | st.builds(
    lambda power, off: max(2**power + off, 1), st.integers(0, 39), AROUND
)
EDGE_QUANTITIES = st.builds(
    lambda shares, off: min(max(shares * 10_000 + off, 1), QUANTITY_BP_MAX),
    st.sampled_from([1, 1_677, QUIET_POSITION_CENTS // 333, QUIET_POSITION_CENTS // 10**6, 2**31, 2**37, 2**38]),
    AROUND,
)
AMOUNTS = st.integers(1, 9) | st.sampled_from([-5, 1 - QUIET_MONEY_CENTS, QUIET_MONEY_CENTS, EXACT_MAX, -EXACT_MAX])
CASHES = st.sampled_from([0, QUIET_MONEY_CENTS - 2, QUIET_MONEY_CENTS, -QUIET_MONEY_CENTS + 1, EXACT_MAX])


def trades(quantities: st.SearchStrategy[int], prices: st.SearchStrategy[int]) -> st.SearchStrategy[list[Trade]]:
    """Runs of trades; few accounts and symbols, so that they meet again."""
    return st.lists(st.tuples(ACCOUNTS, SYMBOLS, SIDES, quantities, prices, FEES), max_size=40)


def trade_run(events: Sequence[Trade]) -> TradeRun:
    account, symbol, side, quantity, price, fee = (int64(*(event[column] for event in events)) for column in range(6))
    return TradeRun(account, symbol, side, quantity, price, fee, np.zeros_like(account))


def price_run(events: Sequence[Price]) -> PriceRun:
    return PriceRun(*(int64(*(event[column] for event in events)) for column in range(2)))


def flow_run(events: Sequence[Flow]) -> CashRun:
    account, amount = (int64(*(event[column] for event in events)) for column in range(2))
    return CashRun(account, amount, ("",) * len(events))


def one_by_one(count: int, apply: Callable[[int], None]) -> dict[int, str]:
    """What became of events applied the exact way: by index, why one was refused."""
    refusals = {}
    for index in range(count):
        try:
            apply(index)
        except OutOfBounds as error:
            refusals[index] = error.message
    return refusals


def as_run(count: int, run: Callable[[BoolArray, int], int], apply: Callable[[int], None]) -> dict[int, str]:
    """The same of a run: by the kernels, but for what they leave."""
    refusals, nothing_apart = {}, np.zeros(count, np.bool_)
    at = run(nothing_apart, 0)
    while at < count:
        try:
            apply(at)
        except OutOfBounds as error:
            refusals[at] = error.message
        at = run(nothing_apart, at + 1)
    return refusals


def trade_of(engine: Engine, events: Sequence[Trade]) -> Callable[[int], None]:
    def apply(index: int) -> None:
        engine.apply_trade(*events[index], NOON_MS)

    return apply


def trades_by(engine: Engine, run: TradeRun) -> Callable[[BoolArray, int], int]:
    return lambda apart, at: engine.apply_trades(run, apart, at, NOON_MS)


def compare_trades(
    cuts: Iterable[Sequence[Trade]], cash_cents: dict[int, int] = CASH, marks: Mapping[int, int] = MappingProxyType({})
) -> None:
    one, many = Floor(cash_cents=cash_cents).engine, Floor(cash_cents=cash_cents).engine
    for symbol, price in marks.items():
        one.apply_price(symbol, price, NOON_MS)
        many.apply_price(symbol, price, NOON_MS)
    for events in cuts:
        expected = one_by_one(len(events), trade_of(one, events))
        found = as_run(len(events), trades_by(many, trade_run(events)), trade_of(many, events))
        assert expected == found
        assert sight(one) == sight(many)
        assert _shown(one) == _shown(many)


def _shown(engine: Engine) -> list[list[object]]:
    passes = engine.complete_tick(1, 0, NOON_MS)
    assert 0 == engine.identity_violation_count
    captured = engine.capture()
    return [
        [made.snapshot(index) for made in passes for index in range(len(made))],
        [table.tolist() for table in (captured.accounts.account_id, captured.positions.quantity_bp)],
    ]


def test_a_run_stops_before_what_must_be_refused_and_goes_on_behind_it() -> None:
    """
    The second purchase would take the account beyond its bound; the third is small enough.

    Where trades make no mark, nothing but the account itself tells that it is loud.
    """
    purchases = [(1, 1, Side.BUY, 10_000, price, 0) for price in (100, 200, 50)]
    compare_trades([purchases], {1: 150 - EXACT_MAX, 2: 0, 3: 0}, marks={1: 100})


def test_a_part_that_is_closed_in_a_run_costs_its_part() -> None:
    """Three shares at different prices; one sold, then more than are left."""
    bought = [(2, 1, Side.BUY, 10_000, price, 0) for price in (100, 100, 101)]
    compare_trades([[*bought, (2, 1, Side.SELL, 10_000, 101, 1)], [(2, 1, Side.SELL, 33_333, 99, 0)]])


@given(st.lists(trades(QUANTITIES, PRICES), max_size=3))
def test_a_run_of_trades_is_its_trades_one_by_one(cuts: list[list[Trade]]) -> None:
    compare_trades(cuts)


@given(st.lists(trades(VAST_QUANTITIES, VAST_PRICES), max_size=3))
def test_what_a_run_refuses_is_what_its_trades_are_refused_for(cuts: list[list[Trade]]) -> None:
    """Over the whole range of the bounds: a kernel never does what would have to be refused."""
    compare_trades(cuts)


@given(
    st.integers(0, 2**32),
    st.sampled_from([127, 128, 129, 256, 257, 400]),
    st.lists(st.integers(0, 399), max_size=3),
)
def test_a_run_of_more_trades_than_are_looked_up_at_once_is_its_trades_one_by_one(
    seed: int, count: int, vast: list[int]
) -> None:
    """Whether or not some of them stop the kernel, which goes on in the middle of what it had looked up."""
    random, cash_cents = Random(seed), dict.fromkeys(range(1, 21), 1_000_000)
    events = [
        (
            random.choice(list(cash_cents)),
            random.randint(1, 20),
            random.choice(list(Side)),
            QUANTITY_BP_MAX if index in vast else random.randint(1, 90_000),
            random.randint(1, 999),
            random.randint(0, 3),
        )
        for index in range(count)
    ]
    compare_trades([events], cash_cents)


@given(trades(EDGE_QUANTITIES, EDGE_PRICES), st.lists(CASHES, min_size=3, max_size=3))
def test_a_run_is_exact_where_an_account_begins_to_be_loud(events: list[Trade], cash_cents: list[int]) -> None:
    compare_trades([events], dict(zip(CASH, cash_cents, strict=True)))


@given(
    trades(EDGE_QUANTITIES, EDGE_PRICES),
    st.lists(st.tuples(SYMBOLS, EDGE_PRICES | VAST_PRICES), max_size=20),
)
def test_a_run_of_prices_is_its_prices_one_by_one(events: list[Trade], prices: list[Price]) -> None:
    one, many = Floor(cash_cents=CASH).engine, Floor(cash_cents=CASH).engine
    for engine in (one, many):
        one_by_one(len(events), trade_of(engine, events))
    expected = one_by_one(len(prices), lambda index: one.apply_price(*prices[index], NOON_MS))
    run = price_run(prices)
    found = as_run(
        len(prices),
        lambda apart, at: many.apply_prices(run, apart, at, NOON_MS),
        lambda index: many.apply_price(*prices[index], NOON_MS),
    )
    assert expected == found
    assert sight(one) == sight(many)
    assert _shown(one) == _shown(many)


def compare_flows(one: Engine, many: Engine, flows: Sequence[Flow]) -> None:
    expected = one_by_one(len(flows), lambda index: one.apply_cash(*flows[index]))
    run = flow_run(flows)
    found = as_run(
        len(flows), lambda apart, at: many.apply_flows(run, apart, at), lambda index: many.apply_cash(*flows[index])
    )
    assert expected == found
    assert sight(one) == sight(many)
    assert _shown(one) == _shown(many)


def test_a_run_of_flows_stops_before_what_must_be_refused_and_goes_on_behind_it() -> None:
    """The second deposit would take the account beyond its bound; the others are small enough."""
    one, many = Floor(cash_cents=CASH).engine, Floor(cash_cents=CASH).engine
    compare_flows(one, many, [(1, 5), (1, EXACT_MAX), (2, -5)])


@given(
    trades(EDGE_QUANTITIES, EDGE_PRICES),
    st.lists(st.tuples(ACCOUNTS, AMOUNTS), max_size=20),
    st.lists(CASHES, min_size=3, max_size=3),
)
def test_a_run_of_flows_is_its_flows_one_by_one(events: list[Trade], flows: list[Flow], cash_cents: list[int]) -> None:
    held = dict(zip(CASH, cash_cents, strict=True))
    one, many = Floor(cash_cents=held).engine, Floor(cash_cents=held).engine
    for engine in (one, many):
        one_by_one(len(events), trade_of(engine, events))
    compare_flows(one, many, flows)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), max_size=20), st.integers(0, 20))
def test_flows_set_apart_are_left_to_the_caller(flows: list[Flow], place: int) -> None:
    """So are those of accounts that are heeded, always or only where there is a fee, or not known."""
    engine = Floor(cash_cents=CASH).engine
    engine.heed(3, always=False, with_fee=True)
    engine.heed(2, always=True, with_fee=False)
    run, apart = flow_run(flows), np.zeros(len(flows), np.bool_)
    apart[place : place + 1] = True
    heeded = [account != 1 for account, _ in flows]
    stops = [index for index in range(len(flows)) if index == place or heeded[index]]
    assert min(stops, default=len(flows)) == engine.apply_flows(run, apart, 0)
    assert heeded == engine.heeded(run).tolist()
    assert any(heeded) == engine.heeds_any(run.account_id)


@given(trades(QUANTITIES, PRICES), st.integers(0, 40))
def test_events_set_apart_are_left_to_the_caller(events: list[Trade], place: int) -> None:
    """A run goes up to the first event that is set apart, or whose account is heeded or not known."""
    engine = Floor(cash_cents=CASH).engine
    for event in events:
        engine.apply_trade(*event, NOON_MS)
    engine.heed(3, always=False, with_fee=True)
    engine.heed(2, always=True, with_fee=False)
    run, apart = trade_run(events), np.zeros(len(events), np.bool_)
    apart[place : place + 1] = True
    stops = [
        index
        for index, (account, *_, fee) in enumerate(events)
        if index == place or account == 2 or (account == 3 and fee)
    ]
    assert min(stops, default=len(events)) == engine.apply_trades(run, apart, 0, NOON_MS)
    assert [account == 2 or (account == 3 and fee > 0) for account, *_, fee in events] == engine.heeded(run).tolist()
