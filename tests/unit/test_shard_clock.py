"""What time it is for a reader of the log."""

from evs_server.shard.log_clock import LogClock
from tests.builders import NOON_MS
from tests.serving import SetClock


def test_it_is_the_time_of_the_batch_until_the_present_is_reached() -> None:
    """Before the first batch, and once nothing waits, it is now."""
    machine = SetClock(NOON_MS)
    clock = LogClock(machine)
    assert NOON_MS == clock.now_ms()
    clock.follow(NOON_MS - 5_000)
    machine.ms += 100
    assert (NOON_MS - 5_000, True) == (clock.now_ms(), clock.behind)
    clock.catch_up()
    assert (NOON_MS + 100, False) == (clock.now_ms(), clock.behind)
    clock.follow(NOON_MS + 50)
    assert NOON_MS + 50 == clock.now_ms()


def test_what_is_waited_for_is_waited_for_here_and_now() -> None:
    """Deadlines do not follow the log."""
    machine = SetClock(NOON_MS)
    clock = LogClock(machine)
    clock.follow(1)
    assert machine.monotonic() == clock.monotonic()
