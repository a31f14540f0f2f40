"""
Whose request is being served: the trace id that its caller sent, for the log lines that are written meanwhile.

Lives here: reading ``traceparent`` (W3C Trace Context, version 00) and remembering it as long as the call. Not here:
spans (``spans``), which an operator may switch on. A header that is not understood is as good as none. Pure but for the
context of the task.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

HEADER: Final = "traceparent"

_VALUE: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.{0,256})?")
_NOBODYS: Final = "0" * 32

_trace_id: ContextVar[str] = ContextVar("trace_id", default="")


def current_trace_id() -> str:
    """The trace of the call that is being served; empty outside of one, or if its caller sent none."""
    return _trace_id.get()


def trace_id_of(metadata: Iterable[tuple[str, Any]]) -> str:
    """The trace id that a call's metadata holds; empty if there is none, or none that is understood."""
    for name, value in metadata:
        if name == HEADER and isinstance(value, str) and (found := _VALUE.fullmatch(value)) is not None:
            return "" if found[1] == _NOBODYS else found[1]
    return ""


@contextmanager
def traced(trace_id: str) -> Iterator[None]:
    """A context, of one task, in which log lines carry a trace id."""
    token = _trace_id.set(trace_id)
    try:
        yield
    finally:
        _trace_id.reset(token)


def with_trace(behavior: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    """A method of a gRPC server whose log lines carry its caller's trace id."""

    async def traced_behavior(request: Any, context: Any) -> Any:
        trace_id = trace_id_of(context.invocation_metadata() or ())
        if not trace_id:
            return await behavior(request, context)
        with traced(trace_id):
            return await behavior(request, context)

    return traced_behavior
