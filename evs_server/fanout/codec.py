"""Snapshots and positions to protobuf: one encoder for every surface, so that all say the same. Pure."""

from evs.v1 import evs_pb2 as pb

from evs_server.fanout.hub import Pending
from evs_server.model import Flag, MarkSource, PositionView, Snapshot

_PERCENT_E4 = 10_000
_FLAG_OF_BIT = (
    (Flag.UNPRICED, pb.EQUITY_FLAG_UNPRICED),
    (Flag.STALE_PRICE, pb.EQUITY_FLAG_STALE_PRICE),
    (Flag.DEGRADED, pb.EQUITY_FLAG_DEGRADED),
    (Flag.NO_BASE, pb.EQUITY_FLAG_NO_BASE),
    (Flag.IDENTITY_VIOLATED, pb.EQUITY_FLAG_IDENTITY_VIOLATED),
)
_SOURCE = {
    MarkSource.NONE: pb.MARK_SOURCE_UNSPECIFIED,
    MarkSource.MARK: pb.MARK_SOURCE_MARK,
    MarkSource.LAST_TRADE: pb.MARK_SOURCE_LAST_TRADE,
    MarkSource.COST: pb.MARK_SOURCE_COST,
}


def encode_equity(snapshot: Snapshot) -> pb.EquityUpdate:
    """The ten numbers of an account. The percentage becomes the double nearest to its four decimals."""
    return pb.EquityUpdate(
        account_id=snapshot.account_id,
        tick=snapshot.tick,
        timestamp=snapshot.timestamp_ms // 1_000,
        total_equity=snapshot.equity_cents,
        cash_balance=snapshot.cash_cents,
        position_value=snapshot.position_value_cents,
        day_change=snapshot.day_change_cents,
        day_change_percent=snapshot.day_change_percent_e4 / _PERCENT_E4,
        unrealized_pnl=snapshot.unrealized_cents,
        realized_pnl=snapshot.realized_cents,
    )


def encode_flags(flags: int) -> list[pb.EquityFlag]:
    """Flag bits as the wire's numbers, ascending."""
    return [number for bit, number in _FLAG_OF_BIT if flags & bit] if flags else []


def encode_read(snapshot: Snapshot) -> pb.GetEquityResponse:
    """The answer to ``GetEquity``."""
    return pb.GetEquityResponse(
        equity=encode_equity(snapshot),
        version=snapshot.version,
        flags=encode_flags(snapshot.flags),
        net_flow=snapshot.net_flow_cents,
    )


def encode_change(pending: Pending, *, first: bool) -> pb.SubscribeEquityResponse:
    """A message of ``SubscribeEquity``; ``first`` marks the snapshot that a stream begins with."""
    snapshot = pending.snapshot
    return pb.SubscribeEquityResponse(
        equity=encode_equity(snapshot),
        version=snapshot.version,
        snapshot=first,
        conflated=pending.conflated_count,
        flags=encode_flags(snapshot.flags),
    )


def encode_heartbeat(version: int) -> pb.SubscribeEquityResponse:
    """A message without a value: the stream lives, and ``version`` is still the newest."""
    return pb.SubscribeEquityResponse(version=version)


def encode_position(view: PositionView) -> pb.Position:
    """One position of ``ListPositions``."""
    return pb.Position(
        symbol_id=view.symbol_id,
        quantity_bp=view.quantity_bp,
        avg_cost=view.avg_cost_cents,
        basis_cents=view.basis_cents,
        mark_price=view.mark_cents,
        mark_source=_SOURCE[view.mark_source],
        market_value=view.value_cents,
        unrealized_pnl=view.unrealized_cents,
        realized_pnl=view.realized_cents,
        last_updated=view.updated_ms // 1_000,
        mark_time=view.mark_time_ms,
    )
