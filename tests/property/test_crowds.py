"""
Ticks of many positions at once, against the reference: more than a loop takes in one go, or asks memory for ahead.

Histories elsewhere are longer, but few positions trade between two of their ticks.
"""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from evs_server.model import Side
from tests.property.events import Event, Open, Price, Tick, Trade
from tests.property.twin import Twin

ACCOUNTS = 30
SYMBOLS = 10

TRADED = st.sampled_from([0, 1, 15, 16, 17, 31, 33, 128, 129, 250])
MOVED = st.integers(0, SYMBOLS)


def between_two_ticks(random: Random, traded_count: int, moved_count: int) -> list[Event]:
    """Trades, most of them in positions of their own, then prices."""
    trades = [
        Trade(
            random.randrange(ACCOUNTS),
            random.randint(1, SYMBOLS),
            random.choice(list(Side)),
            10_000 * random.randint(1, 9),
            random.randint(1, 999),
            random.randint(0, 3),
        )
        for _ in range(traded_count)
    ]
    prices = [Price(symbol, random.randint(1, 999)) for symbol in random.sample(range(1, SYMBOLS + 1), moved_count)]
    return [*trades, *prices]


@given(st.integers(0, 2**32), st.lists(st.tuples(TRADED, MOVED), min_size=1, max_size=4))
def test_a_tick_values_all_that_traded_and_all_whose_price_moved_however_many(
    seed: int, ticks: list[tuple[int, int]]
) -> None:
    """(1, 7, 14) As the reference does, which values each account anew from all that it holds."""
    random, twin = Random(seed), Twin()
    twin.apply(Open(tuple((1_000_000, ()) for _ in range(ACCOUNTS))))
    for tick, (traded_count, moved_count) in enumerate(ticks, 1):
        twin.apply_all(between_two_ticks(random, traded_count, moved_count))
        twin.apply(Tick(tick))
