"""Histograms: a value counts in the first bucket whose bound is not below it, and in all after that."""

import pytest

from evs_server.telemetry.distribution import Distribution


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (0.0, [1, 1, 1]),
        (0.1, [1, 1, 1]),  # a bound is included
        (0.100_1, [0, 1, 1]),
        (1.0, [0, 1, 1]),
        (7.0, [0, 0, 1]),
    ],
)
def test_a_value_counts_up_from_the_bucket_that_holds_it(value: float, counts: list[float]) -> None:
    distribution = Distribution((0.1, 1))
    distribution.observe(value)
    assert list(zip(["0.1", "1.0", "+Inf"], counts, strict=True)) == distribution.buckets()
    assert (1, value) == (distribution.count, distribution.total)


def test_bounds_that_do_not_ascend_are_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Distribution((1, 1))
