"""
What the standard health service says of EVS, name by name (``grpc.health.v1``). Touches I/O: watchers are told.

Lives here: the names and what each stands for. Not here: the judgement (``readiness``).
"""

import asyncio
from contextlib import suppress
from typing import Any, Final, Protocol

from evs.v1 import admin_pb2, evs_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE: Final = evs_pb2.DESCRIPTOR.services_by_name["EquityValuationService"].full_name
ADMIN_SERVICE: Final = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name

LIVENESS: Final = "evs.v1.Liveness"
"""SERVING for as long as the process answers at all, ready or not: restart it when this fails, and only then."""

STORAGE: Final = "evs.v1.Storage"
"""Whether what is applied also gets stored; NOT_SERVING while EVS is degraded."""

IDENTITY: Final = "evs.v1.Identity"
"""Whether no valuation of this process ever contradicted itself."""

READINESS: Final = ("", SERVICE, ADMIN_SERVICE)
"""Whether EVS should be sent anything now; the server as a whole, by convention, is the empty name."""


TELL_SECONDS: Final = 1.0
"""How long telling takes at most."""

_STATUS: Final = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


class Judgement(Protocol):
    """Whether a process should be sent anything, and what is good of it."""

    @property
    def numbers_agree(self) -> bool:
        """Whether no valuation ever contradicted itself."""
        ...

    @property
    def is_storing(self) -> bool:
        """Whether what is applied gets stored."""
        ...

    def reasons(self) -> list[str]:
        """Why nothing should be sent here, each in words; empty if it may."""
        ...


class Health:
    """
    What callers of the health service are told.

    Args:
        readiness: The judgement.
    """

    def __init__(self, readiness: Judgement) -> None:
        self._readiness = readiness
        self._servicer = health.aio.HealthServicer()

    def add_to(self, server: Any) -> None:
        """Serve it."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def tell(self) -> None:
        """Answer as things are now, until the next call; who watches is told of what has changed."""
        said = dict.fromkeys(READINESS, not self._readiness.reasons()) | {
            LIVENESS: True,
            STORAGE: self._readiness.is_storing,
            IDENTITY: self._readiness.numbers_agree,
        }
        # Whoever watches a name and takes nothing holds it, in the library: it stays as it was, and nobody waits.
        with suppress(TimeoutError):
            async with asyncio.timeout(TELL_SECONDS):
                await asyncio.gather(*(self._servicer.set(name, _STATUS[good]) for name, good in said.items()))
