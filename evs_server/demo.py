"""
``evs demo``: everything on one machine, wired to each other, started and stopped in order.

Lives here: the order, and what a newcomer is told. Not here: any of the parts. PostgreSQL, EVS and the exchange are run
by this process, the bridge is a process of its own, as in earnest:

    addresses are free -> PostgreSQL -> EVS -> exchange -> bridge -> words -> Ctrl-C -> all of it backwards

The bridge's standard input is a pipe from here: first the names of accounts and players, then nothing until the demo
ends, however it ends. So no bridge outlives its demo. Touches everything.
"""

import asyncio
import json
import logging
import os
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from evs_client.errors import EvsClientError
from pydantic import SecretStr

from evs_server.app import Application
from evs_server.bridge.policy import Policy
from evs_server.bridge.server import Bridge
from evs_server.bridge.site import Demo
from evs_server.config import KEYS_AND_CERTIFICATES, Settings, without_keys
from evs_server.doctor import taken_addresses
from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.exchange.crowd import PLAYERS, TRADERS
from evs_server.exchange.market import TICK_MS, run_market
from evs_server.stopping import unless_stopped
from evs_server.store.embedded import open_database

MARKET_STOP_SECONDS: Final = 20
"""The exchange ends with its last tick stored; a database that has gone away would keep it for ever."""

BRIDGE_START_SECONDS: Final = 30
BRIDGE_STOP_SECONDS: Final = 15

BRIDGE_READY: Final = "evs bridge ready "

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

Say = Callable[[str], None]

log = logging.getLogger(__name__)


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
        own = without_keys(settings).model_copy(update={"database_url": SecretStr(dsn), "ingest_listen": None})
        app = await parts.enter_async_context(Application(own))
        await unless_stopped(stop, app.wait_ready())
        if stop.is_set():
            return
        account_ids, market = await parts.enter_async_context(_market(app.address, dsn))
        demo = Demo(
            dict(zip(account_ids, TRADERS, strict=True)), {symbol: player.name for symbol, player in PLAYERS.items()}
        )
        page, bridge = await parts.enter_async_context(_bridge(settings, app.address, demo))
        say(_words(settings, app.address, page, account_ids))
        await _until_stopped(stop, app, market, bridge)


async def run_demo_bridge(settings: Settings, stop: asyncio.Event, say: Say) -> None:
    """
    Be the demo's bridge: anyone gets a token of any of its accounts. Ends with ``stop``, or with the demo.

    Args:
        settings: As of every bridge; the page is on loopback only.
        stop: Set it to stop.
        say: Takes one line once browsers are served, ``BRIDGE_READY`` and the page's address.
    """
    demo = _read_names(sys.stdin.buffer.readline())
    loop, pipe = asyncio.get_running_loop(), sys.stdin.fileno()

    def on_end() -> None:
        loop.remove_reader(pipe)  # an ended pipe stays readable, and would be read for ever
        stop.set()

    loop.add_reader(pipe, on_end)
    async with Bridge(settings, Policy(push_interval_s=1 / settings.push_per_second), demo).serving() as page:
        say(f"{BRIDGE_READY}{page}")
        await stop.wait()


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


@asynccontextmanager
async def _market(server: str, dsn: str) -> AsyncIterator[tuple[Sequence[int], asyncio.Task[None]]]:
    """The exchange, trading as long as the context; yields its accounts, and the task that fails if it does."""
    closing = asyncio.Event()
    opened: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        try:
            await run_market(server, dsn, closing, opened=opened.set_result)
        except EvsClientError as error:
            raise StoreUnavailable(f"the demo's exchange cannot reach EVS: {error}") from error

    market = asyncio.create_task(run(), name="demo exchange")
    try:
        either: tuple[asyncio.Future[Any], ...] = (market, opened)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            await market
        yield opened.result(), market
    finally:
        told_already = market.done()
        closing.set()
        await asyncio.wait({market}, timeout=MARKET_STOP_SECONDS)
        if not market.done():
            log.warning("the demo's exchange has not ended after %d s; its last events are lost", MARKET_STOP_SECONDS)
            market.cancel()
            await asyncio.wait({market})
        elif not told_already and (error := market.exception()) is not None:
            log.warning("the demo's exchange has not ended well: %s", error)


@asynccontextmanager
async def _bridge(settings: Settings, server: str, demo: Demo) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The bridge, running as long as the context; yields the page's address, and the process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "evs_server.cli", "bridge", "--demo"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment() | {"EVS_SERVER": server, "EVS_LOG_LEVEL": settings.log_level},
        # Ctrl-C reaches the whole foreground group; the bridge is to end when its turn comes.
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(_write_names(demo))
        async with asyncio.timeout(BRIDGE_START_SECONDS):
            line = (await process.stdout.readline()).decode().strip()
        if not line.startswith(BRIDGE_READY):
            raise ConfigError("the demo's bridge does not start; the lines above say why")
        yield line.removeprefix(BRIDGE_READY), process
    except TimeoutError:
        raise ConfigError(f"the demo's bridge has not started within {BRIDGE_START_SECONDS} s") from None
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(BRIDGE_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            log.warning("the demo's bridge has not ended after %d s; ending it", BRIDGE_STOP_SECONDS)
            process.kill()
            await process.wait()


def _environment() -> dict[str, str]:
    """The environment without keys and certificates, as EVS itself is run here."""
    left_alone = {f"EVS_{name.upper()}" for name in KEYS_AND_CERTIFICATES}
    return {name: value for name, value in os.environ.items() if name not in left_alone}


# Over the pipe names go in one line of JSON, whose keys are text.


def _write_names(demo: Demo) -> bytes:
    return json.dumps({"accounts": demo.accounts, "symbols": demo.symbols}).encode() + b"\n"


def _read_names(line: bytes) -> Demo:
    named = json.loads(line or b"{}")

    def by_id(kind: str) -> Mapping[int, str]:
        return {int(key): name for key, name in named.get(kind, {}).items()}

    return Demo(by_id("accounts"), by_id("symbols"))


def _words(settings: Settings, server: str, page: str, account_ids: Sequence[int]) -> str:
    # What the other terminal must be told, if anything.
    given = {"EVS_DATA_DIR": str(settings.data_dir)} if "data_dir" in settings.model_fields_set else {}
    if server != Settings.model_fields["server"].default:
        given["EVS_SERVER"] = server
    here = "".join(f"{name}={shlex.quote(value)} " for name, value in given.items())
    return WORDS.format(
        accounts=len(account_ids),
        players=len(PLAYERS),
        ticks=1_000 // TICK_MS,
        page=page,
        server=server,
        database=settings.data_dir / "postgres",
        account=account_ids[0],
        python=_short(Path(sys.executable)),
        evs=f"{here}{_short(Path(sys.executable).with_name('evs'))}",
    )


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
