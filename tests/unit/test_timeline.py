"""Which valuations count: a stored past, continued by what is not stored yet."""

from dataclasses import replace

from evs_server.model import Close, Past, StoredValuation
from evs_server.performance.timeline import made, made_until_now
from tests.builders import DAY_MS, NOON_MS

PERCENT_E4 = 10_000
MIDNIGHT_MS = NOON_MS + DAY_MS // 2


def valued(time_ms: int, equity: int, day_change: int = 0, net_flow: int = 1_000, version: int = 9) -> StoredValuation:
    return StoredValuation(time_ms, version, equity, net_flow, day_change)


OPENED = valued(NOON_MS, 1_020, 20)
"""An account that had gained 20 before it was known."""
FIRST_DAY = Past(
    start=OPENED,
    begins=True,
    starts_with_close=False,
    closes=(),
    first_base_cents=OPENED.close.profit_cents,
    minutes=(Close(NOON_MS + 60_000, 900, 1_000),),
    last=valued(NOON_MS + 60_000, 1_100, 100),
)
SECOND_DAY = replace(
    FIRST_DAY,
    closes=(Close(MIDNIGHT_MS, 1_100, 1_000),),
    first_base_cents=0,
    minutes=(),
    last=valued(MIDNIGHT_MS + 1, 1_210, 110),
)


def test_the_first_session_counts_from_its_base_like_the_change_of_the_day() -> None:
    assert 10 * PERCENT_E4 == made(FIRST_DAY, FIRST_DAY.last, MIDNIGHT_MS - DAY_MS).return_percent_e4


def test_sessions_are_linked_from_close_to_close() -> None:
    assert 21 * PERCENT_E4 == made(SECOND_DAY, SECOND_DAY.last, MIDNIGHT_MS).return_percent_e4


def test_a_close_that_is_not_stored_yet_is_the_engines() -> None:
    """It stands as if it were; the minutes before it are not of the last session any more."""
    now, base = valued(MIDNIGHT_MS + 1, 1_210, 110), Close(MIDNIGHT_MS, 1_100, 1_000)
    late, stored = made_until_now(FIRST_DAY, now, base, 0), made_until_now(SECOND_DAY, now, base, 0)
    assert stored == late
    assert (21 * PERCENT_E4, 0) == (late.return_percent_e4, late.max_drawdown_percent_e4)
    today = made_until_now(replace(FIRST_DAY, begins=False), now, base, MIDNIGHT_MS)
    assert (MIDNIGHT_MS, 10 * PERCENT_E4) == (today.start.time_ms, today.return_percent_e4)


def test_a_later_day_with_its_close_on_the_way_counts_from_the_close_before() -> None:
    now, base = valued(MIDNIGHT_MS + DAY_MS + 1, 1_210), Close(MIDNIGHT_MS + DAY_MS, 1_210, 1_000)
    assert 21 * PERCENT_E4 == made_until_now(SECOND_DAY, now, base, 0).return_percent_e4


def test_the_running_session_is_the_change_of_the_day_even_if_its_base_was_moved() -> None:
    """As a recompute does, which is no profit of today."""
    now = valued(MIDNIGHT_MS + 1, 1_500, 100)
    today = Past(valued(MIDNIGHT_MS, 1_100), False, True, (), 100, (), now)
    assert 71_429 == made_until_now(today, now, Close(MIDNIGHT_MS, 1_100, 700), MIDNIGHT_MS).return_percent_e4


def test_from_the_middle_of_a_session_counts_what_came_after() -> None:
    past = Past(valued(MIDNIGHT_MS + 5, 1_100, 600), False, False, (), 100, (), valued(MIDNIGHT_MS + 9, 1_210, 710))
    assert 10 * PERCENT_E4 == made(past, past.last, MIDNIGHT_MS).return_percent_e4


def test_where_a_roll_is_missing_the_close_before_it_counts() -> None:
    last = valued(MIDNIGHT_MS + DAY_MS + 1, 1_210, 3)
    assert 21 * PERCENT_E4 == made(replace(SECOND_DAY, last=last), last, MIDNIGHT_MS + DAY_MS).return_percent_e4


def test_an_account_of_which_nothing_is_stored_yet_has_made_its_change_of_the_day() -> None:
    now = valued(NOON_MS, 1_100, 100)
    alone = made_until_now(None, now, Close(MIDNIGHT_MS - DAY_MS, 1_000, 1_000), 0)
    assert (now.close, now.close, 10 * PERCENT_E4) == (alone.start, alone.end, alone.return_percent_e4)


def test_from_a_moment_that_is_still_to_come_nothing_has_been_made() -> None:
    now, base = valued(NOON_MS, 1_100, 100), Close(MIDNIGHT_MS - DAY_MS, 1_000, 1_000)
    alone = made_until_now(FIRST_DAY, now, base, NOON_MS + 1)
    assert (now.close, 0) == (alone.start, alone.return_percent_e4)
    assert 0 == made_until_now(FIRST_DAY, now, None, NOON_MS + 1).return_percent_e4
