"""
Protobuf to batches, and all validation of what senders say. Pure.

Past this room every number is inside ``limits``. A run is checked as columns; only an event that some column condemns
is looked at by itself, to say what is wrong with it in order of precedence. Few events, above all the one of a unary
call, are each looked at by themselves: for one, columns cost five times as much. Each event gets a digest of its
content, the same whichever way it came.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

import numpy as np
from evs.v1 import evs_pb2 as pb

from evs_server.errors import InvalidRequest, RequestError
from evs_server.ingest import rules
from evs_server.limits import (
    BATCH_EVENTS_MAX,
    EXACT_MAX,
    FEE_CENTS_MAX,
    PRICE_CENTS_MAX,
    QUANTITY_BP_MAX,
    REASON_BYTES_MAX,
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
_SEED = 0x9E3779B97F4A7C15
_MIX = 0xBF58476D1CE4E5B9
_SHIFT = 29
_WORD = 2**64 - 1
_FEW = 6
"""Up to so many events of a run, looking at each costs less than columns do."""
_SEED_U64, _MIX_U64, _SHIFT_U64 = np.uint64(_SEED), np.uint64(_MIX), np.uint64(_SHIFT)

_TRADE_RANGES = {
    "account_id": (1, EXACT_MAX),
    "symbol_id": (0, 2**32 - 1),
    "side": (min(Side), max(Side)),
    "quantity_bp": (1, QUANTITY_BP_MAX),
    "price_cents": (1, PRICE_CENTS_MAX),
    "fee_cents": (0, FEE_CENTS_MAX),
    "settlement_id": (0, EXACT_MAX),
}
_TRADE_LEAST, _TRADE_MOST = np.array(list(_TRADE_RANGES.values()), np.int64).T[:, :, np.newaxis]

_Row = tuple[int, ...]
_Checked = tuple[Run, UInt64Array, dict[int, RequestError]]


# --- requests -----------------------------------------------------------------------------------------------------


def decode_trade(request: pb.OnTradeSettledRequest) -> Batch:
    """A batch of one trade; raises ``InvalidRequest`` if its event id cannot be used."""
    row = (
        request.account_id, request.symbol_id, request.side, request.quantity_bp, request.price_cents,
        request.fee_cents, request.settlement_id,
    )  # fmt: skip
    return _single(request, _few_trades([row]))


def decode_price(request: pb.OnPriceUpdatedRequest) -> Batch:
    """A batch of one mark; raises as ``decode_trade``."""
    return _single(request, _few_prices([(request.symbol_id, request.price_cents)]))


def decode_cash(request: pb.OnCashAdjustedRequest) -> Batch:
    """A batch of one flow; raises as ``decode_trade``."""
    return _single(request, _few_flows([(request.account_id, request.amount_cents)], (request.reason,)))


def decode_tick(request: pb.OnTickCompleteRequest) -> Batch:
    """A batch of one tick completion; raises as ``decode_trade``."""
    return _single(request, _few_ticks([(request.tick_id, request.tick_time)]))


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
    rules.check_source("source", request.source)
    rules.check_numbering("epoch", request.epoch, "first_sequence", request.first_sequence, size)
    return _batch(request.source, request.epoch, request.first_sequence, checked)


def check_source(source: str) -> str:
    """The name of a sender as it was given; raises ``InvalidRequest`` if it is none."""
    rules.check_source("source", source)
    return source


def _single(
    request: pb.OnTradeSettledRequest | pb.OnPriceUpdatedRequest | pb.OnCashAdjustedRequest | pb.OnTickCompleteRequest,
    checked: _Checked,
) -> Batch:
    run, digest, refusals = checked
    if not request.HasField("event_id"):
        return Batch("", 0, 0, (run,), digest, refusals)
    event_id = request.event_id
    rules.check_source("event_id.source", event_id.source)
    rules.positive("event_id.sequence", event_id.sequence)
    rules.check_numbering("event_id.epoch", event_id.epoch, "event_id.sequence", event_id.sequence, 1)
    return Batch(event_id.source, event_id.epoch, event_id.sequence, (run,), digest, refusals)


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
        return _trade_run(run.trades)
    if kind == "prices":
        return _price_run(run.prices)
    if kind == "cash":
        return _cash_run(run.cash)
    if kind == "ticks":
        return _tick_run(run.ticks)
    raise InvalidRequest("runs", "a run holds no events of any kind: set one of trades, prices, cash, ticks")


def _trade_run(trades: pb.TradeColumns) -> _Checked:
    count = len(trades.account_id)
    zeros = (0,) * count if count <= _FEW else np.zeros(count, np.int64)
    columns = (
        trades.account_id, trades.symbol_id, trades.side, trades.quantity_bp, trades.price_cents,
        trades.fee_cents or zeros, trades.settlement_id or zeros,
    )  # fmt: skip
    if any(len(column) != count for column in columns):
        rules.check_lengths("trades", **dict(zip(_TRADE_RANGES, columns, strict=True)))
    if 0 < count <= _FEW:
        return _few_trades(list(zip(*columns, strict=True)))
    table = np.empty((len(columns), count), np.int64)
    for field, column in zip(table, columns, strict=True):
        # By way of an array of its own, which the column can make of itself at once.
        field[:] = np.array(column)
    return _trades(table)


def _price_run(prices: pb.PriceColumns) -> _Checked:
    rules.check_lengths("prices", symbol_id=prices.symbol_id, price_cents=prices.price_cents)
    if 0 < len(prices.symbol_id) <= _FEW:
        return _few_prices(list(zip(prices.symbol_id, prices.price_cents, strict=True)))
    return _prices(np.array(prices.symbol_id, np.int64), np.array(prices.price_cents, np.int64))


def _cash_run(cash: pb.CashColumns) -> _Checked:
    reason = tuple(cash.reason) or ("",) * len(cash.account_id)
    rules.check_lengths("cash", account_id=cash.account_id, amount_cents=cash.amount_cents, reason=reason)
    if 0 < len(reason) <= _FEW:
        return _few_flows(list(zip(cash.account_id, cash.amount_cents, strict=True)), reason)
    return _cash(np.array(cash.account_id, np.int64), np.array(cash.amount_cents, np.int64), reason)


def _tick_run(ticks: pb.TickColumns) -> _Checked:
    tick_time = ticks.tick_time or [0] * len(ticks.tick_id)
    rules.check_lengths("ticks", tick_id=ticks.tick_id, tick_time=tick_time)
    if 0 < len(tick_time) <= _FEW:
        return _few_ticks(list(zip(ticks.tick_id, tick_time, strict=True)))
    return _ticks(np.array(ticks.tick_id, np.uint64), np.array(tick_time, np.int64))


# Columns: what is wrong with whichever of many.


def _trades(table: Int64Array) -> _Checked:
    columns = tuple(table)
    condemned: BoolArray = np.any(_outside(table, _TRADE_LEAST, _TRADE_MOST), axis=0)
    return TradeRun(*columns), _digest(_TRADE, columns), _refuse(condemned, columns, rules.check_trade)


def _prices(symbol_id: Int64Array, price_cents: Int64Array) -> _Checked:
    columns = (symbol_id, price_cents)
    condemned = _outside(price_cents, 1, PRICE_CENTS_MAX)
    return PriceRun(*columns), _digest(_PRICE, columns), _refuse(condemned, columns, rules.check_price)


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
    refusals = _refuse(condemned, columns, lambda a, b, index: rules.check_cash(a, b, reason[index]))
    return CashRun(account_id, amount_cents, reason), _digest(_CASH, (*columns, text)), refusals


def _ticks(tick_id: UInt64Array, tick_time_ms: Int64Array) -> _Checked:
    tick = np.minimum(tick_id, EXACT_MAX + 1).astype(np.int64)
    condemned = _outside(tick, 0, EXACT_MAX) | _outside(tick_time_ms, 0, TICK_TIME_MS_MAX)
    refusals = _refuse(condemned, (tick_id, tick_time_ms), rules.check_tick)
    return TickRun(tick, tick_time_ms), _digest(_TICK, (tick_id.view(np.int64), tick_time_ms)), refusals


def _outside(column: Int64Array, least: int | Int64Array, most: int | Int64Array) -> BoolArray:
    # As unsigned numbers, all that is below the least is far above the most: one comparison does for both.
    condemned: BoolArray = (column - least).view(np.uint64) > np.uint64(most - least)
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


def _digest(kind: int, columns: Sequence[Int64Array]) -> UInt64Array:
    digest = np.full(len(columns[0]), kind, np.uint64)
    shifted = np.empty_like(digest)
    for column in columns:
        digest ^= column.view(np.uint64)
        digest *= _MIX_U64
        digest += _SEED_U64
        np.right_shift(digest, _SHIFT_U64, out=shifted)
        digest ^= shifted
    return digest


def _text_digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) if text else 0


# Rows: what is wrong with each of a few.


def _few_trades(rows: Sequence[_Row]) -> _Checked:
    return TradeRun(*_columns(rows)), _digest_of_rows(_TRADE, rows), _refuse_rows(rows, rules.check_trade)


def _few_prices(rows: Sequence[_Row]) -> _Checked:
    return PriceRun(*_columns(rows)), _digest_of_rows(_PRICE, rows), _refuse_rows(rows, rules.check_price)


def _few_flows(rows: Sequence[_Row], reason: tuple[str, ...]) -> _Checked:
    contents = [(*row, _text_digest(text)) for row, text in zip(rows, reason, strict=True)]
    refusals = _refuse_rows(rows, lambda a, b, index: rules.check_cash(a, b, reason[index]))
    account_id, amount_cents = _columns(rows)
    return CashRun(account_id, amount_cents, reason), _digest_of_rows(_CASH, contents), refusals


def _few_ticks(rows: Sequence[_Row]) -> _Checked:
    columns = _columns([(min(tick_id, EXACT_MAX + 1), tick_time) for tick_id, tick_time in rows])
    return TickRun(*columns), _digest_of_rows(_TICK, rows), _refuse_rows(rows, rules.check_tick)


def _columns(rows: Sequence[_Row]) -> Int64Array:
    return np.array(tuple(zip(*rows, strict=True)), np.int64)


def _refuse_rows(rows: Sequence[_Row], check: Callable[..., None]) -> dict[int, RequestError]:
    refusals: dict[int, RequestError] = {}
    for index, row in enumerate(rows):
        try:
            check(*row, index)
        except RequestError as error:
            refusals[index] = error
    return refusals


def _digest_of_rows(kind: int, rows: Iterable[_Row]) -> UInt64Array:
    """As ``_digest`` has it for columns of these rows."""
    digests = []
    for row in rows:
        digest = kind
        for value in row:
            digest = ((digest ^ (value & _WORD)) * _MIX + _SEED) & _WORD
            digest ^= digest >> _SHIFT
        digests.append(digest)
    return np.array(digests, np.uint64)
