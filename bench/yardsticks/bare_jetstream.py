"""
Bare JetStream: ready messages into a stream in atomic batches, each after the answer to the one before, and out again.

The order of a sender's batches asks for the former; nothing is looked at, and nothing made of what comes out.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from evs_server.cluster.ports import Message

STREAM: Final = "BARE"
PREFIX: Final = "bare."
SECONDS: Final = 60.0


class BareLog:
    """
    A stream, who writes it and one who reads all of it.

    Attributes:
        fetched_count: Messages that came out, ever.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._fetched = asyncio.Event()
        self.fetched_count = 0

    async def put(self, batches: Sequence[Sequence[Message]]) -> None:
        """Put all batches in; each is answered once it is stored."""
        for batch in batches:
            name = uuid.uuid4().hex
            for number, message in enumerate(batch, start=1):
                headers = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
                if number < len(batch):
                    await self._client.publish(PREFIX + message.subject, message.data, headers=headers)
            answer = await self._client.request(
                PREFIX + batch[-1].subject,
                batch[-1].data,
                timeout=SECONDS,
                headers=headers | {"Nats-Batch-Commit": "1"},
            )
            assert "error" not in json.loads(answer.data), answer.data

    async def fetched(self, count: int) -> None:
        """Return once so many messages have come out, ever."""
        while self.fetched_count < count:
            self._fetched.clear()
            await self._fetched.wait()

    async def take(self, _message: Msg) -> None:
        """Take a message that came out."""
        self.fetched_count += 1
        self._fetched.set()


@asynccontextmanager
async def bare_log(url: str) -> AsyncIterator[BareLog]:
    """A stream of our own on a server, in files, with one who reads it from its end on."""
    client = await nats.connect(url)
    try:
        stream = {"name": STREAM, "subjects": [f"{PREFIX}>"], "storage": "file", "allow_atomic": True}
        answer = await client.request(f"$JS.API.STREAM.CREATE.{STREAM}", json.dumps(stream).encode(), timeout=SECONDS)
        assert "error" not in json.loads(answer.data), answer.data
        log = BareLog(client)
        await client.jetstream().subscribe(f"{PREFIX}>", stream=STREAM, ordered_consumer=True, cb=log.take)
        yield log
    finally:
        await client.close()
