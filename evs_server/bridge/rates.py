"""
How fast one browser may go on. Pure; times are handed in, in seconds of a clock that never steps back.

Lives here: counting. Not here: the bounds (``policy``), what happens at one (``session``).
"""

from collections import deque

from evs_server.bridge.policy import Policy


class Rates:
    """
    What one browser has used up of what it may.

    Args:
        policy: The bounds.
        now: When it came.
    """

    def __init__(self, policy: Policy, now: float) -> None:
        self._policy = policy
        self._malformed_at: deque[float] = deque(maxlen=policy.malformed_max + 1)
        self._subscribed_at: deque[float] = deque(maxlen=policy.subscribes_per_second)
        self._credit = float(policy.messages_per_minute)
        self._credited_at = now

    def spend(self, now: float) -> int | None:
        """Count a message; None if it may be taken, else in how many milliseconds the next may."""
        rate = self._policy.messages_per_minute
        self._credit = min(float(rate), self._credit + (now - self._credited_at) * rate / 60)
        self._credited_at = now
        if self._credit < 1:
            return int((1 - self._credit) * 60_000 / rate) + 1
        self._credit -= 1
        return None

    def forgive(self, now: float) -> bool:
        """Count a message that makes no sense; False if it is one too many."""
        self._malformed_at.append(now)
        allowed, window_s = self._policy.malformed_max, self._policy.malformed_window_s
        return len(self._malformed_at) <= allowed or now - self._malformed_at[0] > window_s

    def subscribe(self, now: float) -> bool:
        """Count a subscription; False, and nothing counted, if it comes too soon."""
        if len(self._subscribed_at) == self._policy.subscribes_per_second and now - self._subscribed_at[0] < 1:
            return False
        self._subscribed_at.append(now)
        return True
