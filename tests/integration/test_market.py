"""The demo's market: what it trades, EVS and the exchange agree on; what it leaves, a second run finds again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import grpc.aio
import pytest
from evs.v1 import evs_pb2_grpc
from evs_client import ExecutionManagerClient

from evs_server.app import Application
from evs_server.clock import SystemClock
from evs_server.config import load
from evs_server.exchange import evidence
from evs_server.exchange.account_service import AccountService
from evs_server.exchange.audit import Facts, mismatches
from evs_server.exchange.crowd import PLAYERS, TRADERS, Crowd
from evs_server.exchange.market import Market, run_market
from evs_server.store.database import Database
from tests.patience import PATIENCE_SECONDS

TICKS = 120


@pytest.fixture
async def server(database: str, tmp_path: Path) -> AsyncIterator[str]:
    """The address of an EVS on a fresh database."""
    settings = load(database_url=database, data_dir=tmp_path, listen="127.0.0.1:0")
    async with Application(settings) as application:
        await application.wait_ready()
        yield application.address


async def opened_by(server: str, database: str) -> Sequence[int]:
    """The accounts of a market that is stopped as soon as it has opened them."""
    stop = asyncio.Event()
    opened: list[int] = []

    def on_opened(account_ids: Sequence[int]) -> None:
        opened.extend(account_ids)
        stop.set()

    async with asyncio.timeout(PATIENCE_SECONDS):
        await run_market(server, database, stop, opened=on_opened)
    return opened


async def test_a_second_run_goes_on_with_the_accounts_of_the_first(server: str, database: str) -> None:
    """Fifty accounts, opened once."""
    first = await opened_by(server, database)
    assert len(TRADERS) == len(set(first))
    assert first == await opened_by(server, database)


async def test_evs_and_the_exchange_agree_on_what_was_traded(server: str, database: str) -> None:
    """Marked and unmarked players trade, positions go short, cash is paid in; both sides hold the same."""
    account_ids = await opened_by(server, database)
    async with (
        AccountService.connect(database) as accounts,
        ExecutionManagerClient(server, source="test") as client,
        grpc.aio.insecure_channel(server) as channel,
    ):
        market = Market(accounts, client, Crowd(account_ids, seed=4), SystemClock())
        trade_counts = [await market.tick(1) for _ in range(TICKS)]
        await client.wait_durable(PATIENCE_SECONDS)
        told = await evidence.served(evs_pb2_grpc.EquityValuationServiceStub(channel), account_ids)
    exchange = await exchange_facts(database, account_ids)
    expected = {fact: value for fact, value in told.facts.items() if fact.name in evidence.EXCHANGE_NAMES}
    assert [] == mismatches("the exchange's tables", evidence.EXCHANGE_NAMES, expected, exchange)
    assert 0 == told.violation_count
    assert TICKS < sum(trade_counts)
    assert {symbol for symbol, player in PLAYERS.items() if player.marked} >= told.set_price_cents.keys() != set()
    assert min(value for fact, value in told.facts.items() if fact.name == "quantity") < 0
    assert {0} < {value - 2_500_000 for fact, value in told.facts.items() if fact.name == "net flow"}


async def exchange_facts(database: str, account_ids: Sequence[int]) -> Facts:
    opened = await Database.open(database)
    try:
        async with opened.transaction("read the exchange's tables") as connection:
            return await evidence.exchange_facts(connection, account_ids)
    finally:
        await opened.close()


async def test_a_market_trades_until_it_is_stopped(server: str, database: str) -> None:
    """It ends with its last tick stored, by the accounts' rows as by its own word."""
    stop = asyncio.Event()
    connection = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    running = asyncio.ensure_future(run_market(server, database, stop, tick_ms=1))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await connection.fetchval("SELECT count(*) FROM trades") < TICKS:
                pass
            stop.set()
            await running
        unstored = "SELECT count(*) FROM evs.account WHERE dirty"
        assert 0 == await connection.fetchval(unstored)
    finally:
        running.cancel()
        await connection.close()
