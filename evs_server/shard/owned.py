"""
What a worker and what it owns know of each other. Values and a protocol; touches nothing.

Lives here: what all virtual shards of a worker have in common, and what it wants of each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from evs_server.clock import Clock
from evs_server.cluster.ports import Asks, EventLog, LastValues, News
from evs_server.config import Settings
from evs_server.ingest.tally import Tally
from evs_server.metrics.traced import Kinds
from evs_server.model import Flush
from evs_server.ports import ExchangeLedger
from evs_server.store.postgres import PostgresStore
from evs_server.store.writer import WriterLimits

WRITER_LIMITS: Final = WriterLimits(
    transaction_bytes=8 * 2**20,
    queue_rows=131_072,
    spool_bytes=16 * 2**20,
    queue_bytes=16 * 2**20,
    pace_seconds=0.0,
)
"""Of the writer of one virtual shard. A worker may have 65: smaller queues; and a pace is what they have together."""


@dataclass(frozen=True, slots=True)
class Common:
    """
    What the virtual shards of one worker have in common.

    Attributes:
        settings: What an operator has set.
        clock: The machine's.
        owner: What the worker calls itself.
        event_log: Where events come from.
        news: Who is told what becomes of them.
        asks: Who asks.
        last_values: What can be read while nobody answers.
        ledgers: The exchange's tables, as operators have them looked at.
        store: The slice of one virtual shard, which commits on the connection that holds its lock.
        began: Told of each virtual shard's start number, once it has one.
        kinds: What makes the rooms of one of them that can be followed.
        on_durable: Told of each committed flush.
        tally: What became of the events of all that it has, or had: no count falls when one of them moves.
    """

    settings: Settings
    clock: Clock
    owner: str
    event_log: EventLog
    news: News
    asks: Asks
    last_values: LastValues
    ledgers: ExchangeLedger
    store: Callable[[int], PostgresStore]
    began: Callable[[int, int], None]
    kinds: Callable[[], Kinds]
    on_durable: Callable[[Flush], None]
    tally: Tally


@dataclass(frozen=True, slots=True)
class ShardStatistics:
    """
    How one virtual shard is.

    Attributes:
        applied: The position in the log up to which it has applied everything.
        committed: The same of what is committed.
        pending_count: Entries of the log that it has yet to take.
        lag_seconds: How old the newest batch is that it has applied, if others wait; 0 if none does.
        oldest_age_ms: How long the oldest of what it has applied has waited to be committed.
        degraded: Whether what it applies does not get committed.
        violation_count: Valuations that contradicted themselves.
        set_aside_row_count: Rows that PostgreSQL refused.
    """

    applied: int
    committed: int
    pending_count: int
    lag_seconds: float
    oldest_age_ms: int
    degraded: bool
    violation_count: int = 0
    set_aside_row_count: int = 0


class Owned(Protocol):
    """A virtual shard that this worker owns, the keeper being one."""

    async def start(self) -> None:
        """
        Go on where whoever owned it before has stopped.

        Raises:
            EvsError: If that is not possible now.
        """
        ...

    async def failure(self) -> BaseException:
        """Why it cannot go on; waits until that is so."""
        ...

    def fail(self, error: BaseException) -> None:
        """Have it not go on."""
        ...

    async def stop(self, seconds: float) -> int:
        """
        Take nothing more, and commit what was taken.

        Returns:
            The number of flushes that could not be committed in time: the next owner reads those events again.
        """
        ...

    async def drop(self) -> None:
        """Let go of everything, whatever state it is in; what is not committed is read again by the next owner."""
        ...

    def statistics(self) -> ShardStatistics:
        """How it is, now."""
        ...
