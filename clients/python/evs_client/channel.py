"""How a client opens its channel: it reconnects soon and notices a dead line. Nothing is sent before the first call."""

from typing import Final

import grpc
import grpc.aio

OPTIONS: Final = (
    # gRPC's own pause between connection attempts grows to two minutes; ours is the one that counts.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # EVS allows pings this often; a line that swallows everything is found within 40 seconds.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

Metadata = tuple[tuple[str, str], ...]
"""Sent with every call, such as ``(("authorization", "Bearer ..."),)``."""


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """A channel to ``target`` (``host:port`` or ``unix:path``); without credentials in plain text, for loopback."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=OPTIONS)
    return grpc.aio.secure_channel(target, credentials, options=OPTIONS)
