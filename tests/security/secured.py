"""An EVS that asks who calls, in the process of a test: real servers, keys, certificates, and callers of every kind."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from evs.v1 import admin_pb2_grpc, evs_pb2_grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2_grpc

from evs_server import tokens
from evs_server.access.servers import serving
from evs_server.authority import Authority
from evs_server.clock import Clock, SystemClock
from evs_server.config import Settings, load
from evs_server.lifecycle import Lifecycle
from evs_server.reconcile.servicer import AdminServicer
from evs_server.roles import Role
from tests.builders import ALICE, BOB
from tests.patience import PATIENCE_SECONDS
from tests.serving import Rooms

KEY = b"the key of these tests, which nobody else has"
NOBODYS = 404
"""An account that the exchange does not have."""

VALUATION = "/evs.v1.EquityValuationService/"

Metadata = tuple[tuple[str, str], ...]


def as_bearer(token: str) -> Metadata:
    """Metadata with a token."""
    return (("authorization", f"Bearer {token}"),)


def a_token(subject: str | int, *roles: Role, ttl_s: int = 3_600, clock: Clock | None = None) -> Metadata:
    """Metadata of whoever has such a token."""
    return as_bearer(tokens.sign(KEY, str(subject), roles or (Role.READ_OWN,), ttl_s, clock=clock))


BY_ROLE: Mapping[str, Metadata] = {
    "nobody": (),
    "read:own": a_token(ALICE),
    "read:any": a_token("risk", Role.READ_ANY),
    "ingest": a_token("execution-manager", Role.INGEST),
    "admin": a_token("operator", Role.ADMIN),
}
"""One caller of each kind."""


OVERTAKEN = "Internal error from Core"
"""
What the caller's gRPC says where the status came while it was sending a message, and is lost: 2 times in 1,000 of calls
like these, and always where a caller sends without a pause.
"""
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended; a stream that has sent something, or sends nothing yet, counts as let in."""

    code: grpc.StatusCode
    details: str = ""
    response: Any = None

    @property
    def is_let_in(self) -> bool:
        """Whether the caller got past the guard."""
        return self.code not in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


@dataclass
class SecuredEvs:
    """What a test sees of it."""

    settings: Settings
    rooms: Rooms
    addresses: list[str]
    channel: grpc.aio.Channel

    async def call(self, method: str, request: Message | bytes = b"", metadata: Metadata = ()) -> Outcome:
        """How a unary call ends."""
        return await call(self.channel, method, request, metadata)

    async def stream(self, method: str, *requests: Message | bytes, metadata: Metadata = ()) -> Outcome:
        """How a stream begins: its first message, or its status if it has none."""
        for _ in range(ATTEMPTS):
            outcome = await self._stream(method, requests, metadata)
            if not (outcome.code is grpc.StatusCode.INTERNAL and OVERTAKEN in outcome.details):
                break
        return outcome

    async def _stream(self, method: str, requests: Sequence[Message | bytes], metadata: Metadata) -> Outcome:
        open_stream: Any = self.channel.stream_stream(method)
        stream = open_stream(metadata=metadata, timeout=PATIENCE_SECONDS)
        try:
            for request in requests:
                await stream.write(request if isinstance(request, bytes) else request.SerializeToString())
            await stream.done_writing()
            message = await stream.read()
            code = grpc.StatusCode.OK if message is not grpc.aio.EOF else await stream.code()
            return Outcome(code, "", message)
        except grpc.aio.AioRpcError as error:
            return Outcome(error.code(), error.details() or "")
        finally:
            stream.cancel()


async def call(
    channel: grpc.aio.Channel, method: str, request: Message | bytes = b"", metadata: Metadata = ()
) -> Outcome:
    """How a unary call on any channel ends; the response as bytes."""
    payload = request if isinstance(request, bytes) else request.SerializeToString()
    try:
        ask: Any = channel.unary_unary(method)
        return Outcome(grpc.StatusCode.OK, "", await ask(payload, metadata=metadata, timeout=PATIENCE_SECONDS))
    except grpc.aio.AioRpcError as error:
        return Outcome(error.code(), error.details() or "")


@contextlib.asynccontextmanager
async def secured(
    directory: Path,
    *,
    clock: Clock | None = None,
    servicer: Any = None,
    credentials: grpc.ChannelCredentials | None = None,
    **settings: Any,
) -> AsyncIterator[SecuredEvs]:
    """
    EVS behind its guard, with two accounts.

    Args:
        clock: What tokens are held against.
        servicer: In place of EVS's own methods of the contract.
        credentials: What the channel of the test encrypts with.
        settings: Beside a key and a free port on loopback.
    """
    (directory / "jwt.secret").write_bytes(KEY)
    given = {"data_dir": directory, "listen": "127.0.0.1:0", "jwt_secret_file": directory / "jwt.secret"} | settings
    loaded = load(**given)
    rooms = Rooms({ALICE: 1_000_000, BOB: 2_000_000})
    await rooms.open()

    def add_methods(server: Any) -> None:
        evs_pb2_grpc.add_EquityValuationServiceServicer_to_server(servicer or rooms.servicer, server)
        # It does not serve yet, so that whoever is let in gets no further than UNAVAILABLE.
        admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminServicer(Lifecycle()), server)
        health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)

    try:
        async with (
            serving(loaded, clock or SystemClock(), add_methods, grace_seconds=0) as addresses,
            _channel(addresses[0], credentials) as channel,
        ):
            yield SecuredEvs(loaded, rooms, addresses, channel)
    finally:
        await rooms.close()


def _channel(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    # Of its own: another test's connection to the same address may have other credentials.
    options = [("grpc.use_local_subchannel_pool", 1)]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


class Certificates:
    """An authority, a server's certificate, and those of clients by name."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self.ca = self.authority.certificate_file
        self.server = self.authority.sign_server(["localhost", "127.0.0.1"], 1)

    @property
    def settings(self) -> dict[str, Any]:
        """What a server is set to."""
        return {"tls_cert_file": self.server[0], "tls_key_file": self.server[1]}

    def credentials(self, name: str | None = None) -> grpc.ChannelCredentials:
        """What a client encrypts with, and shows if it has a name."""
        if name is None:
            return grpc.ssl_channel_credentials(self.ca.read_bytes())
        certificate, key = self.authority.sign_client(name, 1)
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), key.read_bytes(), certificate.read_bytes())


Secure = Callable[..., contextlib.AbstractAsyncContextManager[SecuredEvs]]
