"""
What one tick's valuation costs: 1, 10, 100 and all symbols have a new price, and every holder is valued once.

Ours is ``Engine.complete_tick``, from dirty marks to the columns of snapshots that go to the store and the streams; the
prices have been applied. Held against the least that a compiled loop needs, against one SQL statement, and against the
original's algorithm in plain Python, and against an incremental dataflow (``yardsticks/``): the same world, the same
prices, the same snapshots.

An engine that was restored has its positions in the order of its symbols; in one that has *grown*, they lie where there
was room when they were opened.

Left out: storing and sending what was valued (``persistence``, ``fanout``), and taking in the prices (``trades``).
"""

import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from bench import pathway
from bench.command import run
from bench.harness import Result, Sample, measure, measure_async, timed, timed_async
from bench.world import NOW_MS, Size, World, a_grown_engine, a_world, an_engine
from bench.yardsticks.compiled_tick import Arrays
from bench.yardsticks.python_tick import Original
from bench.yardsticks.sql_tick import Database
from evs_server.engine import Engine
from evs_server.model import Flag, Int64Array, PriceRun, Valuation

ROUNDS = 15
SIZE = Size()
CHANGED = {"tick_1": 1, "tick_10": 10, "tick_100": 100, "tick_all": 0}
"""By case, how many symbols have a new price; 0 is all."""


class Move(NamedTuple):
    """New prices of some symbols."""

    symbol: Int64Array
    price_cents: Int64Array


async def main(rounds: int = ROUNDS, size: Size = SIZE) -> list[Result]:
    """All cases; the results."""
    world = a_world(size)
    engine = an_engine(world)
    results = against_compiled(world, engine, rounds)
    results += against_compiled(world, a_grown_engine(world), rounds, "/grown")
    results += await against_postgres(world, engine, rounds)
    results.append(against_python(world, engine, rounds))
    if pathway.is_there():
        results.append(against_pathway(world, rounds))
    else:
        Console().print(f"tick_1/pathway is left out: {pathway.PYTHON} has no Pathway ('make bench' says why)")
    return results


def against_compiled(world: World, engine: Engine, rounds: int, how: str = "") -> list[Result]:
    """One case for each number of changed symbols, their names ending in how the engine has come to the world."""
    arrays = Arrays.of(world)
    results = []
    for salt, (name, changed_count) in enumerate(CHANGED.items()):
        move = moves(world, changed_count, salt)
        ours, theirs = tick_of(engine, move), loop_of(arrays, move)
        results.append(measure(f"{name}/compiled{how}", ours, theirs, rounds=rounds, agree=same_as_arrays))
    return results


async def against_postgres(world: World, engine: Engine, rounds: int) -> list[Result]:
    """One symbol, against one statement; and against one that only reads."""
    results = []
    async with Database.of(world) as database:
        # Prices that the engine has seen by now are news to the tables.
        marks = engine.export_state().marks
        await database.set_marks(marks.symbol_id, marks.price_cents)
        for salt, (name, read_only) in enumerate({"postgres": False, "postgres_read_only": True}.items(), len(CHANGED)):
            move = moves(world, 1, salt)
            ours, theirs = _awaited(tick_of(engine, move)), statement_of(database, move, read_only=read_only)
            results.append(await measure_async(f"tick_1/{name}", ours, theirs, rounds=rounds, agree=same_as_rows))
    return results


def statement_of(
    database: Database, move: Callable[[int], Move], *, read_only: bool
) -> Callable[[int], Awaitable[Sample]]:
    """The statement's side: it is timed; that later ones know its prices is not."""

    async def side(number: int) -> Sample:
        sample = await timed_async(lambda: database.tick(*move(number), read_only=read_only))
        await database.set_marks(*move(number))
        return sample

    return side


def _awaited(side: Callable[[int], Sample]) -> Callable[[int], Awaitable[Sample]]:
    async def awaited(number: int) -> Sample:
        return side(number)

    return awaited


def against_python(world: World, engine: Engine, rounds: int) -> Result:
    """One symbol, against the original's algorithm."""
    original = Original(world)
    marks = engine.export_state().marks
    original.tick(marks.symbol_id, marks.price_cents)
    move = moves(world, 1, salt=len(CHANGED) + 2)
    # Two million objects of the yardstick's must not be walked by the collector within a round of either.
    gc.collect()
    gc.freeze()
    theirs = lambda number: timed(lambda: original.tick(*move(number)))  # noqa: E731
    result = measure("tick_1/python", tick_of(engine, move), theirs, rounds=rounds, agree=same_as_rows)
    gc.unfreeze()
    return result


def against_pathway(world: World, rounds: int) -> Result:
    """One symbol, against an incremental dataflow in a process of its own."""
    move = moves(world, 1, salt=len(CHANGED) + 3)
    engine, note = an_engine(world), f"{world.size.accounts:,} accounts, {world.size.positions:,} positions"
    with pathway.Pathway.of(world) as dataflow:
        theirs = lambda number: dataflow.tick(*move(number))  # noqa: E731
        return measure("tick_1/pathway", tick_of(engine, move), theirs, rounds=rounds, agree=same_as_rows, note=note)


def moves(world: World, changed_count: int, salt: int) -> Callable[[int], Move]:
    """By round, which symbols move, and where to: never to where they have been."""

    def move(number: int) -> Move:
        rng = np.random.default_rng([salt, number])
        symbol = np.sort(rng.choice(world.size.symbols, changed_count or world.size.symbols, replace=False))
        return Move(symbol, world.price_cents[symbol] + 3 * (100 * salt + number) + rng.integers(1, 3, len(symbol)))

    return move


def tick_of(engine: Engine, move: Callable[[int], Move]) -> Callable[[int], Sample]:
    """Ours: prices are applied, untimed; the completed tick is timed."""

    def side(number: int) -> Sample:
        symbol, price_cents = move(number)
        applied = engine.apply_prices(PriceRun(symbol, price_cents), np.zeros(len(symbol), np.bool_), 0, NOW_MS)
        assert applied == len(symbol), "these prices are all plain"
        return timed(lambda: engine.complete_tick(number + 2, 0, NOW_MS)[-1])

    return side


def loop_of(arrays: Arrays, move: Callable[[int], Move]) -> Callable[[int], Sample]:
    """The compiled loop's side."""

    def side(number: int) -> Sample:
        symbol, price_cents = move(number)
        return timed(lambda: arrays.tick(symbol, price_cents))

    return side


def same_as_arrays(ours: Valuation, told: Int64Array) -> bool:
    """Whether a pass says what the compiled loop says, account by account."""
    columns = (
        ours.account_id, ours.equity_cents, ours.cash_cents, ours.position_value_cents, ours.day_change_cents,
        ours.day_change_percent_e4, ours.unrealized_cents, ours.realized_cents, ours.net_flow_cents,
    )  # fmt: skip
    return bool(np.array_equal(np.stack(columns), told)) and not (ours.flags & Flag.IDENTITY_VIOLATED).any()


def same_as_rows(ours: Valuation, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a pass says what rows say, in whatever order; percentages are rounded elsewhere, and left out."""
    names = ("account_id", "total_equity", "cash_balance", "position_value", "day_change", "unrealized_pnl")
    columns = (
        ours.account_id, ours.equity_cents, ours.cash_cents, ours.position_value_cents, ours.day_change_cents,
        ours.unrealized_cents,
    )  # fmt: skip
    told = np.array([[row[name] for name in names] for row in rows], np.int64).T
    return bool(np.array_equal(np.stack(columns), told[:, np.argsort(told[0])]))


if __name__ == "__main__":
    run(main, rounds=5 * ROUNDS)
