"""
All errors that the client raises on purpose. Pure.

    EvsClientError
    +-- ClientClosed             used outside its ``async with`` block
    +-- OutboxFull               no room and not to wait for it; nothing was accepted
    +-- DeadlinePassed           also a ``TimeoutError``: not yet; waiting again may help
    |     +-- NotOpened              EVS did not answer, or did not make durable what was sent before
    |     +-- NotApplied             not everything accepted is applied
    |     +-- NotDurable             not everything accepted is durable
    +-- SenderFailed             the sender cannot go on; every later call raises the same error
    |     +-- StaleEpoch             another process has opened a newer epoch of this source
    |     +-- SequenceConflict       another process numbers events of this source, or an outbox was lost
    |     +-- HistoryLost            EVS has less than it once said was durable: its database went back in time
    +-- CallRefused              a gRPC status that no retry will change
          +-- InvalidArgument, NotFound, PermissionDenied, Unauthenticated

What passes by itself (EVS restarts, the network, a full server) raises nothing: the client retries. Arguments that can
be no event at all raise ``TypeError`` or ``ValueError`` where they are given.
"""

from typing import Final

import grpc


class EvsClientError(Exception):
    """An expected failure of the client; its text names the thing, the value and the bound."""


class ClientClosed(EvsClientError):
    """The client was used outside its ``async with`` block."""


class OutboxFull(EvsClientError):
    """The outbox has no room and the caller asked not to wait; nothing was accepted."""


class DeadlinePassed(EvsClientError, TimeoutError):
    """What was waited for has not come in time; waiting again may help."""


class NotOpened(DeadlinePassed):
    """EVS did not answer in time, or did not make durable what was sent before."""


class NotApplied(DeadlinePassed):
    """Not everything that was accepted is applied."""


class NotDurable(DeadlinePassed):
    """Not everything that was accepted is durable."""


class SenderFailed(EvsClientError):
    """The sender cannot go on; every later call raises the same error."""


class StaleEpoch(SenderFailed):
    """Another process has opened a newer epoch of this source."""


class SequenceConflict(SenderFailed):
    """Another process numbers events of this source, or an outbox was lost."""


class HistoryLost(SenderFailed):
    """EVS has less than it once said was durable; what is missing is no longer in the outbox."""


class CallRefused(EvsClientError):
    """
    EVS answered a call with a status that no retry will change.

    Args:
        code: The status.
        details: EVS's own words.
    """

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class InvalidArgument(CallRefused):
    """The request can never be answered."""


class NotFound(CallRefused):
    """The exchange has no such account."""


class PermissionDenied(CallRefused):
    """The caller may not do this."""


class Unauthenticated(CallRefused):
    """The caller is not known."""


_RETRIED: Final = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,  # also what proxies make of a reset stream
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
_RAISED: Final[dict[grpc.StatusCode, type[CallRefused]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
}


def refused_for_good(error: grpc.aio.AioRpcError) -> CallRefused | None:
    """The error to raise for a failed call, or None if the call is worth another try."""
    code = error.code()
    if code in _RETRIED:
        return None
    return _RAISED.get(code, CallRefused)(code, error.details() or "")
