"""The answers of one stream: how far what makes them may be ahead of what writes them."""

import asyncio
from typing import Any

import pytest

from evs_server.access.answers import ANSWERS_MAX, LONG_SECONDS, Answers
from tests.serving import within_patience


class Caller:
    """A caller that takes one answer each time it is let; what it has taken, in order."""

    def __init__(self) -> None:
        self.takes = asyncio.Semaphore(0)
        self.taken: list[Any] = []

    async def send_initial_metadata(self, _: Any) -> None:
        pass

    async def write(self, answer: Any) -> None:
        await self.takes.acquire()
        self.taken.append(answer)


class Maker:
    """Makes answers for a caller, as fast as they are taken, and says when; each takes it so many seconds."""

    def __init__(self, caller: Caller, seconds: float) -> None:
        self._seconds_each = seconds
        self._now = 0.0
        self.made_count = 0
        self.answers = Answers(caller, lambda: self._now)

    async def make(self, count: int) -> None:
        for number in range(count):
            self.made_count += 1
            self._now += self._seconds_each
            await self.answers.put(number)


@pytest.fixture
def caller() -> Caller:
    return Caller()


async def settled() -> None:
    """Return when every task has gone on as far as it can."""
    for _ in range(20 + 2 * ANSWERS_MAX):
        await asyncio.sleep(0)


async def test_what_is_made_fast_is_ahead_by_so_many_answers(caller: Caller) -> None:
    maker = Maker(caller, LONG_SECONDS / 2)
    making = asyncio.ensure_future(maker.make(3 * ANSWERS_MAX))
    await settled()
    assert (ANSWERS_MAX + 1, []) == (maker.made_count, caller.taken)  # those that wait, and the one being written
    caller.takes.release()
    await settled()
    assert (ANSWERS_MAX + 2, [0]) == (maker.made_count, caller.taken)
    making.cancel()
    maker.answers.give_up()


async def test_behind_what_took_long_nothing_is_made_before_it_is_written(caller: Caller) -> None:
    """Meanwhile everybody else has turns of the loop, as many as that takes."""
    maker = Maker(caller, LONG_SECONDS * 2)
    making = asyncio.ensure_future(maker.make(3))
    for taken in range(3):
        await settled()
        assert (taken + 1, list(range(taken))) == (maker.made_count, caller.taken)
        caller.takes.release()
    await within_patience(making)
    await within_patience(maker.answers.finish())
    assert [0, 1, 2] == caller.taken


async def test_time_that_passes_while_answers_are_written_is_not_held_against_the_next(caller: Caller) -> None:
    maker = Maker(caller, LONG_SECONDS / 2)
    making = asyncio.ensure_future(maker.make(2 * ANSWERS_MAX))
    await settled()
    maker._now += 60
    caller.takes.release()
    await settled()
    assert ANSWERS_MAX + 2 == maker.made_count
    caller.takes.release()
    await settled()
    assert ANSWERS_MAX + 3 == maker.made_count
    making.cancel()
    maker.answers.give_up()


async def test_all_is_written_when_it_is_finished(caller: Caller) -> None:
    maker = Maker(caller, 0)
    await within_patience(maker.make(ANSWERS_MAX))
    finishing = asyncio.ensure_future(maker.answers.finish())
    await settled()
    assert not finishing.done()
    for _ in range(ANSWERS_MAX):
        caller.takes.release()
    await within_patience(finishing)
    assert list(range(ANSWERS_MAX)) == caller.taken
