"""The door between senders and the log: once, whole, in order, however answers are lost and whoever else puts in."""

import asyncio

import pytest

from evs_server.errors import LogUnavailable
from evs_server.gateway import inlet as room
from evs_server.gateway import progress as waiting
from tests.gateway_world import Gateway, HinderedLog
from tests.wire import cash, prices

ACCOUNT = 7


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no shards: nobody is to wait for what they say."""
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 0.0)


@pytest.fixture
def log() -> HinderedLog:
    return HinderedLog()


async def test_a_batch_whose_answer_is_lost_is_in_the_log_once(log: HinderedLog) -> None:
    """It is put in again, found to be there by its journal entry, and answered as if nothing had been."""
    gateway = Gateway(log, log, "a")
    async with gateway.following():
        log.lost = 1
        outcome = await gateway.send(cash((ACCOUNT, 1), (ACCOUNT, 2)), first=1)
        assert (0, 2) == (outcome.duplicate_count, outcome.end)
        assert 1 == len(log.journal())
        assert 2 == gateway.inlet.state("em").applied_sequence


async def test_a_batch_that_comes_again_at_another_gateway_is_a_duplicate(log: HinderedLog) -> None:
    """However late: the second gateway judges by the journal, not by what it has itself taken."""
    first, second = Gateway(log, log, "a"), Gateway(log, log, "b")
    async with first.following(), second.following():
        await first.send(cash((ACCOUNT, 1)), first=1)
        outcome = await second.send(cash((ACCOUNT, 1)), first=1)
        assert 1 == outcome.duplicate_count
        assert 1 == len(log.journal())


async def test_two_gateways_that_take_one_batch_at_once_put_it_in_once(log: HinderedLog) -> None:
    """Neither has seen the other's entry: the log takes one of them, and the other looks."""
    gateways = [Gateway(log, log, name) for name in "ab"]
    async with gateways[0].following(), gateways[1].following():
        outcomes = await asyncio.gather(*(each.send(cash((ACCOUNT, 1)), first=1) for each in gateways))
        assert [0, 1] == sorted(outcome.duplicate_count for outcome in outcomes)
        assert 1 == len(log.journal())


async def test_a_batch_is_refused_in_the_end_if_the_log_stays_away(
    log: HinderedLog, monkeypatch: pytest.MonkeyPatch
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
        assert 1 == len(log.journal())


async def test_calls_of_one_source_go_in_in_the_order_in_which_they_came(log: HinderedLog) -> None:
    """Each waits for the one before, and is judged by what that has left behind."""
    gateway = Gateway(log, log, "a")
    async with gateway.following():
        log.is_open.clear()
        calls = [asyncio.ensure_future(gateway.send(cash((ACCOUNT, 1)), first=first)) for first in (1, 2, 3)]
        await asyncio.sleep(0)
        log.is_open.set()
        assert [None] * 3 == [each.error for each in await asyncio.gather(*calls)]
        assert [1, 2, 3] == [each.first_sequence for each in log.journal()]
