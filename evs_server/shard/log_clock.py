"""
What time it is for a reader of the log: that of the batch it applies, until there is nothing more to apply.

Every reader of a batch takes the clock of whoever put it there, so that all shards value it as of the same moment, and
one that reads it again after a crash says the same. Only a reader that has caught up lives in the present.
"""

from evs_server.clock import Clock


class LogClock:
    """
    A ``Clock`` that follows the log.

    Args:
        clock: The machine's.

    Attributes:
        behind: Whether the present has not been reached yet.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._taken_ms = 0
        self.behind = True

    def now_ms(self) -> int:
        """When the last batch was taken, as long as more is to come; else the machine's time."""
        return self._taken_ms if self.behind and self._taken_ms else self._clock.now_ms()

    def monotonic(self) -> float:
        """The machine's: what is waited for is waited for here and now."""
        return self._clock.monotonic()

    def follow(self, taken_ms: int) -> None:
        """Go to the time at which a batch was taken; it is about to be applied."""
        self._taken_ms, self.behind = taken_ms, True

    def catch_up(self) -> None:
        """Go to the present: nothing waits in the log."""
        self.behind = False
