"""
Spans of OpenTelemetry: the call, the taking of its batch, valuation, capture, and the commit that made it durable.

Lives here: what a span is called, what it tells, and what it belongs to. Not here: which rooms are followed
(``metrics.traced``), and where spans go (``tracing``, which alone imports this). No account, amount, name of a caller,
token or text of an error is put into a span.

A call is a child of what its caller sends as ``traceparent``. A stream of a sender may last for days: each of its
batches is a trace of its own, sampled by itself, with a link to the span of its stream. In a cluster a batch takes its
trace through the log, and each virtual shard that applies it goes on with it.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Final

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    format_trace_id,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from evs_server.telemetry.trace import HEADER, trace_id_of, traced

Behavior = Callable[[Any, Any], Awaitable[Any]]
Told = dict[str, int]
"""What a span is to tell besides its times, by attribute."""

SERVICE: Final = "evs"
DISTRIBUTION: Final = "equity-valuation-service"

FAULTS: Final = frozenset(
    code.name
    for code in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
"""Statuses that are a server's failure; by all others it has done what it should (semantic conventions of RPC)."""

COMMIT: Final = {"db.system.name": "postgresql", "db.operation.name": "COMMIT"}

_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_PROPAGATED: Final = (HEADER, "tracestate")

_stream: ContextVar[SpanContext | None] = ContextVar("stream", default=None)


def exporter_to(endpoint: str, seconds: int) -> SpanExporter:
    """
    What sends spans to a collector.

    Args:
        endpoint: ``http://host:port``, or ``https://host:port`` by TLS.
        seconds: Deadline of one export.
    """
    return OTLPSpanExporter(endpoint=endpoint, timeout=seconds)


class Tracing:
    """
    Makes the spans of one EVS.

    Args:
        exporter: Takes spans that have ended, in a thread of its own; what it does not take in time is given up.
        ratio: Of the calls whose callers do not say, the share that is followed, 0 to 1.
        service: What the process is called in traces.
    """

    def __init__(self, exporter: SpanExporter, ratio: float, service: str = SERVICE) -> None:
        own = {"service.name": service, "service.version": version(DISTRIBUTION)}
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            # What operators say of the process by OpenTelemetry's own variables counts for more.
            resource=Resource.create(own).merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    def close(self) -> None:
        """Export what has ended, and stop; blocks."""
        self._provider.shutdown()

    def served(self, behavior: Behavior, method: str, *, takes_stream: bool) -> Behavior:
        """
        A method of a gRPC server that is followed from its call to its answer; its log lines carry the trace's id.

        Args:
            behavior: Takes a request, or the requests, and the context.
            method: Its exact name, as in ``/package.Service/Method``.
            takes_stream: Whether it takes many requests; then what it does is not part of its own trace.
        """
        name = method.removeprefix("/")
        attributes = {"rpc.system.name": "grpc", "rpc.method": name}

        async def followed(request: Any, context: Any) -> Any:
            metadata = context.invocation_metadata() or ()
            span = self._tracer.start_span(name, self._callers(metadata), SpanKind.SERVER, attributes)
            own = span.get_span_context()
            trace_id = format_trace_id(own.trace_id) if own.trace_flags.sampled else trace_id_of(metadata)
            around = _within_stream(own) if takes_stream else _going_on(span)
            try:
                with traced(trace_id), around:
                    return await behavior(request, context)
            finally:
                _end_call(span, context)

        return followed

    def current(self) -> SpanContext | None:
        """The span that is going on, if it is one that is followed."""
        span = get_current_span()
        return span.get_span_context() if span.is_recording() else None

    @contextmanager
    def batch(self) -> Iterator[Told]:
        """The taking of one batch: part of its call, or a trace of its own with a link to its stream."""
        stream = _stream.get()
        links = () if stream is None else (Link(stream),)
        with self._ended(self._tracer.start_span("evs.take", links=links)) as told:
            yield told

    @contextmanager
    def from_log(self, trace: str) -> Iterator[Told]:
        """
        The applying of a batch from the log, by one of its readers: part of the trace of the call that put it in.

        Args:
            trace: As ``carried`` has told it; empty: it is not followed, since no reader is the first.
        """
        if not trace:
            yield {}
            return
        context = self._propagator.extract({HEADER: trace}, Context())
        with self._ended(self._tracer.start_span("evs.apply", context, SpanKind.CONSUMER)) as told:
            yield told

    def carried(self) -> str:
        """What is going on, as ``traceparent`` has it, for whoever goes on with it; empty if it is not followed."""
        carrier: dict[str, str] = {}
        if self.current() is not None:
            self._propagator.inject(carrier)
        return carrier.get(HEADER, "")

    @contextmanager
    def step(self, name: str) -> Iterator[Told]:
        """A part of what is going on; followed if that is."""
        if self.current() is None:
            yield {}
            return
        with self._ended(self._tracer.start_span(name)) as told:
            yield told

    @contextmanager
    def shared(self, name: str, calls: Sequence[SpanContext], *, by_database: bool = False) -> Iterator[Told]:
        """
        What is done once for several calls: part of the first one's trace, so that this goes all the way.

        Args:
            calls: Followed ones; it has links to all. Without any it is not followed.
            by_database: Whether it is PostgreSQL that does it.
        """
        if not calls:
            yield {}
            return
        context = set_span_in_context(NonRecordingSpan(calls[0]), Context())
        kind, attributes = (SpanKind.CLIENT, COMMIT) if by_database else (SpanKind.INTERNAL, None)
        links = [Link(call) for call in calls]
        with self._ended(self._tracer.start_span(name, context, kind, attributes, links)) as told:
            yield told

    def _callers(self, metadata: Any) -> Context:
        # What is not understood is as good as none.
        carried = {name: value for name, value in metadata if name in _PROPAGATED and isinstance(value, str)}
        return self._propagator.extract(carried, Context())

    @contextmanager
    def _ended(self, span: Span) -> Iterator[Told]:
        """A span that is going on as long as the context; how it ends is told by kind, never by text."""
        told: Told = {}
        try:
            with _going_on(span):
                yield told
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise
        finally:
            span.set_attributes(told)
            span.end()


def _going_on(span: Span) -> AbstractContextManager[Span]:
    # Neither an error's text nor its stack is to leave the process: it may name an account.
    return use_span(span, record_exception=False, set_status_on_exception=False)


@contextmanager
def _within_stream(span: SpanContext) -> Iterator[None]:
    token = _stream.set(span)
    try:
        yield
    finally:
        _stream.reset(token)


def _end_call(span: Span, context: Any) -> None:
    code = context.code()
    # A number, or the status, or nothing yet if all is well, as gRPC has it at the moment.
    status = "CANCELLED" if context.cancelled() else _CODES.get(getattr(code, "value", (code or 0,))[0], "UNKNOWN")
    span.set_attribute("rpc.response.status_code", status)
    if status in FAULTS:
        span.set_attribute("error.type", status)
        span.set_status(Status(StatusCode.ERROR))
    span.end()
