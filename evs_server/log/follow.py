"""
Reading the log: entries on some subjects, in order and without a gap, at the reader's own pace.

Each reader has a consumer on the servers, which knows where it is and which subjects it wants; it lives in memory and
is made anew, at the next position, whenever it or the way to it is lost. The consumer numbers what it sends, so that a
message lost on the way shows. A reader asks for some entries ahead and for no more than it can hold; the servers keep
the question open until there is something, so nobody polls.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from nats.aio.msg import Msg

from evs_server.cluster.ports import Entry
from evs_server.errors import LogGap, LogUnavailable
from evs_server.log.append import state_of
from evs_server.log.connect import ApiError, Connection, leave
from evs_server.log.streams import EVENTS, PAYLOAD_BYTES_MIN
from evs_server.telemetry.trace import HEADER

AHEAD: Final = 512
"""Entries that a reader asks for at one time; it asks again when half of them are there."""

AHEAD_BYTES: Final = 4 * 2**20
"""The most bytes of one such question."""

HEARTBEAT_SECONDS: Final = 2.0
"""How often a server with nothing to send says so."""

_SILENCE_SECONDS: Final = 5.0
_QUESTION_SECONDS: Final = 30.0
_INACTIVE_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 0.05
_RETRY_SECONDS_MAX: Final = 1.0
_BEHIND_SECONDS: Final = 10.0
"""How long a new leader may take to know all that was in the log."""

_NANOSECONDS: Final = 10**9
_OVER: Final = ("Request Timeout", "Batch Completed", "Exceeds MaxBytes", "Exceeded MaxRequestMaxBytes")

assert AHEAD_BYTES >= PAYLOAD_BYTES_MIN, "an entry larger than a question could never be had"

logger = logging.getLogger(__name__)


async def follow(connection: Connection, subjects: Sequence[str], after: int) -> AsyncGenerator[Sequence[Entry], None]:
    """As ``EventLog.follow`` has it."""
    position, pause_seconds = after, _RETRY_SECONDS
    while True:
        try:
            async with _reader(connection, subjects, position) as reader:
                while True:
                    entries = await reader.next()
                    position, pause_seconds = entries[-1].position, _RETRY_SECONDS
                    yield entries
        except LogUnavailable as error:
            logger.debug("reading %s from %d on is interrupted: %s", subjects, position + 1, error)
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, _RETRY_SECONDS_MAX)
        await connection.wait_up()


class _Reader:
    """One consumer's life: what has come, and what was asked for."""

    def __init__(self, connection: Connection, name: str, inbox: str) -> None:
        self._connection = connection
        self._ask = f"$JS.API.CONSUMER.MSG.NEXT.{EVENTS}.{name}"
        self._inbox = inbox
        self._entries: list[Entry] = []
        self._wanted = 0
        self._received = 0
        self._over = ""
        self._news = asyncio.Event()

    async def next(self) -> Sequence[Entry]:
        """
        All that has come, at least one.

        Raises:
            LogUnavailable: If the consumer, or the way to it, is lost.
        """
        while True:
            if self._wanted <= AHEAD // 2 and not self._over:
                await self._want()
            if self._entries:
                entries, self._entries = self._entries, []
                return entries
            if self._over:
                raise LogUnavailable(self._over)
            self._news.clear()
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                self._over = f"no word for {_SILENCE_SECONDS:g} s"

    def end(self, why: str) -> None:
        """Take note that nothing more will come."""
        self._over = self._over or why
        self._news.set()

    async def received(self, message: Msg) -> None:
        """Take an entry, or what a server says instead of one."""
        headers = message.headers or {}
        self._news.set()
        if "Status" in headers and not message.reply:
            self._told(headers)
            return
        told = message.metadata
        self._received += 1
        if told.sequence.consumer != self._received:
            self.end(f"message {self._received} of the consumer is lost")
        if not self._over:
            self._wanted -= 1
            position, trace = told.sequence.stream, headers.get(HEADER, "")
            self._entries.append(Entry(position, message.subject, message.data, told.num_pending, trace))

    def _told(self, headers: dict[str, str]) -> None:
        status, words = headers["Status"], headers.get("Description", "")
        if status == "100":  # a heartbeat
            return
        if status == "408" or any(each in words for each in _OVER):
            self._wanted -= int(headers.get("Nats-Pending-Messages", self._wanted))
        else:
            self.end(f"{words or 'no consumer'} ({status})")

    async def _want(self) -> None:
        question = {
            "batch": AHEAD,
            "max_bytes": AHEAD_BYTES,
            "expires": int(_QUESTION_SECONDS * _NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * _NANOSECONDS),
        }
        self._wanted += AHEAD
        await self._connection.publish(self._ask, json.dumps(question).encode(), reply=self._inbox)


@asynccontextmanager
async def _reader(connection: Connection, subjects: Sequence[str], after: int) -> AsyncIterator[_Reader]:
    """
    A consumer of what comes after a position, for as long as the context.

    Raises:
        LogGap: If entries beyond ``after`` are gone.
        LogUnavailable: If it cannot be made now.
    """
    name, inbox = uuid.uuid4().hex, connection.client.new_inbox()
    reader = _Reader(connection, name, inbox)
    subscription = await connection.subscribe(inbox, reader.received)
    try:
        with connection.tells_when_lost(lambda: reader.end("the connection is lost")):
            await _make(connection, name, subjects, after)
            yield reader
    finally:
        await leave(subscription)
        # Whatever becomes of this, the servers forget a consumer that nobody asks.
        with suppress(LogUnavailable):
            await connection.publish(f"$JS.API.CONSUMER.DELETE.{EVENTS}.{name}", b"")


async def _make(connection: Connection, name: str, subjects: Sequence[str], after: int) -> None:
    config: dict[str, Any] = {
        "name": name,
        "filter_subjects": list(subjects),
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,
        "ack_policy": "none",
        "inactive_threshold": int(_INACTIVE_SECONDS * _NANOSECONDS),
        "mem_storage": True,
        "num_replicas": 1,
    }
    await _check_end(connection, after)
    try:
        await connection.api(f"CONSUMER.CREATE.{EVENTS}.{name}", {"stream_name": EVENTS, "config": config})
    except ApiError as error:
        raise LogUnavailable(f"no consumer can be made: {error}") from error
    # Only now: what was there when the consumer was made is still there for it, or shows here.
    first = (await state_of(connection))["first_seq"]
    if first > after + 1:
        raise LogGap(
            f"the log begins at position {first}, and position {after + 1} is next: what lies between is gone, longer"
            " ago than the log keeps",
            first=first,
            expected=after + 1,
        )


async def _check_end(connection: Connection, after: int) -> None:
    deadline = asyncio.get_running_loop().time() + _BEHIND_SECONDS
    while (last := (await state_of(connection))["last_seq"]) < after:
        if asyncio.get_running_loop().time() > deadline:
            raise LogGap(
                f"the log ends at position {last}, and position {after} has been read: it has lost its end, or is"
                " another one",
                last=last,
                read=after,
            )
        await asyncio.sleep(_RETRY_SECONDS_MAX)
