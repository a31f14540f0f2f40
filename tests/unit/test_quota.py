"""How much one reader may ask for: the bucket, its bounds, and what is remembered."""

import pytest

from evs_server.access import quota as quota_module
from evs_server.access.quota import Quota
from evs_server.errors import Overloaded
from evs_server.limits import READS_AT_ONCE, READS_PER_SECOND, STREAMS_PER_READER
from tests.serving import SetClock


def taken(quota: Quota, name: str, count: int) -> int:
    """How many of so many calls were let through."""
    passed = 0
    for _ in range(count):
        try:
            quota.take(name)
        except Overloaded:
            continue
        passed += 1
    return passed


def test_a_reader_may_save_up_and_then_asks_at_its_rate() -> None:
    clock = SetClock()
    quota = Quota(clock)
    assert READS_AT_ONCE == taken(quota, "account 7", 10 * READS_AT_ONCE)
    clock.ms += 1_000
    assert READS_PER_SECOND == taken(quota, "account 7", 10 * READS_AT_ONCE)
    clock.ms += 3_600_000
    assert READS_AT_ONCE == taken(quota, "account 7", 10 * READS_AT_ONCE)


def test_readers_do_not_take_from_each_other() -> None:
    quota = Quota(SetClock())
    assert READS_AT_ONCE == taken(quota, "account 7", READS_AT_ONCE + 1)
    assert READS_AT_ONCE == taken(quota, "account 8", READS_AT_ONCE + 1)


def test_asking_in_vain_costs_nothing() -> None:
    """Whoever keeps on asking is served as soon as whoever waits."""
    clock = SetClock()
    quota = Quota(clock)
    taken(quota, "account 7", READS_AT_ONCE)
    passed = 0
    for _ in range(100):
        clock.ms += 10
        passed += taken(quota, "account 7", 3)
    assert READS_PER_SECOND - 1 <= passed <= READS_PER_SECOND


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest silent reader is forgotten first, and starts anew."""
    monkeypatch.setattr(quota_module, "READERS_REMEMBERED", 2)
    quota = Quota(SetClock())
    for name in ("first", "second"):
        taken(quota, name, READS_AT_ONCE)
    assert 0 == taken(quota, "first", 1)
    assert 1 == taken(quota, "third", 1)
    assert {"readers": 2, "streaming": 0} == quota.statistics()
    assert [0, 1] == [taken(quota, name, 1) for name in ("first", "second")]


def test_streams_are_counted_as_long_as_they_last() -> None:
    quota = Quota(SetClock())
    streams = [quota.stream("account 7") for _ in range(STREAMS_PER_READER)]
    for stream in streams:
        stream.__enter__()
    with pytest.raises(Overloaded, match=f"{STREAMS_PER_READER} streams are open already"), quota.stream("account 7"):
        pass
    with quota.stream("account 8"):
        assert {"readers": 0, "streaming": 2} == quota.statistics()
    for stream in streams:
        stream.__exit__(None, None, None)
    assert {"readers": 0, "streaming": 0} == quota.statistics()
