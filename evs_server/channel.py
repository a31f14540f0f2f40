"""
How our own programs call EVS: encrypted if that is set, and saying who they are. Touches the network and files.

Lives here: the bridge's and the commands' channel. Not here: what is called, and what others call EVS with
(``evs_client``). A token is sent with every call and renewed in time; none is ever given on a command line.
"""

import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import grpc
import grpc.aio

from evs_server import tokens
from evs_server.certificates import channel_credentials
from evs_server.clock import Clock, SystemClock
from evs_server.config import Settings
from evs_server.errors import ConfigError
from evs_server.listener import check_encryption
from evs_server.roles import Role

log = logging.getLogger(__name__)

COMMAND_SECONDS: Final = 300
"""How long a command's own token is good for: it asks at once, and only then it counts."""

STREAMS_SECONDS: Final = 12 * 3_600
"""The same for a program that follows streams, which end with the token they began with."""

Metadata = tuple[tuple[str, str], ...]


@asynccontextmanager
async def open_channel(
    settings: Settings,
    name: str,
    roles: Sequence[Role],
    *,
    options: Sequence[tuple[str, Any]] = (),
    token_seconds: int = COMMAND_SECONDS,
) -> AsyncIterator[grpc.aio.Channel]:
    """
    A channel to EVS for as long as the context; nothing is sent before the first call.

    Args:
        name: What the program is called, in tokens that it signs itself.
        roles: What it will need.
        options: Of the channel, by the names of gRPC.
        token_seconds: How long a token is good for that is signed here.

    Raises:
        ConfigError: If it would speak in plain text to another machine, or a file that is set cannot be used.
    """
    address = settings.server
    credentials = channel_credentials(settings)
    check_encryption(settings, "EVS_SERVER", address, encrypted=credentials is not None)
    if credentials is None or address.startswith("unix:"):
        channel = grpc.aio.insecure_channel(address, options=options)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options=options)
    async with channel:
        bearer = bearer_of(settings, name, roles, token_seconds)
        # To stubs it is a channel: of one they use nothing but these four methods.
        yield channel if bearer is None else cast("grpc.aio.Channel", _BearingChannel(channel, bearer))


def bearer_of(
    settings: Settings,
    name: str,
    roles: Sequence[Role],
    token_seconds: int = COMMAND_SECONDS,
    clock: Clock | None = None,
) -> Callable[[], Metadata] | None:
    """
    What to send with each call, made out anew for each; None if there is nothing to say.

    Raises:
        ConfigError: If the file of a token or a key is set and cannot be used.
    """
    if settings.token_file is not None:
        return _FromFile(settings)
    if settings.jwt_secret_file is None:
        # A certificate says who calls; a key of development, if there is one, need not be that of the EVS called.
        development = settings.data_dir / tokens.DEVELOPMENT_KEY
        if settings.client_cert_file is not None or not os.access(development, os.R_OK):
            return None
    key, clock = tokens.read_key(settings), clock or SystemClock()
    return _Signer(lambda: tokens.sign(key, name, roles, token_seconds, clock=clock), token_seconds / 2, clock)


def sender_credentials(settings: Settings) -> grpc.ChannelCredentials | None:
    """
    What to call EVS's methods for senders with, at ``sender_address``; None for plain text.

    Raises:
        ConfigError: If that would be plain text to another machine, or a file that is set cannot be used.
    """
    address = sender_address(settings)
    credentials = None if address.startswith("unix:") else channel_credentials(settings)
    check_encryption(settings, "EVS_INGEST_SERVER", address, encrypted=credentials is not None)
    return credentials


def sender_address(settings: Settings) -> str:
    """Where EVS serves senders' methods."""
    return settings.ingest_server or settings.server


def why_unreachable(settings: Settings, error: grpc.aio.AioRpcError) -> str:
    """
    Why nobody answers at ``EVS_SERVER``, in words, and what to do.

    Args:
        error: That gRPC itself has made, with the status UNAVAILABLE: its details are all that tells causes apart.
    """
    address, said = settings.server, error.details() or error.code().name
    encrypted = settings.server_ca_file is not None and not address.startswith("unix:")
    for sign, when_encrypted, words in _CAUSES:
        if sign.search(said) and when_encrypted in (None, encrypted):
            return words.format(address=address)
    return f"{address} cannot be reached ({said}): look at who listens there, or set EVS_SERVER to where EVS runs"


NOTHING_LISTENS: Final = "nothing listens at"

_CAUSES: Final[tuple[tuple[re.Pattern[str], bool | None, str], ...]] = (
    (
        re.compile("refused|No such file"),
        None,
        f"{NOTHING_LISTENS} {{address}}: start `evs serve`, or set EVS_SERVER to where it runs",
    ),
    (
        re.compile("resolving|resolution"),
        None,
        "{address} cannot be found by its name: set EVS_SERVER to where EVS runs",
    ),
    (
        re.compile("WRONG_VERSION_NUMBER"),
        True,
        "what listens at {address} does not speak TLS: if it is EVS, in plain text, unset EVS_SERVER_CA_FILE",
    ),
    (
        re.compile("Hostname Verification|Peer name"),
        True,
        "the certificate shown at {address} has another name: set EVS_SERVER to one of its names",
    ),
    (
        re.compile("SSL_ERROR_SSL"),
        True,
        "the certificate shown at {address} is not signed by whom EVS_SERVER_CA_FILE names",
    ),
    (
        re.compile("Socket closed"),
        True,
        "{address} ends the connection: if certificates are asked for there, set EVS_CLIENT_CERT_FILE to a good one",
    ),
    (
        re.compile("Socket closed"),
        False,
        "{address} ends the connection: if EVS speaks TLS there, set EVS_SERVER_CA_FILE",
    ),
)
"""What gRPC says, whether TLS is spoken, and what that means; the first that fits."""


def _read_token(settings: Settings) -> str:
    assert settings.token_file is not None
    try:
        token = settings.token_file.read_text("ascii").strip()
    except OSError as error:
        raise ConfigError(f"EVS_TOKEN_FILE: {settings.token_file}: {error.strerror}") from None
    except UnicodeDecodeError:
        token = ""
    if not token or len(token) > tokens.TOKEN_BYTES_MAX or len(token.split()) > 1:
        raise ConfigError(f"EVS_TOKEN_FILE: {settings.token_file} holds no token, as `evs token` prints it")
    return token


class _FromFile:
    """Reads the token for each call, as whoever renews it has left it; the last good one while there is none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._token = _read_token(settings)

    def __call__(self) -> Metadata:
        try:
            self._token = _read_token(self._settings)
        except ConfigError as error:
            log.warning("the token in use is kept: %s", error.message)
        return (("authorization", f"Bearer {self._token}"),)


class _Signer:
    """Signs tokens of a program's own, one after the other."""

    def __init__(self, sign: Callable[[], str], renewal_seconds: float, clock: Clock) -> None:
        self._sign, self._renewal_seconds, self._clock = sign, renewal_seconds, clock
        self._renew_at = float("-inf")
        self._metadata: Metadata = ()

    def __call__(self) -> Metadata:
        now = self._clock.monotonic()
        if now >= self._renew_at:
            self._metadata = (("authorization", f"Bearer {self._sign()}"),)
            self._renew_at = now + self._renewal_seconds
        return self._metadata


class _BearingChannel:
    """A channel whose calls each carry what a function says; by metadata, since interceptors cost each message."""

    def __init__(self, channel: grpc.aio.Channel, bearer: Callable[[], Metadata]) -> None:
        self._channel = channel
        self._bearer = bearer

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As the channel's."""
        return self._bearing(self._channel.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As the channel's."""
        return self._bearing(self._channel.unary_stream(method, *args, **kwargs))

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As the channel's."""
        return self._bearing(self._channel.stream_unary(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As the channel's."""
        return self._bearing(self._channel.stream_stream(method, *args, **kwargs))

    def _bearing(self, call: Any) -> Callable[..., Any]:
        def bearing(*args: Any, metadata: Metadata | None = None, **kwargs: Any) -> Any:
            return call(*args, metadata=(*(metadata or ()), *self._bearer()), **kwargs)

        return bearing
