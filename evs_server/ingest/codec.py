"""
Protobuf to batches, and all validation of what senders say. Pure.

Past this room every number is inside ``limits``. All events of one kind in a request are checked as columns of one
table (``columns``), however many runs they came in, and runs of one kind that follow each other become one: a sender
that makes a run of each event costs little more than one that does not. The one event of a unary call is looked at by
itself. Each event gets a digest of its content, the same whichever way it came.
"""

import itertools
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np
from evs.v1 import evs_pb2 as pb

from evs_server.errors import InvalidRequest, RequestError
from evs_server.ingest import columns, rules
from evs_server.ingest.columns import Checked
from evs_server.ingest.sequencer import EventId
from evs_server.limits import BATCH_EVENTS_MAX
from evs_server.model import Batch, Int64Array, Run, UInt64Array, part_of

_SHORT: Final = 128
"""Runs of fewer events are merged into one message before they become arrays: that takes less than arrays of each."""
_FEW: Final = 64
"""Fewer events become an array together, by way of a list: that takes less than an array of each column."""


# --- requests -----------------------------------------------------------------------------------------------------


def leg(request: pb.OnTradeSettledRequest) -> tuple[int, ...]:
    """What a request says of a trade, unchecked: the columns of a ``TradeRun``."""
    return (
        request.account_id, request.symbol_id, request.side, request.quantity_bp, request.price_cents,
        request.fee_cents, request.settlement_id,
    )  # fmt: skip


def event_id(request: pb.OnTradeSettledRequest | pb.OnPriceUpdatedRequest | pb.OnTickCompleteRequest) -> EventId | None:
    """How the sender of a request has numbered it, unchecked; None if it has not."""
    if not request.HasField("event_id"):
        return None
    given = request.event_id
    return given.source, given.epoch, given.sequence


def decode_trade(request: pb.OnTradeSettledRequest) -> Batch:
    """A batch of one trade; raises ``InvalidRequest`` if its event id cannot be used."""
    return _single(request, columns.few_trades([leg(request)]))


def decode_price(request: pb.OnPriceUpdatedRequest) -> Batch:
    """A batch of one mark; raises as ``decode_trade``."""
    return _single(request, columns.few_prices([(request.symbol_id, request.price_cents)]))


def decode_cash(request: pb.OnCashAdjustedRequest) -> Batch:
    """A batch of one flow; raises as ``decode_trade``."""
    return _single(request, columns.few_flows([(request.account_id, request.amount_cents)], (request.reason,)))


def decode_tick(request: pb.OnTickCompleteRequest) -> Batch:
    """A batch of one tick completion; raises as ``decode_trade``."""
    return _single(request, columns.few_ticks([(request.tick_id, request.tick_time)]))


def decode_batch(request: pb.StreamEventsRequest) -> Batch:
    """
    The events of one request, in order.

    Raises:
        InvalidRequest: If it cannot be read at all; nothing of it counts then.
    """
    stretches = _gathered(request.runs)
    size = sum(stretch.count for stretch in stretches)
    if size > BATCH_EVENTS_MAX:
        raise InvalidRequest(
            "runs", f"a batch holds {size} events, the most is {BATCH_EVENTS_MAX}", size=size, bound=BATCH_EVENTS_MAX
        )
    if not request.first_sequence:
        return _batch("", 0, 0, stretches)
    rules.check_source("source", request.source)
    rules.check_numbering("epoch", request.epoch, "first_sequence", request.first_sequence, size)
    return _batch(request.source, request.epoch, request.first_sequence, stretches)


def check_source(source: str) -> str:
    """The name of a sender as it was given; raises ``InvalidRequest`` if it is none."""
    rules.check_source("source", source)
    return source


def _single(
    request: pb.OnTradeSettledRequest | pb.OnPriceUpdatedRequest | pb.OnCashAdjustedRequest | pb.OnTickCompleteRequest,
    checked: Checked,
) -> Batch:
    run, digest, refusals = checked
    if not request.HasField("event_id"):
        return Batch("", 0, 0, (run,), digest, refusals)
    event_id = request.event_id
    rules.check_source("event_id.source", event_id.source)
    rules.positive("event_id.sequence", event_id.sequence)
    rules.check_numbering("event_id.epoch", event_id.epoch, "event_id.sequence", event_id.sequence, 1)
    return Batch(event_id.source, event_id.epoch, event_id.sequence, (run,), digest, refusals)


# --- batches ------------------------------------------------------------------------------------------------------


class _Form(NamedTuple):
    """
    How events of one kind are written in a request.

    Attributes:
        names: Its columns, in the order in which they are checked.
        optional: Those of them that may be left out: all 0 then, or empty.
        texts: Those of them that are texts; they come last.
        check: Has all events of the kind checked.
    """

    kind: str
    message: Callable[[], Any]
    names: tuple[str, ...]
    optional: tuple[str, ...]
    check: Callable[["_Gathering"], Checked]
    texts: tuple[str, ...] = ()


class _Part(NamedTuple):
    """Some events one behind the other: how many, their columns, and how many entries at the beginning to skip."""

    size: int
    fields: list[Any]
    skipped: int = 0


class _Gathering:
    """
    The events of one kind in a request, in order, whichever runs they came in.

    Attributes:
        parts: Long runs, and short ones that were merged.
    """

    def __init__(self, form: _Form) -> None:
        self.form = form
        self.count = 0
        self.parts: list[_Part] = []
        self._merged: _Merged | None = None

    def add(self, run: Any, *, is_only: bool) -> int:
        """How many events a run has, which are now the last; the only run of a request is not merged with any."""
        count = len(getattr(run, self.form.names[0]))
        if 0 < count < _SHORT and not is_only:
            if self._merged is None:
                self._merged = _Merged(self.form)
            self._merged.add(run, count)
        else:
            self._close()
            fields = [getattr(run, name) for name in self.form.names]
            _check_lengths(self.form, fields, count)
            if count:
                self.parts.append(_Part(count, fields))
        self.count += count
        return count

    def close(self) -> Checked:
        """All of them, checked."""
        self._close()
        return self.form.check(self)

    def table(self) -> Int64Array:
        """A row for each column; what a part left out is 0, and what are texts is not filled."""
        table = np.empty((len(self.form.names), self.count), np.int64)
        numbers = table[: len(table) - len(self.form.texts)]
        start = 0
        for part in self.parts:
            stop = start + part.size
            _fill(numbers[:, start:stop], part)
            start = stop
        return table

    def _close(self) -> None:
        if self._merged is not None:
            self.parts.append(_Part(self._merged.count, self._merged.columns, 1))
            self._merged = None


def _fill(numbers: Int64Array, part: _Part) -> None:
    """Write the columns of a part that are numbers, a row for each; what it left out is 0."""
    count, fields, skipped = part
    if count < _FEW:
        # All at once: an array of a column takes as long as a list of so many numbers.
        listed: list[int] = []
        for field in fields[: len(numbers)]:
            listed += field[skipped:] or [0] * count
        with suppress(OverflowError):  # an unsigned one, of which arrays make a negative
            numbers[:] = np.array(listed, np.int64).reshape(numbers.shape)
            return
    for row, field in zip(numbers, fields, strict=False):
        if len(field) > skipped:
            row[:] = np.array(field)[skipped:] if skipped else field
        else:
            row[:] = 0


class _Merged:
    """
    Short runs of one kind, one behind the other in one message.

    Its columns begin with an entry of no event: of columns that are empty when they are asked for, not all are told
    what is merged into the message later (protobuf 7.36).
    """

    def __init__(self, form: _Form) -> None:
        self._form = form
        self._message = form.message()
        self._defaults = [("" if name in form.texts else 0) for name in form.names]
        self.columns = [getattr(self._message, name) for name in form.names]
        self._given: list[Any] = []
        self._absent: list[Any] = self.columns
        self.count = 0
        for column, default in zip(self.columns, self._defaults, strict=True):
            column.append(default)

    def add(self, run: Any, count: int) -> None:
        """Take the next run."""
        before, self.count = self.count, self.count + count
        self._message.MergeFrom(run)
        if set(map(len, self._given)) != {self.count + 1} or (self._absent and set(map(len, self._absent)) != {1}):
            # The first of them, or one whose columns are others than those before it, or not all of one length.
            _check_lengths(self._form, [getattr(run, name) for name in self._form.names], count)
            self._align(before)

    def _align(self, before: int) -> None:
        """Fill what some of the runs have left out and others have not."""
        for column, default in zip(self.columns, self._defaults, strict=True):
            missing = self.count + 1 - len(column)
            if missing and any(column is each for each in self._given):
                column.extend([default] * missing)
            elif missing and len(column) > 1:
                column[1:] = [default] * before + column[1:]
        self._given = [column for column in self.columns if len(column) > 1]
        self._absent = [column for column in self.columns if len(column) == 1]


class _Stretch:
    """Events of one kind that nothing of another kind comes between."""

    __slots__ = ("count", "events")

    def __init__(self, events: _Gathering) -> None:
        self.events = events
        self.count = 0


def _check_lengths(form: _Form, fields: list[Any], count: int) -> None:
    for name, field in zip(form.names, fields, strict=True):
        length = len(field)
        if length != count and (length or name not in form.optional):
            said = {
                each: column if column or each not in form.optional else range(count)
                for each, column in zip(form.names, fields, strict=True)
            }
            rules.check_lengths(form.kind, **said)


def _gathered(runs: Sequence[pb.EventRun]) -> list[_Stretch]:
    by_kind: dict[str, _Gathering] = {}
    is_only = len(runs) == 1
    stretches: list[_Stretch] = []
    for run in runs:
        kind = run.WhichOneof("events")
        if kind is None:
            raise InvalidRequest("runs", "a run holds no events of any kind: set one of trades, prices, cash, ticks")
        events = by_kind.get(kind)
        if events is None:
            events = by_kind[kind] = _Gathering(_FORMS[kind])
        count = events.add(getattr(run, kind), is_only=is_only)
        if count:
            if not stretches or stretches[-1].events is not events:
                stretches.append(_Stretch(events))
            stretches[-1].count += count
    return stretches


def _batch(source: str, epoch: int, first_sequence: int, stretches: list[_Stretch]) -> Batch:
    if len(stretches) == 1:
        run, digest, refusals = stretches[0].events.close()
        return Batch(source, epoch, first_sequence, (run,), digest, refusals)
    ready = {events: events.close() for events in dict.fromkeys(stretch.events for stretch in stretches)}
    runs: list[Run] = []
    digests: list[UInt64Array] = [np.empty(0, np.uint64)]
    refused: dict[int, RequestError] = {}
    start, taken = 0, dict.fromkeys(ready, 0)
    for stretch in stretches:
        first = taken[stretch.events]
        taken[stretch.events] = end = first + stretch.count
        run, digest, refusals = ready[stretch.events]
        runs.append(part_of(run, first, end))
        digests.append(digest[first:end])
        if refusals:
            indexes = list(refusals)
            for index in indexes[bisect_left(indexes, first) : bisect_left(indexes, end)]:
                refused[start + index - first] = refusals[index]
        start += stretch.count
    return Batch(source, epoch, first_sequence, tuple(runs), np.concatenate(digests), refused)


def _flows(events: _Gathering) -> Checked:
    reasons = [part.fields[-1][part.skipped :] or [""] * part.size for part in events.parts]
    return columns.flows(events.table(), tuple(itertools.chain.from_iterable(reasons)))


_FORMS: Final = {
    "trades": _Form(
        "trades",
        pb.TradeColumns,
        ("account_id", "symbol_id", "side", "quantity_bp", "price_cents", "fee_cents", "settlement_id"),
        ("fee_cents", "settlement_id"),
        lambda events: columns.trades(events.table()),
    ),
    "prices": _Form(
        "prices", pb.PriceColumns, ("symbol_id", "price_cents"), (), lambda events: columns.prices(events.table())
    ),
    "cash": _Form("cash", pb.CashColumns, ("account_id", "amount_cents", "reason"), ("reason",), _flows, ("reason",)),
    "ticks": _Form(
        "ticks", pb.TickColumns, ("tick_id", "tick_time"), ("tick_time",), lambda events: columns.ticks(events.table())
    ),
}
