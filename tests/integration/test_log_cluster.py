"""Three servers that keep the log together: what is answered survives any one of them, and comes once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evs_server.cluster import subjects
from evs_server.errors import Superseded
from evs_server.log import EmbeddedNats, Log
from tests.nats import a_log, a_message, append_surely, by_hand, for_all, journal, texts, three_servers


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[EmbeddedNats]]:
    async with three_servers(tmp_path) as servers:
        yield servers


@pytest.fixture
async def log(servers: list[EmbeddedNats]) -> AsyncIterator[Log]:
    async with a_log(",".join(server.url for server in servers), replicas=3) as log:
        yield log


async def leader_of(servers: list[EmbeddedNats]) -> EmbeddedNats:
    alive = next(server for server in servers if server.pid is not None)
    name = (await by_hand(alive, "STREAM.INFO.EVS", {}))["cluster"]["leader"]
    return servers[int(name.removeprefix("nats-"))]


async def publish(log: Log, first: int, count: int, expected: int) -> int:
    for number in range(first, first + count):
        parts = [a_message(number % 2, f"{number}"), for_all(f"{number} all")]
        expected = await append_surely(log, parts, journal(f"{number}"), expected, f"b{number}")
    return expected


def all_of(count: int) -> list[str]:
    return [text for number in range(count) for text in (f"{number}", f"{number} all", f"{number}")]


async def test_the_leader_is_killed_in_the_middle_and_nothing_is_lost_or_doubled(
    servers: list[EmbeddedNats], log: Log
) -> None:
    """Who writes and who reads go on by themselves; every batch is there once, whole, in order."""
    position = await publish(log, 0, 10, 0)
    reading = asyncio.create_task(texts(log, [subjects.INPUT], 0, 3 * 60))
    writing = asyncio.create_task(publish(log, 10, 50, position))
    leader = await leader_of(servers)
    await leader.kill()
    assert 3 * 60 == await writing
    assert all_of(60) == await reading
    assert all_of(60) == await texts(log, [subjects.INPUT], 0, 3 * 60)


async def test_of_many_that_put_in_at_once_one_is_first_and_the_others_are_told(
    servers: list[EmbeddedNats], log: Log
) -> None:
    """Whoever is told that it was superseded can see by what, even while that is only on its way to the others."""
    async with a_log(servers[1].url, replicas=3) as other:
        expected = 0
        for number in range(5):
            outcomes = await asyncio.gather(
                *(
                    each.events.append([for_all(name)] * (place % 2), journal(name), expected, name)
                    for place in range(8)
                    for each, name in ((log, f"{number} {place} ours"), (other, f"{number} {place} theirs"))
                ),
                return_exceptions=True,
            )
            [first] = [outcome for outcome in outcomes if isinstance(outcome, int)]
            assert {first} == {outcome.last for outcome in outcomes if isinstance(outcome, Superseded)}
            assert 15 == sum(isinstance(outcome, Superseded) for outcome in outcomes)
            expected = first


@pytest.mark.faults
async def test_every_server_is_killed_in_turn_and_nothing_is_lost_or_doubled(
    servers: list[EmbeddedNats], log: Log
) -> None:
    """Each comes back before the next one goes, so that two always stand."""
    position, count = 0, 0
    for server in servers:
        writing = asyncio.create_task(publish(log, count, 40, position))
        await server.kill()
        position = await writing
        count += 40
        await server.start()
    assert all_of(count) == await texts(log, [subjects.INPUT], 0, 3 * count)
