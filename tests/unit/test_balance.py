"""What a worker takes or gives up next, case by case."""

import pytest

from evs_server.cluster.shards import KEEPER
from evs_server.shard.balance import (
    HOLD_SECONDS,
    HOLD_SECONDS_MAX,
    SHARDS,
    GiveUp,
    Hold,
    Take,
    View,
    missing_count,
    next_step,
    shares,
)


def owned(**count: int) -> dict[int, str]:
    """The first virtual shards as owned by some workers, one after the other."""
    names = [name for name, each in count.items() for _ in range(each)]
    return dict(zip(SHARDS, names, strict=False))


@pytest.mark.parametrize(
    ("expected", "held"),
    [
        ({"a": 65}, {"a": 0}),
        ({"a": 33, "b": 32}, {"a": 0, "b": 0}),
        ({"a": 32, "b": 33}, {"a": 30, "b": 35}),
        ({"a": 22, "b": 21, "c": 22}, {"a": 22, "b": 21, "c": 22}),
    ],
)
def test_the_larger_shares_are_of_those_who_own_more(expected: dict[str, int], held: dict[str, int]) -> None:
    """65 cannot be shared evenly, and nothing is to move for that."""
    assert expected == shares(held)


@pytest.mark.parametrize(("expected", "me"), [(32, "b"), (-32, "a")])
def test_what_a_worker_lacks_of_its_share_is_what_another_has_too_much(expected: int, me: str) -> None:
    assert expected == missing_count(View(me, "ab", owned(a=65)))


def test_who_takes_what_another_should_have_had_gives_nothing_up_for_a_while() -> None:
    """Each time again for twice as long, up to a minute: a worker that restarts slowly is not one that cannot run."""
    hold = Hold()
    now, lengths = 100.0, []
    assert hold.is_over(now)
    for _ in range(6):
        hold.begin(now)
        begun_at = now
        while not hold.is_over(now):
            now += 0.5
        lengths.append(now - begun_at)
    assert [5.0, 10.0, 20.0, 40.0, 60.0, 60.0] == lengths
    hold.begin(now + HOLD_SECONDS_MAX)
    assert hold.is_over(now + HOLD_SECONDS_MAX + HOLD_SECONDS), "it had been well for a minute"


def test_all_that_one_illness_leaves_lying_counts_once() -> None:
    hold = Hold()
    for now in (0.0, 1.0, 2.0):
        hold.begin(now)
    assert (False, True) == (hold.is_over(2.0 + HOLD_SECONDS - 0.1), hold.is_over(2.0 + HOLD_SECONDS))


def test_who_is_alone_takes_everything_one_by_one() -> None:
    """The first worker of a cluster owns all there is, the keeper last."""
    owner: dict[int, str] = {}
    for _ in SHARDS:
        step = next_step(View("a", ["a"], owner))
        assert isinstance(step, Take)
        owner[step.shard] = "a"
    assert set(SHARDS) == owner.keys()
    assert next_step(View("a", ["a"], owner)) is None


def test_who_has_its_share_leaves_the_rest_to_others() -> None:
    """A free one is for the worker that has less."""
    owner = owned(a=33, b=31)
    assert next_step(View("a", "ab", owner)) is None
    assert Take(KEEPER) == next_step(View("b", "ab", owner))


def test_who_has_too_much_gives_up_one_and_then_waits() -> None:
    """The next is given up once nobody has to wait for one any more."""
    owner = owned(a=65)
    step = next_step(View("a", "ab", owner))
    assert GiveUp(63) == step
    del owner[63]
    assert next_step(View("a", "ab", owner)) is None
    assert Take(63) == next_step(View("b", "ab", owner))


def test_the_keeper_is_given_up_last() -> None:
    """It moves only if there is nothing else to give."""
    owner = {KEEPER: "a", 0: "a", 1: "a"} | dict.fromkeys(range(2, 64), "b")
    workers = [f"w{each}" for each in range(63)]
    assert GiveUp(1) == next_step(View("a", ["a", "b", *workers], owner))


def test_workers_that_look_at_the_same_moment_try_different_ones() -> None:
    """Three that start together do not run after the same virtual shard."""
    steps = {next_step(View(me, "abc", {})) for me in "abc"}
    assert {Take(0), Take(21), Take(43)} == steps


def test_what_nobody_takes_is_taken_beyond_ones_share() -> None:
    """A worker that lives, and cannot run what it should, keeps nobody from it for long."""
    owner = owned(a=33, b=31)
    assert Take(KEEPER) == next_step(View("a", "ab", owner, overdue=[KEEPER]))


def test_what_was_tried_in_vain_is_left_alone_for_a_while() -> None:
    """Whoever failed with it lets others try."""
    owner = owned(a=33, b=30)
    assert Take(63) == next_step(View("b", "ab", owner, avoided=[KEEPER]))
    assert next_step(View("b", "ab", owner, avoided=[63, KEEPER])) is None


def test_what_is_owned_by_one_that_leaves_is_not_free() -> None:
    """It is given up by and by; shares are of those that stay."""
    owner = owned(a=22, b=22, leaving=21)
    assert next_step(View("a", "ab", owner)) is None
