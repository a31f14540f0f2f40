"""
When a session begins: the roll time of the exchange's day, in its time zone. Pure; knows the calendar, not the time.

A session runs from one roll to the next. On days when the clocks change a session is an hour shorter or longer; a roll
time that does not exist on such a day is taken by the clock as it was before, so that 02:30 becomes 03:30.
"""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


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

    def _session(self, time_ms: int) -> tuple[int, int]:
        # Whole seconds decide: a roll time has no smaller part, and floats would not keep milliseconds exactly.
        day = datetime.fromtimestamp(time_ms // 1_000, UTC).astimezone(self._zone).date()
        # A zone may leave a whole day out, as Samoa did in 2011: then two days' rolls are one, or three days apart.
        rolls = [self._roll_ms(day + timedelta(days=days)) for days in range(-3, 4)]
        return max(roll for roll in rolls if roll <= time_ms), min(roll for roll in rolls if roll > time_ms)

    def _roll_ms(self, day: date) -> int:
        local = datetime.combine(day, self._roll, self._zone)
        # A round trip through UTC turns a local time that a clock change skips into the one it becomes.
        seconds = local.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return (seconds.days * 86_400 + seconds.seconds) * 1_000
