"""A replay's plan: repeatable, in order, with a tick after each interval that has prints."""

import pytest

from evs_server.exchange.ledger import Trade
from evs_server.exchange.matching import Batch, Tick, planned
from evs_server.exchange.prints import Print

PRINTS = [Print(time_ms, 1, 10_000, 100) for time_ms in (5_000, 5_999, 6_000, 9_100, 9_200)]


def shape(batches: list[Batch]) -> list[list[object]]:
    """Each batch's steps: ticks as they are, trades by their time."""
    return [[step if isinstance(step, Tick) else step.time_ms for step in batch.steps] for batch in batches]


def test_a_tick_ends_each_interval_that_has_prints() -> None:
    """Ticks are numbered from 1 and carry the time of their last print; quiet intervals have none."""
    plan = list(planned(PRINTS, [1, 2], seed=1, tick_ms=1_000))
    expected = [5_000, 5_999, Tick(1, 5_999), 6_000, Tick(2, 6_000), 9_100, 9_200, Tick(3, 9_200)]
    assert [expected] == shape(plan)


def test_a_batch_is_cut_after_so_many_trades_and_the_tick_that_ends_there() -> None:
    """The cut changes neither trades nor ticks."""
    plan = list(planned(PRINTS, [1, 2], seed=1, tick_ms=1_000, trades_per_batch=2))
    assert [
        [5_000, 5_999, Tick(1, 5_999)],
        [6_000, Tick(2, 6_000), 9_100],
        [9_200, Tick(3, 9_200)],
    ] == shape(plan)
    whole = next(planned(PRINTS, [1, 2], seed=1, tick_ms=1_000))
    assert whole.trades == [trade for batch in plan for trade in batch.trades]
    assert all([step for step in batch.steps if isinstance(step, Trade)] == batch.trades for batch in plan)


def test_the_seed_decides_who_trades() -> None:
    """The same seed gives the same trades, another one others, and some of them are between one account and itself."""
    prints = PRINTS * 100
    first, again, other = (
        [trade for batch in planned(prints, list(range(1, 21)), seed=seed, tick_ms=1) for trade in batch.trades]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert set(range(1, 21)) == {trade.buyer_id for trade in first} == {trade.seller_id for trade in first}
    assert 0 < sum(trade.buyer_id == trade.seller_id for trade in first) < 100


@pytest.mark.parametrize("tick_ms", [1, 86_400_000])
def test_nothing_comes_of_nothing(tick_ms: int) -> None:
    """An empty tape has neither trades nor ticks."""
    assert [] == list(planned([], [1], seed=1, tick_ms=tick_ms))
