"""
``evs demo-cluster``: EVS as several processes, on one machine, to watch and to break.

Lives here: the order, and what a newcomer is told. Not here: any of the parts. Each role is a process of its own; the
exchange is run by this one, which has little else to do:

    addresses are free -> PostgreSQL, NATS -> shards, gateway -> exchange -> bridges -> words -> Ctrl-C -> backwards

All that it keeps is below one directory of its own, so that it never meets the database of ``evs demo``.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from evs_server.config import Settings, without_keys
from evs_server.demo.parts import Say, demo_bridge, demo_market, evs_beside, named
from evs_server.demo.roles import AGAIN_SECONDS, Shards, demo_gateway, first_end
from evs_server.demo.workers import Roll
from evs_server.doctor import taken_addresses
from evs_server.errors import ConfigError, InputError, StoreUnavailable
from evs_server.exchange.crowd import PLAYERS
from evs_server.exchange.market import TICK_MS
from evs_server.log import EmbeddedNats
from evs_server.program import Program, environment
from evs_server.stopping import unless_stopped
from evs_server.store.embedded import open_database
from evs_server.store.migrate import migrate

SHARDS: Final = ("shard-0", "shard-1", "shard-2")

WORDS: Final = """\
EVS demo of a cluster: {accounts} accounts trade the shares of {players} made-up players, {ticks} ticks a second.

  pages      {pages}
             (two bridges; the panel "Cluster" shows who owns which of the 64 shards of accounts, and how far each is)
  gRPC       {server}  (the gateway: evs.v1.EquityValuationService, with reflection)
  shards     {shards}
  log        NATS in {log}
  database   embedded PostgreSQL in {database}

Try, in another terminal, and watch a page meanwhile:
  {evs} demo-cluster --kill   kills a shard; the others take over, and it is started again after {again} s
  grpcurl -plaintext {server} evs.v1.AdminService/GetCluster
  grpcurl -plaintext -d '{{"account_id": {account}}}' {server} evs.v1.EquityValuationService/SubscribeEquity

Ctrl-C stops all of it; the accounts are kept for the next time.
"""


async def run_demo_cluster(settings: Settings, stop: asyncio.Event, say: Say) -> None:
    """
    Run everything until told to stop; then nothing of it is left but the data.

    Args:
        settings: Where to listen, and below which directory to keep data.
        stop: Set it to stop.
        say: Takes what a newcomer is told, once everything runs, and what becomes of the shards.

    Raises:
        ConfigError: If an address is taken, or PostgreSQL or NATS cannot run here; says what to do.
        EvsError: If one of the parts ends by itself that nobody is meant to end.
    """
    second = _next_address(settings.bridge_listen)
    if taken := _taken(settings, second):
        raise ConfigError("\n".join(taken))
    home = home_of(settings)
    async with AsyncExitStack() as parts:
        nats, dsn, given = await parts.enter_async_context(_state(settings, home))
        shards = Shards(SHARDS, given | {"EVS_METRICS_LISTEN": ""}, home, say)
        looked_after = await parts.enter_async_context(shards.serving())
        gateway = await parts.enter_async_context(demo_gateway(given, home))
        server = await unless_stopped(stop, _ready(gateway, shards))
        if server is None:
            return
        account_ids, market = await parts.enter_async_context(demo_market(server, dsn))
        demo = named(account_ids, shards.roll.path)
        to_bridge = given | {"EVS_SERVER": server}
        page, bridge = await parts.enter_async_context(demo_bridge(to_bridge, demo))
        beside = to_bridge | {"EVS_BRIDGE_LISTEN": second, "EVS_BRIDGE_METRICS_LISTEN": ""}
        other_page, other_bridge = await parts.enter_async_context(demo_bridge(beside, demo))
        say(_words(settings, server, [page, other_page], shards, account_ids))
        over = await first_end(
            {
                "exchange": market,
                "gateway": gateway.wait(),
                "bridge": bridge.wait(),
                "other bridge": other_bridge.wait(),
                "NATS": nats.ended(),
                "shards": looked_after,
            },
            stop,
        )
        if over is not None:
            raise StoreUnavailable(f"the demo's {over} has ended by itself")


def kill_shard(settings: Settings) -> str:
    """
    Kill a shard of the demo that runs with the same settings, whichever; its name.

    Raises:
        InputError: If there is none.
    """
    home = home_of(settings)
    name = Roll(home / "workers.json").kill()
    if name is None:
        raise InputError(
            f"no shard of a demo runs that keeps its data in {home}: start `evs demo-cluster`, with this EVS_DATA_DIR"
        )
    return name


def home_of(settings: Settings) -> Path:
    """Where the demo of a cluster keeps everything."""
    return settings.data_dir.resolve() / "cluster"


@asynccontextmanager
async def _state(settings: Settings, home: Path) -> AsyncIterator[tuple[EmbeddedNats, str, dict[str, str]]]:
    """PostgreSQL and NATS, for as long as the context; yields NATS, the database's URL, and what all roles are told."""
    own = without_keys(settings).model_copy(update={"database_url": None, "data_dir": home})
    async with open_database(own) as dsn, _running(EmbeddedNats(home / "nats")) as nats:
        await migrate(dsn)
        told = {
            "EVS_DATA_DIR": str(home),
            "EVS_DATABASE_URL": dsn,
            "EVS_NATS_URL": nats.url,
            "EVS_NATS_REPLICAS": "1",
            "EVS_NATS_CREDS_FILE": "",
            "EVS_INGEST_LISTEN": "",
            "EVS_LOG_LEVEL": settings.log_level,
        }
        yield nats, dsn, environment() | told


@asynccontextmanager
async def _running(nats: EmbeddedNats) -> AsyncIterator[EmbeddedNats]:
    async with nats:
        yield nats


async def _ready(gateway: Program, shards: Shards) -> str:
    """The gateway's address, once it and all shards are ready."""
    server, _ = await asyncio.gather(gateway.ready(), shards.ready())
    return server


def _next_address(address: str) -> str:
    """The address of the second bridge: the port after that of the first."""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + 1 if int(port) else 0}"


def _taken(settings: Settings, second: str) -> list[str]:
    taken = taken_addresses(settings)
    beside = settings.model_copy(update={"bridge_listen": second})
    return [*taken, *(line for line in taken_addresses(beside) if line not in taken)]


def _words(settings: Settings, server: str, pages: Sequence[str], shards: Shards, account_ids: Sequence[int]) -> str:
    _, evs = evs_beside(settings, server)
    home = home_of(settings)
    return WORDS.format(
        accounts=len(account_ids),
        players=len(PLAYERS),
        ticks=1_000 // TICK_MS,
        pages="  ".join(pages),
        server=server,
        shards="  ".join(f"{name} (process {pid})" for name, pid in shards.processes().items()),
        log=home / "nats",
        database=home / "postgres",
        again=AGAIN_SECONDS,
        account=account_ids[0],
        evs=evs,
    )
