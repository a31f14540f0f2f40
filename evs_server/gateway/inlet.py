"""
The door between senders and the log: judges a batch, divides it, puts it in, waits for what shards say. Touches I/O.

To the servicer it is what the gate is in ``evs serve``. Batches of one source are put in one after the other, and each
names the entry that it follows: if another gateway has put something in for that source meanwhile, nothing is put in,
and the batch is judged anew. So a batch whose fate was unknown is found in the journal, and not put in twice.

What a batch may be is decided by the journal alone, which knows a batch once it is in the log. So the next one of its
source can be put in while shards are still at it; what only shards know is asked of them once they are that far.

Invariants: what is answered as applied is in the log; a batch is in the log whole or not at all, once.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from evs_server.clock import Clock
from evs_server.cluster import subjects
from evs_server.cluster.codec import decode_journal, encode_batch
from evs_server.cluster.parts import Parts
from evs_server.cluster.ports import EventLog
from evs_server.cluster.shards import SHARD_COUNT
from evs_server.cluster.split import sign_of_life, split
from evs_server.errors import EvsError, LogUnavailable, RequestError, Superseded
from evs_server.gateway.accounts import Accounts, Finding
from evs_server.gateway.hearing import Hearing
from evs_server.gateway.joint import Placed
from evs_server.gateway.journal import Journal
from evs_server.gateway.progress import Progress
from evs_server.ingest.course import Outcome
from evs_server.ingest.sequencer import Admission, IngestState
from evs_server.ingest.tally import Tally
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.model import Batch, TickRun

PUT_SECONDS: Final = 5.0
"""How long a batch is tried to be put in, and the journal waited for."""
AGAIN_SECONDS: Final = 0.05
LIFE_SECONDS: Final = 3_600.0
"""Between two batches without events; far less than the log is kept for."""
LANES: Final = 16
"""Batches of unsequenced callers that are on their way into the log at a time: each lane is a source of its own."""


@dataclass(frozen=True, slots=True)
class _Put:
    """A batch that is in the log, and from which position on; ``parts`` is None if nothing of it had to be put in."""

    admission: Admission
    finding: Finding
    parts: Parts | None = None
    first_position: int = 0


class Inlet:
    """
    Takes batches in, and lets those wait who want to know when they are durable.

    Args:
        name: The gateway's own, of which there is no other.
        accounts: Looks up accounts and settlements that are not known here.

    Attributes:
        tally: What became of events, but for what shards refuse.
    """

    def __init__(
        self,
        name: str,
        lifecycle: Lifecycle,
        log: EventLog,
        journal: Journal,
        accounts: Accounts,
        hearing: Hearing,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._name = name
        self._lifecycle = lifecycle
        self._log = log
        self._journal = journal
        self._accounts = accounts
        self._hearing = hearing
        self._progress = progress
        self._clock = clock
        self._turns: dict[str, asyncio.Lock] = {}
        self._lanes: asyncio.Queue[str] = asyncio.Queue()
        for lane in range(LANES):
            self._lanes.put_nowait(f"{name}/{lane}")
        self._on_the_way: dict[str, int] = {}
        self._folded = asyncio.Event()
        self._news: asyncio.Future[None] | None = None
        self.tally = Tally()
        lifecycle.on_change(self._changed_phase)

    async def take(self, batch: Batch) -> Outcome:
        """
        Put what is new of a batch into the log, and say what shards made of it, as far as they have by then.

        Raises:
            Recovering, ShuttingDown: If this gateway does not serve.
            LogUnavailable: If the log is away; whether the batch is in it may be unknown.
        """
        return await self.outcome(await self.put(batch))

    async def put(self, batch: Batch, behind: Sequence[Placed] = (), *, whole: bool = False) -> Placed:
        """
        Put what is new of a batch into the log.

        Args:
            behind: What the same caller has put in and has no answer to yet. Shards are asked of the batch's accounts
                and settlements when they have applied that, or have had their time.
            whole: Whether a batch that ends early is not to count: its caller comes again with less of it.

        Raises:
            As ``take``.
        """
        self._lifecycle.require_serving()
        batch_id = uuid4().hex
        told = self._hearing.told_of(batch_id)
        async with self._turn(batch) as source:
            put = await self._put_in(batch, batch_id, source, behind)
            placed = self._placed(batch, _outcome(batch, put))
        if not (whole and put.admission.error):
            self.tally.count(batch, placed.outcome)
        shards = () if put.parts is None else _awaited(put.parts)
        return replace(placed, told=told, shards=shards, position=put.first_position)

    def refused(self, batch: Batch, error: EvsError) -> Placed:
        """
        A batch as it is when ``put`` has raised an error.

        Raises:
            Recovering, ShuttingDown: If this gateway does not serve.
        """
        self._lifecycle.require_serving()
        self.tally.count_untaken(batch, error)
        return self._placed(batch, Outcome(error=error))

    def _placed(self, batch: Batch, outcome: Outcome) -> Placed:
        state = self._journal.state(batch.source) if batch.first_sequence else IngestState()
        return Placed(batch.source, batch.first_sequence, len(batch), outcome, state)

    async def outcome(self, placed: Placed) -> Outcome:
        """What has become of a batch that was put in, once shards have applied it or have had their time."""
        await self._progress.reached(placed.shards, placed.position)
        return placed.with_told()

    # --- for the servicer, as of the gate ---------------------------------------------------------------------

    def state(self, source: str) -> IngestState:
        """How far a source is."""
        self._lifecycle.require_serving()
        return self._journal.state(source)

    @property
    def degraded_since_ms(self) -> int | None:
        """Since when some shard has not been getting stored what it applies (unix ms); None if all is well."""
        return self._hearing.degraded_since_ms

    def news(self) -> "asyncio.Future[None]":
        """Done when more is durable, or the phase changes; shared by all who wait, so nobody may cancel it."""
        if self._news is None or self._news.done():
            self._news = asyncio.get_running_loop().create_future()
        return self._news

    def require_serving(self) -> None:
        """As ``Lifecycle.require_serving``."""
        self._lifecycle.require_serving()

    # --- the journal ------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """
        Fold the journal, until cancelled.

        Raises:
            LogGap: If the log has dropped what this gateway has yet to see.
        """
        async for entries in self._log.follow((subjects.SOURCES,), self._journal.position):
            for each in entries:
                entry = decode_journal(each.data)
                self._journal.fold(each.position, entry)
                if entry.batch_id in self._on_the_way:
                    self._on_the_way[entry.batch_id] = each.position
                self._journal.position = each.position
            self.settle()
            self._folded.set()
            self._folded = asyncio.Event()

    async def followed_to(self, position: int) -> None:
        """Return once the journal is folded up to a position."""
        while self._journal.position < position:
            await self._folded.wait()

    def settle(self) -> None:
        """Take note that shards may have committed more, and wake who waits for it."""
        if self._journal.settle({shard: each.committed for shard, each in self._progress.all().items()}):
            self._wake()

    async def tell_of_life(self) -> None:
        """Put a batch without events into the log now and then, until cancelled; see ``split.sign_of_life``."""
        while True:
            await asyncio.sleep(LIFE_SECONDS)
            with suppress(LogUnavailable):
                await self.put_sign_of_life()

    async def put_sign_of_life(self) -> int:
        """
        The position of a batch without events that every shard reads, and commits.

        Raises:
            LogUnavailable: If the log is away.
        """
        lane, batch_id = await self._lanes.get(), uuid4().hex
        try:
            parts = sign_of_life(batch_id=batch_id, taken_ms=self._clock.now_ms(), gateway=lane)
            position = await self._log.append(*encode_batch(parts), self._journal.last_position(lane), batch_id)
            self._journal.fold(position, parts.journal)
            return position
        except Superseded as error:
            # An answer that was lost: it is in the log.
            await self._catch_up(lane, error.last)
            return error.last
        finally:
            self._lanes.put_nowait(lane)

    # --- inside -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, batch: Batch) -> AsyncIterator[str]:
        """The source that a batch is journalled under, and nobody else putting in anything for it here."""
        if batch.first_sequence:
            async with self._turns.setdefault(batch.source, asyncio.Lock()):
                yield batch.source
            return
        lane = await self._lanes.get()
        try:
            yield lane
        finally:
            self._lanes.put_nowait(lane)

    async def _put_in(self, batch: Batch, batch_id: str, source: str, behind: Sequence[Placed]) -> _Put:
        give_up_at = self._clock.monotonic() + PUT_SECONDS
        self._on_the_way[batch_id] = 0
        put: _Put | None = None
        try:
            while True:
                if put is not None and self._on_the_way[batch_id]:
                    return _placed(put, self._on_the_way[batch_id])
                # Together, before anything is awaited: what is judged by one entry must not be put in behind another.
                admission, expected = self._journal.admit(batch), self._journal.last_position(source)
                if admission.error is not None or admission.first_new >= admission.end:
                    return _Put(admission, Finding.nothing())
                finding = await self._accounts.find(batch, admission, lambda shards: self._caught_up(shards, behind))
                parts = split(
                    batch, admission.first_new, admission.end, left_out=finding.left_out, batch_id=batch_id,
                    taken_ms=self._clock.now_ms(), gateway=source,
                )  # fmt: skip
                put = _Put(admission, finding, parts)
                if not batch.first_sequence and not parts.of_shard and parts.shared is None:
                    return _Put(admission, finding)
                try:
                    position = await self._log.append(*encode_batch(parts), expected, batch_id)
                except Superseded as error:
                    await self._catch_up(source, error.last)
                except LogUnavailable:
                    if self._clock.monotonic() > give_up_at:
                        raise
                    await asyncio.sleep(AGAIN_SECONDS)
                else:
                    self._journal.fold(position, parts.journal)
                    return _placed(put, position)
        finally:
            del self._on_the_way[batch_id]

    async def _caught_up(self, shards: Collection[int], behind: Sequence[Placed]) -> None:
        """Return once some shards have applied what was put in before, or have had their time."""
        for placed in behind:
            await self._progress.reached(set(placed.shards).intersection(shards), placed.position)

    async def _catch_up(self, source: str, last: int) -> None:
        """Return once everything is folded that the log has of a source."""
        if last <= self._journal.position:
            # Nothing has come since: what is remembered here has been dropped from the log for its age.
            self._journal.correct_last(source, last)
            return
        try:
            async with asyncio.timeout(PUT_SECONDS):
                await self.followed_to(last)
        except TimeoutError:
            raise LogUnavailable(
                f"the journal is read up to position {self._journal.position} of the log, and source {source} is at"
                f" {last}; try again"
            ) from None

    def _changed_phase(self, phase: Phase) -> None:
        if phase is Phase.STOPPING:
            self._progress.end()
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _placed(put: _Put, position: int) -> _Put:
    assert put.parts is not None
    return _Put(put.admission, put.finding, put.parts, position - put.parts.journal.part_count)


def _awaited(parts: Parts) -> Collection[int]:
    """The shards whose answer a batch's caller is owed: all if there are ticks, otherwise those with events of it."""
    if parts.shared is not None and any(isinstance(run.run, TickRun) for run in parts.shared.runs):
        return range(SHARD_COUNT)
    return parts.of_shard.keys()


def _outcome(batch: Batch, put: _Put) -> Outcome:
    first, end = put.admission.first_new, put.admission.end
    refusals: dict[int, RequestError] = {
        index: error for index, error in batch.refusals.items() if first <= index < end
    }
    refusals |= put.finding.refused
    return Outcome(
        duplicate_count=first + len(put.finding.repeated),
        end=end,
        refusals=dict(sorted(refusals.items())),
        error=put.admission.error,
    )
