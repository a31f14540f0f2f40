"""The bridge's sockets: what a browser is sent, what closes it, and what it is told when EVS is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from websockets.exceptions import ConnectionClosed

from evs_server import tokens
from evs_server.bridge.server import Bridge, run_bridge
from evs_server.config import Settings
from evs_server.roles import Role
from tests.integration.bridge_world import PATIENCE_S, QUICK, World, a_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A scripted EVS; each test opens the bridge it needs."""
    async with a_world(tmp_path) as world:
        yield world


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Event]:
    """`run_bridge` as a process runs it; ends when its event is set."""
    stop = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_bridge(settings, stop))
        yield stop
        stop.set()


# --- values ------------------------------------------------------------------------------------------------------


async def test_a_browser_follows_its_account_from_the_snapshot_on(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser()
    answer = await browser.call("auth.jwt", token=world.token(7))
    assert {"id": 1, "result": {"authenticated": True, "account_id": 7}} == answer
    await browser.send("equity.subscribe", account_id=8)
    assert {"id": 2, "result": {"subscribed": True}} == await browser.frame()
    snapshot = await browser.frame()
    assert (True, 1, 7) == (snapshot["snapshot"], snapshot["version"], snapshot["data"]["account_id"])
    assert 0.0025 == snapshot["data"]["day_change_percent"]
    world.evs.push(8, 50)
    world.evs.push(7, 2)
    change = await browser.frame()
    assert (False, 2, 1_000_002) == (change["snapshot"], change["version"], change["data"]["total_equity"])


async def test_many_changes_are_conflated_and_the_final_one_arrives(world: World) -> None:
    await world.open_bridge(replace(QUICK, push_interval_s=0.2))
    browser = await world.browser(7, subscribe=True)
    for version in range(2, 502):
        world.evs.push(7, version)
    received: list[dict[str, Any]] = []
    while not received or received[-1]["version"] != 501:
        received.append(await browser.push("equity"))
    assert 500 == len(received) + sum(frame["conflated"] for frame in received), "every version sent or counted"
    assert len(received) < 50


async def test_reads_are_answered_beside_the_stream(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    summary = (await browser.call("account.summary"))["result"]
    assert (1_000_001, 1_000_000, 1_000_000, 1) == tuple(
        summary[name] for name in ("total_equity", "balance", "buying_power", "version")
    )
    assert [1, 2] == [row["symbol_id"] for row in (await browser.call("positions.list"))["result"]["positions"]]
    assert {"pong": True} == (await browser.call("ping"))["result"]


async def test_however_many_browsers_follow_an_account_evs_has_one_stream(world: World) -> None:
    await world.open_bridge()
    browsers = [await world.browser(7, subscribe=True) for _ in range(3)]
    world.evs.push(7, 2)
    assert [2, 2, 2] == [(await browser.push("equity"))["version"] for browser in browsers]
    assert {7: 1} == dict(world.evs.opened)
    await browsers[0].call("equity.unsubscribe")
    await browsers[1].websocket.close()
    world.evs.push(7, 3)
    assert 3 == (await browsers[2].push("equity", version=3))["version"]
    await browsers[2].websocket.close()
    await world.evs.until(lambda: not world.evs.streams[7])


async def test_who_joins_later_gets_the_newest_value_at_once(world: World) -> None:
    await world.open_bridge()
    first = await world.browser(7, subscribe=True)
    world.evs.push(7, 9)
    await first.push("equity", version=9)
    second = await world.browser(7)
    await second.call("equity.subscribe")
    snapshot = await second.push("equity")
    assert (True, 9) == (snapshot["snapshot"], snapshot["version"])


async def test_each_browser_sees_only_its_own_account(world: World) -> None:
    await world.open_bridge()
    seven, eight = await world.browser(7, subscribe=True), await world.browser(8, subscribe=True)
    world.evs.push(8, 100)
    world.evs.push(7, 101)
    assert (7, 101) == ((frame := await seven.frame())["data"]["account_id"], frame["version"])
    assert (8, 100) == ((frame := await eight.frame())["data"]["account_id"], frame["version"])


# --- losing EVS --------------------------------------------------------------------------------------------------


async def test_a_lost_evs_is_told_and_so_is_its_return(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    await world.evs.stop()
    assert 0 < (await browser.push("status"))["since"]
    world.evs.versions[7] = 5
    await world.evs.start()
    assert {"stream": "status", "status": "live"} == await browser.push("status")
    snapshot = await browser.push("equity")
    assert (5, True) == (snapshot["version"], snapshot["snapshot"])


async def test_a_stream_that_ends_is_opened_again_and_says_nothing_twice(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    world.evs.drop_streams()
    await browser.push("status", status="stale")
    await browser.push("status", status="live")
    world.evs.push(7, 2)
    assert [2, False] == [(frame := await browser.frame())["version"], frame["snapshot"]]
    assert 2 == world.evs.opened[7]


async def test_an_evs_that_has_fallen_back_is_not_believed(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    world.evs.push(7, 10)
    await browser.push("equity", version=10)
    world.evs.versions[7] = 4
    world.evs.drop_streams()
    await browser.push("status", status="live")
    world.evs.push(7, 9)
    world.evs.push(7, 11)
    assert 11 == (await browser.push("equity"))["version"]


async def test_a_silent_evs_counts_as_lost(world: World) -> None:
    await world.open_bridge(replace(QUICK, silence_s=0.05))
    browser = await world.browser(7, subscribe=True)
    await browser.push("status", status="stale")
    await browser.push("status", status="live")


async def test_a_stream_on_which_the_bridges_own_token_ran_out_is_opened_again(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    world.evs.drop_streams(grpc.StatusCode.UNAUTHENTICATED)
    await browser.push("status", status="live")
    world.evs.push(7, 2)
    assert 2 == (await browser.push("equity"))["version"]


async def test_without_evs_a_browser_is_told_and_reads_fail_softly(world: World) -> None:
    await world.evs.stop()
    await world.open_bridge()
    browser = await world.browser(7)
    await browser.call("equity.subscribe")
    await browser.push("status", status="stale")
    error = (await browser.call("account.summary"))["error"]
    assert {"code": "UNAVAILABLE", "message": "EVS cannot be reached at present: try again"} == error
    await world.evs.start()
    await browser.push("status", status="live")
    await browser.push("equity", snapshot=True)


async def test_an_account_that_does_not_exist_closes_and_nothing_of_ours_is_told(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(99)
    error = (await browser.call("account.summary"))["error"]
    assert {"code": "UNKNOWN_ACCOUNT", "message": "account 99 does not exist on the exchange"} == error
    await browser.call("equity.subscribe")
    assert 4404 == await browser.close_code()
    assert world.evs.opened[99] == 0


# --- a token that runs out ---------------------------------------------------------------------------------------


async def test_a_socket_whose_token_runs_out_is_told_and_goes_on_with_a_new_one(world: World) -> None:
    """The frames go on meanwhile: nothing is subscribed or sent again."""
    await world.open_bridge()
    browser = await world.browser()
    late = await browser.call("auth.jwt", token=world.token(7, ttl_s=-10))
    assert late["result"]["authenticated"], "by the leeway"
    expiring = await browser.push("status", status="expiring")
    assert 0 < expiring["close_in_ms"] <= 25_000
    await browser.call("equity.subscribe")
    await browser.push("equity", snapshot=True)
    world.evs.push(7, 2)
    assert 2 == (await browser.push("equity", version=2))["version"]
    assert (await browser.call("auth.jwt", token=world.token(7)))["result"]["authenticated"]
    world.evs.push(7, 3)
    assert {"stream": "equity", "version": 3, "snapshot": False} == {
        name: value for name, value in (await browser.frame()).items() if name in ("stream", "version", "snapshot")
    }


async def test_a_socket_whose_token_is_not_renewed_is_closed(world: World) -> None:
    await world.open_bridge(replace(QUICK, refresh_grace_s=0.1))
    browser = await world.browser()
    await browser.call("auth.jwt", token=world.token(7, ttl_s=-10))
    assert 4401 == await browser.close_code()


async def test_one_tab_that_runs_out_leaves_the_other_one_alone(world: World) -> None:
    await world.open_bridge(replace(QUICK, refresh_grace_s=0.1))
    renewed, forgotten = await world.browser(7, subscribe=True), await world.browser()
    await forgotten.call("auth.jwt", token=world.token(7, ttl_s=-10))
    await forgotten.call("equity.subscribe")
    assert 4401 == await forgotten.close_code()
    world.evs.push(7, 2)
    assert 2 == (await renewed.push("equity"))["version"]
    assert {7: 1} == dict(world.evs.opened), "both had one stream, and it stays"


async def test_a_socket_whose_token_is_taken_back_is_closed_and_no_other(world: World, tmp_path: Path) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text("")
    world.settings = world.settings.model_copy(update={"revoked_tokens_file": revoked})
    await world.open_bridge()
    key = tokens.read_key(world.settings)
    stolen, renewed = (tokens.sign(key, "7", [Role.READ_OWN], token_id=each) for each in ("stolen", "renewed"))
    thief, owner = await world.browser(), await world.browser()
    for browser in (thief, owner):
        assert (await browser.call("auth.jwt", token=stolen))["result"]["authenticated"]
    assert (await owner.call("auth.jwt", token=renewed))["result"]["authenticated"]
    revoked.write_text("stolen\n")
    assert 4401 == await thief.close_code()
    assert {"pong": True} == (await owner.call("ping"))["result"]
    again = await world.browser()
    assert "token has been taken back" == (await again.call("auth.jwt", token=stolen))["error"]["message"]
    assert 4401 == await again.close_code()


# --- closing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        (1003, b'{"id":1,"method":"ping"}', False),
        (1007, b"\xff\xfe", True),
        (1009, b"x" * 8_193, True),
        (4401, b'{"id":1,"method":"auth","params":{"token":"forged"}}', True),
        (4408, b'{"id":1,"method":"ping"}', True),
    ],
)
async def test_what_a_browser_may_not_do_closes_its_socket(world: World, code: int, message: bytes, text: bool) -> None:
    await world.open_bridge(replace(QUICK, auth_s=0.1 if code == 4408 else 5))
    browser = await world.browser()
    await browser.websocket.send(message, text=text)
    assert code == await browser.close_code()
    await world.until_connections(0)


@pytest.mark.parametrize(("code", "message"), [(1008, "{"), (4429, '{"id":1,"method":"ping"}')])
async def test_too_much_of_it_closes_too(world: World, code: int, message: str) -> None:
    await world.open_bridge(replace(QUICK, messages_per_minute=100))
    browser = await world.browser(7)
    try:
        for _ in range(300):
            await browser.websocket.send(message)
    except ConnectionClosed:
        pass
    assert code == await browser.close_code()


async def test_a_browser_that_vanishes_with_requests_under_way_leaves_nothing(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    for _ in range(20):
        await browser.send("positions.list")
    browser.websocket.transport.abort()
    await world.until_connections(0)
    await world.evs.until(lambda: not world.evs.streams[7])


async def test_a_stuck_reader_is_cut_off_and_holds_up_nobody(world: World) -> None:
    await world.open_bridge(replace(QUICK, send_s=0.3, push_interval_s=0.02))
    world.evs.position_count = 4_096
    stuck, lively = await world.browser(7, narrow=True), await world.browser(8, subscribe=True)
    for _ in range(30):
        await stuck.send("positions.list")
    for version in range(2, 60):
        world.evs.push(8, version)
        await lively.push("equity", version=version)
    assert 4508 == await stuck.close_code()
    await world.until_connections(1)


async def test_stopping_closes_every_socket_with_a_restart_and_ends(world: World) -> None:
    tasks_before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(Bridge(world.settings, QUICK).serving())
        world.address = address
        browsers = [await world.browser(account, subscribe=True) for account in (7, 7, 8)]
        waiting = [asyncio.create_task(browser.close_code()) for browser in browsers]
    assert [1012, 1012, 1012] == [await task for task in waiting]
    await world.evs.until(lambda: not any(world.evs.streams.values()))
    with pytest.raises(OSError, match=r"Connect call failed|refused"):
        await world.get("/")
    assert {task for task in asyncio.all_tasks() - tasks_before if "equity of account" in task.get_name()} == set()


async def test_the_process_runs_until_it_is_told_to_stop(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(world.settings):
        pass
    assert any("bridge ready on http://127.0.0.1:" in line for line in caplog.messages)
