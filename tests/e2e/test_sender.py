"""The client and a real EVS with a real database, through a ``kill -9`` in the middle."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from evs_client import EquityStream, ExecutionManagerClient, SenderTuning
from evs_client.backoff import Backoff

PATIENCE_S = 60
OPENING_CENTS = 1_000_000
BLOCKS = 300


@asynccontextmanager
async def serving(database: str, tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """``evs serve``, ready; whoever still runs at the end is killed."""
    environment = os.environ | {
        "EVS_DATABASE_URL": database,
        "EVS_DATA_DIR": str(tmp_path),
        "EVS_LISTEN": f"unix:{tmp_path}/evs.sock",
        "EVS_METRICS_LISTEN": "127.0.0.1:0",
    }
    evs = str(Path(sys.executable).with_name("evs"))
    process = await asyncio.create_subprocess_exec(evs, "serve", stdout=asyncio.subprocess.PIPE, env=environment)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            assert b"ready" in await process.stdout.readline()
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


@pytest.fixture
async def accounts(database: str) -> str:
    """A database in which accounts 7 and 8 have their opening cash."""
    connection = await asyncpg.connect(database, timeout=PATIENCE_S)
    rows = [(7, OPENING_CENTS), (8, OPENING_CENTS)]
    await connection.executemany("INSERT INTO accounts (id, currency_balance) VALUES ($1, $2)", rows)
    await connection.close(timeout=PATIENCE_S)
    return database


async def send(client: ExecutionManagerClient, blocks: range) -> None:
    """Account 7 buys a share of 8 at 100 cents in each block, and a tick ends it."""
    for number in blocks:
        async with client.batch() as batch:
            batch.trade(7, 1, "BUY", shares=1, price_cents=100, settlement_id=2 * number + 1)
            batch.trade(8, 1, "SELL", shares=1, price_cents=100, settlement_id=2 * number + 2)
            batch.tick(number)


async def test_every_event_counts_once_though_evs_is_killed_in_between(accounts: str, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/evs.sock"
    tuning = SenderTuning(batch_events_max=10, backoff_max_s=0.2, close_deadline_s=PATIENCE_S)
    cash_cents = []
    async with serving(accounts, tmp_path) as process:
        client = await ExecutionManagerClient(target, source="em", tuning=tuning).__aenter__()
        await send(client, range(BLOCKS // 3))
        await client.wait_durable(PATIENCE_S)
        await send(client, range(BLOCKS // 3, 2 * BLOCKS // 3))
        await client.wait_applied(PATIENCE_S)
        process.kill()
    await send(client, range(2 * BLOCKS // 3, BLOCKS))
    async with serving(accounts, tmp_path):
        await client.wait_durable(PATIENCE_S)
        for account_id in (7, 8):
            async with EquityStream(target, account_id, backoff=Backoff(0.01, 0.1)) as stream:
                value = await anext(stream)
                assert OPENING_CENTS == value.total_equity
                cash_cents.append(value.cash_balance)
        await client.__aexit__(None, None, None)
    assert [OPENING_CENTS - 100 * BLOCKS, OPENING_CENTS + 100 * BLOCKS] == cash_cents
    assert (3 * BLOCKS, 0) == (client.durable_sequence, len(client.refusals))
    assert client.statistics().reconnect_count >= 1
