"""The moment of subscribing: whatever happens around it, the reader begins with the newest value."""

import asyncio
from pathlib import Path
from typing import Any

from evs.v1 import evs_pb2 as pb

from tests.builders import ALICE
from tests.serving import Rooms, served, within_patience
from tests.wire import a_batch, cash, ticks

OPENING_CENTS = 1_000_000


async def test_no_change_falls_between_the_first_value_and_those_that_follow(tmp_path: Path) -> None:
    """A tick completes at every turn of the loop until the reader is registered, and none after that."""
    rooms = Rooms({ALICE: OPENING_CENTS})
    await rooms.open()
    async with served(rooms, tmp_path) as stub:
        call: Any = stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=ALICE))
        tick_count = 0
        async with asyncio.timeout(30):
            while not rooms.hub.statistics()["subscriptions"]:
                tick_count += 1
                await rooms.gate.take(a_batch(cash((ALICE, 1)), ticks(tick_count)))
                await asyncio.sleep(0)
        first = await within_patience(call.read())
        assert OPENING_CENTS + tick_count == first.equity.total_equity
        call.cancel()
