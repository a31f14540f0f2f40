"""What readers of the past ask for, and what the store has of it. Pure."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from evs_server.model.base import Columns, Int64Array


class HistoryRange(IntEnum):
    """A time that ends now, and reaches back so far; numbered as on the wire."""

    ONE_DAY = 1
    ONE_WEEK = 2
    ONE_MONTH = 3
    THREE_MONTHS = 4
    ONE_YEAR = 5
    ALL = 6


class Resolution(IntEnum):
    """How much time one bar stands for; numbered as on the wire."""

    RAW = 1
    ONE_MINUTE = 2
    FIVE_MINUTES = 3
    ONE_HOUR = 4
    ONE_DAY = 5


class Stride(NamedTuple):
    """Steps of time of one width, one of which begins at an origin; unix milliseconds."""

    origin_ms: int
    width_ms: int


@dataclass(frozen=True, slots=True)
class StretchColumns(Columns):
    """
    Stored valuations of one account, ascending by time and version, summed up by stretches of neighbouring rows.

    A single row is a stretch of its own. ``first_ms`` is the time of a stretch's first row, ``last_ms`` and ``version``
    are its last row's, and so are the amounts but for the first, highest and lowest equity.
    """

    first_ms: Int64Array
    last_ms: Int64Array
    version: Int64Array
    open_cents: Int64Array
    high_cents: Int64Array
    low_cents: Int64Array
    last_cents: Int64Array
    realized_cents: Int64Array
    net_flow_cents: Int64Array
    row_count: Int64Array
