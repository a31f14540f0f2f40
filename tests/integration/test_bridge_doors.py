"""Who may open a socket of the bridge, and what plain HTTP gets."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from evs_server import tokens
from evs_server.bridge.server import Bridge, knows_no_page, policy_of, run_bridge
from evs_server.bridge.site import Demo
from evs_server.config import load
from evs_server.errors import ConfigError
from tests.integration.bridge_world import QUICK, World, a_world
from tests.patience import eventually_true

DEMO = Demo({7: "Ada", 8: "Grace"}, {1: "Milo"})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A scripted EVS; each test opens the bridge it needs."""
    async with a_world(tmp_path) as world:
        yield world


# --- who may come in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "http://localhost:{port}", "https://app.example", None])
async def test_own_pages_named_origins_and_programs_may_connect(world: World, origin: str | None) -> None:
    await world.open_bridge()
    browser = await world.browser(7, origin=origin.format(port=world.port) if origin else None)
    assert {"pong": True} == (await browser.call("ping"))["result"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:{port}.evil.example",
        "https://app.example.evil.example",
        "https://app.example/",
        "https://APP.example",
    ],
)
async def test_pages_from_elsewhere_are_refused_before_the_upgrade(world: World, origin: str) -> None:
    await world.open_bridge()
    with pytest.raises(InvalidStatus) as refused:
        await world.browser(additional_headers={"Origin": origin.format(port=world.port)})
    assert 403 == refused.value.response.status_code


async def test_an_account_has_a_bounded_number_of_sockets_and_gets_them_back(world: World) -> None:
    await world.open_bridge(replace(QUICK, connections_per_account=2))
    first, _ = await world.browser(7), await world.browser(7)
    third = await world.browser()
    await third.send("auth", token=world.token(7))
    assert 4410 == await third.close_code()
    await world.browser(8)
    await first.websocket.close()
    await world.until_connections(2)
    await world.browser(7)


async def test_an_address_has_a_bounded_number_of_sockets_and_gets_them_back(world: World) -> None:
    await world.open_bridge(replace(QUICK, connections_per_address=2))
    first, _ = await world.browser(), await world.browser()
    with pytest.raises(InvalidStatus) as refused:
        await world.browser()
    assert 503 == refused.value.response.status_code
    assert b"2 connections from 127.0.0.1 are open: the bound is 2\n" == refused.value.response.body
    await first.websocket.close()
    await world.until_connections(1)
    await world.browser(7)


async def test_behind_a_trusted_proxy_each_visitor_is_bounded_and_not_the_proxy(world: World) -> None:
    """All of them come from one address: the proxy's."""
    world.settings = world.settings.model_copy(update={"trusted_proxies": (ip_network("127.0.0.1"),)})
    await world.open_bridge(replace(QUICK, connections_per_address=1))
    await world.browser(7, additional_headers={"X-Forwarded-For": "198.51.100.7"})
    await world.browser(8, additional_headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.8"})
    with pytest.raises(InvalidStatus) as refused:
        await world.browser(additional_headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.7"})
    assert b"1 connections from 198.51.100.7 are open: the bound is 1\n" == refused.value.response.body


async def test_nobody_gets_more_sockets_by_saying_that_he_is_somebody_else(world: World) -> None:
    await world.open_bridge(replace(QUICK, connections_per_address=1))
    await world.browser(7, additional_headers={"X-Forwarded-For": "198.51.100.7"})
    with pytest.raises(InvalidStatus) as refused:
        await world.browser(additional_headers={"X-Forwarded-For": "198.51.100.8"})
    assert b"1 connections from 127.0.0.1 are open: the bound is 1\n" == refused.value.response.body


# --- pages -------------------------------------------------------------------------------------------------------


async def test_every_page_says_what_it_may_load(world: World) -> None:
    """Of the files of the page see `tests/unit/test_site.py`; whether they have been built does not matter here."""
    await world.open_bridge()
    for path, status in [
        ("/", 200),
        ("/healthz", 200),
        ("/nothing", 404),
        ("/../server.py", 404),
        ("/%2e%2e/server.py", 404),
        ("//evil.example/", 200),
        ("//[", 404),
    ]:
        answered, headers, body = await world.get(path)
        assert (path, status) == (path, answered)
        assert str(len(body)) == headers["Content-Length"]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")


async def test_head_is_answered_as_get_is_but_without_the_body(world: World) -> None:
    await world.open_bridge()
    _, asked, body = await world.get("/")
    status, headers, nothing = await world.get("/", method="HEAD")
    assert (200, b"") == (status, nothing)
    assert asked == headers
    assert str(len(body)) == headers["Content-Length"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("DELETE", "/demo/token?account=7"), ("PUT", "/ws")])
async def test_other_methods_are_not_allowed(world: World, method: str, path: str) -> None:
    await world.open_bridge()
    status, headers, _ = await world.get(path, method=method)
    assert (405, "GET, HEAD") == (status, headers["Allow"])


async def test_only_so_many_pages_are_held_at_a_time_and_then_there_is_room_again(world: World) -> None:
    await world.open_bridge(replace(QUICK, visitors_max=0))
    assert (503, b"too many pages are being loaded: try again\n") == (await world.get("/"))[::2]
    await world.open_bridge(replace(QUICK, visitors_max=1))
    for _ in range(5):
        await eventually_true(partial(page_is_served, world), "a page that was taken makes room for the next")
    assert {"pong": True} == (await (await world.browser(7)).call("ping"))["result"]


async def page_is_served(world: World) -> bool:
    return 200 == (await world.get("/"))[0]


async def test_health_counts_what_is_open(world: World) -> None:
    await world.open_bridge()
    await world.browser(7, subscribe=True)
    health = json.loads((await world.get("/healthz"))[2])
    assert {"status": "serving", "connections": 1, "accounts": 1, "stale": 0, "answer_bytes": 0} == health


async def test_outside_the_demo_nobody_is_given_a_token(world: World) -> None:
    await world.open_bridge()
    for path in ("/demo/token?account=7", "/demo/accounts", "/demo/symbols"):
        assert 404 == (await world.get(path))[0]


async def test_in_the_demo_its_accounts_are_listed_and_given_tokens(world: World) -> None:
    await world.open_bridge(demo=DEMO)
    assert [{"id": 7, "name": "Ada"}, {"id": 8, "name": "Grace"}] == json.loads((await world.get("/demo/accounts"))[2])
    assert [{"id": 1, "name": "Milo"}] == json.loads((await world.get("/demo/symbols"))[2])
    token = json.loads((await world.get("/demo/token?account=7"))[2])["token"]
    assert 7 == tokens.TokenVerifier.of(world.settings).verify(token)
    for path in ("/demo/token", "/demo/token?account=9", "/demo/token?account=07", "/demo/else"):
        assert 404 == (await world.get(path))[0]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1"])
async def test_the_demo_answers_only_to_its_own_names(world: World, host: str) -> None:
    await world.open_bridge(demo=DEMO)
    for path in ("/demo/token?account=7", "/demo/accounts", "/demo/symbols"):
        assert 403 == (await world.get(path, host=host))[0]


async def test_the_demo_is_not_served_beyond_this_machine(world: World) -> None:
    settings = load(bridge_listen="0.0.0.0:0", data_dir=world.settings.data_dir, allow_plaintext=True)
    with pytest.raises(ConfigError, match=r"loopback only, not on 0\.0\.0\.0"):
        Bridge(settings, QUICK, demo=DEMO)


async def test_a_port_that_is_taken_is_named(world: World) -> None:
    await world.open_bridge()
    taken = world.address.removeprefix("http://").rstrip("/")
    settings = load(bridge_listen=taken, data_dir=world.settings.data_dir)
    with pytest.raises(ConfigError, match=f"EVS_BRIDGE_LISTEN: cannot listen on {taken}"):
        await run_bridge(settings, asyncio.Event())


@pytest.mark.parametrize(
    ("known", "listen", "origins"),
    [
        (True, "127.0.0.1:8081", ""),
        (False, "0.0.0.0:8081", ""),
        (False, "[::]:8081", ""),
        (True, "0.0.0.0:8081", "https://app.example"),
    ],
)
def test_a_bridge_at_every_address_knows_no_page_unless_it_is_told(known: bool, listen: str, origins: str) -> None:
    """Nobody's browser shows 0.0.0.0, so the bridge's own address is nobody's origin: it warns of that."""
    assert known is not knows_no_page(load(bridge_listen=listen, origins=origins))


def test_settings_set_the_pace_and_the_patience(tmp_path: Path) -> None:
    policy = policy_of(load(data_dir=tmp_path, push_per_second=10, heartbeat_seconds=2))
    assert (0.1, 9.0) == (policy.push_interval_s, policy.silence_s)
