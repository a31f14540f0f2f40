"""
What others notice while EVS is at its largest pieces of work: a batch of 65,536 events, a tick of 100,000 accounts.

A probe calls ``GetIngestState``, which does next to nothing, every few milliseconds, over a connection of its own: as
long as the event loop is held up, it waits. The yardstick is the same probe of the same EVS with nothing else to do.
The cost of a round is the longest that a probe has waited; the note has the 99th percentile over all rounds. What is
sent is bytes made beforehand: to make so many events takes the caller, in whose loop the probe waits, longer than EVS.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from bench.command import run
from bench.events import SYMBOLS, trades
from bench.harness import Result, Sample, measure_async
from bench.serving import an_exchange, evs
from bench.stream import STREAM_EVENTS
from evs_server.limits import BATCH_EVENTS_MAX

ROUNDS = 7
ACCOUNTS = 100_000
EVERY_SECONDS = 0.002
QUIET_SECONDS = 0.5
"""How long the probe of a round goes on where nothing else is done."""

Work = Callable[[], Awaitable[Any]]


@dataclass(slots=True)
class Probe:
    """Somebody else's calls, and how long each waited."""

    stub: Any
    seconds: list[float] = field(default_factory=list)

    def during(self, prepare: Callable[[], Work]) -> Callable[[int], Awaitable[Sample]]:
        """The longest wait while something is done that was prepared before."""

        async def sample(_number: int) -> Sample:
            work = prepare()
            working, longest = asyncio.ensure_future(work()), 0.0
            while not working.done():
                began = time.perf_counter()
                await self.stub.GetIngestState(pb.GetIngestStateRequest(source="probe"))
                self.seconds.append(time.perf_counter() - began)
                longest = max(longest, self.seconds[-1])
                await asyncio.sleep(EVERY_SECONDS)
            await working
            return Sample(longest)

        return sample


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure the probe's longest wait under each piece of work; the results."""
    async with _world() as (sender, stub):
        batch = await _case("latency/batch", sender.batch, stub, rounds)
        tick = await _case("latency/tick", sender.tick, stub, rounds)
    return [batch, tick]


async def _case(name: str, prepare: Callable[[], Work], stub: Any, rounds: int) -> Result:
    busy, quiet = Probe(stub), Probe(stub)
    result = await measure_async(
        name, busy.during(prepare), quiet.during(lambda: lambda: asyncio.sleep(QUIET_SECONDS)), rounds=rounds
    )
    return replace(result, note=f"longest wait; p99 {_p99(busy.seconds):.1f} ms, idle {_p99(quiet.seconds):.1f} ms")


def _p99(seconds: list[float]) -> float:
    return 1e3 * sorted(seconds)[len(seconds) * 99 // 100]


class Sender:
    """Large pieces of work, ready to be sent."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._open: Any = channel.stream_stream(STREAM_EVENTS, response_deserializer=pb.StreamEventsResponse.FromString)
        self._number = 0

    def batch(self) -> Work:
        """As many trades as a batch may hold."""
        first = self._number * BATCH_EVENTS_MAX
        self._number += 1
        run = trades(range(first, first + BATCH_EVENTS_MAX), 1, ACCOUNTS)
        return self._work(pb.StreamEventsRequest(runs=[run]))

    def tick(self) -> Work:
        """A tick in which every symbol has moved, and so nearly every account."""
        self._number += 1
        prices = pb.PriceColumns(symbol_id=range(SYMBOLS), price_cents=[1_000 + self._number] * SYMBOLS)
        runs = [pb.EventRun(prices=prices), pb.EventRun(ticks=pb.TickColumns(tick_id=[self._number]))]
        return self._work(pb.StreamEventsRequest(runs=runs))

    def _work(self, request: pb.StreamEventsRequest) -> Work:
        message = request.SerializeToString()

        async def send() -> None:
            call = self._open()
            try:
                await call.write(message)
                answer = await call.read()
                assert not answer.refusals, answer.refusals[0].message
            finally:
                call.cancel()

        return send


@contextlib.asynccontextmanager
async def _world() -> AsyncIterator[tuple[Sender, Any]]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = await stack.enter_async_context(an_exchange(folder, ACCOUNTS))
        address, _ = await stack.enter_async_context(evs(dsn, folder / "data"))
        channels = [await stack.enter_async_context(grpc.aio.insecure_channel(address)) for _ in range(2)]
        sender = Sender(channels[0])
        for _ in range(3):
            await sender.batch()()
        await sender.tick()()
        yield sender, evs_pb2_grpc.EquityValuationServiceStub(channels[1])


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
