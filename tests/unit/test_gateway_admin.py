"""What a gateway tells of the virtual shards: what it has heard, in the words of the contract."""

from dataclasses import replace

import pytest

from evs_server.cluster.shards import KEEPER, SHARD_COUNT
from evs_server.gateway.admin import cluster_of
from evs_server.gateway.progress import Progress, ShardProgress
from evs_server.gateway.seen import SILENCE_SECONDS

HEARD_AT = 100.0
HEARD_MS = 1_700_000_000_000

TOLD = ShardProgress(
    start_number=3,
    number=1,
    owner="evs shard 7.ab on here",
    applied=40,
    committed=30,
    applied_ms=HEARD_MS - 500,
    heard_at=HEARD_AT,
)


class Later:
    """A clock, so many milliseconds after a shard was heard."""

    def __init__(self, ms: int) -> None:
        self._ms = ms

    def now_ms(self) -> int:
        return HEARD_MS + self._ms

    def monotonic(self) -> float:
        return HEARD_AT + self._ms / 1_000


def a_progress(**told: ShardProgress) -> Progress:
    """What was told of shards, by their numbers after an underscore."""
    progress = Progress()
    for name, each in told.items():
        progress.told(int(name.removeprefix("_")), each)
    return progress


def test_every_shard_is_there_in_order_also_one_of_which_nothing_was_heard() -> None:
    cluster = cluster_of(a_progress(_5=TOLD), 44, Later(250))
    assert list(range(SHARD_COUNT + 1)) == [each.shard for each in cluster.shards]
    assert (44, HEARD_MS + 250) == (cluster.last_position, cluster.time)
    unknown = cluster.shards[4]
    assert ("", 0, 0, 0, 0, True) == (
        unknown.owner, unknown.start_number, unknown.applied_position, unknown.heard, unknown.owned_since,
        unknown.silent,
    )  # fmt: skip


def test_a_shard_that_was_heard_is_told_as_its_owner_told_it() -> None:
    shard = cluster_of(a_progress(_5=TOLD), 44, Later(250)).shards[5]
    assert ("evs shard 7.ab on here", 3, 40, 30) == (
        shard.owner, shard.start_number, shard.applied_position, shard.committed_position,
    )  # fmt: skip
    assert (HEARD_MS, HEARD_MS, False) == (shard.owned_since, shard.heard, shard.silent)


def test_an_owner_is_there_since_it_was_first_heard_however_often_it_is_heard_after() -> None:
    progress = a_progress(_5=TOLD)
    progress.told(5, replace(TOLD, number=2, heard_at=HEARD_AT + 2))
    shard = cluster_of(progress, 44, Later(2_500)).shards[5]
    assert (HEARD_MS, HEARD_MS + 2_000) == (shard.owned_since, shard.heard)
    progress.told(5, replace(TOLD, start_number=4, owner="another", heard_at=HEARD_AT + 3))
    shard = cluster_of(progress, 44, Later(3_500)).shards[5]
    assert ("another", HEARD_MS + 3_000) == (shard.owner, shard.owned_since)


def test_a_shard_is_behind_the_one_that_is_farthest() -> None:
    """By when their newest batches were taken; one that has applied nothing, as the keeper, is behind nobody."""
    late, none = replace(TOLD, applied_ms=HEARD_MS - 4_750), replace(TOLD, applied_ms=0)
    shards = cluster_of(a_progress(_5=TOLD, _6=late, _64=none), 44, Later(9_000)).shards
    assert [0, 4_250, 0] == [shards[number].lag_ms for number in (5, 6, KEEPER)]


@pytest.mark.parametrize(("silent", "beyond_ms"), [(False, 0), (True, 1)])
def test_a_shard_that_has_been_silent_for_too_long_is_as_far_behind_as_its_newest_batch_is_old(
    silent: bool, beyond_ms: int
) -> None:
    after_ms = int(1_000 * SILENCE_SECONDS) + beyond_ms
    shard = cluster_of(a_progress(_5=TOLD), 44, Later(after_ms)).shards[5]
    assert silent is shard.silent
    assert (after_ms + 500 if silent else 0) == shard.lag_ms
