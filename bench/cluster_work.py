"""
What a cluster has to do for the same events as workers go from 1 to 16: counted, not timed, so the same on any machine.

The way of an event is the real one, but for the network: batches are split and encoded as by a gateway, what each
virtual shard would read of the log is joined and taken by an intake of its own, what it tells is encoded, what it
captures is written to PostgreSQL, all the statements counted. Beside it one engine with all accounts takes the same
batches, as ``evs serve`` does; that both have valued the same is checked. Virtual shard k belongs to worker k modulo
their number, which is the share that workers agree on.

Everything of one second is taken to come within one pace of the writers: there is one transaction a worker and second,
for all of its virtual shards. What a worker writes together depends on which are its own, so it is written for each
number of workers, to a database of their own. ``cluster.json`` beside the results has the counts, of which ``report``
makes a table. Left out: what NATS and PostgreSQL add to each message and row, copies, the keeper, last values (one a
second and account at most, each of some 60 bytes).
"""

import asyncio
import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from evs.v1 import evs_pb2 as pb

from bench.cluster_table import COLUMNS, OF_WORKER, SHARED_OUT, WORKERS, table_lines
from bench.command import options
from bench.events import trades
from bench.harness import today
from bench.world import NOW_MS, Size, World, a_world, an_engine, empty_engine, engine_state, latest
from evs_server.cluster import subjects
from evs_server.cluster.codec import encode_batch
from evs_server.cluster.join import Joining
from evs_server.cluster.ports import Entry
from evs_server.cluster.shards import SHARD_COUNT, WHOLE, shards_of
from evs_server.cluster.split import split
from evs_server.engine import Engine
from evs_server.ingest import codec
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake
from evs_server.ingest.position import LogPosition
from evs_server.ingest.sequencer import Sequencer, Sequencing
from evs_server.ingest.settled import Settled
from evs_server.model import Batch, BoolArray, Columns, EngineState, Flush, Valuation
from evs_server.ports import ValuationSink
from evs_server.shard.tell import Teller
from evs_server.store.database import Database
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.joint import Due, Writing, commit
from evs_server.store.merge import merge, row_count
from evs_server.store.migrate import migrate
from evs_server.store.postgres import PostgresStore

SIZE: Final = Size(accounts=20_000)
SECONDS: Final = 10
MOVING: Final = 100
"""Symbols that have a new price in a second."""

Counts = Counter[str]
T = TypeVar("T", bound=Columns)


@dataclass(frozen=True)
class Load:
    """
    What comes in a second, before a batch of ``MOVING`` prices and a tick.

    Attributes:
        name: As it stands in the results.
        about: In words.
        batches: How many ...
        events: ... of so many trades each.
    """

    name: str
    about: str
    batches: int
    events: int


LOADS: Final = (
    Load("batches", "1,000 trades in 10 batches, 100 prices, a tick", 10, 100),
    Load("calls", "200 trades in a call each, 100 prices, a tick", 200, 1),
)


class Sender:
    """Numbers what it sends, as the exchange does."""

    def __init__(self) -> None:
        self._next_sequence = 1

    def batch(self, *runs: pb.EventRun) -> Batch:
        """The next batch, checked."""
        request = pb.StreamEventsRequest(source="em", epoch=1, first_sequence=self._next_sequence, runs=runs)
        made = codec.decode_batch(request)
        self._next_sequence += len(made)
        return made


class Room:
    """
    An engine and what stands around it, the whole exchange or one virtual shard; counts what it does.

    Attributes:
        counts: What it has done.
    """

    degraded_since_ms = None

    def __init__(self, engine: Engine, sequencing: Sequencing, told: ValuationSink | None = None) -> None:
        self.engine = engine
        self._told = told
        self._flushes: list[Flush] = []
        self._positions_before = engine.positions_valued_count
        self.counts: Counts = Counter()
        self.intake = Intake(engine, sequencing, Clearing(engine, Settled()), self, self)

    def publish(self, valuation: Valuation) -> None:
        """As of ``ValuationSink``."""
        self.counts["accounts_valued"] += len(valuation)
        if self._told is not None:
            self._told.publish(valuation)

    def offer(self, flush: Flush) -> None:
        """As of ``FlushSink``."""
        self._flushes.append(flush)

    def captured(self) -> Flush | None:
        """What changed since the last time, if anything did."""
        self.intake.flush()
        valued, self._positions_before = self._positions_before, self.engine.positions_valued_count
        self.counts["positions_valued"] += self._positions_before - valued
        if not self._flushes:
            return None
        flush, self._flushes = merge(self._flushes), []
        self.counts["rows"] += row_count(flush)
        return flush


class VirtualShard(Room):
    """The room of one virtual shard, which reads entries of the log and tells news."""

    def __init__(self, number: int, engine: Engine) -> None:
        engine.trades_move_marks = False
        position = LogPosition()
        self._teller = Teller(number, "evs shard 12345.0123abcd on worker-1", self, position, lambda: 0)
        self._teller.start_number = 1
        super().__init__(engine, position, self._teller)
        self._reads = frozenset({subjects.of_shard(number), subjects.SHARED})
        self._joining = Joining(number)

    def tell(self, _shard: int, data: bytes) -> None:
        """As of ``News``."""
        self.counts["news"] += 1
        self.counts["news_bytes"] += len(data)

    def hear(self, _heard: Callable[[int, bytes], None]) -> AbstractAsyncContextManager[None]:
        """As of ``News``; nobody hears anything here."""
        return contextlib.nullcontext()

    def read(self, entry: Entry) -> None:
        """Apply what an entry completes, if it is one that this virtual shard reads."""
        if entry.subject not in self._reads and not _is_carried(entry.subject):
            return
        self.counts["messages"] += 1
        self.counts["bytes"] += len(entry.data)
        joined = self._joining.take(entry)
        if joined is None:
            return
        self.counts["events"] += len(joined.batch)
        outcome = self.intake.take(joined.batch, joined.batch.taken_ms)
        assert (outcome.refusals, outcome.error) == ({}, None)
        self._teller.end(joined.batch, joined.batch_id, outcome)
        self._teller.tell()


async def main() -> None:
    """Count every load, show the table, and write what it was made of."""
    given = options()
    world = a_world(SIZE)
    measured = [await counted(load, world) for load in LOADS]
    for each in measured:
        print("\n".join(table_lines(each)), end="\n\n")  # noqa: T201 -- what was asked for
    path = given.results.with_name("cluster.json")
    path.write_text(json.dumps({"date": today(), "loads": measured}, indent=1) + "\n")


async def counted(load: Load, world: World) -> Mapping[str, Any]:
    """The counts of one load, a second, by quantity, as ``cluster_table`` shows them."""
    whole, shards, sender = Room(an_engine(world), Sequencer()), virtual_shards(world), Sender()
    log: Counts = Counter()
    async with _installations() as installations:
        for second in range(SECONDS):
            for batch in _batches(load, second, sender):
                outcome = whole.intake.take(batch, NOW_MS)
                assert (outcome.refusals, outcome.error) == ({}, None)
                whole.counts["events"] += len(batch)
                for entry in put_in(batch, log):
                    for shard in shards:
                        shard.read(entry)
            flushes = {number: each for number, shard in enumerate(shards) if (each := shard.captured()) is not None}
            flush = whole.captured()
            assert flush is not None, "each second ends with a tick"
            whole_process, *divided = installations
            await whole_process.commit({WHOLE: flush})
            for installation in divided:
                await installation.commit(flushes)
    total = _sum([each.counts for each in shards])
    for name in ("accounts_valued", "positions_valued"):
        assert whole.counts[name] == total[name], f"{name}: one engine {whole.counts[name]}, shards {total[name]}"
    return {
        "load": f"{load.about}, each second; {SIZE.accounts:,} accounts of {SIZE.positions_per_account} positions",
        "log": {name: log[name] / SECONDS for name in sorted(log)},
        "counts": {
            **{name: dict(zip(COLUMNS, _row(name, whole, shards), strict=True)) for name in SHARED_OUT},
            **{name: dict(zip(COLUMNS, _row_of_worker(name, installations), strict=True)) for name in OF_WORKER},
        },
    }


def _row(name: str, whole: Room, shards: Sequence[VirtualShard]) -> Iterator[float | None]:
    """One quantity a second: in one process, of all shards, of the busiest of so many workers, of the busiest shard."""
    by_shard = [shard.counts[name] / SECONDS for shard in shards]
    yield whole.counts[name] / SECONDS if name in whole.counts else None
    yield sum(by_shard)
    for workers in WORKERS:
        yield max(sum(by_shard[worker::workers]) for worker in range(workers))
    yield max(by_shard)


def _row_of_worker(name: str, installations: Sequence["Installation"]) -> Iterator[float | None]:
    """The same of what virtual shards have together, as far as they are on one worker."""
    whole, *divided = installations
    yield whole.busiest(name) / SECONDS
    yield None
    for installation in divided:
        yield installation.busiest(name) / SECONDS
    yield None


def _batches(load: Load, second: int, sender: Sender) -> Iterator[Batch]:
    """What comes within a second, as a gateway and ``evs serve`` have it once it is checked."""
    first = second * load.batches * load.events + 1
    for number in range(first, first + load.batches * load.events, load.events):
        yield sender.batch(trades(range(number, number + load.events), 1, SIZE.accounts, settled=True))
    moving = [(second * MOVING + place) % SIZE.symbols for place in range(MOVING)]
    prices = pb.PriceColumns(symbol_id=moving, price_cents=[1_000 + second + symbol for symbol in moving])
    ticks = pb.TickColumns(tick_id=[second + 2], tick_time=[0])
    yield sender.batch(pb.EventRun(prices=prices), pb.EventRun(ticks=ticks))


def put_in(batch: Batch, log: Counts) -> list[Entry]:
    """The entries that a gateway makes of a batch."""
    log["batches"] += 1
    parts = split(batch, 0, len(batch), left_out=(), batch_id=f"{log['batches']:032x}", taken_ms=NOW_MS, gateway="")
    own, journal = encode_batch(parts)
    entries = []
    for message in (*own, journal):
        log["messages"] += 1
        log["bytes"] += len(message.data)
        entries.append(Entry(log["messages"], message.subject, message.data, 0))
    return entries


def _is_carried(subject: str) -> bool:
    prefix, suffix = subjects.CARRIED.split("*")
    return subject.startswith(prefix) and subject.endswith(suffix)


# --- the exchange, whole and in shards ---------------------------------------------------------------------------


def virtual_shards(world: World) -> list[VirtualShard]:
    """The virtual shards that a world is divided into, each with its accounts."""
    return [VirtualShard(number, shard_engine(world, number)) for number in range(SHARD_COUNT)]


def shard_engine(world: World, number: int) -> Engine:
    """An engine with the accounts of one virtual shard."""
    state, newest = engine_state(world), latest(world)
    account, position = shards_of(state.accounts.account_id), shards_of(state.positions.account_id)
    own = (_some(state.accounts, account == number), _some(state.positions, position == number))
    engine = empty_engine()
    engine.restore(EngineState(state.meta, *own, state.marks), _some(newest, shards_of(newest.account_id) == number))
    return engine


def _some(table: T, row: BoolArray) -> T:
    return type(table)(*(getattr(table, field.name)[row] for field in fields(cast("Any", table))))


class Installation:
    """
    So many workers that share the virtual shards, or one process with everything, on a database of their own.

    Args:
        database: Theirs.
        workers: How many; 0 is the one process.
    """

    def __init__(self, database: Database, workers: int) -> None:
        self._database = database
        self._workers = workers
        self._start_numbers: dict[int, int] = {}
        self._counts: list[Counts] = [Counter() for _ in range(max(workers, 1))]

    async def begin(self) -> None:
        """Start on every slice."""
        for shard in range(SHARD_COUNT) if self._workers else [WHOLE]:
            store = PostgresStore(self._database, shard=shard)
            self._start_numbers[shard] = (await store.recover()).start_number

    async def commit(self, flushes: Mapping[int, Flush]) -> None:
        """Write what slices have ready: each worker in one transaction, whose statements are counted."""
        for worker, counts in enumerate(self._counts):
            own = [shard for shard in flushes if not self._workers or shard % self._workers == worker]
            if own:
                due = [Due(shard, self._start_numbers[shard], flushes[shard]) for shard in own]
                assert not any(await commit(_counting(self._database, counts), due))
                counts["transactions"] += 1

    def busiest(self, name: str) -> int:
        """The most of something that one of the workers has done."""
        return max(counts[name] for counts in self._counts)


@asynccontextmanager
async def _installations() -> AsyncIterator[Sequence[Installation]]:
    """One process, and each number of workers."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        installations = []
        for workers in (0, *WORKERS):
            dsn = await stack.enter_async_context(EmbeddedPostgres(folder / str(workers), durable=False))
            await migrate(dsn)
            database = await Database.open(dsn)
            stack.push_async_callback(database.close)
            installations.append(Installation(database, workers))
            await installations[-1].begin()
        yield installations


def _counting(database: Database, counts: Counts) -> Writing:
    @asynccontextmanager
    async def transaction(what: str, seconds: float) -> AsyncIterator[Any]:
        async with database.transaction(what, seconds=seconds, writer=True) as connection:
            counts["statements"] += 2  # BEGIN and COMMIT
            yield _Counting(connection, counts)

    def writing(what: str, seconds: float) -> AbstractAsyncContextManager[Any]:
        return transaction(what, seconds)

    return writing


class _Counting:
    """A connection that counts what it is asked to do, each of many as one; what it does is another's."""

    def __init__(self, connection: Any, counts: Counts) -> None:
        self._connection = connection
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._connection, name)
        if not name.startswith(("execute", "fetch", "copy")):
            return asked

        def counted(*arguments: Any, **named: Any) -> Any:
            self._counts["statements"] += len(arguments[1]) if name in ("executemany", "fetchmany") else 1
            return asked(*arguments, **named)

        return counted


def _sum(counts: Sequence[Counts]) -> Counts:
    total: Counts = Counter()
    for each in counts:
        total.update(each)
    return total


if __name__ == "__main__":
    asyncio.run(main())
