"""
Events in batches over one stream, against a bare stream that merely decodes the same bytes (``stream/decode``).

EVS is ``evs serve`` with its database, in a process of its own; the yardstick is a bare ``grpc.aio`` server in another,
which makes columns of what it gets and answers. Both get the same ready-made bytes from the same caller, with as many
batches on their way at a time; what is timed is until the last batch is answered (*applied*), or until EVS says that
the last event is committed (*durable*). A round begins when all before it is durable: else PostgreSQL would be writing
what the round before it had left, on one of the cores. Every account has traded in every symbol before the first: what
is measured is trading, a million positions wide, and not how tables grow. *Columns* are runs as long as the batch;
*rows* are runs of one event each, the worst that a sender can do.

``stream/decode`` is columns in batches of 1,000 to applied. ``stream/decode/in_process`` has decoding without any
network as its yardstick, in this process: what no server can reach.
"""

import asyncio
import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from bench.command import run
from bench.events import SYMBOLS, trades
from bench.harness import Result, Sample, measure_async
from bench.serving import an_exchange, evs, process
from bench.yardsticks import bare_stream

ROUNDS = 5
ACCOUNTS = 10_000
WINDOW = 8
"""Batches on their way at a time."""
DURABLE_SECONDS = 60.0

STREAM_EVENTS = "/evs.v1.EquityValuationService/StreamEvents"


@dataclass(frozen=True, slots=True)
class Shape:
    """One case: how many events a batch has, in runs of how many, and how many batches make a round."""

    batch: int
    run: int
    batches: int

    @property
    def name(self) -> str:
        """As it stands in the results."""
        return f"{self.batch}_{'rows' if self.run == 1 else 'columns'}"


SHAPES = (
    Shape(10, 10, 1_000), Shape(100, 100, 600), Shape(1_000, 1_000, 200),
    Shape(10, 1, 1_000), Shape(100, 1, 150), Shape(1_000, 1, 20),
)  # fmt: skip
HEADLINE = SHAPES[2]
HEADLINE_FACTOR = 4
"""How many times as many rounds it has: it is short, and one is not like the next."""


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure each shape, to applied and to durable; the results."""
    async with _servers() as (sender, bare):
        results = [
            await _case(shape, sender, bare, HEADLINE_FACTOR * rounds if shape is HEADLINE else rounds)
            for shape in SHAPES
        ]
        results += [await _case(shape, sender, bare, rounds, until_durable=True) for shape in SHAPES]
        results.append(await _against_decoding(HEADLINE, sender, rounds))
    headline = results[SHAPES.index(HEADLINE)]
    return [replace(headline, name="stream/decode"), *results]


class Line:
    """One open stream to a server, and what it was sent."""

    def __init__(self, channel: grpc.aio.Channel, method: str) -> None:
        self._open: Any = channel.stream_stream(method, response_deserializer=pb.StreamEventsResponse.FromString)

    async def send(self, messages: Iterable[bytes]) -> tuple[float, int]:
        """Seconds until every batch was answered, and how far the last answer says the server has come."""
        call, room, applied = self._open(), asyncio.Semaphore(WINDOW), 0
        began = time.perf_counter()

        async def write() -> None:
            for message in messages:
                await room.acquire()
                await call.write(message)
            await call.done_writing()

        writing = asyncio.ensure_future(write())
        async for response in call:
            if response.batch_answer:
                assert not response.refusals, response.refusals[0].message
                applied = response.applied_sequence
                room.release()
        await writing
        return time.perf_counter() - began, applied


@contextlib.asynccontextmanager
async def _servers() -> AsyncIterator[tuple["Sender", Line]]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = await stack.enter_async_context(an_exchange(folder, ACCOUNTS))
        address, _ = await stack.enter_async_context(evs(dsn, folder / "data"))
        yardstick, _ = await stack.enter_async_context(process(sys.executable, "-m", bare_stream.__name__))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        bare = await stack.enter_async_context(grpc.aio.insecure_channel(yardstick))
        stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
        sender = Sender(Line(channel, STREAM_EVENTS), stub)
        await sender.send(sender.batches.that_open_positions())
        yield sender, Line(bare, bare_stream.METHOD)


class Batches:
    """Numbered events in batches; each round's bytes are made once for both sides."""

    def __init__(self) -> None:
        self._next_sequence = 1
        self._round: tuple[object, list[bytes]] = (None, [])

    def that_open_positions(self) -> Iterator[bytes]:
        """A trade of every account in every symbol."""
        for symbol in range(SYMBOLS):
            first = self._next_sequence
            self._next_sequence += ACCOUNTS
            columns = pb.TradeColumns(
                account_id=range(1, ACCOUNTS + 1),
                symbol_id=[symbol] * ACCOUNTS,
                side=[pb.TRADE_SIDE_BUY] * ACCOUNTS,
                quantity_bp=[10_000] * ACCOUNTS,
                price_cents=[1_000] * ACCOUNTS,
                settlement_id=range(first, first + ACCOUNTS),
            )
            runs = [pb.EventRun(trades=columns)]
            yield pb.StreamEventsRequest(source="bench", epoch=1, first_sequence=first, runs=runs).SerializeToString()

    def of_round(self, shape: Shape, number: int) -> list[bytes]:
        """The batches of a round."""
        if self._round[0] != (shape, number):
            self._round = ((shape, number), [self._batch(shape).SerializeToString() for _ in range(shape.batches)])
        return self._round[1]

    def _batch(self, shape: Shape) -> pb.StreamEventsRequest:
        first = self._next_sequence
        self._next_sequence += shape.batch
        starts = range(first, first + shape.batch, shape.run)
        runs = [trades(range(start, start + shape.run), 1, ACCOUNTS, settled=True) for start in starts]
        return pb.StreamEventsRequest(source="bench", epoch=1, first_sequence=first, runs=runs)


class Sender:
    """Who sends to EVS, and waits for what was sent."""

    def __init__(self, line: Line, stub: Any) -> None:
        self.batches = Batches()
        self._line = line
        self._stub = stub
        self._applied = 0

    async def send(self, messages: Iterable[bytes]) -> float:
        """Seconds until every batch was answered."""
        seconds, self._applied = await self._line.send(messages)
        return seconds

    async def durable(self) -> None:
        """Return when all that was applied is committed."""
        request = pb.GetIngestStateRequest(source="bench", wait_durable_sequence=self._applied)
        await self._stub.GetIngestState(request, timeout=DURABLE_SECONDS)


async def _case(shape: Shape, sender: Sender, bare: Line, rounds: int, *, until_durable: bool = False) -> Result:
    events = shape.batch * shape.batches

    async def ours(number: int) -> Sample:
        messages = sender.batches.of_round(shape, number)
        await sender.durable()
        began = time.perf_counter()
        seconds = await sender.send(messages)
        if until_durable:
            await sender.durable()
            seconds = time.perf_counter() - began
        return Sample(seconds / events, events)

    async def yardstick(number: int) -> Sample:
        messages = sender.batches.of_round(shape, number)
        await sender.durable()
        seconds, decoded = await bare.send(messages)
        return Sample(seconds / events, decoded)

    goal = "durable" if until_durable else "applied"
    return await measure_async(
        f"stream/{shape.name}/{goal}", ours, yardstick, rounds=rounds, unit="us", note="per event; bare stream"
    )


async def _against_decoding(shape: Shape, sender: Sender, rounds: int) -> Result:
    events = shape.batch * shape.batches

    async def ours(number: int) -> Sample:
        messages = sender.batches.of_round(shape, number)
        await sender.durable()
        return Sample(await sender.send(messages) / events, events)

    async def yardstick(number: int) -> Sample:
        messages = sender.batches.of_round(shape, number)
        await sender.durable()
        began = time.perf_counter()
        decoded = sum(itertools.chain(map(bare_stream.decode, messages)))
        return Sample((time.perf_counter() - began) / events, decoded)

    return await measure_async(
        "stream/decode/in_process", ours, yardstick, rounds=rounds, unit="us", note="per event; decoding, no network"
    )


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
