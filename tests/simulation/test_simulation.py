"""
Thousands of worlds in which everything goes wrong, and then heals: every account ends where the fold puts it.

``EVS_SEED=17 pytest tests/simulation -k one_world`` runs that one again; ``EVS_SEEDS=50000`` runs so many. A seed that
failed goes into ``seeds.txt``.
"""

import os
from pathlib import Path

import pytest

from tests.simulation.world import World

FEW = 150
MANY = 5_000
CHUNK = 25
STEPS = 160


def kept_seeds() -> list[int]:
    """Seeds that have failed once."""
    lines = Path(__file__).with_name("seeds.txt").read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def run(seed: int) -> World:
    """One world; its seed goes with whatever fails."""
    world = World(seed)
    try:
        world.run(STEPS)
    except BaseException as error:
        error.add_note(f"in the world of EVS_SEED={seed}, at its crash {world.crash_count}")
        raise
    return world


def first_seeds(count: int) -> range:
    return range(0, int(os.environ.get("EVS_SEEDS", count)), CHUNK)


@pytest.mark.skipif("EVS_SEED" not in os.environ, reason="replays the world of EVS_SEED")
def test_one_world() -> None:
    run(int(os.environ["EVS_SEED"]))


@pytest.mark.parametrize("seed", kept_seeds())
def test_worlds_that_failed_once_heal(seed: int) -> None:
    run(seed)


@pytest.mark.parametrize("first", first_seeds(FEW))
def test_whatever_happens_every_account_ends_where_the_fold_puts_it(first: int) -> None:
    worlds = [run(seed) for seed in range(first, first + CHUNK)]
    assert sum(world.crash_count for world in worlds) > CHUNK / 2, "too peaceful a world proves nothing"


@pytest.mark.faults
@pytest.mark.parametrize("first", range(FEW, MANY, CHUNK))
def test_in_thousands_of_worlds_too(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run(seed)
