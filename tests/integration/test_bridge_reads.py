"""What browsers read beside the stream: history, performance and leaderboard, from a real gRPC server."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from evs.v1 import evs_pb2
from websockets.exceptions import ConnectionClosed

from evs_server.bridge.policy import FRAGMENT_BYTES
from evs_server.bridge.server import Bridge
from evs_server.errors import (
    EvsError,
    InvalidRequest,
    NotServed,
    OutOfBounds,
    Overloaded,
    Recovering,
    StaleEpoch,
    StoreUnavailable,
    UnknownAccount,
)
from tests.integration.bridge_world import PATIENCE_S, QUICK, Browser, World, a_point, a_world

PATIENT = replace(QUICK, close_s=PATIENCE_S)

ROOM_FOR_ONE = replace(PATIENT, answer_bytes_max=1_000_000)
"""Of the largest answers."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A scripted EVS; each test opens the bridge it needs."""
    async with a_world(tmp_path) as world:
        yield world


# --- what is answered --------------------------------------------------------------------------------------------


async def test_history_is_answered_page_by_page(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7)
    params: dict[str, object] = {"range": "1W", "resolution": "1m", "fill": True, "limit": 2}
    page = (await browser.call("equity.history", account_id=8, **params))["result"]
    assert {"resolution", "points", "next"} == set(page)
    assert {
        "time": 1_700_000_040,
        "open": 1_000_000,
        "high": 1_000_100,
        "low": 999_900,
        "last": 1_000_050,
        "realized_pnl": 0,
        "net_flow": 1_000_000,
        "final": True,
    } == page["points"][0]
    last = (await browser.call("equity.history", **params, next=page["next"]))["result"]
    assert (1, None) == (len(last["points"]), last["next"])
    asked = evs_pb2.GetEquityHistoryRequest(
        account_id=7,
        range=evs_pb2.HISTORY_RANGE_ONE_WEEK,
        resolution=evs_pb2.RESOLUTION_ONE_MINUTE,
        carry_forward=True,
        page_size=2,
    )
    assert asked == world.evs.asked[0]
    asked.page_token = "2"
    assert asked == world.evs.asked[1]


async def test_performance_is_answered_for_the_tokens_account(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(8)
    result = (await browser.call("equity.performance", start=5, end=9, account_id=7))["result"]
    assert (50, 0.5, 3) == (result["profit"], result["time_weighted_return_percent"], result["version"])
    assert evs_pb2.GetPerformanceRequest(account_id=8, start=5, end=9) == world.evs.asked[0]


async def test_the_leaderboard_names_no_account_by_its_id(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7)
    frame = await browser.call("leaderboard.list", range="1M", limit=2)
    own = {"rank": 2, "name": None, "return_percent": 1.25, "own": True}
    assert {
        "range": "1M",
        "entries": [{"rank": 1, "name": "Ada", "return_percent": 2.5, "own": False}, own],
        "own": own,
        "ranked_count": 50,
        "version": 3,
    } == frame["result"]
    assert "123456789" not in json.dumps(frame)


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message", "refusal"),
    [
        ("INVALID_REQUEST", "next: 'x' continues no request", InvalidRequest("page_token", "'x' continues no request")),
        ("INVALID_REQUEST", "start: start 9 is beyond 8", OutOfBounds("start", "start 9 is beyond 8", start=9)),
        ("UNKNOWN_ACCOUNT", "account 7 does not exist on the exchange", UnknownAccount(7)),
        ("OVERLOADED", "EVS is over capacity: try again", Overloaded("secret host name")),
        ("UNAVAILABLE", "what is stored cannot be read at present: try again", StoreUnavailable("secret host name")),
        ("UNAVAILABLE", "EVS cannot be reached at present: try again", Recovering("secret host name")),
        ("NOT_SERVED", "the EVS behind this bridge does not serve this method", NotServed("secret host name")),
        ("INTERNAL", "EVS did not answer as it should", StaleEpoch("secret host name")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, EvsError) else None,
)
async def test_what_evs_refuses_is_told_in_words_of_the_bridge(
    world: World, code: str, message: str, refusal: EvsError
) -> None:
    await world.open_bridge()
    browser = await world.browser(7)
    world.evs.refusal = refusal
    for method in ("equity.history", "equity.performance", "leaderboard.list"):
        assert {"code": code, "message": message} == (await browser.call(method))["error"]
    assert {"pong": True} == (await browser.call("ping"))["result"]


async def test_reads_fail_softly_while_evs_is_lost_and_work_again_when_it_is_back(world: World) -> None:
    await world.open_bridge()
    browser = await world.browser(7, subscribe=True)
    await world.evs.stop()
    await browser.push("status", status="stale")
    for method in ("equity.history", "equity.performance", "leaderboard.list", "account.summary", "positions.list"):
        assert "UNAVAILABLE" == (await browser.call(method))["error"]["code"]
    await world.evs.start()
    await browser.push("status", status="live")
    assert 3 == len((await browser.call("equity.history"))["result"]["points"])


async def test_only_so_much_history_is_asked_for_at_a_time(world: World) -> None:
    await world.open_bridge(replace(PATIENT, history_reads_max=2))
    browsers = [await world.browser(account) for account in (7, 7, 7, 8, 8, 8)]
    methods = ("equity.history", "equity.performance")
    answers = await asyncio.gather(*(browser.call(methods[n % 2]) for n, browser in enumerate(browsers)))
    assert all("result" in answer for answer in answers)
    assert 2 == world.evs.reading_max


# --- large answers -----------------------------------------------------------------------------------------------


async def test_a_large_answer_comes_in_pieces_and_whole(world: World) -> None:
    """The browser's library puts them together; between them a ping would get through."""
    await world.open_bridge(PATIENT)
    world.evs.point_count = 5_000
    browser = await world.browser(7)
    await browser.send("equity.history", limit=5_000)
    pieces = [piece async for piece in browser.websocket.recv_streaming(decode=False)]
    assert len(pieces) > 10
    assert FRAGMENT_BYTES == max(len(piece) for piece in pieces)
    points = json.loads(b"".join(pieces))["result"]["points"]
    assert [a_point(number).time for number in range(5_000)] == [point["time"] for point in points]
    await world.until_health(answer_bytes=0)
    assert {"pong": True} == (await browser.call("ping"))["result"]


async def test_who_asks_for_much_and_does_not_read_holds_up_nobody_and_is_cut_off(world: World) -> None:
    await world.open_bridge(replace(QUICK, send_s=0.5, close_s=0.5))
    world.evs.point_count = 5_000
    greedy = [await world.browser(7, narrow=True) for _ in range(4)]
    lively = await world.browser(8, subscribe=True)
    for browser in greedy:
        for _ in range(40):
            await browser.send("equity.history", limit=5_000)
    for version in range(2, 40):
        world.evs.push(8, version)
        await lively.push("equity", version=version)
        assert 3 == len((await lively.call("equity.history", limit=3))["result"]["points"])
    await world.until_health(connections=1, answer_bytes=0)


async def test_what_large_answers_hold_is_bounded(world: World) -> None:
    """One that is not read fills the room; another is refused, a small one is not, and then there is room again."""
    await world.open_bridge(ROOM_FOR_ONE)
    frozen, other = await world.browser(7, narrow=True), await world.browser(8)
    await freeze(world, frozen, other)
    assert 5 == len((await other.call("equity.history", limit=5))["result"]["points"])
    frozen.websocket.transport.abort()
    await world.until_health(answer_bytes=0)
    assert 5_000 == len((await other.call("equity.history", limit=5_000))["result"]["points"])


async def test_what_a_socket_is_owed_is_sent_before_the_bridge_closes_it(world: World) -> None:
    """A restart in the middle of a large answer: all of it comes, then 1012."""
    async with Bridge(world.settings, ROOM_FOR_ONE).serving() as world.address:
        frozen, other = await world.browser(7, narrow=True), await world.browser(8)
        await freeze(world, frozen, other)
        closing = asyncio.create_task(until_closed(frozen))
    point_counts, code = await closing
    assert {5_000} == set(point_counts)
    assert 1012 == code


async def freeze(world: World, frozen: Browser, other: Browser) -> None:
    """Return once one browser has been sent more than anything between here and there holds, and has read nothing."""
    world.evs.point_count = 5_000
    for _ in range(40):
        await frozen.send("equity.history", limit=5_000)
    async with asyncio.timeout(PATIENCE_S):
        while "error" not in (answer := await other.call("equity.history", limit=5_000)):
            pass
    assert "OVERLOADED" == answer["error"]["code"]


async def until_closed(browser: Browser) -> tuple[list[int], int | None]:
    """How many points each history has that still comes, refusals for want of room aside, and the code of the close."""
    point_counts = []
    try:
        while True:
            frame = await browser.frame()
            if "result" in frame:
                point_counts.append(len(frame["result"]["points"]))
    except ConnectionClosed as closed:
        return point_counts, closed.rcvd.code if closed.rcvd else None
