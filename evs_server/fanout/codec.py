"""Snapshots and positions to protobuf: one encoder for every surface, so that all say the same. Pure."""

from collections.abc import Iterable
from typing import Any

from evs.v1 import evs_pb2 as pb

from evs_server.fanout.hub import Pending, Sheet
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
    equity = pb.EquityUpdate()
    _fill(equity, snapshot)
    return equity


def encode_flags(flags: int) -> list[pb.EquityFlag]:
    """Flag bits as the wire's numbers, ascending."""
    return [number for bit, number in _FLAG_OF_BIT if flags & bit] if flags else []


def encode_read(snapshot: Snapshot) -> pb.GetEquityResponse:
    """The answer to ``GetEquity``."""
    answer = pb.GetEquityResponse(
        version=snapshot.version, flags=encode_flags(snapshot.flags), net_flow=snapshot.net_flow_cents
    )
    _fill(answer.equity, snapshot)
    return answer


def encode_change(pending: Pending, *, first: bool) -> pb.SubscribeEquityResponse:
    """A message of ``SubscribeEquity``; ``first`` marks the snapshot that a stream begins with."""
    snapshot = pending.snapshot
    change = pb.SubscribeEquityResponse(
        version=snapshot.version,
        snapshot=first,
        conflated=pending.conflated_count,
        flags=encode_flags(snapshot.flags),
    )
    _fill(change.equity, snapshot)
    return change


def encode_heartbeat(version: int) -> pb.SubscribeEquityResponse:
    """A message without a value: the stream lives, and ``version`` is still the newest."""
    return pb.SubscribeEquityResponse(version=version)


def encode_updates(changes: Iterable[tuple[Pending, bool]]) -> pb.WatchEquityResponse:
    """A message of ``WatchEquity``: changes, each with whether it is the first of its account on this stream."""
    return pb.WatchEquityResponse(updates=[encode_change(pending, first=first) for pending, first in changes])


def encode_rows(sheet: Sheet, start: int, stop: int) -> pb.WatchEquityResponse:
    """The rows from ``start`` to before ``stop`` as a message of ``WatchEquity``."""
    response = pb.WatchEquityResponse()
    add, first = response.updates.add, sheet.first
    for skipped, flags, version, row in _rows(sheet, slice(start, stop)):
        update = add(version=version, snapshot=first, conflated=skipped, flags=encode_flags(flags))
        equity = update.equity
        (
            equity.account_id, equity.tick, equity.timestamp, equity.total_equity, equity.cash_balance,
            equity.position_value, equity.day_change, equity.day_change_percent, equity.unrealized_pnl,
            equity.realized_pnl,
        ) = row  # fmt: skip
    return response


def encode_refused(account_ids: Iterable[int]) -> pb.WatchEquityResponse:
    """A message of ``WatchEquity`` that says which accounts cannot be followed."""
    return pb.WatchEquityResponse(refused_account_ids=account_ids)


def _rows(sheet: Sheet, part: slice) -> Iterable[tuple[int, int, int, tuple[Any, ...]]]:
    table = sheet.table
    equity = zip(
        table.account_id[part].tolist(),
        table.tick[part].tolist(),
        (table.timestamp_ms[part] // 1_000).tolist(),
        table.equity_cents[part].tolist(),
        table.cash_cents[part].tolist(),
        table.position_value_cents[part].tolist(),
        table.day_change_cents[part].tolist(),
        (table.day_change_percent_e4[part] / _PERCENT_E4).tolist(),
        table.unrealized_cents[part].tolist(),
        table.realized_cents[part].tolist(),
        strict=True,
    )
    beside = (sheet.conflated_count[part].tolist(), table.flags[part].tolist(), table.version[part].tolist())
    return zip(*beside, equity, strict=True)


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


def _fill(equity: pb.EquityUpdate, snapshot: Snapshot) -> None:
    # Set field by field: to build the message from arguments, and have it copied into another, takes twice the time.
    equity.account_id = snapshot.account_id
    equity.tick = snapshot.tick
    equity.timestamp = snapshot.timestamp_ms // 1_000
    equity.total_equity = snapshot.equity_cents
    equity.cash_balance = snapshot.cash_cents
    equity.position_value = snapshot.position_value_cents
    equity.day_change = snapshot.day_change_cents
    equity.day_change_percent = snapshot.day_change_percent_e4 / _PERCENT_E4
    equity.unrealized_pnl = snapshot.unrealized_cents
    equity.realized_pnl = snapshot.realized_cents
