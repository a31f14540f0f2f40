"""One value of an equity stream, and which of them are new. Pure."""

from dataclasses import dataclass

from evs.v1 import evs_pb2

_FLAG_PREFIX = "EQUITY_FLAG_"


@dataclass(frozen=True, slots=True)
class EquityValue:
    """
    What one account is worth at one version; money in cents.

    Attributes:
        account_id: The account.
        tick: The tick that valued it.
        timestamp: When, in unix seconds.
        total_equity: ``cash_balance + position_value``.
        cash_balance: May be negative.
        position_value: All positions together; shorts count negative.
        day_change: Gained since the last session close, deposits and withdrawals left out.
        day_change_percent: The same in percent, exact to four decimals.
        unrealized_pnl: ``position_value`` less what the open positions cost.
        realized_pnl: Locked in by trades since the account opened.
        version: The valuation pass; equal versions are equal numbers.
        snapshot: True for the first value after subscribing.
        conflated: How many values EVS skipped since the one before, because this reader was slow.
        flags: What to know about the numbers, such as ``"UNPRICED"``: the contract's names without their prefix.
    """

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
    version: int
    snapshot: bool
    conflated: int
    flags: tuple[str, ...]


def decode_value(message: evs_pb2.SubscribeEquityResponse) -> EquityValue | None:
    """The value in a message of the stream, or None if it is a heartbeat."""
    if not message.HasField("equity"):
        return None
    equity = message.equity
    return EquityValue(
        account_id=equity.account_id,
        tick=equity.tick,
        timestamp=equity.timestamp,
        total_equity=equity.total_equity,
        cash_balance=equity.cash_balance,
        position_value=equity.position_value,
        day_change=equity.day_change,
        day_change_percent=equity.day_change_percent,
        unrealized_pnl=equity.unrealized_pnl,
        realized_pnl=equity.realized_pnl,
        version=message.version,
        snapshot=message.snapshot,
        conflated=message.conflated,
        flags=tuple(_flag_name(number) for number in message.flags),
    )


def _flag_name(number: int) -> str:
    # A newer EVS may know flags that this client does not.
    known = evs_pb2.EquityFlag.DESCRIPTOR.values_by_number.get(number)
    return known.name.removeprefix(_FLAG_PREFIX) if known else str(number)
