"""
Frames as a websocket carries them, made once for all the sockets that are sent the same. Pure.

Lives here: the header of a text frame, and a value on its way to everybody who follows its account. Not here: JSON
(``frames``), whether a socket is sent a value (``session``) or can take it (``connection``).

The library would make the header anew for each socket, by way of a frame, a buffer and a state machine. A push has no
need of them: it is short, whole, and a server's.
"""

from typing import Final

from msgspec import Struct

from evs_server.bridge import frames
from evs_server.bridge.values import EquityValue

FRAME_BYTES_MAX: Final = 65_535
"""What a header of four bytes can tell; a push has far fewer."""

_WHOLE_TEXT: Final = 0x81
"""RFC 6455 5.2: the last frame of its message (FIN), of text (opcode 1)."""

_LENGTH_FOLLOWS: Final = 126
"""RFC 6455 5.2: instead of a length, two more bytes have it; the length itself, if it is less."""


def text_frame(payload: bytes) -> bytes:
    """A whole message of text as a server sends it: not masked (RFC 6455 5.1), and not compressed."""
    byte_count = len(payload)
    assert byte_count <= FRAME_BYTES_MAX, f"a frame of {byte_count} bytes: the bound is {FRAME_BYTES_MAX}"
    if byte_count < _LENGTH_FOLLOWS:
        return bytes((_WHOLE_TEXT, byte_count)) + payload
    return bytes((_WHOLE_TEXT, _LENGTH_FOLLOWS, byte_count >> 8, byte_count & 0xFF)) + payload


class Change(Struct):
    """
    A value on its way to everybody who follows its account.

    Attributes:
        value: What EVS said.
        frame: Its JSON for who has missed nothing before it; empty until ``text`` is asked for.
        framed: The same with its header.
    """

    value: EquityValue
    frame: bytes = b""
    framed: bytes = b""

    def text(self) -> bytes:
        """The frame with its header, made for the first who is sent it."""
        if not self.framed:
            self.frame = frames.equity(self.value, snapshot=False, conflated=self.value.conflated)
            self.framed = text_frame(self.frame)
        return self.framed
