"""What the exchange calls after it has settled. Pure: a protocol, and nothing that happens."""

from typing import Protocol

from evs_client.encode import Side


class PostSettlementCallback(Protocol):
    """
    Whoever wants to know of settled trades, prices and ticks; ``ExecutionManagerClient`` is one.

    The methods return once the news is taken, not once it is worked off, and say all numbers in cents and bp.
    """

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
        """Take one leg of a settled trade; called for the buyer and for the seller."""
        ...

    async def on_price_updated(self, symbol_id: int, price_cents: int) -> None:
        """Take a symbol's new price."""
        ...

    async def on_tick_complete(self, tick_id: int, tick_time_ms: int = 0) -> None:
        """Take the end of a tick; its time in unix milliseconds, 0 if unknown."""
        ...
