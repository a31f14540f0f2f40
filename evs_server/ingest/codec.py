"""
Protobuf to batches and back, and all validation of what senders say. Pure.

Past this room every number is inside ``limits``. A run is checked as columns; only an event that some column condemns
is looked at by itself, to say what is wrong with it in order of precedence. Each event gets a digest of its content,
the same whichever call it came by.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from evs.v1 import evs_pb2 as pb

from evs_server.errors import InvalidRequest, OutOfBounds, RequestError
from evs_server.limits import (
    BATCH_EVENTS_MAX,
    EXACT_MAX,
    FEE_CENTS_MAX,
    PRICE_CENTS_MAX,
    QUANTITY_BP_MAX,
    REASON_BYTES_MAX,
    SOURCE_BYTES_MAX,
    TICK_TIME_MS_MAX,
)
from evs_server.model import (
    Batch,
    BoolArray,
    CashRun,
    Int64Array,
    PriceRun,
    Run,
    Side,
    TickRun,
    TradeRun,
    UInt64Array,
)

_TRADE, _PRICE, _CASH, _TICK = 1, 2, 3, 4
_SEED = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(29)

_Checked = tuple[Run, UInt64Array, dict[int, RequestError]]


# --- requests -----------------------------------------------------------------------------------------------------


def decode_trade(request: pb.OnTradeSettledRequest) -> Batch:
    """A batch of one trade; raises ``InvalidRequest`` if its event id cannot be used."""
    columns = (
        [request.account_id], [request.symbol_id], [request.side], [request.quantity_bp], [request.price_cents],
        [request.fee_cents], [request.settlement_id],
    )  # fmt: skip
    return _single(request, _trades(*(np.array(column, np.int64) for column in columns)))


def decode_price(request: pb.OnPriceUpdatedRequest) -> Batch:
    """A batch of one mark; raises as ``decode_trade``."""
    return _single(request, _prices(np.array([request.symbol_id], np.int64), np.array([request.price_cents], np.int64)))


def decode_cash(request: pb.OnCashAdjustedRequest) -> Batch:
    """A batch of one flow; raises as ``decode_trade``."""
    account_id, amount = np.array([request.account_id], np.int64), np.array([request.amount_cents], np.int64)
    return _single(request, _cash(account_id, amount, (request.reason,)))


def decode_tick(request: pb.OnTickCompleteRequest) -> Batch:
    """A batch of one tick completion; raises as ``decode_trade``."""
    return _single(request, _ticks(np.array([request.tick_id], np.uint64), np.array([request.tick_time], np.int64)))


def decode_batch(request: pb.StreamEventsRequest) -> Batch:
    """
    The events of one request, in order.

    Raises:
        InvalidRequest: If it cannot be read at all; nothing of it counts then.
    """
    checked = [_run(run) for run in request.runs]
    size = sum(len(run) for run, _, _ in checked)
    if size > BATCH_EVENTS_MAX:
        raise InvalidRequest(
            "runs", f"a batch holds {size} events, the most is {BATCH_EVENTS_MAX}", size=size, bound=BATCH_EVENTS_MAX
        )
    if not request.first_sequence:
        return _batch("", 0, 0, checked)
    _check_source("source", request.source)
    _check_numbering("epoch", request.epoch, "first_sequence", request.first_sequence, size)
    return _batch(request.source, request.epoch, request.first_sequence, checked)


def check_source(source: str) -> str:
    """The name of a sender as it was given; raises ``InvalidRequest`` if it is none."""
    _check_source("source", source)
    return source


def _single(
    request: pb.OnTradeSettledRequest | pb.OnPriceUpdatedRequest | pb.OnCashAdjustedRequest | pb.OnTickCompleteRequest,
    checked: _Checked,
) -> Batch:
    if not request.HasField("event_id"):
        return _batch("", 0, 0, [checked])
    event_id = request.event_id
    _check_source("event_id.source", event_id.source)
    _positive("event_id.sequence", event_id.sequence)
    _check_numbering("event_id.epoch", event_id.epoch, "event_id.sequence", event_id.sequence, 1)
    return _batch(event_id.source, event_id.epoch, event_id.sequence, [checked])


def _batch(source: str, epoch: int, first_sequence: int, checked: Sequence[_Checked]) -> Batch:
    refusals: dict[int, RequestError] = {}
    start = 0
    for run, _, refused in checked:
        refusals.update((start + index, error) for index, error in refused.items())
        start += len(run)
    digests = [digest for _, digest, _ in checked]
    digest = np.concatenate(digests) if digests else np.empty(0, np.uint64)
    return Batch(source, epoch, first_sequence, tuple(run for run, _, _ in checked), digest, refusals)


# --- runs ---------------------------------------------------------------------------------------------------------


def _run(run: pb.EventRun) -> _Checked:
    kind = run.WhichOneof("events")
    if kind == "trades":
        return _trade_columns(run.trades)
    if kind == "prices":
        prices = run.prices
        _check_lengths("prices", symbol_id=prices.symbol_id, price_cents=prices.price_cents)
        return _prices(np.array(prices.symbol_id, np.int64), np.array(prices.price_cents, np.int64))
    if kind == "cash":
        cash = run.cash
        reason = tuple(cash.reason) or ("",) * len(cash.account_id)
        _check_lengths("cash", account_id=cash.account_id, amount_cents=cash.amount_cents, reason=reason)
        return _cash(np.array(cash.account_id, np.int64), np.array(cash.amount_cents, np.int64), reason)
    if kind == "ticks":
        tick_time = run.ticks.tick_time or [0] * len(run.ticks.tick_id)
        _check_lengths("ticks", tick_id=run.ticks.tick_id, tick_time=tick_time)
        return _ticks(np.array(run.ticks.tick_id, np.uint64), np.array(tick_time, np.int64))
    raise InvalidRequest("runs", "a run holds no events of any kind: set one of trades, prices, cash, ticks")


def _trade_columns(trades: pb.TradeColumns) -> _Checked:
    count = len(trades.account_id)
    zeros = np.zeros(count, np.int64)
    fee = np.array(trades.fee_cents, np.int64) if trades.fee_cents else zeros
    settlement_id = np.array(trades.settlement_id, np.int64) if trades.settlement_id else zeros
    _check_lengths(
        "trades",
        account_id=trades.account_id,
        symbol_id=trades.symbol_id,
        side=trades.side,
        quantity_bp=trades.quantity_bp,
        price_cents=trades.price_cents,
        fee_cents=fee,
        settlement_id=settlement_id,
    )
    columns = (trades.account_id, trades.symbol_id, trades.side, trades.quantity_bp, trades.price_cents)
    return _trades(*(np.array(column, np.int64) for column in columns), fee, settlement_id)


def _trades(*columns: Int64Array) -> _Checked:
    account_id, _, side, quantity_bp, price_cents, fee_cents, settlement_id = columns
    condemned = (
        _outside(account_id, 1, EXACT_MAX)
        | _outside(side, min(Side), max(Side))
        | _outside(quantity_bp, 1, QUANTITY_BP_MAX)
        | _outside(price_cents, 1, PRICE_CENTS_MAX)
        | _outside(fee_cents, 0, FEE_CENTS_MAX)
        | _outside(settlement_id, 0, EXACT_MAX)
    )
    return TradeRun(*columns), _digest(_TRADE, columns), _refuse(condemned, columns, _check_trade)


def _prices(symbol_id: Int64Array, price_cents: Int64Array) -> _Checked:
    columns = (symbol_id, price_cents)
    condemned = _outside(price_cents, 1, PRICE_CENTS_MAX)
    return PriceRun(*columns), _digest(_PRICE, columns), _refuse(condemned, columns, _check_price)


def _cash(account_id: Int64Array, amount_cents: Int64Array, reason: tuple[str, ...]) -> _Checked:
    columns = (account_id, amount_cents)
    too_long = np.array([len(text.encode()) > REASON_BYTES_MAX for text in reason], np.bool_)
    condemned = (
        _outside(account_id, 1, EXACT_MAX)
        | _outside(amount_cents, -EXACT_MAX, EXACT_MAX)
        | (amount_cents == 0)
        | too_long
    )
    text = np.array([_text_digest(each) for each in reason], np.uint64).view(np.int64)
    refusals = _refuse(condemned, columns, lambda a, b, index: _check_cash(a, b, reason[index]))
    return CashRun(account_id, amount_cents, reason), _digest(_CASH, (*columns, text)), refusals


def _ticks(tick_id: UInt64Array, tick_time_ms: Int64Array) -> _Checked:
    tick = np.minimum(tick_id, EXACT_MAX + 1).astype(np.int64)
    condemned = _outside(tick, 0, EXACT_MAX) | _outside(tick_time_ms, 0, TICK_TIME_MS_MAX)
    refusals = _refuse(condemned, (tick_id, tick_time_ms), _check_tick)
    return TickRun(tick, tick_time_ms), _digest(_TICK, (tick_id.view(np.int64), tick_time_ms)), refusals


def _outside(column: Int64Array, least: int, most: int) -> BoolArray:
    condemned: BoolArray = (column < least) | (column > most)
    return condemned


def _refuse(
    condemned: BoolArray,
    columns: Sequence[Int64Array | UInt64Array],
    check: Callable[..., None],
) -> dict[int, RequestError]:
    refusals: dict[int, RequestError] = {}
    if not condemned.any():
        return refusals
    for index in np.flatnonzero(condemned).tolist():
        try:
            check(*(column.item(index) for column in columns), index)
        except RequestError as error:
            refusals[index] = error
        else:
            raise AssertionError(f"event {index} was condemned, and nothing is wrong with it")
    return refusals


def _digest(kind: int, columns: Iterable[Int64Array]) -> UInt64Array:
    digest: UInt64Array = np.uint64(kind) * np.ones(1, np.uint64)
    for column in columns:
        digest = (digest ^ column.view(np.uint64)) * _MIX + _SEED
        digest ^= digest >> _SHIFT
    return digest


def _text_digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) if text else 0


# --- the rules of each field, in order of precedence --------------------------------------------------------------


def _check_trade(*values: int) -> None:
    account_id, _, side, quantity_bp, price_cents, fee_cents, settlement_id, _ = values
    _positive("account_id", account_id)
    if side not in (Side.BUY, Side.SELL):
        raise InvalidRequest("side", f"side must be TRADE_SIDE_BUY or TRADE_SIDE_SELL, not {side}", side=side)
    _positive("quantity_bp", quantity_bp)
    _positive("price_cents", price_cents)
    _not_negative("fee_cents", fee_cents)
    _not_negative("settlement_id", settlement_id)
    _at_most("account_id", account_id, EXACT_MAX)
    _at_most("quantity_bp", quantity_bp, QUANTITY_BP_MAX)
    _at_most("price_cents", price_cents, PRICE_CENTS_MAX)
    _at_most("fee_cents", fee_cents, FEE_CENTS_MAX)
    _at_most("settlement_id", settlement_id, EXACT_MAX)


def _check_price(_symbol_id: int, price_cents: int, _index: int) -> None:
    _positive("price_cents", price_cents)
    _at_most("price_cents", price_cents, PRICE_CENTS_MAX)


def _check_cash(account_id: int, amount_cents: int, reason: str) -> None:
    _positive("account_id", account_id)
    if not amount_cents:
        raise InvalidRequest("amount_cents", "amount_cents must not be 0", value=0)
    size = len(reason.encode())
    if size > REASON_BYTES_MAX:
        raise InvalidRequest(
            "reason", f"reason has {size} bytes, the most is {REASON_BYTES_MAX}", size=size, bound=REASON_BYTES_MAX
        )
    _at_most("account_id", account_id, EXACT_MAX)
    if abs(amount_cents) > EXACT_MAX:
        raise OutOfBounds(
            "amount_cents",
            f"amount_cents is {amount_cents}, beyond +-{EXACT_MAX}",
            value=amount_cents,
            bound=EXACT_MAX,
        )


def _check_tick(tick_id: int, tick_time: int, _index: int) -> None:
    _not_negative("tick_time", tick_time)
    _at_most("tick_id", tick_id, EXACT_MAX)
    _at_most("tick_time", tick_time, TICK_TIME_MS_MAX)


def _check_source(field: str, source: str) -> None:
    size = len(source.encode())
    if not 0 < size <= SOURCE_BYTES_MAX:
        raise InvalidRequest(
            field,
            f"{field} must not be empty and have at most {SOURCE_BYTES_MAX} bytes, it has {size}",
            size=size,
            bound=SOURCE_BYTES_MAX,
        )
    if "\0" in source:
        # PostgreSQL keeps no such text: the flush with this sender's watermark, and all behind it, could never commit.
        raise InvalidRequest(field, f"{field} must not contain a NUL character")


def _check_numbering(epoch_field: str, epoch: int, sequence_field: str, first_sequence: int, size: int) -> None:
    _at_most(epoch_field, epoch, EXACT_MAX)
    _at_most(sequence_field, first_sequence, EXACT_MAX + 1 - max(size, 1))


def _check_lengths(kind: str, **columns: Any) -> None:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidRequest(f"runs.{kind}", f"columns of {kind} differ in length: {listed}", **lengths)


def _positive(field: str, value: int) -> None:
    if value <= 0:
        raise InvalidRequest(field, f"{field} must be positive, not {value}", value=value)


def _not_negative(field: str, value: int) -> None:
    if value < 0:
        raise InvalidRequest(field, f"{field} must not be negative, it is {value}", value=value)


def _at_most(field: str, value: int, bound: int) -> None:
    if value > bound:
        raise OutOfBounds(field, f"{field} is {value}, the most is {bound}", value=value, bound=bound)
