"""
One RPC after the other, and 64 at a time, against an empty RPC on a bare ``grpc.aio`` server (``unary/empty_rpc``).

EVS is ``evs serve`` as anybody runs it, in a process of its own with everything on, and a PostgreSQL that it writes to
while it is called; the yardstick is a process that answers an empty message with one. The caller is a third process.
A round is a few hundred calls of each, in turn; its cost is their median latency. Every call changes something: trades
are of other accounts each time, prices move, and each tick values the account of a trade that was sent before it and is
not timed. Each is measured as a sender sends it that numbers nothing, and as one that numbers all its events, which by
the contract has one call in flight. What is timed is the call, from a message that is ready to its answer.

``unary/empty_rpc`` is the slowest of ``OnTradeSettled``, ``OnPriceUpdated`` and ``OnTickComplete``, one in flight,
numbered or not.
"""

import asyncio
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc
from google.protobuf.empty_pb2 import Empty

from bench.command import run
from bench.harness import Result, Sample, measure_async
from bench.serving import an_exchange, evs, process
from bench.yardsticks import empty_rpc

ROUNDS = 20
ACCOUNTS, SYMBOLS = 10_000, 100
CALLS = 250
CROWD, CROWD_CALLS = 64, 1_000
"""In flight at a time, and calls of a round then."""

NUMBERED = "_numbered"
"""Behind the name of a method as a sender calls it that numbers its events."""

Call = tuple[Callable[[Any], Awaitable[Any]], Iterator[Any]]
"""A method, and what it is called with."""
Calls = tuple[Call, Call | None]
"""What is timed, and what is called before it and is not."""


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure each method alone and in a crowd; the results, the worst of the lone ones under the name of all."""
    async with _callers() as (calls, empty):
        lone = [await _measured(name, call, empty, CALLS, 1, rounds) for name, call in calls.items()]
        crowds = [
            await _measured(f"{name}/{CROWD}_in_flight", call, empty, CROWD_CALLS, CROWD, max(3, rounds // 4))
            for name, call in calls.items()
            if not name.endswith(NUMBERED)
        ]
    worst = max(lone, key=lambda each: each.ratio)
    return [replace(worst, name="unary/empty_rpc", note=f"p50, one in flight, {worst.name}"), *lone, *crowds]


async def _measured(name: str, calls: Calls, empty: Calls, count: int, in_flight: int, rounds: int) -> Result:
    return await measure_async(
        f"unary/{name}",
        _side(calls, count, in_flight),
        _side(empty, count, in_flight),
        rounds=rounds,
        unit="us",
        note=f"p50, {in_flight} in flight",
    )


@contextlib.asynccontextmanager
async def _callers() -> AsyncIterator[tuple[dict[str, Calls], Calls]]:
    """A call of each method of EVS by name, and one of the yardstick's."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = await stack.enter_async_context(an_exchange(folder, ACCOUNTS))
        address, _ = await stack.enter_async_context(evs(dsn, folder / "data"))
        bare, _ = await stack.enter_async_context(process(sys.executable, "-m", empty_rpc.__name__))
        stub: Any = evs_pb2_grpc.EquityValuationServiceStub(
            await stack.enter_async_context(grpc.aio.insecure_channel(address))
        )
        empty = (await stack.enter_async_context(grpc.aio.insecure_channel(bare))).unary_unary(
            empty_rpc.METHOD, request_serializer=Empty.SerializeToString, response_deserializer=Empty.FromString
        )
        ids = _ids()
        calls = _methods(stub, itertools.repeat(None))
        calls |= {f"{name}{NUMBERED}": each for name, each in _methods(stub, ids).items()}
        yield calls, ((empty, itertools.repeat(Empty())), None)


def _methods(stub: Any, ids: Iterator[pb.EventId | None]) -> dict[str, Calls]:
    """A call of each method by name, with the next of these ids."""
    trade = (stub.OnTradeSettled, _trades(ids))
    return {
        "trade": (trade, None),
        "price": ((stub.OnPriceUpdated, _prices(ids)), None),
        "tick": ((stub.OnTickComplete, _ticks(ids)), trade),
    }


def _side(calls: Calls, count: int, in_flight: int) -> Callable[[int], Awaitable[Sample]]:
    (call, requests), before = calls

    async def median_latency(_number: int) -> Sample:
        latency_s: list[float] = []
        turns = iter(range(count))

        async def caller() -> None:
            for _ in turns:
                if before is not None:
                    await before[0](next(before[1]))
                request = next(requests)
                began = time.perf_counter()
                await call(request)
                latency_s.append(time.perf_counter() - began)

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        return Sample(statistics.median(latency_s))

    return median_latency


def _ids() -> Iterator[pb.EventId]:
    for sequence in itertools.count(1):
        yield pb.EventId(source="bench", epoch=1, sequence=sequence)


def _trades(ids: Iterator[pb.EventId | None]) -> Iterator[pb.OnTradeSettledRequest]:
    for number in itertools.count():
        yield pb.OnTradeSettledRequest(
            account_id=number * 7_919 % ACCOUNTS + 1,
            symbol_id=number % SYMBOLS,
            side=pb.TRADE_SIDE_BUY if number % 2 else pb.TRADE_SIDE_SELL,
            quantity_bp=10_000 * (number % 9 + 1),
            price_cents=1_000 + number % 101,
            settlement_id=number + 1,
            event_id=next(ids),
        )


def _prices(ids: Iterator[pb.EventId | None]) -> Iterator[pb.OnPriceUpdatedRequest]:
    for number in itertools.count():
        yield pb.OnPriceUpdatedRequest(symbol_id=number % SYMBOLS, price_cents=1_000 + number % 103, event_id=next(ids))


def _ticks(ids: Iterator[pb.EventId | None]) -> Iterator[pb.OnTickCompleteRequest]:
    for number in itertools.count(1):
        yield pb.OnTickCompleteRequest(tick_id=number, event_id=next(ids))


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
