"""An EVS for the tests of clients: it keeps the contract of ingest in a list and, on request, misbehaves."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio
from evs.v1 import evs_pb2
from evs_client import Event
from evs_client.testing import events_in

PATIENCE_S = 10

Context = grpc.aio.ServicerContext[Any, Any]
Batch = evs_pb2.StreamEventsRequest
Answer = evs_pb2.StreamEventsResponse
Reader = evs_pb2.SubscribeEquityResponse
Deed = Callable[["ScriptedEvs", Batch, Context], Awaitable[Answer | None]]


@dataclass
class ScriptedEvs:
    """
    One source's ingest as DESIGN 5 has it, and readers' streams, word for word as ``streams`` has them.

    Attributes:
        applied: Events, whose sequences are their places counted from 1.
        durable: How many of them survive ``crash``.
        prompt: Whether a batch is durable once it is applied; otherwise ``commit`` makes it so.
        refuse: Reasons by sequence.
        script: What to do with the next batches instead of ``take``.
        streams: What to tell each reader in turn, messages and perhaps a status to end with; then nothing more.
    """

    epoch: int = 0
    applied: list[Event] = field(default_factory=list)
    durable: int = 0
    prompt: bool = True
    refuse: dict[int, str] = field(default_factory=dict)
    script: deque[Deed] = field(default_factory=deque)
    requests: list[Batch] = field(default_factory=list)
    states_asked: int = 0
    metadata_seen: set[tuple[str, str]] = field(default_factory=set)
    streams: deque[list[Reader | grpc.StatusCode]] = field(default_factory=deque)
    readers_gone: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(reached)

    async def announce(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def commit(self) -> None:
        self.durable = len(self.applied)
        await self.announce()

    def crash(self) -> None:
        del self.applied[self.durable :]

    def watermarks(self, **rest: Any) -> Answer:
        return Answer(applied_sequence=len(self.applied), durable_sequence=self.durable, **rest)

    async def take(self, batch: Batch, _context: Context) -> Answer:
        if batch.epoch > self.epoch:
            self.epoch, self.applied, self.durable = batch.epoch, [], 0
        refusals, duplicate_count = [], 0
        for index, event in enumerate(events_in(batch)):
            sequence = batch.first_sequence + index
            if blocking := self._blocking_reason(batch.epoch, sequence, event):
                refusals.append(refusal(sequence, index, blocking))
                break
            if sequence <= len(self.applied):
                duplicate_count += 1
                continue
            if reason := self.refuse.get(sequence):
                refusals.append(refusal(sequence, index, reason))
            self.applied.append(event)
        if self.prompt:
            self.durable = len(self.applied)
        return self.watermarks(refusals=refusals, duplicate_count=duplicate_count, batch_answer=True)

    def _blocking_reason(self, epoch: int, sequence: int, event: Event) -> str | None:
        if epoch < self.epoch:
            return "FAILED_PRECONDITION"
        if sequence > len(self.applied) + 1:
            return "ABORTED"
        if sequence <= len(self.applied) and self.applied[sequence - 1] != event:
            return "ALREADY_EXISTS"
        return None

    # --- the service ---------------------------------------------------------------------------------------------

    async def get_ingest_state(
        self, request: evs_pb2.GetIngestStateRequest, context: Context
    ) -> evs_pb2.GetIngestStateResponse:
        self.states_asked += 1
        self.metadata_seen |= {(key, str(value)) for key, value in context.invocation_metadata() or ()}
        await self.announce()
        await self.until(lambda: self.durable >= request.wait_durable_sequence)
        return evs_pb2.GetIngestStateResponse(
            epoch=self.epoch, applied_sequence=len(self.applied), durable_sequence=self.durable
        )

    async def stream_events(self, batches: AsyncIterator[Batch], context: Context) -> None:
        one_at_a_time = asyncio.Lock()
        teller = asyncio.create_task(self._tell_durable(context, one_at_a_time))
        try:
            async for batch in batches:
                self.requests.append(batch)
                answer = await (self.script.popleft() if self.script else ScriptedEvs.take)(self, batch, context)
                if answer is not None:
                    async with one_at_a_time:
                        await context.write(answer)
                await self.announce()
        finally:
            teller.cancel()
            await asyncio.wait([teller])

    async def _tell_durable(self, context: Context, one_at_a_time: asyncio.Lock) -> None:
        while True:
            told = self.durable
            async with self._news:
                await self._news.wait_for(lambda told=told: self.durable > told)  # type: ignore[misc]
            async with one_at_a_time:
                await context.write(self.watermarks())

    async def subscribe_equity(
        self, _request: evs_pb2.SubscribeEquityRequest, context: Context
    ) -> AsyncIterator[Reader]:
        try:
            for message in self.streams.popleft() if self.streams else ():
                if not isinstance(message, Reader):
                    await context.abort(message, "as the script says")
                yield message
            await asyncio.Event().wait()
        finally:
            self.readers_gone += 1
            await self.announce()


def refusal(sequence: int, index: int, reason: str) -> evs_pb2.Refusal:
    return evs_pb2.Refusal(sequence=sequence, index=index, reason=reason, message=f"event {sequence} as scripted")


# --- misdeeds ----------------------------------------------------------------------------------------------------


async def take_and_drop(evs: ScriptedEvs, batch: Batch, context: Context) -> NoReturn:
    """The line breaks after the batch is applied and before it is answered."""
    await evs.take(batch, context)
    await context.abort(grpc.StatusCode.UNAVAILABLE, "dropped after applying")


async def take_and_crash(evs: ScriptedEvs, batch: Batch, context: Context) -> NoReturn:
    """EVS answers, and dies before it is durable."""
    await context.write(await evs.take(batch, context))
    evs.crash()
    await context.abort(grpc.StatusCode.UNAVAILABLE, "crashed")


async def ignore(_evs: ScriptedEvs, _batch: Batch, _context: Context) -> None:
    """The batch vanishes, and nobody says so."""


def refuse_all(reason: str) -> Deed:
    """The batch is refused from its first event on."""

    async def deed(evs: ScriptedEvs, batch: Batch, _context: Context) -> Answer:
        return evs.watermarks(refusals=[refusal(batch.first_sequence, 0, reason)], batch_answer=True)

    return deed


def fail(code: grpc.StatusCode) -> Deed:
    """The stream ends before the batch is applied."""

    async def deed(_evs: ScriptedEvs, _batch: Batch, context: Context) -> NoReturn:
        await context.abort(code, "as the script says")

    return deed


drop = fail(grpc.StatusCode.UNAVAILABLE)


@asynccontextmanager
async def served(evs: ScriptedEvs, target: str) -> AsyncIterator[None]:
    """Serve it at ``target`` by a gRPC server of its own; the methods it does not have answer UNIMPLEMENTED."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handlers(evs),))
    server.add_insecure_port(target)
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


def handlers(evs: ScriptedEvs) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        "evs.v1.EquityValuationService",
        {
            "GetIngestState": grpc.unary_unary_rpc_method_handler(
                evs.get_ingest_state,
                evs_pb2.GetIngestStateRequest.FromString,
                evs_pb2.GetIngestStateResponse.SerializeToString,
            ),
            "StreamEvents": grpc.stream_stream_rpc_method_handler(
                evs.stream_events, Batch.FromString, Answer.SerializeToString
            ),
            "SubscribeEquity": grpc.unary_stream_rpc_method_handler(
                evs.subscribe_equity, evs_pb2.SubscribeEquityRequest.FromString, Reader.SerializeToString
            ),
        },
    )
