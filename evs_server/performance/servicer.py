"""
The methods that readers of returns call: decode, ask, encode. Touches I/O.
"""

from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.lifecycle import Lifecycle
from evs_server.lookup import look_up
from evs_server.performance import codec
from evs_server.performance.leaderboard import Leaderboard
from evs_server.performance.names import Names
from evs_server.performance.returns import Returns
from evs_server.ports import AccountLookup, NewestValues
from evs_server.rpc_status import answers_with_status

Context = grpc.aio.ServicerContext[Any, Any]


class PerformanceServicer(evs_pb2_grpc.EquityValuationServiceServicer):
    """Returns of one account, and the ranking of all."""

    _lifecycle: Lifecycle
    _engine: NewestValues
    _accounts: AccountLookup
    _returns: Returns
    _leaderboard: Leaderboard
    _names: Names

    def attach_performance(self, returns: Returns, leaderboard: Leaderboard, names: Names) -> None:
        """Take the rooms behind the methods."""
        self._returns, self._leaderboard, self._names = returns, leaderboard, names

    @answers_with_status
    async def GetPerformance(self, request: pb.GetPerformanceRequest, _: Context) -> pb.GetPerformanceResponse:
        """What an account has made over a time; all zero if it had not been valued by the end of it."""
        self._lifecycle.require_serving()
        span = codec.decode_span(request)
        await look_up(request.account_id, self._engine, self._accounts)
        if span.span is not None:
            return codec.encode_performance(*await self._returns.over_range(request.account_id, span.span))
        if span.end_ms is None:
            return codec.encode_performance(*await self._returns.until_now(request.account_id, span.start_ms))
        made = await self._returns.until(request.account_id, span.start_ms, span.end_ms)
        return codec.encode_performance(*made) if made is not None else pb.GetPerformanceResponse()

    @answers_with_status
    async def GetLeaderboard(self, request: pb.GetLeaderboardRequest, _: Context) -> pb.GetLeaderboardResponse:
        """The first places of a ranking, and that of one account."""
        self._lifecycle.require_serving()
        board = codec.decode_board(request)
        ranking = await self._leaderboard.ranking(board.span)
        places = ranking.first(board.place_count)
        own = ranking.place_of(board.account_id) if board.account_id else None
        listed = [*places, own] if own is not None else places
        names = await self._names.of({place.account_id for place in listed})
        entries = [codec.encode_place(place, names[place.account_id]) for place in listed]
        return pb.GetLeaderboardResponse(
            entries=entries[: len(places)],
            own=entries[-1] if own is not None else None,
            ranked_count=len(ranking),
            version=ranking.version,
        )
