"""
Thousands of worlds in which everything goes wrong, and then heals: every account ends where the fold puts it.

``EVS_SEED=17 pytest tests/simulation -k one_world`` runs that one again; ``EVS_SEEDS=50000`` runs so many. A seed that
failed goes into ``seeds.txt``.
"""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from evs_server.ingest.keeping import Policy
from evs_server.model import Snapshot
from tests.builders import snapshots
from tests.simulation.world import World

FEW = 150
MANY = 5_000
CHUNK = 25
STEPS = 160


def kept_seeds() -> list[int]:
    """Seeds that have failed once."""
    lines = Path(__file__).with_name("seeds.txt").read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def run(seed: int, policy: Policy = "every_tick") -> World:
    """One world; its seed goes with whatever fails."""
    world = World(seed, policy)
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


def closes(world: World) -> list[Snapshot]:
    """What every account closed its sessions with, but for the version of the pass."""
    rolls = [made for made in world.tables.rows if made.session_roll]
    return [replace(each, version=0) for each in snapshots(rolls)]


@pytest.mark.parametrize("first", first_seeds(CHUNK))
def test_however_little_is_stored_no_crash_loses_a_number_and_every_close_is_the_same(first: int) -> None:
    row_counts: Counter[Policy] = Counter()
    close_count = 0
    for seed in range(first, first + CHUNK):
        worlds: dict[Policy, World] = {policy: run(seed, policy) for policy in get_args(Policy)}
        for policy, world in worlds.items():
            assert closes(worlds["every_tick"]) == closes(world)
            row_counts[policy] += sum(map(len, world.tables.rows))
        close_count += len(closes(worlds["every_tick"]))
    assert row_counts["every_tick"] > row_counts["interval"] > row_counts["on_trade"]
    assert close_count > 0, "worlds without a session's end prove nothing"


@pytest.mark.faults
@pytest.mark.parametrize("first", range(FEW, MANY, CHUNK))
def test_in_thousands_of_worlds_too(first: int) -> None:
    for seed in range(first, first + CHUNK):
        run(seed, get_args(Policy)[seed % len(get_args(Policy))])
