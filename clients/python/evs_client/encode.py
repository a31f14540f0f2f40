"""
Events as compact records, and records as the columns of a ``StreamEventsRequest``. Pure.

A record is what the outbox keeps of an event: packed bytes whose first byte is the kind. It takes a quarter of the
memory of a tuple and is never visited by the garbage collector; packing it is also the check that every number fits its
field on the wire. Whether an event makes sense (a price above zero, an account that exists) is EVS's to say.

Worked example: 2 shares of symbol 7 at 1,500 cents are ``trade_record(account_id=1, symbol_id=7, side="BUY", shares=2,
price_cents=1_500)``: quantity 20,000 bp.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby
from operator import index, itemgetter
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class, whatever its name looks like
from typing import Final, Literal, NamedTuple, SupportsIndex, cast

from evs.v1 import evs_pb2

Side = int | Literal["BUY", "SELL"]
"""A ``TradeSide`` of the contract, by number or by name."""

BP_PER_SHARE: Final = 10_000
SOURCE_BYTES_MAX: Final = 64
REASON_BYTES_MAX: Final = 256

WIRE_BYTES_PER_RECORD_BYTE: Final = 2
"""A record takes at most this many times its own length on the wire, even in a run of its own."""


class TradeEvent(NamedTuple):
    """One settled leg; fields as in ``OnTradeSettledRequest``."""

    account_id: int
    symbol_id: int
    side: int
    quantity_bp: int
    price_cents: int
    fee_cents: int
    settlement_id: int


class PriceEvent(NamedTuple):
    """A new mark; fields as in ``OnPriceUpdatedRequest``."""

    symbol_id: int
    price_cents: int


class TickEvent(NamedTuple):
    """The end of a tick; ``tick_time`` in unix milliseconds, 0 for EVS's clock."""

    tick_id: int
    tick_time: int


class CashEvent(NamedTuple):
    """A flow; fields as in ``OnCashAdjustedRequest``."""

    account_id: int
    amount_cents: int
    reason: str


Event = TradeEvent | PriceEvent | TickEvent | CashEvent

_TRADE, _PRICE, _TICK, _CASH = 1, 2, 3, 4
_TRADE_LAYOUT: Final = Struct("<BqIBqqqq")
_PRICE_LAYOUT: Final = Struct("<BIq")
_TICK_LAYOUT: Final = Struct("<BQq")
_CASH_LAYOUT: Final = Struct("<Bqq")  # followed by the reason in UTF-8
_KIND: Final = itemgetter(0)
_SIDES: Final[dict[object, int]] = {
    evs_pb2.TRADE_SIDE_BUY: evs_pb2.TRADE_SIDE_BUY,
    evs_pb2.TRADE_SIDE_SELL: evs_pb2.TRADE_SIDE_SELL,
    "BUY": evs_pb2.TRADE_SIDE_BUY,
    "SELL": evs_pb2.TRADE_SIDE_SELL,
}
_INT64: Final = range(-(2**63), 2**63)
_UINT32: Final = range(2**32)
_UINT64: Final = range(2**64)


def quantity_from_shares(shares: int | Decimal) -> int:
    """
    The quantity in bp of a number of shares, exactly.

    Raises:
        TypeError: If it is neither an ``int`` nor a ``Decimal``; a float has no exact quantity.
        ValueError: If it is not a whole number of bp, or not a finite one.
    """
    if not isinstance(shares, Decimal):
        return _integer("shares", shares) * BP_PER_SHARE
    if not shares.is_finite() or shares.adjusted() > 18:
        raise ValueError(f"{shares} shares are beyond what a quantity can hold")
    numerator, denominator = shares.as_integer_ratio()
    quantity_bp, rest = divmod(numerator * BP_PER_SHARE, denominator)
    if rest:
        raise ValueError(f"{shares} shares are not a whole number of bp (1/{BP_PER_SHARE:,} share)")
    return quantity_bp


def trade_record(
    account_id: int,
    symbol_id: int,
    side: Side,
    *,
    shares: int | Decimal | None = None,
    quantity_bp: int | None = None,
    price_cents: int,
    fee_cents: int = 0,
    settlement_id: int = 0,
) -> bytes:
    """
    The record of one settled leg.

    Args:
        account_id: The exchange's id of the account.
        symbol_id: The traded symbol.
        side: ``"BUY"``, ``"SELL"`` or the contract's number for it.
        shares: Size in shares; a ``Decimal`` must come out at whole bp.
        quantity_bp: Size in 1/10,000 share, instead of ``shares``.
        price_cents: Cents per share.
        fee_cents: Cents charged to this account for this leg.
        settlement_id: The exchange's id of this leg's ``trades`` row; 0 = unknown.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: Unless exactly one of shares and quantity_bp is given; if the side is neither, or a number does not
            fit its field on the wire.
    """
    if (shares is None) == (quantity_bp is None):
        raise ValueError(f"expected one of shares and quantity_bp, got shares={shares}, quantity_bp={quantity_bp}")
    quantity = quantity_bp if shares is None else quantity_from_shares(shares)
    side_number = _SIDES.get(side)
    if side_number is None:
        raise ValueError(f"side {side!r} is neither BUY nor SELL")
    try:
        return _TRADE_LAYOUT.pack(
            _TRADE, account_id, symbol_id, side_number, quantity, price_cents, fee_cents, settlement_id
        )
    except StructError:
        _raise_misfit(
            ("account_id", account_id, _INT64),
            ("symbol_id", symbol_id, _UINT32),
            ("quantity_bp", quantity, _INT64),
            ("price_cents", price_cents, _INT64),
            ("fee_cents", fee_cents, _INT64),
            ("settlement_id", settlement_id, _INT64),
        )
        raise


def price_record(symbol_id: int, price_cents: int) -> bytes:
    """
    The record of a new mark, in cents per share.

    Raises:
        TypeError, ValueError: As ``trade_record``.
    """
    try:
        return _PRICE_LAYOUT.pack(_PRICE, symbol_id, price_cents)
    except StructError:
        _raise_misfit(("symbol_id", symbol_id, _UINT32), ("price_cents", price_cents, _INT64))
        raise


def tick_record(tick_id: int, tick_time_ms: int = 0) -> bytes:
    """
    The record of a completed tick; its time in unix milliseconds, 0 for EVS's clock.

    Raises:
        TypeError, ValueError: As ``trade_record``.
    """
    try:
        return _TICK_LAYOUT.pack(_TICK, tick_id, tick_time_ms)
    except StructError:
        _raise_misfit(("tick_id", tick_id, _UINT64), ("tick_time_ms", tick_time_ms, _INT64))
        raise


def cash_record(account_id: int, amount_cents: int, reason: str = "") -> bytes:
    """
    The record of a flow: positive cents are a deposit, negative ones a withdrawal.

    Raises:
        TypeError, ValueError: As ``trade_record``; also if the reason takes more than ``REASON_BYTES_MAX`` bytes.
    """
    text = reason.encode()
    if len(text) > REASON_BYTES_MAX:
        raise ValueError(f"a reason of {len(text)} bytes is longer than {REASON_BYTES_MAX}")
    try:
        return _CASH_LAYOUT.pack(_CASH, account_id, amount_cents) + text
    except StructError:
        _raise_misfit(("account_id", account_id, _INT64), ("amount_cents", amount_cents, _INT64))
        raise


def event_of(record: bytes) -> Event:
    """The event that a record was made of."""
    kind = record[0]
    if kind == _TRADE:
        return TradeEvent(*_TRADE_LAYOUT.unpack(record)[1:])
    if kind == _PRICE:
        return PriceEvent(*_PRICE_LAYOUT.unpack(record)[1:])
    if kind == _TICK:
        return TickEvent(*_TICK_LAYOUT.unpack(record)[1:])
    assert kind == _CASH
    _, account_id, amount_cents = _CASH_LAYOUT.unpack_from(record)
    return CashEvent(account_id, amount_cents, record[_CASH_LAYOUT.size :].decode())


def encode_batch(source: str, epoch: int, first_sequence: int, records: Sequence[bytes]) -> evs_pb2.StreamEventsRequest:
    """The request that carries records in order, as few runs as their kinds allow."""
    runs = [_RUN_OF_KIND[kind](list(group)) for kind, group in groupby(records, _KIND)]
    return evs_pb2.StreamEventsRequest(source=source, epoch=epoch, first_sequence=first_sequence, runs=runs)


def _trades(records: list[bytes]) -> evs_pb2.EventRun:
    columns = zip(*_TRADE_LAYOUT.iter_unpack(b"".join(records)), strict=True)
    _, account_id, symbol_id, side, quantity_bp, price_cents, fee_cents, settlement_id = columns
    trades = evs_pb2.TradeColumns(
        account_id=account_id,
        symbol_id=symbol_id,
        side=side,
        quantity_bp=quantity_bp,
        price_cents=price_cents,
        fee_cents=fee_cents if any(fee_cents) else (),
        settlement_id=settlement_id if any(settlement_id) else (),
    )
    return evs_pb2.EventRun(trades=trades)


def _prices(records: list[bytes]) -> evs_pb2.EventRun:
    _, symbol_id, price_cents = zip(*_PRICE_LAYOUT.iter_unpack(b"".join(records)), strict=True)
    return evs_pb2.EventRun(prices=evs_pb2.PriceColumns(symbol_id=symbol_id, price_cents=price_cents))


def _ticks(records: list[bytes]) -> evs_pb2.EventRun:
    _, tick_id, tick_time = zip(*_TICK_LAYOUT.iter_unpack(b"".join(records)), strict=True)
    return evs_pb2.EventRun(ticks=evs_pb2.TickColumns(tick_id=tick_id, tick_time=tick_time if any(tick_time) else ()))


def _flows(records: list[bytes]) -> evs_pb2.EventRun:
    _, account_id, amount_cents = zip(*map(_CASH_LAYOUT.unpack_from, records), strict=True)
    reason = [record[_CASH_LAYOUT.size :].decode() for record in records]
    return evs_pb2.EventRun(
        cash=evs_pb2.CashColumns(account_id=account_id, amount_cents=amount_cents, reason=reason if any(reason) else ())
    )


_RUN_OF_KIND: Final = {_TRADE: _trades, _PRICE: _prices, _TICK: _ticks, _CASH: _flows}


def _raise_misfit(*fields: tuple[str, object, range]) -> None:
    # Only after packing has failed: on the way that works, packing is the whole check.
    for name, value, bounds in fields:
        if _integer(name, value) not in bounds:
            raise ValueError(f"{name} {value} does not fit its field: expected {bounds[0]} to {bounds[-1]}")


def _integer(name: str, value: object) -> int:
    try:
        return index(cast("SupportsIndex", value))
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}: {value!r}") from None
