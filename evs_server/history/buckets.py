"""
Which bucket of time a moment belongs to. Pure.

A bucket runs from its start to the next one's, so that a roll's rows, stamped exactly at the roll, are the first of the
new session's bucket. Seconds, minutes and five minutes are those of unix time. An hour begins whenever the clocks of
the session's zone show a full one: where they change by half an hour, one hour is 90 minutes long. A day is a session.

    New York, 17:00, the night the clocks go back: the day of 31 October 2026 begins 21:00 UTC and has 25 hours.
"""

from typing import Final

import numpy as np

from evs_server.engine import SessionCalendar
from evs_server.model import Int64Array, Resolution, Stride

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_WIDTH_MS: Final = {
    Resolution.RAW: 1_000,
    Resolution.ONE_MINUTE: 60_000,
    Resolution.FIVE_MINUTES: 300_000,
    Resolution.ONE_HOUR: _HOUR_MS,
    Resolution.ONE_DAY: _DAY_MS,
}
_LONGEST_MS: Final = _WIDTH_MS | {Resolution.ONE_HOUR: 2 * _HOUR_MS, Resolution.ONE_DAY: 3 * _DAY_MS}
"""No bucket is longer, whatever the clocks do."""

_SPAN_MS_MAX: Final = 50 * 366 * _DAY_MS
"""Over a longer time the starts of all buckets are not listed: a tick's wrong time may lie thousands of years ahead."""


class Buckets:
    """
    The buckets of one resolution.

    Args:
        resolution: How much time each stands for.
        calendar: The session's, for hours and days.
    """

    def __init__(self, resolution: Resolution, calendar: SessionCalendar) -> None:
        self._resolution = resolution
        self._calendar = calendar
        self._width_ms = _WIDTH_MS[resolution]
        self._follows_clocks = resolution in (Resolution.ONE_HOUR, Resolution.ONE_DAY)

    def start_ms(self, time_ms: int) -> int:
        """When the bucket that contains a moment begins, unix milliseconds."""
        if self._resolution is Resolution.ONE_DAY:
            return self._calendar.session_start_ms(time_ms)
        if self._resolution is Resolution.ONE_HOUR:
            return int(self._hours_ms(time_ms - _LONGEST_MS[self._resolution], time_ms)[-1])
        return time_ms - time_ms % self._width_ms

    def end_ms(self, time_ms: int) -> int:
        """When the bucket that contains a moment ends, and the next begins, unix milliseconds."""
        if self._resolution is Resolution.ONE_DAY:
            return self._calendar.session_end_ms(time_ms)
        if self._resolution is Resolution.ONE_HOUR:
            return int(self._hours_ms(time_ms + 1, time_ms + _LONGEST_MS[self._resolution])[0])
        return time_ms - time_ms % self._width_ms + self._width_ms

    def starts_ms(self, first_ms: int, last_ms: int, count_max: int | None = None) -> Int64Array:
        """
        When the buckets begin that begin within a time.

        Args:
            first_ms: Its first moment, unix milliseconds.
            last_ms: Its last, included.
            count_max: Give the first so many at most.

        Returns:
            Unix milliseconds, ascending.
        """
        if last_ms < first_ms:
            return np.empty(0, np.int64)
        if count_max is not None:
            last_ms = min(last_ms, first_ms + count_max * _LONGEST_MS[self._resolution])
        if self._resolution is Resolution.ONE_DAY:
            starts = np.array(self._calendar.session_starts_ms(first_ms, last_ms), np.int64)
        elif self._resolution is Resolution.ONE_HOUR:
            starts = self._hours_ms(first_ms, last_ms)
        else:
            starts = _multiples(self._width_ms, first_ms, last_ms)
        return starts[:count_max]

    def starts_of(self, time_ms: Int64Array) -> Int64Array:
        """
        When the bucket of each moment begins.

        Args:
            time_ms: Ascending unix milliseconds; shape ``(n,)``.

        Returns:
            Unix milliseconds; shape ``(n,)``.
        """
        if not len(time_ms):
            return time_ms
        if not self._follows_clocks:
            return time_ms - time_ms % self._width_ms
        if time_ms[-1] - time_ms[0] > _SPAN_MS_MAX:
            return np.array([self.start_ms(each) for each in time_ms.tolist()], np.int64)
        starts = self.starts_ms(self.start_ms(int(time_ms[0])), int(time_ms[-1]))
        return starts[np.searchsorted(starts, time_ms, "right") - 1]

    def stride(self, first_ms: int, last_ms: int) -> Stride | None:
        """
        The widest steps of time that never reach from one bucket into another.

        Args:
            first_ms: The first moment that matters, unix milliseconds.
            last_ms: The last, included.

        Returns:
            None if that is too long a time to say.
        """
        if not self._follows_clocks:
            return Stride(0, self._width_ms)
        if last_ms - first_ms > _SPAN_MS_MAX:
            return None
        starts = self.starts_ms(self.start_ms(first_ms), self.end_ms(last_ms))
        return Stride(starts.item(0), int(np.gcd.reduce(np.diff(starts))))

    def _hours_ms(self, first_ms: int, last_ms: int) -> Int64Array:
        """When the clocks showed a full hour within a time."""
        changes = self._calendar.offset_changes_ms(first_ms, last_ms)
        runs = zip(changes, [*(begin - 1 for begin, _ in changes[1:]), last_ms], strict=True)
        hours = [_multiples(_HOUR_MS, begin + offset, end + offset) - offset for (begin, offset), end in runs]
        return np.concatenate(hours)


def _multiples(width: int, first: int, last: int) -> Int64Array:
    return np.arange(-(-first // width) * width, last + 1, width, dtype=np.int64)
