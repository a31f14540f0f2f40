"""
A sender that keeps EVS busy: batches of trades over one stream at an even rate, of accounts that nobody measures.

Run as a process with EVS's address, events a second, and the accounts to trade for: prints ``ready`` and the address
once the first batch is answered, and goes on until it is ended.
"""

import asyncio
import sys
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from bench.events import trades

BATCH = 500


async def main(address: str, events_per_second: int, first_account: int, account_count: int) -> None:
    """Send for good; a batch that comes late is not made up for."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
        call = stub.StreamEvents()
        loop, pause = asyncio.get_running_loop(), BATCH / events_per_second
        runs = [
            trades(range(start, start + BATCH), first_account, account_count) for start in range(0, 20 * BATCH, BATCH)
        ]
        due, number = loop.time(), 0
        while True:
            await call.write(pb.StreamEventsRequest(runs=[runs[number % len(runs)]]))
            answer = await call.read()
            assert not answer.refusals, answer.refusals[0].message
            if not number:
                print(f"ready {address}", flush=True)  # noqa: T201 -- what whoever started this process waits for
            number += 1
            due = max(due + pause, loop.time())
            await asyncio.sleep(due - loop.time())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
