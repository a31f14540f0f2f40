"""
Protobuf to a query and back: everything that a request may get wrong is found here. Pure.

A page token is the start of the next bucket, the resolution (which a request without one gets from the time of its
first page) and a digest of what was asked for, so that a token of another request is told apart. It is no secret, and
grants nothing that the request itself does not.
"""

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from evs.v1 import evs_pb2 as pb

from evs_server.engine import SessionCalendar
from evs_server.errors import InvalidRequest, OutOfBounds
from evs_server.history.bars import BarColumns
from evs_server.history.buckets import Buckets
from evs_server.limits import HISTORY_POINTS_DEFAULT, HISTORY_POINTS_MAX, TICK_TIME_MS_MAX
from evs_server.model import HistoryRange, Resolution

_RANGE_RESOLUTION: Final = {
    HistoryRange.ONE_DAY: Resolution.ONE_MINUTE,
    HistoryRange.ONE_WEEK: Resolution.FIVE_MINUTES,
    HistoryRange.ONE_MONTH: Resolution.ONE_HOUR,
    HistoryRange.THREE_MONTHS: Resolution.ONE_HOUR,
    HistoryRange.ONE_YEAR: Resolution.ONE_DAY,
    HistoryRange.ALL: Resolution.ONE_DAY,
}
_SPAN_RESOLUTION: Final = (
    (25 * 3_600, Resolution.ONE_MINUTE),
    (7 * 86_400 + 3_600, Resolution.FIVE_MINUTES),
    (92 * 86_400 + 3_600, Resolution.ONE_HOUR),
)
"""Longest time in seconds for which each is chosen; the clocks may change in between."""

E = TypeVar("E", bound=IntEnum)

_SECONDS_MAX: Final = TICK_TIME_MS_MAX // 1_000
_TOKEN: Final = re.compile(r"(\d{1,12})\.([1-5])\.([0-9a-f]{16})")
_WIRE_RESOLUTION: Final = {
    Resolution.RAW: pb.RESOLUTION_RAW,
    Resolution.ONE_MINUTE: pb.RESOLUTION_ONE_MINUTE,
    Resolution.FIVE_MINUTES: pb.RESOLUTION_FIVE_MINUTES,
    Resolution.ONE_HOUR: pb.RESOLUTION_ONE_HOUR,
    Resolution.ONE_DAY: pb.RESOLUTION_ONE_DAY,
}


@dataclass(frozen=True, slots=True)
class Query:
    """
    Which bars.

    Attributes:
        first_ms: When the first bucket begins.
        until_ms: When the last bucket ends; None if the newest valuation does.
        digest: Of what was asked, but for the page.
    """

    account_id: int
    first_ms: int
    until_ms: int | None
    resolution: Resolution
    carry_forward: bool
    points_max: int
    digest: str


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some bars.

    Attributes:
        open_ms: When the bucket begins from which on bars may still change.
        next_ms: When the bucket begins that the next page begins with; None if there is none.
    """

    bars: BarColumns
    open_ms: int
    next_ms: int | None


def decode(request: pb.GetEquityHistoryRequest, calendar: SessionCalendar, now_ms: int) -> Query:
    """
    What a request asks for.

    Args:
        calendar: The session's.
        now_ms: What time it is on the market: where ranges end.

    Raises:
        InvalidRequest, OutOfBounds: Naming the field.
    """
    span = _decode_range(request)
    digest = _digest(request)
    token = _decode_token(request.page_token, digest)
    resolution = token[1] if token else _decode_resolution(request, span, now_ms)
    if request.page_size > HISTORY_POINTS_MAX:
        raise InvalidRequest(
            "page_size",
            f"page_size is {request.page_size}, the most is {HISTORY_POINTS_MAX}",
            value=request.page_size,
            bound=HISTORY_POINTS_MAX,
        )
    buckets = Buckets(resolution, calendar)
    start_ms = request.start * 1_000 if span is None else calendar.range_start_ms(span, now_ms)
    if token:
        start_ms = token[0]
        if start_ms != buckets.start_ms(start_ms):
            raise _alien(request.page_token)
    return Query(
        account_id=request.account_id,
        first_ms=buckets.start_ms(start_ms),
        until_ms=buckets.end_ms(request.end * 1_000 - 1) if request.HasField("end") else None,
        resolution=resolution,
        carry_forward=request.carry_forward,
        points_max=request.page_size or HISTORY_POINTS_DEFAULT,
        digest=digest,
    )


def encode(query: Query, page: Page) -> pb.GetEquityHistoryResponse:
    """The answer."""
    made = page.bars
    columns = (
        made.start_ms // 1_000,
        made.open_cents,
        made.high_cents,
        made.low_cents,
        made.last_cents,
        made.realized_cents,
        made.net_flow_cents,
        made.start_ms < page.open_ms,
    )
    answer = pb.GetEquityHistoryResponse(resolution=_WIRE_RESOLUTION[query.resolution])
    if page.next_ms is not None:
        answer.next_page_token = f"{page.next_ms // 1_000}.{query.resolution:d}.{query.digest}"
    # Made where they belong, points cost half of what it takes to make them first and copy them then.
    add = answer.points.add
    for time, opening, high, low, last, realized, flow, final in zip(*(each.tolist() for each in columns), strict=True):
        add(time=time, open=opening, high=high, low=low, last=last, realized_pnl=realized, net_flow=flow, final=final)
    return answer


def _decode_range(request: pb.GetEquityHistoryRequest) -> HistoryRange | None:
    if request.range:
        for field in ("start", "end"):
            if request.HasField(field):
                raise InvalidRequest(field, f"{field} goes without a range: a range ends now, and says where it begins")
        return _known("range", HistoryRange, request.range)
    if not request.HasField("start"):
        raise InvalidRequest("range", "either a range or start is required")
    for field in ("start", "end"):
        _check_seconds(field, getattr(request, field))
    if request.HasField("end") and request.end <= request.start:
        raise InvalidRequest(
            "end", f"end {request.end} is not after start {request.start}", value=request.end, start=request.start
        )
    return None


def _decode_resolution(request: pb.GetEquityHistoryRequest, span: HistoryRange | None, now_ms: int) -> Resolution:
    if request.resolution:
        return _known("resolution", Resolution, request.resolution)
    if span is not None:
        return _RANGE_RESOLUTION[span]
    seconds = (request.end if request.HasField("end") else now_ms // 1_000) - request.start
    return next((each for longest, each in _SPAN_RESOLUTION if seconds <= longest), Resolution.ONE_DAY)


def _decode_token(token: str, digest: str) -> tuple[int, Resolution] | None:
    if not token:
        return None
    parts = _TOKEN.fullmatch(token)
    if parts is None or parts[3] != digest or int(parts[1]) > _SECONDS_MAX:
        raise _alien(token)
    return int(parts[1]) * 1_000, Resolution(int(parts[2]))


def _alien(token: str) -> InvalidRequest:
    return InvalidRequest("page_token", f"page_token {token[:64]!r} does not belong to this request")


def _digest(request: pb.GetEquityHistoryRequest) -> str:
    asked = pb.GetEquityHistoryRequest()
    asked.CopyFrom(request)
    asked.ClearField("page_size")
    asked.ClearField("page_token")
    return hashlib.blake2s(asked.SerializeToString(deterministic=True), digest_size=8).hexdigest()


def _known(field: str, kind: type[E], number: int) -> E:
    try:
        return kind(number)
    except ValueError:
        raise InvalidRequest(field, f"{field} {number} is not known", value=number) from None


def _check_seconds(field: str, value: int) -> None:
    if value < 0:
        raise InvalidRequest(field, f"{field} must be zero or more, not {value}", value=value)
    if value > _SECONDS_MAX:
        raise OutOfBounds(field, f"{field} is {value}, the most is {_SECONDS_MAX}", value=value, bound=_SECONDS_MAX)
