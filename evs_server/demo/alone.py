"""
``evs demo``: one EVS, started and stopped in order with what it needs.

Lives here: the order, and what a newcomer is told. Not here: any of the parts. PostgreSQL, EVS and the exchange are run
by this process, the bridge is a process of its own, as in earnest:

    addresses are free -> PostgreSQL -> EVS -> exchange -> bridge -> words -> Ctrl-C -> all of it backwards
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from pydantic import SecretStr

from evs_server.app import Application
from evs_server.config import Settings, without_keys
from evs_server.demo.parts import Say, demo_bridge, demo_market, evs_beside, named
from evs_server.doctor import taken_addresses
from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.exchange.crowd import PLAYERS
from evs_server.exchange.market import TICK_MS
from evs_server.program import environment
from evs_server.stopping import unless_stopped
from evs_server.store.embedded import open_database
from evs_server.store.migrate import migrate

WORDS: Final = """\
EVS demo: {accounts} accounts trade the shares of {players} made-up players, {ticks} ticks a second.

  page       {page}
  gRPC       {server}  (evs.v1.EquityValuationService, with reflection)
  database   embedded PostgreSQL in {database}

Try, in another terminal:
  grpcurl -plaintext -d '{{"account_id": {account}}}' {server} evs.v1.EquityValuationService/SubscribeEquity
  {python} -c 'import grpc; from evs.v1 import evs_pb2, evs_pb2_grpc; [print(m.equity) for m in evs_pb2_grpc.\
EquityValuationServiceStub(grpc.insecure_channel("{server}")).SubscribeEquity(evs_pb2.SubscribeEquityRequest(\
account_id={account}))]'
  {evs} token --account {account}
  {evs} doctor

Ctrl-C stops all of it; the accounts are kept for the next time.
"""


async def run_demo(settings: Settings, stop: asyncio.Event, say: Say) -> None:
    """
    Run everything until told to stop; then nothing of it is left but the data.

    Args:
        settings: Where to listen and where to keep data; the database is the embedded one in any case.
        stop: Set it to stop.
        say: Takes what a newcomer is told, once everything runs.

    Raises:
        ConfigError: If an address is taken, or PostgreSQL cannot run here; says what to do.
        EvsError: If one of the parts ends by itself.
    """
    if taken := taken_addresses(settings):
        raise ConfigError("\n".join(taken))
    async with AsyncExitStack() as parts:
        dsn = await parts.enter_async_context(open_database(settings.model_copy(update={"database_url": None})))
        # Before EVS does, which would warn of tables that had to be made: it is told of this database as of any other.
        await migrate(dsn)
        own = without_keys(settings).model_copy(update={"database_url": SecretStr(dsn), "ingest_listen": None})
        app = await parts.enter_async_context(Application(own))
        await unless_stopped(stop, app.wait_ready())
        if stop.is_set():
            return
        account_ids, market = await parts.enter_async_context(demo_market(app.address, dsn))
        given = environment() | {"EVS_SERVER": app.address, "EVS_LOG_LEVEL": settings.log_level}
        page, bridge = await parts.enter_async_context(demo_bridge(given, named(account_ids)))
        say(_words(settings, app.address, page, account_ids))
        await _until_stopped(stop, app, market, bridge)


async def _until_stopped(
    stop: asyncio.Event, app: Application, market: asyncio.Task[None], bridge: asyncio.subprocess.Process
) -> None:
    """Return when told to stop; raise when a part ends before."""
    serving = asyncio.ensure_future(app.run_until(stop))
    bridge_end = asyncio.ensure_future(bridge.wait())
    parts: tuple[asyncio.Future[Any], ...] = (serving, market, bridge_end)
    try:
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return
        for part in parts:
            if part.done():
                await part
        raise StoreUnavailable(f"the demo's {'exchange' if market.done() else 'bridge'} has ended by itself")
    finally:
        serving.cancel()
        bridge_end.cancel()


def _words(settings: Settings, server: str, page: str, account_ids: Sequence[int]) -> str:
    python, evs = evs_beside(settings, server)
    return WORDS.format(
        accounts=len(account_ids),
        players=len(PLAYERS),
        ticks=1_000 // TICK_MS,
        page=page,
        server=server,
        database=settings.data_dir / "postgres",
        account=account_ids[0],
        python=python,
        evs=evs,
    )
