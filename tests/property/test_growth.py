"""Growth against exact fractions; plain ints against columns; and flows, which are no return."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from evs_server.engine.arithmetic import percent_e4
from evs_server.engine.growth import (
    CAPITAL_CENTS_MAX,
    GROWTH_MAX,
    GROWTH_ONE,
    linked,
    linked_columns,
    performance,
    return_columns_e4,
    return_percent_e4,
)
from evs_server.limits import EXACT_MAX, PERCENT_E4_MAX
from evs_server.model import Close
from tests.builders import int64

a_size = st.one_of(st.integers(0, 1_000), st.integers(0, 10**9), st.integers(0, EXACT_MAX))
an_equity = st.builds(lambda size, sign: size * sign, a_size, st.sampled_from([1, 1, 1, -1]))
a_capital = st.one_of(an_equity, st.integers(EXACT_MAX, CAPITAL_CENTS_MAX))
a_growth = st.one_of(
    st.just(GROWTH_ONE), st.integers(-GROWTH_MAX, GROWTH_MAX), st.integers(0, 3 * GROWTH_ONE), st.integers(0, 1_000)
)
a_link = st.tuples(a_growth, an_equity, a_capital)
a_day = st.tuples(st.integers(-400, 800), st.integers(-50_000, 50_000))
"""Gain per thousand of the capital, and what is paid in or out."""


@given(a_link)
def test_a_link_is_the_exact_product_rounded_once(link: tuple[int, int, int]) -> None:
    growth, equity_cents, capital_cents = link
    if growth <= 0 or capital_cents <= 0:
        assert growth == linked(*link)
        return
    exact = Fraction(growth * equity_cents, capital_cents)
    assert max(-GROWTH_MAX, min(round(exact), GROWTH_MAX)) == linked(*link), "round() of a fraction is half to even"


@given(a_link)
def test_a_return_is_the_exact_one_rounded_once(link: tuple[int, int, int]) -> None:
    growth, equity_cents, capital_cents = link
    exact = Fraction(growth, GROWTH_ONE)
    if growth > 0 and capital_cents > 0:
        exact *= Fraction(equity_cents, capital_cents)
    assert max(-PERCENT_E4_MAX, min(round((exact - 1) * 10**6), PERCENT_E4_MAX)) == return_percent_e4(*link)


@given(st.lists(a_link, max_size=8))
def test_columns_say_what_plain_ints_say(links: list[tuple[int, int, int]]) -> None:
    columns = [int64(*column) for column in zip(*links, strict=True)] or [int64()] * 3
    assert [linked(*link) for link in links] == linked_columns(*columns).tolist()
    assert [return_percent_e4(*link) for link in links] == return_columns_e4(*columns).tolist()


@given(st.integers(-EXACT_MAX, EXACT_MAX), st.integers(1, EXACT_MAX))
def test_the_return_of_one_session_is_its_day_change_percent(gain_cents: int, base_cents: int) -> None:
    gain_cents = max(-EXACT_MAX, min(gain_cents, EXACT_MAX - base_cents))
    [frame] = percent_e4(int64(gain_cents), int64(base_cents)).tolist()
    assert frame == return_percent_e4(GROWTH_ONE, base_cents + gain_cents, base_cents)


@given(st.lists(a_day, min_size=1, max_size=40), st.integers(100_000, 10**9))
def test_flows_are_no_return(days: list[tuple[int, int]], opening_cents: int) -> None:
    """Whatever is paid in and out, the growth is the product of what each day's capital became."""
    start = Close(0, opening_cents, opening_cents)
    closes, exact = [start], Fraction(1)
    for number, (permille, flow_cents) in enumerate(days, start=1):
        before = closes[-1]
        capital_cents = before.equity_cents + max(flow_cents, 1_000 - before.equity_cents)
        net_flow_cents = before.net_flow_cents + capital_cents - before.equity_cents
        equity_cents = capital_cents + capital_cents * permille // 1_000
        closes.append(Close(number, equity_cents, net_flow_cents))
        exact *= Fraction(equity_cents, capital_cents)
    made = performance(
        start,
        closes[1:-1],
        [],
        closes[-1],
        first_base_cents=0,
        last_base_cents=closes[-2].profit_cents,
    )
    error_e4 = Fraction(made.return_percent_e4) - (exact - 1) * 10**6
    # Each link is off by half of 10**-12 at most, and what it is off by grows with those after it.
    most = Fraction(1, 2) + Fraction(10**6, GROWTH_ONE) * sum(Fraction(18, 10) ** power for power in range(len(days)))
    assert abs(error_e4) <= most or abs(made.return_percent_e4) == PERCENT_E4_MAX


@given(st.lists(a_day, min_size=1, max_size=12), st.data())
def test_more_closes_between_two_change_no_profit(days: list[tuple[int, int]], data: st.DataObject) -> None:
    """A drawdown is never above zero, and the high water never below the start or the end."""
    closes = [Close(0, 1_000_000, 0)]
    for number, (permille, flow_cents) in enumerate(days, start=1):
        before = closes[-1]
        gained = before.equity_cents * permille // 1_000
        closes.append(Close(number, before.equity_cents + gained + flow_cents, before.net_flow_cents + flow_cents))
    cut = data.draw(st.integers(0, len(closes) - 1))
    made = performance(
        closes[0],
        closes[1:cut],
        closes[max(cut, 1) : -1],
        closes[-1],
        first_base_cents=closes[0].profit_cents,
        last_base_cents=closes[max(cut - 1, 0)].profit_cents,
    )
    assert made.max_drawdown_percent_e4 <= made.drawdown_percent_e4 <= 0
    assert made.high_water_cents >= max(closes[0].equity_cents, closes[-1].equity_cents - closes[-1].net_flow_cents)
