"""
The connection of a sender: opens the numbering, sends the outbox over one stream, begins again whenever it breaks.

Lives here: everything that awaits EVS on behalf of ``ExecutionManagerClient``. Not here: what is accepted (the client),
what is kept and in which order (``outbox``), what a refusal means (``refusals``).

Invariants: one ``StreamEvents`` call at a time; batches leave in order; every call has a deadline or, where EVS owes no
answer, the channel's keepalive.

**Why a fresh process opens a new epoch** (DESIGN 5). It has lost its predecessor's outbox. What EVS had made durable is
safe; what it had only applied is lost if EVS crashes too, and nobody could send it again. So the process first waits
until everything applied is durable. Continuing the same numbering would then lose nothing either, but a predecessor
that is still alive, or whose last batch still travels, would mix its events into ours, and each would take the other's
for its own duplicates. A new epoch shuts it out (``FAILED_PRECONDITION``). The epoch comes into being with its first
event, so that opening needs no further agreement with EVS.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import grpc.aio
from evs.v1 import evs_pb2, evs_pb2_grpc

from evs_client.backoff import Backoff
from evs_client.channel import MetadataSource, metadata_now
from evs_client.encode import encode_batch, event_of
from evs_client.errors import SenderFailed, SequenceConflict, StaleEpoch, refused_for_good
from evs_client.outbox import Outbox
from evs_client.refusals import CONSEQUENCE_OF_REASON, Consequence, Refusal, RefusalLog
from evs_client.tuning import SenderTuning

logger = logging.getLogger(__name__)

# The asynchronous stub is a class of the type checker's only; at run time there is one stub for both worlds.
Stub: TypeAlias = "evs_pb2_grpc.EquityValuationServiceAsyncStub"
EventsCall = grpc.aio.StreamStreamCall[evs_pb2.StreamEventsRequest, evs_pb2.StreamEventsResponse]


@dataclass(frozen=True, slots=True)
class SenderStatistics:
    """
    How a sender is doing, at one moment.

    Attributes:
        epoch: Its numbering; 0 while not opened.
        streaming: Whether it has a stream to EVS.
        accepted_sequence: The last event accepted.
        applied_sequence: The last one applied in EVS's memory.
        durable_sequence: The last one committed.
        kept_count: Events held because they are not durable.
        unsent_count: Of those, the ones yet to be sent, or sent again.
        in_flight_count: Batches sent and not answered.
        batch_count: Batches sent since the start.
        resent_count: Events that had to be sent again.
        duplicate_count: Events that EVS had applied before.
        refused_count: Events that EVS refused for good.
        reconnect_count: Streams opened after the first.
        full_count: How often a caller found no room.
    """

    epoch: int
    streaming: bool
    accepted_sequence: int
    applied_sequence: int
    durable_sequence: int
    kept_count: int
    unsent_count: int
    in_flight_count: int
    batch_count: int
    resent_count: int
    duplicate_count: int
    refused_count: int
    reconnect_count: int
    full_count: int


class News:
    """Wakes everyone who waits, and knows no conditions: each looks for itself whether it has what it wants."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def announce(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Return at the next announcement."""
        await self._event.wait()


class _Interrupted(Exception):
    """EVS cannot go on with this stream; another one may."""


class Sender:
    """
    Brings one outbox to EVS, for as long as ``run`` runs.

    Args:
        source: The sender's name.
        wanted_epoch: The epoch to number in; None: the next one.
        outbox: What to send.
        tuning: Patience and widths.
        metadata: Sent with every call, such as what ``bearer`` returns.
        on_refused: Told of each refusal, once; None: nobody.
    """

    def __init__(
        self,
        source: str,
        wanted_epoch: int | None,
        outbox: Outbox,
        tuning: SenderTuning,
        *,
        metadata: MetadataSource = (),
        on_refused: Callable[[Refusal], None] | None = None,
    ) -> None:
        self.news = News()
        self.epoch: int | None = None
        self.streaming = False
        self.in_flight_count = 0
        self.batch_count = 0
        self.duplicate_count = 0
        self.reconnect_count = 0
        self.resent_count = 0
        self.refusals = RefusalLog(tuning.refusals_kept)
        self.trouble = "EVS has not been asked yet"
        self._source = source
        self._wanted_epoch = wanted_epoch
        self._outbox = outbox
        self._tuning = tuning
        self._metadata = metadata
        self._on_refused = on_refused
        self._backoff = Backoff(tuning.backoff_first_s, tuning.backoff_max_s)
        self._work = asyncio.Event()
        self._patience: asyncio.Timeout | None = None

    def wake(self) -> None:
        """Say that there is something to send."""
        self._work.set()

    def statistics(self, full_count: int) -> SenderStatistics:
        """How things are now; ``full_count`` is the client's, who alone sees it."""
        return SenderStatistics(
            epoch=self.epoch or 0,
            streaming=self.streaming,
            accepted_sequence=self._outbox.accepted_sequence,
            applied_sequence=self._outbox.applied_sequence,
            durable_sequence=self._outbox.durable_sequence,
            kept_count=len(self._outbox),
            unsent_count=self._outbox.unsent_count,
            in_flight_count=self.in_flight_count if self.streaming else 0,
            batch_count=self.batch_count,
            resent_count=self.resent_count,
            duplicate_count=self.duplicate_count,
            refused_count=self.refusals.count,
            reconnect_count=self.reconnect_count,
            full_count=full_count,
        )

    async def run(self, stub: Stub) -> None:
        """
        Send to EVS until cancelled.

        Raises:
            SenderFailed: If EVS and the outbox contradict each other.
            CallRefused: If EVS refuses this caller for good.
        """
        while True:
            try:
                await self._synchronise(stub)
                await self._converse(stub)
            except grpc.aio.AioRpcError as error:
                if refused := refused_for_good(error):
                    raise refused from error
                self.trouble = f"{error.code().name}: {error.details()}"
            except TimeoutError:
                self.trouble = f"no answer to a batch within {self._tuning.answer_deadline_s} s"
            except _Interrupted as interruption:
                self.trouble = str(interruption)
            pause_s = self._backoff.next_s()
            logger.warning("source %s: %s; next try in %.2f s", self._source, self.trouble, pause_s)
            await asyncio.sleep(pause_s)

    # --- before the stream: agree where to begin -----------------------------------------------------------------

    async def _synchronise(self, stub: Stub) -> None:
        state = await self._ingest_state(stub)
        if self.epoch is None:
            state = await self._await_predecessor(stub, state)
            self._open(state)
        else:
            self._resume(self.epoch, state)
        self.news.announce()

    async def _ingest_state(self, stub: Stub, wait_durable_sequence: int = 0) -> evs_pb2.GetIngestStateResponse:
        return await stub.GetIngestState(
            evs_pb2.GetIngestStateRequest(source=self._source, wait_durable_sequence=wait_durable_sequence),
            timeout=self._tuning.call_deadline_s,
            metadata=metadata_now(self._metadata),
        )

    async def _await_predecessor(
        self, stub: Stub, state: evs_pb2.GetIngestStateResponse
    ) -> evs_pb2.GetIngestStateResponse:
        while state.durable_sequence < state.applied_sequence:
            self.trouble = (
                f"epoch {state.epoch} is applied up to {state.applied_sequence} "
                f"and durable only up to {state.durable_sequence}"
            )
            state = await self._ingest_state(stub, state.applied_sequence)
        return state

    def _open(self, state: evs_pb2.GetIngestStateResponse) -> None:
        epoch = self._wanted_epoch if self._wanted_epoch is not None else state.epoch + 1
        if epoch < state.epoch:
            raise StaleEpoch(f"epoch {epoch} of source {self._source!r} is older than EVS's {state.epoch}")
        if epoch == state.epoch:
            self._outbox.start_after(state.durable_sequence)
        self.epoch = epoch
        logger.info("source %s: epoch %d, next sequence %d", self._source, epoch, self._outbox.durable_sequence + 1)

    def _resume(self, epoch: int, state: evs_pb2.GetIngestStateResponse) -> None:
        if state.epoch > epoch:
            raise StaleEpoch(f"epoch {epoch} of source {self._source!r} is closed: EVS is at epoch {state.epoch}")
        # An epoch comes into being with its first event: EVS may not know ours yet, or, after a crash, any more.
        opened = state.epoch == epoch
        again = self._outbox.rewind(
            state.applied_sequence if opened else 0,
            state.durable_sequence if opened else 0,
        )
        self.reconnect_count += 1
        self.resent_count += again
        logger.info(
            "source %s: epoch %d again, from sequence %d, %d events once more",
            self._source, epoch, self._outbox.durable_sequence + 1, again,
        )  # fmt: skip

    # --- the stream ----------------------------------------------------------------------------------------------

    async def _converse(self, stub: Stub) -> None:
        call = stub.StreamEvents(metadata=metadata_now(self._metadata))
        self.in_flight_count = 0
        tasks = (
            asyncio.create_task(self._read(call), name="evs-client-read"),
            asyncio.create_task(self._write(call), name="evs-client-write"),
        )
        reader, writer = tasks
        try:
            async with asyncio.timeout(None) as self._patience:
                self.streaming = True
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.streaming = False
            self._patience = None
            writer.cancel()
            # The reader ends by itself, with the call's status if it has one: that is the reason worth telling.
            call.cancel()
            await asyncio.wait(tasks)
        errors = [task.exception() for task in (reader, writer) if not task.cancelled()]
        raise next((error for error in errors if error is not None), _Interrupted("the call was cancelled"))

    async def _write(self, call: EventsCall) -> None:
        while True:
            self._work.clear()
            batch = None
            if self.in_flight_count < self._tuning.batches_in_flight_max:
                batch = self._outbox.take(self._tuning.batch_events_max)
            if batch is None:
                await self._work.wait()
                continue
            assert self.epoch is not None
            request = encode_batch(self._source, self.epoch, batch.first_sequence, batch.records)
            self.in_flight_count += 1
            self.batch_count += 1
            if self.in_flight_count == 1:
                self._expect_answer()
            try:
                await call.write(request)
            except asyncio.InvalidStateError:
                return  # the call is over, and the reader is about to say why

    async def _read(self, call: EventsCall) -> None:
        try:
            while isinstance(response := await call.read(), evs_pb2.StreamEventsResponse):
                self._take_answer(response)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                # The call before this one was let in. Whether the next token is good, the next call finds out.
                raise _Interrupted("the token has ended") from error
            raise
        raise _Interrupted("EVS ended the stream")

    def _expect_answer(self) -> None:
        if self._patience is not None:
            due_s = asyncio.get_running_loop().time() + self._tuning.answer_deadline_s
            self._patience.reschedule(due_s if self.in_flight_count else None)

    def _take_answer(self, response: evs_pb2.StreamEventsResponse) -> None:
        for refusal in response.refusals:
            consequence = CONSEQUENCE_OF_REASON.get(refusal.reason, Consequence.GIVE_UP)
            if consequence is not Consequence.GO_ON:
                # The answer's watermarks may be those of another epoch: GetIngestState will tell.
                raise _ending(refusal, consequence)
            self._note(refusal)
        durable_before = self._outbox.durable_sequence
        self._outbox.acknowledge(response.applied_sequence, response.durable_sequence)
        if self._outbox.durable_sequence > durable_before:
            self.refusals.forget_durable(self._outbox.durable_sequence)
        if response.batch_answer:
            self.in_flight_count -= 1
            self.duplicate_count += response.duplicate_count
            self._backoff.reset()
            self._expect_answer()
            self.wake()
        self.news.announce()

    def _note(self, refusal: evs_pb2.Refusal) -> None:
        record = self._outbox.record_at(refusal.sequence)
        event = None if record is None else event_of(record)
        noted = Refusal(refusal.sequence, refusal.reason, refusal.message, event)
        if not self.refusals.note(noted):
            return
        logger.debug("source %s: event %d refused, %s", self._source, noted.sequence, noted.message)
        if self._on_refused is not None:
            # By way of the loop, so that whatever it raises is reported there and harms nobody here.
            asyncio.get_running_loop().call_soon(self._on_refused, noted)


def _ending(refusal: evs_pb2.Refusal, consequence: Consequence) -> Exception:
    words = f"event {refusal.sequence} was refused, {refusal.reason}: {refusal.message}"
    if consequence is Consequence.SEND_AGAIN:
        return _Interrupted(words)
    if refusal.reason == "ALREADY_EXISTS":
        return SequenceConflict(words)
    return StaleEpoch(words) if refusal.reason == "FAILED_PRECONDITION" else SenderFailed(words)
