"""How long to wait before the next try: doubling, with jitter. Pure but for its source of chance; the shell sleeps."""

import random
from collections.abc import Callable


class Backoff:
    """
    Delays that double from ``first_s`` to ``max_s``, each shortened by up to a half at random.

    The jitter keeps a thousand clients that lost the same server from coming back in the same millisecond.

    Args:
        first_s: Seconds before the second try, positive.
        max_s: Longest delay in seconds, at least ``first_s``.
        chance: A number in [0, 1), anew with each call.
    """

    def __init__(self, first_s: float, max_s: float, chance: Callable[[], float] = random.random) -> None:
        if not 0 < first_s <= max_s:
            raise ValueError(f"a backoff from {first_s} to {max_s} s cannot be: expected 0 < first <= max")
        self._first_s = first_s
        self._max_s = max_s
        self._chance = chance
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait now; the next answer will be about twice that."""
        delay_s = self._next_s
        self._next_s = min(delay_s * 2, self._max_s)
        return delay_s * (1 - self._chance() / 2)

    def reset(self) -> None:
        """Begin again at the first delay: something worked."""
        self._next_s = self._first_s
