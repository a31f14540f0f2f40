"""
Places where a test may have this process killed: between two steps that must not be told apart after a crash.

``EVS_FAILPOINT=after-commit:3`` kills the process, as ``kill -9`` would, the third time it comes to that place. Without
it, and in every deployment, ``hit`` is a comparison that fails. No rules live here, and nothing may depend on it.
"""

import os
import signal
from typing import Final

AFTER_TICK: Final = "after-tick"
"""A tick is valued and published; no flush holds it."""

AFTER_CAPTURE: Final = "after-capture"
"""A flush is captured; the writer has not been told."""

BEFORE_WRITE: Final = "before-write"
"""A transaction is open, and nothing is written in it."""

BEFORE_COMMIT: Final = "before-commit"
"""Everything is written, and nothing committed."""

AFTER_COMMIT: Final = "after-commit"
"""Everything is committed; nobody knows it."""

ALL: Final = (AFTER_TICK, AFTER_CAPTURE, BEFORE_WRITE, BEFORE_COMMIT, AFTER_COMMIT)

_armed, _, _count = os.environ.get("EVS_FAILPOINT", "").partition(":")
_left = int(_count or 1)


def hit(name: str) -> None:
    """Come to a place; does nothing unless a test has armed it."""
    global _left  # noqa: PLW0603 -- one process, one failpoint
    if name == _armed:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)
