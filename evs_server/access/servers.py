"""
The gRPC servers of EVS: one for each address, encrypted as set, every method behind its rule. Touches the network.

Lives here: putting together what ``listener``, ``certificates`` and ``guard`` know. Not here: the methods.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from evs_server.access.guard import GuardedServer, Identities
from evs_server.access.quota import Quota
from evs_server.access.rules import Rule
from evs_server.certificates import ServerCertificate
from evs_server.clock import Clock
from evs_server.config import Settings
from evs_server.limits import CALLS_MAX
from evs_server.listener import (
    Door,
    check_encryption,
    check_free,
    check_runtime,
    doors,
    is_development,
    listen,
    server_options,
)
from evs_server.roles import Role
from evs_server.tokens import TokenVerifier

if TYPE_CHECKING:
    from evs_server.telemetry.spans import Tracing

log = logging.getLogger(__name__)

AddMethods = Callable[[Any], None]


@asynccontextmanager
async def serving(
    settings: Settings,
    clock: Clock,
    add_methods: AddMethods,
    *,
    grace_seconds: float,
    tracing: "Tracing | None" = None,
) -> AsyncIterator[list[str]]:
    """
    Serve at every address that is set, for as long as the context.

    Args:
        add_methods: Adds servicers to what it is given, as to a server; called once for each address.
        grace_seconds: How long calls under way may take at the end.
        tracing: Follows calls, if any are to be.

    Yields:
        The addresses, ports made out: that for everybody or, where senders have their own, for readers, then theirs.

    Raises:
        ConfigError: If an address, a certificate or a key cannot be used, or plain text would leave this machine.
    """
    check_runtime()
    all_doors = doors(settings)
    verifier = None if is_development(settings) else TokenVerifier.of(settings, clock)
    if verifier is None:
        log.info("development: no keys are set and only this machine can call, so every caller has every role")
    quota = Quota(clock)
    opened = [
        _open(settings, door, _identities(settings, door, verifier), quota, add_methods, tracing) for door in all_doors
    ]
    try:
        for server, address in opened:
            await server.start()
            log.info("listening on %s", address)
        yield [address for _, address in opened]
    finally:
        # All together: what each may take is not to add up.
        await asyncio.gather(*(server.stop(grace_seconds) for server, _ in opened))


def check(settings: Settings, clock: Clock) -> None:
    """
    Return if there is nothing wrong with keys, certificates, addresses and what would go over them; opens nothing.

    Raises:
        ConfigError: As ``serving``, which may still find an address taken.
    """
    for door in doors(settings):
        _certificate(settings, door)
        check_free(door.setting, door.address)
    if not is_development(settings):
        TokenVerifier.of(settings, clock)


def _certificate(settings: Settings, door: Door) -> ServerCertificate | None:
    # Certificates are asked for where senders come in: who reads has a token.
    certificate = None if door.is_socket else ServerCertificate.of(settings, asking_clients=door.for_senders)
    check_encryption(settings, door.setting, door.address, encrypted=certificate is not None)
    return certificate


def _identities(settings: Settings, door: Door, verifier: TokenVerifier | None) -> Identities | None:
    if verifier is None:
        return None
    # Who can open a sender's socket was let in by its file's mode; a readers' socket may be open to many.
    trusted = frozenset({Role.INGEST}) if door.is_socket and door.for_senders else frozenset()
    return Identities(verifier, settings.client_roles, trusted)


def _open(
    settings: Settings,
    door: Door,
    identities: Identities | None,
    quota: Quota,
    add_methods: AddMethods,
    tracing: "Tracing | None",
) -> tuple[grpc.aio.Server, str]:
    certificate = _certificate(settings, door)
    server = grpc.aio.server(
        options=server_options(door.message_bytes_max, settings.connections_max), maximum_concurrent_rpcs=CALLS_MAX
    )

    def serves(rule: Rule) -> bool:
        return (door.for_senders and rule.is_for_senders) or (door.for_others and rule.is_for_others)

    guarded = GuardedServer(server, serves, identities, quota, tracing)
    add_methods(guarded)
    if identities is None:
        names = (*guarded.services, reflection.SERVICE_NAME)
        servicer = reflection.aio.ReflectionServicer(names)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, guarded)  # type: ignore[no-untyped-call]
    credentials = None if certificate is None else certificate.grpc_credentials()
    return server, listen(server, door.address, door.setting, credentials, int(settings.socket_mode, 8))
