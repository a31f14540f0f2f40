"""
Events, and histories of them as hypothesis draws them.

An event names its account by a place in the list of those known by then, so that any part of a history is one too.
"""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from evs_server import limits
from evs_server.model import Side
from tests.builders import DAY_MS, HOUR_MS


@dataclass(frozen=True)
class Trade:
    """One settled leg."""

    place: int
    symbol: int
    side: Side
    quantity_bp: int
    price_cents: int
    fee_cents: int = 0


@dataclass(frozen=True)
class Price:
    symbol: int
    price_cents: int


@dataclass(frozen=True)
class Cash:
    place: int
    amount_cents: int


@dataclass(frozen=True)
class Observe:
    """The announcement of a trade that the account was opened with."""

    place: int
    symbol: int
    price_cents: int


@dataclass(frozen=True)
class Open:
    """New accounts, each its cash and its trades (symbol, side, bp, price)."""

    accounts: tuple[tuple[int, tuple[tuple[int, Side, int, int], ...]], ...]


@dataclass(frozen=True)
class Tick:
    """``market_ms``: the tick's own time as a distance from EVS's clock, or None if it carries none."""

    tick: int
    market_ms: int | None = None
    degraded: bool = False


@dataclass(frozen=True)
class Roll:
    """EVS's clock asks whether the session is over."""


@dataclass(frozen=True)
class Wait:
    milliseconds: int


Event = Trade | Price | Cash | Observe | Open | Tick | Roll | Wait

SIDES = st.sampled_from(Side)
PLACES = st.integers(0, 5)
SYMBOLS = st.integers(1, 4)
# Few prices, so that marks come back to where they were; odd ones, so that notionals are cut.
PRICES = st.sampled_from([1, 3, 99, 100, 101, 333, 5_000, 5_001]) | st.integers(1, 10**7)
QUANTITIES = st.sampled_from([1, 4_999, 5_000, 9_999, 10_000, 10_001, 1_000_000]) | st.integers(1, 10**8)
VAST_PRICES = PRICES | st.integers(1, limits.PRICE_CENTS_MAX) | st.just(limits.PRICE_CENTS_MAX)
VAST_QUANTITIES = QUANTITIES | st.integers(1, limits.QUANTITY_BP_MAX) | st.just(limits.QUANTITY_BP_MAX)
AMOUNTS = st.integers(-(10**7), 10**7).filter(bool)
VAST_AMOUNTS = AMOUNTS | st.integers(-limits.EXACT_MAX, limits.EXACT_MAX).filter(bool)
FEES = st.just(0) | st.integers(0, 1_000)
FILLS = st.tuples(SYMBOLS, SIDES, QUANTITIES, PRICES)
ROLL_MINUTES = st.sampled_from([0, 17 * 60 + 30])
LENGTHS = st.integers(0, 40)


def trades(prices: SearchStrategy[int] = PRICES, quantities: SearchStrategy[int] = QUANTITIES) -> SearchStrategy[Trade]:
    """Settled legs."""
    return st.builds(Trade, PLACES, SYMBOLS, SIDES, quantities, prices, FEES)


def openings() -> SearchStrategy[Open]:
    """One or two new accounts, some of which have traded."""
    books = st.tuples(st.integers(-(10**6), 10**7), st.lists(FILLS, max_size=4).map(tuple))
    return st.builds(Open, st.lists(books, min_size=1, max_size=2).map(tuple))


def ticks() -> SearchStrategy[Tick]:
    """Ticks with ids in any order; half of them carry a time of their own, before or after the clock's."""
    market = st.none() | st.sampled_from([0, -DAY_MS, DAY_MS, 3 * DAY_MS]) | st.integers(-HOUR_MS, HOUR_MS)
    return st.builds(Tick, st.integers(0, 9), market, st.booleans())


def waits() -> SearchStrategy[Wait]:
    """From the next millisecond to past a weekend."""
    return st.builds(Wait, st.sampled_from([1, 1_000, HOUR_MS, 6 * HOUR_MS + 1, DAY_MS, 3 * DAY_MS]))


def histories(*kinds: SearchStrategy[Event]) -> SearchStrategy[list[Event]]:
    """Events of some kinds in any order. Lists alone come short, some five events; these are long and still shrink."""
    event = st.one_of(*kinds)
    return LENGTHS.flatmap(lambda length: st.lists(event, min_size=length, max_size=length))


PRICE_EVENTS = st.builds(Price, SYMBOLS, PRICES)
CASH_EVENTS = st.builds(Cash, PLACES, AMOUNTS)
OBSERVED = st.builds(Observe, PLACES, SYMBOLS, PRICES)
ROLLS = st.just(Roll())

HISTORIES: SearchStrategy[list[Event]] = histories(
    trades(), trades(), PRICE_EVENTS, CASH_EVENTS, OBSERVED, ticks(), ticks(), openings(), ROLLS, waits()
)
VAST_HISTORIES: SearchStrategy[list[Event]] = histories(
    trades(VAST_PRICES, VAST_QUANTITIES),
    trades(PRICES, VAST_QUANTITIES),
    st.builds(Price, SYMBOLS, VAST_PRICES),
    st.builds(Cash, PLACES, VAST_AMOUNTS),
    ticks(),
    ROLLS,
    waits(),
)
