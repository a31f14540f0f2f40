"""
A crowd of websocket readers in one process, as light as readers can be: they count frames and note when they came.

Nothing is parsed but the lengths of frames: a client library would take more of the machine than what is measured.
Readers come from many addresses of loopback, since the bridge lets in only so many from one.
"""

import asyncio
import base64
import os
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self

SOCKETS_PER_ADDRESS = 16
AT_ONCE = 50
"""Handshakes under way at a time."""
PATIENCE_SECONDS = 120.0

OnFrame = Callable[[float], None]


class Socket(asyncio.Protocol):
    """
    One reader.

    Args:
        host: Who is called, for the handshake.
        requests: Texts to send once the handshake is done.
        on_frame: Told the time of each frame.
    """

    def __init__(self, host: str, requests: Sequence[str], on_frame: OnFrame) -> None:
        self._host = host
        self._requests = requests
        self._on_frame = on_frame
        self._buffer = bytearray()
        self._open = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a websocket."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /ws HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Count the frames that are whole."""
        now = time.perf_counter()
        self._buffer += data
        if not self._open:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head.split(b"\r\n")[0], head.decode()
            self._open, self._buffer = True, rest
            for text in self._requests:
                self.send(text)
        while (size := _frame_size(self._buffer)) <= len(self._buffer):
            if self._buffer[0] & 0x0F == 1:
                self._on_frame(now)
            del self._buffer[:size]

    def send(self, text: str) -> None:
        """Send a short text; the mask is all zeros, which leaves it as it is."""
        assert self.transport is not None
        payload = text.encode()
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        self.transport.write(b"\x81" + length + bytes(4) + payload)


class Crowd:
    """Readers of one address, and when each frame since the last ``expect`` came."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._sockets: list[Socket] = []
        self._expected = 0
        self._complete = asyncio.Event()
        self.seen_at: list[float] = []

    def expect(self, count: int) -> None:
        """Forget the frames seen, and wait for so many."""
        self.seen_at, self._expected = [], count
        self._complete.clear()

    async def complete(self) -> None:
        """Return once as many frames came as are expected."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._complete.wait()

    async def join(self, requests: Iterable[Sequence[str]]) -> Self:
        """One more reader for each entry, which sends these texts first."""
        coming = list(requests)
        for start in range(0, len(coming), AT_ONCE):
            await asyncio.gather(*(self._connect(each) for each in coming[start : start + AT_ONCE]))
        return self

    def say(self, text: str) -> None:
        """Have everyone send a short text."""
        for socket in self._sockets:
            socket.send(text)

    def close(self) -> None:
        """Have everyone leave at once."""
        for socket in self._sockets:
            if socket.transport is not None:
                socket.transport.abort()

    async def _connect(self, requests: Sequence[str]) -> None:
        host, _, port = self._address.rpartition(":")
        place = len(self._sockets) // SOCKETS_PER_ADDRESS
        socket = Socket(self._address, requests, self._note)
        self._sockets.append(socket)
        await asyncio.get_running_loop().create_connection(
            lambda: socket, host, int(port), local_addr=(f"127.0.{1 + place // 250}.{1 + place % 250}", 0)
        )

    def _note(self, now: float) -> None:
        self.seen_at.append(now)
        if len(self.seen_at) >= self._expected:
            self._complete.set()


def _frame_size(buffer: bytearray) -> int:
    """Bytes of the first frame, which may not be there yet; frames from a server are not masked."""
    if len(buffer) < 2:
        return 2
    length = buffer[1] & 0x7F
    if length < 126:
        return 2 + length
    assert length == 126, "no frame here is that large"
    return 4 + int.from_bytes(buffer[2:4]) if len(buffer) >= 4 else 4
