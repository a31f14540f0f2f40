"""
How late the event loop is: everything on it waits at least as long (FAULTS F25). Touches the loop's clock.

A timer rings ten times a second and looks how late it does. While the loop stands still nothing can be measured; the
first ring afterwards counts all of it.
"""

import asyncio
from typing import Final

from evs_server.telemetry.distribution import LAG_SECONDS, Distribution

PROBE_SECONDS: Final = 0.1


class LoopLag:
    """
    Measures the loop that it is started on.

    Attributes:
        seconds: How late each ring was.
    """

    def __init__(self) -> None:
        self.seconds = Distribution(LAG_SECONDS)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        loop = asyncio.get_running_loop()
        due = loop.time() + PROBE_SECONDS
        self._timer = loop.call_at(due, self._ring, loop, due)

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self.seconds.observe(max(loop.time() - due, 0.0))
        self.start()
