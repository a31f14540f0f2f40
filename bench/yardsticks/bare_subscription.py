"""
A bare ``grpc.aio`` server that sends one ready-made message to every open stream when somebody calls ``Go``.

Run as a process: prints ``ready`` and its address, and serves until it is ended. Messages are bytes; a stream's request
is the message that it will be sent.
"""

import asyncio
from typing import Any

import grpc

SUBSCRIBE = "/bench.Yardstick/Subscribe"
GO = "/bench.Yardstick/Go"

Context = grpc.aio.ServicerContext[Any, Any]


async def serve() -> None:
    """Serve on a free port of loopback, for good."""
    everyone: set[asyncio.Event] = set()

    async def subscribe(message: bytes, context: Context) -> None:
        go = asyncio.Event()
        everyone.add(go)
        try:
            while True:
                await go.wait()
                go.clear()
                await context.write(message)
        finally:
            everyone.discard(go)

    async def start(_request: bytes, _context: Context) -> bytes:
        for go in everyone:
            go.set()
        return b""

    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 20_000)])
    methods: dict[str, Any] = {
        "Subscribe": grpc.unary_stream_rpc_method_handler(subscribe),
        "Go": grpc.unary_unary_rpc_method_handler(start),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Yardstick", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)  # noqa: T201 -- what whoever started this process waits for
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
