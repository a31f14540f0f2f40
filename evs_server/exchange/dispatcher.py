"""
Who is told after a settlement, and what their failures are worth to the exchange: a log line.

Lives here: ``EventDispatcher``. Not here: when there is something to tell (``execution_manager``). No I/O of its own.

Invariants: each callback hears of everything, in order; none can fail a settlement, and all of them together hold it up
no longer than one deadline.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from evs_client import PostSettlementCallback
from evs_client.encode import Side

CALLBACK_SECONDS_MAX: Final = 5.0
"""How long a callback may take for one piece of news; only a sender whose outbox is full takes more than an instant."""

logger = logging.getLogger(__name__)


class EventDispatcher:
    """
    Passes news on to callbacks.

    Args:
        callback_seconds_max: Patience with each callback; what takes longer is cancelled and logged.
    """

    def __init__(self, callback_seconds_max: float = CALLBACK_SECONDS_MAX) -> None:
        self._callback_seconds_max = callback_seconds_max
        self._callbacks: list[PostSettlementCallback] = []

    def add_post_settlement_callback(self, callback: PostSettlementCallback) -> None:
        """Tell one more from now on."""
        self._callbacks.append(callback)

    async def notify_trade_settled(
        self, account_id: int, symbol_id: int, side: Side, *, quantity_bp: int, price_cents: int, settlement_id: int = 0
    ) -> None:
        """
        Tell of one leg of a settled trade; called for the buyer and for the seller.

        Args:
            account_id: Whose leg.
            symbol_id: What was traded.
            side: ``"BUY"`` or ``"SELL"``.
            quantity_bp: Size in bp, positive.
            price_cents: Cents per share.
            settlement_id: Id of the leg's ``trades`` row.
        """
        await self._notify(
            lambda callback: callback.on_trade_settled(
                account_id,
                symbol_id,
                side,
                quantity_bp=quantity_bp,
                price_cents=price_cents,
                settlement_id=settlement_id,
            )
        )

    async def notify_price_updated(self, symbol_id: int, price_cents: int) -> None:
        """Tell of a price that the exchange has set."""
        await self._notify(lambda callback: callback.on_price_updated(symbol_id, price_cents))

    async def notify_tick_complete(self, tick_id: int, tick_time_ms: int = 0) -> None:
        """Tell of the end of a tick; its time in unix milliseconds, 0 if unknown."""
        await self._notify(lambda callback: callback.on_tick_complete(tick_id, tick_time_ms))

    async def _notify(self, tell: Callable[[PostSettlementCallback], Awaitable[None]]) -> None:
        async def within_deadline(callback: PostSettlementCallback) -> None:
            async with asyncio.timeout(self._callback_seconds_max):
                await tell(callback)

        # Gathered, failures come back as values: whatever a callback raises, the others are told and we go on.
        outcomes = await asyncio.gather(*map(within_deadline, self._callbacks), return_exceptions=True)
        for callback, outcome in zip(self._callbacks, outcomes, strict=True):
            if outcome is not None:
                logger.warning("post-settlement callback %s failed: %r", type(callback).__name__, outcome)
