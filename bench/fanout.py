"""
One tick that changes every account, to the last of many readers: over gRPC, by websockets, and on one watch.

Every reader follows an account of its own. A tick is a new price of the symbol that all of them hold, and its
completion; what is timed is from the call of ``OnPriceUpdated`` to the last reader's frame. The yardsticks send ready
bytes, those of one frame of ours, to as many readers when they are told to: a bare ``grpc.aio`` server, a bare
``websockets`` server. Readers of both sides are in this process. ``*/cpu`` is what the server's process takes of the
processor per frame; ``bridge/bare_frame`` is that of the bridge for 1,000 websockets, what it takes to receive the
values included.

A round is several ticks of one side, then as many of the other: the median of what they took, and the processor's time
for all of them. One tick takes a few tens of milliseconds of several processes: of a round of one, what else the
machine did meanwhile would be most that it told.

``fanout/watch_1000`` is one ``WatchEquity`` of 1,000 accounts against 1,000 bare streams. Left out: TLS and networks.
"""

import asyncio
import contextlib
import itertools
import json
import operator
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from bench.command import run
from bench.crowd import Crowd
from bench.harness import Result, Sample, play_async, result
from bench.serving import an_exchange, bridge, cpu_seconds, evs, process
from bench.yardsticks import bare_subscription, bare_websocket
from evs_server import tokens
from evs_server.bridge import codec, frames
from evs_server.config import load

ROUNDS = 9
READERS = 1_000
MANY_READERS = 10_000
"""How many ``make bench-full`` adds."""
FRAMES = 5_000
"""Of each side in a round, in as many ticks as that takes."""
SYMBOL = 1
CONNECTIONS = 10
"""Over which gRPC readers are spread."""
PATIENCE_SECONDS = 120.0
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)

Tick = Callable[[], Awaitable[None]]


class Readers(Protocol):
    """Many readers, and when each frame since the last ``expect`` came."""

    seen_at: list[float]

    def expect(self, count: int) -> None:
        """Forget the frames seen, and wait for so many."""
        ...

    async def complete(self) -> None:
        """Return once as many frames came as are expected."""
        ...


@dataclass(frozen=True, slots=True)
class Side:
    """Readers, what makes every one of them get a frame, and the process that sends it."""

    readers: Readers
    tick: Tick
    pid: int


async def main(rounds: int = ROUNDS, sizes: tuple[int, ...] = (READERS,)) -> list[Result]:
    """Measure each kind of reader for each size; the results."""
    results = []
    for size in sizes:
        async with World.of(size) as world:
            for kind, sides in (("grpc", world.subscriptions), ("watch", world.watch), ("websocket", world.websockets)):
                async with sides() as (ours, yardstick):
                    results += await _case(f"fanout/{kind}_{size}", ours, yardstick, size, rounds)
    [frame] = [each for each in results if each.name == f"fanout/websocket_{sizes[0]}/cpu"]
    return [replace(frame, name="bridge/bare_frame"), *results]


async def _case(name: str, ours: Side, yardstick: Side, size: int, rounds: int) -> list[Result]:
    seconds: dict[int, list[float]] = {ours.pid: [], yardstick.pid: []}

    def one(side: Side) -> Callable[[int], Awaitable[Sample]]:
        async def sample(number: int) -> Sample:
            spent = cpu_seconds(side.pid)
            ticks = [await _tick(side, size) for _ in range(max(1, FRAMES // size))]
            cpu = cpu_seconds(side.pid) - spent
            each = list(itertools.chain.from_iterable(ticks))
            # The first round only warms up.
            seconds[side.pid] += each if number else []
            return Sample(statistics.median(tick[-1] for tick in ticks), len(each), cpu / len(each))

        return sample

    played = await play_async(name, one(ours), one(yardstick), rounds=rounds)
    tails = f"ours {_tail(seconds[ours.pid])}; bare {_tail(seconds[yardstick.pid])}"
    return [
        result(name, played, note=f"tick to last frame; of all frames {tails}"),
        result(f"{name}/cpu", played, unit="us", note="per frame", cost=operator.attrgetter("cpu")),
    ]


def _tail(seconds: list[float]) -> str:
    ascending = sorted(seconds)
    return ", ".join(f"p{part} {1e3 * ascending[len(ascending) * part // 100]:.0f} ms" for part in (50, 99))


async def _tick(side: Side, size: int) -> list[float]:
    """Seconds from the tick to each frame, ascending."""
    side.readers.expect(size)
    began = time.perf_counter()
    await side.tick()
    await side.readers.complete()
    return [each - began for each in side.readers.seen_at]


class Streams:
    """Readers of gRPC: one task a stream, each counting the values of its messages."""

    def __init__(self, count: Callable[[Any], int]) -> None:
        self._count = count
        self._expected = 0
        self._complete = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.seen_at: list[float] = []

    def expect(self, count: int) -> None:
        """As of ``Readers``."""
        self.seen_at, self._expected = [], count
        self._complete.clear()

    async def complete(self) -> None:
        """As of ``Readers``."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._complete.wait()

    def join(self, call: Any) -> None:
        """One more."""
        self._tasks.append(asyncio.create_task(self._read(call)))

    async def close(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, call: Any) -> None:
        try:
            async for message in call:
                self.seen_at.extend([time.perf_counter()] * self._count(message))
                if len(self.seen_at) >= self._expected:
                    self._complete.set()
        finally:
            call.cancel()


class World:
    """EVS and a bridge, and as many accounts as there are readers, each with a share of one symbol."""

    def __init__(self, size: int, folder: Path) -> None:
        self._size = size
        self._folder = folder
        self._price = 0
        self._stack = contextlib.AsyncExitStack()

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, size: int) -> AsyncIterator["World"]:
        """Everything but the readers."""
        with tempfile.TemporaryDirectory() as folder:
            world = cls(size, Path(folder))
            async with world._stack as stack:
                await world._open(stack)
                yield world

    async def _open(self, stack: contextlib.AsyncExitStack) -> None:
        dsn = await stack.enter_async_context(an_exchange(self._folder, self._size))
        self._address, self._pid = await stack.enter_async_context(evs(dsn, self._folder / "data"))
        self._channel = await stack.enter_async_context(grpc.aio.insecure_channel(self._address))
        self._stub: Any = evs_pb2_grpc.EquityValuationServiceStub(self._channel)
        size = self._size
        for start in range(1, size + 1, 10_000):
            holders = range(start, min(start + 10_000, size + 1))
            trades = pb.TradeColumns(
                account_id=holders,
                symbol_id=[SYMBOL] * len(holders),
                side=[pb.TRADE_SIDE_BUY] * len(holders),
                quantity_bp=[10_000] * len(holders),
                price_cents=[1_000] * len(holders),
            )
            call = self._stub.StreamEvents()
            await call.write(pb.StreamEventsRequest(runs=[pb.EventRun(trades=trades)]))
            await call.read()
            call.cancel()

    async def tick(self) -> None:
        """A new price, and the tick that values all who hold it."""
        self._price += 1
        await self._stub.OnPriceUpdated(pb.OnPriceUpdatedRequest(symbol_id=SYMBOL, price_cents=1_000 + self._price))
        await self._stub.OnTickComplete(pb.OnTickCompleteRequest(tick_id=self._price))

    @contextlib.asynccontextmanager
    async def subscriptions(self) -> AsyncIterator[tuple[Side, Side]]:
        """A stream an account, and as many bare ones."""
        async with contextlib.AsyncExitStack() as stack:
            ours = Streams(lambda _: 1)
            stack.push_async_callback(ours.close)
            ours.expect(self._size)
            stubs = [
                evs_pb2_grpc.EquityValuationServiceStub(await self._channel_to(stack, self._address))
                for _ in range(CONNECTIONS)
            ]
            for account_id in range(1, self._size + 1):
                stub: Any = stubs[account_id % CONNECTIONS]
                ours.join(stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=account_id)))
            await ours.complete()
            yield Side(ours, self.tick, self._pid), await self._bare_streams(stack)

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[tuple[Side, Side]]:
        """One stream of all the accounts, and a bare one for each."""
        async with contextlib.AsyncExitStack() as stack:
            ours = Streams(lambda message: len(message.updates))
            stack.push_async_callback(ours.close)
            ours.expect(self._size)
            call = self._stub.WatchEquity()
            for start in range(1, self._size + 1, 1_000):
                await call.write(pb.WatchEquityRequest(add=range(start, min(start + 1_000, self._size + 1))))
            ours.join(call)
            await ours.complete()
            yield Side(ours, self.tick, self._pid), await self._bare_streams(stack)

    @contextlib.asynccontextmanager
    async def websockets(self) -> AsyncIterator[tuple[Side, Side]]:
        """A websocket an account, and as many bare ones."""
        async with contextlib.AsyncExitStack() as stack:
            data_dir = self._folder / "data"
            address, pid = await stack.enter_async_context(bridge(self._address, data_dir))
            settings = load(data_dir=data_dir)
            ours = Crowd(address)
            stack.callback(ours.close)
            # Each reader gets two answers, and the current value.
            ours.expect(3 * self._size)
            await ours.join(
                (
                    _request("auth.jwt", token=tokens.issue(settings, account_id)),
                    _request("equity.subscribe"),
                )
                for account_id in range(1, self._size + 1)
            )
            await ours.complete()
            yield Side(ours, self.tick, pid), await self._bare_websockets(stack)

    async def _bare_streams(self, stack: contextlib.AsyncExitStack) -> Side:
        address, pid = await stack.enter_async_context(process(sys.executable, "-m", bare_subscription.__name__))
        readers = Streams(lambda _: 1)
        stack.push_async_callback(readers.close)
        channels = [await self._channel_to(stack, address) for _ in range(CONNECTIONS)]
        current = await self._stub.GetEquity(pb.GetEquityRequest(account_id=1))
        message = pb.SubscribeEquityResponse(equity=current.equity, version=current.version).SerializeToString()
        go: Any = channels[0].unary_unary(bare_subscription.GO)

        async def tick() -> None:
            await go(b"")

        for number in range(self._size):
            subscribe: Any = channels[number % CONNECTIONS].unary_stream(bare_subscription.SUBSCRIBE)
            readers.join(subscribe(message))
        return await _all_there(Side(readers, tick, pid), self._size)

    async def _bare_websockets(self, stack: contextlib.AsyncExitStack) -> Side:
        address, pid = await stack.enter_async_context(process(sys.executable, "-m", bare_websocket.__name__))
        readers = Crowd(address)
        stack.callback(readers.close)
        current = codec.decode_equity(await self._stub.GetEquity(pb.GetEquityRequest(account_id=1)))
        frame = frames.equity(current, snapshot=False, conflated=0).decode()
        await readers.join([frame] for _ in range(self._size))
        master = await Crowd(address).join([[]])
        stack.callback(master.close)

        async def tick() -> None:
            master.say(bare_websocket.GO)

        return await _all_there(Side(readers, tick, pid), self._size)

    async def _channel_to(self, stack: contextlib.AsyncExitStack, address: str) -> grpc.aio.Channel:
        return await stack.enter_async_context(grpc.aio.insecure_channel(address, options=OWN_CONNECTION))


async def _all_there(side: Side, size: int) -> Side:
    """A bare side, once all of its readers get a frame when it ticks."""
    while True:
        side.readers.expect(size)
        await side.tick()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1 + size / 500):
                await side.readers.complete()
                return side


def _request(method: str, **params: object) -> str:
    return json.dumps({"id": 1, "method": method, "params": params})


if __name__ == "__main__":
    run(main, rounds=2 * ROUNDS, sizes=(READERS, MANY_READERS))
