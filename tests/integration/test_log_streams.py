"""What the log is kept in, and a start that finds it otherwise, or not at all."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evs_server.config import load
from evs_server.errors import ConfigError, LogUnavailable
from evs_server.log import EmbeddedNats, connect, open_log, streams
from tests.nats import a_log, by_hand, journal, settings_of
from tests.patience import eventually_true

DAY_NANOSECONDS = 86_400 * 10**9


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path / "nats")
    async with server:
        yield server


async def problem_of(url: str | None, **settings: object) -> str:
    """Why the log cannot be opened."""
    with pytest.raises(ConfigError) as caught:
        async with open_log(load(nats_url=url, **settings), "test"):
            raise AssertionError("opened")
    return caught.value.message


async def test_the_streams_are_made_by_whoever_comes_first(server: EmbeddedNats) -> None:
    async with open_log(load(nats_url=server.url, log_max_age_days=3), "test"):
        events = (await by_hand(server, "STREAM.INFO.EVS", {}))["config"]
        last = (await by_hand(server, "STREAM.INFO.EVS_LAST", {}))["config"]
    assert (["evs.in.>"], "file", 1, True, True, "old", 3 * DAY_NANOSECONDS) == tuple(
        events[key]
        for key in ("subjects", "storage", "num_replicas", "allow_atomic", "allow_direct", "discard", "max_age")
    )
    assert (["evs.last.>"], 1) == (last["subjects"], last["max_msgs_per_subject"])


async def test_a_deployment_has_one_name_whoever_asks_and_however_often_it_starts(server: EmbeddedNats) -> None:
    """A log and a database that do not belong together are told apart by it."""
    names = set()
    for _ in range(2):
        async with a_log(server.url) as one, a_log(server.url) as other:
            names |= {one.cluster_id, other.cluster_id}
        await server.stop()
        await server.start()
    assert 1 == len(names)


async def test_a_stream_that_is_otherwise_is_left_alone_and_named(server: EmbeddedNats) -> None:
    async with a_log(server.url):
        pass
    said = await problem_of(server.url, log_max_age_days=9)
    assert f"stream EVS has max_age {7 * DAY_NANOSECONDS}, not {9 * DAY_NANOSECONDS}" in said
    assert "EVS_LOG_MAX_AGE_DAYS" in said
    assert 7 * DAY_NANOSECONDS == (await by_hand(server, "STREAM.INFO.EVS", {}))["config"]["max_age"]


async def test_a_stream_of_somebody_else_is_named_with_all_that_is_wrong(server: EmbeddedNats) -> None:
    await by_hand(server, "STREAM.CREATE.EVS", {"name": "EVS", "subjects": ["evs.in.>"], "storage": "memory"})
    said = await problem_of(server.url)
    assert "stream EVS has storage 'memory', not 'file'" in said
    assert "stream EVS has allow_atomic None, not True" in said


async def test_a_stream_without_our_name_was_not_made_by_us(server: EmbeddedNats) -> None:
    async with a_log(server.url):
        config = (await by_hand(server, "STREAM.INFO.EVS", {}))["config"]
    await by_hand(server, "STREAM.UPDATE.EVS", {**config, "metadata": {}})
    assert "it was not made by EVS" in await problem_of(server.url)


async def test_more_copies_than_servers_are_no_log(server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "OPEN_SECONDS", 0)
    with pytest.raises(LogUnavailable, match="EVS_NATS_REPLICAS"):
        async with open_log(settings_of(server.url, replicas=3), "test"):
            raise AssertionError("opened")


@pytest.mark.parametrize(
    ("said", "name", "value"),
    [
        ("is version 2.15: EVS needs 99.0 or newer", "SERVER_MIN", (99, 0)),
        ("takes messages of 8388608 bytes at most: EVS needs 16777216", "PAYLOAD_BYTES_MIN", 2**24),
    ],
)
async def test_a_server_that_will_not_do_is_named(
    server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch, said: str, name: str, value: object
) -> None:
    """Here it is our demands that are beyond it."""
    monkeypatch.setattr(streams, name, value)
    assert said in await problem_of(server.url)


async def test_a_server_without_jetstream_is_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "OPEN_SECONDS", 0)
    async with EmbeddedNats(tmp_path / "plain", jetstream=False) as url:
        with pytest.raises(LogUnavailable, match="it is not enabled there"):
            async with open_log(settings_of(url), "test"):
                raise AssertionError("opened")


async def test_a_log_that_is_not_named_is_asked_for() -> None:
    assert "EVS_NATS_URL" in await problem_of(None)


@pytest.mark.parametrize("url", ["http://a:4222", "nats://", "nats://a:port", "nats://secret@a:0"])
async def test_an_address_that_cannot_be_one_is_refused_and_not_shown(url: str) -> None:
    """It may hold a password."""
    said = await problem_of(url)
    assert "expected nats://host:port" in said
    assert "secret" not in said


async def test_credentials_that_are_wrong_are_named_so(server: EmbeddedNats) -> None:
    said = await problem_of(f"nats://wrong@127.0.0.1:{server.port}")
    assert "refuses the credentials" in said
    assert "wrong" not in said


async def test_a_server_that_is_not_there_is_said_to_be_away(
    server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come; whoever started us decides how long to wait."""
    monkeypatch.setattr(connect, "CONNECT_SECONDS", 0.2)
    await server.stop()
    with pytest.raises(LogUnavailable, match="cannot reach NATS"):
        async with open_log(settings_of(server.url), "test"):
            raise AssertionError("opened")


@pytest.mark.usefixtures("server")
async def test_the_secret_is_for_our_eyes_only(tmp_path: Path) -> None:
    for name in ("secret", "nats.conf"):
        assert 0o600 == (tmp_path / "nats" / name).stat().st_mode & 0o777


async def test_a_server_of_ours_that_ends_by_itself_is_started_again(server: EmbeddedNats) -> None:
    """At the same address, with what it had."""
    async with a_log(server.url) as log:
        position = await log.events.append([], journal("j"), 0, "b1")
        keeping = asyncio.create_task(server.keep_running())
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)

        async def is_back() -> bool:
            with contextlib.suppress(LogUnavailable):
                return await log.events.last_position() == position
            return False

        await eventually_true(is_back, "the log")
        keeping.cancel()
