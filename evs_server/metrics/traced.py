"""
The rooms on the way from a call to its commit, followed by spans: the same results, and a trace.

Made in the place of their plain kin, and only where traces are asked for; for each core anew. Which calls a flush of it
carries is noted here, by the flush's number: rooms, flushes and files know nothing of traces.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from evs_server.ingest.course import Course
from evs_server.ingest.gate import Gate
from evs_server.ingest.intake import Intake, Outcome
from evs_server.metrics.measured import MeasuredEngine
from evs_server.model import Batch, Flush, Valuation
from evs_server.store.merge import row_count
from evs_server.store.writer import Writer

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from evs_server.telemetry.spans import Tracing

CALLS_REMEMBERED: Final = 4_096
"""Followed calls whose commit is awaited; while the database is away the oldest are given up, and end without one."""

LINKS_MAX: Final = 128
"""Calls that one span has links to: what OpenTelemetry keeps by default. Of more, the newest."""


class Carried:
    """The followed calls of each flush until it is committed, and those whose flush is yet to be captured."""

    def __init__(self) -> None:
        self._uncaptured: deque[SpanContext] = deque(maxlen=CALLS_REMEMBERED)
        self._captured: deque[tuple[int, SpanContext]] = deque(maxlen=CALLS_REMEMBERED)

    def note(self, call: "SpanContext | None") -> None:
        """A call changes something that the next flush is to hold."""
        if call is not None and (not self._uncaptured or self._uncaptured[-1] is not call):
            self._uncaptured.append(call)

    def uncaptured(self) -> "list[SpanContext]":
        """The calls that the next flush carries."""
        return list(self._uncaptured)[-LINKS_MAX:]

    def capture(self, number: int) -> None:
        """They are in the flush of this number."""
        self._captured.extend((number, call) for call in self._uncaptured)
        self._uncaptured.clear()

    def up_to(self, number: int) -> "list[SpanContext]":
        """The calls that are durable once the flush of this number is: several flushes may be written as one."""
        return [call for captured, call in self._captured if captured <= number][-LINKS_MAX:]

    def forget(self, number: int) -> None:
        """The flush of this number is committed."""
        while self._captured and self._captured[0][0] <= number:
            self._captured.popleft()


class TracedEngine(MeasuredEngine):
    """An engine whose valuations and captures are parts of a trace."""

    def __init__(self, *arguments: Any, tracing: "Tracing", **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._tracing = tracing

    def complete_tick(self, tick: int, tick_time_ms: int, now_ms: int, *, degraded: bool = False) -> list[Valuation]:
        """As ``Engine.complete_tick``."""
        with self._tracing.step("evs.value") as told:
            passes = super().complete_tick(tick, tick_time_ms, now_ms, degraded=degraded)
            told["evs.tick"] = tick
            told["evs.accounts_valued"] = sum(len(made) for made in passes)
        return passes


class TracedIntake(Intake):
    """An intake that notes which calls a flush carries."""

    def __init__(self, *arguments: Any, tracing: "Tracing", carried: Carried, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._tracing, self._carried = tracing, carried

    def flush(self) -> None:
        """As ``Intake.flush``."""
        with self._tracing.shared("evs.capture", self._carried.uncaptured()):
            super().flush()

    def _advance(self, course: Course, end: int) -> None:
        # Between two calls of this lie the events of one flush, and of one call.
        if end > course.advanced:
            self._carried.note(self._tracing.current())
        super()._advance(course, end)


class TracedGate(Gate):
    """A gate that follows the taking of each batch, looking up its accounts included."""

    takes_singly = False

    def __init__(self, *arguments: Any, tracing: "Tracing", **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._tracing = tracing

    async def take(self, batch: Batch) -> Outcome:
        """As ``Gate.take``."""
        with self._tracing.from_log(batch.trace) if batch.position else self._tracing.batch() as told:
            told["evs.events"] = len(batch)
            outcome = await super().take(batch)
            told["evs.duplicates"] = outcome.duplicate_count
            told["evs.refusals"] = len(outcome.refusals)
        return outcome


class TracedWriter(Writer):
    """A writer whose commits have links to the calls that they make durable."""

    def __init__(self, *arguments: Any, tracing: "Tracing", carried: Carried, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._tracing, self._carried = tracing, carried

    def offer(self, flush: Flush) -> None:
        """As ``Writer.offer``."""
        self._carried.capture(flush.number)
        super().offer(flush)

    async def _write(self, flush: Flush) -> None:
        calls = self._carried.up_to(flush.number)
        with self._tracing.shared("evs.commit", calls, by_database=True) as told:
            told["evs.flush_number"] = flush.number
            told["evs.rows"] = row_count(flush)
            await super()._write(flush)
        self._carried.forget(flush.number)


class Kinds(NamedTuple):
    """What makes the rooms on the way from a call to its commit."""

    engine: Callable[..., MeasuredEngine] = MeasuredEngine
    intake: Callable[..., Intake] = Intake
    gate: Callable[..., Gate] = Gate
    writer: Callable[..., Writer] = Writer


def kinds(tracing: "Tracing | None") -> Kinds:
    """The rooms as they are or, with traces, those that are followed."""
    if tracing is None:
        return Kinds()
    carried = Carried()
    return Kinds(
        partial(TracedEngine, tracing=tracing),
        partial(TracedIntake, tracing=tracing, carried=carried),
        partial(TracedGate, tracing=tracing),
        partial(TracedWriter, tracing=tracing, carried=carried),
    )
