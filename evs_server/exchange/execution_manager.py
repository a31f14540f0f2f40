"""
ExecutionManager: has trades settled, and only then tells of them.

Lives here: the order of settlement and notification. Not here: either of them (``account_service``, ``dispatcher``).
"""

from collections.abc import Sequence

from evs_client.encode import Side

from evs_server.exchange.account_service import AccountService
from evs_server.exchange.dispatcher import EventDispatcher
from evs_server.exchange.ledger import Settlement, Trade


class ExecutionManager:
    """
    The exchange's end of every trade.

    Args:
        accounts: Where trades are settled.
        dispatcher: Who is told.
    """

    def __init__(self, accounts: AccountService, dispatcher: EventDispatcher) -> None:
        self._accounts = accounts
        self._dispatcher = dispatcher

    async def execute(self, trades: Sequence[Trade]) -> list[Settlement]:
        """
        Settle trades, then tell of both legs of each, in order.

        Returns:
            The ids of the ``trades`` rows of each trade, in the order given.

        Raises:
            UnknownAccount, StoreUnavailable: As ``AccountService.settle_many``; nobody is then told of any of them.
        """
        settlements = await self._accounts.settle_many(trades)
        for trade, settlement in zip(trades, settlements, strict=True):
            await self._tell_of_leg(trade, trade.buyer_id, "BUY", settlement.buy_id)
            await self._tell_of_leg(trade, trade.seller_id, "SELL", settlement.sell_id)
        return settlements

    async def set_price(self, symbol_id: int, price_cents: int) -> None:
        """Tell of a price that the exchange sets."""
        await self._dispatcher.notify_price_updated(symbol_id, price_cents)

    async def complete_tick(self, tick_id: int, tick_time_ms: int = 0) -> None:
        """Tell of the end of a tick, after all that happened in it; its time in unix milliseconds, 0 if unknown."""
        await self._dispatcher.notify_tick_complete(tick_id, tick_time_ms)

    async def _tell_of_leg(self, trade: Trade, account_id: int, side: Side, settlement_id: int) -> None:
        await self._dispatcher.notify_trade_settled(
            account_id,
            trade.symbol_id,
            side,
            quantity_bp=trade.quantity_bp,
            price_cents=trade.price_cents,
            settlement_id=settlement_id,
        )
