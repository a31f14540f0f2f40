"""
The method that charts call: look the account up, decode, read a page, encode. Touches I/O.
"""

from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.history import codec
from evs_server.history.pages import Pages
from evs_server.lookup import look_up
from evs_server.ports import AccountLookup, NewestValues
from evs_server.rpc_status import answers_with_status

Context = grpc.aio.ServicerContext[Any, Any]


class HistoryServicer(evs_pb2_grpc.EquityValuationServiceServicer):
    """Reads of the past."""

    _engine: NewestValues
    _accounts: AccountLookup
    _pages: Pages

    def attach_history(self, pages: Pages) -> None:
        """Take what makes pages of history."""
        self._pages = pages

    @answers_with_status
    async def GetEquityHistory(self, request: pb.GetEquityHistoryRequest, _: Context) -> pb.GetEquityHistoryResponse:
        """A page of an account's bars."""
        query = codec.decode(request, self._pages.calendar, self._pages.now_ms())
        await look_up(request.account_id, self._engine, self._accounts)
        return codec.encode(query, await self._pages.read(query))
