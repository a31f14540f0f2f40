"""Questions to owners that take long: whoever takes over meanwhile is asked anew."""

import asyncio

import pytest

from evs_server.clock import SystemClock
from evs_server.cluster.ports import Reply
from evs_server.cluster.statuses import encode_error
from evs_server.errors import NoOwner, StoreUnavailable
from evs_server.gateway import owners as room
from evs_server.gateway.owners import Owners
from evs_server.gateway.progress import Progress, ShardProgress
from tests.log_in_process import LogInProcess
from tests.serving import within_patience

SHARD = 5
LONG_SECONDS = 3_600.0


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(room, "AGAIN_SECONDS", 0.01)


class Killed:
    """An owner that was asked and will not answer, as one that was killed."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def answer(self, _method: str, _question: bytes) -> Reply:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")


async def echo(method: str, question: bytes) -> Reply:
    """A living owner."""
    return Reply(method.encode() + question, start_number=2)


async def test_an_owner_that_was_killed_is_not_waited_for_once_another_has_taken_over() -> None:
    log, progress, killed = LogInProcess(), Progress(), Killed()
    progress.told(SHARD, ShardProgress(start_number=1))
    async with log.answer(SHARD, killed.answer):
        answer = asyncio.ensure_future(
            Owners(log, SystemClock(), progress).ask_at_length(SHARD, "Check", b"!", LONG_SECONDS)
        )
        await within_patience(killed.asked.wait())
        async with log.answer(SHARD, echo):
            progress.told(SHARD, ShardProgress(start_number=2))
            assert b"Check!" == await within_patience(answer)


async def test_an_owner_that_gives_up_its_shard_is_followed_by_the_next() -> None:
    """It says so itself, long after it was asked."""
    log, gives_up = LogInProcess(), asyncio.Event()

    async def leave(_method: str, _question: bytes) -> Reply:
        gives_up.set()
        raise NoOwner("the shard is given up")

    owners = Owners(log, SystemClock(), Progress())
    async with log.answer(SHARD, leave):
        answer = asyncio.ensure_future(owners.ask_at_length(SHARD, "Check", b"!", LONG_SECONDS))
        await within_patience(gives_up.wait())
    async with log.answer(SHARD, echo):
        assert b"Check!" == await within_patience(answer)


async def test_a_shard_that_nobody_owns_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOVING_SECONDS", 0.0)
    with pytest.raises(NoOwner):
        await Owners(LogInProcess(), SystemClock(), Progress()).ask_at_length(SHARD, "Check", b"", LONG_SECONDS)


async def test_what_an_owner_finds_wrong_is_told_as_it_was() -> None:
    """It is asked once."""
    log = LogInProcess()

    async def fail(_method: str, _question: bytes) -> Reply:
        return Reply(b"", encode_error(StoreUnavailable("the tables are away")))

    async with log.answer(SHARD, fail):
        with pytest.raises(StoreUnavailable, match="the tables are away"):
            await Owners(log, SystemClock(), Progress()).ask_at_length(SHARD, "Check", b"", LONG_SECONDS)
