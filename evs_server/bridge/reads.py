"""
The bridge's reads: one question to EVS, one outcome, within a deadline.

Lives here: the calls, and what a browser is told of one that failed. Not here: streams (``upstream``), protobuf fields
(``codec``). Reads of the past go to the database: only so many are asked for at a time, and the others wait their turn,
within a deadline too.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
from evs.v1 import evs_pb2
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from evs_server.bridge import codec
from evs_server.bridge.cluster import ClusterReads
from evs_server.bridge.policy import Policy
from evs_server.bridge.requests import (
    KillShard,
    ReadCluster,
    ReadHistory,
    ReadLeaderboard,
    ReadPerformance,
    ReadPositions,
    ReadRequest,
    ReadSummary,
)
from evs_server.bridge.values import Failure, Outcome
from evs_server.errors import InvalidRequest, NotServed, Overloaded, StoreUnavailable, UnknownAccount

if TYPE_CHECKING:
    # A name of the types alone: at run time one class serves both kinds of channel.
    from evs.v1.evs_pb2_grpc import EquityValuationServiceAsyncStub

UNAVAILABLE: Final = "UNAVAILABLE"
"""To a browser's program it is all one why EVS does not answer: it tries again."""


class Reads:
    """
    What can be asked of EVS.

    Args:
        stub: The contract's client.
        policy: Deadline and bound.
        cluster: What can be asked about a cluster.
    """

    def __init__(self, stub: "EquityValuationServiceAsyncStub", policy: Policy, cluster: ClusterReads) -> None:
        self._stub = stub
        self._policy = policy
        self._cluster = cluster
        self._turns = asyncio.Semaphore(policy.history_reads_max)

    async def read(self, request: ReadRequest, account_id: int) -> Outcome:
        """What EVS answers to a request of an account's owner."""
        try:
            match request:
                case ReadSummary() | ReadPositions() | ReadLeaderboard():
                    return await self._present(request, account_id)
                case ReadCluster() | KillShard():
                    return await self._cluster.read(request)
                case ReadHistory() | ReadPerformance():
                    async with self._turn():
                        return await self._past(request, account_id)
        except grpc.aio.AioRpcError as error:
            return failure(error, account_id)
        except TimeoutError:
            return Failure(Overloaded.reason, "too much history is being read at present: try again")

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with asyncio.timeout(self._policy.read_s):
            await self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()

    async def _present(self, request: ReadSummary | ReadPositions | ReadLeaderboard, account_id: int) -> Outcome:
        match request:
            case ReadSummary():
                return await self._summary(account_id)
            case ReadPositions():
                return await self._positions(account_id)
            case ReadLeaderboard():
                return await self._leaderboard(request, account_id)

    async def _summary(self, account_id: int) -> Outcome:
        question = evs_pb2.GetEquityRequest(account_id=account_id)
        return codec.decode_equity(await self._stub.GetEquity(question, timeout=self._policy.read_s))

    async def _positions(self, account_id: int) -> Outcome:
        question = evs_pb2.ListPositionsRequest(account_id=account_id)
        return codec.decode_positions(await self._stub.ListPositions(question, timeout=self._policy.read_s))

    async def _leaderboard(self, request: ReadLeaderboard, account_id: int) -> Outcome:
        question = codec.encode_leaderboard(request, account_id)
        answer = await self._stub.GetLeaderboard(question, timeout=self._policy.read_s)
        return codec.decode_leaderboard(answer, request, account_id)

    async def _past(self, request: ReadHistory | ReadPerformance, account_id: int) -> Outcome:
        if isinstance(request, ReadHistory):
            question = codec.encode_history(request, account_id)
            return codec.decode_history(await self._stub.GetEquityHistory(question, timeout=self._policy.read_s))
        asked = codec.encode_performance(request, account_id)
        return codec.decode_performance(await self._stub.GetPerformance(asked, timeout=self._policy.read_s))


# --- what a browser is told --------------------------------------------------------------------------------------


_OUT_OF_REACH: Final = Failure(UNAVAILABLE, "EVS cannot be reached at present: try again")
_FAILURES: Final[Mapping[grpc.StatusCode, Failure]] = {
    grpc.StatusCode.UNAVAILABLE: _OUT_OF_REACH,
    grpc.StatusCode.DEADLINE_EXCEEDED: _OUT_OF_REACH,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Failure(Overloaded.reason, "EVS is over capacity: try again"),
    grpc.StatusCode.UNIMPLEMENTED: Failure(NotServed.reason, "the EVS behind this bridge does not serve this method"),
}
_FAULT: Final = Failure("INTERNAL", "EVS did not answer as it should")


def failure(error: grpc.aio.AioRpcError, account_id: int) -> Failure:
    """
    What a browser is told of a call that failed.

    Never the status's own text, which may name our hosts; but what EVS says of a field, it says to whoever asked.
    """
    match error.code():
        case grpc.StatusCode.NOT_FOUND:
            unknown = UnknownAccount(account_id)
            return Failure(unknown.reason, unknown.message)
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.OUT_OF_RANGE:
            return Failure(InvalidRequest.reason, _violation(error) or "EVS does not accept these parameters")
        case grpc.StatusCode.UNAVAILABLE if _reason(error) == StoreUnavailable.reason:
            return Failure(UNAVAILABLE, "what is stored cannot be read at present: try again")
        case code:
            return _FAILURES.get(code, _FAULT)


def _violation(error: grpc.aio.AioRpcError) -> str | None:
    for detail in _details(error):
        refused = error_details_pb2.BadRequest()
        if detail.Unpack(refused) and refused.field_violations:
            first = refused.field_violations[0]
            return f"{codec.PARAM_OF_FIELD.get(first.field, first.field)}: {first.description}"
    return None


def _reason(error: grpc.aio.AioRpcError) -> str | None:
    for detail in _details(error):
        told = error_details_pb2.ErrorInfo()
        if detail.Unpack(told):
            return str(told.reason)
    return None


def _details(error: grpc.aio.AioRpcError) -> Iterator[any_pb2.Any]:
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is asked of a call
    except (DecodeError, ValueError):
        # Not what our EVS sends; whatever it says, it says to somebody else.
        return
    if status is not None:
        yield from status.details
