"""
The contract's messages as the bridge's values, and its requests as messages. Pure.

Lives here: every protobuf field that the bridge reads or writes, and the names that browsers have for the contract's
enums. Not here: JSON (``requests``, ``frames``), the calls (``reads``, ``upstream``). The contract gives percentages as
doubles of four exact decimals, which are handed on as they are; nothing here computes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from evs.v1 import admin_pb2, evs_pb2

from evs_server.bridge.requests import RANGES, RESOLUTIONS, ReadHistory, ReadLeaderboard, ReadPerformance
from evs_server.bridge.values import (
    Cluster,
    EquityData,
    EquityValue,
    History,
    HistoryPoint,
    Leaderboard,
    Performance,
    Place,
    PositionRow,
    Positions,
    VirtualShard,
)

_RANGE: Final[Mapping[str, evs_pb2.HistoryRange]] = dict(
    zip(
        RANGES,
        (
            evs_pb2.HISTORY_RANGE_ONE_DAY,
            evs_pb2.HISTORY_RANGE_ONE_WEEK,
            evs_pb2.HISTORY_RANGE_ONE_MONTH,
            evs_pb2.HISTORY_RANGE_THREE_MONTHS,
            evs_pb2.HISTORY_RANGE_ONE_YEAR,
            evs_pb2.HISTORY_RANGE_ALL,
        ),
        strict=True,
    )
)
_RESOLUTION: Final[Mapping[str, evs_pb2.Resolution]] = dict(
    zip(
        RESOLUTIONS,
        (
            evs_pb2.RESOLUTION_RAW,
            evs_pb2.RESOLUTION_ONE_MINUTE,
            evs_pb2.RESOLUTION_FIVE_MINUTES,
            evs_pb2.RESOLUTION_ONE_HOUR,
            evs_pb2.RESOLUTION_ONE_DAY,
        ),
        strict=True,
    )
)
_RESOLUTION_NAME: Final[Mapping[int, str]] = {number: name for name, number in _RESOLUTION.items()}

PARAM_OF_FIELD: Final[Mapping[str, str]] = {"page_size": "limit", "page_token": "next", "carry_forward": "fill"}
"""What browsers call a field of a request; any other has one name."""


# --- requests ----------------------------------------------------------------------------------------------------


def encode_history(request: ReadHistory, account_id: int) -> evs_pb2.GetEquityHistoryRequest:
    """The question that a request for history puts to EVS."""
    span = request.span
    return evs_pb2.GetEquityHistoryRequest(
        account_id=account_id,
        range=_RANGE[span.range] if span.range is not None else None,
        start=span.start_s,
        end=span.end_s,
        resolution=_RESOLUTION[request.resolution] if request.resolution is not None else None,
        carry_forward=request.fill,
        page_size=request.limit,
        page_token=request.next,
    )


def encode_performance(request: ReadPerformance, account_id: int) -> evs_pb2.GetPerformanceRequest:
    """The question that a request for performance puts to EVS."""
    span = request.span
    return evs_pb2.GetPerformanceRequest(
        account_id=account_id,
        range=_RANGE[span.range] if span.range is not None else None,
        start=span.start_s,
        end=span.end_s,
    )


def encode_leaderboard(request: ReadLeaderboard, account_id: int) -> evs_pb2.GetLeaderboardRequest:
    """The question that a request for the leaderboard puts to EVS."""
    return evs_pb2.GetLeaderboardRequest(range=_RANGE[request.range], limit=request.limit, account_id=account_id)


# --- answers -----------------------------------------------------------------------------------------------------


def decode_update(message: evs_pb2.SubscribeEquityResponse) -> EquityValue | None:
    """The value in a message of ``SubscribeEquity``, or None for a heartbeat."""
    if not message.HasField("equity"):
        return None
    return EquityValue(
        _equity(message.equity), message.version, message.snapshot, message.conflated, _flags(message.flags)
    )


def decode_equity(message: evs_pb2.GetEquityResponse) -> EquityValue:
    """The value in an answer of ``GetEquity``."""
    return EquityValue(_equity(message.equity), message.version, True, 0, _flags(message.flags))


def decode_positions(message: evs_pb2.ListPositionsResponse) -> Positions:
    """The positions in an answer of ``ListPositions``, in its order."""
    return Positions([_position(position) for position in message.positions], message.version)


def decode_history(message: evs_pb2.GetEquityHistoryResponse) -> History:
    """The page in an answer of ``GetEquityHistory``; half a microsecond a point."""
    points = [
        HistoryPoint(
            point.time,
            point.open,
            point.high,
            point.low,
            point.last,
            point.realized_pnl,
            point.net_flow,
            point.final,
        )
        for point in message.points
    ]
    resolution = _RESOLUTION_NAME.get(message.resolution, str(message.resolution))
    return History(resolution, points, message.next_page_token or None)


def decode_performance(message: evs_pb2.GetPerformanceResponse) -> Performance:
    """The figures in an answer of ``GetPerformance``."""
    return Performance(
        message.start,
        message.end,
        message.start_equity,
        message.end_equity,
        message.net_flow,
        message.profit,
        message.time_weighted_return_percent,
        message.max_drawdown_percent,
        message.drawdown_percent,
        message.high_water_mark,
        message.high_water_time,
        message.version,
    )


def decode_leaderboard(
    message: evs_pb2.GetLeaderboardResponse, request: ReadLeaderboard, account_id: int
) -> Leaderboard:
    """The places in an answer of ``GetLeaderboard``, without anybody's id."""
    return Leaderboard(
        request.range,
        [_place(entry, account_id) for entry in message.entries],
        _place(message.own, account_id) if message.HasField("own") else None,
        message.ranked_count,
        message.version,
    )


def decode_cluster(message: admin_pb2.GetClusterResponse, name_of: Callable[[str], str]) -> Cluster:
    """
    The virtual shards in an answer of ``GetCluster``, in its order.

    Args:
        name_of: What people call an owner that calls itself so.
    """
    shards = [
        VirtualShard(
            each.shard,
            name_of(each.owner),
            each.start_number,
            each.applied_position,
            each.committed_position,
            each.lag_ms,
            each.silent,
            each.owned_since,
            each.heard,
        )
        for each in message.shards
    ]
    return Cluster(message.last_position, shards, message.time)


def _place(message: evs_pb2.LeaderboardEntry, account_id: int) -> Place:
    return Place(message.rank, message.display_name or None, message.return_percent, message.account_id == account_id)


def _equity(message: evs_pb2.EquityUpdate) -> EquityData:
    return EquityData(
        message.account_id,
        message.tick,
        message.timestamp,
        message.total_equity,
        message.cash_balance,
        message.position_value,
        message.day_change,
        message.day_change_percent,
        message.unrealized_pnl,
        message.realized_pnl,
    )


def _position(message: evs_pb2.Position) -> PositionRow:
    return PositionRow(
        message.symbol_id,
        message.quantity_bp,
        message.avg_cost,
        message.basis_cents,
        message.mark_price,
        _mark_source(message.mark_source),
        message.market_value,
        message.unrealized_pnl,
        message.realized_pnl,
        message.last_updated,
        message.mark_time,
    )


# A newer EVS may send numbers that this bridge has no name for: they are handed on as numbers, never refused.


def _mark_source(number: int) -> str:
    named = evs_pb2.MarkSource.DESCRIPTOR.values_by_number.get(number)
    return named.name.removeprefix("MARK_SOURCE_") if named else str(number)


def _flags(numbers: Sequence[int]) -> tuple[str, ...]:
    if not numbers:
        return ()
    known = evs_pb2.EquityFlag.DESCRIPTOR.values_by_number
    return tuple(
        known[number].name.removeprefix("EQUITY_FLAG_") if number in known else str(number) for number in numbers
    )
