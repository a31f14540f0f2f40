"""
An exchange that tells EVS what it has settled: the whole of an integration.

    python examples/python/execution_manager.py --server 127.0.0.1:50051 --buyer 1 --seller 2
"""

import argparse
import asyncio
import itertools
import time
from dataclasses import dataclass

from evs_client import ExecutionManagerClient, PostSettlementCallback, Refusal

PLAYER = 9_001
"""A symbol that the demo does not trade."""


@dataclass(frozen=True)
class Settled:
    """A trade as AccountService has it: two rows of `trades`, committed."""

    buyer: int
    seller: int
    symbol_id: int
    quantity_bp: int
    price_cents: int
    buyer_row: int
    seller_row: int


class ExecutionManager:
    """
    The part of an exchange that matches orders, has them settled, and then says so.

    Args:
        callback: Whoever wants to know. EVS's client is one: each call takes microseconds and waits for no answer.
    """

    def __init__(self, callback: PostSettlementCallback) -> None:
        self._callback = callback
        # Stands for the ids that the database gives to rows of `trades`: never the same twice.
        self._rows = itertools.count(time.time_ns() // 1_000_000)

    async def execute(self, buyer: int, seller: int, symbol_id: int, quantity_bp: int, price_cents: int) -> Settled:
        """A trade, settled and then announced: both legs, each with the id of its row, so that it counts once."""
        trade = Settled(buyer, seller, symbol_id, quantity_bp, price_cents, next(self._rows), next(self._rows))
        await self._callback.on_trade_settled(
            trade.buyer,
            symbol_id,
            "BUY",
            quantity_bp=quantity_bp,
            price_cents=price_cents,
            settlement_id=trade.buyer_row,
        )
        await self._callback.on_trade_settled(
            trade.seller,
            symbol_id,
            "SELL",
            quantity_bp=quantity_bp,
            price_cents=price_cents,
            settlement_id=trade.seller_row,
        )
        return trade

    async def end_tick(self, tick_id: int, price_cents: dict[int, int]) -> None:
        """The end of a tick: new prices, then the word on which EVS values every account that they touch."""
        for symbol_id, price in price_cents.items():
            await self._callback.on_price_updated(symbol_id, price)
        await self._callback.on_tick_complete(tick_id)


def complain(refusal: Refusal) -> None:
    """Show an event that EVS will never take; it changed nothing, and the others go on."""
    print(f"refused: {refusal}")


async def main(server: str, buyer: int, seller: int) -> None:
    """Trade ten shares at $50.00, see the price rise to $60.00, and wait until EVS has stored it."""
    # `source` is this sender's name: the same after a restart, and never used by two processes at a time.
    async with ExecutionManagerClient(server, source="example-exchange", on_refused=complain) as evs:
        exchange = ExecutionManager(evs)
        trade = await exchange.execute(buyer, seller, PLAYER, 10 * 10_000, 5_000)  # 1 share = 10,000 bp
        await exchange.end_tick(1, {PLAYER: 6_000})
        await evs.wait_durable(deadline_s=30)
        print(f"settled {trade}")
        print(f"durable: {evs.durable_sequence} of {evs.accepted_sequence} events, refused: {len(evs.refusals)}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Announce a trade, a price and a tick to EVS.")
    arguments.add_argument("--server", default="127.0.0.1:50051", help="where EVS takes events")
    arguments.add_argument("--buyer", type=int, default=1, help="an account that the exchange has")
    arguments.add_argument("--seller", type=int, default=2, help="another one")
    given = arguments.parse_args()
    asyncio.run(main(given.server, given.buyer, given.seller))
