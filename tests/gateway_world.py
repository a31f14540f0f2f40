"""
A gateway's rooms in the process of a test, on a log without a server; shards are what a test says they have applied.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import numpy as np
from evs.v1 import evs_pb2 as pb

from evs_server.cluster import subjects
from evs_server.cluster.codec import decode_journal
from evs_server.cluster.parts import JournalEntry
from evs_server.cluster.ports import EventLog, Message
from evs_server.cluster.shards import KEEPER, SHARD_COUNT
from evs_server.errors import LogUnavailable
from evs_server.fanout.hub import Hub
from evs_server.gateway.accounts import Accounts
from evs_server.gateway.hearing import Hearing
from evs_server.gateway.inlet import Inlet
from evs_server.gateway.journal import Journal
from evs_server.gateway.owners import Owners
from evs_server.gateway.progress import Progress, ShardProgress
from evs_server.gateway.stream import SenderStream
from evs_server.gateway.table import SnapshotTable
from evs_server.ingest.course import Outcome
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.model import SnapshotColumns
from tests.log_in_process import LogInProcess
from tests.serving import SetClock, within_patience
from tests.wire import a_batch


class HinderedLog(LogInProcess):
    """
    A log that lets some wait, and loses answers.

    Attributes:
        lost: How many of the next answers are; what they would be of is put in.
        is_open: Set as long as what comes is put in; otherwise it waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def append(self, parts: Sequence[Message], journal: Message, expected: int, batch_id: str) -> int:
        await self.is_open.wait()
        position = await super().append(parts, journal, expected, batch_id)
        if self.lost:
            self.lost -= 1
            raise LogUnavailable("the answer is lost")
        return position

    def journal(self) -> list[JournalEntry]:
        """Of each batch that is in the log, its entry."""
        prefix = subjects.SOURCES.removesuffix(">")
        return [decode_journal(each.data) for each in self.messages if each.subject.startswith(prefix)]


class Gateway:
    """One gateway's rooms, on a log that others may use, too."""

    def __init__(self, log: EventLog, asks: LogInProcess, name: str) -> None:
        self.lifecycle, clock, self._table = Lifecycle(), SetClock(), SnapshotTable()
        self.lifecycle.enter(Phase.SERVING)
        self.progress = Progress()
        owners = Owners(asks, clock, self.progress)
        self.hearing = Hearing(self._table, Hub(), self.progress, owners, clock)
        accounts = Accounts(self._table, owners)
        self.inlet = Inlet(name, self.lifecycle, log, Journal(), accounts, self.hearing, self.progress, clock)
        self._number = count(1)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """It reads the journal as long as the block lasts."""
        running = asyncio.create_task(self.inlet.follow())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def send(self, *runs: pb.EventRun, first: int) -> Outcome:
        return await self.inlet.take(a_batch(*runs, first=first))

    def know(self, *account_ids: int) -> None:
        """Accounts are known here: nobody has to be asked of them."""
        nothing = np.zeros(len(account_ids), np.int64)
        columns = dict.fromkeys(SnapshotColumns.__dataclass_fields__, nothing)
        self._table.put(SnapshotColumns(**columns | {"account_id": np.array(account_ids, np.int64)}))

    def hear(self, applied: int, committed: int = 0, shards: Sequence[int] = range(SHARD_COUNT)) -> None:
        """Shards tell how far they are; the keeper has committed what they have."""
        number = next(self._number)
        for shard in (*shards, KEEPER):
            self.progress.told(shard, ShardProgress(1, number, applied=applied, committed=committed))
        self.inlet.settle()


class Line:
    """A sender's stream at a gateway: what it sends is there to be read at once."""

    def __init__(self, gateway: Gateway) -> None:
        self._sent: asyncio.Queue[pb.StreamEventsRequest | None] = asyncio.Queue()
        self.read_count = 0
        self._answers = SenderStream(gateway.inlet, self._requests()).answers()
        self._answer: asyncio.Future[pb.StreamEventsResponse] | None = None

    async def _requests(self) -> AsyncIterator[pb.StreamEventsRequest]:
        while (request := await self._sent.get()) is not None:
            self.read_count += 1
            yield request

    def send(self, *requests: pb.StreamEventsRequest) -> None:
        for request in requests:
            self._sent.put_nowait(request)

    def end(self) -> None:
        """The sender has nothing more to send."""
        self._sent.put_nowait(None)

    async def answer(self) -> pb.StreamEventsResponse:
        """What comes next."""
        answer = await within_patience(self._coming())
        self._answer = None
        return answer

    async def answers(self, number: int) -> list[pb.StreamEventsResponse]:
        return [await self.answer() for _ in range(number)]

    async def is_quiet(self) -> bool:
        """Whether nothing comes, however often everybody has had a turn."""
        coming = self._coming()
        for _ in range(200):
            await asyncio.sleep(0)
        return not coming.done()

    async def close(self) -> None:
        """The sender leaves."""
        if self._answer is not None:
            self._answer.cancel()
            await asyncio.wait([self._answer])
        await self._answers.aclose()  # type: ignore[attr-defined]

    def _coming(self) -> "asyncio.Future[pb.StreamEventsResponse]":
        if self._answer is None:
            self._answer = asyncio.ensure_future(anext(self._answers))
        return self._answer
