"""How the guard runs a sender's stream: answers are written while the method goes on, and nothing else changes."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from evs_server.access.answers import ANSWERS_MAX
from evs_server.errors import InvalidRequest
from tests.guarded import Context, Server, guarded
from tests.serving import SetClock, until, within_patience

SERVICE = "evs.v1.EquityValuationService"
Method = Callable[[Any, Any], Any]


class Caller(Context):
    """A caller that takes answers when it is let; what it was told, in order."""

    def __init__(self) -> None:
        self.takes = asyncio.Event()
        self.told: list[str] = []

    async def send_initial_metadata(self, _: Any) -> None:
        pass

    async def write(self, response: str, /) -> None:
        await self.takes.wait()
        self.told.append(response)

    async def abort_with_status(self, status: Any) -> None:
        self.told.append(status.code.name)
        raise grpc.aio.AbortError


async def no_requests() -> AsyncIterator[bytes]:
    """A sender that has nothing to say."""
    return
    yield b""


async def all_have_had_their_turn() -> None:
    """Return when every task has gone on, more than once."""
    for _ in range(10 + 2 * ANSWERS_MAX):
        await asyncio.sleep(0)


def served(method: str, behavior: Method) -> Method:
    """A streaming method behind the guard, as gRPC calls it."""
    server = Server()
    handler: Any = grpc.stream_stream_rpc_method_handler(behavior)
    guarded(server, SetClock()).add_registered_method_handlers(SERVICE, {method: handler})
    run: Method = server.handler(f"/{SERVICE}/{method}").stream_stream
    return run


@pytest.mark.parametrize(("method", "made_count"), [("StreamEvents", ANSWERS_MAX + 1), ("WatchEquity", 1)])
async def test_a_senders_stream_goes_on_while_answers_are_written_but_not_far_and_a_readers_does_not(
    method: str, made_count: int
) -> None:
    """Who follows values gets the newest there is when there is room for it, and none that was made before."""
    made: list[str] = []
    every = [f"{number}" for number in range(2 * ANSWERS_MAX)]

    async def answers(_: Any, __: Any) -> AsyncIterator[str]:
        for answer in every:
            made.append(answer)
            yield answer

    context = Caller()
    running = asyncio.ensure_future(served(method, answers)(no_requests(), context))
    await until(lambda: len(made) >= made_count)
    await all_have_had_their_turn()
    assert (made_count, []) == (len(made), context.told)
    context.takes.set()
    await within_patience(running)
    assert every == context.told


async def test_an_answer_is_being_written_before_its_stream_goes_on() -> None:
    """What it goes on with may take a while, and its sender waits for the answer."""
    told_before: list[int] = []
    context = Caller()
    context.takes.set()

    async def answers(_: Any, __: Any) -> AsyncIterator[str]:
        for answer in ("a", "b", "c"):
            yield answer
            told_before.append(len(context.told))

    await within_patience(served("StreamEvents", answers)(no_requests(), context))
    assert [1, 2, 3] == told_before


async def test_a_stream_whose_answer_cannot_be_written_is_over() -> None:
    """Also if it waits for room at that moment: nothing will ever be taken."""
    made: list[int] = []

    async def answers(_: Any, __: Any) -> AsyncIterator[str]:
        for number in range(3 * ANSWERS_MAX):
            made.append(number)
            yield "a"

    class Broken(Caller):
        async def write(self, _: str, /) -> None:
            await self.takes.wait()
            raise grpc.aio.UsageError("nothing can be written")

        async def abort(self, code: grpc.StatusCode, _: str) -> None:
            self.told.append(code.name)
            raise grpc.aio.AbortError

    context = Broken()
    running = asyncio.ensure_future(served("StreamEvents", answers)(no_requests(), context))
    await all_have_had_their_turn()
    context.takes.set()
    with pytest.raises(grpc.aio.AbortError):
        await within_patience(running)
    assert (ANSWERS_MAX + 1, ["INTERNAL"]) == (len(made), context.told)


async def test_what_ends_a_stream_is_told_after_every_answer_before_it() -> None:
    async def answers(_: Any, __: Any) -> AsyncIterator[str]:
        yield "a"
        raise InvalidRequest("runs", "a run holds no events")

    context = Caller()
    running = asyncio.ensure_future(served("StreamEvents", answers)(no_requests(), context))
    await asyncio.sleep(0)
    context.takes.set()
    with pytest.raises(grpc.aio.AbortError):
        await within_patience(running)
    assert ["a", "INVALID_ARGUMENT"] == context.told


async def test_a_caller_that_takes_nothing_does_not_keep_a_stream_from_ending() -> None:
    """Its token has expired, or the server stops: its last answer is given up."""

    async def answers(_: Any, __: Any) -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    context = Caller()
    running = asyncio.ensure_future(served("StreamEvents", answers)(no_requests(), context))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within_patience(running)
    assert [] == context.told


async def test_of_an_answer_to_a_caller_that_has_left_nothing_is_said() -> None:
    """Its stream is cancelled; that the last answer could not be written is nothing that somebody forgot to ask."""
    said: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context["message"]))

    async def answers(_: Any, __: Any) -> AsyncIterator[str]:
        yield "a"
        await asyncio.Event().wait()

    class Left(Caller):
        async def write(self, _: str, /) -> None:
            raise grpc.aio.InternalError("the call is over")

    async def leave() -> None:
        running = asyncio.ensure_future(served("StreamEvents", answers)(no_requests(), Left()))
        await all_have_had_their_turn()
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()

    await leave()
    gc.collect()
    assert [] == said


async def test_a_method_that_writes_by_itself_is_only_awaited() -> None:
    async def writes(_: Any, context: Caller) -> None:
        await context.write("a")

    context = Caller()
    context.takes.set()
    await within_patience(served("StreamEvents", writes)(no_requests(), context))
    assert ["a"] == context.told
