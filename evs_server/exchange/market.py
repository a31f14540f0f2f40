"""
The demo's market: a crowd that trades made-up players, settled and announced as a real exchange would, until stopped.

Lives here: the beat. Not here: who wants what (``crowd``), matching (``book``), settlement and notification
(``execution_manager``). Touches Postgres, EVS and the clock.

It finds its accounts again by name, and its prices by its last trades: a second run goes on where the first ended.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

import grpc.aio
from evs.v1 import evs_pb2_grpc
from evs_client import ExecutionManagerClient

from evs_server.clock import Clock, SystemClock
from evs_server.errors import StoreUnavailable
from evs_server.exchange.account_service import AccountService
from evs_server.exchange.book import OrderBook
from evs_server.exchange.crowd import OPENING_CASH_CENTS, PLAYERS, TRADERS, Crowd
from evs_server.exchange.dispatcher import EventDispatcher
from evs_server.exchange.evidence import introduce
from evs_server.exchange.execution_manager import ExecutionManager
from evs_server.exchange.ledger import Trade

SOURCE: Final = "demo-exchange"
TICK_MS: Final = 250
ORDERS_PER_TICK: Final = 8

logger = logging.getLogger(__name__)


async def run_market(
    server: str,
    dsn: str,
    stop: asyncio.Event,
    *,
    seed: int = 1,
    tick_ms: int = TICK_MS,
    opened: Callable[[Sequence[int]], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """
    Trade until stopped; the last tick is then announced and durable.

    Args:
        server: Address of an EVS that serves.
        dsn: The database that it uses, migrated.
        stop: Ends it.
        seed: Of the crowd.
        tick_ms: Milliseconds from one tick to the next.
        opened: Told the accounts that trade, before they do.
        clock: Times ticks and trades.

    Raises:
        StoreUnavailable: If Postgres cannot be reached at the start; later it is waited for.
        EvsClientError: If EVS cannot be told at the start, or refuses for good.
    """
    async with (
        AccountService.connect(dsn) as accounts,
        grpc.aio.insecure_channel(server) as channel,
        ExecutionManagerClient(server, source=SOURCE) as client,
    ):
        account_ids = await _open_accounts(accounts)
        await introduce(evs_pb2_grpc.EquityValuationServiceStub(channel), account_ids)
        if opened is not None:
            opened(account_ids)
        crowd = Crowd(account_ids, seed, await accounts.last_prices(list(PLAYERS)))
        market = Market(accounts, client, crowd, clock or SystemClock())
        while not stop.is_set():
            try:
                await market.tick(tick_ms)
            except StoreUnavailable as error:
                logger.warning("no trading in this tick: %s", error.message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick_ms / 1_000):
                    await stop.wait()


class Market:
    """
    One exchange, tick by tick.

    Args:
        accounts: Where trades and flows are settled.
        client: Who is told.
        crowd: Who trades.
        clock: Times ticks and trades.
    """

    def __init__(self, accounts: AccountService, client: ExecutionManagerClient, crowd: Crowd, clock: Clock) -> None:
        dispatcher = EventDispatcher()
        dispatcher.add_post_settlement_callback(client)
        self._execution = ExecutionManager(accounts, dispatcher)
        self._accounts = accounts
        self._client = client
        self._crowd = crowd
        self._clock = clock
        self._books = {symbol: OrderBook() for symbol in PLAYERS}

    async def tick(self, tick_ms: int) -> int:
        """
        Let prices move, orders meet, and everyone know.

        Returns:
            How many trades there were.

        Raises:
            StoreUnavailable: If Postgres is away; the orders that met are forgotten.
        """
        now_ms = self._clock.now_ms()
        # Ids that follow time grow over restarts too; EVS would not mind if they did not.
        tick_id = now_ms // tick_ms
        self._crowd.move_prices()
        trades = self._match(tick_id, now_ms)
        await self._execution.execute(trades)
        for symbol_id, player in PLAYERS.items():
            if player.marked:
                await self._execution.set_price(symbol_id, self._crowd.price_cents[symbol_id])
        await self._move_cash()
        await self._execution.complete_tick(tick_id, now_ms)
        return len(trades)

    def _match(self, tick_id: int, now_ms: int) -> list[Trade]:
        for book in self._books.values():
            book.expire(tick_id)
        return [
            Trade(fill.buyer_id, fill.seller_id, symbol_id, fill.quantity_bp, fill.price_cents, now_ms)
            for symbol_id, order in self._crowd.orders(tick_id, ORDERS_PER_TICK)
            for fill in self._books[symbol_id].place(order)
        ]

    async def _move_cash(self) -> None:
        flow = self._crowd.flow()
        if flow is None:
            return
        account_id, amount_cents = flow
        if amount_cents > 0:
            await self._accounts.deposit(account_id, amount_cents)
        else:
            await self._accounts.withdraw(account_id, -amount_cents)
        await self._client.on_cash_adjusted(account_id, amount_cents, "deposit" if amount_cents > 0 else "withdrawal")


async def _open_accounts(accounts: AccountService) -> list[int]:
    """The ids of the market's accounts, in the order of their names; those that there are not yet are opened."""
    known = await accounts.find_accounts(TRADERS)
    missing = {name: OPENING_CASH_CENTS for name in TRADERS if name not in known}
    known.update(zip(missing, await accounts.open_accounts(missing), strict=True))
    return [known[name] for name in TRADERS]
