"""Messages of a stream, read ahead of whoever takes them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from evs_server.errors import Malformed
from evs_server.ingest.ahead import MESSAGES_MAX, Ahead, Awake
from tests.serving import within_patience


class Sent:
    """Messages as a sender sends them, and how many of them have been read."""

    def __init__(self, *messages: str, end: Exception | None = None) -> None:
        self.messages = messages
        self.end = end
        self.read_count = 0

    async def __aiter__(self) -> AsyncIterator[str]:
        for message in self.messages:
            self.read_count += 1
            yield message
        if self.end is not None:
            raise self.end


async def taken(ahead: Ahead[str], awake: Awake) -> str:
    """The next message, as soon as it has come."""
    while (message := ahead.take()) is None:
        await within_patience(awake.wait())
    return message


async def settled() -> None:
    """Return when every task has had its turn, more than once."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_messages_come_out_in_the_order_in_which_they_were_sent() -> None:
    awake = Awake()
    ahead = Ahead(aiter(Sent("a", "b", "c")), awake)
    assert ["a", "b", "c"] == [await taken(ahead, awake) for _ in range(3)]
    await within_patience(awake.wait())
    assert ahead.is_over


async def test_messages_are_read_before_anybody_asks_for_them_but_few() -> None:
    sent = Sent("a", "b", "c", "d")
    ahead = Ahead(aiter(sent), Awake())
    await settled()
    assert MESSAGES_MAX == sent.read_count
    assert "a" == ahead.take()
    await settled()
    assert MESSAGES_MAX + 1 == sent.read_count
    ahead.close()


async def test_what_has_yet_to_come_is_none_and_the_stream_is_not_over() -> None:
    ahead = Ahead(aiter(Sent("a")), Awake())
    assert (None, False) == (ahead.take(), ahead.is_over)
    ahead.close()


async def test_what_cannot_be_read_is_told_when_all_before_it_is_taken() -> None:
    awake = Awake()
    ahead = Ahead(aiter(Sent("a", end=Malformed("the second cannot be parsed"))), awake)
    await settled()
    assert not ahead.is_over
    assert "a" == await taken(ahead, awake)
    await settled()
    with pytest.raises(Malformed, match="the second"):
        _ = ahead.is_over


async def test_a_stream_that_is_closed_reads_nothing_more() -> None:
    sent = Sent("a", "b", "c")
    ahead = Ahead(aiter(sent), Awake())
    await settled()
    ahead.close()
    ahead.take()
    await settled()
    assert MESSAGES_MAX == sent.read_count
