"""The door between senders and the log: once, whole, in order, however answers are lost and whoever else puts in."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.cluster import subjects
from evs_server.cluster.ports import EventLog, Message
from evs_server.errors import LogUnavailable
from evs_server.fanout.hub import Hub
from evs_server.gateway import inlet as room
from evs_server.gateway import progress as waiting
from evs_server.gateway.accounts import Accounts
from evs_server.gateway.hearing import Hearing
from evs_server.gateway.inlet import Inlet
from evs_server.gateway.journal import Journal
from evs_server.gateway.owners import Owners
from evs_server.gateway.progress import Progress
from evs_server.gateway.table import SnapshotTable
from evs_server.ingest.course import Outcome
from evs_server.lifecycle import Lifecycle, Phase
from tests.log_in_process import LogInProcess
from tests.serving import SetClock
from tests.wire import a_batch, cash, prices

ACCOUNT = 7


class LosingLog(LogInProcess):
    """
    Loses answers.

    Attributes:
        lost: How many of the next answers are; what they would be of is put in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    async def append(self, parts: Sequence[Message], journal: Message, expected: int, batch_id: str) -> int:
        position = await super().append(parts, journal, expected, batch_id)
        if self.lost:
            self.lost -= 1
            raise LogUnavailable("the answer is lost")
        return position

    @property
    def batch_count(self) -> int:
        """How many batches are in the log: each has one entry of a journal."""
        return sum(each.subject.startswith(subjects.SOURCES.removesuffix(">")) for each in self.messages)


class Gateway:
    """One gateway's rooms, on a log that others may use, too."""

    def __init__(self, log: EventLog, asks: LogInProcess, name: str) -> None:
        lifecycle, clock, progress, table = Lifecycle(), SetClock(), Progress(), SnapshotTable()
        lifecycle.enter(Phase.SERVING)
        owners = Owners(asks, clock, progress)
        hearing = Hearing(table, Hub(), progress, owners, clock)
        accounts = Accounts(table, owners)
        self.inlet = Inlet(name, lifecycle, log, Journal(), accounts, hearing, progress, clock)

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


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no shards: nobody is to wait for what they say."""
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 0.0)


@pytest.fixture
def log() -> LosingLog:
    return LosingLog()


async def test_a_batch_whose_answer_is_lost_is_in_the_log_once(log: LosingLog) -> None:
    """It is put in again, found to be there by its journal entry, and answered as if nothing had been."""
    gateway = Gateway(log, log, "a")
    async with gateway.following():
        log.lost = 1
        outcome = await gateway.send(cash((ACCOUNT, 1), (ACCOUNT, 2)), first=1)
        assert (0, 2) == (outcome.duplicate_count, outcome.end)
        assert 1 == log.batch_count
        assert 2 == gateway.inlet.state("em").applied_sequence


async def test_a_batch_that_comes_again_at_another_gateway_is_a_duplicate(log: LosingLog) -> None:
    """However late: the second gateway judges by the journal, not by what it has itself taken."""
    first, second = Gateway(log, log, "a"), Gateway(log, log, "b")
    async with first.following(), second.following():
        await first.send(cash((ACCOUNT, 1)), first=1)
        outcome = await second.send(cash((ACCOUNT, 1)), first=1)
        assert 1 == outcome.duplicate_count
        assert 1 == log.batch_count


async def test_two_gateways_that_take_one_batch_at_once_put_it_in_once(log: LosingLog) -> None:
    """Neither has seen the other's entry: the log takes one of them, and the other looks."""
    gateways = [Gateway(log, log, name) for name in "ab"]
    async with gateways[0].following(), gateways[1].following():
        outcomes = await asyncio.gather(*(each.send(cash((ACCOUNT, 1)), first=1) for each in gateways))
        assert [0, 1] == sorted(outcome.duplicate_count for outcome in outcomes)
        assert 1 == log.batch_count


async def test_a_batch_is_refused_in_the_end_if_the_log_stays_away(
    log: LosingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller sends it again; whether it is in the log shows then."""
    monkeypatch.setattr(room, "PUT_SECONDS", -1.0)
    gateway = Gateway(log, log, "a")
    async with gateway.following():
        log.lost = 1
        with pytest.raises(LogUnavailable):
            await gateway.send(prices((1, 100)), first=1)
        monkeypatch.setattr(room, "PUT_SECONDS", 5.0)
        await gateway.inlet.followed_to(len(log.messages))
        assert 1 == (await gateway.send(prices((1, 100)), first=1)).duplicate_count
        assert 1 == log.batch_count
