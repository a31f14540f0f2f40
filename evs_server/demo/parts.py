"""
What the demos have in common: the exchange that trades, the bridges, and what they tell. Touches everything.

A bridge's standard input is a pipe from the demo: first one line of names, then nothing until the demo ends, however it
ends. So no bridge outlives its demo.
"""

import asyncio
import json
import logging
import shlex
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from evs_client.errors import EvsClientError

from evs_server.bridge.policy import Policy
from evs_server.bridge.server import Bridge
from evs_server.bridge.site import Demo
from evs_server.config import Settings
from evs_server.demo.workers import Roll
from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.exchange.crowd import PLAYERS, TRADERS
from evs_server.exchange.market import run_market

MARKET_STOP_SECONDS: Final = 20
"""The exchange ends with its last tick stored; a database that has gone away would keep it for ever."""

BRIDGE_START_SECONDS: Final = 30
BRIDGE_STOP_SECONDS: Final = 15

BRIDGE_READY: Final = "evs bridge ready "

Say = Callable[[str], None]

log = logging.getLogger(__name__)


def named(account_ids: Sequence[int], roll: Path | None = None) -> Demo:
    """
    What the demo tells anybody.

    Args:
        account_ids: Those that trade, in the order of their names.
        roll: Where it is noted which workers were started; None if there are none.
    """
    accounts = dict(zip(account_ids, TRADERS, strict=True))
    symbols = {symbol: player.name for symbol, player in PLAYERS.items()}
    return Demo(accounts, symbols, None if roll is None else Roll(roll))


def evs_beside(settings: Settings, server: str) -> tuple[str, str]:
    """How Python and ``evs`` are called in another terminal, told what they must be told, if anything."""
    given = {"EVS_DATA_DIR": str(settings.data_dir)} if "data_dir" in settings.model_fields_set else {}
    if server != Settings.model_fields["server"].default:
        given["EVS_SERVER"] = server
    here = "".join(f"{name}={shlex.quote(value)} " for name, value in given.items())
    return _short(Path(sys.executable)), f"{here}{_short(Path(sys.executable).with_name('evs'))}"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


# --- the exchange ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def demo_market(server: str, dsn: str) -> AsyncIterator[tuple[Sequence[int], asyncio.Task[None]]]:
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


# --- the bridge, from the demo's side ----------------------------------------------------------------------------


@asynccontextmanager
async def demo_bridge(given: Mapping[str, str], demo: Demo) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """
    A bridge, running as long as the context; yields the page's address, and the process.

    Args:
        given: Its environment.
        demo: What it tells anybody.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "evs_server.cli", "bridge", "--demo"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=given,
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


# --- the bridge, from its own ------------------------------------------------------------------------------------


async def run_demo_bridge(settings: Settings, stop: asyncio.Event, say: Say) -> None:
    """
    Be a demo's bridge: anyone gets a token of any of its accounts. Ends with ``stop``, or with the demo.

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


# Over the pipe names go in one line of JSON, whose keys are text.


def _write_names(demo: Demo) -> bytes:
    roll = str(demo.workers.path) if isinstance(demo.workers, Roll) else None
    return json.dumps({"accounts": demo.accounts, "symbols": demo.symbols, "roll": roll}).encode() + b"\n"


def _read_names(line: bytes) -> Demo:
    told = json.loads(line or b"{}")

    def by_id(kind: str) -> Mapping[int, str]:
        return {int(key): name for key, name in told.get(kind, {}).items()}

    roll = told.get("roll")
    return Demo(by_id("accounts"), by_id("symbols"), None if roll is None else Roll(Path(roll)))
