"""
Which virtual shard a worker takes or gives up next, so that all are owned and the work is shared. Pure.

Every worker decides for itself, from what all of them can see: who lives, and who owns what. There are 65 virtual
shards, the keeper included. Of three workers two should own 22 and one 21: the larger shares go to those that own
more already, so that nothing moves that need not. A worker below its share takes what is free; one above it gives up
a single one, and the next only when nothing is free any more. So each move brings one worker to its share and takes
none past it: from any start the moves come to an end, and at most one virtual shard of each worker is on its way.

Worked example: of three workers that own 22, 22 and 21 one ends. Shares are now 33 and 32; both take what it had, side
by side. It comes back and owns nothing: shares are 22, 22 and 21 again; each of the two gives up one, waits until that
is taken, gives up the next, ... until all have their share.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from evs_server.cluster.shards import KEEPER, SHARD_COUNT

SHARDS: Final = (*range(SHARD_COUNT), KEEPER)
"""Everything that is owned by somebody."""

HOLD_SECONDS: Final = 5.0
"""How long the first hold lasts ..."""
HOLD_SECONDS_MAX: Final = 60.0
"""... and the longest; and how long after one whoever was unwell counts as well."""


@dataclass(frozen=True, slots=True)
class View:
    """
    What one worker sees at one moment.

    Attributes:
        me: The name of the worker that looks.
        workers: The names of all that live and take part, this one included.
        owner: Names by virtual shard; one that is free is left out. Who is about to leave owns, but takes no part.
        overdue: Free ones that have been left lying for so long that whoever should take them seems unable to.
        avoided: Those that this worker has lately tried to run, in vain.
    """

    me: str
    workers: Collection[str]
    owner: Mapping[int, str]
    overdue: Collection[int] = field(default=())
    avoided: Collection[int] = field(default=())


@dataclass(frozen=True, slots=True)
class Take:
    """Try to own a virtual shard that seemed free."""

    shard: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Let go of a virtual shard, for another worker to take."""

    shard: int


Step = Take | GiveUp | None


def next_step(view: View) -> Step:
    """What a worker does next; None if all is as it should be, or others are to act."""
    free = [shard for shard in SHARDS if shard not in view.owner]
    spare = missing_count(view)
    if free:
        wanted = free if spare > 0 else [shard for shard in free if shard in view.overdue]
        possible = [shard for shard in wanted if shard not in view.avoided]
        return Take(_apart(possible, view)) if possible else None
    return GiveUp(_least_missed(view)) if spare < 0 else None


class Hold:
    """
    How long a worker gives nothing up that has taken what another should have had: that one seems unwell.

    Whatever it is given would lie as long again before somebody takes it. So each time that shows again the hold is
    twice as long; who has been well for a while has mended.
    """

    def __init__(self) -> None:
        self._over_at = float("-inf")
        self._seconds = HOLD_SECONDS

    def begin(self, now: float) -> None:
        """Something overdue is taken (monotonic seconds); what is taken while a hold lasts is of the same illness."""
        if now >= self._over_at:
            again = now < self._over_at + HOLD_SECONDS_MAX
            self._seconds = min(2 * self._seconds, HOLD_SECONDS_MAX) if again else HOLD_SECONDS
        self._over_at = now + self._seconds

    def is_over(self, now: float) -> bool:
        """Whether something may be given up again."""
        return now >= self._over_at


def missing_count(view: View) -> int:
    """How many virtual shards the worker that looks lacks of its share; negative if it has more."""
    held = held_counts(view)
    return shares(held)[view.me] - held[view.me]


def shares(held: Mapping[str, int]) -> dict[str, int]:
    """How many virtual shards each worker should own, from how many it does; they add up to all of them."""
    share, over = divmod(len(SHARDS), len(held))
    ranked = sorted(held, key=lambda worker: (-held[worker], worker))
    return {worker: share + (rank < over) for rank, worker in enumerate(ranked)}


def held_counts(view: View) -> dict[str, int]:
    """How many virtual shards each worker that takes part owns."""
    owners = list(view.owner.values())
    return {worker: owners.count(worker) for worker in {view.me, *view.workers}}


def _apart(possible: list[int], view: View) -> int:
    """One of some free ones; workers that look at the same moment begin at different places."""
    workers = sorted({view.me, *view.workers})
    return possible[workers.index(view.me) * len(possible) // len(workers)]


def _least_missed(view: View) -> int:
    """The highest; the keeper, which looks after months as well, only if there is nothing else."""
    return max((shard for shard, owner in view.owner.items() if owner == view.me), key=lambda shard: shard % KEEPER)
