"""
Processes that come and go on one database and spool, while writes are lost, of unknown outcome, or refused for long.

The model is the list of flushes that the line of processes has captured: a start goes on from what it finds and
forgets what was captured beyond that. At every moment the database must hold exactly the first so many of them, once.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from evs_server.clock import SystemClock
from evs_server.model import Flush
from evs_server.store.memory import Fault, MemoryStore, Tables
from evs_server.store.spool import Spool
from evs_server.store.spool_replay import Lineage, replay_spool
from evs_server.store.spool_segment import Stamp
from evs_server.store.writer import Writer, WriterLimits
from tests.flushes import a_flush, a_valuation, an_account_row

SECONDS = 30
ROOM = 2**24
LIMITS = WriterLimits(
    transaction_rows=5,
    spool_bytes=700,  # a flush takes about 150
    queue_flushes=6,
    backoff_seconds=0.0001,
    backoff_seconds_max=0.001,
    spool_retry_seconds=0.0005,
)


class FaultyStore(MemoryStore):
    """A store that may be away, and notes which starts have written."""

    def __init__(self, tables: Tables, committed: set[int]) -> None:
        super().__init__(tables)
        self.away = False
        self.committed = committed

    async def write(self, flush: Flush) -> None:
        if self.away:
            self.faults.appendleft(Fault.LOST)
        before = self.tables.recovered.flush_number
        try:
            await super().write(flush)
        finally:
            if self.tables.recovered.flush_number != before:
                self.committed.add(self.tables.recovered.start_number)


@dataclass
class World:
    """What outlives processes, and the process of the moment."""

    folder: Path
    tables: Tables = field(default_factory=Tables)
    captured: list[int] = field(default_factory=list)
    durable_number: int = 0
    committed: set[int] = field(default_factory=lambda: {0})

    async def start(self) -> None:
        """The next process: recover, replay, recover again."""
        self.store = FaultyStore(self.tables, self.committed)
        self.spool = Spool.open(self.folder, ROOM)
        recovered = await self.store.recover()
        await replay_spool(self.spool, self.store, recovered, Lineage("this", max(self.committed)))
        recovered = await self.store.recover()
        self.spool.begin(Stamp("this", recovered.start_number))
        assert recovered.flush_number >= self.durable_number
        self.durable_number = recovered.flush_number
        del self.captured[recovered.flush_number :]
        self.writer = Writer(
            self.store, SystemClock(), on_durable=self.note_durable, on_fenced=lambda _: None, limits=LIMITS,
            spool=self.spool,
        )  # fmt: skip
        self.task = asyncio.create_task(self.writer.run())

    async def crash(self) -> None:
        """The process ends; what is only in memory is gone, and what it is putting on disk may be there or not."""
        self.task.cancel()
        await asyncio.wait([self.task], timeout=SECONDS)
        self.writer.close()
        safe_number = self.spool.last_number or 0
        self.spool.close()
        self.check()
        await self.start()
        assert self.tables.recovered.flush_number >= safe_number

    async def stop(self) -> None:
        """The process ends as it should: nothing is lost."""
        await self.writer._backlog.save(SECONDS)
        count = len(self.captured)
        await self.crash()
        assert count == len(self.captured)

    def offer(self, count: int) -> None:
        """Capture flushes, each of one account and one row."""
        for _ in range(count):
            number = len(self.captured) + 1
            value = 1_000 * self.tables.recovered.start_number + number
            self.captured.append(value)
            rows = [a_valuation(number, {number % 3: value})]
            self.writer.offer(a_flush(number, accounts=[an_account_row(number % 3, value)], rows=rows))

    async def proceed(self, turns: int) -> None:
        """Let the writer do something."""
        for _ in range(turns):
            await asyncio.sleep(0)
        if self.writer._backlog._append is not None:
            await asyncio.wait([self.writer._backlog._append], timeout=SECONDS)

    def note_durable(self, flush: Flush) -> None:
        assert self.tables.recovered.flush_number >= flush.number > self.durable_number
        self.durable_number = flush.number

    def check(self) -> None:
        """The database holds the fold of the first flushes, each row once."""
        count = self.tables.recovered.flush_number
        rows = [(row.version, int(row.equity_cents[0])) for row in self.tables.rows]
        assert list(enumerate(self.captured[:count], start=1)) == rows
        accounts = self.tables.recovered.state.accounts
        cash = dict(zip(accounts.account_id.tolist(), accounts.cash_cents.tolist(), strict=True))
        assert {number % 3: value for number, value in enumerate(self.captured[:count], start=1)} == cash

    async def heal(self) -> None:
        """Once nothing fails any more, everything arrives."""
        self.store.away = False
        self.store.faults.clear()
        self.spool._bytes_max = ROOM
        assert 0 == await self.writer.drain(SECONDS)
        self.check()
        assert len(self.captured) == self.tables.recovered.flush_number == self.durable_number
        statistics = self.writer.statistics()
        assert (0, 0, 0) == (statistics.spool_flush_count, statistics.spool_byte_count, statistics.waiting_row_count)
        assert statistics.spooled_flush_count == statistics.drained_flush_count
        await self.crash()

    async def live(self, life: list[tuple[str, int]]) -> None:
        """Go through a life, then heal."""
        await self.start()
        for what, count in life:
            match what:
                case "offer":
                    self.offer(count)
                case "away" | "back":
                    self.store.away = what == "away"
                case "lost" | "unknown":
                    self.store.faults.extend([Fault[what.upper()]] * count)
                case "disk full" | "disk free":
                    self.spool._bytes_max = ROOM if what == "disk free" else 0
                case "proceed":
                    await self.proceed(count)
                case "crash":
                    await self.crash()
                case "stop" if not self.spool._bytes_max:
                    await self.crash()
                case "stop":
                    await self.stop()
            self.check()
        await self.heal()
        self.task.cancel()
        await asyncio.wait([self.task], timeout=SECONDS)
        self.writer.close()
        self.spool.close()


# What happens often stands more than once.
KINDS = (
    "offer", "offer", "offer", "proceed", "proceed", "proceed", "away", "back", "lost", "unknown", "crash", "stop",
    "disk full", "disk free",
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 12)), max_size=25))
def test_the_database_holds_a_prefix_at_any_time_and_everything_in_the_end(life: list[tuple[str, int]]) -> None:
    """Whatever comes between: nothing twice, nothing out of order, nothing lost that was durable or in the spool."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(World(Path(folder)).live(life))
