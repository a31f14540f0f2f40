"""
How a client opens its channel, encrypts it and says who it is.

It reconnects soon and notices a dead line. Nothing is sent before the first call.
"""

from collections.abc import Callable
from pathlib import Path
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

MetadataSource = Metadata | Callable[[], Metadata]
"""The same for every call, or asked before each: for tokens that are renewed. It must answer at once."""


def metadata_now(source: MetadataSource) -> Metadata:
    """What to send with a call that begins now."""
    return source() if callable(source) else source


def bearer(token: Callable[[], str]) -> MetadataSource:
    """
    Metadata that says who calls.

    Args:
        token: The token that is good now; asked before each call, so that it may be renewed. Streams outlive a token:
            when EVS ends one with it, the client goes on with the next.
    """
    return lambda: (("authorization", f"Bearer {token()}"),)


def tls(ca_file: Path, certificate_file: Path | None = None, key_file: Path | None = None) -> grpc.ChannelCredentials:
    """
    Credentials for an encrypted channel.

    Args:
        ca_file: PEM certificates of whoever signs EVS's.
        certificate_file: PEM certificate to show, if EVS asks for one.
        key_file: Its key.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If only one of certificate and key is given.
    """
    if (certificate_file is None) is not (key_file is None):
        raise ValueError("certificate_file and key_file go together: give both or neither")
    return grpc.ssl_channel_credentials(
        ca_file.read_bytes(),
        private_key=None if key_file is None else key_file.read_bytes(),
        certificate_chain=None if certificate_file is None else certificate_file.read_bytes(),
    )


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """A channel to ``target`` (``host:port`` or ``unix:path``); without credentials in plain text, for loopback."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=OPTIONS)
    return grpc.aio.secure_channel(target, credentials, options=OPTIONS)
