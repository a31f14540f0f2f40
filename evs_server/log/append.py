"""
Writing the log: one batch, whole or not at all, and only where its journal ends as expected.

All of that is JetStream's: messages with one batch id appear together, and the last entry on a subject can be asked
for in the same step. Ours is to tell its answers apart. An answer that is lost leaves open whether the batch is in the
log; putting it in again decides, since its journal is then no longer where it was.

A batch of one message is put in by itself: a server that keeps no copies elsewhere writes files for every batch of
several, which takes it ten times as long.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from evs_server.cluster.ports import Message
from evs_server.cluster.subjects import whole_journal
from evs_server.errors import LogUnavailable, NoOwner, Superseded
from evs_server.log.connect import REQUEST_SECONDS, ApiError, Connection, answer_of
from evs_server.log.streams import EVENTS
from evs_server.telemetry.trace import HEADER

BATCHES_AT_ONCE: Final = 16
"""Batches of this process on their way: a server holds 50 unfinished ones of one stream, from all gateways."""

BATCH_MESSAGES_MAX: Final = 1_000
"""What a server takes as one batch."""

_WRONG_LAST: Final = (10071, 10164)
_DUPLICATE: Final = 10201
_IN_PROCESS: Final = 10158
_UNDECIDED_SECONDS: Final = 0.02
_NO_MESSAGE: Final = 10037


class Appending:
    """
    Puts batches into the log.

    Args:
        trace: Of what is going on, as ``traceparent`` has it; empty if it is not followed.
    """

    def __init__(self, connection: Connection, trace: Callable[[], str]) -> None:
        self._connection = connection
        self._trace = trace
        self._room = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def append(self, parts: Sequence[Message], journal: Message, expected: int, batch_id: str) -> int:
        """As ``EventLog.append`` has it."""
        assert len(parts) < BATCH_MESSAGES_MAX
        try:
            async with asyncio.timeout(2 * REQUEST_SECONDS), self._room:
                answer = await self._decided(parts, journal, expected, batch_id)
        except TimeoutError:
            raise LogUnavailable(f"batch {batch_id} is not put into the log within {2 * REQUEST_SECONDS:g} s") from None
        except NoOwner:
            raise LogUnavailable(f"there is no stream {EVENTS}, or it has no leader") from None
        except ApiError as error:
            raise LogUnavailable(f"batch {batch_id} is not put into the log: {error}") from error
        position: int = answer["seq"]
        if answer.get("duplicate"):
            raise Superseded(position)
        return position

    async def _decided(
        self, parts: Sequence[Message], journal: Message, expected: int, batch_id: str
    ) -> dict[str, Any]:
        """The answer to a batch, once it is one."""
        while True:
            try:
                return await self._publish(parts, journal, expected, batch_id)
            except ApiError as error:
                if error.code not in (*_WRONG_LAST, _DUPLICATE, _IN_PROCESS):
                    raise
                last = await self.last_on(journal.subject)
                if last != expected or error.code == _DUPLICATE:
                    raise Superseded(last) from error
                # Something else is on its way into that journal, and whether it comes to stand in it is open.
                await asyncio.sleep(_UNDECIDED_SECONDS)

    async def last_on(self, subject: str) -> int:
        """
        The position of the last entry of the journal that a subject belongs to, as the leader knows it; 0 for none.

        Raises:
            LogUnavailable: If the log is away.
        """
        try:
            found = await self._connection.api(f"STREAM.MSG.GET.{EVENTS}", {"last_by_subj": whole_journal(subject)})
        except ApiError as error:
            if error.code == _NO_MESSAGE:
                return 0
            raise LogUnavailable(f"the last entry on {subject} cannot be had: {error}") from error
        position: int = found["message"]["seq"]
        return position

    async def last_position(self) -> int:
        """As ``EventLog.last_position`` has it."""
        return (await state_of(self._connection))["last_seq"]

    async def _publish(
        self, parts: Sequence[Message], journal: Message, expected: int, batch_id: str
    ) -> dict[str, Any]:
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(expected),
            "Nats-Expected-Last-Subject-Sequence-Subject": whole_journal(journal.subject),
            "Nats-Msg-Id": batch_id,
        }
        trace = self._trace()
        carried = {HEADER: trace} if trace else {}
        if parts:
            # A name of its own for each attempt: what an earlier one has left on a server is then no part of this one.
            attempt = uuid.uuid4().hex
            for number, part in enumerate(parts, start=1):
                await self._connection.publish(part.subject, part.data, carried | _in_batch(attempt, number))
            headers |= _in_batch(attempt, len(parts) + 1) | {"Nats-Batch-Commit": "1"}
        return answer_of((await self._connection.request(journal.subject, journal.data, headers | carried)).data)


def _in_batch(batch: str, number: int) -> dict[str, str]:
    return {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}


async def state_of(connection: Connection) -> dict[str, int]:
    """
    Where the log begins and ends: ``first_seq`` and ``last_seq``, among others.

    Raises:
        LogUnavailable: If the log is away.
    """
    try:
        state: dict[str, int] = (await connection.api(f"STREAM.INFO.{EVENTS}", {}))["state"]
    except ApiError as error:
        raise LogUnavailable(f"stream {EVENTS} cannot be looked at: {error}") from error
    return state
