"""Readers of the log see what they asked for, in order and without a gap, whatever breaks meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from evs_server.cluster import subjects
from evs_server.cluster.ports import Entry
from evs_server.errors import LogGap
from evs_server.log import EmbeddedNats, Log
from evs_server.log import follow as following
from tests.nats import a_log, a_message, append_surely, by_hand, for_all, journal, take, texts
from tests.patience import PATIENCE_SECONDS, eventually_true


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path / "nats")
    async with server:
        yield server


@pytest.fixture
async def log(server: EmbeddedNats) -> AsyncIterator[Log]:
    async with a_log(server.url) as log:
        yield log


class Reader:
    """Reads for as long as it is there; what it has had is kept."""

    def __init__(self, log: Log, wanted: list[str], after: int = 0) -> None:
        self.entries: list[Entry] = []
        self.sizes: list[int] = []
        self._task = asyncio.create_task(self._read(log, wanted, after))

    async def _read(self, log: Log, wanted: list[str], after: int) -> None:
        async with aclosing(log.events.follow(wanted, after)) as entries:
            async for some in entries:
                self.entries += some
                self.sizes.append(len(some))

    async def has(self, text: str) -> None:
        async def there() -> bool:
            if self._task.done():
                self._task.result()
            return bool(self.entries) and self.entries[-1].data.decode() == text

        await eventually_true(there, f"entry {text}")

    async def stop(self) -> list[str]:
        self._task.cancel()
        await asyncio.wait([self._task], timeout=PATIENCE_SECONDS)
        return [entry.data.decode() for entry in self.entries]


async def fill(log: Log, count: int, *, first: int = 0, expected: int = 0) -> int:
    """Batches 0, 1, ...: each with a part for one of three shards in turn, and every fifth with one for all."""
    for number in range(first, first + count):
        parts = [a_message(number % 3, f"{number}")]
        if number % 5 == 0:
            parts.append(for_all(f"{number} all"))
        expected = await append_surely(log, parts, journal(f"{number} journal"), expected, f"b{number}")
    return expected


def seen_by(shard: int, first: int, end: int) -> list[str]:
    """What ``fill`` has for one shard."""
    seen = []
    for number in range(first, end):
        seen += [f"{number}"] * (number % 3 == shard) + [f"{number} all"] * (number % 5 == 0)
    return seen


async def test_each_shard_sees_what_is_for_it_and_what_is_for_all_in_the_logs_order(log: Log) -> None:
    await fill(log, 30)
    for shard in range(3):
        expected = seen_by(shard, 0, 30)
        entries = await take(log, subjects.read_by(shard), 0, len(expected))
        assert expected == [entry.data.decode() for entry in entries]
        positions = [entry.position for entry in entries]
        assert positions == sorted(set(positions))
        # It is told how many more there are, so that it knows when it has caught up.
        assert list(range(len(entries) - 1, -1, -1)) == [entry.pending for entry in entries]


async def test_a_reader_that_comes_back_goes_on_after_its_position(log: Log) -> None:
    await fill(log, 12)
    before = await take(log, subjects.read_by(0), 0, 3)
    after = await take(log, subjects.read_by(0), before[2].position, len(seen_by(0, 0, 12)) - 3)
    assert seen_by(0, 0, 12) == [entry.data.decode() for entry in [*before[:3], *after]]


async def test_what_is_put_in_wakes_a_reader_that_has_all(log: Log) -> None:
    """One append after the other, each seen before the next: by asking again and again it would take minutes."""
    reader, position = Reader(log, [subjects.SHARED]), 0
    for number in range(50):
        position = await log.events.append([for_all(f"{number}")], journal("j"), position, f"b{number}")
        await reader.has(f"{number}")
    assert [f"{number}" for number in range(50)] == await reader.stop()


async def test_more_than_is_asked_for_at_one_time_comes_whole(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader holds a bounded number, and asks for more as it goes on."""
    monkeypatch.setattr(following, "AHEAD", 8)
    await fill(log, 60)
    reader = Reader(log, [subjects.INPUT])
    await reader.has("59 journal")
    expected = [f"{n}" + tail for n in range(60) for tail in ("", *[" all"] * (n % 5 == 0), " journal")]
    assert expected == await reader.stop()
    assert max(reader.sizes) <= 12


async def test_entries_that_are_large_together_come_one_after_the_other(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes that a reader asks for are bounded as well."""
    monkeypatch.setattr(following, "AHEAD_BYTES", 2**20 + 2**16)
    position = 0
    for number in range(6):
        position = await log.events.append([a_message(1, f"{number}" * 2**20)], journal("j"), position, f"b{number}")
    found = await texts(log, [subjects.of_shard(1)], 0, 6)
    assert [(f"{number}", 2**20) for number in range(6)] == [(text[0], len(text)) for text in found]


async def test_a_reader_goes_on_when_its_server_was_killed(server: EmbeddedNats, log: Log) -> None:
    """Twice, with entries put in before, between and after."""
    reader, position, count = Reader(log, [*subjects.read_by(1)]), 0, 0
    for _ in range(3):
        position = await fill(log, 15, first=count, expected=position)
        count += 15
        await reader.has(seen_by(1, 0, count)[-1])
        if count < 45:
            await server.kill()
            await server.start()
    assert seen_by(1, 0, 45) == await reader.stop()


async def test_a_reader_goes_on_when_its_consumer_is_gone(server: EmbeddedNats, log: Log) -> None:
    """An operator has removed it, or its server has forgotten it."""
    reader = Reader(log, [subjects.SHARED])
    position = await fill(log, 6)
    await reader.has("5 all")
    names = (await by_hand(server, "CONSUMER.NAMES.EVS", {}))["consumers"]
    assert 1 == len(names)
    await by_hand(server, f"CONSUMER.DELETE.EVS.{names[0]}", {})
    await fill(log, 10, first=6, expected=position)
    await reader.has("15 all")
    assert ["0 all", "5 all", "10 all", "15 all"] == await reader.stop()


async def test_a_reader_that_ends_leaves_no_consumer_behind(server: EmbeddedNats, log: Log) -> None:
    await fill(log, 3)
    await take(log, subjects.read_by(0), 0, 1)

    async def none() -> bool:
        return not (await by_hand(server, "CONSUMER.NAMES.EVS", {}))["consumers"]

    await eventually_true(none, "the end of the consumer")


async def test_entries_that_were_dropped_before_they_were_read_are_a_gap(server: EmbeddedNats, log: Log) -> None:
    """A shard that was away for longer than the log keeps must not go on as if nothing had been."""
    last = await fill(log, 10)
    await by_hand(server, "STREAM.PURGE.EVS", {"keep": 5})
    with pytest.raises(LogGap, match=f"begins at position {last - 4}, and position 3 is next"):
        await take(log, subjects.read_by(0), 2, 1)
    assert [] != await texts(log, [subjects.INPUT], last - 5, 5)


async def test_a_log_that_is_empty_since_all_was_read_is_no_gap(server: EmbeddedNats, log: Log) -> None:
    """After a quiet week."""
    last = await fill(log, 4)
    await by_hand(server, "STREAM.PURGE.EVS", {})
    reader = Reader(log, [subjects.SHARED], last)
    position = await log.events.append([for_all("news")], journal("j"), 0, "b99")
    assert last + 2 == position
    await reader.has("news")
    assert ["news"] == await reader.stop()


async def test_a_log_that_has_lost_its_end_is_a_gap(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read once is not there: new entries at its positions would pass for read."""
    monkeypatch.setattr(following, "_BEHIND_SECONDS", 0)
    last = await fill(log, 2)
    with pytest.raises(LogGap, match=f"ends at position {last}, and position {last + 1} has been read"):
        await take(log, [subjects.INPUT], last + 1, 1)
