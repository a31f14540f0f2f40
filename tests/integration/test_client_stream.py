"""The reader's stream against a real gRPC server that says, word for word, what the test gives it."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from evs.v1 import evs_pb2
from evs_client import EquityStream, EquityValue, StreamStatus
from evs_client.backoff import Backoff
from evs_client.errors import CallRefused, ClientClosed, NotFound, PermissionDenied

from tests.integration.scripted_evs import PATIENCE_S, ScriptedEvs, served


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/evs.sock"


@pytest.fixture
async def evs(target: str) -> AsyncIterator[ScriptedEvs]:
    scripted = ScriptedEvs()
    async with served(scripted, target):
        yield scripted


def value(version: int, *, snapshot: bool = False) -> evs_pb2.SubscribeEquityResponse:
    update = evs_pb2.EquityUpdate(account_id=7, total_equity=version * 100)
    return evs_pb2.SubscribeEquityResponse(equity=update, version=version, snapshot=snapshot)


@asynccontextmanager
async def reader(target: str, **arguments: Any) -> AsyncIterator[EquityStream]:
    async with EquityStream(target, 7, backoff=Backoff(0.001, 0.01), **arguments) as stream:
        yield stream


async def next_value(stream: EquityStream) -> EquityValue:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(stream)


async def test_a_reader_gets_every_new_version_and_no_heartbeat(target: str, evs: ScriptedEvs) -> None:
    evs.streams.append([value(5, snapshot=True), evs_pb2.SubscribeEquityResponse(version=5), value(6)])
    async with reader(target) as stream:
        first, second = await next_value(stream), await next_value(stream)
    assert (5, 500, True) == (first.version, first.total_equity, first.snapshot)
    assert (6, 600, False) == (second.version, second.total_equity, second.snapshot)


async def test_a_reader_outlives_the_stream_and_drops_what_it_has_seen(target: str, evs: ScriptedEvs) -> None:
    statuses: list[StreamStatus] = []
    now_ms = itertools.count(1_000)
    evs.streams.append([value(5, snapshot=True), grpc.StatusCode.UNAVAILABLE])
    evs.streams.append([value(5, snapshot=True), value(4), value(6)])
    async with reader(target, on_status=statuses.append, now_ms=lambda: next(now_ms)) as stream:
        assert StreamStatus(live=False, since_ms=1_000) == stream.status
        assert [5, 6] == [(await next_value(stream)).version, (await next_value(stream)).version]
        assert 1 == stream.reconnect_count
        assert [(True, 1_001), (False, 1_002), (True, 1_003)] == [(status.live, status.since_ms) for status in statuses]


async def test_a_silent_stream_is_begun_anew(target: str, evs: ScriptedEvs) -> None:
    evs.streams.extend([[value(5)], [value(6)]])
    async with reader(target, silence_max_s=0.05) as stream:
        assert [5, 6] == [(await next_value(stream)).version, (await next_value(stream)).version]


@pytest.mark.parametrize(
    ("kind", "code"),
    [(NotFound, grpc.StatusCode.NOT_FOUND), (PermissionDenied, grpc.StatusCode.PERMISSION_DENIED)],
)
async def test_a_reader_that_is_refused_hears_why(
    target: str, evs: ScriptedEvs, kind: type[CallRefused], code: grpc.StatusCode
) -> None:
    evs.streams.append([code])
    async with reader(target) as stream:
        with pytest.raises(kind, match=f"{code.name}: as the script says"):
            await next_value(stream)
        assert not stream.status.live


async def test_evs_forgets_a_reader_that_leaves(target: str, evs: ScriptedEvs) -> None:
    evs.streams.append([value(5)])
    async with reader(target) as stream:
        await next_value(stream)
        assert 0 == evs.readers_gone
    await evs.until(lambda: evs.readers_gone == 1)
    with pytest.raises(ClientClosed):
        await anext(stream)


async def test_a_reader_whose_wait_was_cancelled_reads_on(target: str, evs: ScriptedEvs) -> None:
    evs.streams.extend([[value(5)], [value(6)]])
    async with reader(target) as stream:
        await next_value(stream)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(next_value(stream), 0.01)
        assert not stream.status.live
        assert 6 == (await next_value(stream)).version


async def test_readers_may_share_a_channel_that_stays_open(target: str, evs: ScriptedEvs) -> None:
    evs.streams.extend([[value(5)], [value(6)]])
    async with grpc.aio.insecure_channel(target) as channel:
        for version in (5, 6):
            async with EquityStream(channel, 7) as stream:
                assert version == (await next_value(stream)).version
