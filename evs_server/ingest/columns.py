"""
What is wrong with whichever of many events, and the digest of each: in one pass, or in plain integers. Pure.

Lives here: bounds of columns, and digests. Not here: protobuf (``codec``), and the words in which an event is refused
(``rules``), which are asked for by event, once a column has condemned it. Both ways say the same of any event; few are
looked at in plain integers, since a column of one number costs as much as one of a hundred.

A worked example: of a thousand trades, one has the price 0. One pass over seven columns makes a thousand digests and
condemns that event; ``rules.check_trade`` is called once.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from numba import types

from evs_server.engine.compiled import INT64S, kernel
from evs_server.errors import RequestError
from evs_server.ingest import rules
from evs_server.limits import (
    EXACT_MAX,
    FEE_CENTS_MAX,
    PRICE_CENTS_MAX,
    QUANTITY_BP_MAX,
    REASON_BYTES_MAX,
    TICK_TIME_MS_MAX,
)
from evs_server.model import BoolArray, CashRun, Int64Array, PriceRun, Run, Side, TickRun, TradeRun, UInt64Array

Row = tuple[int, ...]


class Checked(NamedTuple):
    """Events of one kind, in order: as a run, the digest of each, and by index, why some are refused; ascending."""

    run: Run
    digest: UInt64Array
    refusals: dict[int, RequestError]


TRADE, PRICE, CASH, TICK = 1, 2, 3, 4
"""Kinds of events, as digests tell them apart."""

_SEED: Final = 0x9E3779B97F4A7C15
_MIX: Final = 0xBF58476D1CE4E5B9
_SHIFT: Final = 29
_WORD: Final = 2**64 - 1
_SEED_WRAPPED: Final = _SEED - 2**64
_MIX_WRAPPED: Final = _MIX - 2**64
_SHIFTED_MASK: Final = 2 ** (64 - _SHIFT) - 1
"""What a shift of an unsigned number leaves of a signed one."""

Ranges = tuple[Int64Array, Int64Array]
"""The least and the most of each column."""


def _ranges(*ranges: tuple[int, int]) -> Ranges:
    least, most = (np.array(bounds, np.int64) for bounds in zip(*ranges, strict=True))
    return least, most


_ANY: Final = (-(2**63), 2**63 - 1)
_TRADE_RANGES: Final = _ranges(
    (1, EXACT_MAX),
    (0, 2**32 - 1),
    (min(Side), max(Side)),
    (1, QUANTITY_BP_MAX),
    (1, PRICE_CENTS_MAX),
    (0, FEE_CENTS_MAX),
    (0, EXACT_MAX),
)
_PRICE_RANGES: Final = _ranges((0, 2**32 - 1), (1, PRICE_CENTS_MAX))
_CASH_RANGES: Final = _ranges((1, EXACT_MAX), (-EXACT_MAX, EXACT_MAX), _ANY)
_TICK_RANGES: Final = _ranges((0, EXACT_MAX), (0, TICK_TIME_MS_MAX))


# --- columns ------------------------------------------------------------------------------------------------------


def trades(table: Int64Array) -> Checked:
    """Settled legs; a row of the table for each column of ``TradeRun``."""
    digest, condemned = _judged(TRADE, table, _TRADE_RANGES)
    return Checked(TradeRun(*table), digest, _refuse(condemned, table, rules.check_trade))


def prices(table: Int64Array) -> Checked:
    """Marks; a row of the table for each column of ``PriceRun``."""
    digest, condemned = _judged(PRICE, table, _PRICE_RANGES)
    return Checked(PriceRun(*table), digest, _refuse(condemned, table, rules.check_price))


def flows(table: Int64Array, reason: tuple[str, ...]) -> Checked:
    """Flows; rows of the table for accounts and amounts, and a third one with room for the digests of the reasons."""
    account_id, amount_cents, text = table
    digest_of = {each: _text_digest(each) for each in set(reason)}
    text[:] = [digest_of[each] for each in reason]
    digest, condemned = _judged(CASH, table, _CASH_RANGES)
    too_long = {each for each in digest_of if len(each.encode()) > REASON_BYTES_MAX}
    wrong = amount_cents == 0
    if too_long:
        wrong |= np.array([each in too_long for each in reason], np.bool_)
    if condemned is not None:
        wrong |= condemned
    refusals = _refuse(
        wrong if wrong.any() else None, table[:2], lambda a, b, index: rules.check_cash(a, b, reason[index])
    )
    return Checked(CashRun(account_id, amount_cents, reason), digest, refusals)


def ticks(table: Int64Array) -> Checked:
    """Tick completions; rows of the table for ids, unsigned numbers taken as signed ones, and for times."""
    digest, condemned = _judged(TICK, table, _TICK_RANGES)
    tick_id, tick_time_ms = table[0].view(np.uint64), table[1]
    run = TickRun(np.minimum(tick_id, np.uint64(EXACT_MAX + 1)).astype(np.int64), tick_time_ms)
    return Checked(run, digest, _refuse(condemned, (tick_id, tick_time_ms), rules.check_tick))


def _judged(kind: int, table: Int64Array, ranges: Ranges) -> tuple[UInt64Array, BoolArray | None]:
    """The digest of each event, and which ones a column condemns, if any."""
    count = table.shape[1]
    digest, condemned = np.empty(count, np.int64), np.empty(count, np.bool_)
    condemned_count = _judge(kind, table, *ranges, digest, condemned)
    return digest.view(np.uint64), condemned if condemned_count else None


@kernel(types.int64(types.int64, types.int64[:, ::1], INT64S, INT64S, INT64S, types.boolean[::1]))
def _judge(
    kind: int, table: Int64Array, least: Int64Array, most: Int64Array, digest: Int64Array, condemned: BoolArray
) -> int:
    # Column by column, so that the processor takes several events at a time: six times as fast as event by event.
    count = table.shape[1]
    for index in range(count):
        digest[index], condemned[index] = kind, False
    for column in range(table.shape[0]):
        low, high, any_wrong = least[column], most[column], False
        for index in range(count):
            word = (digest[index] ^ table[column, index]) * _MIX_WRAPPED + _SEED_WRAPPED
            digest[index] = word ^ ((word >> _SHIFT) & _SHIFTED_MASK)
        for index in range(count):
            any_wrong |= (table[column, index] < low) | (table[column, index] > high)
        if any_wrong:
            for index in range(count):
                condemned[index] |= (table[column, index] < low) | (table[column, index] > high)
    condemned_count = 0
    for index in range(count):
        condemned_count += condemned[index]
    return condemned_count


def _refuse(
    condemned: BoolArray | None, columns: Int64Array | Sequence[Int64Array | UInt64Array], check: Callable[..., None]
) -> dict[int, RequestError]:
    refusals: dict[int, RequestError] = {}
    if condemned is None:
        return refusals
    for index in np.flatnonzero(condemned).tolist():
        try:
            check(*(column.item(index) for column in columns), index)
        except RequestError as error:
            refusals[index] = error
        else:
            raise AssertionError(f"event {index} was condemned, and nothing is wrong with it")
    return refusals


def _text_digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), signed=True) if text else 0


# --- rows ---------------------------------------------------------------------------------------------------------


def few_trades(rows: Sequence[Row]) -> Checked:
    """As ``trades``, of a row for each event."""
    return Checked(TradeRun(*_columns(rows)), _digests(TRADE, rows), _refuse_rows(rows, rules.check_trade))


def few_prices(rows: Sequence[Row]) -> Checked:
    """As ``prices``, of a row for each event."""
    return Checked(PriceRun(*_columns(rows)), _digests(PRICE, rows), _refuse_rows(rows, rules.check_price))


def few_flows(rows: Sequence[Row], reason: tuple[str, ...]) -> Checked:
    """As ``flows``, of a row for each event."""
    contents = [(*row, _text_digest(text)) for row, text in zip(rows, reason, strict=True)]
    refusals = _refuse_rows(rows, lambda a, b, index: rules.check_cash(a, b, reason[index]))
    account_id, amount_cents = _columns(rows)
    return Checked(CashRun(account_id, amount_cents, reason), _digests(CASH, contents), refusals)


def few_ticks(rows: Sequence[Row]) -> Checked:
    """As ``ticks``, of a row for each event; ids are unsigned."""
    columns = _columns([(min(tick_id, EXACT_MAX + 1), tick_time) for tick_id, tick_time in rows])
    return Checked(TickRun(*columns), _digests(TICK, rows), _refuse_rows(rows, rules.check_tick))


def _columns(rows: Sequence[Row]) -> Int64Array:
    return np.array(tuple(zip(*rows, strict=True)), np.int64)


def _refuse_rows(rows: Sequence[Row], check: Callable[..., None]) -> dict[int, RequestError]:
    refusals: dict[int, RequestError] = {}
    for index, row in enumerate(rows):
        try:
            check(*row, index)
        except RequestError as error:
            refusals[index] = error
    return refusals


def digest_of(kind: int, row: Row) -> int:
    """
    The digest of one event, as ``_judge`` makes it of columns.

    Args:
        kind: ``TRADE`` and its kin.
        row: What its columns hold of it.
    """
    digest = kind
    for value in row:
        digest = ((digest ^ (value & _WORD)) * _MIX + _SEED) & _WORD
        digest ^= digest >> _SHIFT
    return digest


def _digests(kind: int, rows: Iterable[Row]) -> UInt64Array:
    return np.array([digest_of(kind, row) for row in rows], np.uint64)
