"""
A worker: owns virtual shards, as many as are its share, and looks after each until it is given up. Touches I/O.

Lives here: taking, watching and giving up, one step after the other. Not here: which is next (``balance``), locks
(``store.ownership``), what a virtual shard is made of (``virtual_shard``, ``keeper``).

A virtual shard that cannot go on is let go of, and left alone for a while, so that another worker may have it; the
others are not touched. A bug is something else: a failed assertion ends the process, and whatever nobody expected ends
the worker.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from evs_server.clock import Clock
from evs_server.errors import EvsError, Fenced, StoreUnavailable
from evs_server.shard.balance import SHARDS, GiveUp, Hold, Take, View, missing_count, next_step
from evs_server.shard.owned import Owned
from evs_server.store.ownership import Ownership
from evs_server.works import Works

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25
"""How often a worker looks at who owns what."""
OPENING_AT_ONCE: Final = 4
"""Virtual shards that are read from the database at one time."""
AVOIDED_SECONDS: Final = 5.0
"""How long one that could not go on is left alone."""
OVERDUE_SECONDS: Final = 10.0
"""How long a free one is left to whose share it is."""
TELL_SECONDS: Final = 1.0
"""How long after something was said to have failed others that do so are put together."""
UNSHARED_SECONDS: Final = 30.0
"""How long to wait for others to give up what is too much for them; then it is not this worker that is not ready."""
GIVE_UP_SECONDS: Final = 10.0
"""How long what was applied may take to be committed; what is not by then, the next owner applies again."""


@dataclass(slots=True)
class WorkerCounts:
    """
    What a worker has done since its start.

    Attributes:
        taken_count: Virtual shards it has taken, and that have come to run.
        given_up_count: Those it has given up for others.
        failed_count: Those that could not go on.
        last_taking_seconds: How long the last one took from its lock to its first news.
        left_violation_count: Valuations that contradicted themselves, of those that are here no more.
    """

    taken_count: int = 0
    given_up_count: int = 0
    failed_count: int = 0
    last_taking_seconds: float = 0.0
    left_violation_count: int = 0


class Worker:
    """
    Owns its share.

    Args:
        ownership: The locks; joined already.
        make: Makes a virtual shard that is to be started.
        works: Where its tasks belong.
        clock: Says how long something is free, or avoided.

    Attributes:
        running: The virtual shards that run, by number.
        counts: What it has done.
        settled: Set once the worker has had its share, and all of it ran, or nobody gave it any more for long.
    """

    def __init__(self, ownership: Ownership, make: Callable[[int], Owned], works: Works, clock: Clock) -> None:
        self._ownership = ownership
        self._make = make
        self._works = works
        self._clock = clock
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._leave: dict[int, asyncio.Event] = {}
        self._opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self._free_since: dict[int, float] = {}
        self._avoided_until: dict[int, float] = {}
        self._hold = Hold()
        self._moved_at = clock.monotonic()
        self._given: list[int] = []
        self._failed: list[tuple[int, EvsError]] = []
        self._told_failed_at = float("-inf")
        self._look_now = asyncio.Event()
        self._is_blind = self._is_ending = False
        self._rests = asyncio.Event()
        self._rests.set()
        self._drain_seconds = GIVE_UP_SECONDS
        self.running: dict[int, Owned] = {}
        self.counts = WorkerCounts()
        self.settled = asyncio.Event()

    async def run(self) -> None:
        """Take and give up, until told to ``rest``."""
        self._rests.clear()
        try:
            while not self._is_ending:
                if not await self._stepped():
                    await self._wait()
        finally:
            self._tell_failed()
            self._tell_given()
            self._rests.set()

    def lose(self, number: int, error: Fenced) -> None:
        """Take note that another worker has a virtual shard: this one must not go on with it."""
        if number in self.running:
            self.running[number].fail(error)
        elif number in self._tasks:
            self._leave[number].set()

    async def rest(self) -> None:
        """Have ``run`` end, and wait for that: a question that is cut off would cost the connection with the locks."""
        self._is_ending = True
        self._look_now.set()
        await self._rests.wait()

    async def stop(self, seconds: float) -> None:
        """Give up everything, as long as the time allows; ``run`` rests."""
        assert self._is_ending, "what is given up would be taken again"
        self._drain_seconds = seconds
        for leave in self._leave.values():
            leave.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)

    @property
    def is_blind(self) -> bool:
        """Whether the worker cannot see who owns what."""
        return self._is_blind

    # --- taking and giving up ------------------------------------------------------------------------------------

    async def _stepped(self) -> bool:
        """Whether anything was done, so that another look is due at once; nothing is while nothing can be seen."""
        if self._clock.monotonic() - self._told_failed_at >= TELL_SECONDS:
            self._tell_failed()
        try:
            acted = await self._step()
        except StoreUnavailable as error:
            if not self._is_blind:
                log.warning("who owns what cannot be seen, and nothing is taken or given up: %s", error.message)
            self._is_blind = True
            return False
        self._is_blind = False
        return acted

    async def _step(self) -> bool:
        view = self._view(await self._ownership.workers(), await self._ownership.owners())
        match next_step(view):
            case Take(shard):
                if shard in self._tasks or not await self._ownership.take(shard):
                    return False  # somebody was faster, or it is on its way out here
                if shard in view.overdue:
                    self._hold.begin(self._clock.monotonic())
                self._leave[shard] = leave = asyncio.Event()
                self._tasks[shard] = self._works.start(f"virtual shard {shard}", self._own(shard, leave))
                return True
            case GiveUp(shard):
                is_moving = any(leave.is_set() for leave in self._leave.values())
                if not is_moving and shard in self._leave and self._hold.is_over(self._clock.monotonic()):
                    self._given.append(shard)
                    self._leave[shard].set()
                    self.counts.given_up_count += 1
            case None:
                pass
        missing = missing_count(view)
        if missing >= 0:
            self._tell_given()
        if len(self.running) == len(self._tasks) and (missing <= 0 or self._waits_in_vain(view)):
            self.settled.set()
        return False

    def _waits_in_vain(self, view: View) -> bool:
        """Whether others have kept too much for long; what is free, and fails here, is another thing."""
        is_all_owned = len(view.owner) == len(SHARDS)
        return is_all_owned and self._clock.monotonic() - self._moved_at >= UNSHARED_SECONDS

    def _tell_given(self) -> None:
        """Say what was given up, once that is all: moves come in bursts."""
        if self._given:
            log.info(
                "gave up %d virtual shards, of which this worker had too many: %s",
                len(self._given),
                ", ".join(map(str, self._given)),
            )
            self._given = []

    def _tell_failed(self) -> None:
        """Say what could not go on here: where it is the log or a server, that is many at once."""
        if self._failed:
            self._told_failed_at = self._clock.monotonic()
            [(number, error), *others], self._failed = self._failed, []
            others_too = f", nor can {len(others)} others" if others else ""
            log.error("virtual shard %d cannot go on here%s: %s", number, others_too, error.message)

    def _view(self, workers: Sequence[str], owner: Mapping[int, str]) -> View:
        now = self._clock.monotonic()
        self._free_since = {shard: self._free_since.get(shard, now) for shard in SHARDS if shard not in owner}
        self._avoided_until = {shard: until for shard, until in self._avoided_until.items() if until > now}
        overdue = {shard for shard, since in self._free_since.items() if now - since >= OVERDUE_SECONDS}
        return View(self._ownership.name, workers, owner, overdue, self._avoided_until.keys())

    async def _wait(self) -> None:
        """Return when it is time for another look, or something has changed here."""
        if self._is_ending:
            return
        self._look_now.clear()
        alarm = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_now.set)
        try:
            await self._look_now.wait()
        finally:
            alarm.cancel()

    # --- one virtual shard ---------------------------------------------------------------------------------------

    async def _own(self, number: int, leave: asyncio.Event) -> None:
        """Look after a virtual shard whose lock is held, and let go of that in the end."""
        owned = self._make(number)
        failure: BaseException | None = None
        try:
            failure = await self._look_after(number, owned, leave)
        finally:
            if self.running.pop(number, None) is not None:
                self.counts.left_violation_count += owned.statistics().violation_count
            await owned.drop()
            if failure is not None:
                self.counts.failed_count += 1
                self._avoided_until[number] = self._clock.monotonic() + AVOIDED_SECONDS
            await self._release(number)
            del self._tasks[number], self._leave[number]
            self._moved_at = self._clock.monotonic()
            self._look_now.set()
        if failure is not None:
            if not isinstance(failure, EvsError):
                raise failure
            self._failed.append((number, failure))
            if self._is_ending:
                self._tell_failed()

    async def _look_after(self, number: int, owned: Owned, leave: asyncio.Event) -> BaseException | None:
        """Why it could not go on; None if it was given up."""
        began_at = self._clock.monotonic()
        try:
            async with self._opening:
                await owned.start()
        except EvsError as error:
            return error
        self.running[number] = owned
        self.counts.taken_count += 1
        self._moved_at = self._clock.monotonic()
        self.counts.last_taking_seconds = self._moved_at - began_at
        self._look_now.set()
        failing, leaving = asyncio.ensure_future(owned.failure()), asyncio.ensure_future(leave.wait())
        try:
            await asyncio.wait({failing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            failing.cancel()
        failure = failing.result() if failing.done() and not failing.cancelled() else None
        # What a bug leaves behind may be half of something, and what is another's is not ours to commit.
        if failure is None or (isinstance(failure, EvsError) and not isinstance(failure, Fenced)):
            left = await owned.stop(self._drain_seconds)
            if left:
                log.warning("of virtual shard %d %d flushes are not committed: they are made again", number, left)
        return failure

    async def _release(self, number: int) -> None:
        try:
            await self._ownership.release(number)
        except StoreUnavailable as error:
            # Without its connection the lock is gone, too; one that is merely busy lets go of it afterwards.
            log.warning("the lock of virtual shard %d is let go of later: %s", number, error.message)
