"""Attempts to make EVS unwell: storms, floods, bombs, nonsense (FAULTS F11, F12, F13, F26, F30)."""

import asyncio
import contextlib
import os
import random
import resource
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.limits import MESSAGE_BYTES_MAX
from evs_server.listener import listen, server_options
from evs_server.roles import Role
from tests.builders import ALICE
from tests.database import DatabaseServer
from tests.e2e import processes
from tests.e2e.exchange_tables import exchange_database
from tests.patience import PATIENCE_SECONDS, eventually, eventually_true
from tests.security.secured import VALUATION, Secure, SecuredEvs, a_token, call
from tests.security.test_roles import methods

StatusCode = grpc.StatusCode
GET = f"{VALUATION}GetEquity"
TICK = f"{VALUATION}OnTickComplete"
STREAM = f"{VALUATION}StreamEvents"
ASK = pb.GetEquityRequest(account_id=ALICE)
SENDER = a_token("execution-manager", Role.INGEST)

MIB = 2**20


def memory_mib() -> float:
    """What this process has in memory now, gRPC's part included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def alone(address: str) -> grpc.aio.Channel:
    """A channel with a connection of its own, that does not hide how often it was refused."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    return grpc.aio.insecure_channel(address, options=options)


# --- connections -------------------------------------------------------------------------------------------------


async def test_connections_beyond_the_bound_are_closed_and_the_others_are_served(secure: Secure) -> None:
    """FAULTS F11: a storm does not drown those that are there; when it is over there is room again."""
    async with secure(connections_max=3) as evs, contextlib.AsyncExitStack() as storm:
        assert StatusCode.OK == (await evs.call(GET, ASK, a_token(ALICE))).code
        channels = [await storm.enter_async_context(alone(evs.addresses[0])) for _ in range(10)]
        codes = [(await call(channel, GET, ASK, a_token(ALICE))).code for channel in channels]
        assert [StatusCode.OK] * 2 + [StatusCode.UNAVAILABLE] * 8 == codes
        assert StatusCode.OK == (await evs.call(GET, ASK, a_token(ALICE))).code
        await channels[0].close()

        async def let_in() -> bool:
            async with alone(evs.addresses[0]) as late:
                return (await call(late, GET, ASK, a_token(ALICE))).code is StatusCode.OK

        await eventually_true(let_in, "there is room again")


async def test_calls_that_never_send_their_request_are_bounded(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can be asked who calls before gRPC has read the request; until then each holds memory."""
    monkeypatch.setattr("evs_server.access.servers.CALLS_MAX", 5)
    async with secure() as evs, alone(evs.addresses[0]) as channel:
        silent: list[Any] = [channel.stream_stream(GET)() for _ in range(5)]
        for each in silent:
            await each.wait_for_connection()

        async def code() -> StatusCode:
            return (await evs.call(GET, ASK, a_token(ALICE))).code

        async def refused() -> bool:
            return await code() is StatusCode.RESOURCE_EXHAUSTED

        async def let_in() -> bool:
            return await code() is StatusCode.OK

        await eventually_true(refused, "there is no room")
        for each in silent:
            each.cancel()
        await eventually_true(let_in, "there is room again")


@pytest.mark.parametrize("first", [b"", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHost: evs\r\n\r\n"], ids=str)
async def test_who_connects_and_does_not_speak_is_hung_up_on(first: bytes) -> None:
    """FAULTS F11; here after a tenth of a second, in earnest after ten."""
    server = grpc.aio.server(options=server_options(handshake_seconds=0.1))
    address = listen(server, "127.0.0.1:0", "EVS_LISTEN")
    await server.start()
    try:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(first)
        async with asyncio.timeout(PATIENCE_SECONDS):
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
        writer.close()
    finally:
        await server.stop(None)


def test_a_handshake_may_take_ten_seconds() -> None:
    """The library's own default is two minutes."""
    options = dict(server_options())
    assert 10_000 == options["grpc.server_handshake_timeout_ms"]
    assert options["grpc.http2.min_ping_interval_without_data_ms"] < options["grpc.keepalive_time_ms"] == 30_000
    assert 10_000 == options["grpc.keepalive_timeout_ms"]


@pytest.mark.skipif(sys.platform != "linux", reason="sets another process's limits as Linux allows")
def test_without_file_descriptors_new_callers_are_refused_and_old_ones_served(
    system_server: DatabaseServer, tmp_path: Path
) -> None:
    """FAULTS F26: and all is well again once there are some."""
    with (
        exchange_database(system_server) as tables,
        processes.serving(tables.dsn, tmp_path) as (evs, address),
        grpc.insecure_channel(address) as old,
    ):
        tick: Any = evs_pb2_grpc.EquityValuationServiceStub(old).OnTickComplete
        tick(pb.OnTickCompleteRequest(tick_id=1), timeout=PATIENCE_SECONDS)
        pid = evs.process.pid
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        # As many as it has, and three: its database is connected to already.
        few = len(os.listdir(f"/proc/{pid}/fd")) + 3  # noqa: PTH208
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, usual[1]))
        host, _, port = address.rpartition(":")
        crowd = [socket.create_connection((host, int(port)), PATIENCE_SECONDS) for _ in range(20)]
        eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) >= few, "no descriptors are left")  # noqa: PTH208
        for tick_id in range(2, 12):
            tick(pb.OnTickCompleteRequest(tick_id=tick_id), timeout=PATIENCE_SECONDS)
        for each in crowd:
            each.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as new:
            ticking: Any = evs_pb2_grpc.EquityValuationServiceStub(new).OnTickComplete
            ticking(pb.OnTickCompleteRequest(tick_id=12), timeout=PATIENCE_SECONDS, wait_for_ready=True)
        assert 0 == evs.terminate(), evs.said


# --- messages ----------------------------------------------------------------------------------------------------


async def test_a_bomb_is_refused_before_it_is_expanded(secure: Secure) -> None:
    """FAULTS F13: half a gigabyte of nothing, in half a megabyte; sent by another process, whose memory it takes."""
    async with secure() as evs:
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-c", BOMB, evs.addresses[0], TICK, *SENDER[0], stdout=asyncio.subprocess.PIPE
        )  # fmt: skip
        said = asyncio.ensure_future(sender.communicate())
        before = most = memory_mib()
        while not said.done():
            await asyncio.wait({said}, timeout=0.005)
            most = max(most, memory_mib())
        assert "RESOURCE_EXHAUSTED" == said.result()[0].decode().strip()
        assert most - before < 64
        assert StatusCode.OK == (await evs.call(TICK, b"", SENDER)).code


BOMB = """
import sys, grpc
address, method, name, value = sys.argv[1:]
with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
    try:
        channel.unary_unary(method)(
            bytes(512 * 2**20), metadata=[(name, value)], compression=grpc.Compression.Gzip, timeout=60
        )
    except grpc.RpcError as error:
        print(error.code().name)
"""
"""Sends half a gigabyte of zeros, compressed, and says how that ended."""


async def test_a_message_beyond_the_limit_is_refused_and_the_connection_lives(secure: Secure) -> None:
    async with secure() as evs:
        outcome = await evs.call(TICK, bytes(MESSAGE_BYTES_MAX + 1), SENDER)
        assert StatusCode.RESOURCE_EXHAUSTED == outcome.code
        assert StatusCode.RESOURCE_EXHAUSTED == (await evs.stream(STREAM, bytes(4 * MIB), metadata=SENDER)).code
        assert StatusCode.OK == (await evs.call(TICK, b"", SENDER)).code


def nonsense(seed: int) -> bytes:
    """Bytes that are no message, or one of fields that nobody knows."""
    dice = random.Random(seed)
    return dice.randbytes(dice.choice((1, 7, 64, 4_096)))


UNKNOWN_FIELDS = bytes([0xF8, 0x07, 0x01]) * 300_000
"""Field 127 of a varint, as often as fits into a message."""


@pytest.fixture
async def open_evs(secure: Secure) -> AsyncIterator[SecuredEvs]:
    """An EVS that lets everybody in."""
    async with secure(jwt_secret_file=None) as evs:
        yield evs


async def test_nonsense_is_refused_and_changes_nothing(open_evs: SecuredEvs) -> None:
    """FAULTS F12: of every method, by whoever may call it; what cannot be parsed is the library's INTERNAL."""
    before = open_evs.rooms.state()
    for seed, method in enumerate(each for each in methods() if each.startswith("/evs.v1.") and "Tick" not in each):
        for payload in (nonsense(seed), b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 10_000, b"\x08" + b"\xff" * 9 + b"\x02"):
            outcome = await open_evs.stream(method, payload, metadata=())
            assert (method, payload[:20], True) == (method, payload[:20], outcome.code in ALLOWED)
    assert before == open_evs.rooms.state()


ALLOWED = {
    StatusCode.OK,  # an unknown field, and nothing else: an empty batch, which changes nothing
    StatusCode.INTERNAL,  # not to be parsed
    StatusCode.INVALID_ARGUMENT,
    StatusCode.OUT_OF_RANGE,
    StatusCode.NOT_FOUND,
    StatusCode.UNAVAILABLE,  # of the operators' methods, which do not serve here
}


async def test_fields_that_nobody_knows_are_skipped(open_evs: SecuredEvs) -> None:
    """FAULTS F12: a later version of the contract may have them; a million are no more than their bytes."""
    outcome = await open_evs.call(GET, ASK.SerializeToString() + UNKNOWN_FIELDS)
    assert StatusCode.OK == outcome.code


# --- bugs --------------------------------------------------------------------------------------------------------


async def test_an_unexpected_error_says_nothing_of_itself_and_ends_nothing_else(
    secure: Secure, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS F30: on the wire, unary and stream; streams of others go on."""

    def broken(account_id: int) -> Any:
        raise ZeroDivisionError(f"secret of the house about {account_id}")

    async with secure() as evs:
        token = a_token(ALICE)
        subscribing: Any = evs.channel.unary_stream(f"{VALUATION}SubscribeEquity")
        stream = subscribing(ASK.SerializeToString(), metadata=token, timeout=PATIENCE_SECONDS)
        assert isinstance(await stream.read(), bytes)
        with monkeypatch.context() as patched:
            patched.setattr(evs.rooms.engine, "snapshot", broken)
            for outcome in (
                await evs.call(GET, ASK, token),
                await evs.stream(f"{VALUATION}SubscribeEquity", ASK, metadata=token),
            ):
                assert (StatusCode.INTERNAL, "internal error; see the log of EVS") == (outcome.code, outcome.details)
        assert "secret of the house" in caplog.text
        await evs.call(f"{VALUATION}OnCashAdjusted", pb.OnCashAdjustedRequest(account_id=ALICE, amount_cents=5), SENDER)
        await evs.call(TICK, b"", SENDER)
        change = pb.SubscribeEquityResponse.FromString(await stream.read())
        assert 1_000_005 == change.equity.total_equity
        stream.cancel()
