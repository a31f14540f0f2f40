"""
A TCP proxy that does to a connection what networks do: delay, swallow, slice, cut, reset, and change a byte.

It runs on a loop in a thread of its own, so that tests of either colour may use it and none of them holds it up.
Listens on loopback only.
"""

import asyncio
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.patience import PATIENCE_SECONDS

CHUNK_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Trouble:
    """
    What becomes of one connection, in both directions alike.

    Attributes:
        latency_seconds: Every chunk comes so much later.
        slice_bytes: Largest chunk that is passed on; 0: as it comes.
        cut_after_bytes: The connection is reset once so many have passed, both directions together; 0: never.
        corrupt_at: Offset of a byte from the client whose bits are all flipped; -1: none.
    """

    latency_seconds: float = 0.0
    slice_bytes: int = 0
    cut_after_bytes: int = 0
    corrupt_at: int = -1


CALM = Trouble()


class Proxy:
    """
    Passes connections on, each with a trouble of its own. Made by ``proxied``.

    Attributes:
        target: Where to; may be changed, and counts for connections made from then on.
        connection_count: Connections made so far.
        swallowed_bytes: What went into the black hole.
        trouble_of: By the number of a connection, from 1, its trouble.
    """

    def __init__(self, target: str, trouble_of: Callable[[int], Trouble]) -> None:
        self.target = target
        self.trouble_of = trouble_of
        self.connection_count = 0
        self.swallowed_bytes = 0
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._swallows = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._numbers = itertools.count(1)

    def open(self) -> None:
        """Listen; ``address`` says where."""
        self._server = self._on_loop(asyncio.start_server(self._connected, "127.0.0.1", 0, limit=CHUNK_BYTES))
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname())

    def reset_all(self) -> None:
        """Reset every connection there is."""
        self._on_loop(self._reset_all())

    def swallow(self, *, everything: bool) -> None:
        """A black hole: connections stay, and nothing comes through, neither old ones nor new."""
        self._swallows = everything
        if not everything:
            # What was swallowed is missing from those streams for good.
            self.reset_all()

    def run(self) -> None:
        """Serve until ``close``; on a thread of its own."""
        self._loop.run_forever()

    def close(self) -> None:
        """Let go of everything."""
        self._on_loop(self._reset_all(closing=True))
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    async def _reset_all(self, *, closing: bool = False) -> None:
        if closing and self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            _reset(writer)
        if closing:
            own = asyncio.current_task()
            tasks = [task for task in asyncio.all_tasks() if task is not own]
            if tasks:
                await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)

    def _swallow(self, chunk: bytes) -> bool:
        self.swallowed_bytes += len(chunk) if self._swallows else 0
        return self._swallows

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count = next(self._numbers)
        trouble = self.trouble_of(self.connection_count)
        ends = [writer]
        try:
            host, port = self.target.rsplit(":", 1)
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    to_reader, to_writer = await asyncio.open_connection(host, int(port), limit=CHUNK_BYTES)
                ends.append(to_writer)
                self._writers.update(ends)
                line = _Line(trouble, self._swallow)
                ways = (line.pump(reader, to_writer, upward=True), line.pump(to_reader, writer, upward=False))
                tasks = [asyncio.ensure_future(way) for way in ways]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
                for task in tasks:
                    if not task.cancelled():
                        task.exception()
        finally:
            for end in ends:
                _reset(end)
            self._writers.difference_update(ends)


class _Line:
    """One connection, both ways."""

    def __init__(self, trouble: Trouble, swallow: Callable[[bytes], bool]) -> None:
        self._trouble = trouble
        self._swallow = swallow
        self._passed = 0

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upward: bool) -> None:
        """Pass one direction on, until it ends or is cut."""
        trouble, offset = self._trouble, 0
        while chunk := await reader.read(trouble.slice_bytes or CHUNK_BYTES):
            if trouble.latency_seconds:
                await _later(trouble.latency_seconds)
            if self._swallow(chunk):
                continue
            if upward and offset <= trouble.corrupt_at < offset + len(chunk):
                place = trouble.corrupt_at - offset
                chunk = chunk[:place] + bytes([chunk[place] ^ 0xFF]) + chunk[place + 1 :]
            offset += len(chunk)
            room = trouble.cut_after_bytes - self._passed if trouble.cut_after_bytes else len(chunk)
            writer.write(chunk[:room])
            await writer.drain()
            self._passed += len(chunk)
            if trouble.cut_after_bytes and self._passed >= trouble.cut_after_bytes:
                return


def _later(seconds: float) -> asyncio.Future[None]:
    """Done after some seconds: the delay is the trouble itself, nothing is waited for."""
    loop = asyncio.get_running_loop()
    due = loop.create_future()

    def come() -> None:
        if not due.done():
            due.set_result(None)

    loop.call_later(seconds, come)
    return due


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side is told of an error, not of an end."""
    connected: socket.socket | None = writer.get_extra_info("socket")
    if connected is not None and connected.fileno() >= 0:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


@contextmanager
def proxied(target: str = "127.0.0.1:1", trouble_of: Callable[[int], Trouble] = lambda _: CALM) -> Iterator[Proxy]:
    """A proxy in front of an address, as long as the block lasts."""
    proxy = Proxy(target, trouble_of)
    thread = threading.Thread(target=proxy.run)
    thread.start()
    try:
        proxy.open()
        yield proxy
    finally:
        proxy.close()
        thread.join(PATIENCE_SECONDS)
        proxy._loop.close()
