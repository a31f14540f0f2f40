"""Talk that is not kept: questions to owners, news, and the last value of each account."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evs_server.cluster.ports import Reply
from evs_server.cluster.statuses import decode_error
from evs_server.errors import NoOwner, Overloaded, UnknownAccount
from evs_server.log import EmbeddedNats, Log, asks, last
from evs_server.log import news as telling
from tests.nats import a_log
from tests.patience import PATIENCE_SECONDS, eventually_true


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path / "nats")
    async with server:
        yield server


@pytest.fixture
async def log(server: EmbeddedNats) -> AsyncIterator[Log]:
    async with a_log(server.url) as log:
        yield log


@pytest.fixture
async def other(server: EmbeddedNats) -> AsyncIterator[Log]:
    async with a_log(server.url) as other:
        yield other


async def echo(method: str, data: bytes) -> Reply:
    return Reply(f"{method} ".encode() + data)


async def ask(log: Log, shard: int, data: bytes = b"question", seconds: float = PATIENCE_SECONDS) -> Reply:
    return await log.asks.ask(shard, "GetEquity", data, seconds)


async def test_the_owner_of_a_shard_answers_whoever_asks(log: Log, other: Log) -> None:
    async with log.asks.answer(3, echo):
        assert Reply(b"GetEquity question") == await ask(other, 3)


async def test_a_shard_without_an_owner_is_known_at_once(log: Log, other: Log) -> None:
    """Not when a deadline has passed: the question has one of half a minute."""
    async with log.asks.answer(4, echo), asyncio.timeout(PATIENCE_SECONDS / 3):
        with pytest.raises(NoOwner, match="shard 3"):
            await ask(other, 3)
    with pytest.raises(NoOwner):
        await ask(other, 4)


async def test_an_error_of_the_owner_is_an_answer(log: Log, other: Log) -> None:
    async def refuse(_: str, __: bytes) -> Reply:
        raise UnknownAccount(7)

    async with log.asks.answer(3, refuse):
        reply = await ask(other, 3)
    assert (UnknownAccount, b"") == (type(decode_error(reply.status)), reply.data)


async def test_an_owner_that_does_not_answer_in_time_is_none(log: Log, other: Log) -> None:
    """And its own work on the question ends then, too."""
    ended = asyncio.Event()

    async def wait(_: str, __: bytes) -> Reply:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError("never")

    async with log.asks.answer(3, wait):
        with pytest.raises(NoOwner):
            await ask(other, 3, seconds=0.05)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ended.wait()


async def test_who_has_asked_when_a_shard_is_given_up_is_told_so(log: Log, other: Log) -> None:
    """And need not wait for the deadline, to ask whoever has it next."""
    working = asyncio.Event()

    async def wait(_: str, __: bytes) -> Reply:
        working.set()
        await asyncio.Event().wait()
        raise AssertionError("never")

    async with log.asks.answer(3, wait):
        asking = asyncio.create_task(ask(other, 3))
        await working.wait()
    async with asyncio.timeout(PATIENCE_SECONDS / 3):
        with pytest.raises(NoOwner, match="given up"):
            await asking


async def test_questions_are_answered_side_by_side_but_not_all_at_once(
    log: Log, other: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asks, "ANSWERS_AT_ONCE", 4)
    working, most, go = 0, 0, asyncio.Event()

    async def answered(_: str, data: bytes) -> Reply:
        nonlocal working, most
        working += 1
        most = max(most, working)
        if working == 4:
            go.set()
        await go.wait()
        working -= 1
        return Reply(data)

    async with log.asks.answer(3, answered):
        replies = await asyncio.gather(*(ask(other, 3, str(number).encode()) for number in range(20)))
    assert [str(number).encode() for number in range(20)] == [reply.data for reply in replies]
    assert 4 == most


async def test_an_answer_that_is_too_large_says_so(log: Log, other: Log) -> None:
    async def much(_: str, __: bytes) -> Reply:
        return Reply(bytes(9 * 2**20))

    async with log.asks.answer(3, much):
        reply = await ask(other, 3)
    assert Overloaded is type(decode_error(reply.status))


async def test_news_is_heard_in_the_order_it_was_told(log: Log, other: Log) -> None:
    heard: list[tuple[int, bytes]] = []
    async with other.news.hear(lambda shard, data: heard.append((shard, data))):
        for number in range(300):
            log.news.tell(number % 64, str(number).encode())

        async def all_heard() -> bool:
            return len(heard) == 300

        await eventually_true(all_heard, "all news")
    assert [(number % 64, str(number).encode()) for number in range(300)] == heard
    log.news.tell(1, b"late")
    await log.events.last_position()  # what was told is out by then, and nobody hears it
    assert 300 == len(heard)


async def test_news_that_cannot_be_sent_in_time_is_dropped_and_counted(
    log: Log, other: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest first; the numbers that news carries tell whoever hears."""
    monkeypatch.setattr(telling, "NEWS_BYTES_MAX", 20)
    heard: list[bytes] = []
    async with other.news.hear(lambda _, data: heard.append(data)):
        for number in range(5):
            log.news.tell(1, f"number {number}".encode())  # 8 bytes each, and nobody gets a turn in between
        assert 3 == log.dropped_news_count

        async def last_heard() -> bool:
            return heard[-1:] == [b"number 4"]

        await eventually_true(last_heard, "the last news")
    assert [b"number 3", b"number 4"] == heard


async def test_news_is_dropped_while_the_connection_is_down(server: EmbeddedNats, log: Log) -> None:
    """It would be old when it is up again."""
    await server.kill()

    async def is_down() -> bool:
        return not log.is_up

    await eventually_true(is_down, "the connection's loss")
    log.news.tell(1, b"lost")
    assert 1 == log.dropped_news_count


async def test_the_last_value_of_an_account_is_read_by_anyone(log: Log, other: Log) -> None:
    assert await other.last_values.read(3, 77) is None
    log.last_values.keep(3, {77: b"old", 78: b"another"})
    log.last_values.keep(3, {77: b"new"})

    async def newest() -> bool:
        return await other.last_values.read(3, 77) == b"new"

    await eventually_true(newest, "the newest value")
    assert b"another" == await other.last_values.read(3, 78)
    assert await other.last_values.read(4, 77) is None


async def test_last_values_are_kept_through_an_outage(
    server: EmbeddedNats, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest of each account, more of them than go at one time."""
    monkeypatch.setattr(last, "AT_ONCE", 16)
    monkeypatch.setattr(last, "_PAUSE_SECONDS", 0)
    await server.kill()
    log.last_values.keep(3, dict.fromkeys(range(1, 101), b"old"))
    log.last_values.keep(3, dict.fromkeys(range(1, 101), b"new"))
    await server.start()
    for account in range(1, 101):

        async def newest(account: int = account) -> bool:
            return log.is_up and await log.last_values.read(3, account) == b"new"

        await eventually_true(newest, f"the value of account {account}")
