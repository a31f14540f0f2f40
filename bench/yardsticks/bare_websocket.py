"""
A bare ``websockets`` server that sends one ready-made frame to everyone when somebody says ``go``.

Run as a process: prints ``ready`` and its address, and serves until it is ended. The frame is the text of a socket's
first message, so that both sides send the same bytes.
"""

import asyncio
import contextlib

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

GO = "go"


async def main() -> None:
    """Serve on a free port of loopback, for good."""
    frame = b""
    everyone: set[ServerConnection] = set()

    async def attend(socket: ServerConnection) -> None:
        nonlocal frame
        async for message in socket:
            if message != GO:
                frame = message.encode() if isinstance(message, str) else message
                everyone.add(socket)
                continue
            for each in everyone:
                with contextlib.suppress(ConnectionClosed):
                    await each.send(frame, text=True)

    async with serve(attend, "127.0.0.1", 0, compression=None, max_queue=4) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ready 127.0.0.1:{port}", flush=True)  # noqa: T201 -- what whoever started this process waits for
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
