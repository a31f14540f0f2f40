"""
Questions to whoever owns a shard: request and reply of NATS, which knows at once if nobody listens.

The method stands in a header, an error in another: the bodies are messages of whoever asks and answers. Several
questions are answered at a time, and no more; each has the deadline of who asked.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from evs_server.cluster import subjects
from evs_server.cluster.ports import Reply
from evs_server.cluster.statuses import decode_error, encode_error
from evs_server.errors import EvsError, LogUnavailable, NoOwner, Overloaded
from evs_server.log.connect import Connection

ANSWERS_AT_ONCE: Final = 64
"""Questions to one shard that are worked on at one time."""

QUESTIONS_WAITING: Final = 1_024
"""Those that wait behind them; beyond it they are dropped, and who asked runs into its deadline."""

SECONDS_MAX: Final = 900.0
"""No answer is worked on for longer, whatever who asks would wait: all accounts held against the tables."""

LEAVING_SECONDS: Final = 1.0
"""How long it may take to tell those who have asked already that the shard is given up."""

_METHOD: Final = "Evs-Method"
_MILLISECONDS: Final = "Evs-Milliseconds"
_STATUS: Final = "Evs-Status"
_START: Final = "Evs-Start"

Answered = Callable[[str, bytes], Awaitable[Reply]]

logger = logging.getLogger(__name__)


class NatsAsks:
    """Asks and answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ask(self, shard: int, method: str, data: bytes, seconds: float) -> Reply:
        """As ``Asks.ask`` has it."""
        headers = {_METHOD: method, _MILLISECONDS: str(int(1_000 * seconds))}
        try:
            message = await self._connection.request(subjects.ask_of(shard), data, headers, seconds)
        except (LogUnavailable, NoOwner) as failure:
            raise NoOwner(f"shard {shard} does not answer: {failure.message}", shard=shard) from None
        told = message.headers or {}
        status = base64.b64decode(told.get(_STATUS, ""))
        if status:
            error = decode_error(status)
            if isinstance(error, NoOwner):
                raise error
        return Reply(message.data, status, int(told.get(_START, "0")))

    def answer(self, shard: int, answered: Answered) -> AbstractAsyncContextManager[None]:
        """As ``Asks.answer`` has it; an ``EvsError`` of ``answered`` is answered as its status."""
        return self._answering(shard, answered)

    @asynccontextmanager
    async def _answering(self, shard: int, answered: Answered) -> AsyncIterator[None]:
        room, working = asyncio.Semaphore(ANSWERS_AT_ONCE), set[asyncio.Task[None]]()

        def done(task: asyncio.Task[None]) -> None:
            working.discard(task)
            room.release()

        async def received(message: Msg) -> None:
            await room.acquire()
            task = asyncio.create_task(self._reply(message, answered), name=f"answer of shard {shard}")
            working.add(task)
            task.add_done_callback(done)

        subscription = await self._connection.subscribe(
            subjects.ask_of(shard), received, messages_max=QUESTIONS_WAITING
        )
        try:
            yield
        finally:
            # First the servers are to send no more, then what they have sent is begun with, so that all are answered.
            with suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(LEAVING_SECONDS):
                    await subscription.drain()  # type: ignore[no-untyped-call]
            for task in working:
                task.cancel()
            if working:
                await asyncio.wait(working, timeout=LEAVING_SECONDS)

    async def _reply(self, message: Msg, answered: Answered) -> None:
        headers = message.headers or {}
        seconds = min(int(headers.get(_MILLISECONDS, "0")) / 1_000, SECONDS_MAX)
        try:
            async with asyncio.timeout(seconds):
                reply = await answered(headers.get(_METHOD, ""), message.data)
        except EvsError as error:
            reply = Reply(b"", encode_error(error))
        except TimeoutError:
            return  # nobody waits any more
        except asyncio.CancelledError:
            await self._send(message, Reply(b"", encode_error(NoOwner("the shard is given up"))))
            raise
        room = self._connection.client.max_payload
        if len(reply.data) > room:
            reply = Reply(b"", encode_error(Overloaded(f"the answer has {len(reply.data)} bytes, the most is {room}")))
        await self._send(message, reply)

    async def _send(self, question: Msg, reply: Reply) -> None:
        headers = {_STATUS: base64.b64encode(reply.status).decode()} if reply.status else {}
        if reply.start_number:
            headers[_START] = str(reply.start_number)
        with suppress(LogUnavailable):
            await self._connection.publish(question.reply, reply.data, headers or None)
