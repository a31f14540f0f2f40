"""
The JSON that the bridge sends: answers and pushes; ``docs/PROTOCOL.md`` is its prose. Pure.

Lives here: every key and close code of what goes out. Not here: what comes in (``requests``), when a frame is sent
(``session``), the values in it (``values``).
"""

from enum import IntEnum
from typing import Final, Literal

import msgspec
from msgspec import Struct

from evs_server.bridge.requests import RequestId
from evs_server.bridge.values import (
    Cluster,
    EquityData,
    EquityValue,
    Failure,
    History,
    Killed,
    Leaderboard,
    Performance,
    Positions,
)


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


# --- answers -----------------------------------------------------------------------------------------------------


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


def result(request_id: RequestId, value: Positions | History | Performance | Leaderboard | Cluster | Killed) -> bytes:
    """The answer to any other read: the value as it stands."""
    return _encode(_Answer(request_id, value))


def refusal(request_id: RequestId | None, failure: Failure) -> bytes:
    """An error answer; ``id`` is null if the request's could not be read."""
    return _encode(_Refusal(request_id, _Error(failure.code, failure.message)))


# --- pushes ------------------------------------------------------------------------------------------------------


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
