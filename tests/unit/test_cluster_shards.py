"""Which virtual shard an account belongs to: the same for ever, and evenly."""

import numpy as np
import pytest

from evs_server.cluster.shards import KEEPER, SHARD_COUNT, WHOLE, shard_of, shards_of
from evs_server.limits import EXACT_MAX
from tests.builders import int64


@pytest.mark.parametrize(
    ("shard", "account_id"),
    [(39, 1), (15, 2), (54, 3), (35, 64), (63, 1_000_000), (39, 2**31 - 1), (15, 2**31), (15, EXACT_MAX)],
)
def test_an_account_stays_in_its_shard(shard: int, account_id: int) -> None:
    """Rows of every deployment are kept by these."""
    assert shard == shard_of(account_id)


def test_a_column_of_accounts_is_hashed_as_each_of_them() -> None:
    ids = np.random.default_rng(7).integers(1, EXACT_MAX, 1_000)
    assert [shard_of(account_id) for account_id in ids.tolist()] == shards_of(ids).tolist()


@pytest.mark.parametrize("step", [1, 2, 64, 1_000, 4_096])
def test_ids_that_follow_each_other_in_equal_steps_are_spread_evenly(step: int) -> None:
    count = np.bincount(shards_of(np.arange(1, 64_001) * step), minlength=SHARD_COUNT)
    assert SHARD_COUNT == len(count)
    assert count.min() > 900, count
    assert count.max() < 1_100, count


def test_what_is_no_accounts_shard_is_beside_them() -> None:
    """The keeper and the whole exchange have numbers that no account has."""
    shards = set(shards_of(np.arange(1, 10_001)).tolist())
    assert {KEEPER, WHOLE}.isdisjoint(shards)
    assert shards_of(int64(1)).dtype == np.int64
