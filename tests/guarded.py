"""The methods of a servicer behind the guard, as gRPC finds and calls them, without gRPC."""

from typing import Any

from evs_server.access.guard import GuardedServer
from evs_server.access.quota import Quota
from evs_server.clock import Clock


class Server:
    """What the guard knows of a gRPC server. Methods cannot be registered with it one by one: each would cost calls."""

    def __init__(self) -> None:
        self.services: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self.services += handlers

    def handler(self, method: str) -> Any:
        """What answers the calls of a method, named as in ``/package.Service/Method``."""
        [handler] = [found for each in self.services if (found := each.service(Details(method))) is not None]
        return handler


class Details:
    """What gRPC says of a call before it is served."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


class Context:
    """What gRPC says of a call while it is served."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("user-agent", "a sender"),)


def guarded(server: Any, clock: Clock) -> Any:
    """What a servicer is added to, for its methods to get into a server, or a ``Server``; whoever calls may."""
    return GuardedServer(server, lambda _: True, None, Quota(clock))
