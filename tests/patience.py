"""The one shared patience of the tests: how long to wait for something that tells nobody when it comes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

PATIENCE_SECONDS = 90.0
"""Far beyond what anything here takes, a cluster on a busy machine included: only what never comes fails."""

_POLL_SECONDS = 0.02

_T = TypeVar("_T")


def eventually(look: Callable[[], _T], what: str) -> _T:
    """
    The first result of ``look`` that is true.

    Args:
        look: Asked again and again; what it raises is not caught.
        what: What is waited for, to say in the failure.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS} s; last seen {found!r}"
        time.sleep(_POLL_SECONDS)
    return found


async def eventually_true(look: Callable[[], Awaitable[_T]], what: str) -> _T:
    """As ``eventually``, for a ``look`` that awaits; the loop goes on meanwhile."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := await look()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS} s; last seen {found!r}"
        await asyncio.sleep(_POLL_SECONDS)
    return found
