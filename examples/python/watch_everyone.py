"""
A service that keeps the newest equity of every account: risk, a leaderboard, an export.

It uses the plain stub, as any language has it from ``evs.proto``; here the stream is begun again by hand.

    python examples/python/watch_everyone.py --server 127.0.0.1:50051
"""

import argparse
import asyncio

import grpc
import grpc.aio
from evs.v1 import evs_pb2, evs_pb2_grpc

PAUSE_S = 1.0
SILENCE_MAX_S = 45.0
"""Three heartbeats: a stream that is silent for longer is dead, whatever the connection says."""

AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}

Book = dict[int, evs_pb2.SubscribeEquityResponse]


async def follow(server: str, book: Book, *, once: bool) -> None:
    """Keep a book up to date: what each account is worth, by its id."""
    async with grpc.aio.insecure_channel(server) as channel:
        stub = evs_pb2_grpc.EquityValuationServiceStub(channel)
        call = stub.WatchEquity()
        try:
            await call.write(evs_pb2.WatchEquityRequest(all=True))
            while True:
                async with asyncio.timeout(SILENCE_MAX_S):
                    message = await call.read()
                if not isinstance(message, evs_pb2.WatchEquityResponse):
                    return
                for update in message.updates:  # none: a heartbeat
                    book[update.equity.account_id] = update
                if message.updates:
                    total = sum(update.equity.total_equity for update in book.values())
                    print(f"{len(book)} accounts, {total} cents, version {message.updates[-1].version}", flush=True)
                    if once:
                        return
        finally:
            call.cancel()  # EVS forgets this reader at once


async def main(server: str, *, once: bool) -> None:
    """Follow for ever: after a break every account comes again, as a snapshot."""
    book: Book = {}
    while True:
        try:
            await follow(server, book, once=once)
        except TimeoutError:
            print("EVS is silent")
        except grpc.aio.AioRpcError as error:
            if error.code() not in AGAIN:
                raise
            print(f"EVS is away: {error.details()}")
        if once and book:
            return
        await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Follow what every account is worth.")
    arguments.add_argument("--server", default="127.0.0.1:50051", help="where EVS serves readers")
    arguments.add_argument("--once", action="store_true", help="end after the first values")
    given = arguments.parse_args()
    try:
        asyncio.run(main(given.server, once=given.once))
    except KeyboardInterrupt:
        print("no longer followed")
