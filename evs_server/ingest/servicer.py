"""
The methods that senders call: decode, take, answer. Touches I/O.

Each method is a door. What an event means is decided behind ``Gate``; what may be said is decided in ``codec``.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.errors import EvsError
from evs_server.ingest import codec
from evs_server.ingest.ahead import Ahead, Awake
from evs_server.ingest.course import Outcome
from evs_server.ingest.sequencer import EventId, IngestState
from evs_server.model import Batch
from evs_server.rpc_status import answers_with_status, status_name, while_serving

Context = grpc.aio.ServicerContext[Any, Any]
_Answer = pb.OnTradeSettledResponse | pb.OnPriceUpdatedResponse | pb.OnCashAdjustedResponse | pb.OnTickCompleteResponse


class Door(Protocol):
    """Where events go in: the gate, or a gateway's inlet."""

    @property
    def degraded_since_ms(self) -> int | None:
        """Since when what is applied has not been getting stored (unix ms); None if all is well."""
        ...

    async def take(self, batch: Batch) -> Outcome:
        """Apply what is new of a batch."""
        ...

    def state(self, source: str) -> IngestState:
        """How far a source is."""
        ...

    def news(self) -> "asyncio.Future[None]":
        """Done when more is durable, or the phase changes; shared by all who wait."""
        ...

    def require_serving(self) -> None:
        """As ``Lifecycle.require_serving``."""
        ...


class SingleDoor(Protocol):
    """
    Where events go in one by one, at once, if they are plain; those that are not have changed nothing.

    Called before a method awaits anything: it has been asked whether EVS serves, and nothing has happened since.
    """

    def take_trade(self, leg: tuple[int, ...], event_id: EventId | None) -> bool:
        """Whether a settled leg is applied."""
        ...

    def take_price(self, symbol_id: int, price_cents: int, event_id: EventId | None) -> bool:
        """Whether a mark is set."""
        ...

    def take_tick(self, tick: int, tick_time_ms: int, event_id: EventId | None) -> int | None:
        """How many accounts a tick has valued; None if it is not completed."""
        ...


class IngestServicer(evs_pb2_grpc.EquityValuationServiceServicer):
    """``OnTradeSettled`` and its kin, ``StreamEvents``, ``GetIngestState``."""

    _gate: Door
    _single_door: SingleDoor | None = None

    @answers_with_status
    async def OnTradeSettled(self, request: pb.OnTradeSettledRequest, _: Context) -> pb.OnTradeSettledResponse:
        """Apply one leg of a settled trade."""
        door, answer = self._single_door, pb.OnTradeSettledResponse()
        if door is not None and door.take_trade(codec.leg(request), codec.event_id(request)):
            self._tell(answer, request.event_id.source)
        else:
            batch = codec.decode_trade(request)
            self._fill(answer, batch, await self._gate.take(batch))
        return answer

    @answers_with_status
    async def OnPriceUpdated(self, request: pb.OnPriceUpdatedRequest, _: Context) -> pb.OnPriceUpdatedResponse:
        """Set a symbol's mark."""
        door, answer = self._single_door, pb.OnPriceUpdatedResponse()
        if door is not None and door.take_price(request.symbol_id, request.price_cents, codec.event_id(request)):
            self._tell(answer, request.event_id.source)
        else:
            batch = codec.decode_price(request)
            self._fill(answer, batch, await self._gate.take(batch))
        return answer

    @answers_with_status
    async def OnCashAdjusted(self, request: pb.OnCashAdjustedRequest, _: Context) -> pb.OnCashAdjustedResponse:
        """Book a deposit or a withdrawal."""
        batch, answer = codec.decode_cash(request), pb.OnCashAdjustedResponse()
        self._fill(answer, batch, await self._gate.take(batch))
        return answer

    @answers_with_status
    async def OnTickComplete(self, request: pb.OnTickCompleteRequest, _: Context) -> pb.OnTickCompleteResponse:
        """Value every account that is dirty."""
        door, answer, valued_count = self._single_door, pb.OnTickCompleteResponse(), None
        if door is not None:
            valued_count = door.take_tick(request.tick_id, request.tick_time, codec.event_id(request))
        if valued_count is not None:
            self._tell(answer, request.event_id.source)
        else:
            batch = codec.decode_tick(request)
            outcome = await self._gate.take(batch)
            self._fill(answer, batch, outcome)
            valued_count = outcome.accounts_valued
        answer.accounts_valued = valued_count
        return answer

    @while_serving
    async def StreamEvents(
        self, request_iterator: AsyncIterator[pb.StreamEventsRequest], _: Context
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """Apply batches in order, answer each, and say when more is durable."""
        source, told_durable, awake = "", 0, Awake()
        coming, news = Ahead(request_iterator, awake), awake.by(self._gate.news())
        try:
            while not coming.is_over:
                # Looked at before each wait, not after: a commit may come while an answer is being sent.
                if news.done():
                    news = awake.by(self._gate.news())
                    state = self._gate.state(source)
                    if state.durable_sequence > told_durable:
                        told_durable = state.durable_sequence
                        yield pb.StreamEventsResponse(
                            applied_sequence=state.applied_sequence, durable_sequence=told_durable
                        )
                        continue
                request = coming.take()
                if request is None:
                    await awake.wait()
                    continue
                batch = codec.decode_batch(request)
                answer = await self._answer(batch)
                if batch.first_sequence:
                    source, told_durable = batch.source, answer.durable_sequence
                yield answer
        finally:
            # What others wait for, too, must not remember this stream.
            news.remove_done_callback(awake.wake)
            coming.close()

    @answers_with_status
    async def GetIngestState(self, request: pb.GetIngestStateRequest, _: Context) -> pb.GetIngestStateResponse:
        """How far a source is, at once or when a sequence is durable; the caller's deadline ends the wait."""
        source = codec.check_source(request.source)
        state = self._gate.state(source)
        while state.durable_sequence < request.wait_durable_sequence:
            await asyncio.shield(self._gate.news())
            state = self._gate.state(source)
        return pb.GetIngestStateResponse(
            epoch=state.epoch,
            applied_sequence=state.applied_sequence,
            durable_sequence=state.durable_sequence,
            degraded_since=self._gate.degraded_since_ms or 0,
        )

    def _fill(self, answer: _Answer, batch: Batch, outcome: Outcome) -> None:
        """Say what became of the one event of a batch; raises why it was not applied."""
        error = outcome.error or outcome.refusals.get(0)
        if error is not None:
            raise error
        if outcome.duplicate_count:
            answer.duplicate = True
        self._tell(answer, batch.source)

    def _tell(self, answer: _Answer, source: str) -> None:
        """Say how far the sender of an event is, if it has numbered it."""
        if source:
            answer.applied_sequence, answer.durable_sequence = self._watermarks(source)

    async def _answer(self, batch: Batch) -> pb.StreamEventsResponse:
        try:
            outcome = await self._gate.take(batch)
        except EvsError as error:
            self._gate.require_serving()
            outcome = Outcome(error=error)
        return answer_to(batch.first_sequence, outcome, *self._watermarks(batch.source))

    def _watermarks(self, source: str) -> tuple[int, int]:
        if not source:
            return 0, 0
        state = self._gate.state(source)
        return state.applied_sequence, state.durable_sequence


def answer_to(first_sequence: int, outcome: Outcome, applied: int, durable: int) -> pb.StreamEventsResponse:
    """
    The answer to a batch.

    Args:
        first_sequence: Of the batch; 0 if unsequenced.
        outcome: What has become of it.
        applied: How far its source is applied; 0 if unsequenced.
        durable: The same of what is committed.
    """
    refusals = [_refusal(first_sequence, index, error) for index, error in outcome.refusals.items()]
    if outcome.error is not None:
        refusals.append(_refusal(first_sequence, outcome.end, outcome.error))
    return pb.StreamEventsResponse(
        applied_sequence=applied,
        durable_sequence=durable,
        refusals=refusals,
        duplicate_count=outcome.duplicate_count,
        batch_answer=True,
        accounts_valued=outcome.accounts_valued,
    )


def _refusal(first_sequence: int, index: int, error: EvsError) -> pb.Refusal:
    sequence = first_sequence + index if first_sequence else 0
    return pb.Refusal(sequence=sequence, index=index, reason=status_name(error), message=error.message)
