"""
One EVS of the simulation, from start to crash: the pure rooms, a queue for the writer, and what it has made public.

The writer is played step by step: a batch of flushes, merged, is attempted until it is known to be committed.
"""

from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

from evs_server.engine import Engine
from evs_server.errors import StoreUnavailable
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake
from evs_server.ingest.keeping import Keeping
from evs_server.ingest.sequencer import Sequencer
from evs_server.ingest.settled import Settled
from evs_server.limits import TURN_ROWS
from evs_server.model import Flush, Snapshot, Valuation
from evs_server.store.memory import MemoryStore, Tables
from evs_server.store.merge import merge
from tests.builders import NOON_MS, an_engine

T = TypeVar("T")
_OF_ITS_PASS = {"version", "tick", "timestamp_ms", "flags"}


class Told(NamedTuple):
    """A digest of the state, and the numbers of each account's newest snapshot."""

    state_hash: str
    numbers: dict[int, tuple[int, ...]]


def money(snapshot: Snapshot) -> tuple[int, ...]:
    """The numbers of a snapshot, but for those that say which pass it is of."""
    return tuple(value for name, value in asdict(snapshot).items() if name not in _OF_ITS_PASS)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never waits returns."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("the store in memory waited")


class Process:
    """
    Everything that is lost in a crash.

    Args:
        now_ms: The time of its start.
        keeping: Says what is stored; absent: everything.
        waits: Whether a tick that has just completed waits to be captured with what comes after it; absent: none does.

    Attributes:
        published: Passes made public since they were last asked for.
        offered: Number of each flush captured since they were last asked for, and what was told by then.
        has_captured: Of each tick completed since they were last asked for, whether it was captured by itself.
        rows_of: Rows by the number of the flush that carries them.
    """

    def __init__(
        self,
        tables: Tables,
        stale_after_ms: int,
        now_ms: int = NOON_MS,
        keeping: Keeping | None = None,
        waits: Callable[[], bool] = lambda: False,
    ) -> None:
        self.engine: Engine = an_engine(stale_after_ms=stale_after_ms)
        self.sequencer = Sequencer()
        self.clearing = Clearing(self.engine, Settled())
        self.intake = Intake(self.engine, self.sequencer, self.clearing, self, self, keeping)
        self.intake.on_tick = self._end_tick
        self._waits = waits
        self.store = MemoryStore(tables)
        self.published: list[Valuation] = []
        self.offered: list[tuple[int, Told]] = []
        self.has_captured: list[bool] = []
        self.rows_of: dict[int, tuple[Valuation, ...]] = {}
        self.degraded_since_ms: int | None = None
        self._queue: deque[Flush] = deque()
        self._in_flight: tuple[Flush, list[int]] | None = None
        self.recovered = at_once(self.store.recover())
        self.intake.restore(self.recovered)
        self.intake.restate(now_ms)

    def _end_tick(self) -> None:
        is_captured = not (self._waits() and self.intake.join_tick(TURN_ROWS))
        self.has_captured.append(is_captured)
        self.intake.flush_tick()

    def publish(self, valuation: Valuation) -> None:
        """As of ``ValuationSink``."""
        self.published.append(valuation)

    def offer(self, flush: Flush) -> None:
        """As of ``FlushSink``."""
        self._queue.append(flush)
        self.offered.append((flush.number, self.told()))
        self.rows_of[flush.number] = flush.rows

    def told(self) -> Told:
        """Everything that events decide, and what readers are told of it."""
        snapshots = (self.engine.snapshot(account_id) for account_id in self.engine.account_ids().tolist())
        numbers = {each.account_id: money(each) for each in snapshots if each is not None}
        return Told(self.engine.state_hash(), numbers)

    @property
    def has_unwritten(self) -> bool:
        """Whether anything waits for the writer."""
        return self._in_flight is not None or bool(self._queue)

    def attempt(self, flush_count: int, now_ms: int, *, told: bool = True) -> list[int]:
        """
        Try to write the oldest flushes.

        Args:
            flush_count: How many to merge, if none are in flight.
            told: Whether the process lives to hear of it.

        Returns:
            The numbers of the flushes that became durable.
        """
        if self._in_flight is None:
            flushes = [self._queue.popleft() for _ in range(min(flush_count, len(self._queue)))]
            if not flushes:
                return []
            self._in_flight = merge(flushes), [flush.number for flush in flushes]
        flush, numbers = self._in_flight
        try:
            at_once(self.store.write(flush))
        except StoreUnavailable:
            if self.degraded_since_ms is None:
                self.degraded_since_ms = now_ms
            return []
        if told:
            self._in_flight = None
            self.degraded_since_ms = None
            self.sequencer.mark_durable(flush.watermarks)
        return numbers
