"""
How the gRPC server listens: its options, and addresses that cannot be had. Touches I/O.

The limits are those that hold for every caller, known or not; who may call what is decided elsewhere.
"""

from typing import Any

import grpc

from evs_server.errors import ConfigError
from evs_server.limits import MESSAGE_BYTES_MAX, STREAMS_PER_CONNECTION_MAX


def server_options() -> list[tuple[str, Any]]:
    """Options of the gRPC server, by the names of its library."""
    return [
        # Two servers on one port would share its calls; the second must fail to start instead.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
        ("grpc.max_metadata_size", 8 * 1_024),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Below any interval that a client of ours keeps alive with, or its pings would be taken for abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def listen(server: grpc.aio.Server, address: str, setting: str) -> str:
    """
    The address a server listens on, its port made out if it was left open.

    Args:
        setting: Name of the variable the address comes from.

    Raises:
        ConfigError: If the address cannot be had.
    """
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if not port:
        raise ConfigError(
            f"cannot listen on {address}: it is taken, or not an address of this machine; "
            f"stop what uses it, or set {setting} to another",
            address=address,
        )
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
