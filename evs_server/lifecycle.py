"""
Which phase of its life the process is in: following, recovering, serving, stopping. Pure; one object, owned by ``app``.

Every method of the contract asks it first, and long-lived streams ask it each time they wake.
"""

from collections.abc import Callable
from enum import Enum

from evs_server.errors import Following, Recovering, ShuttingDown


class Phase(Enum):
    """What the process is doing."""

    FOLLOWING = "following"
    RECOVERING = "recovering"
    SERVING = "serving"
    STOPPING = "stopping"


class Lifecycle:
    """The current phase, and who wants to know when it changes."""

    def __init__(self) -> None:
        self.phase = Phase.RECOVERING
        self._leader = ""
        self._listeners: list[Callable[[Phase], None]] = []

    def on_change(self, listener: Callable[[Phase], None]) -> None:
        """Call a listener at each change; there are as many as rooms, never one per connection."""
        self._listeners.append(listener)

    def enter(self, phase: Phase) -> None:
        """Go to another phase; from ``STOPPING`` there is no way back."""
        if self.phase is Phase.STOPPING:
            return
        self.phase = phase
        for listener in self._listeners:
            listener(phase)

    def follow(self, leader: str) -> None:
        """Go to ``FOLLOWING``; callers are told who leads."""
        self._leader = leader
        self.enter(Phase.FOLLOWING)

    def require_serving(self) -> None:
        """
        Return if requests are served.

        Raises:
            Following: If another EVS does.
            Recovering: If not yet.
            ShuttingDown: If no longer.
        """
        if self.phase is Phase.FOLLOWING:
            raise Following(self._leader)
        if self.phase is Phase.RECOVERING:
            raise Recovering("EVS is reading its state and does not serve yet; retry with backoff")
        if self.phase is Phase.STOPPING:
            raise ShuttingDown("EVS is shutting down; retry with backoff, another one may take over")
