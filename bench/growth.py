"""
How costs grow with what there is: accounts, positions, holders of a symbol, subscribers. Plots, not ratios.

Each line should be straight or better: twice as many cost twice as much, or less. Each point is the median of a few
rounds, the sizes taken in turn. ``growth.json`` beside the results has them, of which ``report`` makes the plots.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.command import options
from bench.harness import machine, timed, today
from bench.memory import POSITIONS_PER_ACCOUNT, apart, bytes_per_position
from bench.plot import Plot
from bench.tick import moves, tick_of
from bench.world import NOW_MS, Size, World, a_world, an_engine
from evs_server.fanout.hub import Hub, Mailbox
from evs_server.model import VALUATION_COLUMNS, Side, TradeRun, Valuation

ROUNDS: Final = 9
TRADES: Final = 10_000
ACCOUNTS: Final = (12_500, 25_000, 50_000, 100_000)
MORE_ACCOUNTS: Final = (*ACCOUNTS, 200_000, 400_000)
"""With ``--full``."""
HOLDING: Final = (5, 10, 20, 40)
"""Positions of an account, of 50,000."""
SYMBOLS: Final = (1_000, 200, 100, 50)
"""Among which 50,000 accounts spread 20 positions each: 1,000 holders of a symbol, 5,000, 10,000, 20,000."""
SUBSCRIBERS: Final = (1_000, 5_000, 10_000, 20_000)


def plots(accounts: Sequence[int]) -> dict[str, Plot]:
    """Every line, measured, by the name of its plot."""
    worlds = [a_world(Size(count)) for count in accounts]
    held = [Size(50_000, each) for each in HOLDING]
    spread = [Size(50_000, 20, count) for count in SYMBOLS]
    memory = [apart(bytes_per_position, count) * count * POSITIONS_PER_ACCOUNT / 10**6 for count in accounts]
    return {
        "growth_accounts": Plot(
            "A tick that values every account", "accounts of 20 positions", "milliseconds",
            {"tick": points(accounts, [tick(world, 0) for world in worlds])},
        ),
        "growth_trades": Plot(
            "10,000 trades applied, among so many accounts", "accounts of 20 positions", "milliseconds",
            {"trades": points(accounts, [trades(world) for world in worlds])},
        ),
        "growth_positions": Plot(
            "A tick that values all positions of 50,000 accounts", "positions", "milliseconds",
            {"tick": points([size.positions for size in held], [tick(a_world(size), 0) for size in held])},
        ),
        "growth_holders": Plot(
            "A tick in which one symbol moves, of 1,000,000 positions", "holders of the symbol", "milliseconds",
            {"tick": points([size.positions // size.symbols for size in spread],
                            [tick(a_world(size), 1) for size in spread])},
        ),
        "growth_subscribers": Plot(
            "A pass offered to everyone who follows one of its accounts", "subscribers", "milliseconds",
            {"offer": points(SUBSCRIBERS, [offering(count) for count in SUBSCRIBERS])},
        ),
        "growth_memory": Plot(
            "Memory of positions", "positions", "MB resident",
            {"memory": [(count * POSITIONS_PER_ACCOUNT, size) for count, size in zip(accounts, memory, strict=True)]},
        ),
    }  # fmt: skip


def main() -> None:
    """Measure every line, show how each has grown, and write the points."""
    given = options()
    measured = plots(MORE_ACCOUNTS if given.full else ACCOUNTS)
    Console().print(growth(measured))
    told = {name: {**asdict(plot), "machine": machine(), "date": today()} for name, plot in measured.items()}
    given.results.with_name("growth.json").write_text(json.dumps(told, indent=1) + "\n")


def growth(measured: Mapping[str, Plot]) -> Table:
    """By how much each line's cost has grown, and by how much what it depends on."""
    table = Table("plot", "size", "cost", "first", "last")
    for name, plot in measured.items():
        for line in plot.lines.values():
            (least, first), (most, last) = line[0], line[-1]
            table.add_row(
                name, f"x {most / least:.3g}", f"x {last / first:.3g}", f"{first:.4g}", f"{last:.4g} {plot.y}"
            )
    return table


def points(sizes: Sequence[int], sides: Sequence[Callable[[int], float]]) -> list[tuple[float, float]]:
    """
    What each size costs in milliseconds: sizes are taken in turn, so that a busy minute falls on all of them.

    Args:
        sides: By size, what measures one round, in seconds; the first round warms it up.
    """
    seconds = [[side(number) for side in sides] for number in range(ROUNDS + 1)][1:]
    return [(size, 1e3 * statistics.median(each)) for size, each in zip(sizes, zip(*seconds, strict=True), strict=True)]


def tick(world: World, changed_count: int) -> Callable[[int], float]:
    """A tick in which so many symbols have a new price; 0 is all."""
    side = tick_of(an_engine(world), moves(world, changed_count, 0))
    return lambda number: side(number).cost


def trades(world: World) -> Callable[[int], float]:
    """A share more of each of some positions, applied and, untimed, valued."""
    engine = an_engine(world)

    def side(number: int) -> float:
        held = np.random.default_rng(number).integers(0, world.size.positions, TRADES)
        one, symbol = np.ones(TRADES, np.int64), world.position_symbol[held]
        bought = (one * Side.BUY, one * 10_000, world.price_cents[symbol], 0 * one, one)
        run = TradeRun(world.position_account[held] + 1, symbol, *bought)
        sample = timed(lambda: engine.apply_trades(run, np.zeros(TRADES, np.bool_), 0, NOW_MS))
        assert sample.output == TRADES, "these trades are all plain"
        engine.complete_tick(number + 2, 0, NOW_MS)
        return sample.cost

    return side


def offering(subscriber_count: int) -> Callable[[int], float]:
    """A pass over as many accounts as there are subscribers, each of whom follows one."""
    hub, numbers = Hub(), np.arange(1, subscriber_count + 1)
    for account in numbers.tolist():
        hub.follow(account, Mailbox(lambda: None))

    def side(number: int) -> float:
        made = Valuation(number + 1, 1, NOW_MS, np.tile(numbers, (len(VALUATION_COLUMNS), 1)))
        return timed(lambda: hub.publish(made)).cost

    return side


if __name__ == "__main__":
    main()
