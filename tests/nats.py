"""The real NATS, alone or as three, and connections to it: what the tests of the log stand on."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import nats

from evs_server.cluster import subjects
from evs_server.cluster.ports import Entry, Message
from evs_server.config import Settings, load
from evs_server.errors import LogUnavailable, Superseded
from evs_server.log import EmbeddedNats, Log, open_log
from evs_server.log.embedded import Routes, _program
from tests.patience import PATIENCE_SECONDS, eventually_true

SOURCE = "em"
JOURNAL = subjects.of_source(SOURCE)


def settings_of(url: str, *, replicas: int = 1) -> Settings:
    """Settings that name a NATS."""
    return load(nats_url=url, nats_replicas=replicas)


@asynccontextmanager
async def a_nats_of(
    configuration: str, directory: Path, port: int, env: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """
    A server with a configuration of its own, as long as the context.

    Args:
        directory: Where the file goes.
        port: Where it is said to listen.
        env: Its environment; absent: that of the test.
    """
    file = directory / "nats.conf"
    file.write_text(configuration)
    server = await asyncio.create_subprocess_exec(_program(), "-c", str(file), env=env)
    try:
        await eventually_true(lambda: _listens(port), "NATS listens")
        yield
    finally:
        server.terminate()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await server.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def a_log(url: str, *, replicas: int = 1) -> AsyncIterator[Log]:
    """A log, opened, and doing what it does beside."""
    async with open_log(settings_of(url, replicas=replicas), "test") as log:
        running = asyncio.create_task(log.run())
        try:
            yield log
        finally:
            running.cancel()


@asynccontextmanager
async def three_servers(directory: Path) -> AsyncIterator[list[EmbeddedNats]]:
    """Three servers that keep the log together; their secret is the same, so that one address has all."""
    ports = free_ports(3)
    servers = [
        EmbeddedNats(directory / f"nats-{number}", name=f"nats-{number}", routes=Routes(port, ports), secret="secret")
        for number, port in enumerate(ports)
    ]
    async with AsyncExitStack() as undo:
        for server in servers:
            undo.push_async_callback(server.stop)
        # None is ready before it sees another.
        await asyncio.gather(*(server.start() for server in servers))
        yield servers


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; a server that finds its own taken meanwhile tries for a while."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def a_message(shard: int, text: str) -> Message:
    """What one shard is to read."""
    return Message(subjects.of_shard(shard), text.encode())


def for_all(text: str) -> Message:
    """What every shard is to read."""
    return Message(subjects.SHARED, text.encode())


def journal(text: str, source: str = SOURCE) -> Message:
    """A journal entry."""
    return Message(subjects.of_source(source), text.encode())


async def take(log: Log, wanted: Sequence[str], after: int, count: int) -> list[Entry]:
    """The next entries of a reader that begins after a position; once there are so many, it ends."""
    entries: list[Entry] = []
    async with asyncio.timeout(3 * PATIENCE_SECONDS), aclosing(log.events.follow(wanted, after)) as following:
        async for some in following:
            entries += some
            if len(entries) >= count:
                break
    return entries


async def texts(log: Log, wanted: Sequence[str], after: int, count: int) -> list[str]:
    """The same, but for what it says."""
    return [entry.data.decode() for entry in await take(log, wanted, after, count)]


async def by_hand(server: EmbeddedNats, subject: str, request: dict[str, Any]) -> dict[str, Any]:
    """JetStream's answer to what an operator asks of it."""
    client = await nats.connect(server.url)
    try:
        message = await client.request(f"$JS.API.{subject}", json.dumps(request).encode())
    finally:
        await client.close()
    answer: dict[str, Any] = json.loads(message.data)
    assert "error" not in answer, answer
    return answer


async def append_surely(log: Log, parts: Sequence[Message], entry: Message, expected: int, batch_id: str) -> int:
    """
    Put a batch into the log, however often that takes; each attempt is decided by where the journal is.

    Args:
        expected: Where the batch before it is.
    """
    async with asyncio.timeout(3 * PATIENCE_SECONDS):
        while True:
            try:
                return await log.events.append(parts, entry, expected, batch_id)
            except Superseded as error:
                # Of an attempt whose answer was lost; nobody else writes this journal.
                return error.last
            except LogUnavailable:
                await asyncio.sleep(0)
