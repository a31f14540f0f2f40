"""
How the bridge treats one browser: how much, how fast, how long. Pure.

Lives here: every bound of the bridge, with its reason (FAULTS 3). Not here: what happens at a bound (``session``,
``connection``, ``server``), or what an operator may set (``config``).
"""

from dataclasses import dataclass
from typing import Final

MESSAGE_BYTES_MAX: Final = 8_192
"""A request; a token of 4 KiB must fit."""

MESSAGES_QUEUED_MAX: Final = 4
"""Requests read ahead of the one being answered, before the socket is read no further."""

WRITE_BYTES_MAX: Final = 32_768
"""What may wait in this process for one socket to take it."""

ANSWERS_QUEUED_MAX: Final = 4
"""Answers waiting to be sent: no request is taken up before the last one's answer has left."""

CLOSE_REASON_BYTES_MAX: Final = 123
"""RFC 6455 5.5: a control frame carries up to 125 bytes, two of which are the code."""

FRAGMENT_BYTES: Final = 16_384
"""A frame that would fill the socket's room is sent in pieces of this size, so that pings get through between them."""

assert FRAGMENT_BYTES < WRITE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What one browser may do and how long anything may take; the defaults are those of FAULTS 3.

    Attributes:
        push_interval_s: Least time between two equity frames; values in between are conflated.
        auth_s: Time to authenticate in before the socket is closed.
        refresh_grace_s: How long a socket outlives its token, so that a new one can be presented.
        malformed_max: Requests that make no sense which are answered within ``malformed_window_s``; one more closes.
        malformed_window_s: See ``malformed_max``.
        messages_per_minute: Rate and burst of requests of one socket.
        subscribes_per_second: Rate of ``equity.subscribe``, which costs a snapshot each time.
        connections_per_account: Sockets of one account at a time.
        connections_per_address: Sockets from one IP address at a time.
        connections_max: Sockets at a time, all told.
        visitors_max: Connections at a time that ask for a page and have not taken all of it.
        answer_bytes_max: What large answers may hold at a time, all told, until their sockets have taken them.
        history_reads_max: Reads of history at a time, all told; further ones wait.
        handshake_s: Time for the opening handshake.
        send_s: How long one frame, or one piece of a large one, may take to be taken by a reader's socket.
        page_s: How long a page may take to be taken.
        close_s: How long a closing handshake may take.
        ping_interval_s: How often the library pings.
        ping_timeout_s: How long a pong may take.
        silence_s: How long a stream of EVS may be silent before it counts as lost; longer than two heartbeats.
        read_s: Deadline of a read that EVS is asked for.
        backoff_min_s: First wait before a lost stream is opened again.
        backoff_max_s: Longest such wait.
    """

    push_interval_s: float = 0.25
    auth_s: float = 5.0
    refresh_grace_s: float = 25.0
    malformed_max: int = 5
    malformed_window_s: float = 10.0
    messages_per_minute: int = 100
    subscribes_per_second: int = 2
    connections_per_account: int = 5
    connections_per_address: int = 20
    connections_max: int = 16_384
    visitors_max: int = 256
    answer_bytes_max: int = 64 * 2**20
    history_reads_max: int = 32
    handshake_s: float = 10.0
    send_s: float = 10.0
    page_s: float = 30.0
    close_s: float = 5.0
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 10.0
    silence_s: float = 35.0
    read_s: float = 5.0
    backoff_min_s: float = 0.2
    backoff_max_s: float = 5.0
