"""
What the owner of a virtual shard answers: reads and checks of the contract, and what gateways ask. Touches I/O.

The reads are answered by the very servicers of ``evs serve``, from this shard's core. Lives here: which question is
whose, and failures as statuses in the place of a call's end. Not here: how questions arrive (``log``).
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
import numpy as np
from evs.cluster.v1 import checks_pb2
from evs.v1 import admin_pb2
from evs.v1 import evs_pb2 as pb
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from evs_server.cluster import codec
from evs_server.cluster.news import EnsureResponse, latest_page
from evs_server.cluster.ports import Reply
from evs_server.core import Core, Servicer
from evs_server.errors import Malformed, NotServed
from evs_server.lifecycle import Lifecycle
from evs_server.model import Snapshot, SnapshotColumns
from evs_server.rpc_status import answers_with_status
from evs_server.shard.checks import Checks
from evs_server.shard.source import Source

WAIT_SECONDS: Final = 1.5
"""How long a question waits for the log to be applied up to where it asks."""

ENSURE: Final = "Ensure"
LATEST: Final = "Latest"
CHECK: Final = "Check"
"""What gateways ask besides the contract's methods."""


class Answers:
    """
    Answers questions to one virtual shard.

    Args:
        core: Knows the answers.
        source: Knows how far the log is applied.
        lifecycle: Says whether anything is answered.
        checks: What operators ask.
        start_number: Of this owner's start.
    """

    def __init__(self, core: Core, source: Source, lifecycle: Lifecycle, checks: Checks, start_number: int) -> None:
        self._core = core
        self._source = source
        self._lifecycle = lifecycle
        self._start_number = start_number
        # Streams are served by gateways, from news: nobody follows anything here, and none needs a heartbeat.
        servicer = Servicer(lifecycle, 0.0)
        core.serve_by(servicer)
        self._methods: Final[dict[str, tuple[type[Message], Callable[[Any, Any], Awaitable[Message]]]]] = {
            "GetEquity": (pb.GetEquityRequest, servicer.GetEquity),
            "BatchGetEquity": (pb.BatchGetEquityRequest, servicer.BatchGetEquity),
            "ListPositions": (pb.ListPositionsRequest, servicer.ListPositions),
            "GetEquityHistory": (pb.GetEquityHistoryRequest, servicer.GetEquityHistory),
            "GetPerformance": (pb.GetPerformanceRequest, servicer.GetPerformance),
            "GetLeaderboard": (pb.GetLeaderboardRequest, servicer.GetLeaderboard),
            CHECK: (checks_pb2.CheckRequest, checks.check),
            "Recompute": (admin_pb2.RecomputeRequest, checks.recompute),
        }

    async def answer(self, method: str, question: bytes) -> Reply:
        """What is answered to one question; a failure is a status."""
        call = _Call()
        try:
            return Reply(await self._answered((method, question), call), start_number=self._start_number)
        except grpc.aio.AbortError:
            return Reply(b"", call.status, self._start_number)

    @answers_with_status
    async def _answered(self, asked: tuple[str, bytes], context: "_Call") -> bytes:
        method, question = asked
        try:
            if method == ENSURE:
                return await self._ensure(question)
            if method == LATEST:
                return await self._latest(question)
            if method not in self._methods:
                raise NotServed(f"an owner of a virtual shard does not answer {method}")
            kind, behavior = self._methods[method]
            return (await behavior(kind.FromString(question), context)).SerializeToString()
        except DecodeError:
            raise Malformed(f"a question to {method} cannot be read") from None

    async def _ensure(self, question: bytes) -> bytes:
        request = codec.decode_ensure_request(question)
        await self._source.reached(request.at_least_position, WAIT_SECONDS)
        account_ids = request.account_id.tolist()
        refused = await self._core.gate.ensure(account_ids)
        settled = zip(
            request.settlements.account_id.tolist(),
            request.settlements.side.tolist(),
            request.settlements.settlement_id.tolist(),
            strict=True,
        )
        snapshots = (self._core.engine.snapshot(account_id) for account_id in dict.fromkeys(account_ids))
        return codec.encode_ensure_response(
            EnsureResponse(
                as_columns([snapshot for snapshot in snapshots if snapshot is not None]),
                refused,
                tuple(row for row, each in enumerate(settled) if self._core.clearing.retries.is_repeat(*each)),
                self._start_number,
            )
        )

    async def _latest(self, question: bytes) -> bytes:
        request = codec.decode_latest_request(question)
        await self._source.reached(request.at_least_position, WAIT_SECONDS)
        page = latest_page(self._core.engine.latest_snapshots(), request, self._start_number)
        return codec.encode_latest_response(page)


def as_columns(snapshots: list[Snapshot]) -> SnapshotColumns:
    """Snapshots as columns, in the order given."""
    names = SnapshotColumns.__dataclass_fields__
    return SnapshotColumns(*(np.array([getattr(each, name) for each in snapshots], np.int64) for name in names))


class _Call:
    """What a method sees of its call: where to leave the status that it fails with."""

    def __init__(self) -> None:
        self.status = b""

    async def abort_with_status(self, status: Any) -> NoReturn:
        [(_, self.status)] = status.trailing_metadata
        raise grpc.aio.AbortError

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self.status = status_pb2.Status(code=code.value[0], message=details).SerializeToString()
        raise grpc.aio.AbortError
