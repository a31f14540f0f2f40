"""The client and a real EVS with a real database, through a ``kill -9`` in the middle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from evs_client import EquityStream, ExecutionManagerClient, SenderTuning
from evs_client.backoff import Backoff

from tests.e2e.crashing import Crashing, Served
from tests.patience import PATIENCE_SECONDS

OPENING_CENTS = 1_000_000
BLOCKS = 300


@asynccontextmanager
async def serving(crashing: Crashing, listen: str) -> AsyncIterator[Served]:
    """It serves as long as the block lasts, while the client goes on."""
    block = crashing.serving(listen)
    served = await asyncio.to_thread(block.__enter__)
    try:
        yield served
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)


async def send(client: ExecutionManagerClient, buyer: int, seller: int, blocks: range) -> None:
    """One buys a share of the other at 100 cents in each block, and a tick ends it."""
    for number in blocks:
        async with client.batch() as batch:
            batch.trade(buyer, 1, "BUY", shares=1, price_cents=100, settlement_id=2 * number + 1)
            batch.trade(seller, 1, "SELL", shares=1, price_cents=100, settlement_id=2 * number + 2)
            batch.tick(number)


async def test_every_event_counts_once_though_evs_is_killed_in_between(crashing: Crashing, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/evs.sock"
    tuning = SenderTuning(batch_events_max=10, backoff_max_s=0.2, close_deadline_s=PATIENCE_SECONDS)
    buyer, seller = (crashing.tables.open_account(OPENING_CENTS) for _ in range(2))
    cash_cents = []
    async with serving(crashing, target) as served:
        client = await ExecutionManagerClient(target, source="em", tuning=tuning).__aenter__()
        await send(client, buyer, seller, range(BLOCKS // 3))
        await client.wait_durable(PATIENCE_SECONDS)
        await send(client, buyer, seller, range(BLOCKS // 3, 2 * BLOCKS // 3))
        await client.wait_applied(PATIENCE_SECONDS)
        await asyncio.to_thread(served.kill)
    await send(client, buyer, seller, range(2 * BLOCKS // 3, BLOCKS))
    async with serving(crashing, target):
        await client.wait_durable(PATIENCE_SECONDS)
        for account_id in (buyer, seller):
            async with EquityStream(target, account_id, backoff=Backoff(0.01, 0.1)) as stream:
                value = await anext(stream)
                assert OPENING_CENTS == value.total_equity
                cash_cents.append(value.cash_balance)
        await client.__aexit__(None, None, None)
    assert [OPENING_CENTS - 100 * BLOCKS, OPENING_CENTS + 100 * BLOCKS] == cash_cents
    assert (3 * BLOCKS, 0) == (client.durable_sequence, len(client.refusals))
    assert client.statistics().reconnect_count >= 1
