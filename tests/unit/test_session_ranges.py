"""How far back a range reaches: whole sessions, and the same day of an earlier month."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from evs_server.engine import SessionCalendar
from evs_server.model import HistoryRange


def ms(text: str) -> int:
    """Unix milliseconds of an ISO time with its offset."""
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000


def calendar(zone: str = "UTC", roll: str = "00:00") -> SessionCalendar:
    return SessionCalendar(ZoneInfo(zone), time.fromisoformat(roll))


@pytest.mark.parametrize(
    ("span", "start"),
    [
        (HistoryRange.ONE_DAY, "2026-03-31T00:00:00+00:00"),
        (HistoryRange.ONE_WEEK, "2026-03-25T00:00:00+00:00"),  # this session and the six before it
        (HistoryRange.ONE_MONTH, "2026-02-28T00:00:00+00:00"),  # February has no 31st
        (HistoryRange.THREE_MONTHS, "2025-12-31T00:00:00+00:00"),  # across the year
        (HistoryRange.ONE_YEAR, "2025-03-31T00:00:00+00:00"),
        (HistoryRange.ALL, "1970-01-01T00:00:00+00:00"),
    ],
)
def test_a_range_begins_with_a_session(span: HistoryRange, start: str) -> None:
    assert ms(start) == calendar().range_start_ms(span, ms("2026-03-31T15:30:00+00:00"))


@pytest.mark.parametrize(
    ("span", "start"),
    [
        (HistoryRange.ONE_DAY, "2026-03-30T17:00:00-04:00"),  # before 17:00 the session is yesterday's
        (HistoryRange.ONE_WEEK, "2026-03-24T17:00:00-04:00"),
        (HistoryRange.ONE_MONTH, "2026-02-28T17:00:00-05:00"),
        (HistoryRange.ONE_YEAR, "2025-03-30T17:00:00-04:00"),
    ],
)
def test_the_day_of_a_session_is_the_one_it_begins_on(span: HistoryRange, start: str) -> None:
    """New York rolls at 17:00: on 31 March at noon the session of the 30th is under way; clocks changed on the 8th."""
    assert ms(start) == calendar("America/New_York", "17:00").range_start_ms(span, ms("2026-03-31T12:00:00-04:00"))


def test_a_leap_day_has_its_range_a_year_before() -> None:
    assert ms("2023-02-28T00:00:00+00:00") == calendar().range_start_ms(
        HistoryRange.ONE_YEAR, ms("2024-02-29T08:00:00+00:00")
    )


@pytest.mark.parametrize("span", [span for span in HistoryRange if span is not HistoryRange.ALL])
def test_every_range_begins_with_a_session_where_a_zone_leaves_a_day_out(span: HistoryRange) -> None:
    """Samoa had no 30 December 2011; a range that would begin on that day begins with the session around it."""
    samoa = calendar("Pacific/Apia", "00:00")
    for day in range(28, 32):
        for year, month in ((2011, 12), (2012, 1), (2012, 3), (2012, 12)):
            now_ms = ms(f"{year}-{month:02d}-{day}T05:00:00+00:00")
            start_ms = samoa.range_start_ms(span, now_ms)
            assert start_ms == samoa.session_start_ms(start_ms) <= now_ms


@pytest.mark.parametrize(("zone", "roll"), [("UTC", "00:00"), ("America/New_York", "17:00"), ("Pacific/Apia", "00:00")])
def test_sessions_are_listed_as_they_are_found_one_by_one(zone: str, roll: str) -> None:
    """Over the winter of 2011, in which Samoa left a day out: each start, its end and the list agree."""
    days = calendar(zone, roll)
    first_ms, last_ms = days.session_start_ms(ms("2011-11-01T00:00:00+00:00")), ms("2012-03-20T00:00:00+00:00")
    starts, start_ms = [], first_ms
    while start_ms <= last_ms:
        starts.append(start_ms)
        assert start_ms == days.session_start_ms(days.session_end_ms(start_ms) - 1)
        start_ms = days.session_end_ms(start_ms)
    assert starts == days.session_starts_ms(first_ms, last_ms)
    assert starts[1:-1] == days.session_starts_ms(first_ms + 1, starts[-1] - 1)
    assert [] == days.session_starts_ms(first_ms + 1, starts[1] - 1)
