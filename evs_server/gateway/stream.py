"""
One sender's stream at a gateway: batches go into the log one after the other, and are answered in that order.

An answer waits for shards to apply its batch, so that its sender reads what it has sent. What comes meanwhile is read
and goes into the log, several batches as one if they are there (``joint``), as long as there is room for more on their
way; while there is none nothing is read, and the sender is held up. Answers are what they would be if each batch had
waited for the answer before it: none tells of what comes after its batch, and what cannot be read ends the stream when
all before it is answered. Touches I/O.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from evs.v1 import evs_pb2 as pb

from evs_server.errors import EvsError
from evs_server.gateway.inlet import Inlet
from evs_server.gateway.joint import Placed, Sent, joinable, joined, parted
from evs_server.ingest import codec
from evs_server.ingest.ahead import Awake, abandon
from evs_server.ingest.servicer import answer_to
from evs_server.limits import BATCH_EVENTS_MAX
from evs_server.model import Batch

BATCHES_MAX: Final = 64
"""Batches of one stream that are read and not answered; more of them, if they are small, go into the log as one."""
EVENTS_MAX: Final = BATCH_EVENTS_MAX
"""With so many events in them nothing more is read: as much memory as two of the largest batches take, at most."""
APPENDS_MAX: Final = 8
"""
What of one stream is in the log and not answered, joint batches counted once. With more, whoever comes behind waits
longer for shards; with fewer, shards wait for the next one to get into the log.
"""


class SenderStream:
    """
    One call of ``StreamEvents``.

    Args:
        inlet: Where batches go.
        requests: What the sender sends.
    """

    _commit: "asyncio.Future[None]"

    def __init__(self, inlet: Inlet, requests: AsyncIterator[pb.StreamEventsRequest]) -> None:
        self._inlet = inlet
        self._requests = requests
        self._read: deque[Sent] = deque()
        self._placed: deque[Placed] = deque()
        self._batch_count = 0
        self._event_count = 0
        self._append_count = 0
        self._has_read = Awake()
        self._has_room = asyncio.Event()
        self._awake = Awake()
        self._source = ""
        self._told_durable = 0

    async def answers(self) -> AsyncIterator[pb.StreamEventsResponse]:
        """
        One answer a batch, in order; and news of what is durable, while no batch is on its way.

        Raises:
            InvalidRequest, OutOfBounds: If a batch cannot be read.
            ShuttingDown: If the gateway does not serve any more.
        """
        self._commit = self._awake.by(self._inlet.news())
        putting = self._awake.by(asyncio.ensure_future(self._put_all()))
        try:
            while self._placed or not putting.done():
                if self._placed:
                    yield await self._answer(self._placed[0])
                    self._let_go(self._placed.popleft())
                elif (news := self._news()) is not None:
                    yield news
                else:
                    await self._awake.wait()
            putting.result()
        finally:
            abandon(putting)
            # What others wait for, too, must not remember this stream.
            self._commit.remove_done_callback(self._awake.wake)

    # --- in ---------------------------------------------------------------------------------------------------

    async def _put_all(self) -> None:
        reading = self._has_read.by(asyncio.ensure_future(self._read_all()))
        try:
            while self._read or not reading.done():
                if not self._read:
                    await self._has_read.wait()
                    continue
                batches = [self._read.popleft().batch for _ in range(joinable(self._read))]
                await self._put(batches)
            reading.result()
        finally:
            abandon(reading)

    async def _read_all(self) -> None:
        async for request in self._requests:
            batch = codec.decode_batch(request)
            self._read.append(Sent(batch, request.ByteSize()))
            self._has_read.wake(batch)
            self._batch_count += 1
            self._event_count += len(batch)
            await self._room(lambda: self._batch_count < BATCHES_MAX and self._event_count < EVENTS_MAX)

    async def _put(self, batches: Sequence[Batch]) -> None:
        """Put batches in, jointly if that can be: where they would end early, each is judged by itself."""
        if len(batches) > 1:
            try:
                joint = await self._inlet.put(joined(batches), tuple(self._placed), whole=True)
            except EvsError as error:
                # So it would have been of the first, alone.
                await self._note(self._inlet.refused(batches[0], error))
                batches = batches[1:]
            else:
                if joint.outcome.error is None:
                    await self._note(*parted(joint, batches))
                    return
        for batch in batches:
            try:
                placed = await self._inlet.put(batch, tuple(self._placed))
            except EvsError as error:
                placed = self._inlet.refused(batch, error)
            await self._note(placed)

    async def _note(self, *placed: Placed) -> None:
        """Have what was put in as one be answered; returns once something else may be put in."""
        self._placed += placed
        self._append_count += 1
        self._awake.wake(placed)
        await self._room(lambda: self._append_count < APPENDS_MAX)

    async def _room(self, is_there: Callable[[], bool]) -> None:
        while not is_there():
            self._has_room.clear()
            await self._has_room.wait()

    # --- out --------------------------------------------------------------------------------------------------

    async def _answer(self, placed: Placed) -> pb.StreamEventsResponse:
        outcome = await self._inlet.outcome(placed)
        if not placed.first_sequence:
            return answer_to(0, outcome, 0, 0)
        now, then = self._inlet.state(placed.source), placed.state
        durable = min(now.durable_sequence, then.applied_sequence) if now.epoch == then.epoch else then.durable_sequence
        self._source, self._told_durable = placed.source, durable
        return answer_to(placed.first_sequence, outcome, then.applied_sequence, durable)

    def _let_go(self, placed: Placed) -> None:
        self._batch_count -= 1
        self._event_count -= placed.event_count
        self._append_count -= placed.is_last
        self._has_room.set()

    def _news(self) -> pb.StreamEventsResponse | None:
        """What is durable, if it is more than was told; if it is not, the stream wakes when it may be."""
        if self._commit.done():
            self._commit = self._awake.by(self._inlet.news())
        # Compared before each wait, not after: a commit may come while an answer is being sent.
        state = self._inlet.state(self._source)
        if self._batch_count or state.durable_sequence <= self._told_durable:
            return None
        self._told_durable = state.durable_sequence
        return pb.StreamEventsResponse(applied_sequence=state.applied_sequence, durable_sequence=state.durable_sequence)
