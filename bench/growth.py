"""
How costs grow with what there is: accounts, positions, holders of a symbol, subscribers. Plots, not ratios.

Each line should be straight: twice as many cost twice as much, or less. Medians of a few rounds; writes
``results/growth.json``, of which ``report`` makes the plots.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from bench.command import FULL
from bench.harness import RESULTS
from bench.memory import apart, bytes_per_position
from bench.tick import moves, tick_of
from bench.world import NOW_MS, Size, a_world, an_engine
from evs_server.fanout.hub import Hub, Mailbox
from evs_server.model import Side, TradeRun, Valuation

ROUNDS: Final = 9
ACCOUNTS: Final = (12_500, 25_000, 50_000, 100_000)
HOLDERS: Final = (1_000, 5_000, 10_000, 20_000)
SUBSCRIBERS: Final = (1_000, 5_000, 10_000, 20_000)
TRADES: Final = 10_000

Points = list[tuple[int, float]]


def main(accounts: Sequence[int] = ACCOUNTS) -> None:
    """Measure every line and write the plots."""
    sizes = [Size(count) for count in accounts]
    ticks = {"one symbol": _points(sizes, tick_ms, 1), "all symbols": _points(sizes, tick_ms, 0)}
    trades = {"10,000 trades": [(size.accounts, trades_ms(size)) for size in sizes]}
    holders = {"one symbol": [(count, tick_ms(Size(count, 1, 1), 0)) for count in HOLDERS]}
    memory = [(size.positions, apart(bytes_per_position, size.accounts) * size.positions / 10**6) for size in sizes]
    plots: dict[str, Any] = {
        "tick by accounts": {"x": "accounts of 20 positions", "y": "ms", "lines": ticks},
        "trades by accounts": {"x": "accounts of 20 positions", "y": "ms", "lines": trades},
        "tick by holders": {"x": "holders of the symbol", "y": "ms", "lines": holders},
        "memory by positions": {"x": "positions", "y": "MB", "lines": {"resident": memory}},
        "fan-out by subscribers": {
            "x": "subscribers",
            "y": "ms",
            "lines": {"a pass offered": [(count, publish_ms(count)) for count in SUBSCRIBERS]},
        },
    }
    RESULTS.with_name("growth.json").write_text(json.dumps(plots, indent=1) + "\n")


def _points(sizes: Sequence[Size], cost: Callable[[Size, int], float], changed_count: int) -> Points:
    return [(size.accounts, cost(size, changed_count)) for size in sizes]


def tick_ms(size: Size, changed_count: int) -> float:
    """A tick in which so many symbols have a new price; 0 is all."""
    world = a_world(size)
    side = tick_of(an_engine(world), moves(world, changed_count, 0))
    return _median_ms([side(number).cost for number in range(ROUNDS + 1)][1:])


def trades_ms(size: Size) -> float:
    """Trades in positions that are there, by accounts as they come."""
    world = a_world(size)
    engine, rng, costs = an_engine(world), np.random.default_rng(3), []
    for number in range(ROUNDS + 1):
        held, one = rng.integers(0, size.positions, TRADES), np.ones(TRADES, np.int64)
        symbol = world.position_symbol[held]
        run = TradeRun(
            world.position_account[held] + 1,
            symbol,
            one * Side.BUY,
            one * 10_000,
            world.price_cents[symbol],
            0 * one,
            one,
        )
        began = time.perf_counter()
        applied = engine.apply_trades(run, np.zeros(TRADES, np.bool_), 0, NOW_MS)
        costs.append(time.perf_counter() - began)
        assert applied == TRADES, "these trades are all plain"
        engine.complete_tick(number + 2, 0, NOW_MS)
    return _median_ms(costs[1:])


def publish_ms(subscriber_count: int) -> float:
    """A pass over as many accounts as there are subscribers, each of whom follows one."""
    hub, numbers = Hub(), np.arange(1, subscriber_count + 1)
    for account in numbers.tolist():
        hub.follow(account, Mailbox(lambda: None))
    costs = []
    for version in range(1, ROUNDS + 2):
        made = Valuation(
            version, 1, NOW_MS, numbers, numbers, numbers, numbers, numbers, numbers, numbers, numbers, numbers, numbers
        )
        began = time.perf_counter()
        hub.publish(made)
        costs.append(time.perf_counter() - began)
    return _median_ms(costs[1:])


def _median_ms(seconds: Sequence[float]) -> float:
    return 1_000 * statistics.median(seconds)


if __name__ == "__main__":
    main((*ACCOUNTS, 200_000, 400_000) if FULL in sys.argv else ACCOUNTS)
