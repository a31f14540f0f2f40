"""The cluster behind the bridge, as a browser sees it and may harm it: in the demo alone."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evs_server.bridge.site import Demo
from evs_server.demo.workers import Roll
from tests.integration.bridge_world import World, a_world
from tests.integration.demo_workers import ScriptedGateway, cluster, ended_by, owner, some_workers


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A scripted gateway; each test opens the bridge it needs."""
    async with a_world(tmp_path, ScriptedGateway) as world:
        yield world


def a_demo(roll: Path) -> Demo:
    return Demo({7: "Ada"}, {1: "Milo"}, Roll(roll))


def gateway_of(world: World) -> ScriptedGateway:
    assert isinstance(world.evs, ScriptedGateway)
    return world.evs


async def test_a_browser_of_the_demo_sees_who_owns_what_by_the_names_of_the_demo(world: World, tmp_path: Path) -> None:
    """A worker that the demo has not started goes by what it calls itself."""
    roll = tmp_path / "workers.json"
    with some_workers(roll, "shard-0", "shard-1") as workers:
        gateway_of(world).state = cluster([owner(workers["shard-1"]), owner(workers["shard-0"]), "a stranger"])
        await world.open_bridge(demo=a_demo(roll))
        state = (await (await world.browser(7)).call("cluster.state"))["result"]
    assert ["shard-1", "shard-0", "a stranger"] * 21 + ["shard-1", "shard-0"] == [
        each["owner"] for each in state["shards"]
    ]
    assert {
        "shard": 64,
        "owner": "shard-0",
        "start_number": 1,
        "applied_position": 1_064,
        "committed_position": 964,
        "lag_ms": 0,
        "silent": False,
        "owned_since": 1_699_999_940_000,
        "heard": 1_699_999_999_800,
    } == state["shards"][-1]
    assert (1_100, 1_700_000_000_000) == (state["last_position"], state["time"])


async def test_a_worker_that_has_gone_keeps_its_name(world: World, tmp_path: Path) -> None:
    """Until another has taken over, the panel says whose the shards were."""
    roll = tmp_path / "workers.json"
    with some_workers(roll, "shard-0") as first, some_workers(roll, "shard-0") as second:
        gateway_of(world).state = cluster([owner(first["shard-0"]), owner(second["shard-0"])])
        first["shard-0"].kill()
        ended_by(first["shard-0"])
        await world.open_bridge(demo=a_demo(roll))
        state = (await (await world.browser(7)).call("cluster.state"))["result"]
    assert {"shard-0"} == {each["owner"] for each in state["shards"]}


async def test_a_browser_of_the_demo_kills_a_worker_that_runs(world: World, tmp_path: Path) -> None:
    """Whichever; once none is left, it is told so."""
    roll = tmp_path / "workers.json"
    await world.open_bridge(demo=a_demo(roll))
    browser = await world.browser(7)
    assert "UNAVAILABLE" == (await browser.call("demo.kill_shard"))["error"]["code"]
    with some_workers(roll, "shard-0", "shard-1") as workers:
        killed = [(await browser.call("demo.kill_shard"))["result"]["killed"] for _ in workers]
        assert ["shard-0", "shard-1"] == sorted(killed)
        assert {-signal.SIGKILL} == {ended_by(process) for process in workers.values()}
        assert "UNAVAILABLE" == (await browser.call("demo.kill_shard"))["error"]["code"]


@pytest.mark.parametrize("demo", [None, Demo({7: "Ada"}, {})])
@pytest.mark.parametrize("method", ["cluster.state", "demo.kill_shard"])
async def test_no_other_bridge_serves_either(world: World, demo: Demo | None, method: str) -> None:
    """Not one in earnest, whatever is behind it, and not that of the demo that is one process."""
    await world.open_bridge(demo=demo)
    answer = await (await world.browser(7)).call(method)
    assert "NOT_SERVED" == answer["error"]["code"]


@pytest.mark.parametrize("method", ["cluster.state", "demo.kill_shard"])
async def test_nobody_asks_without_a_token(world: World, tmp_path: Path, method: str) -> None:
    await world.open_bridge(demo=a_demo(tmp_path / "workers.json"))
    assert "UNAUTHENTICATED" == (await (await world.browser()).call(method))["error"]["code"]


async def test_a_gateway_that_is_away_is_told_as_such(world: World, tmp_path: Path) -> None:
    await world.open_bridge(demo=a_demo(tmp_path / "workers.json"))
    browser = await world.browser(7)
    await world.evs.stop()
    assert "UNAVAILABLE" == (await browser.call("cluster.state"))["error"]["code"]
