"""Which bucket a moment belongs to: on both sides of changing clocks, in zones of odd offsets, at the roll."""

from datetime import UTC, datetime, time
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from evs_server.engine import SessionCalendar
from evs_server.history.buckets import Buckets
from evs_server.limits import TICK_TIME_MS_MAX
from evs_server.model import Resolution
from tests.builders import DAY_MS, HOUR_MS, NOON_MS, int64

QUARTER_MS = 900_000


def ms(text: str) -> int:
    """Unix milliseconds of an ISO time with its offset."""
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def buckets(resolution: Resolution, zone: str = "UTC", roll: str = "00:00") -> Buckets:
    return Buckets(resolution, SessionCalendar(ZoneInfo(zone), time.fromisoformat(roll)))


@pytest.mark.parametrize(
    ("resolution", "start", "end"),
    [
        (Resolution.RAW, "2026-01-01T12:34:56+00:00", "2026-01-01T12:34:57+00:00"),
        (Resolution.ONE_MINUTE, "2026-01-01T12:34:00+00:00", "2026-01-01T12:35:00+00:00"),
        (Resolution.FIVE_MINUTES, "2026-01-01T12:30:00+00:00", "2026-01-01T12:35:00+00:00"),
        (Resolution.ONE_HOUR, "2026-01-01T12:00:00+00:00", "2026-01-01T13:00:00+00:00"),
        (Resolution.ONE_DAY, "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"),
    ],
)
def test_a_bucket_reaches_from_its_start_to_the_next(resolution: Resolution, start: str, end: str) -> None:
    """The start is its own, the end the next one's."""
    of = buckets(resolution)
    for moment in (ms(start), ms("2026-01-01T12:34:56.789+00:00"), ms(end) - 1):
        assert (ms(start), ms(end)) == (of.start_ms(moment), of.end_ms(moment))
    assert ms(end) == of.start_ms(ms(end))


@pytest.mark.parametrize(
    ("zone", "roll", "start", "hours"),
    [
        ("America/New_York", "17:00", "2026-01-14T17:00:00-05:00", 24),
        ("America/New_York", "17:00", "2026-03-07T17:00:00-05:00", 23),  # the clocks go forward that night
        ("America/New_York", "17:00", "2026-10-31T17:00:00-04:00", 25),  # and back
        ("Asia/Kolkata", "09:15", "2026-05-04T09:15:00+05:30", 24),
        ("Australia/Lord_Howe", "00:00", "2026-04-05T00:00:00+11:00", 24.5),
        ("Australia/Lord_Howe", "00:00", "2026-10-04T00:00:00+10:30", 23.5),
    ],
)
def test_a_day_is_a_session_whatever_the_clocks_do(zone: str, roll: str, start: str, hours: float) -> None:
    days = buckets(Resolution.ONE_DAY, zone, roll)
    end_ms = ms(start) + int(hours * HOUR_MS)
    assert [ms(start)] * 2 == [days.start_ms(ms(start)), days.start_ms(end_ms - 1)]
    assert end_ms == days.end_ms(ms(start))
    assert [ms(start), end_ms] == days.starts_ms(ms(start), end_ms).tolist()


@pytest.mark.parametrize(
    ("zone", "moments"),
    [
        ("Asia/Kolkata", ["2026-01-01T10:00:00+05:30", "2026-01-01T11:00:00+05:30"]),
        ("Asia/Kathmandu", ["2026-01-01T10:00:00+05:45", "2026-01-01T11:00:00+05:45"]),
        # New York's second hour from one to two has a bucket of its own, and its missing hour has none.
        ("America/New_York", ["2026-11-01T01:00:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T02:00:00-05:00"]),
        ("America/New_York", ["2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T04:00:00-04:00"]),
        # Lord Howe's clocks go back from 02:00 to 01:30 and forward from 02:00 to 02:30: no full hour in between.
        ("Australia/Lord_Howe", ["2026-04-05T01:00:00+11:00", "2026-04-05T02:00:00+10:30"]),
        ("Australia/Lord_Howe", ["2026-10-04T01:00:00+10:30", "2026-10-04T03:00:00+11:00"]),
    ],
)
def test_an_hour_begins_when_the_clocks_show_a_full_one(zone: str, moments: list[str]) -> None:
    """The starts between the first and the last of these are exactly these; whatever lies between belongs to one."""
    hours = buckets(Resolution.ONE_HOUR, zone)
    starts = [ms(moment) for moment in moments]
    assert starts == hours.starts_ms(starts[0], starts[-1]).tolist()
    for start, end in pairwise(starts):
        for moment in (start, start + QUARTER_MS, end - 1):
            assert (start, end) == (hours.start_ms(moment), hours.end_ms(moment))


@pytest.mark.parametrize("resolution", list(Resolution))
@pytest.mark.parametrize(
    ("zone", "roll"),
    [
        ("UTC", "00:00"),
        ("America/New_York", "17:00"),
        ("America/Sao_Paulo", "00:00"),
        ("Asia/Kolkata", "09:15"),
        ("Australia/Lord_Howe", "02:10"),
        ("Pacific/Apia", "17:00"),
    ],
)
def test_buckets_follow_each_other_without_gap_or_overlap(resolution: Resolution, zone: str, roll: str) -> None:
    """One way of asking agrees with the others, over days on which clocks changed and one that Samoa left out."""
    of = buckets(resolution, zone, roll)
    span_ms = 4 * DAY_MS if resolution in (Resolution.ONE_HOUR, Resolution.ONE_DAY) else 60_000 * resolution
    for begin in ("2011-12-28T12:00:00+00:00", "2018-11-02T12:00:00+00:00", "2026-03-06T12:00:00+00:00",
                  "2026-04-03T12:00:00+00:00", "2026-10-02T12:00:00+00:00", "2026-10-30T12:00:00+00:00"):  # fmt: skip
        first_ms = of.start_ms(ms(begin))
        starts = of.starts_ms(first_ms, first_ms + span_ms).tolist()
        assert [end for _, end in pairwise(starts)] == [of.end_ms(start) for start in starts[:-1]]
        moments = sorted([*starts, *(start + 499 for start in starts), *(start - 1 for start in starts[1:])])
        expected = [max(start for start in starts if start <= moment) for moment in moments]
        assert expected == of.starts_of(int64(*moments)).tolist()
        assert expected == [of.start_ms(moment) for moment in moments]


@pytest.mark.parametrize(("zone", "roll"), [("UTC", "00:00"), ("America/New_York", "17:05"), ("Asia/Kolkata", "09:15"),
                                            ("Australia/Lord_Howe", "02:10")])  # fmt: skip
@pytest.mark.parametrize("resolution", list(Resolution))
def test_no_bucket_ends_within_a_stride(resolution: Resolution, zone: str, roll: str) -> None:
    of = buckets(resolution, zone, roll)
    stride = of.stride(NOON_MS, NOON_MS + 365 * DAY_MS)
    assert stride is not None
    starts = of.starts_ms(NOON_MS, NOON_MS + 365 * DAY_MS, 10_000)
    assert [] == starts[(starts - stride.origin_ms) % stride.width_ms != 0].tolist()


@pytest.mark.parametrize(
    ("hours", "resolution", "zone", "roll"),
    [
        (24, Resolution.ONE_DAY, "UTC", "17:05"),
        (1, Resolution.ONE_DAY, "America/New_York", "17:00"),  # of 23, 24 and 25 hours
        (0.5, Resolution.ONE_DAY, "Australia/Lord_Howe", "00:00"),
        (1, Resolution.ONE_HOUR, "Asia/Kolkata", "00:00"),
        (0.5, Resolution.ONE_HOUR, "Australia/Lord_Howe", "00:00"),
    ],
)
def test_a_stride_is_as_wide_as_the_clocks_let_it_be(
    hours: float, resolution: Resolution, zone: str, roll: str
) -> None:
    stride = buckets(resolution, zone, roll).stride(NOON_MS, NOON_MS + 365 * DAY_MS)
    assert stride is not None
    assert hours * HOUR_MS == stride.width_ms


def test_a_time_of_thousands_of_years_is_not_listed() -> None:
    """A tick may carry a wrong time: what is asked of the rows around it must not take for ever."""
    of = buckets(Resolution.ONE_HOUR, "America/New_York")
    moments = int64(NOON_MS, NOON_MS + 1, TICK_TIME_MS_MAX)
    assert of.stride(NOON_MS, TICK_TIME_MS_MAX) is None
    assert [NOON_MS, NOON_MS, TICK_TIME_MS_MAX - HOUR_MS + 1] == of.starts_of(moments).tolist()


def test_clocks_of_long_ago_are_known() -> None:
    """Monrovia was 44 minutes and 30 seconds behind UTC until 7 January 1972."""
    hours = buckets(Resolution.ONE_HOUR, "Africa/Monrovia")
    assert ms("1971-06-01T00:44:30+00:00") == hours.start_ms(ms("1971-06-01T01:00:00+00:00"))


def test_as_many_starts_are_given_as_are_asked_for() -> None:
    days = buckets(Resolution.ONE_DAY)
    midnight_ms = NOON_MS - DAY_MS // 2
    assert [midnight_ms, midnight_ms + DAY_MS] == days.starts_ms(midnight_ms, 2**45, 2).tolist()
    assert [] == days.starts_ms(NOON_MS, NOON_MS - 1).tolist()
    assert [] == days.starts_of(int64()).tolist()
