"""
From the end of a worker to new values of everything it owned, against one process that is started again.

A worker of three is ended by SIGKILL while a price and a tick come every quarter of a second; what is timed is from the
signal until each account has a value of a tick that was completed after it, read through the gateway. The yardstick is
``evs serve`` on an exchange of the same size, ended in the same way, started again at once by whoever looks after it,
and asked the same. After each round the worker is started again and has its share before the next. On one machine a
connection ends with its process; where a machine ends, PostgreSQL first has to notice: ``EVS_TAKEOVER_SECONDS`` more.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from bench.cluster_serving import a_cluster, a_worker
from bench.command import run
from bench.harness import Result, Sample, measure_async
from bench.serving import an_exchange, evs

ROUNDS = 3
ACCOUNTS = 5_000
WORKERS = 3
ASKED_ACCOUNTS = 400
"""Of those, asked for in one call; they are spread over all virtual shards."""
TICK_SECONDS = 0.25
LOOK_SECONDS = 0.05
"""Whoever looks all the time takes the processor that others need to start on."""
ALL_SECONDS = 60.0
PATIENCE_SECONDS = 10.0


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure takeovers and restarts in turn; the result."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "many").mkdir()
        (folder / "one").mkdir()
        cluster = await stack.enter_async_context(a_cluster(folder / "many", ACCOUNTS, WORKERS))
        workers = [*cluster.workers]
        ours = await stack.enter_async_context(_traffic(cluster.address))
        dsn = await stack.enter_async_context(an_exchange(folder / "one", ACCOUNTS))
        data_dir = folder / "one" / "data"

        async def takeover(_: int) -> Sample:
            began = time.perf_counter()
            os.kill(workers.pop(0), signal.SIGKILL)
            await ours.all_new()
            seconds = time.perf_counter() - began
            workers.append((await stack.enter_async_context(a_worker(cluster.settings)))[1])
            return Sample(seconds, True)

        async def restart(_: int) -> Sample:
            async with contextlib.AsyncExitStack() as process:
                address, pid = await process.enter_async_context(evs(dsn, data_dir))
                async with _traffic(address) as alone:
                    await alone.all_new()
                began = time.perf_counter()
                os.kill(pid, signal.SIGKILL)
                address, _ = await process.enter_async_context(evs(dsn, data_dir))
                async with _traffic(address) as alone:
                    await alone.all_new()
                    return Sample(time.perf_counter() - began, True)

        return [
            await measure_async(
                "cluster/takeover", takeover, restart, rounds=rounds, unit="s",
                note=f"a third of {ACCOUNTS:,} accounts; one process started again",
            )
        ]  # fmt: skip


class Traffic:
    """Prices and ticks, and whoever reads what they have made of accounts."""

    def __init__(self, stub: Any, first_tick: int) -> None:
        self._stub = stub
        self._tick = first_tick

    async def hold(self) -> None:
        """Have each account hold a share, so that each new price concerns all of them."""
        accounts = range(1, ACCOUNTS + 1)
        columns = pb.TradeColumns(
            account_id=accounts, symbol_id=[1] * ACCOUNTS, side=[pb.TRADE_SIDE_BUY] * ACCOUNTS,
            quantity_bp=[10_000] * ACCOUNTS, price_cents=[1_000] * ACCOUNTS,
        )  # fmt: skip
        refused = await self._send(pb.EventRun(trades=columns))
        assert not refused, refused

    async def go_on(self) -> None:
        """A new price and a tick, again and again, until cancelled."""
        while True:
            self._tick += 1
            prices = pb.PriceColumns(symbol_id=[1], price_cents=[1_000 + self._tick % 500])
            ticks = pb.TickColumns(tick_id=[self._tick], tick_time=[0])
            # What is not taken, or in vain, while somebody is away, comes with the next.
            with contextlib.suppress(grpc.aio.AioRpcError):
                await self._send(pb.EventRun(prices=prices), pb.EventRun(ticks=ticks))
            await asyncio.sleep(TICK_SECONDS)

    async def all_new(self) -> None:
        """Return once all accounts that are asked for have a value of a tick that is completed from now on."""
        wanted = self._tick + 2  # the next may be on its way already
        async with asyncio.timeout(ALL_SECONDS):
            while await self._oldest_tick() < wanted:  # noqa: ASYNC110 -- whoever reads is told nothing
                await asyncio.sleep(LOOK_SECONDS)

    async def _oldest_tick(self) -> int:
        request = pb.BatchGetEquityRequest(account_ids=range(1, ASKED_ACCOUNTS + 1))
        answer = await self._stub.BatchGetEquity(request, timeout=PATIENCE_SECONDS)
        ticks: list[int] = [each.equity.tick for each in answer.equities]
        return min(ticks)

    async def _send(self, *runs: pb.EventRun) -> str:
        """Why something was refused; empty if all was taken."""
        call = self._stub.StreamEvents(timeout=PATIENCE_SECONDS)
        await call.write(pb.StreamEventsRequest(runs=runs))
        answer = await call.read()
        await call.done_writing()
        return answer.refusals[0].message if answer.refusals else ""


_FIRST_TICKS: Iterator[int] = itertools.count(1, 1_000_000)


def _traffic(address: str) -> AbstractAsyncContextManager[Traffic]:
    return _running(address, next(_FIRST_TICKS))


@contextlib.asynccontextmanager
async def _running(address: str, first_tick: int) -> AsyncIterator[Traffic]:
    async with grpc.aio.insecure_channel(address) as channel:
        traffic = Traffic(evs_pb2_grpc.EquityValuationServiceStub(channel), first_tick)
        await traffic.hold()
        going = asyncio.create_task(traffic.go_on())
        try:
            yield traffic
        finally:
            going.cancel()
            await asyncio.wait([going])


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
