"""
Numbers as Prometheus wants them: one family for each name, with its help and its labels. Pure.

Names follow its conventions: ``evs_`` first, the unit last, ``_total`` for what only grows. Labels are of small fixed
sets; never an account, a symbol or a sender.
"""

from collections.abc import Mapping
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from evs_server.telemetry.distribution import Distribution

_Key = TypeVar("_Key", bound=tuple[str, ...])


def gauge(name: str, about: str, value: float) -> Metric:
    """A number that goes up and down."""
    return GaugeMetricFamily(name, about, value=value)


def counter(name: str, about: str, value: float) -> Metric:
    """
    A number that only grows while the process lives.

    Args:
        name: Ends in ``_total``.
    """
    assert name.endswith("_total")
    return CounterMetricFamily(name, about, value=value)


def gauges(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    """A number for each value of a label."""
    family = GaugeMetricFamily(name, about, labels=[label])
    for each, value in values.items():
        family.add_metric([each], value)
    return family


def counters(name: str, about: str, labels: tuple[str, ...], values: Mapping[_Key, float]) -> Metric:
    """
    A growing number for each combination of labels.

    Args:
        values: By the labels' values, in the labels' order.
    """
    assert name.endswith("_total")
    family = CounterMetricFamily(name, about, labels=labels)
    for each, value in values.items():
        family.add_metric(each, value)
    return family


def histogram(name: str, about: str, distribution: Distribution) -> Metric:
    """How a measured quantity is distributed."""
    return HistogramMetricFamily(name, about, buckets=distribution.buckets(), sum_value=distribution.total)
