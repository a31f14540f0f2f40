"""What the bridge runs through for a value: counted, since a time proves nothing on a machine that does other work."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType

import pytest

from evs_server.bridge import codec, frames
from evs_server.bridge.connection import Connection
from evs_server.bridge.framing import text_frame
from evs_server.bridge.session import Session
from tests.integration.bridge_world import QUICK, World, a_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A scripted EVS; each test opens the bridge it needs."""
    async with a_world(tmp_path) as world:
        yield world


@contextmanager
def counted() -> Iterator[Counter[CodeType]]:
    """How often each function is entered meanwhile; a coroutine also each time that it goes on."""
    entered: Counter[CodeType] = Counter()

    def note(frame: FrameType, event: str, _what: object) -> None:
        if event == "call":
            entered[frame.f_code] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield entered
    finally:
        sys.setprofile(before)


async def test_a_value_is_read_and_made_into_a_frame_once_and_wakes_no_writer(world: World) -> None:
    """However many browsers follow its account, as long as they keep up."""
    await world.open_bridge(replace(QUICK, push_interval_s=0.0))
    browsers = [await world.browser(7, subscribe=True) for _ in range(3)]
    world.evs.push(7, 2)
    assert [2, 2, 2] == [(await browser.push("equity"))["version"] for browser in browsers]
    with counted() as entered:
        world.evs.push(7, 3)
        assert [3, 3, 3] == [(await browser.push("equity"))["version"] for browser in browsers]
    once = (codec.decode_update, frames.equity, text_frame)
    assert [1, 1, 1] == [entered[function.__code__] for function in once]
    assert 3 == entered[Connection.deliver.__code__]
    assert 0 == entered[Session.take.__code__], "one look at the session is enough"
    assert 0 == entered[Connection._write.__code__], "a task woken costs as much as the frame"


async def test_a_value_that_had_to_wait_is_sent_when_its_time_has_come_and_wakes_no_writer_either(world: World) -> None:
    await world.open_bridge(replace(QUICK, push_interval_s=0.2))
    browser = await world.browser(7, subscribe=True)
    world.evs.push(7, 2)
    await browser.push("equity", version=2)
    with counted() as entered:
        world.evs.push(7, 3)
        await browser.push("equity", version=3)
    assert 0 == entered[Connection._write.__code__]
