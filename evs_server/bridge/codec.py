"""
The contract's messages as the values that ``frames`` writes. Pure; nothing else in the bridge reads protobuf fields.

Not here: JSON (``frames``), the calls (``upstream``). The contract gives the percentage as a double of four exact
decimals, which is handed on as it is; nothing here computes.
"""

from collections.abc import Iterable

from evs.v1 import evs_pb2

from evs_server.bridge.frames import EquityData, EquityValue, PositionRow, Positions


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


def _flags(numbers: Iterable[int]) -> tuple[str, ...]:
    known = evs_pb2.EquityFlag.DESCRIPTOR.values_by_number
    return tuple(
        known[number].name.removeprefix("EQUITY_FLAG_") if number in known else str(number) for number in numbers
    )
