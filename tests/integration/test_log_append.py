"""Batches in the log: whole or not at all, once, and only where their journal ends as expected."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from evs_server.cluster import subjects
from evs_server.cluster.ports import Message
from evs_server.errors import LogUnavailable, Superseded
from evs_server.log import EmbeddedNats, Log
from tests.nats import JOURNAL, SOURCE, a_log, a_message, append_surely, for_all, journal, texts
from tests.patience import eventually_true


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    server = EmbeddedNats(tmp_path / "nats")
    async with server:
        yield server


@pytest.fixture
async def log(server: EmbeddedNats) -> AsyncIterator[Log]:
    async with a_log(server.url) as log:
        yield log


async def test_a_batch_stands_side_by_side_in_the_order_of_its_parts(log: Log) -> None:
    position = await log.events.append(
        [a_message(1, "one"), a_message(9, "nine"), for_all("all")], journal("j"), 0, "b1"
    )
    assert 4 == position == await log.events.last_position()
    assert ["one", "nine", "all", "j"] == await texts(log, [subjects.INPUT], 0, 4)


async def test_a_batch_may_be_its_journal_entry_alone(log: Log) -> None:
    """As when all of its events are refused."""
    assert 1 == await log.events.append([], journal("j"), 0, "b1")


async def test_an_entry_that_carries_its_parts_and_one_that_does_not_are_of_one_journal(log: Log) -> None:
    """Each is in the way of whoever has not seen it."""
    carried = Message(subjects.of_source(SOURCE, carried=True), b"whole")
    assert 1 == await log.events.append([], carried, 0, "b1")
    with pytest.raises(Superseded) as caught:
        await log.events.append([a_message(1, "one")], journal("j"), 0, "b2")
    assert 1 == caught.value.last
    assert 3 == await log.events.append([a_message(1, "one")], journal("j"), 1, "b2")
    with pytest.raises(Superseded) as caught:
        await log.events.append([], carried, 1, "b3")
    assert 3 == caught.value.last
    with pytest.raises(Superseded) as caught:
        await log.events.append([], carried, 3, "b1")  # known by its name
    assert 1 == caught.value.last
    assert 4 == await log.events.append([], carried, 3, "b4")
    assert ["whole", "j", "whole"] == await texts(log, [subjects.SOURCES], 0, 3)
    assert ["whole", "one", "whole"] == await texts(log, subjects.read_by(1), 0, 3)


async def test_a_batch_that_another_came_before_is_not_in_the_log_at_all(log: Log) -> None:
    """Whoever is behind learns how far."""
    first = await log.events.append([a_message(1, "one")], journal("j1"), 0, "b1")
    with pytest.raises(Superseded) as caught:
        await log.events.append([a_message(1, "two"), for_all("all")], journal("j2"), 0, "b2")
    assert first == caught.value.last
    assert first == await log.events.last_position()
    assert first + 2 == await log.events.append([a_message(1, "two")], journal("j2"), first, "b2")


async def test_sources_do_not_get_in_each_others_way(log: Log) -> None:
    await log.events.append([], journal("j1"), 0, "b1")
    assert 2 == await log.events.append([], journal("other", "another sender"), 0, "b2")


async def test_a_batch_whose_answer_was_lost_is_not_put_in_again(log: Log) -> None:
    """Its own entry is then the journal's last."""
    first = await log.events.append([a_message(1, "one")], journal("j1"), 0, "b1")
    with pytest.raises(Superseded) as caught:
        await log.events.append([a_message(1, "one")], journal("j1"), 0, "b1")
    assert first == caught.value.last
    assert first == await log.events.last_position()


async def test_a_batch_is_known_again_by_its_name_too(log: Log) -> None:
    """Whatever its sender believes of the journal."""
    first = await log.events.append([a_message(1, "one")], journal("j1"), 0, "b1")
    with pytest.raises(Superseded) as caught:
        await log.events.append([a_message(1, "one")], journal("j1"), first, "b1")
    assert first == caught.value.last


async def test_of_two_gateways_that_act_for_one_source_one_is_told(server: EmbeddedNats, log: Log) -> None:
    """At the same time, on connections of their own: one batch is in the log, the other is not."""
    async with a_log(server.url) as other:
        outcomes = await asyncio.gather(
            log.events.append([a_message(1, "ours")], journal("ours"), 0, "b1"),
            other.events.append([a_message(1, "theirs")], journal("theirs"), 0, "b2"),
            return_exceptions=True,
        )
    assert [Superseded, int] == sorted(map(type, outcomes), key=lambda kind: kind.__name__)
    assert 2 == await log.events.last_position()


async def test_a_large_batch_for_every_shard_is_one_step(log: Log) -> None:
    """Parts of a mebibyte are taken as well."""
    parts = [a_message(shard, "x" * 1_000) for shard in range(63)] + [a_message(63, "x" * 2**20), for_all("y" * 2**20)]
    assert 66 == await log.events.append(parts, journal("j"), 0, "b1")


async def test_what_half_a_batch_leaves_on_the_server_is_no_part_of_the_next(server: EmbeddedNats, log: Log) -> None:
    """A gateway that dies in the middle has put nothing in."""
    client = await nats.connect(server.url)
    await client.publish(subjects.of_shard(1), b"half", headers={"Nats-Batch-Id": "b1", "Nats-Batch-Sequence": "1"})
    await client.close()
    assert 2 == await log.events.append([a_message(1, "whole")], journal("j"), 0, "b1")
    assert ["whole", "j"] == await texts(log, [subjects.INPUT], 0, 2)


async def test_a_log_that_is_away_is_said_at_once_and_taken_up_again(server: EmbeddedNats, log: Log) -> None:
    """What was answered before is there after a kill; nothing that was refused comes later by itself."""
    first = await log.events.append([a_message(1, "before")], journal("j1"), 0, "b1")
    await server.kill()

    async def is_down() -> bool:
        return not log.is_up

    await eventually_true(is_down, "the connection's loss")
    with pytest.raises(LogUnavailable, match="no connection"):
        await log.events.append([a_message(1, "refused")], journal("j2"), first, "b2")
    await server.start()
    second = await append_surely(log, [a_message(1, "after")], journal("j3"), first, "b3")
    assert [(1, "before"), (2, "j1"), (3, "after"), (4, "j3")] == list(
        enumerate(await texts(log, [subjects.INPUT], 0, second), start=1)
    )


async def test_the_journal_of_a_source_is_read_apart(log: Log) -> None:
    await log.events.append([a_message(1, "one")], journal("j1"), 0, "b1")
    await log.events.append([for_all("all")], journal("other", "another"), 0, "b2")
    assert ["j1", "other"] == await texts(log, [subjects.SOURCES], 0, 2)
    assert ["j1"] == await texts(log, [JOURNAL], 0, 1)
