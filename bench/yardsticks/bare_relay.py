"""
A bare bridge: every message of one gRPC stream becomes one frame to every websocket, as it is.

Run as a process with the address of a ``bare_subscription``: prints ``ready`` and its address, and serves until it is
ended. The bytes of the stream's message are those of the frame.
"""

import asyncio
import contextlib
import sys
from typing import Any

import grpc
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.yardsticks import bare_subscription


async def main(address: str, frame: bytes) -> None:
    """Relay from an address to everyone on a free port of loopback, for good."""
    everyone: set[ServerConnection] = set()

    async def attend(socket: ServerConnection) -> None:
        async for _ in socket:
            everyone.add(socket)

    async with (
        grpc.aio.insecure_channel(address) as channel,
        serve(attend, "127.0.0.1", 0, compression=None, max_queue=4) as server,
    ):
        subscribe: Any = channel.unary_stream(bare_subscription.SUBSCRIBE)
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ready 127.0.0.1:{port}", flush=True)  # noqa: T201 -- what whoever started this process waits for
        async for message in subscribe(frame):
            for socket in everyone:
                with contextlib.suppress(ConnectionClosed):
                    await socket.send(message, text=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2].encode()))
