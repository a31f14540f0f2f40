"""
What a browser asks, out of the JSON it sends; ``docs/PROTOCOL.md`` is its prose. Pure.

Lives here: every method and parameter name, and the check of each parameter. Not here: what follows (``session``),
what is answered (``frames``). What comes in is untrusted: any text at all parses, if only to ``Malformed``. A request
that is well formed and asks for what cannot be is ``Unfit``: its sender's mistake, and no sign of an attack.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from evs_server.errors import InvalidRequest
from evs_server.limits import EXACT_MAX, TICK_TIME_MS_MAX

RequestId = Annotated[int, Meta(ge=-EXACT_MAX, le=EXACT_MAX)] | Annotated[str, Meta(max_length=64)]

RANGES: Final = ("1D", "1W", "1M", "3M", "1Y", "ALL")
RANKED_RANGES: Final = ("1D", "1W", "1M", "ALL")
RESOLUTIONS: Final = ("raw", "1m", "5m", "1h", "1d")

TIME_S_MAX: Final = TICK_TIME_MS_MAX // 1_000
"""No valuation can be younger."""

POINTS_MAX: Final = 5_000
"""Points in one page of history: about 0.7 MB of JSON, and 4 ms of work."""

POINTS_USUAL: Final = 2_500
"""A page's points if the request does not say: more than a chart has pixels."""

PLACES_MAX: Final = 100
PLACES_USUAL: Final = 10

NEXT_CHARACTERS_MAX: Final = 256
"""Length of the text that continues a history; EVS's own is far shorter."""

SHOWN_CHARACTERS_MAX: Final = 40
"""How much of a wrong value is given back in the error."""


# --- what can be asked -------------------------------------------------------------------------------------------


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
class Span:
    """
    A stretch of time: a range that ends now, or a start and perhaps an end.

    Attributes:
        range: One of ``RANGES``; None if there is a start.
        start_s: The first moment, unix seconds.
        end_s: The end, not included; None is now.
    """

    range: str | None
    start_s: int | None = None
    end_s: int | None = None


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """
    ``equity.history``.

    Attributes:
        id: The request's.
        span: Which time.
        resolution: One of ``RESOLUTIONS``; None leaves it to EVS.
        fill: Whether buckets without a valuation get a point, too.
        limit: Most points in the answer.
        next: Where the page before ended; empty for the first page.
    """

    id: RequestId
    span: Span
    resolution: str | None
    fill: bool
    limit: int
    next: str


@dataclass(frozen=True, slots=True)
class ReadPerformance:
    """``equity.performance``."""

    id: RequestId
    span: Span


@dataclass(frozen=True, slots=True)
class ReadLeaderboard:
    """``leaderboard.list``."""

    id: RequestId
    range: str
    limit: int


@dataclass(frozen=True, slots=True)
class ReadCluster:
    """``cluster.state``; of the demo."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class KillShard:
    """``demo.kill_shard``; of the demo."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class Unfit:
    """A request of a known method with parameters that cannot be; ``message`` names the parameter."""

    id: RequestId
    message: str


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


ReadRequest = ReadSummary | ReadPositions | ReadHistory | ReadPerformance | ReadLeaderboard | ReadCluster | KillShard
KnownRequest = Subscribe | Unsubscribe | Ping | ReadRequest | Unfit
Request = Authenticate | KnownRequest | Malformed


# --- from JSON ---------------------------------------------------------------------------------------------------


_AUTHENTICATE: Final = frozenset({"auth.jwt", "auth"})
_NOTHING: Final = Raw(b"null")


class _Envelope(Struct):
    id: RequestId | None = None
    method: Raw = _NOTHING  # decoded apart, so that a wrong one does not cost the id
    params: Raw = _NOTHING


class _AuthParams(Struct):
    token: str


_encode: Final = msgspec.json.Encoder().encode
_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_method: Final = msgspec.json.Decoder(str).decode
_decode_auth: Final = msgspec.json.Decoder(_AuthParams).decode
_decode_params: Final = msgspec.json.Decoder(dict[str, object] | None).decode


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
    if method in _PLAIN:
        return _PLAIN[method](request_id)
    if method in _WITH_PARAMS:
        return _with_params(request_id, method, params)
    if method not in _AUTHENTICATE:
        return Malformed(request_id, f"unknown method {method[:64]!r}")
    try:
        return Authenticate(request_id, _decode_auth(params).token)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # Says what is expected and quotes nothing: a mistyped token must not come back in an error.
        return Malformed(request_id, f'{method} expects params {{"token": "..."}}')


def _with_params(request_id: RequestId, method: str, params: Raw) -> KnownRequest:
    try:
        return _WITH_PARAMS[method](request_id, _decode_params(params) or {})
    except InvalidRequest as error:
        return Unfit(request_id, f"{method}: {error.message}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return Unfit(request_id, f"{method}: params cannot be read: expected an object")


# --- parameters --------------------------------------------------------------------------------------------------

# A parameter that is null is one that was left out: `next` of an answer can be handed back as it came.

Params = Mapping[str, object]


def _history(request_id: RequestId, params: Params) -> ReadHistory:
    return ReadHistory(
        request_id,
        _span(params),
        _choice(params, "resolution", RESOLUTIONS),
        _flag(params, "fill"),
        _whole(params, "limit", 1, POINTS_MAX) or POINTS_USUAL,
        _text(params, "next", NEXT_CHARACTERS_MAX),
    )


def _performance(request_id: RequestId, params: Params) -> ReadPerformance:
    return ReadPerformance(request_id, _span(params))


def _leaderboard(request_id: RequestId, params: Params) -> ReadLeaderboard:
    named = _choice(params, "range", RANKED_RANGES) or RANKED_RANGES[0]
    return ReadLeaderboard(request_id, named, _whole(params, "limit", 1, PLACES_MAX) or PLACES_USUAL)


def _span(params: Params) -> Span:
    named = _choice(params, "range", RANGES)
    start_s = _whole(params, "start", 0, TIME_S_MAX)
    end_s = _whole(params, "end", 0, TIME_S_MAX)
    if start_s is None:
        if end_s is not None:
            raise InvalidRequest("end", "end goes with a start; a range ends now")
        return Span(named or RANGES[0])
    if named is not None:
        raise InvalidRequest("start", f"start cannot go with range {named}: expected one of the two")
    if end_s is not None and end_s <= start_s:
        raise InvalidRequest("end", f"end {end_s} is not after start {start_s}")
    return Span(None, start_s, end_s)


def _choice(params: Params, name: str, allowed: Collection[str]) -> str | None:
    value = params.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or value not in allowed:
        raise InvalidRequest(name, f"{name} {_shown(value)} is none of {', '.join(allowed)}")
    return value


def _whole(params: Params, name: str, least: int, most: int) -> int | None:
    value = params.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidRequest(name, f"{name} {_shown(value)} is no whole number from {least} to {most}")
    return value


def _flag(params: Params, name: str) -> bool:
    value = params.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(name, f"{name} {_shown(value)} is neither true nor false")
    return bool(value)


def _text(params: Params, name: str, characters_max: int) -> str:
    value = params.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > characters_max:
        raise InvalidRequest(name, f"{name} {_shown(value)} is no text of up to {characters_max} characters")
    return value


def _shown(value: object) -> str:
    shown = _encode(value).decode()
    return shown if len(shown) <= SHOWN_CHARACTERS_MAX else f"{shown[:SHOWN_CHARACTERS_MAX]}..."


_PLAIN: Final[Mapping[str, Callable[[RequestId], KnownRequest]]] = {
    "equity.subscribe": Subscribe,
    "equity.unsubscribe": Unsubscribe,
    "account.summary": ReadSummary,
    "positions.list": ReadPositions,
    "cluster.state": ReadCluster,
    "demo.kill_shard": KillShard,
    "ping": Ping,
}

_WITH_PARAMS: Final[Mapping[str, Callable[[RequestId, Params], KnownRequest]]] = {
    "equity.history": _history,
    "equity.performance": _performance,
    "leaderboard.list": _leaderboard,
}
