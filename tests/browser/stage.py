"""What a browser test plays on: the exchange's tables, an EVS and a bridge as processes, and what the database says."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from evs_server import tokens
from evs_server.bridge.policy import Policy
from evs_server.bridge.server import Bridge
from evs_server.config import Settings, load
from tests.database import DatabaseServer
from tests.e2e.caller import BUY, SELL, Caller
from tests.e2e.exchange_tables import ExchangeTables, exchange_database
from tests.e2e.processes import Command, running, serving
from tests.patience import PATIENCE_SECONDS

OPENING = 1_000_000
"""Cents that an account opens with."""


class Stage:
    """
    An EVS that may be killed and started again, and where its page is.

    Args:
        tables: The exchange's tables.
        data_dir: Where EVS and the bridge keep what they share.
        url: The bridge's page.
        own_settings: What EVS is told beyond that.
    """

    def __init__(self, tables: ExchangeTables, data_dir: Path, url: str, **own_settings: str) -> None:
        self.tables = tables
        self.url = url
        self.address = address_in(data_dir)
        self.settings: Settings = load(data_dir=data_dir, server=self.address, bridge_listen="127.0.0.1:0")
        self._own_settings = own_settings
        self._evs: Command | None = None
        self._symbols = itertools.count(1)
        self._started = ExitStack()

    def start_evs(self) -> None:
        """Start EVS; it is ready on return."""
        started = serving(self.tables.dsn, self.settings.data_dir, listen=self.address, **self._own_settings)
        self._evs, _ = self._started.enter_context(started)

    def kill_evs(self) -> None:
        """End EVS as a crash would."""
        assert self._evs is not None
        self._evs.kill()

    def close(self) -> None:
        """End whatever EVS was started."""
        self._started.close()

    def new_symbol(self) -> int:
        """A symbol that nobody has heard of."""
        return next(self._symbols)

    def token(self, account_id: int, seconds: int = 3_600) -> str:
        """A token that the bridge accepts for so long."""
        return tokens.issue(self.settings, account_id, seconds)

    def trade(self, account_id: int, symbol: int, quantity_bp: int, price_cents: int) -> int:
        """A trade as the exchange settles and announces it, sales negative, and a tick; the version that shows it."""
        side, size = ("BUY" if quantity_bp > 0 else "SELL"), abs(quantity_bp)
        settlement_id = self.tables.settle(account_id, symbol, side, size, price_cents)
        with Caller(self.address) as caller:
            leg = BUY if quantity_bp > 0 else SELL
            caller.trade(account_id, symbol, leg, size, price_cents, settlement_id=settlement_id)
            return self._value(caller, account_id)

    def price(self, account_id: int, symbol: int, price_cents: int, at: datetime | None = None) -> int:
        """A new price and a tick, at a time of the market; the version in which a holder of the symbol shows it."""
        with Caller(self.address) as caller:
            caller.price(symbol, price_cents)
            return self._value(caller, account_id, 0 if at is None else 1_000 * int(at.timestamp()))

    def deposit(self, account_id: int, amount_cents: int) -> int:
        """Money in, as the exchange books and announces it, and a tick; the version that shows it."""
        self.tables.deposit(account_id, amount_cents)
        with Caller(self.address) as caller:
            caller.cash(account_id, amount_cents)
            return self._value(caller, account_id)

    def row(self, account_id: int, version: int) -> dict[str, Any]:
        """What the database has of an account at a version."""
        with Caller(self.address) as caller:
            caller.wait_stored()
        [row] = self.tables.rows(
            "SELECT * FROM equity_timeseries WHERE account_id = $1 AND version = $2", account_id, version
        )
        return dict(row)

    @staticmethod
    def _value(caller: Caller, account_id: int, tick_time: int = 0) -> int:
        caller.tick(tick_time=tick_time)
        return int(caller.equity(account_id).version)


def address_in(data_dir: Path) -> str:
    """Where an EVS with a data directory serves: a path, so that it is the same after a restart."""
    return f"unix:{data_dir}/evs.sock"


@contextmanager
def stage_on(server: DatabaseServer, data_dir: Path, **own_settings: str) -> Iterator[Stage]:
    """An exchange without accounts, an EVS and a bridge."""
    with ExitStack() as stack:
        tables = stack.enter_context(exchange_database(server))
        bridge = stack.enter_context(
            running("bridge", server=address_in(data_dir), data_dir=data_dir, bridge_listen="127.0.0.1:0")
        )
        stage = Stage(tables, data_dir, bridge.wait_for(r"http://127\.0\.0\.1:\d+/").group(), **own_settings)
        stack.callback(stage.close)
        stage.start_evs()
        yield stage


@contextmanager
def bridge_with(settings: Settings, policy: Policy) -> Iterator[str]:
    """A bridge with other times than it would have as a process, on a loop of its own; its page's address."""
    address: Future[str] = Future()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with Bridge(settings, policy).serving() as url:
            address.set_result(url)
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="bridge")
    thread.start()
    try:
        yield address.result(PATIENCE_SECONDS)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_SECONDS)
        loop.close()
