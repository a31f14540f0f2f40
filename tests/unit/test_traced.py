"""Which calls a flush carries until it is committed; and what a span says of a failure."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode, TraceFlags

from evs_server.errors import StoreUnavailable
from evs_server.metrics.traced import CALLS_REMEMBERED, LINKS_MAX, Carried, Kinds, kinds
from evs_server.telemetry.spans import Tracing


def a_call(number: int) -> SpanContext:
    return SpanContext(number, number, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def numbers(calls: list[SpanContext]) -> list[int]:
    return [call.span_id for call in calls]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> Iterator[Tracing]:
    made = Tracing(exporter, 1.0)
    yield made
    made.close()


def test_a_call_is_carried_by_the_flush_that_is_captured_next() -> None:
    carried = Carried()
    one, two, three = (a_call(number) for number in (1, 2, 3))
    for call in (one, one, None, two):
        carried.note(call)
    assert [1, 2] == numbers(carried.uncaptured()), "each once, and nobody for those that are not followed"
    carried.capture(10)
    carried.note(three)
    carried.capture(11)
    assert ([], [1, 2], [1, 2, 3]) == tuple(numbers(carried.up_to(number)) for number in (9, 10, 11))


def test_flushes_that_are_written_as_one_carry_the_calls_of_all() -> None:
    carried = Carried()
    for number in (1, 2, 3):
        carried.note(a_call(number))
        carried.capture(number)
    assert [1, 2] == numbers(carried.up_to(2))
    carried.forget(2)
    assert ([], [3]) == (numbers(carried.up_to(2)), numbers(carried.up_to(3)))


def test_what_is_remembered_is_bounded_while_nothing_is_committed() -> None:
    carried = Carried()
    for number in range(2 * CALLS_REMEMBERED):
        carried.note(a_call(number))
        carried.capture(number)
    assert CALLS_REMEMBERED == len(carried._captured)
    newest = range(2 * CALLS_REMEMBERED - LINKS_MAX, 2 * CALLS_REMEMBERED)
    assert list(newest) == numbers(carried.up_to(2 * CALLS_REMEMBERED))


def test_a_commit_that_fails_is_told_by_its_kind_alone(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    """The text of an error may name an account."""

    def attempt() -> None:
        with tracing.shared("evs.commit", [a_call(1)], by_database=True) as told:
            told["evs.rows"] = 3
            raise StoreUnavailable("account 987654321 cannot be stored")

    with pytest.raises(StoreUnavailable):
        attempt()
    tracing.close()
    [span] = exporter.get_finished_spans()
    attributes: Any = span.attributes
    assert ("StoreUnavailable", 3, StatusCode.ERROR) == (
        attributes["error.type"], attributes["evs.rows"], span.status.status_code,
    )  # fmt: skip
    assert "987654321" not in span.to_json()


def test_what_is_done_for_no_followed_call_is_not_followed(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    """A session that rolls by the clock belongs to nobody's trace."""
    with tracing.step("evs.value"), tracing.shared("evs.commit", []):
        pass
    tracing.close()
    assert () == exporter.get_finished_spans()


def test_without_traces_the_rooms_are_the_plain_ones() -> None:
    assert Kinds() == kinds(None)
