"""
Which virtual shard an account belongs to. Pure.

The hash never changes: rows of every deployment are kept by it. ``evs.shard_of`` in the database is its twin. It folds
an id into 31 bits and spreads it by the golden ratio, so that neighbours, and ids that share a factor, part company;
products stay within 62 bits, so that SQL can follow.
"""

from typing import Final

import numpy as np

from evs_server.model import Int64Array

SHARD_COUNT: Final = 64
"""Virtual shards that accounts are spread over; moved between workers, never split."""

KEEPER: Final = SHARD_COUNT
"""The one that has no accounts, and keeps how far each source is."""

LOG: Final = ""
"""What a position in the log is called in the place of a source: the keeper has both, and no sender is called so."""

WHOLE: Final = -1
"""What the store calls the whole exchange, where one process has all of it."""

_PRIME: Final = 2**31 - 1
_MULTIPLIER: Final = 1_327_217_885


def shard_of(account_id: int) -> int:
    """The virtual shard of one account, 0 to ``SHARD_COUNT`` - 1."""
    folded = (account_id % _PRIME + account_id // _PRIME) % _PRIME
    return folded * _MULTIPLIER % _PRIME * SHARD_COUNT // _PRIME


def shards_of(account_id: Int64Array) -> Int64Array:
    """The virtual shard of each account; ids are positive, as everywhere past the codec."""
    folded = (account_id % _PRIME + account_id // _PRIME) % _PRIME
    shard: Int64Array = (folded * np.int64(_MULTIPLIER) % _PRIME * SHARD_COUNT // _PRIME).astype(np.int64)
    return shard
