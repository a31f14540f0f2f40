"""
All errors that EVS raises on purpose. Pure.

    EvsError                     a reason and, as metadata, every number in the message
    +-- RequestError             the caller must change something; a retry gives the same answer
    |     +-- InvalidRequest         a field that no account's state could make right
    |     +-- OutOfBounds            beyond a bound of ``limits``
    |     +-- UnknownAccount         the exchange has no such account
    |     +-- EventConflict          a known sequence with other content
    |     +-- SequenceGap            not the next sequence of its source
    |     +-- StaleEpoch             an epoch older than the source's current one
    |     +-- NotServed              a method of the contract that this version does not serve
    |     +-- Malformed              bytes that are no message of the method
    |     +-- Unauthenticated        no token, or one that is not good
    |     +-- PermissionDenied       a caller that is known, and may not do this
    +-- OperatingError           nothing wrong with the request; retry later
    |     +-- Overloaded             a bounded room is full
    |     +-- StoreUnavailable       the answer needs Postgres, which is away
    |     +-- Recovering             not yet serving
    |     +-- Following              another EVS leads on the same database
    |     +-- ShuttingDown           no longer serving
    |     +-- Fenced                 a newer start has taken over the database
    +-- ConfigError              at start only; lists every problem at once
    |     +-- SpoolTaken             another process uses that spool
    +-- InputError               a file given to a command cannot be used; names file and line

``rpc_status`` maps each to a gRPC status; the bridge uses the same reasons.
"""

from collections.abc import Mapping
from typing import ClassVar


class EvsError(Exception):
    """
    An expected failure, told to whoever asked.

    Args:
        message: One sentence for a person: the thing, the value, the bound.
        metadata: Every number in the message, by name, for a program.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = {name: str(value) for name, value in metadata.items()}


class RequestError(EvsError):
    """The caller must change something; a retry gives the same answer."""


class InvalidRequest(RequestError):
    """
    A field that no state could make right.

    Args:
        field: Name of the field on the wire.
    """

    reason = "INVALID_REQUEST"

    def __init__(self, field: str, message: str, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.field = field


class OutOfBounds(RequestError):
    """
    A value, or what it would lead to, is beyond a bound of ``limits``.

    Args:
        field: Name of the field on the wire, or of the amount that would leave its bounds.
    """

    reason = "OUT_OF_BOUNDS"

    def __init__(self, field: str, message: str, **metadata: object) -> None:
        super().__init__(message, **metadata)
        self.field = field


class UnknownAccount(RequestError):
    """The exchange has no such account."""

    reason = "UNKNOWN_ACCOUNT"

    def __init__(self, account_id: int) -> None:
        super().__init__(f"account {account_id} does not exist on the exchange", account_id=account_id)


class EventConflict(RequestError):
    """A sequence that was applied with other content."""

    reason = "EVENT_CONFLICT"


class SequenceGap(RequestError):
    """Not the next sequence of its source."""

    reason = "SEQUENCE_GAP"


class StaleEpoch(RequestError):
    """An epoch older than the source's current one."""

    reason = "STALE_EPOCH"


class NotServed(RequestError):
    """A method of the contract that this version does not serve."""

    reason = "NOT_SERVED"


class Malformed(RequestError):
    """Bytes that are no message of the method that they were sent to."""

    reason = "MALFORMED"


class Unauthenticated(RequestError):
    """No token, or one that is not good: expired, ill-formed, of another issuer, signed with another key."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(RequestError):
    """The caller is known, and may not do this; what it asked for may exist or not."""

    reason = "PERMISSION_DENIED"


class OperatingError(EvsError):
    """Nothing wrong with the request; retry later."""


class Overloaded(OperatingError):
    """A bounded room is full."""

    reason = "OVERLOADED"


class StoreUnavailable(OperatingError):
    """The answer needs Postgres, which is away."""

    reason = "STORE_UNAVAILABLE"


class LogUnavailable(OperatingError):
    """The answer needs the log, which is away; whether something was put into it may be unknown."""

    reason = "LOG_UNAVAILABLE"


class LogGap(OperatingError):
    """The log has dropped what a reader has yet to see: its retention is too short for this outage."""

    reason = "LOG_GAP"


class NoOwner(OperatingError):
    """Nobody has the account's shard at this moment; it is on its way from one worker to another."""

    reason = "NO_OWNER"


class Superseded(OperatingError):
    """
    Another gateway has put something into the log for the same source.

    Args:
        last: Position of the newest entry on the journal's subject; 0 if there is none.
    """

    reason = "SUPERSEDED"

    def __init__(self, last: int) -> None:
        super().__init__(f"the last entry of this source is at position {last} of the log", last=last)
        self.last = last


class Recovering(OperatingError):
    """Not yet serving: state is being read."""

    reason = "RECOVERING"


class Following(OperatingError):
    """
    Another EVS leads on the same database; this one would take over.

    Args:
        leader: What the other one calls itself, such as its address; empty if it does not say.
    """

    reason = "FOLLOWING"

    def __init__(self, leader: str) -> None:
        super().__init__(
            f"this EVS does not serve: {leader or 'another one'} leads on its database; call that one, or retry with"
            " backoff, this one takes over when it ends",
            leader=leader,
        )


class ShuttingDown(OperatingError):
    """No longer serving."""

    reason = "SHUTTING_DOWN"


class Fenced(OperatingError):
    """A newer start of EVS has taken over the database; this one may write no more."""

    reason = "FENCED"


class ConfigError(EvsError):
    """Settings that cannot work; lists every problem at once. Exit status 2."""

    reason = "CONFIG"


class SpoolTaken(ConfigError):
    """Another process uses the folder of a spool; there are others."""


class InputError(EvsError):
    """A file given to a command cannot be used; names file and line. Exit status 2."""

    reason = "INPUT"
