"""
How measured times and sizes are distributed, for a histogram. Pure.

Kept apart from the metrics' library so that measuring costs a fraction of a microsecond: one bisection, two additions,
no lock. Each is written and read on one event loop.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

TICK_SECONDS: Final = (
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""From the valuation of a handful of accounts to what nobody should ever wait for."""

LAG_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From a loop that has nothing to do to one that cannot be relied upon."""

ROWS: Final = (0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


class Distribution:
    """
    Counts of measured values by size.

    Args:
        bounds: Upper ends of the buckets, included, ascending; a last one without an end comes by itself.

    Attributes:
        total: Sum of all values.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        assert all(low < high for low, high in pairwise(bounds)), "bounds ascend"
        self._bounds = tuple(bounds)
        self._count = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._count[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._count)

    def buckets(self) -> list[tuple[str, float]]:
        """For each bound, as text, how many values were not above it; the last is ``+Inf`` and has them all."""
        names = [*(repr(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._count)), strict=True))
