"""
A cluster's shards in the process of a test: virtual shards on a real database, fed by a log within the process.

The feeder stands where a gateway does: it numbers, splits, and puts in. The whole exchange beside it is one engine that
is fed the same batches, unsplit: what shards make of theirs must be what that makes of all.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from functools import partial
from itertools import count
from random import Random
from typing import Any

import numpy as np
from evs.v1 import evs_pb2 as pb

from evs_server.clock import SystemClock
from evs_server.cluster import subjects
from evs_server.cluster.codec import decode_news, encode_batch
from evs_server.cluster.news import News
from evs_server.cluster.ports import EventLog
from evs_server.cluster.shards import shard_of
from evs_server.cluster.split import split
from evs_server.config import load
from evs_server.engine import state
from evs_server.errors import StoreUnavailable
from evs_server.ingest.tally import Tally
from evs_server.metrics.traced import Kinds
from evs_server.model import AccountColumns, Batch, EngineState, PositionColumns, Snapshot
from evs_server.shard.owned import Common
from evs_server.shard.virtual_shard import VirtualShard
from evs_server.store.database import Database
from evs_server.store.joint import JointCommits
from evs_server.store.ledger import LedgerReader
from evs_server.store.memory import Tables
from evs_server.store.ownership import Ownership
from evs_server.store.postgres import PostgresStore
from evs_server.works import Works
from tests.builders import DAY_MS, HOUR_MS
from tests.log_in_process import LogInProcess
from tests.patience import PATIENCE_SECONDS, eventually_true
from tests.serving import SetClock
from tests.simulation.process import Process, at_once
from tests.wire import BUY, SELL, a_batch, cash, prices, ticks, trades

SYMBOLS = (1, 2, 3)
COMPARED = [field.name for field in fields(Snapshot) if field.name != "version"]
STALE_AFTER_MS = 86_400_000


class Worker:
    """One worker's hold on virtual shards, taken and given up as a test says."""

    def __init__(self, dsn: str, log: LogInProcess, clock: SetClock, name: str) -> None:
        self._dsn, self._log, self._clock, self.name = dsn, log, clock, name
        self.shards: dict[int, VirtualShard] = {}
        self.gone: list[int] = []

    @asynccontextmanager
    async def entered(self) -> AsyncIterator["Worker"]:
        """Connected, until the end of the block; whatever it still owns then is dropped, as in a crash."""
        database = await Database.open(self._dsn)
        ownership = Ownership(self._dsn, name=self.name, on_lost=lambda: None, on_gone=self.gone.append)
        await ownership.join()
        self.ownership, works = ownership, Works()
        works.start("ownership", ownership.keep())
        joint = JointCommits(ownership.transaction, SystemClock())
        works.start("commits", joint.run())
        self.common = Common(
            settings=load(database_url=self._dsn),
            clock=self._clock,
            owner=self.name,
            event_log=self._log,
            news=self._log,
            asks=self._log,
            last_values=self._log,
            ledgers=LedgerReader(database),
            store=lambda shard: PostgresStore(
                database, shard=shard, writing=ownership.transaction, committing=joint.write
            ),
            began=ownership.began,
            kinds=Kinds,
            on_durable=lambda _: None,
            tally=Tally(),
        )
        try:
            yield self
        finally:
            for shard in tuple(self.shards):
                await self.shards.pop(shard).drop()
            await works.stop(PATIENCE_SECONDS)
            await ownership.close()
            await database.close()

    async def take(self, *shards: int) -> None:
        """Own some virtual shards, and start them."""
        for shard in shards:
            await eventually_true(partial(self._taken, shard), f"{self.name} takes virtual shard {shard}")

    async def _taken(self, shard: int) -> bool:
        """Whether it is owned now, and runs; a worker whose connection is made again has to wait for it."""
        try:
            if not await self.ownership.take(shard):
                return False
        except StoreUnavailable:
            return False
        owned = VirtualShard(shard, self.common)
        try:
            await owned.start()
        except StoreUnavailable:
            await owned.drop()
            return False
        self.shards[shard] = owned
        return True

    async def give_up(self, shard: int) -> None:
        """Stop one in order."""
        owned = self.shards.pop(shard)
        assert 0 == await owned.stop(PATIENCE_SECONDS)
        await owned.drop()
        await self.ownership.release(shard)

    async def crash(self, shard: int) -> None:
        """End one as it stands."""
        await self.shards.pop(shard).drop()
        await self.ownership.release(shard)


class Feeder:
    """
    Puts batches into the log, as a gateway does, and feeds them to one engine of all accounts.

    Attributes:
        whole: That engine, with its rooms.
        position: Where the last batch ends.
        touched: By virtual shard, where the last part is that concerns it.
    """

    def __init__(self, log: EventLog, clock: SetClock, cash_cents: dict[int, int]) -> None:
        self._log, self._clock = log, clock
        self._last: dict[str, int] = defaultdict(int)
        self._ids = map(str, count(1))
        tables = Tables()
        tables.balances_cents.update(cash_cents)
        self.whole = Process(tables, STALE_AFTER_MS)
        self.whole.intake.import_exchange(at_once(self.whole.store.read_exchange()), clock.now_ms())
        self.touched: dict[int, int] = {}
        self.position = 0

    async def put(self, *runs: pb.EventRun, first: int = 0) -> str:
        """Put in one batch; its id."""
        return await self.put_batch(a_batch(*runs, first=first))

    async def put_batch_of(self, *runs: pb.EventRun, first: int = 0) -> Batch:
        """Put in one batch; the batch itself."""
        batch = a_batch(*runs, first=first)
        await self.put_batch(batch)
        return batch

    async def put_batch(self, batch: Batch) -> str:
        """Put in one batch that a gateway found nothing wrong with."""
        batch_id, taken_ms = next(self._ids), self._clock.now_ms()
        outcome = self.whole.intake.take(batch, taken_ms)
        assert outcome.error is None
        parts = split(batch, 0, len(batch), left_out=(), batch_id=batch_id, taken_ms=taken_ms, gateway="gateway")
        messages, journal = encode_batch(parts)
        source = parts.journal.source
        position = await self._log.append(messages, journal, self._last[source], batch_id)
        self._last[source] = self.position = position
        for shard in filter(parts.journal.touches, range(64)):
            self.touched[shard] = position
        for at, message in enumerate(messages, position - len(messages)):
            for shard in range(64) if message.subject == subjects.SHARED else [shard_in(message.subject)]:
                self.touched[shard] = at
        return batch_id


def shard_in(subject: str) -> int:
    """The virtual shard that a subject of the log is of."""
    return int(subject.rpartition(".")[2])


def shards_of(account_ids: Iterable[int]) -> list[int]:
    """The virtual shards of some accounts, ascending."""
    return sorted({shard_of(account_id) for account_id in account_ids})


class Day:
    """Random events of some accounts, in batches, numbered from 1 on."""

    def __init__(self, random: Random, account_ids: Sequence[int], clock: SetClock) -> None:
        self._random, self._accounts, self._clock = random, account_ids, clock
        self._sent = self._tick = self._settlement = 0

    def batch(self) -> Batch:
        """The next one; some are unnumbered."""
        runs = [self._run() for _ in range(self._random.randint(1, 5))]
        if self._random.random() < 0.2:
            return a_batch(*runs)
        batch = a_batch(*runs, first=self._sent + 1)
        self._sent += len(batch)
        return batch

    def _run(self) -> pb.EventRun:
        random = self._random
        self._clock.ms += random.choice([0, 1, 50, 1_000, HOUR_MS] if random.random() < 0.9 else [DAY_MS])
        match random.choices(["trade", "price", "cash", "tick"], [6, 2, 2, 3])[0]:
            case "trade":
                return trades(*(self._trade() for _ in range(random.randint(1, 8))))
            case "price":
                return prices(*((random.choice(SYMBOLS), self._price()) for _ in range(random.randint(1, 2))))
            case "cash":
                return cash(*((random.choice(self._accounts), random.choice([-500, 1, 10_000])) for _ in range(2)))
            case _:
                self._tick += 1
                return ticks(self._tick)

    def _trade(self) -> tuple[int, ...]:
        random = self._random
        self._settlement += 1
        side, quantity_bp = random.choice([BUY, SELL]), random.choice([5_000, 10_000, 25_001])
        fee = random.choice([0, 0, 7])
        return (
            random.choice(self._accounts), random.choice(SYMBOLS), side, quantity_bp, self._price(), fee,
            self._settlement,
        )  # fmt: skip

    def _price(self) -> int:
        return self._random.choice([99, 100, 101, 333])


async def applied(shards: Collection[VirtualShard], feeder: Feeder) -> None:
    """Return once some virtual shards have applied all that concerns them."""
    for shard in shards:
        reached = asyncio.ensure_future(shard._source.reached(feeder.touched.get(shard.number, 0), PATIENCE_SECONDS))
        failed = asyncio.ensure_future(shard.failure())
        await asyncio.wait({reached, failed}, return_when=asyncio.FIRST_COMPLETED)
        if not reached.done():
            reached.cancel()
            raise failed.result()
        failed.cancel()
        reached.result()


async def committed(shards: Collection[VirtualShard], feeder: Feeder) -> None:
    """Return once they have committed it."""
    await applied(shards, feeder)
    for shard in shards:
        shard.core.gate.flush_now()
        assert 0 == await shard.core.writer.drain(PATIENCE_SECONDS)


def shown(engine: Any, account_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """What is shown of some accounts, but for versions, which are EVS's own."""
    return {each: {name: getattr(engine.snapshot(each), name) for name in COMPARED} for each in account_ids}


def united_hash(shards: Collection[VirtualShard]) -> str:
    """The digest of all that some virtual shards hold together, as one engine with all of it would have it."""
    exported = [shard.core.engine.export_state() for shard in shards]
    marks = [state.digest(EngineState(each.meta, *_nobody(), each.marks)) for each in exported]
    assert len(set(marks)) == 1, "marks are the same everywhere"
    accounts, positions = (
        type(getattr(exported[0], name))(
            *(
                np.concatenate([getattr(getattr(each, name), field.name) for each in exported])
                for field in fields(getattr(exported[0], name))
            )
        )
        for name in ("accounts", "positions")
    )
    return state.digest(EngineState(exported[0].meta, accounts, positions, exported[0].marks))


def _nobody() -> tuple[Any, Any]:
    return AccountColumns.empty(), PositionColumns.empty()


def news_of(log: LogInProcess, shard: int) -> list[News]:
    """What one virtual shard has told, in order."""
    return [decode_news(data) for told, data in log.told if told == shard]


async def told_position(log: LogInProcess, shard: int, position: int) -> None:
    """Return once a virtual shard has told that a position is committed."""

    async def look() -> bool:
        await asyncio.sleep(0)
        return any(news.committed_position >= position for news in news_of(log, shard))

    await eventually_true(look, f"virtual shard {shard} tells that it has committed position {position}")
