"""A caller's trace id: read where it is well formed, carried by the lines of its call, and by no other."""

import asyncio

import pytest

from evs_server.telemetry.trace import current_trace_id, trace_id_of, traced

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f"01-{TRACE}-{SPAN}-01-more", TRACE),  # a later version may say more
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE.upper()}-{SPAN}-01", ""),
        (f"00-{TRACE}-{SPAN}", ""),
        (f"00-{TRACE}-{SPAN}-01\nforged line", ""),
        ("", ""),
    ],
)
def test_a_trace_id_is_read_where_it_is_well_formed(header: str, trace_id: str) -> None:
    """What is not understood is as good as none, and never reaches a log."""
    assert trace_id == trace_id_of([("user-agent", "x"), ("traceparent", header)])


async def test_each_call_has_its_own() -> None:
    """Calls are served at the same time; their ids do not mix, and none is left behind."""
    seen = {}

    async def serve(trace_id: str) -> None:
        with traced(trace_id):
            await asyncio.sleep(0)
            seen[trace_id] = current_trace_id()

    ids = [TRACE, TRACE[::-1]]
    await asyncio.gather(*(serve(each) for each in ids))
    assert {each: each for each in ids} == seen
    assert "" == current_trace_id()
