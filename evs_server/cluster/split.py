"""
From a batch to its parts. Pure.

Trades and flows go to the virtual shard of their account; prices and ticks are for all. Until a symbol has a price of
its own, its trades move its mark, for holders in every shard: so the prices of the batch's trades are for all as well,
as *observed* prices. Marks are looked at only when a tick is completed, and until then it counts where a mark is and
whether it has moved at all. So of the trades of a symbol that no price or tick comes between, two will do: the last,
and one of another price, if there is any.

A worked example: trades of symbol 7 at 100, 105 and 105 cents, a tick, a trade at 105. Observed are 100 (index 0), 105
(index 2), and after the tick 105 (index 4).
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

import numpy as np

from evs_server.cluster.parts import JournalEntry, Part, PartRun, Parts
from evs_server.cluster.shards import SHARD_COUNT, shards_of
from evs_server.model import Batch, BoolArray, CashRun, Int64Array, ObservedRun, PriceRun, Run, TickRun, TradeRun

CARRIED_EVENTS_MAX: Final = 32
"""Events of a batch whose parts its journal entry carries: about a kilobyte, which all shards read."""

_OwnRun = TradeRun | CashRun


def split(
    batch: Batch, first: int, end: int, *, left_out: Collection[int], batch_id: str, taken_ms: int, gateway: str
) -> Parts:
    """
    The parts of what is new of a batch.

    Args:
        first: Index of the first new event.
        end: Index after the last event that counts as applied.
        left_out: Indices of events that change nothing, besides those that validation refused: refused for another
            reason, or repeated settlements. They are in the journal alone.
        batch_id: A name for the batch.
        taken_ms: The gateway's clock.
        gateway: The gateway's own name, under which an unsequenced batch is journalled.
    """
    assert 0 <= first <= end <= len(batch)
    own, shared = _own_and_shared(batch, _kept(batch, first, end, left_out))
    header = Part(taken_ms, batch.source, batch.epoch, batch.first_sequence, batch_id, ())
    if not batch.first_sequence:
        header = replace(header, source="", epoch=0)
    of_shard = {
        shard: replace(header, runs=tuple(runs), shared_follows=bool(shared)) for shard, runs in _by_shard(own).items()
    }
    return Parts(
        of_shard,
        replace(header, runs=tuple(shared)) if shared else None,
        JournalEntry(
            header.source or gateway,
            header.epoch,
            batch.first_sequence and batch.first_sequence + first,
            batch.digest[first:end] if batch.first_sequence else batch.digest[:0],
            batch_id,
            sum(1 << shard for shard in of_shard),
            bool(shared),
            carried=bool(own or shared) and sum(map(len, own)) + sum(map(len, shared)) <= CARRIED_EVENTS_MAX,
        ),
    )


def sign_of_life(*, batch_id: str, taken_ms: int, gateway: str) -> Parts:
    """
    A batch without events, for everybody to read: positions go on where nothing happens.

    What is older than the log is kept for is dropped from it, and whoever has yet to read that cannot go on. A reader
    that nothing has concerned for as long would look as if it had.
    """
    nothing = np.empty(0, np.uint64)
    entry = JournalEntry(gateway, 0, 0, nothing, batch_id, touched_shards=0, shared=True, carried=True)
    return Parts({}, Part(taken_ms, "", 0, 0, batch_id, ()), entry)


def _kept(batch: Batch, first: int, end: int, left_out: Collection[int]) -> BoolArray:
    kept = np.zeros(len(batch), np.bool_)
    kept[first:end] = True
    for indices in (batch.refusals, left_out):
        if indices:
            kept[list(indices)] = False
    return kept


def _own_and_shared(batch: Batch, kept: BoolArray) -> tuple[list[PartRun], list[PartRun]]:
    """What is for single shards, neighbours of one kind made one run, and what is for all."""
    own: list[PartRun] = []
    shared: list[PartRun] = []
    stretch: list[PartRun] = []
    gathered: list[PartRun] = []
    start = 0
    for run in batch.runs:
        stop = start + len(run)
        part = _part(run, start, kept[start:stop])
        start = stop
        if not len(part):
            continue
        if isinstance(run, PriceRun | TickRun):
            shared += _observed(stretch)
            shared.append(part)
            stretch = []
            continue
        stretch.append(part)
        if gathered and type(gathered[0].run) is not type(run):
            own.append(_merged(gathered))
            gathered = []
        gathered.append(part)
    if gathered:
        own.append(_merged(gathered))
    return own, shared + _observed(stretch)


def _part(run: Run, start: int, kept: BoolArray) -> PartRun:
    row = np.flatnonzero(kept)
    return PartRun(row + start, run if len(row) == len(run) else _rows(run, row))


def _rows(run: Run, row: Int64Array) -> Run:
    """Some events of a run, in the order of their rows."""
    return type(run)(*(_taken(getattr(run, name), row) for name in run.__dataclass_fields__))


def _taken(column: Any, row: Int64Array) -> Any:
    if isinstance(column, tuple):
        return itemgetter(*row.tolist())(column) if len(row) > 1 else tuple(column[at] for at in row.tolist())
    return column[row]


def _merged(runs: list[PartRun]) -> PartRun:
    """Runs of one kind as one."""
    if len(runs) == 1:
        return runs[0]
    kind = type(runs[0].run)
    columns = ([getattr(part.run, name) for part in runs] for name in kind.__dataclass_fields__)
    return PartRun(np.concatenate([part.index for part in runs]), kind(*map(_joined, columns)))


def _joined(columns: list[Any]) -> Any:
    if isinstance(columns[0], tuple):
        return tuple(text for column in columns for text in column)
    return np.concatenate(columns)


def _by_shard(own: Iterable[PartRun]) -> dict[int, list[PartRun]]:
    """The runs of each virtual shard that has any, ascending by shard."""
    runs: list[list[PartRun]] = [[] for _ in range(SHARD_COUNT)]
    for part in own:
        for shard, piece in _shares(part):
            runs[shard].append(piece)
    return {shard: mine for shard, mine in enumerate(runs) if mine}


def _shares(part: PartRun) -> Iterator[tuple[int, PartRun]]:
    """A run of trades or flows, divided by shard; in order within each."""
    assert isinstance(part.run, _OwnRun)
    # Narrow numbers are sorted by counting.
    shard = shards_of(part.run.account_id).astype(np.uint8)
    row = np.argsort(shard, kind="stable")
    index, run = part.index[row], _rows(part.run, row)
    end = np.cumsum(np.bincount(shard, minlength=SHARD_COUNT)).tolist()
    columns = [getattr(run, name) for name in run.__dataclass_fields__]
    kind = type(run)
    start = 0
    for number, stop in enumerate(end):
        if stop > start:
            yield number, PartRun(index[start:stop], kind(*(column[start:stop] for column in columns)))
        start = stop


def _observed(stretch: list[PartRun]) -> list[PartRun]:
    """What the trades among some events say of their symbols' marks: a run, or none."""
    trades = [part for part in stretch if isinstance(part.run, TradeRun)]
    if not trades:
        return []
    index = np.concatenate([part.index for part in trades])
    symbol_id = np.concatenate([part.run.symbol_id for part in trades])  # type: ignore[union-attr]
    price_cents = np.concatenate([part.run.price_cents for part in trades])  # type: ignore[union-attr]
    row = _telling_rows(symbol_id, price_cents)
    return [PartRun(index[row], ObservedRun(symbol_id[row], price_cents[row]))]


def _telling_rows(symbol_id: Int64Array, price_cents: Int64Array) -> Int64Array:
    """Of each symbol, the last row, and the first of another price, if there is any; ascending."""
    row = np.argsort(symbol_id, kind="stable")
    symbol, price = symbol_id[row], price_cents[row]
    is_last = np.append(symbol[1:] != symbol[:-1], True)
    last = np.flatnonzero(is_last)
    of_symbol = np.cumsum(is_last) - is_last
    differing = np.flatnonzero(price != price[last][of_symbol])
    is_first = np.diff(of_symbol[differing], prepend=-1) != 0
    return np.sort(row[np.concatenate((last, differing[is_first]))])
