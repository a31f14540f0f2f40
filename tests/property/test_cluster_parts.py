"""
A batch in parts is the batch: every shard, applying what it reads, comes to the same marks and the same books.

The model is as small as it can be: marks and which of them have moved, looked at when a tick is completed, and of each
account all that happened to it, in order. It knows trades that move marks, as the whole exchange in one process has
them, and trades that do not beside observed prices, as the log has them.
"""

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from evs.v1 import evs_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from evs_server.cluster import codec, subjects
from evs_server.cluster.join import Joining
from evs_server.cluster.parts import Parts
from evs_server.cluster.ports import Entry
from evs_server.cluster.shards import SHARD_COUNT, shard_of
from evs_server.cluster.split import split
from evs_server.model import Batch, CashRun, ObservedRun, PriceRun, TickRun, TradeRun
from tests.builders import NOON_MS
from tests.wire import a_batch, cash, prices, ticks, trades

Row = tuple[int, ...]

ACCOUNTS = st.integers(1, 6)
SYMBOLS = st.integers(1, 3)
PRICES = st.sampled_from([100, 101, 102])
TRADES = st.tuples(ACCOUNTS, SYMBOLS, st.sampled_from([1, 2, 9]), st.just(10_000), PRICES, st.integers(0, 2))
RUNS = st.one_of(
    st.lists(TRADES, min_size=1, max_size=8).map(lambda rows: ("trades", rows)),
    st.lists(TRADES, min_size=1, max_size=8).map(lambda rows: ("trades", rows)),
    st.lists(st.tuples(SYMBOLS, PRICES | st.just(0)), min_size=1, max_size=3).map(lambda rows: ("prices", rows)),
    st.lists(st.tuples(ACCOUNTS, st.integers(-2, 2)), min_size=1, max_size=3).map(lambda rows: ("cash", rows)),
    st.lists(st.tuples(st.integers(1, 9)), min_size=1, max_size=2).map(lambda rows: ("ticks", rows)),
)
SHARDS = sorted({shard_of(account) for account in range(1, 7)} | {0, SHARD_COUNT - 1})
"""Those of all accounts here, and some that have none."""

MARKS = st.dictionaries(SYMBOLS, st.tuples(PRICES, st.booleans()))


@dataclass
class World:
    """Marks, each with whether a price has set it; and what ticks have seen."""

    marks: dict[int, tuple[int, bool]]
    moved: set[int] = field(default_factory=set)
    books: dict[int, list[Row]] = field(default_factory=dict)
    seen: list[object] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)

    def apply(self, batch: Batch, *, trades_move_marks: bool, left_out: set[int]) -> None:
        index = batch.index.tolist() if batch.index is not None else list(range(len(batch)))
        places = iter(index)
        for run in batch.runs:
            columns = [getattr(run, name) for name in run.__dataclass_fields__]
            for row in zip(*(c if isinstance(c, tuple) else c.tolist() for c in columns), strict=True):
                place = next(places)
                if place in left_out:
                    continue
                if not isinstance(run, ObservedRun):
                    self.indices.append(place)
                self._apply(run, row, place, trades_move_marks)
        assert next(places, None) is None

    def _apply(self, run: object, row: Row, place: int, trades_move_marks: bool) -> None:
        match run:
            case TradeRun():
                self.books.setdefault(row[0], []).append((place, *row))
                if trades_move_marks:
                    self._observe(row[1], row[4])
            case ObservedRun():
                self._observe(*row)
            case PriceRun():
                self._mark(row[0], row[1], True)
            case CashRun():
                self.books.setdefault(row[0], []).append((place, *row))
            case TickRun():
                self.seen.append((place, row, dict(self.marks), sorted(self.moved)))
                self.seen.append({account: len(book) for account, book in self.books.items()})
                self.moved.clear()

    def _observe(self, symbol: int, price: int) -> None:
        if not self.marks.get(symbol, (0, False))[1]:
            self._mark(symbol, price, False)

    def _mark(self, symbol: int, price: int, explicit: bool) -> None:
        if self.marks.get(symbol, (0, False))[0] != price:
            self.moved.add(symbol)
        self.marks[symbol] = price, explicit


def built(runs: list[tuple[str, list[Row]]], *, first: int) -> Batch:
    return a_batch(*(a_run(kind, rows) for kind, rows in runs), first=first)


def a_run(kind: str, rows: list[Row]) -> pb.EventRun:
    match kind:
        case "trades":
            return trades(*rows)
        case "prices":
            return prices(*((symbol, price) for symbol, price in rows))
        case "cash":
            return cash(*((account, amount) for account, amount in rows))
    return ticks(*(tick for (tick,) in rows))


def read_by(shard: int, parts: Parts) -> list[Batch]:
    """What one shard makes of what it finds in the log, bytes and all."""
    messages, journal = codec.encode_batch(parts)
    joining, batches = Joining(shard), []
    for position, message in enumerate([*messages, journal], start=11):
        if any(fnmatchcase(message.subject, wanted) for wanted in subjects.read_by(shard)):
            joined = joining.take(Entry(position, message.subject, message.data, 0))
            if joined is not None:
                assert "b" == joined.batch_id
                batches.append(joined.batch)
    assert 11 + len(messages) - parts.journal.part_count == 11
    return batches


def only(book: dict[int, list[Row]], shard: int) -> dict[int, list[Row]]:
    return {account: rows for account, rows in book.items() if shard_of(account) == shard}


@given(
    runs=st.lists(RUNS, max_size=8),
    marks=MARKS,
    dropped=st.sets(st.integers(0, 40), max_size=5),
    cut=st.tuples(st.integers(0, 10), st.integers(0, 4)),
    is_sequenced=st.booleans(),
    is_small=st.booleans(),
)
def test_every_shard_comes_to_what_the_whole_comes_to(
    runs: list[tuple[str, list[Row]]],
    marks: dict[int, tuple[int, bool]],
    dropped: set[int],
    cut: tuple[int, int],
    is_sequenced: bool,
    is_small: bool,
) -> None:
    """Marks at every tick, whether each has moved, and the books of every account are those of one process."""
    batch = built(runs, first=1_000 if is_sequenced else 0)
    first = min(cut[0], len(batch))
    end = max(first, len(batch) - cut[1])
    dropped = {index for index in dropped if index < len(batch)}
    left_out = {*batch.refusals, *dropped, *range(first), *range(end, len(batch))}
    whole = World(dict(marks))
    whole.apply(batch, trades_move_marks=True, left_out=left_out)

    parts = split(batch, first, end, left_out=dropped, batch_id="b", taken_ms=NOON_MS, gateway="gateway")
    if not is_small:
        # As if it were too large for its journal entry to carry it.
        parts = replace(parts, journal=replace(parts.journal, carried=False))
    applied: list[int] = []
    for shard in SHARDS:
        own = World(dict(marks))
        batches = read_by(shard, parts)
        assert len(batches) <= 1
        for each in batches:
            own.apply(each, trades_move_marks=False, left_out=set())
            assert (1_000 if is_sequenced else 0, NOON_MS) == (each.first_sequence, each.taken_ms)
        assert (whole.marks, whole.moved) == (own.marks, own.moved)
        assert whole.seen[::2] == own.seen[::2]
        assert only(whole.books, shard) == own.books
        assert [only(counts, shard) for counts in whole.seen[1::2]] == own.seen[1::2]  # type: ignore[arg-type]
        assert bool(own.indices) or shard not in parts.of_shard
        assert parts.journal.touches(shard) == bool(batches)
        applied += own.indices
    # Every event is applied somewhere; trades and flows in one shard alone.
    assert set(whole.indices) == set(applied)


@given(rows=st.lists(TRADES, min_size=1, max_size=60), is_sequenced=st.booleans())
def test_the_journal_has_the_digest_of_every_event(rows: list[Row], is_sequenced: bool) -> None:
    """Refused ones too: they count as applied, and a repeat of them is one."""
    batch = built([("trades", rows)], first=5 if is_sequenced else 0)
    first = len(batch) // 3
    parts = split(batch, first, len(batch), left_out=(), batch_id="b", taken_ms=NOON_MS, gateway="gateway")
    entry = codec.decode_journal(codec.encode_journal(parts.journal))
    if not is_sequenced:
        assert ("gateway", 0, 0, []) == (entry.source, entry.epoch, entry.first_sequence, entry.digest.tolist())
        return
    assert ("em", 1, 5 + first) == (entry.source, entry.epoch, entry.first_sequence)
    assert batch.digest[first:].tolist() == entry.digest.tolist()
