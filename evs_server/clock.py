"""The only room that reads the clock. Everything else is handed a ``Clock``, so that tests may set the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now_ms(self) -> int:
        """Wall time in unix milliseconds; may step."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start; never steps back."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Wall time in unix milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since some start."""
        return time.monotonic()
