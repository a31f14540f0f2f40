"""Traces from the call to the commit, as a collector gets them: what belongs to what, and what no span ever tells."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from evs_server.app import Application
from evs_server.config import load
from evs_server.errors import ConfigError
from evs_server.telemetry import tracing
from tests.builders import ALICE, BOB, KICK
from tests.collecting import Collector, collecting, told
from tests.integration.running import Evs, exchange_at, running
from tests.serving import within_patience
from tests.wire import BUY, SELL, a_trade, prices, ticks, trades

SHARE = 10_000
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
NOT_SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-00"),)
SERVICE = "evs.v1.EquityValuationService"


@asynccontextmanager
async def followed(database: str, directory: Path, ratio: float = 1.0) -> AsyncIterator[tuple[Evs, Collector]]:
    """An EVS with two accounts, and the collector that its spans go to."""
    async with exchange_at(database) as exchange:
        await exchange.register(dict.fromkeys((ALICE, BOB), 1_000_000))
    async with (
        collecting() as (collector, endpoint),
        running(database, directory, traces_endpoint=endpoint, traces_ratio=ratio) as evs,
    ):
        yield evs, collector


async def arrived(evs: Evs) -> None:
    """Return once all that was applied is stored, and all spans that have ended are with the collector."""
    await evs.stored()
    made = evs.application._tracing
    assert made is not None
    await within_patience(asyncio.to_thread(made._provider.force_flush))


async def trade(evs: Evs, metadata: tuple[tuple[str, str], ...] = SAMPLED, account_id: int = ALICE) -> None:
    request = a_trade(account_id, KICK, BUY, SHARE, 500)
    await within_patience(evs.stub.OnTradeSettled(request, metadata=metadata))


async def tick(evs: Evs, tick_id: int, metadata: tuple[tuple[str, str], ...] = SAMPLED) -> None:
    await within_patience(evs.stub.OnTickComplete(pb.OnTickCompleteRequest(tick_id=tick_id), metadata=metadata))


async def test_a_tick_is_one_trace_from_its_callers_span_to_the_commit(database: str, tmp_path: Path) -> None:
    """Each part knows what it is part of, by OpenTelemetry's own names."""
    async with followed(database, tmp_path) as (evs, collector):
        await tick(evs, 1)
        await arrived(evs)
    call, take = collector.only(f"{SERVICE}/OnTickComplete"), collector.only("evs.take")
    value, capture, commit = (collector.only(f"evs.{name}") for name in ("value", "capture", "commit"))
    assert {TRACE} == {span.trace_id.hex() for span in (call, take, value, capture, commit)}
    assert SPAN == call.parent_span_id.hex()
    assert call.span_id == take.parent_span_id
    assert {take.span_id} == {value.parent_span_id, capture.parent_span_id}
    assert take.span_id == commit.parent_span_id
    assert {"rpc.system.name": "grpc", "rpc.method": f"{SERVICE}/OnTickComplete", "rpc.response.status_code": "OK"} == (
        told(call)
    )
    assert ("postgresql", "COMMIT") == (told(commit)["db.system.name"], told(commit)["db.operation.name"])
    assert (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT) == (call.kind, commit.kind)
    assert "evs" == collector.resource["service.name"]


async def test_a_commit_has_links_to_every_call_that_it_makes_durable(database: str, tmp_path: Path) -> None:
    """One commit carries many calls: nobody's trace ends before its event is safe."""
    async with followed(database, tmp_path) as (evs, collector):
        for _ in range(3):
            await trade(evs, metadata=())
        await tick(evs, 1, metadata=())
        await arrived(evs)
    linked = {link.span_id for span in collector.named("evs.commit") for link in span.links}
    assert {span.span_id for span in collector.named("evs.take")} == linked
    assert 4 == len(linked)
    assert 4 == len({span.trace_id for span in collector.named("evs.take")}), "callers that say nothing have no trace"


async def test_a_batch_of_a_stream_is_a_trace_of_its_own_with_a_link_to_its_stream(
    database: str, tmp_path: Path
) -> None:
    """A stream of a sender lasts for days; its trace would have no end."""
    async with followed(database, tmp_path) as (evs, collector):
        legs = trades((ALICE, KICK, BUY, SHARE, 500), (BOB, KICK, SELL, SHARE, 500))
        await evs.send(prices((KICK, 510)), legs, ticks(1), first=1)
        await arrived(evs)
    take, value, commit = (collector.only(f"evs.{name}") for name in ("take", "value", "commit"))
    assert b"" == take.parent_span_id
    assert take.span_id == value.parent_span_id
    assert [take.span_id] == [link.span_id for link in commit.links]
    assert (4, 2) == (told(take)["evs.events"], told(value)["evs.accounts_valued"])
    [stream] = take.links
    assert stream.trace_id != take.trace_id


async def test_the_caller_decides_whether_it_is_followed(database: str, tmp_path: Path) -> None:
    """Of callers that leave it open, the share that is set; here none."""
    async with followed(database, tmp_path, ratio=0) as (evs, collector):
        await trade(evs, metadata=())
        await trade(evs, metadata=NOT_SAMPLED)
        await arrived(evs)
        assert [] == collector.spans
        await tick(evs, 1)
        await arrived(evs)
    assert {TRACE} == {span.trace_id.hex() for span in collector.spans}
    assert 1 == len(collector.named("evs.commit"))


async def test_no_span_tells_an_account_an_amount_or_the_text_of_an_error(database: str, tmp_path: Path) -> None:
    """Who sees traces need not see what people own."""
    async with followed(database, tmp_path) as (evs, collector):
        with pytest.raises(grpc.aio.AioRpcError):
            await trade(evs, account_id=987_654_321)
        await trade(evs)
        await tick(evs, 1)
        await arrived(evs)
    text = str(collector.spans)
    assert [] == [word for word in ("987654321", "1000000", "500") if f"value: {word}\n" in text]
    refused, applied = collector.named(f"{SERVICE}/OnTradeSettled")
    assert ["NOT_FOUND", "OK"] == sorted(str(told(each)["rpc.response.status_code"]) for each in (refused, applied))
    assert [0, 0] == [each.status.code for each in (refused, applied)], "to refuse is no fault of the server"
    assert [] == [event for span in collector.spans for event in span.events]
    assert {""} == {span.status.message for span in collector.spans}
    assert {
        "db.operation.name", "db.system.name", "evs.accounts_valued", "evs.duplicates", "evs.events",
        "evs.flush_number", "evs.refusals", "evs.rows", "evs.tick", "rpc.method", "rpc.response.status_code",
        "rpc.system.name",
    } == {name for span in collector.spans for name in told(span)}  # fmt: skip


async def test_a_collector_that_is_away_costs_nobody_an_answer(database: str, tmp_path: Path) -> None:
    """Spans are given up; events are not."""
    async with exchange_at(database) as exchange:
        await exchange.register({ALICE: 1_000_000})
    async with collecting() as (_, endpoint):
        pass
    async with running(database, tmp_path, traces_endpoint=endpoint) as evs:
        await trade(evs)
        await tick(evs, 1)
        await evs.stored()
        assert 1 == (await evs.read(ALICE)).equity.tick


async def test_traces_without_the_libraries_say_what_to_install(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are an extra."""
    monkeypatch.setitem(sys.modules, "evs_server.telemetry.spans", None)
    monkeypatch.delattr("evs_server.telemetry.spans", raising=False)
    with pytest.raises(ConfigError, match=r"EVS_TRACES_ENDPOINT needs .*: pip install .*\[otel\]"):
        tracing.check_tracing(load(traces_endpoint="http://127.0.0.1:4317"))
    with pytest.raises(ConfigError, match="EVS_TRACES_ENDPOINT needs"):
        async with Application(
            load(database_url=database, data_dir=tmp_path, listen="127.0.0.1:0", traces_endpoint="http://127.0.0.1:1")
        ):
            pass


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4317", "http://collector", "grpc://collector:4317", "http://c:4317/"])
def test_an_endpoint_that_cannot_be_one_is_refused(endpoint: str) -> None:
    """Scheme, name and port: nothing is guessed."""
    with pytest.raises(ConfigError, match="EVS_TRACES_ENDPOINT: expected http://host:port or https://host:port"):
        load(traces_endpoint=endpoint)


def test_traces_leave_this_machine_in_plain_text_only_if_that_is_wanted() -> None:
    """As everything else."""
    with pytest.raises(ConfigError, match=r"EVS_TRACES_ENDPOINT: http://collector:4317 would take .* plain text"):
        tracing.check_tracing(load(traces_endpoint="http://collector:4317"))
    tracing.check_tracing(load(traces_endpoint="http://collector:4317", allow_plaintext=True))
    tracing.check_tracing(load(traces_endpoint="https://collector:4317"))


def test_without_traces_nothing_of_their_libraries_is_imported() -> None:
    """What is not asked for costs nothing: the rooms are the plain ones."""
    code = "import sys, evs_server.app; print(any(name.startswith('opentelemetry') for name in sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "False" == said.stdout.strip()
