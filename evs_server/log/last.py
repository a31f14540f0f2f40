"""
The newest valuation of each account, for when nobody owns its shard: a stream that keeps one message for each.

Keeping never waits: what is yet to be sent is one value for each account, the newest, and goes as fast as the servers
take it. What is lost on the way is replaced by the next. So a value read here may be older than what the shard knows.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Final

from evs_server.cluster import subjects
from evs_server.errors import LogUnavailable, NoOwner
from evs_server.log.connect import Connection
from evs_server.log.streams import LAST

AT_ONCE: Final = 256
"""Values that are sent before the servers are asked whether they have them."""

_PAUSE_SECONDS: Final = 1.0
_FOUND_NOTHING: Final = "404"


class NatsLastValues:
    """
    Keeps and reads last values.

    Attributes:
        lost_count: Values that could not be kept; newer ones may have been since.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, bytes] = {}
        self._kept = asyncio.Event()
        self.lost_count = 0

    def keep(self, shard: int, values: Mapping[int, bytes]) -> None:
        """As ``LastValues.keep`` has it."""
        for account_id, value in values.items():
            self._waiting[subjects.last_of(shard, account_id)] = value
        self._kept.set()

    async def read(self, shard: int, account_id: int) -> bytes | None:
        """As ``LastValues.read`` has it."""
        subject = subjects.last_of(shard, account_id)
        try:
            message = await self._connection.request(f"$JS.API.DIRECT.GET.{LAST}.{subject}", b"")
        except NoOwner:
            raise LogUnavailable(f"there is no stream {LAST}, or it has no leader") from None
        status = (message.headers or {}).get("Status")
        if status == _FOUND_NOTHING:
            return None
        if status is not None:
            raise LogUnavailable(f"the last value of account {account_id} cannot be read: status {status}")
        return message.data

    async def send(self) -> None:
        """Send what is kept; a task of whoever opened the log, to be cancelled."""
        while True:
            self._kept.clear()
            while self._waiting:
                try:
                    await self._send_some()
                except (LogUnavailable, NoOwner):
                    await asyncio.sleep(_PAUSE_SECONDS)
                    await self._connection.wait_up()
            await self._kept.wait()

    async def _send_some(self) -> None:
        """Send a bounded number; the answer to the last says that the servers have got round to all of them."""
        some = [self._waiting.popitem() for _ in range(min(AT_ONCE, len(self._waiting)))]
        try:
            for subject, value in some[:-1]:
                await self._connection.publish(subject, value)
            subject, value = some[-1]
            answer = json.loads((await self._connection.request(subject, value)).data)
            self.lost_count += len(some) if "error" in answer else 0
        except (LogUnavailable, NoOwner):
            for subject, value in some:
                self._waiting.setdefault(subject, value)  # unless a newer one has come
            raise
