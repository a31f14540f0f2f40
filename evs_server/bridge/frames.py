"""
The JSON of the websocket: requests in, answers and pushes out; ``docs/PROTOCOL.md`` is its prose.

Lives here: every JSON key, method name and close code. Not here: when a frame is sent (``session``). Pure. What comes
in is untrusted: any text at all parses, if only to ``Malformed``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from evs_server.limits import EXACT_MAX


class CloseCode(IntEnum):
    """Why a socket is closed, and whether to come back (FAULTS 2)."""

    UNSUPPORTED_DATA = 1003  # binary
    POLICY_VIOLATION = 1008  # too many requests that make no sense
    INTERNAL_ERROR = 1011  # a fault of ours: reconnect
    RESTART = 1012  # reconnect
    UNAUTHENTICATED = 4401  # reconnect with a good token
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    NO_AUTH = 4408
    TOO_MANY_CONNECTIONS = 4410
    RATE_LIMITED = 4429  # reconnect after the time in the reason
    SLOW = 4508  # reconnect


RequestId = Annotated[int, Meta(ge=-EXACT_MAX, le=EXACT_MAX)] | Annotated[str, Meta(max_length=64)]


# --- requests ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Authenticate:
    """``auth.jwt {token}``, or its alias ``auth``."""

    id: RequestId
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """``equity.subscribe``."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """``equity.unsubscribe``."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class Ping:
    """``ping``."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class ReadSummary:
    """``account.summary``."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class ReadPositions:
    """``positions.list``."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """``equity.history``."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class Malformed:
    """
    Text that is no request.

    Attributes:
        id: Its id, if that much could be read.
        message: What is wrong with it.
    """

    id: RequestId | None
    message: str


PlainRequest = Subscribe | Unsubscribe | Ping | ReadSummary | ReadPositions | ReadHistory
Request = Authenticate | PlainRequest | Malformed

_PLAIN: Final[Mapping[str, type[PlainRequest]]] = {
    "equity.subscribe": Subscribe,
    "equity.unsubscribe": Unsubscribe,
    "equity.history": ReadHistory,
    "account.summary": ReadSummary,
    "positions.list": ReadPositions,
    "ping": Ping,
}
_AUTHENTICATE: Final = frozenset({"auth.jwt", "auth"})
_NOTHING: Final = Raw(b"null")


class _Envelope(Struct):
    id: RequestId | None = None
    method: Raw = _NOTHING  # decoded apart, so that a wrong one does not cost the id
    params: Raw = _NOTHING


class _AuthParams(Struct):
    token: str


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_method: Final = msgspec.json.Decoder(str).decode
_decode_auth: Final = msgspec.json.Decoder(_AuthParams).decode


def parse(text: str | bytes) -> Request:
    """
    The request in a message. Fields and parameters that it does not need are ignored, an ``account_id`` above all.

    Returns:
        The request, or ``Malformed`` for whatever is none; never raises.
    """
    try:
        envelope = _decode_envelope(text)
    except msgspec.ValidationError as error:
        return Malformed(None, f"not a request: {error}")
    except (msgspec.DecodeError, UnicodeError):
        return Malformed(None, "not valid JSON")
    except RecursionError:
        return Malformed(None, "nested too deeply")
    if envelope.id is None:
        return Malformed(None, "id is missing: expected a number or a string")
    try:
        method = _decode_method(envelope.method)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Malformed(envelope.id, "method is missing: expected a string")
    return _typed(envelope.id, method, envelope.params)


def _typed(request_id: RequestId, method: str, params: Raw) -> Request:
    if method in _AUTHENTICATE:
        try:
            return Authenticate(request_id, _decode_auth(params).token)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            # Says what is expected and quotes nothing: a mistyped token must not come back in an error.
            return Malformed(request_id, f'{method} expects params {{"token": "..."}}')
    kind = _PLAIN.get(method)
    if kind is None:
        return Malformed(request_id, f"unknown method {method[:64]!r}")
    return kind(request_id)


# --- answers and pushes ------------------------------------------------------------------------------------------


class EquityData(Struct, frozen=True):
    """The ten fields of an equity frame's ``data``: money in cents, ``timestamp`` in unix seconds."""

    account_id: int
    tick: int
    timestamp: int
    total_equity: int
    cash_balance: int
    position_value: int
    day_change: int
    day_change_percent: float
    unrealized_pnl: int
    realized_pnl: int


@dataclass(frozen=True, slots=True)
class EquityValue:
    """
    One value of an account, as EVS sent it.

    Attributes:
        data: The ten fields.
        version: The valuation pass that made it.
        snapshot: True for the first value of a stream from EVS.
        conflated: Values that EVS skipped before it.
        flags: What to know about it, by name.
    """

    data: EquityData
    version: int
    snapshot: bool
    conflated: int
    flags: tuple[str, ...]


class PositionRow(Struct, frozen=True):
    """One position; fields as in the contract's ``Position``."""

    symbol_id: int
    quantity_bp: int
    avg_cost: int
    basis_cents: int
    mark_price: int
    mark_source: str
    market_value: int
    unrealized_pnl: int
    realized_pnl: int
    last_updated: int
    mark_time: int


@dataclass(frozen=True, slots=True)
class Positions:
    """All positions of an account as of one version."""

    rows: Sequence[PositionRow]
    version: int


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Why a request is refused.

    Attributes:
        code: A reason of ``errors``, for a program.
        message: One sentence, for a person.
    """

    code: str
    message: str


class _Answer(Struct):
    id: RequestId
    result: object


class _Refusal(Struct):
    id: RequestId | None
    error: "_Error"


class _Error(Struct):
    code: str
    message: str


class _EquityPush(Struct, tag_field="stream", tag="equity"):
    data: EquityData
    version: int
    snapshot: bool
    conflated: int
    flags: tuple[str, ...]


class _StatusPush(Struct, tag_field="stream", tag="status", omit_defaults=True):
    status: Literal["live", "stale", "expiring"]
    since: int | None = None
    close_in_ms: int | None = None


class _Summary(Struct):
    account_id: int
    balance: int
    total_equity: int
    position_value: int
    day_change: int
    day_change_percent: float
    buying_power: int
    unrealized_pnl: int
    realized_pnl: int
    last_updated: int
    version: int
    flags: tuple[str, ...]


_encode: Final = msgspec.json.Encoder().encode


def authenticated(request_id: RequestId, account_id: int) -> bytes:
    """The answer to a good token."""
    return _encode(_Answer(request_id, {"authenticated": True, "account_id": account_id}))


def subscribed(request_id: RequestId, now: bool) -> bytes:
    """The answer to ``equity.subscribe`` and ``equity.unsubscribe``: whether frames will follow."""
    return _encode(_Answer(request_id, {"subscribed": now}))


def pong(request_id: RequestId) -> bytes:
    """The answer to ``ping``."""
    return _encode(_Answer(request_id, {"pong": True}))


def summary(request_id: RequestId, value: EquityValue) -> bytes:
    """The answer to ``account.summary``, under the names that the exchange's frontend has for it."""
    equity = value.data
    return _encode(
        _Answer(
            request_id,
            _Summary(
                account_id=equity.account_id,
                balance=equity.cash_balance,
                total_equity=equity.total_equity,
                position_value=equity.position_value,
                day_change=equity.day_change,
                day_change_percent=equity.day_change_percent,
                # EVS knows neither open orders nor credit: what an account can spend is its cash.
                buying_power=equity.cash_balance,
                unrealized_pnl=equity.unrealized_pnl,
                realized_pnl=equity.realized_pnl,
                last_updated=equity.timestamp,
                version=value.version,
                flags=value.flags,
            ),
        )
    )


def positions(request_id: RequestId, held: Positions) -> bytes:
    """The answer to ``positions.list``."""
    return _encode(_Answer(request_id, {"positions": held.rows, "version": held.version}))


def refusal(request_id: RequestId | None, failure: Failure) -> bytes:
    """An error answer; ``id`` is null if the request's could not be read."""
    return _encode(_Refusal(request_id, _Error(failure.code, failure.message)))


def equity(value: EquityValue, *, snapshot: bool, conflated: int) -> bytes:
    """
    An equity frame.

    Args:
        value: What to send.
        snapshot: True if the reader cannot know how many values it has missed: the first frame, or EVS was lost.
        conflated: How many values were skipped since the frame before; 0 in a snapshot.
    """
    return _encode(_EquityPush(value.data, value.version, snapshot, conflated, value.flags))


def live() -> bytes:
    """EVS is back: values are fresh again."""
    return _encode(_StatusPush("live"))


def stale(since_ms: int) -> bytes:
    """EVS cannot be heard since a unix time in milliseconds: the last value may be old."""
    return _encode(_StatusPush("stale", since=since_ms))


def expiring(close_in_ms: int) -> bytes:
    """The token has expired: a new one is needed within this time, or the socket is closed."""
    return _encode(_StatusPush("expiring", close_in_ms=close_in_ms))
