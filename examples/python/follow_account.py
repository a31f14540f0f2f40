"""
A service that follows what one account is worth, for as long as it likes.

    python examples/python/follow_account.py --server 127.0.0.1:50051 --account 1 --values 10
"""

import argparse
import asyncio

from evs_client import EquityStream, StreamStatus
from evs_client.errors import NotFound


def dollars(cents: int) -> str:
    """An amount to read; cents stay whole, since no float is exact."""
    sign, size = ("-" if cents < 0 else ""), abs(cents)
    return f"{sign}${size // 100:,}.{size % 100:02}"


def tell(status: StreamStatus) -> None:
    """Show whether values are current: EVS may be away for a while, and comes back by itself."""
    print("live" if status.live else "not live: the last value stands")


async def main(server: str, account_id: int, value_count: int) -> None:
    """Show the current value at once, and then every change."""
    async with EquityStream(server, account_id, on_status=tell) as stream:
        try:
            async for value in stream:
                print(f"tick {value.tick}: {dollars(value.total_equity)}, today {dollars(value.day_change)}")
                value_count -= 1
                if not value_count:
                    return
        except NotFound as error:
            print(error)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Follow what one account is worth.")
    arguments.add_argument("--server", default="127.0.0.1:50051", help="where EVS serves readers")
    arguments.add_argument("--account", type=int, default=1, help="the exchange's id of the account")
    arguments.add_argument("--values", type=int, default=0, help="end after so many; 0: go on until Ctrl-C")
    given = arguments.parse_args()
    try:
        asyncio.run(main(given.server, given.account, given.values))
    except KeyboardInterrupt:
        print("no longer followed")
