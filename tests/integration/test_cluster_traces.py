"""Traces of a cluster: from the call at a gateway, through the log, to the commit of each shard that it concerned."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.cluster.shards import shard_of
from evs_server.config import load
from evs_server.gateway.app import Gateway
from evs_server.log import EmbeddedNats
from evs_server.shard.app import ShardProcess
from tests.builders import ALICE, BOB, KICK
from tests.collecting import Collector, collecting, told
from tests.integration.running import exchange_at
from tests.serving import within_patience
from tests.wire import BUY, SELL, a_request, a_trade, trades

SHARE = 10_000
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
NOT_SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-00"),)


class Followed:
    """A gateway and a worker whose spans go to one collector."""

    def __init__(self, gateway: Gateway, worker: ShardProcess, stub: Any, collector: Collector) -> None:
        self._gateway, self._worker, self.stub, self.collector = gateway, worker, stub, collector

    async def arrived(self, sequence: int) -> None:
        """Return once a numbered event is stored everywhere, and all spans that have ended are with the collector."""
        request = pb.GetIngestStateRequest(source="em", wait_durable_sequence=sequence)
        await within_patience(self.stub.GetIngestState(request, metadata=NOT_SAMPLED))
        for made in (self._gateway._tracing, self._worker._tracing):
            assert made is not None
            await within_patience(asyncio.to_thread(made._provider.force_flush))


@asynccontextmanager
async def followed(database: str, directory: Path) -> AsyncIterator[Followed]:
    async with exchange_at(database) as exchange:
        await exchange.register(dict.fromkeys((ALICE, BOB), 1_000_000))
    async with collecting() as (collector, endpoint), EmbeddedNats(directory / "nats") as nats_url:
        settings = load(
            database_url=database, data_dir=directory, nats_url=nats_url, listen=f"unix:{directory}/evs.sock",
            metrics_listen="", traces_endpoint=endpoint, reconcile_seconds=0,
        )  # fmt: skip
        async with ShardProcess(settings) as worker, Gateway(settings) as gateway:
            await within_patience(worker.wait_ready())
            await within_patience(gateway.wait_ready())
            async with grpc.aio.insecure_channel(gateway.address) as channel:
                stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
                yield Followed(gateway, worker, stub, collector)


async def test_a_call_is_one_trace_from_its_caller_through_the_log_to_the_commit(database: str, tmp_path: Path) -> None:
    async with followed(database, tmp_path) as cluster:
        request = a_trade(ALICE, KICK, BUY, SHARE, 500)
        request.event_id.CopyFrom(pb.EventId(source="em", epoch=1, sequence=1))
        await within_patience(cluster.stub.OnTradeSettled(request, metadata=SAMPLED))
        await cluster.arrived(1)
    collector = cluster.collector
    assert {TRACE} == {span.trace_id.hex() for span in collector.spans}
    call = collector.only("evs.v1.EquityValuationService/OnTradeSettled")
    take = collector.only("evs.take")
    assert (SPAN, call.span_id) == (call.parent_span_id.hex(), take.parent_span_id)
    # The trade's own shard, and all others that its price is told to.
    applied = collector.named("evs.apply")
    assert {take.span_id} == {each.parent_span_id for each in applied}
    commits = collector.named("evs.commit")
    assert commits
    assert {each.span_id for each in applied} >= {link.span_id for commit in commits for link in commit.links}
    assert {"evs.duplicates", "evs.events", "evs.refusals"} == {name for each in applied for name in told(each)}


async def test_a_batch_of_a_stream_takes_its_trace_to_every_shard_it_concerns(database: str, tmp_path: Path) -> None:
    """And what nobody follows leaves no span, at the gateway or at a shard."""
    async with followed(database, tmp_path) as cluster:
        call: Any = cluster.stub.StreamEvents(metadata=SAMPLED)
        legs = trades((ALICE, KICK, BUY, SHARE, 500), (BOB, KICK, SELL, SHARE, 500))
        await call.write(a_request(legs, first=1))
        await within_patience(call.read())
        await within_patience(call.done_writing())
        await cluster.arrived(2)
        quiet: Any = cluster.stub.OnTickComplete(
            pb.OnTickCompleteRequest(tick_id=1, event_id=pb.EventId(source="em", epoch=1, sequence=3)),
            metadata=NOT_SAMPLED,
        )
        await within_patience(quiet)
        await cluster.arrived(3)
    take, applied = cluster.collector.only("evs.take"), cluster.collector.named("evs.apply")
    assert shard_of(ALICE) != shard_of(BOB)
    assert len(applied) >= 2
    assert {take.span_id} == {each.parent_span_id for each in applied}
    assert [] == cluster.collector.named("evs.value"), "no tick was followed"
