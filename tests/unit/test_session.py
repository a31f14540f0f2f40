"""When a session begins: across midnight, time zones, and the days on which clocks change."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from evs_server.engine import SessionCalendar
from evs_server.limits import TICK_TIME_MS_MAX


def ms(text: str) -> int:
    """Unix milliseconds of an ISO time with its offset."""
    moment = datetime.fromisoformat(text)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def calendar(zone: str = "UTC", roll: str = "00:00") -> SessionCalendar:
    return SessionCalendar(ZoneInfo(zone), time.fromisoformat(roll))


@pytest.mark.parametrize(
    ("moment", "start"),
    [
        ("2026-01-01T12:00:00+00:00", "2026-01-01T00:00:00+00:00"),
        ("2026-01-01T23:59:59.999+00:00", "2026-01-01T00:00:00+00:00"),  # a millisecond before midnight
        ("2026-01-02T00:00:00+00:00", "2026-01-02T00:00:00+00:00"),  # midnight belongs to the new session
        ("2026-01-02T00:00:00.001+00:00", "2026-01-02T00:00:00+00:00"),
        ("1970-01-01T00:00:00.001+00:00", "1970-01-01T00:00:00+00:00"),
        ("2024-02-29T08:00:00+00:00", "2024-02-29T00:00:00+00:00"),
    ],
)
def test_a_session_is_a_day_of_utc_unless_set_otherwise(moment: str, start: str) -> None:
    assert ms(start) == calendar().session_start_ms(ms(moment))


@pytest.mark.parametrize(
    ("moment", "start"),
    [
        ("2026-01-15T16:59:59.999-05:00", "2026-01-14T17:00:00-05:00"),
        ("2026-01-15T17:00:00-05:00", "2026-01-15T17:00:00-05:00"),
        ("2026-01-16T03:00:00-05:00", "2026-01-15T17:00:00-05:00"),  # past midnight, the same session
        ("2026-07-15T16:59:59.999-04:00", "2026-07-14T17:00:00-04:00"),  # summer time
        ("2026-07-15T17:00:00-04:00", "2026-07-15T17:00:00-04:00"),
        ("2026-03-08T16:59:59-04:00", "2026-03-07T17:00:00-05:00"),  # the night the clocks go forward: 23 hours
        ("2026-11-01T16:59:59-05:00", "2026-10-31T17:00:00-04:00"),  # the night they go back: 25 hours
    ],
)
def test_a_roll_time_is_local(moment: str, start: str) -> None:
    """New York rolls at 17:00 on its own clocks, winter and summer."""
    assert ms(start) == calendar("America/New_York", "17:00").session_start_ms(ms(moment))


@pytest.mark.parametrize(
    ("zone", "roll", "moment", "start"),
    [
        # 02:30 on 8 March is skipped in New York: by the clocks of before, it is 03:30 by those of after.
        ("America/New_York", "02:30", "2026-03-08T03:29:59-04:00", "2026-03-07T02:30:00-05:00"),
        ("America/New_York", "02:30", "2026-03-08T03:30:00-04:00", "2026-03-08T03:30:00-04:00"),
        # Midnight of 4 November 2018 was skipped in Sao Paulo: the day began at one.
        ("America/Sao_Paulo", "00:00", "2018-11-03T23:59:59-03:00", "2018-11-03T00:00:00-03:00"),
        ("America/Sao_Paulo", "00:00", "2018-11-04T01:00:00-02:00", "2018-11-04T01:00:00-02:00"),
        # 01:30 on 1 November comes twice in New York: the first one rolls, the second does not.
        ("America/New_York", "01:30", "2026-11-01T01:29:59-04:00", "2026-10-31T01:30:00-04:00"),
        ("America/New_York", "01:30", "2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-04:00"),
        ("America/New_York", "01:30", "2026-11-01T01:15:00-05:00", "2026-11-01T01:30:00-04:00"),
        ("America/New_York", "01:30", "2026-11-01T01:30:00-05:00", "2026-11-01T01:30:00-04:00"),
        # 23:30 on 17 February 2018 came twice in Sao Paulo, where the clocks went back at midnight.
        ("America/Sao_Paulo", "23:30", "2018-02-17T23:45:00-03:00", "2018-02-17T23:30:00-02:00"),
        # A zone ahead of UTC, and one by three quarters of an hour.
        ("Asia/Tokyo", "00:00", "2026-01-01T14:59:59.999+00:00", "2026-01-01T00:00:00+09:00"),
        ("Asia/Kathmandu", "00:00", "2026-01-01T18:15:00+00:00", "2026-01-02T00:00:00+05:45"),
    ],
)
def test_a_roll_happens_once_a_day_whatever_the_clocks_do(zone: str, roll: str, moment: str, start: str) -> None:
    assert ms(start) == calendar(zone, roll).session_start_ms(ms(moment))


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "America/Sao_Paulo", "Pacific/Kiritimati", "Asia/Tokyo"])
@pytest.mark.parametrize("roll", ["00:00", "02:30", "23:59"])
def test_sessions_follow_each_other_without_gap_or_overlap(zone: str, roll: str) -> None:
    """Each start is its own session's, the millisecond before belongs to an earlier one, and no start goes back."""
    days = calendar(zone, roll)
    starts = [days.session_start_ms(ms("2018-01-01T00:00:00+00:00") + hour * 3_600_000) for hour in range(24 * 370)]
    assert sorted(starts) == starts
    for start in set(starts):
        assert start == days.session_start_ms(start)
        assert start > days.session_start_ms(start - 1)
    assert len(set(starts)) in (370, 371)


def test_asking_out_of_order_gives_the_same_answers() -> None:
    """What it remembers of the last question does not show in the next answer."""
    days = calendar("America/New_York", "17:00")
    early, late = ms("2026-01-15T12:00:00+00:00"), ms("2026-03-20T12:00:00+00:00")
    first = [days.session_start_ms(moment) for moment in (early, late)]
    assert first == [days.session_start_ms(moment) for moment in (late, early)][::-1]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "Pacific/Kiritimati", "America/New_York"])
@pytest.mark.parametrize("roll", ["00:00", "17:00"])
def test_the_latest_tick_time_that_is_let_in_has_a_session(zone: str, roll: str) -> None:
    start = calendar(zone, roll).session_start_ms(TICK_TIME_MS_MAX)
    assert 0 <= TICK_TIME_MS_MAX - start < 25 * 3_600_000


@pytest.mark.parametrize("roll", ["00:00", "17:00"])
def test_a_day_that_a_zone_skips_has_no_session_of_its_own(roll: str) -> None:
    """Samoa had no 30 December 2011: every moment around it has a session, whichever is asked for first."""
    for hour in range(96):
        moment = ms("2011-12-29T00:00:00-10:00") + hour * 3_600_000
        assert 0 <= moment - calendar("Pacific/Apia", roll).session_start_ms(moment) < 49 * 3_600_000
