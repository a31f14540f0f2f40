"""
How the gRPC servers listen: their addresses, options and encryption. Touches I/O.

The limits are those that hold for every caller, known or not; who may call what is decided by ``access``. Limits belong
to a server, so senders that are to have larger messages than readers have one of their own.
"""

import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.internal import api_implementation

from evs_server.config import Settings
from evs_server.errors import ConfigError
from evs_server.limits import (
    MESSAGE_BYTES_MAX,
    METADATA_BYTES_MAX,
    READER_MESSAGE_BYTES_MAX,
    STREAMS_PER_CONNECTION_MAX,
)

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS: Final = 10.0
"""How long a connection may take to begin to speak; gRPC's own default is 120."""


@dataclass(frozen=True, slots=True)
class Door:
    """
    One address to listen on, and for whom.

    Attributes:
        setting: Name of the variable the address comes from.
        address: ``host:port``, or ``unix:path``.
        message_bytes_max: Largest message that is read.
        for_senders: Whether senders' methods are served here.
        for_others: Whether all others are.
    """

    setting: str
    address: str
    message_bytes_max: int
    for_senders: bool
    for_others: bool

    @property
    def is_socket(self) -> bool:
        """Whether it is a Unix socket, which a file's mode protects."""
        return self.address.startswith("unix:")


def doors(settings: Settings) -> tuple[Door, ...]:
    """The addresses to listen on: one for everybody, or one for readers and one for senders."""
    if settings.ingest_listen is None:
        return (Door("EVS_LISTEN", settings.listen, MESSAGE_BYTES_MAX, for_senders=True, for_others=True),)
    return (
        Door("EVS_LISTEN", settings.listen, READER_MESSAGE_BYTES_MAX, for_senders=False, for_others=True),
        Door("EVS_INGEST_LISTEN", settings.ingest_listen, MESSAGE_BYTES_MAX, for_senders=True, for_others=False),
    )


def is_development(settings: Settings) -> bool:
    """Whether every caller has every role: no keys are set, and nobody but this machine can call (DESIGN 10)."""
    keys = (settings.jwt_secret_file, settings.tls_client_ca_file)
    return all(key is None for key in keys) and all(is_private(door.address) for door in doors(settings))


def is_private(address: str) -> bool:
    """Whether only this machine can reach an address."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_encryption(settings: Settings, setting: str, address: str, *, encrypted: bool) -> None:
    """
    Return if what goes over an address may do so: it is encrypted, or stays on this machine, or that is wanted.

    Raises:
        ConfigError: If it would go in plain text where others can read it.
    """
    if encrypted or is_private(address):
        return
    if not settings.allow_plaintext:
        how = "EVS_SERVER_CA_FILE" if setting == "EVS_SERVER" else "EVS_TLS_CERT_FILE and EVS_TLS_KEY_FILE"
        raise ConfigError(
            f"{setting}: {address} can be reached from other machines, and tokens and balances would go there in plain"
            f" text; set {how}, or EVS_ALLOW_PLAINTEXT=true where something else encrypts"
        )
    log.warning("PLAIN TEXT on %s (%s): whoever is on the way can read tokens and balances", address, setting)


def check_runtime() -> None:
    """
    Return if protobuf runs in C.

    Raises:
        ConfigError: If not: its Python implementation is many times slower.
    """
    implementation = api_implementation.Type()
    if implementation != "upb":
        raise ConfigError(
            f"protobuf runs its {implementation} implementation instead of upb: reinstall it from a wheel, and unset"
            " PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
        )


def server_options(
    message_bytes_max: int = MESSAGE_BYTES_MAX,
    connections_max: int | None = None,
    handshake_seconds: float = HANDSHAKE_SECONDS,
) -> list[tuple[str, Any]]:
    """Options of a gRPC server, by the names of its library."""
    options: list[tuple[str, Any]] = [
        # Two servers on one port would share its calls; the second must fail to start instead.
        ("grpc.so_reuseport", 0),
        # A compressed message is held to the same limit while it is expanded.
        ("grpc.max_receive_message_length", message_bytes_max),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
        # Between the two the library would refuse at random.
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.server_handshake_timeout_ms", int(handshake_seconds * 1_000)),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Below any interval that a client of ours keeps alive with, or its pings would be taken for abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if connections_max is not None:
        # Connections beyond it are closed at once; those that are there stay.
        options.append(("grpc.max_allowed_incoming_connections", connections_max))
    return options


def listen(
    server: grpc.aio.Server,
    address: str,
    setting: str,
    credentials: grpc.ServerCredentials | None = None,
    socket_mode: int = 0o600,
) -> str:
    """
    The address a server listens on, its port made out if it was left open.

    Args:
        setting: Name of the variable the address comes from.
        credentials: For TLS; not for a Unix socket.
        socket_mode: Who may open a Unix socket.

    Raises:
        ConfigError: If the address cannot be had.
    """
    is_socket = address.startswith("unix:")
    if is_socket:
        check_free(setting, address)  # gRPC would take it from whoever listens on it, be it another server of ours
    try:
        if credentials is None or is_socket:
            with _made_with(socket_mode if is_socket else None):
                port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    if not port:
        raise _refused(setting, address, "is taken, or not an address of this machine")
    return address if is_socket else f"{address.rpartition(':')[0]}:{port}"


def check_free(setting: str, address: str) -> None:
    """
    Return if an address can be had at this moment, for who would know that before there is something to undo.

    Whoever then listens on it may still find it taken.

    Raises:
        ConfigError: If it cannot be had.
    """
    if reason := why_not_free(address):
        raise _refused(setting, address, reason)


def why_not_free(address: str) -> str | None:
    """
    Why an address cannot be had at this moment, in words to follow it; None if it can, or if only a server can tell.

    Of several addresses that a name stands for one is enough, as it is to gRPC.
    """
    if address.startswith("unix:"):
        return "is taken" if _is_answered(address.removeprefix("unix:").removeprefix("//")) else None
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return f"cannot be used: {getattr(error, 'strerror', None) or error}"
    reasons = [_why_not_bound(family, place) for family, _, _, _, place in found]
    return None if None in reasons else reasons[0]


def _is_answered(path: str) -> bool:
    """Whether somebody listens on a Unix socket: gRPC would take it from him, and its file would go with him."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        try:
            caller.connect(path)
        except OSError as error:
            return error.errno == errno.EAGAIN  # more are waiting to be let in than have room
    return True


def _why_not_bound(family: int, place: tuple[Any, ...]) -> str | None:
    try:
        with socket.socket(family) as candidate:
            # As servers do, so that connections of one that has just ended are no obstacle.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            candidate.bind(place)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None  # a machine without IPv6, where a server that is to have [::] makes do with what there is
        return "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror or error}"
    return None


def _refused(setting: str, address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{setting}: cannot listen on {address}: it {reason}; stop what uses it, or set {setting} to another",
        address=address,
    )


@contextmanager
def _made_with(mode: int | None) -> Iterator[None]:
    """A context in which files are made with a mode: to change it afterwards would leave a moment for others."""
    if mode is None:
        yield
        return
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)
