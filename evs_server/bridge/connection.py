"""
One browser's socket: a task that reads it, a task that writes it, and the session between them.

Lives here: waiting, deadlines, closing. Not here: any decision (``session``), JSON (``frames``). Each socket has a
writer of its own, which takes one frame at a time: a slow reader holds up nobody, and gets the newest value once it can
take one. What is due while the writer sleeps, and fits into the room that the socket has, is written at once: without
waking the writer, and as whole frames of our own making (``framing``), since no message is half sent then.
"""

import asyncio
from collections.abc import Iterator
from math import inf
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from evs_server.bridge.frames import CloseCode
from evs_server.bridge.framing import Change, text_frame
from evs_server.bridge.metrics import Traffic
from evs_server.bridge.policy import FRAGMENT_BYTES, WRITE_BYTES_MAX, Policy
from evs_server.bridge.reads import Reads
from evs_server.bridge.session import Close, Demand, Follow, Read, Session, Unfollow
from evs_server.bridge.upstream import Upstream
from evs_server.clock import Clock

FRAME_HEADER_BYTES: Final = 14
"""What a websocket puts before a payload, at most."""

PUSH_BYTES_MAX: Final = 1_024
"""An equity or status frame has fewer: about 350 bytes, and 550 with the largest numbers and every flag."""


class Connection:
    """
    A socket and its session; a reader of the upstream.

    Args:
        websocket: The socket, its opening handshake done.
        session: What decides.
        upstream: The streams from EVS.
        reads: What else can be asked of EVS.
        clock: What the session's times are taken from.
        policy: How long sending and closing may take.
        traffic: Counts what is sent and received.
    """

    def __init__(
        self,
        websocket: ServerConnection,
        session: Session,
        upstream: Upstream,
        reads: Reads,
        clock: Clock,
        policy: Policy,
        traffic: Traffic,
    ) -> None:
        self._websocket = websocket
        self._transport = websocket.transport
        self._session = session
        self._upstream = upstream
        self._reads = reads
        self._clock = clock
        self._policy = policy
        self._traffic = traffic
        self._followed: int | None = None
        self._sleeps = False
        self._set_alarm(session.due())
        self._changed = asyncio.Event()
        self._answered = asyncio.Event()

    async def run(self) -> None:
        """Serve the socket until it is closed."""
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write())
                await self._read()
                writer.cancel()
        finally:
            self._alarm.cancel()
            if self._followed is not None:
                self._upstream.unfollow(self._followed, self)

    # --- the upstream's reader -----------------------------------------------------------------------------------

    def deliver(self, change: Change) -> None:
        """Take a value, which others may be given, too."""
        if (
            self._sleeps
            and self._has_room(PUSH_BYTES_MAX)
            and self._session.passes(change.value, self._clock.monotonic())
        ):
            # What is due next is due when it was before: the alarm stands.
            self._send_at_once(change.text(), len(change.frame))
            return
        self._session.deliver(change.value)
        self._push_or_wake()

    def set_stale(self, since_ms: int) -> None:
        """EVS cannot be heard since a unix time in milliseconds."""
        self._session.set_stale(since_ms)
        self._changed.set()

    def set_live(self) -> None:
        """EVS is heard again."""
        self._session.set_live()
        self._changed.set()

    def end(self, code: CloseCode, reason: str) -> None:
        """Nothing more will come."""
        self._session.end(code, reason)
        self._changed.set()

    def _push_or_wake(self) -> None:
        if not self._push():
            self._changed.set()

    def _push(self) -> bool:
        """True if nothing is left for the writer, which sleeps: to wake it would cost as much as the frame does."""
        if not self._sleeps or self._session.owes_answer:
            return False
        while self._has_room(PUSH_BYTES_MAX):
            frame = self._session.take(self._clock.monotonic())
            if frame is None:
                self._keep_alarm()
                return self._session.close is None
            self._send_at_once(text_frame(frame), len(frame))
        return False

    def _send_at_once(self, text: bytes, byte_count: int) -> None:
        """Write a frame with its header, whose JSON has so many bytes; no writer is under way, and there is room."""
        self._count(byte_count)
        # After a close nothing may follow (RFC 6455 5.5.1).
        if self._websocket.state is State.OPEN:
            self._transport.write(text)

    # --- the socket ----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            async for message in self._websocket:
                self._traffic.received_count += 1
                for demand in self._session.receive(message, self._clock.monotonic()):
                    await self._meet(demand)
                self._changed.set()
                # Reads on only once the answer has left: who does not read answers is not read either. A socket that
                # is being closed is read to its end, or the other side's close would never be seen.
                if self._session.close is None:
                    self._answered.clear()
                    await self._answered.wait()
        except ConnectionClosed:
            return

    async def _meet(self, demand: Demand) -> None:
        match demand:
            case Follow(account_id):
                self._followed = account_id
                self._upstream.follow(account_id, self)
            case Unfollow(account_id):
                self._followed = None
                self._upstream.unfollow(account_id, self)
            case Read(request, account_id):
                self._session.fulfil(demand, await self._reads.read(request, account_id))

    async def _write(self) -> None:
        try:
            while (close := await self._send_due()) is None:
                self._answered.set()
                await self._wait()
            self._answered.set()
            await self._close(close)
        except ConnectionClosed:
            # What had been read by then is not taken up any more: nobody is left to answer.
            self._session.end(CloseCode.INTERNAL_ERROR, "the socket was lost")
            self._answered.set()

    async def _send_due(self) -> Close | None:
        """Send all that is due; how to close the socket, if it has come to that."""
        self._changed.clear()
        while (frame := self._session.take(self._clock.monotonic())) is not None:
            self._count(len(frame))
            if self._has_room(len(frame)):
                await self._websocket.send(frame, text=True)
                continue
            try:
                await self._send_in_pieces(frame)
            except TimeoutError:
                self._session.end(CloseCode.SLOW, f"a frame was not taken within {self._policy.send_s:g} s")
                return self._session.close
        return self._session.close

    async def _send_in_pieces(self, frame: bytes) -> None:
        """
        Send a frame that the socket has no room for: a reader has ``send_s`` for each piece.

        A slow reader of a large answer goes on as long as it takes anything, pings reach it between the pieces, and no
        more than one of them is copied to wait.
        """
        async with asyncio.timeout(self._policy.send_s) as patience:
            if len(frame) <= FRAGMENT_BYTES:
                await self._websocket.send(frame, text=True)
            else:
                await self._websocket.send(self._pieces(frame, patience), text=True)

    def _pieces(self, frame: bytes, patience: asyncio.Timeout) -> Iterator[bytes]:
        loop = asyncio.get_running_loop()
        for start in range(0, len(frame), FRAGMENT_BYTES):
            patience.reschedule(loop.time() + self._policy.send_s)
            yield frame[start : start + FRAGMENT_BYTES]

    def _count(self, byte_count: int) -> None:
        self._traffic.sent_count += 1
        self._traffic.sent_bytes += byte_count

    def _has_room(self, byte_count: int) -> bool:
        """True if a frame will be taken without waiting: then its deadline, a timer each time, can be spared."""
        waiting = self._transport.get_write_buffer_size()
        return waiting + byte_count + FRAME_HEADER_BYTES <= WRITE_BYTES_MAX

    async def _wait(self) -> None:
        self._keep_alarm()
        self._sleeps = True
        try:
            await self._changed.wait()
        finally:
            self._sleeps = False

    def _keep_alarm(self) -> None:
        # The last alarm is left to ring if it is early enough: setting one for each frame would cost more than the
        # frame does. One that rings for nothing is harmless.
        due = self._session.due()
        if due < self._alarm_at:
            self._alarm.cancel()
            self._set_alarm(due)

    def _set_alarm(self, due: float) -> None:
        def ring() -> None:
            self._alarm_at = inf
            self._push_or_wake()

        self._alarm_at = due
        self._alarm = asyncio.get_running_loop().call_later(due - self._clock.monotonic(), ring)

    async def _close(self, close: Close) -> None:
        try:
            async with asyncio.timeout(self._policy.close_s):
                await self._websocket.close(close.code, close.reason)
        except TimeoutError:
            # The other end takes nothing, not even the close.
            self._transport.abort()
