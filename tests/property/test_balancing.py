"""Whatever workers own at first, and in whichever order they act, all virtual shards come to be owned, and evenly."""

from collections import Counter
from collections.abc import Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from evs_server.shard.balance import SHARDS, GiveUp, Step, Take, View, next_step

NAMES = "abcdefgh"


def starts(workers: str) -> st.SearchStrategy[dict[int, str]]:
    """Any way in which virtual shards may be owned, those of workers that have ended being free."""
    return st.lists(st.sampled_from([*workers, ""]), min_size=len(SHARDS), max_size=len(SHARDS)).map(
        lambda owners: {shard: owner for shard, owner in zip(SHARDS, owners, strict=True) if owner}
    )


def act(owner: dict[int, str], steps: Iterable[tuple[str, Step]]) -> None:
    """What becomes of steps that were decided on at the same moment: of those who take the same, the first has it."""
    for me, step in steps:
        if isinstance(step, Take):
            owner.setdefault(step.shard, me)
        elif isinstance(step, GiveUp):
            assert me == owner.pop(step.shard), "only what one owns can be given up"


def is_even(owner: dict[int, str], workers: Iterable[str]) -> bool:
    """Whether all are owned, and no worker has two more than another."""
    counts = Counter(owner.values())
    return len(owner) == len(SHARDS) and max(counts.values()) - min(counts[each] for each in workers) <= 1


@settings(max_examples=40)
@given(st.data())
def test_balance_comes_with_as_few_moves_as_there_are_too_many(data: st.DataObject) -> None:
    """Whether workers act one by one or all at once, what is given up is what somebody has beyond its share."""
    workers = NAMES[: data.draw(st.integers(1, 8))]
    owner = data.draw(starts(workers))
    at_once = data.draw(st.booleans())
    random = Random(data.draw(st.integers(0, 2**32)))
    share = len(SHARDS) // len(workers)
    excess = sum(max(count - share, 0) for count in Counter(owner.values()).values())
    given_up = 0
    for _ in range(3 * len(SHARDS)):
        acting = random.sample(workers, len(workers))
        for several in [acting] if at_once else [[me] for me in acting]:
            steps = [(me, next_step(View(me, workers, dict(owner)))) for me in several]
            given_up += sum(isinstance(step, GiveUp) for _, step in steps)
            act(owner, steps)
    assert is_even(owner, workers)
    assert given_up <= excess
    assert {None} == {next_step(View(me, workers, owner)) for me in workers}


@settings(max_examples=40)
@given(st.data())
def test_workers_may_come_and_go_at_any_time(data: st.DataObject) -> None:
    """While they do, each virtual shard has one owner at most; once they stop, balance comes."""
    owner: dict[int, str] = {}
    workers = NAMES[:1]
    random = Random(data.draw(st.integers(0, 2**32)))
    for change in data.draw(st.lists(st.sampled_from(NAMES), max_size=12)):
        workers = "".join(sorted(set(workers) ^ {change})) or NAMES[0]
        owner = {shard: name for shard, name in owner.items() if name in workers}
        for _ in range(random.randint(0, 100)):
            me = random.choice(workers)
            act(owner, [(me, next_step(View(me, workers, owner)))])
    for _ in range(3 * len(SHARDS)):
        act(owner, [(me, next_step(View(me, workers, owner))) for me in workers])
    assert is_even(owner, workers)


@settings(max_examples=40)
@given(st.data())
def test_a_worker_that_only_lives_keeps_nothing_from_being_owned(data: st.DataObject) -> None:
    """What should be its share is taken by others once it has been left lying."""
    workers = NAMES[: data.draw(st.integers(2, 8))]
    stuck = data.draw(st.sampled_from(workers))
    owner = data.draw(starts(workers.replace(stuck, "")))
    for _ in range(3 * len(SHARDS)):
        free = [shard for shard in SHARDS if shard not in owner]
        moving = [me for me in workers if me != stuck]
        act(owner, [(me, next_step(View(me, workers, owner, overdue=free))) for me in moving])
        if len(owner) == len(SHARDS):
            return
    raise AssertionError(f"{len(SHARDS) - len(owner)} are owned by nobody")
