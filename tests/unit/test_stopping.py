"""Waiting for something that a stop may cut short."""

import asyncio

import pytest

from evs_server.stopping import unless_stopped


async def test_work_that_ends_first_gives_its_result() -> None:
    """Then nothing was cut short."""

    async def work() -> int:
        return 7

    assert 7 == await unless_stopped(asyncio.Event(), work())


async def test_a_stop_cancels_the_work_and_waits_for_its_end() -> None:
    """On return the work has tidied up."""
    stop = asyncio.Event()
    steps = []

    async def work() -> int:
        stop.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("tidied up")
        return 7

    assert None is await unless_stopped(stop, work())
    assert ["tidied up"] == steps


async def test_what_the_work_raises_is_raised() -> None:
    """Before a stop."""

    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await unless_stopped(asyncio.Event(), work())


async def test_being_cancelled_oneself_ends_the_work_too() -> None:
    """Nothing goes on behind the back of whoever gave up."""
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(unless_stopped(asyncio.Event(), work()))
    await begun.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert ended.is_set()
