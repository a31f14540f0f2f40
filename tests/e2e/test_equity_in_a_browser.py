"""A trade settles, and what it does to an account arrives at a websocket: a real database, EVS and bridge."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from evs_client import ExecutionManagerClient
from websockets.asyncio.client import ClientConnection, connect

from evs_server import tokens
from evs_server.app import Application
from evs_server.bridge.policy import Policy
from evs_server.bridge.server import Bridge
from evs_server.config import Settings, load
from tests.patience import PATIENCE_SECONDS

OPENING_CENTS = 1_000_000


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
async def address(settings: Settings) -> AsyncIterator[str]:
    """Where the page is, with EVS behind it."""
    async with Application(settings) as evs:
        await evs.wait_ready()
        async with Bridge(settings, Policy()).serving() as page:
            yield page


async def frames(browser: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    while True:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield json.loads(await browser.recv())


async def test_a_settled_trade_and_a_price_move_reach_the_browser_to_the_cent(settings: Settings, address: str) -> None:
    """Vectors 1 and 2 of DESIGN 3, as their account's owner sees them."""
    async with (
        connect(address.replace("http", "ws") + "ws") as browser,
        ExecutionManagerClient(settings.server, source="exchange") as sender,
    ):
        arriving = frames(browser)
        await browser.send(json.dumps({"id": 1, "method": "auth.jwt", "params": {"token": tokens.issue(settings, 7)}}))
        assert {"authenticated": True, "account_id": 7} == (await anext(arriving))["result"]
        await browser.send(json.dumps({"id": 2, "method": "equity.subscribe", "params": {}}))
        assert {"id": 2, "result": {"subscribed": True}} == await anext(arriving)
        opening = await anext(arriving)
        assert (True, OPENING_CENTS, 0) == (
            opening["snapshot"],
            opening["data"]["total_equity"],
            opening["data"]["position_value"],
        )
        async with sender.batch() as batch:
            batch.trade(7, 1, "BUY", shares=100, price_cents=5_000, settlement_id=1)
            batch.trade(8, 1, "SELL", shares=100, price_cents=5_000, settlement_id=2)
            batch.tick(41)
        bought = await anext(arriving)
        assert (41, 500_000, 500_000) == tuple(
            bought["data"][key] for key in ("tick", "cash_balance", "position_value")
        )
        async with sender.batch() as batch:
            batch.price(1, 6_000)
            batch.tick(42)
        risen = await anext(arriving)
        assert {
            "account_id": 7,
            "tick": 42,
            "timestamp": risen["data"]["timestamp"],
            "total_equity": 1_100_000,
            "cash_balance": 500_000,
            "position_value": 600_000,
            "day_change": 100_000,
            "day_change_percent": 10.0,
            "unrealized_pnl": 100_000,
            "realized_pnl": 0,
        } == risen["data"]
        assert opening["version"] < bought["version"] < risen["version"]
        await browser.send('{"id":3,"method":"positions.list"}')
        [position] = (await anext(arriving))["result"]["positions"]
        assert (1, 1_000_000, 600_000, "MARK") == tuple(
            position[key] for key in ("symbol_id", "quantity_bp", "market_value", "mark_source")
        )
