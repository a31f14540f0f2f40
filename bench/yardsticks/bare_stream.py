"""
A bare ``grpc.aio`` stream that decodes each batch of events into columns, or rows, and answers: it does nothing else.

Run as a process: prints ``ready`` and its address, and serves until it is ended. ``decode`` alone is the same work
without a network.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
from evs.v1 import evs_pb2 as pb

METHOD = "/bench.Yardstick/Events"


def decode(message: bytes) -> int:
    """How many trades a batch holds, after each column of it was made an array and each single one a tuple."""
    count = 0
    for run in pb.StreamEventsRequest.FromString(message).runs:
        trades = run.trades
        columns = (
            trades.account_id, trades.symbol_id, trades.side, trades.quantity_bp, trades.price_cents,
            trades.settlement_id,
        )  # fmt: skip
        if len(trades.account_id) == 1:
            row = tuple([column[0] for column in columns])
            count += len(row) // len(columns)
        else:
            arrays = [np.array(column, np.int64) for column in columns]
            count += len(arrays[0])
    return count


async def serve() -> None:
    """Serve on a free port of loopback, for good."""
    server = grpc.aio.server()
    method: Any = grpc.stream_stream_rpc_method_handler(
        _events, request_deserializer=None, response_serializer=pb.StreamEventsResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Yardstick", {"Events": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)  # noqa: T201 -- what whoever started this process waits for
    await server.wait_for_termination()


async def _events(
    messages: AsyncIterator[bytes], _context: grpc.aio.ServicerContext[Any, Any]
) -> AsyncIterator[pb.StreamEventsResponse]:
    count = 0
    async for message in messages:
        count += decode(message)
        yield pb.StreamEventsResponse(applied_sequence=count, batch_answer=True)


if __name__ == "__main__":
    asyncio.run(serve())
