"""
When a session begins: the roll time of the exchange's day, in its time zone. Pure; knows the calendar, not the time.

A session runs from one roll to the next. On days when the clocks change a session is an hour shorter or longer; a roll
time that does not exist on such a day is taken by the clock as it was before, so that 02:30 becomes 03:30.

Ranges of history are counted in sessions, too: a week is this session and the six before it, a month reaches back to
the session that began on the same day of the month before.
"""

import calendar
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from evs_server.model import HistoryRange

_MONTHS = {HistoryRange.ONE_MONTH: 1, HistoryRange.THREE_MONTHS: 3, HistoryRange.ONE_YEAR: 12}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000


class SessionCalendar:
    """
    Tells which session a moment belongs to.

    Args:
        zone: The exchange's time zone.
        roll: Local time at which a session ends and the next begins.
    """

    def __init__(self, zone: ZoneInfo, roll: time) -> None:
        self._zone = zone
        self._roll = roll
        self._known = (0, -1)

    def session_start_ms(self, time_ms: int) -> int:
        """
        When the session that contains a moment began.

        Args:
            time_ms: Unix milliseconds, zero or more.

        Returns:
            Unix milliseconds, at most ``time_ms``.
        """
        start, end = self._known
        if not start <= time_ms < end:
            start, end = self._known = self._session(time_ms)
        return start

    def session_end_ms(self, time_ms: int) -> int:
        """
        When the session that contains a moment ends, and the next begins.

        Args:
            time_ms: Unix milliseconds, zero or more.

        Returns:
            Unix milliseconds, above ``time_ms``.
        """
        self.session_start_ms(time_ms)
        return self._known[1]

    def session_starts_ms(self, first_ms: int, last_ms: int) -> list[int]:
        """
        When the sessions began that began within a time.

        Args:
            first_ms: Its first moment, unix milliseconds.
            last_ms: Its last, included.

        Returns:
            Unix milliseconds, ascending and unique.
        """
        day, last_day = self._day(first_ms) - timedelta(days=3), self._day(last_ms) + timedelta(days=3)
        rolls = {self._roll_ms(day + timedelta(days=days)) for days in range((last_day - day).days + 1)}
        return sorted(roll for roll in rolls if first_ms <= roll <= last_ms)

    def range_start_ms(self, span: HistoryRange, now_ms: int) -> int:
        """
        When a range that ends now begins: always with a session.

        Args:
            span: Which range.
            now_ms: When it ends, unix milliseconds, zero or more.

        Returns:
            Unix milliseconds, at most ``now_ms``; of ``ALL``, which begins with an account's first valuation, zero.
        """
        if span is HistoryRange.ALL:
            return 0
        start_ms = self.session_start_ms(now_ms)
        if span is HistoryRange.ONE_WEEK:
            # Rolls on neighbouring days may fall together, so that ten days before hold six sessions for sure.
            return self.session_starts_ms(start_ms - 10 * _DAY_MS, start_ms)[-7]
        if span in _MONTHS:
            # What that day's roll is the start of: it may be another than its own where a zone leaves the day out.
            return self.session_start_ms(self._roll_ms(_months_before(self._day(start_ms), _MONTHS[span])))
        return start_ms

    def offset_changes_ms(self, first_ms: int, last_ms: int) -> list[tuple[int, int]]:
        """
        How far the zone's clocks are ahead of UTC during a time.

        Args:
            first_ms: Its first moment, unix milliseconds.
            last_ms: Its last, included.

        Returns:
            ``first_ms`` and each moment of a change, ascending, each with the milliseconds from then on; negative is
            behind UTC.
        """
        found = [(first_ms, self._offset_ms(first_ms))]
        # Clocks do not change twice within a day.
        for look_ms in (*range(first_ms + _DAY_MS, last_ms, _DAY_MS), last_ms):
            known_ms, offset = max(found[-1][0], look_ms - _DAY_MS), found[-1][1]
            new_offset = self._offset_ms(look_ms)
            if new_offset != offset:
                found.append((self._change_ms(known_ms, look_ms), new_offset))
        return found

    def _change_ms(self, before_ms: int, after_ms: int) -> int:
        """The first whole second with the offset of ``after_ms``, if there is one change in between."""
        low, high, offset = before_ms // 1_000, after_ms // 1_000, self._offset_ms(after_ms)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._offset_ms(middle * 1_000) == offset else (middle, high)
        return high * 1_000

    def _offset_ms(self, time_ms: int) -> int:
        offset = datetime.fromtimestamp(time_ms // 1_000, self._zone).utcoffset()
        assert offset is not None, "a zone has an offset at every moment"
        return (offset.days * 86_400 + offset.seconds) * 1_000

    def _day(self, time_ms: int) -> date:
        # Whole seconds decide: a roll time has no smaller part, and floats would not keep milliseconds exactly.
        return datetime.fromtimestamp(time_ms // 1_000, UTC).astimezone(self._zone).date()

    def _session(self, time_ms: int) -> tuple[int, int]:
        day = self._day(time_ms)
        # A zone may leave a whole day out, as Samoa did in 2011: then two days' rolls are one, or three days apart.
        rolls = [self._roll_ms(day + timedelta(days=days)) for days in range(-3, 4)]
        return max(roll for roll in rolls if roll <= time_ms), min(roll for roll in rolls if roll > time_ms)

    def _roll_ms(self, day: date) -> int:
        local = datetime.combine(day, self._roll, self._zone)
        # A round trip through UTC turns a local time that a clock change skips into the one it becomes.
        seconds = local.astimezone(UTC) - _EPOCH
        return (seconds.days * 86_400 + seconds.seconds) * 1_000


def _months_before(day: date, months: int) -> date:
    """The same day so many months before, or the last of its month if that is shorter."""
    count = 12 * day.year + day.month - 1 - months
    year, month = count // 12, count % 12 + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
