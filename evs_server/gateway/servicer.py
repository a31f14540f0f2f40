"""
Every method of the contract, as a gateway serves it. Touches I/O.

Events go through the inlet; newest values, streams and the ranking come from the table, by the very methods of ``evs
serve``. What only the owner of an account's shard knows is asked of it, bytes for bytes.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from evs.v1 import evs_pb2 as pb
from google.protobuf.message import Message

from evs_server.cluster.shards import shard_of
from evs_server.fanout.hub import Hub
from evs_server.fanout.servicer import FanoutServicer
from evs_server.gateway.accounts import Accounts
from evs_server.gateway.inlet import Inlet
from evs_server.gateway.owners import Owners
from evs_server.gateway.stream import SenderStream
from evs_server.gateway.table import SnapshotTable
from evs_server.ingest.servicer import IngestServicer
from evs_server.lifecycle import Lifecycle
from evs_server.lookup import check_account_id
from evs_server.performance.leaderboard import Leaderboard
from evs_server.performance.names import Names
from evs_server.performance.servicer import PerformanceServicer
from evs_server.rpc_status import answers_with_status, while_serving

Context = grpc.aio.ServicerContext[Any, Any]

ANSWERED_BY_OWNERS: Final = ("ListPositions", "GetEquityHistory", "GetPerformance")


class GatewayServicer(IngestServicer, FanoutServicer, PerformanceServicer):
    """Serves once the lifecycle says so."""

    def __init__(self, lifecycle: Lifecycle, heartbeat_seconds: float) -> None:
        self._lifecycle = lifecycle
        self._heartbeat_seconds = heartbeat_seconds
        self._wakers = set()
        lifecycle.on_change(self._wake_all)

    def attach(self, inlet: Inlet, table: SnapshotTable, hub: Hub, accounts: Accounts, owners: Owners) -> None:
        """Take the rooms behind the methods."""
        self._gate = self._inlet = inlet
        self._engine, self._hub, self._accounts, self._owners = table, hub, accounts, owners

    def attach_ranking(self, leaderboard: Leaderboard, names: Names) -> None:
        """Take what makes the ranking."""
        self._leaderboard, self._names = leaderboard, names

    @while_serving
    def StreamEvents(
        self, request_iterator: AsyncIterator[pb.StreamEventsRequest], _: Context
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """Put batches into the log in order, answer each, and say when more is durable."""
        return SenderStream(self._inlet, request_iterator).answers()

    @answers_with_status
    async def ListPositions(self, request: pb.ListPositionsRequest, _: Context) -> pb.ListPositionsResponse:
        """An account's positions as of its newest valuation."""
        return pb.ListPositionsResponse.FromString(await self._ask("ListPositions", request.account_id, request))

    @answers_with_status
    async def GetEquityHistory(self, request: pb.GetEquityHistoryRequest, _: Context) -> pb.GetEquityHistoryResponse:
        """A page of an account's bars."""
        return pb.GetEquityHistoryResponse.FromString(await self._ask("GetEquityHistory", request.account_id, request))

    @answers_with_status
    async def GetPerformance(self, request: pb.GetPerformanceRequest, _: Context) -> pb.GetPerformanceResponse:
        """What an account has made over a time."""
        return pb.GetPerformanceResponse.FromString(await self._ask("GetPerformance", request.account_id, request))

    async def _ask(self, method: str, account_id: int, request: Message) -> bytes:
        self._lifecycle.require_serving()
        check_account_id("account_id", account_id)
        return await self._owners.ask(shard_of(account_id), method, request.SerializeToString())
