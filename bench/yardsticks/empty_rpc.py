"""
A bare ``grpc.aio`` server with one method that takes an empty message and returns one: what any RPC in Python costs.

Run as a process: prints ``ready`` and its address, and serves until it is ended.
"""

import asyncio

import grpc
from google.protobuf.empty_pb2 import Empty

METHOD = "/bench.Yardstick/Empty"


async def serve() -> None:
    """Serve on a free port of loopback, for good."""
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(
        _empty, request_deserializer=Empty.FromString, response_serializer=Empty.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Yardstick", {"Empty": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)  # noqa: T201 -- what whoever started this process waits for
    await server.wait_for_termination()


async def _empty(_request: Empty, _context: grpc.aio.ServicerContext[Empty, Empty]) -> Empty:
    return Empty()


if __name__ == "__main__":
    asyncio.run(serve())
