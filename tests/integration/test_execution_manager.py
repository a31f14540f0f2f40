"""ExecutionManager tells of trades once they are settled, and no callback can fail or hold up a settlement."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from evs_client import PostSettlementCallback
from evs_client.encode import Side

from evs_server.errors import UnknownAccount
from evs_server.exchange.account_service import AccountService
from evs_server.exchange.dispatcher import EventDispatcher
from evs_server.exchange.execution_manager import ExecutionManager
from evs_server.exchange.ledger import Trade

SHARE = 10_000
NEVER_SECONDS = 3_600


class Listener:
    """Keeps all it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    async def on_trade_settled(
        self,
        account_id: int,
        symbol_id: int,
        side: Side,
        *,
        quantity_bp: int,
        price_cents: int,
        fee_cents: int = 0,
        settlement_id: int = 0,
    ) -> None:
        self.heard.append((account_id, symbol_id, side, quantity_bp, price_cents, fee_cents, settlement_id))

    async def on_price_updated(self, symbol_id: int, price_cents: int) -> None:
        self.heard.append(("price", symbol_id, price_cents))

    async def on_tick_complete(self, tick_id: int, tick_time_ms: int = 0) -> None:
        self.heard.append(("tick", tick_id, tick_time_ms))


class Failing(Listener):
    """Hears, and fails."""

    async def on_tick_complete(self, tick_id: int, tick_time_ms: int = 0) -> None:
        await super().on_tick_complete(tick_id, tick_time_ms)
        raise ZeroDivisionError("a callback of somebody else's")


class Hanging(Listener):
    """Never comes back."""

    async def on_tick_complete(self, tick_id: int, tick_time_ms: int = 0) -> None:
        await super().on_tick_complete(tick_id, tick_time_ms)
        await asyncio.Event().wait()


@pytest.fixture
async def accounts(database: str) -> AsyncIterator[AccountService]:
    """Where trades are settled."""
    async with AccountService.connect(database) as service:
        yield service


def manager_of(
    accounts: AccountService, *callbacks: PostSettlementCallback, seconds_max: float = NEVER_SECONDS
) -> ExecutionManager:
    dispatcher = EventDispatcher(seconds_max)
    for callback in callbacks:
        dispatcher.add_post_settlement_callback(callback)
    return ExecutionManager(accounts, dispatcher)


async def test_both_legs_are_told_after_both_are_settled(accounts: AccountService) -> None:
    """Each callback hears the buyer's leg, then the seller's, with the ids of their rows; then prices and ticks."""
    first, second = Listener(), Listener()
    manager = manager_of(accounts, first, second)
    buyer, seller = await accounts.open_accounts({"buyer": 0, "seller": 0})
    (settled,) = await manager.execute([Trade(buyer, seller, 7, SHARE, 1_500, 0)])
    await manager.set_price(7, 1_600)
    await manager.complete_tick(3, 1_000)
    assert [
        (buyer, 7, "BUY", SHARE, 1_500, 0, settled.buy_id),
        (seller, 7, "SELL", SHARE, 1_500, 0, settled.sell_id),
        ("price", 7, 1_600),
        ("tick", 3, 1_000),
    ] == first.heard
    assert first.heard == second.heard


async def test_nothing_is_told_of_what_is_not_settled(accounts: AccountService) -> None:
    """A settlement that fails is the exchange's to deal with; nobody else hears of it."""
    listener = Listener()
    account = await accounts.open_account("one", 0)
    with pytest.raises(UnknownAccount):
        await manager_of(accounts, listener).execute([Trade(account, account + 1, 7, SHARE, 1_500, 0)])
    assert [] == listener.heard


async def test_a_failing_callback_is_logged_and_the_others_are_told(
    accounts: AccountService, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a callback raises ends in the log."""
    listener, failing = Listener(), Failing()
    await manager_of(accounts, failing, listener).complete_tick(1)
    assert [("tick", 1, 0)] == listener.heard == failing.heard
    assert ['post-settlement callback Failing failed: ZeroDivisionError("a callback of somebody else\'s")'] == [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ]


async def test_a_hanging_callback_is_given_up_after_its_deadline(
    accounts: AccountService, caplog: pytest.LogCaptureFixture
) -> None:
    """The exchange goes on, and the callback is told of what comes next."""
    hanging = Hanging()
    manager = manager_of(accounts, hanging, seconds_max=0.01)
    await manager.complete_tick(1)
    await manager.set_price(7, 1_600)
    assert [("tick", 1, 0), ("price", 7, 1_600)] == hanging.heard
    assert "callback Hanging failed: TimeoutError()" in caplog.text
