"""
EVS in the process of a test: everything behind the methods, and servers to reach it.

Wired as ``app`` wires it, but that the database is a dictionary, the time stands still until a test moves it, and
nothing is committed before the test lets it be.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import time
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import grpc
from evs.v1 import evs_pb2_grpc

from evs_server.core import Servicer
from evs_server.engine import SessionCalendar
from evs_server.fanout.hub import Hub
from evs_server.history.pages import Pages
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.gate import Gate
from evs_server.ingest.intake import Intake
from evs_server.ingest.keeping import Policy, keeping
from evs_server.ingest.loader import Loader
from evs_server.ingest.sequencer import Sequencer
from evs_server.ingest.settled import Settled
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.model import Flush, SettledTrade, Side
from evs_server.store.memory import ExchangeTrade, MemoryStore, Tables
from evs_server.store.writer import Writer
from tests.builders import NOON_MS, an_engine
from tests.guarded import guarded
from tests.patience import PATIENCE_SECONDS

HEARTBEAT_SECONDS = 3_600.0
"""Tests of heartbeats ask for a shorter one; all others want none in between."""

Stub: TypeAlias = "evs_pb2_grpc.EquityValuationServiceAsyncStub"
_T = TypeVar("_T")


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1_000


class Rooms:
    """
    Everything behind the methods. Made, opened and closed on the loop that serves it.

    Args:
        cash_cents: Balances of the exchange's accounts before the first start, by id; all are imported.
        tables: A database that was used before, instead.
        policy: Which valuations are stored.
    """

    def __init__(
        self,
        cash_cents: dict[int, int] | None = None,
        *,
        tables: Tables | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        policy: Policy = "every_tick",
    ) -> None:
        self.tables = tables or Tables()
        self.tables.balances_cents.update(cash_cents or {})
        self.clock, self.store, self.hub = SetClock(), MemoryStore(self.tables), Hub()
        self.engine, self.sequencer, self.lifecycle = an_engine(), Sequencer(), Lifecycle()
        self.writer = Writer(self.store, self.clock, on_durable=self._durable, on_fenced=self._fenced)
        clearing = Clearing(self.engine, Settled())
        kept = keeping(policy, 60)
        self.intake = Intake(self.engine, self.sequencer, clearing, self.hub, self.writer, kept)
        self.loader = Loader(self.intake, self.store, self.clock)
        self.gate = Gate(self.lifecycle, self.intake, self.sequencer, self.loader, self.clock)
        self.servicer = Servicer(self.lifecycle, heartbeat_seconds)
        self.servicer.attach(self.gate, self.engine, self.hub)
        calendar = SessionCalendar(ZoneInfo("UTC"), time(0))
        self.pages = Pages(self.store, self.engine, calendar, self.clock, kept.stored_with)
        self.servicer.attach_history(self.pages)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, *, writing: bool = True) -> None:
        """Recover or import, and serve; what is flushed is committed at once, or from ``start_writing`` on."""
        recovered = await self.store.recover()
        self.intake.restore(recovered)
        self.intake.restate(self.clock.now_ms())
        if not recovered.imported:
            self.intake.import_exchange(await self.store.read_exchange(), self.clock.now_ms())
            self.gate.flush_now()
        self._tasks.append(asyncio.create_task(self.loader.run()))
        if writing:
            self.start_writing()
        self.lifecycle.enter(Phase.SERVING)

    def start_writing(self) -> None:
        """Commit what was flushed, and from now on whatever is."""
        self._tasks.append(asyncio.create_task(self.writer.run()))

    def await_turns(self) -> None:
        """Have ticks captured when the writer is about to take them, as ``evs serve`` has it."""
        self.gate.announce, self.writer.on_turn = self.writer.announce, self.gate.flush_in_turn

    async def commit(self) -> None:
        """Have everything committed that was applied; the writer must be running."""
        self.gate.flush_now()
        assert 0 == await self.writer.drain(PATIENCE_SECONDS)

    async def close(self) -> None:
        """End the tasks; what was not committed is lost, as in a crash."""
        if self.lifecycle.phase is Phase.SERVING:
            self.lifecycle.enter(Phase.STOPPING)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # The timer of the next flush, if one is armed, must not outlive the loop.
        self.gate.flush_now()

    def settle(self, trade_id: int, account_id: int, symbol_id: int, side: Side, quantity_bp: int, price: int) -> None:
        """Have the exchange write a trade, which it does before it tells EVS."""
        trade = SettledTrade(trade_id, symbol_id, side, quantity_bp, price)
        self.tables.trades.append(ExchangeTrade(account_id, trade))

    def state(self) -> str:
        """A digest of everything that events decide."""
        return self.engine.state_hash()

    def _durable(self, flush: Flush) -> None:
        self.gate.mark_durable(flush)
        self.pages.mark_durable(flush.state.meta.version)

    @staticmethod
    def _fenced(error: BaseException) -> None:
        raise AssertionError(f"nobody takes over in these tests: {error}")


class LoopServer:
    """
    A grpc.aio server with the methods of a sync one, on a loop of its own in a thread.

    ``pytest-grpc`` drives it from the thread of the test; what the servicer needs of a loop is made with ``run``.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc.aio")
        self._thread.start()
        self._server = self.run(_a_server())

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """What a coroutine returns, run on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_SECONDS)

    def call(self, function: Callable[[], _T]) -> _T:
        """What a function returns, called on the server's loop."""

        async def called() -> _T:
            return function()

        return self.run(called())

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self.call(lambda: self._server.add_generic_rpc_handlers(handlers))

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        self.call(lambda: self._server.add_registered_method_handlers(service, handlers))

    def add_insecure_port(self, address: str) -> int:
        return self.call(lambda: self._server.add_insecure_port(address))

    def start(self) -> None:
        self.run(self._server.start())

    def stop(self, grace: float | None = None) -> None:
        self.run(self._server.stop(grace))

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()


async def _a_server() -> grpc.aio.Server:
    return grpc.aio.server()


@contextlib.asynccontextmanager
async def served(rooms: Rooms, directory: Path, options: Any = None) -> AsyncIterator[Stub]:
    """A stub of the rooms' methods behind the guard, over a real server on the loop of the test."""
    server = grpc.aio.server()
    evs_pb2_grpc.add_EquityValuationServiceServicer_to_server(rooms.servicer, guarded(server, rooms.clock))
    address = f"unix:{directory}/evs.sock"
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
            yield stub
    finally:
        await rooms.close()
        await server.stop(None)


async def until(look: Callable[[], bool]) -> None:
    """Return once something is so on this loop, which nobody announces."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not look():  # noqa: ASYNC110 -- what is looked at has no event to wait for
            await asyncio.sleep(0)


async def within_patience(awaitable: Awaitable[_T]) -> _T:
    """What something comes to, which must not take for ever."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await awaitable
