"""
From the call of ``OnTickComplete`` to the frame in a websocket, against a bare chain (``end_to_end/bare_chain``).

The chain is the same hops with nothing in between: an RPC to a bare ``grpc.aio`` server, which sends a ready message
down a stream to a bare relay, which sends it on to a websocket. EVS, the bridge, the bare server and the relay are four
processes; who calls and who reads is one more. A round is some hundred ticks, one after the other, each of which values
the account that is followed; its cost is their median. Once with EVS idle otherwise, once while another sender trades
for thousands of accounts, all of which each tick then values too.
"""

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from bench import load as load_process
from bench.command import run
from bench.crowd import Crowd
from bench.harness import Result, Sample, measure_async
from bench.serving import an_exchange, bridge, evs, process
from bench.yardsticks import bare_relay, bare_subscription
from evs_server import tokens
from evs_server.config import load

ROUNDS = 10
TICKS = 200
ACCOUNTS = 10_000
WATCHED = 1
EVENTS_PER_SECOND = 10_000
"""What the other sender sends, where there is one."""
FRAME = json.dumps(
    {"stream": "equity", "data": {"account_id": WATCHED, "total_equity": 1_000_000_000, "pad": "." * 150}}
)


@dataclass(slots=True)
class Chain:
    """One way from a tick to a frame, and how long each took."""

    reader: Crowd
    prepare: Callable[[], Awaitable[Any]]
    tick: Callable[[], Awaitable[Any]]
    seconds: list[float] = field(default_factory=list)

    async def sample(self, _number: int) -> Sample:
        """The median of some ticks."""
        seconds = []
        for _ in range(TICKS):
            await self.prepare()
            self.reader.expect(1)
            began = time.perf_counter()
            ticking = asyncio.ensure_future(self.tick())
            await self.reader.complete()
            seconds.append(self.reader.seen_at[0] - began)
            await ticking
        self.seconds += seconds
        return Sample(statistics.median(seconds), len(seconds))


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure the chain at idle and under load; the results."""
    async with _world() as (address, ours, bare):
        idle = await _case("end_to_end/bare_chain", ours, bare, rounds)
        busy = process(
            *(sys.executable, "-m", load_process.__name__, address),
            *(str(EVENTS_PER_SECOND), str(WATCHED + 1), str(ACCOUNTS - WATCHED)),
        )
        async with busy:
            loaded = await _case("end_to_end/under_load", ours, bare, max(3, rounds // 2))
    return [idle, replace(loaded, note=f"{loaded.note}; {EVENTS_PER_SECOND:,} trades a second beside it")]


async def _case(name: str, ours: Chain, bare: Chain, rounds: int) -> Result:
    ours.seconds, bare.seconds = [], []
    result = await measure_async(name, ours.sample, bare.sample, rounds=rounds)
    return replace(result, note=f"p50; ours {_tail(ours.seconds)}; bare {_tail(bare.seconds)}")


def _tail(seconds: list[float]) -> str:
    ascending = sorted(seconds)
    return ", ".join(f"p{part:g} {1e3 * ascending[int(len(ascending) * part / 100)]:.1f} ms" for part in (99, 99.9))


@contextlib.asynccontextmanager
async def _world() -> AsyncIterator[tuple[str, Chain, Chain]]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = await stack.enter_async_context(an_exchange(folder, ACCOUNTS))
        address, _ = await stack.enter_async_context(evs(dsn, folder / "data"))
        page, _ = await stack.enter_async_context(bridge(address, folder / "data"))
        server, _ = await stack.enter_async_context(process(sys.executable, "-m", bare_subscription.__name__))
        relay, _ = await stack.enter_async_context(process(sys.executable, "-m", bare_relay.__name__, server, FRAME))
        stub: Any = evs_pb2_grpc.EquityValuationServiceStub(
            await stack.enter_async_context(grpc.aio.insecure_channel(address))
        )
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server))
        go: Any = channel.unary_unary(bare_subscription.GO)
        token = tokens.issue(load(data_dir=folder / "data"), WATCHED)
        reader, other = Crowd(page), Crowd(relay)
        stack.callback(reader.close)
        stack.callback(other.close)
        reader.expect(3)
        await reader.join([(_request("auth.jwt", token=token), _request("equity.subscribe"))])
        await reader.complete()
        await other.join([["here"]])
        yield (
            address,
            Chain(reader, lambda: _deposit(stub), lambda: _tick(stub)),
            Chain(other, _nothing, lambda: go(b"")),
        )


async def _deposit(stub: Any) -> None:
    await stub.OnCashAdjusted(pb.OnCashAdjustedRequest(account_id=WATCHED, amount_cents=1))


async def _tick(stub: Any) -> None:
    await stub.OnTickComplete(pb.OnTickCompleteRequest(tick_id=1))


async def _nothing() -> None:
    """The bare chain's tick changes nothing."""


def _request(method: str, **params: object) -> str:
    return json.dumps({"id": 1, "method": method, "params": params})


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
