"""When a stream owes a heartbeat, and when its reader is given up."""

import asyncio
from typing import Any

import pytest

from evs_server.errors import Overloaded
from evs_server.fanout import pulse as pulse_module
from evs_server.fanout.pulse import Pulse
from tests.patience import PATIENCE_SECONDS

LONG = 3_600.0


class Line:
    """What a message is written to; it takes messages while it is free."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.taken: list[Any] = []

    async def write(self, message: Any) -> None:
        await self.free.wait()
        self.taken.append(message)


async def test_a_quiet_stream_is_woken_again_and_again() -> None:
    awake = asyncio.Event()
    async with asyncio.timeout(PATIENCE_SECONDS), Pulse(0.01, awake.set) as pulse:
        for _ in range(3):
            await awake.wait()
            awake.clear()
            assert pulse.is_quiet


async def test_a_stream_that_has_just_spoken_is_not_quiet() -> None:
    line: Any = Line()
    async with Pulse(LONG, lambda: None) as pulse:
        await pulse.write(line, "news")
        assert (["news"], False) == (line.taken, pulse.is_quiet)


async def test_a_reader_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_module, "STUCK_READER_SECONDS", 0.01)
    line: Any = Line()
    line.free.clear()
    with pytest.raises(Overloaded, match=r"took no message for 0\.01 s"):
        async with asyncio.timeout(PATIENCE_SECONDS), Pulse(LONG, lambda: None) as pulse:
            await pulse.write(line, "news")
    assert [] == line.taken


async def test_who_cancels_a_stream_is_not_told_that_its_reader_was_stuck() -> None:
    line: Any = Line()
    line.free.clear()

    async def stream() -> None:
        async with Pulse(LONG, lambda: None) as pulse:
            await pulse.write(line, "news")

    streaming = asyncio.create_task(stream())
    await asyncio.sleep(0)
    streaming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await streaming


async def test_what_fails_in_a_stream_leaves_it_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with Pulse(LONG, lambda: None):
            raise ZeroDivisionError
