"""However trading goes: ranking and performance tell the same return, and today's is the frame's."""

from hypothesis import given
from hypothesis import strategies as st

from evs_server.engine.growth import GROWTH_ONE, linked
from evs_server.model import Close, CloseColumns, HistoryRange, Past, StoredValuation, Valuation
from evs_server.performance.ranking import GrowthFold, ranked
from evs_server.performance.timeline import made
from tests.builders import ALICE, BOB, DAY_MS, HOUR_MS, Floor, an_account, int64

a_price = st.one_of(st.integers(1, 100), st.integers(1, 100_000))
a_day = st.tuples(st.lists(a_price, min_size=1, max_size=3), st.integers(-300_000, 300_000), st.integers(0, 200))
"""Prices, what Alice pays in or out, and how many shares Bob sells her."""


def traded(days: list[tuple[list[int], int, int]]) -> tuple[Floor, list[Valuation]]:
    """A floor on which these days have passed, the last to its noon; and all its passes. Bob may lose more than all."""
    floor = Floor()
    passes = [floor.open(an_account(ALICE), an_account(BOB))]
    for prices, flow, shares in days:
        if shares:
            floor.sell(BOB, shares, prices[0])
            floor.buy(ALICE, shares, prices[0])
        floor.flow(ALICE, flow)
        for price in prices:
            floor.mark(price)
            passes += floor.complete()
            floor.wait(HOUR_MS)
        floor.wait(DAY_MS - len(prices) * HOUR_MS)
    return floor, passes


def valuations(passes: list[Valuation], account_id: int) -> list[tuple[StoredValuation, bool]]:
    """An account's rows in order, and which are closes."""
    rows = []
    for each in passes:
        for index in (each.account_id == account_id).nonzero()[0].tolist():
            row = each.snapshot(index)
            stored = StoredValuation(
                row.timestamp_ms, row.version, row.equity_cents, row.net_flow_cents, row.day_change_cents
            )
            rows.append((stored, each.session_roll))
    return rows


def past_since(rows: list[tuple[StoredValuation, bool]], start_ms: int) -> Past:
    """What the store would have read of them."""
    before = [index for index, (row, _) in enumerate(rows) if row.time_ms <= start_ms]
    exact = [index for index in before if rows[index][1] and rows[index][0].time_ms == start_ms]
    first = exact[0] if exact else before[-1] if before else 0
    closes = [index for index, (_, closing) in enumerate(rows) if closing and index > first]
    base_cents = rows[first][0].close.profit_cents
    if not before and closes:
        base_cents = rows[closes[0] - 1][0].base_cents
    return Past(
        start=rows[first][0],
        begins=not before,
        starts_with_close=rows[first][1],
        closes=tuple(rows[index][0].close for index in closes),
        first_base_cents=base_cents,
        minutes=(),
        last=rows[-1][0],
    )


def closes_of(passes: list[Valuation]) -> dict[int, CloseColumns]:
    """What the table of closes would have, by roll."""
    base: dict[int, int] = {}
    growth: dict[int, int] = {}
    found = {}
    for each in passes:
        rows = []
        for index in range(len(each)):
            row = each.snapshot(index)
            close = Close(row.timestamp_ms, row.equity_cents, row.net_flow_cents)
            base.setdefault(row.account_id, close.profit_cents - row.day_change_cents)
            if each.session_roll:
                capital = close.equity_cents - close.profit_cents + base[row.account_id]
                growth[row.account_id] = linked(growth.get(row.account_id, GROWTH_ONE), close.equity_cents, capital)
                base[row.account_id] = close.profit_cents
                rows.append((row.account_id, close.equity_cents, capital, growth[row.account_id]))
        if rows:
            found[each.timestamp_ms] = CloseColumns(*(int64(*column) for column in zip(*rows, strict=True)))
    return found


@given(st.lists(a_day, min_size=1, max_size=12), st.integers(1, 12))
def test_the_ranking_and_the_performance_of_an_account_agree(
    days: list[tuple[list[int], int, int]], session_count: int
) -> None:
    """Over any number of sessions, and over all of them."""
    floor, passes = traded(days)
    session_ms = floor.engine.meta.session_start_ms
    starts_ms = {HistoryRange.ONE_DAY: session_ms, HistoryRange.ONE_WEEK: session_ms - (session_count - 1) * DAY_MS}
    fold = GrowthFold(floor.engine.account_ids(), {HistoryRange.ONE_WEEK: starts_ms[HistoryRange.ONE_WEEK]})
    for closed_ms, closes in sorted(closes_of(passes).items()):
        fold.add(closed_ms, closes)
    for span, growth in fold.growth.items():
        ranking = ranked(growth, floor.engine.latest_snapshots())
        for account_id in (ALICE, BOB):
            rows = valuations(passes, account_id)
            performance = made(past_since(rows, starts_ms.get(span, 0)), rows[-1][0], session_ms)
            place = ranking.place_of(account_id)
            if place is not None and span is not HistoryRange.ONE_MONTH:
                assert place.return_percent_e4 == performance.return_percent_e4
            if span is HistoryRange.ONE_DAY:
                frame = floor.equity(account_id)
                assert frame.day_change_percent_e4 == performance.return_percent_e4
