"""The TypeScript client against a real database, EVS and bridge: what a page sees, and what it survives."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from evs_client import ExecutionManagerClient

from evs_server import tokens
from evs_server.app import Application
from evs_server.bridge.policy import Policy
from evs_server.bridge.server import Bridge
from evs_server.config import Settings, load
from tests.faults.proxy import proxied
from tests.patience import PATIENCE_SECONDS
from tests.web_client import WebClient, compile_client, node, web_client

OPENING_CENTS = 1_000_000


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client as Node.js runs it."""
    node()
    folder = tmp_path_factory.mktemp("web")
    compile_client(folder)
    return folder


@pytest.fixture
async def settings(database: str, tmp_path: Path) -> Settings:
    """An EVS whose exchange has accounts 7 and 8 with their opening cash, and bridges that find it."""
    connection = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    rows = [(7, OPENING_CENTS), (8, OPENING_CENTS)]
    await connection.executemany("INSERT INTO accounts (id, currency_balance) VALUES ($1, $2)", rows)
    await connection.close(timeout=PATIENCE_SECONDS)
    address = f"unix:{tmp_path}/evs.sock"
    return load(database_url=database, data_dir=tmp_path, listen=address, server=address, bridge_listen="127.0.0.1:0")


@pytest.fixture
async def bridge(settings: Settings) -> AsyncIterator[str]:
    """``host:port`` of a bridge, whether or not EVS is behind it."""
    async with Bridge(settings, Policy()).serving() as page:
        yield page.removeprefix("http://").rstrip("/")


async def logged_in(client: WebClient, settings: Settings, account_id: int = 7) -> None:
    """Give it the token that it wants."""
    await client.hear("wants")
    await client.tell({"token": tokens.issue(settings, account_id)})


async def test_a_page_follows_its_account_and_reads_the_same_numbers(
    settings: Settings, bridge: str, compiled: Path
) -> None:
    """Vectors 1 and 2 of DESIGN 3: what is pushed, what is asked for and what is charted agree."""
    async with (
        Application(settings) as evs,
        web_client(compiled, f"ws://{bridge}/ws") as page,
        ExecutionManagerClient(settings.server, source="exchange") as sender,
    ):
        await evs.wait_ready()
        await logged_in(page, settings)
        opening = await page.hear("equity")
        assert (True, OPENING_CENTS) == (opening["snapshot"], opening["data"]["total_equity"])
        async with sender.batch() as batch:
            batch.trade(7, 1, "BUY", shares=100, price_cents=5_000, settlement_id=1)
            batch.trade(8, 1, "SELL", shares=100, price_cents=5_000, settlement_id=2)
            batch.price(1, 6_000)
            batch.tick(42)
        risen = await page.hear_until("equity", lambda equity: equity["data"]["tick"] == 42)
        assert (1_100_000, 100_000, 10) == tuple(
            risen["data"][key] for key in ("total_equity", "day_change", "day_change_percent")
        )
        summary = await page.ask("summary")
        assert (risen["version"], 500_000, 1_100_000) == tuple(
            summary[key] for key in ("version", "buying_power", "total_equity")
        )
        held = await page.ask("positions")
        [position] = held["positions"]
        assert (risen["version"], 1_000_000, 600_000) == (
            held["version"],
            position["quantity_bp"],
            position["market_value"],
        )
        await sender.wait_durable(PATIENCE_SECONDS)
        [*_, last] = [point for chart in await page.ask("historyPages", {"range": "1D"}) for point in chart["points"]]
        assert 1_100_000 == last["last"]
        earned = await page.ask("performance", {"range": "1D"})
        assert (OPENING_CENTS, 0, 100_000, 10) == tuple(
            earned[key] for key in ("start_equity", "net_flow", "profit", "time_weighted_return_percent")
        )
        ranking = await page.ask("leaderboard", {"range": "1D", "limit": 1})
        assert (2, [{"rank": 1, "name": None, "return_percent": 10, "own": True}]) == (
            ranking["ranked_count"],
            ranking["entries"],
        )
        assert 0 == await page.end()


async def test_a_page_sees_that_evs_is_away_and_that_it_is_back(
    settings: Settings, bridge: str, compiled: Path
) -> None:
    """The last value stands, reads fail as unavailable, and recovery needs no reload."""
    async with web_client(compiled, f"ws://{bridge}/ws") as page:
        async with Application(settings) as evs:
            await evs.wait_ready()
            await logged_in(page, settings)
            await page.status("live")
        assert 0 < (await page.status("stale"))["since"]
        assert "UNAVAILABLE" == await page.refusal("summary")
        async with Application(settings) as evs:
            await evs.wait_ready()
            await page.status("live")
            assert OPENING_CENTS == (await page.ask("summary"))["total_equity"]
            assert 0 == await page.end()


async def test_a_page_whose_connection_breaks_comes_back_by_itself(
    settings: Settings, bridge: str, compiled: Path
) -> None:
    """With a new token, and never to an older value."""
    with proxied(bridge) as network:
        async with Application(settings) as evs, web_client(compiled, f"ws://{network.address}/ws") as page:
            await evs.wait_ready()
            await logged_in(page, settings)
            before = await page.hear("equity")
            network.reset_all()
            assert 1006 == (await page.status("waiting"))["loss"]["code"]
            await logged_in(page, settings)
            after = await page.hear("equity")
            assert (True, before["version"]) == (after["snapshot"], after["version"])
            assert 2 == network.connection_count
            assert 0 == await page.end()


async def test_a_page_whose_token_expires_goes_on_with_a_new_one(
    settings: Settings, bridge: str, compiled: Path
) -> None:
    """On the same socket."""
    async with Application(settings) as evs, web_client(compiled, f"ws://{bridge}/ws") as page:
        await evs.wait_ready()
        await page.hear("wants")
        await page.tell({"token": tokens.issue(settings, 7, ttl_s=-1)})  # within the leeway, so that it expires at once
        await logged_in(page, settings)
        # Answered after the new token was taken: a refused one would have closed the socket.
        assert OPENING_CENTS == (await page.ask("summary"))["total_equity"]
        assert 1 == page.statuses().count("connecting")
        assert 0 == await page.end()


async def test_a_page_whose_tokens_are_refused_gives_up_and_says_so(
    settings: Settings, bridge: str, compiled: Path
) -> None:
    """Three in a row; then a person has to log in."""
    async with Application(settings) as evs, web_client(compiled, f"ws://{bridge}/ws") as page:
        await evs.wait_ready()
        for _ in range(3):
            await page.hear("wants")
            await page.tell({"token": "not a token"})
        ending = (await page.status("closed"))["ending"]
        assert ("token_refused", 4401) == (ending["why"], ending["code"])
