"""A collector of traces: what EVS sends it, kept to be looked at."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector that keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}

    async def Export(self, request: trace_service_pb2.ExportTraceServiceRequest, _context: Any) -> Any:  # noqa: N802
        for each in request.resource_spans:
            self.resource = {item.key: item.value.string_value for item in each.resource.attributes}
            self.spans += [span for scope in each.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def only(self, name: str) -> Span:
        [span] = self.named(name)
        return span


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    """A collector, and its address."""
    collector, server = Collector(), grpc.aio.server()
    add_to: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server  # generated, without types
    add_to(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)


def told(span: Span) -> Mapping[str, str | int]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}
