"""
Events through a gateway and its shards, against ``evs serve`` and against bare JetStream, on the same bytes.

Both get the same batches of 1,000 trades over ``StreamEvents``: what is timed is until the last is answered
(*applied*: it is in the log, and the shards that it concerns have applied it) or committed by all of them (*durable*).
``cluster/3_shards/bare_log`` has the same batches, split and encoded beforehand, put into a stream of the same server
and taken out by one reader: what the log alone can do. Every role is a process of its own, and this is one machine:
what workers add is their own work, not their processors, so that these are costs of dividing, not gains.
``cluster/takeover`` is ``cluster_takeover``'s.

Not among the five minutes of ``make bench``; ``make bench-full``, or ``python -m bench cluster``.
"""

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from bench.cluster_serving import a_cluster
from bench.command import run
from bench.harness import Result, Sample, play_async, result
from bench.serving import an_exchange, evs
from bench.stream import STREAM_EVENTS, Batches, Line, Shape
from bench.yardsticks.bare_jetstream import BareLog, bare_log
from evs_server.cluster.codec import encode_batch
from evs_server.cluster.ports import Message
from evs_server.cluster.split import split
from evs_server.ingest import codec
from evs_server.model import Batch

ROUNDS = 3
ACCOUNTS = 10_000
WORKERS = (1, 3)
SHAPE = Shape(1_000, 1_000, 20)
EVENTS = SHAPE.batch * SHAPE.batches
DURABLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where events go, and who says that they are stored."""

    line: Line
    stub: Any

    async def send(self, messages: Sequence[bytes]) -> Sample:
        """Send batches: seconds to applied, and to durable in the place of the processor's."""
        began = time.perf_counter()
        seconds, applied = await self.line.send(messages)
        request = pb.GetIngestStateRequest(source="bench", wait_durable_sequence=applied)
        await self.stub.GetIngestState(request, timeout=DURABLE_SECONDS)
        return Sample(seconds / EVENTS, applied, (time.perf_counter() - began) / EVENTS)


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure each number of workers; the results."""
    results: list[Result] = []
    for worker_count in WORKERS:
        async with _servers(worker_count) as (ours, alone, bare):
            results += await _cases(worker_count, ours, alone, bare, rounds)
    return results


async def _cases(worker_count: int, ours: Server, alone: Server, bare: BareLog, rounds: int) -> list[Result]:
    name, batches, numbers = f"cluster/{worker_count}_shards", Batches(), itertools.count(1)
    put_us: list[float] = []

    async def by_cluster(number: int) -> Sample:
        return await ours.send(batches.of_round(SHAPE, number))

    async def by_one(number: int) -> Sample:
        return await alone.send(batches.of_round(SHAPE, number))

    async def by_log(number: int) -> Sample:
        decoded = [
            codec.decode_batch(pb.StreamEventsRequest.FromString(each)) for each in batches.of_round(SHAPE, number)
        ]
        entries = [_entries(batch, f"{next(numbers):032x}") for batch in decoded]
        goal = bare.fetched_count + sum(map(len, entries))
        began = time.perf_counter()
        await bare.put(entries)
        put_us.append(1e6 * (time.perf_counter() - began) / EVENTS)
        await bare.fetched(goal)
        return Sample((time.perf_counter() - began) / EVENTS, decoded[-1].first_sequence + len(decoded[-1]) - 1)

    against_one = await play_async(name, by_cluster, by_one, rounds=rounds)
    against_log = await play_async(name, by_cluster, by_log, rounds=rounds)
    about = "per event, 1 worker" if worker_count == 1 else f"per event, {worker_count} workers"
    return [
        result(f"{name}/applied", against_one, unit="us", note=f"{about}; one process"),
        result(f"{name}/durable", against_one, unit="us", note=f"{about}; one process", cost=lambda each: each.cpu),
        result(
            f"{name}/bare_log", against_log, unit="us",
            note=f"{about}, applied; bare JetStream in and out, in alone {statistics.median(put_us):.3g}",
        ),
    ]  # fmt: skip


def _entries(batch: Batch, batch_id: str) -> list[Message]:
    """What a gateway puts into the log for a batch."""
    parts = split(batch, 0, len(batch), left_out=(), batch_id=batch_id, taken_ms=0, gateway="")
    own, journal = encode_batch(parts)
    return [*own, journal]


@contextlib.asynccontextmanager
async def _servers(worker_count: int) -> AsyncIterator[tuple[Server, Server, BareLog]]:
    """A cluster, ``evs serve`` on a database of its own, and a bare stream beside the cluster's log."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "one").mkdir()
        (folder / "many").mkdir()
        cluster = await stack.enter_async_context(a_cluster(folder / "many", ACCOUNTS, worker_count))
        dsn = await stack.enter_async_context(an_exchange(folder / "one", ACCOUNTS))
        address, _ = await stack.enter_async_context(evs(dsn, folder / "one" / "data"))
        bare = await stack.enter_async_context(bare_log(cluster.nats_url))
        yield await _server(stack, cluster.address), await _server(stack, address), bare


async def _server(stack: AsyncExitStack, address: str) -> Server:
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
    stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
    return Server(Line(channel, STREAM_EVENTS), stub)


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
