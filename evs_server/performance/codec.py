"""
Requests about returns to plain values and back, and all validation of what readers ask. Pure.
"""

from typing import NamedTuple

from evs.v1 import evs_pb2 as pb

from evs_server.engine.growth import Performance
from evs_server.errors import InvalidRequest, OutOfBounds
from evs_server.limits import EXACT_MAX, LEADERBOARD_ENTRIES_MAX, TICK_TIME_MS_MAX
from evs_server.model import HistoryRange
from evs_server.performance.ranking import RANKED_RANGES, Place

ENTRIES_DEFAULT = 10
_PERCENT_E4 = 10_000
_SECONDS_MAX = TICK_TIME_MS_MAX // 1_000


class Span(NamedTuple):
    """Over which time: a range that ends now, or from a moment on, unix milliseconds; ``end_ms`` None is now."""

    span: HistoryRange | None
    start_ms: int
    end_ms: int | None


class Board(NamedTuple):
    """Which ranking, how many of its first places, and whose place besides (0 is nobody's)."""

    span: HistoryRange
    place_count: int
    account_id: int


def decode_span(request: pb.GetPerformanceRequest) -> Span:
    """
    Over which time returns are asked for.

    Raises:
        InvalidRequest: If neither a range nor a start is given, or both; if the end is not after the start.
        OutOfBounds: If a moment is beyond the calendar.
    """
    if request.range:
        span = _range(request.range)
        for field in ("start", "end"):
            if request.HasField(field):
                raise InvalidRequest(field, f"{field} cannot be given with a range, which ends now")
        return Span(span, 0, None)
    if not request.HasField("start"):
        raise InvalidRequest("range", "a range or a start must be given")
    start = _seconds("start", request.start)
    if not request.HasField("end"):
        return Span(None, 1_000 * start, None)
    end = _seconds("end", request.end)
    if end <= start:
        raise InvalidRequest("end", f"end must be after start, {start}, not {end}", value=end, start=start)
    return Span(None, 1_000 * start, 1_000 * end)


def decode_board(request: pb.GetLeaderboardRequest) -> Board:
    """
    Which ranking is asked for.

    Raises:
        InvalidRequest: If the range is not ranked, or the limit too high.
        OutOfBounds: If the account id cannot be one.
    """
    span = _range(request.range) if request.range else HistoryRange.ONE_DAY
    if span not in RANKED_RANGES:
        names = ", ".join(pb.HistoryRange.Name(each.value) for each in RANKED_RANGES)
        raise InvalidRequest(
            "range", f"range {pb.HistoryRange.Name(span.value)} is not ranked; {names} are", value=span
        )
    if request.limit > LEADERBOARD_ENTRIES_MAX:
        raise InvalidRequest(
            "limit",
            f"limit must be at most {LEADERBOARD_ENTRIES_MAX}, not {request.limit}",
            value=request.limit,
            bound=LEADERBOARD_ENTRIES_MAX,
        )
    if request.account_id < 0:
        raise InvalidRequest(
            "account_id", f"account_id must be 0 or more, not {request.account_id}", value=request.account_id
        )
    if request.account_id > EXACT_MAX:
        raise OutOfBounds(
            "account_id",
            f"account_id is {request.account_id}, the most is {EXACT_MAX}",
            value=request.account_id,
            bound=EXACT_MAX,
        )
    return Board(span, request.limit or ENTRIES_DEFAULT, request.account_id)


def encode_performance(made: Performance, version: int) -> pb.GetPerformanceResponse:
    """The answer to ``GetPerformance``. Percentages become the doubles nearest to their four decimals."""
    start, end = made.start, made.end
    return pb.GetPerformanceResponse(
        start=start.time_ms // 1_000,
        end=end.time_ms // 1_000,
        start_equity=start.equity_cents,
        end_equity=end.equity_cents,
        net_flow=end.net_flow_cents - start.net_flow_cents,
        profit=end.profit_cents - start.profit_cents,
        time_weighted_return_percent=made.return_percent_e4 / _PERCENT_E4,
        max_drawdown_percent=made.max_drawdown_percent_e4 / _PERCENT_E4,
        drawdown_percent=made.drawdown_percent_e4 / _PERCENT_E4,
        high_water_mark=made.high_water_cents,
        high_water_time=made.high_water_ms // 1_000,
        version=version,
    )


def encode_place(place: Place, display_name: str) -> pb.LeaderboardEntry:
    """One entry of ``GetLeaderboard``."""
    return pb.LeaderboardEntry(
        rank=place.rank,
        account_id=place.account_id,
        display_name=display_name,
        return_percent=place.return_percent_e4 / _PERCENT_E4,
    )


def _range(number: int) -> HistoryRange:
    try:
        return HistoryRange(number)
    except ValueError:
        raise InvalidRequest("range", f"range {number} is none of the contract's", value=number) from None


def _seconds(field: str, seconds: int) -> int:
    if seconds < 0:
        raise InvalidRequest(field, f"{field} must be 0 or more unix seconds, not {seconds}", value=seconds)
    if seconds > _SECONDS_MAX:
        raise OutOfBounds(field, f"{field} is {seconds}, the most is {_SECONDS_MAX}", value=seconds, bound=_SECONDS_MAX)
    return seconds
