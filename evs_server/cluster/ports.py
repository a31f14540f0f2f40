"""
The seams to the log, and to whoever owns a shard at the moment. Pure; protocols and plain values only.

Rooms of gateways and shards know these; NATS is behind them, in ``evs_server/log``.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """What is put into the log: a subject and bytes."""

    subject: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What is in the log.

    Attributes:
        position: Its place; grows by one over all subjects.
        pending: How many more the same reader could have now; 0: it is at the end.
        trace: Of the call that it came by, as ``traceparent`` has it; empty if none is followed.
    """

    position: int
    subject: str
    data: bytes
    pending: int
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What the owner of a shard answers.

    Attributes:
        data: The answer; empty if it failed.
        status: A serialized ``google.rpc.Status``, or empty if it did not.
        start_number: Of the owner's start: one that has slept may answer though another has taken over. 0: not known.
    """

    data: bytes
    status: bytes = b""
    start_number: int = 0


class EventLog(Protocol):
    """The ordered log that all shards read."""

    async def append(self, parts: Sequence[Message], journal: Message, expected: int, batch_id: str) -> int:
        """
        Put one batch into the log, whole or not at all.

        Args:
            parts: In order; they come before the journal entry, and all of it is contiguous.
            expected: Position of the last entry of the source's journal, whichever subject that is on, or 0.
            batch_id: Tells a second attempt from a second batch.

        Returns:
            The position of the journal entry.

        Raises:
            Superseded: If the last entry of that journal is another; nothing was put in. A batch whose answer was lost
                ends so, too, when it is put in again: its journal entry is then in the log.
            LogUnavailable: If it is not known to be in the log; try again, or follow the journal and see.
        """
        ...

    async def last_position(self) -> int:
        """
        The position of the last entry; 0 if there is none.

        Raises:
            LogUnavailable: If the log is away.
        """
        ...

    def follow(self, subjects: Sequence[str], after: int) -> AsyncGenerator[Sequence[Entry], None]:
        """
        Entries on some subjects beyond a position, in order and without a gap, as many at a time as there are.

        Survives lost connections and servers by itself; an outage is a pause. Ends when it is closed.

        Raises:
            LogGap: If entries beyond ``after`` have been dropped from the log already.
        """
        ...


class News(Protocol):
    """What shards tell everyone, as it happens; may be lost, never out of order from one shard."""

    def tell(self, shard: int, data: bytes) -> None:
        """Tell; returns at once, and drops what cannot be sent now."""
        ...

    def hear(self, heard: Callable[[int, bytes], None]) -> AbstractAsyncContextManager[None]:
        """Have ``heard`` called with shard and data, for as long as the context."""
        ...


class Asks(Protocol):
    """Questions to whoever owns a shard."""

    async def ask(self, shard: int, method: str, data: bytes, seconds: float) -> Reply:
        """
        The owner's answer.

        Raises:
            NoOwner: If nobody owns the shard now, or does not answer in time.
        """
        ...

    def answer(
        self, shard: int, answered: Callable[[str, bytes], Awaitable[Reply]]
    ) -> AbstractAsyncContextManager[None]:
        """Answer questions to a shard, several at a time, for as long as the context."""
        ...


class LastValues(Protocol):
    """The newest valuation of each account, for when nobody owns its shard."""

    def keep(self, shard: int, values: Mapping[int, bytes]) -> None:
        """Replace those of some accounts; returns at once."""
        ...

    async def read(self, shard: int, account_id: int) -> bytes | None:
        """
        That of one account, or None.

        Raises:
            LogUnavailable: If it cannot be read now.
        """
        ...
