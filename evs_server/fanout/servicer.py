"""
The methods that readers call: look the account up, read or follow, encode. Touches I/O.

Register first, then read, with nothing awaited in between: no change can fall into the gap. What a slow reader loses is
the hub's business; here it only counts how long one has not taken a message at all.
"""

import asyncio
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.engine import Engine
from evs_server.errors import InvalidRequest, NotServed, OutOfBounds, Overloaded, UnknownAccount
from evs_server.fanout import codec
from evs_server.fanout.hub import Hub, Mailbox
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.limits import BATCH_ACCOUNTS_MAX, EXACT_MAX, STUCK_READER_SECONDS
from evs_server.model import Snapshot
from evs_server.ports import AccountLookup
from evs_server.rpc_status import answers_with_status

Context = grpc.aio.ServicerContext[Any, Any]


class FanoutServicer(evs_pb2_grpc.EquityValuationServiceServicer):
    """Reads and streams of valuations."""

    _lifecycle: Lifecycle
    _engine: Engine
    _accounts: AccountLookup
    _hub: Hub
    _wakers: set[asyncio.Event]
    _heartbeat_seconds: float

    @answers_with_status
    async def GetEquity(self, request: pb.GetEquityRequest, _: Context) -> pb.GetEquityResponse:
        """An account's newest valuation."""
        return codec.encode_read(await self._look_up(request.account_id))

    @answers_with_status
    async def BatchGetEquity(self, request: pb.BatchGetEquityRequest, _: Context) -> pb.BatchGetEquityResponse:
        """The newest valuations of several accounts."""
        self._lifecycle.require_serving()
        count = len(request.account_ids)
        if not 0 < count <= BATCH_ACCOUNTS_MAX:
            raise InvalidRequest(
                "account_ids",
                f"account_ids must hold 1 to {BATCH_ACCOUNTS_MAX} ids, not {count}",
                count=count,
                bound=BATCH_ACCOUNTS_MAX,
            )
        for account_id in request.account_ids:
            _check_account_id("account_ids", account_id)
        refused = await self._accounts.ensure(request.account_ids)
        response = pb.BatchGetEquityResponse()
        for account_id in request.account_ids:
            snapshot = self._engine.snapshot(account_id)
            if snapshot is not None:
                response.equities.append(codec.encode_read(snapshot))
            elif isinstance(refused[account_id], UnknownAccount):
                response.unknown_account_ids.append(account_id)
            else:
                raise refused[account_id]
        return response

    @answers_with_status
    async def ListPositions(self, request: pb.ListPositionsRequest, _: Context) -> pb.ListPositionsResponse:
        """An account's positions as of its newest valuation."""
        snapshot = await self._look_up(request.account_id)
        positions = [codec.encode_position(view) for view in self._engine.positions(request.account_id)]
        return pb.ListPositionsResponse(positions=positions, version=snapshot.version)

    @answers_with_status
    async def SubscribeEquity(self, request: pb.SubscribeEquityRequest, context: Context) -> None:
        """An account's current value, then each change, and heartbeats while there is none."""
        account_id = request.account_id
        await self._look_up(account_id)
        awake = asyncio.Event()
        mailbox = Mailbox(awake.set)
        self._wakers.add(awake)
        self._hub.follow(account_id, mailbox)
        try:
            current = self._engine.snapshot(account_id)
            assert current is not None, "an account that was looked up is known"
            mailbox.offer(current)
            await self._send_changes(mailbox, awake, context)
        finally:
            self._hub.unfollow(account_id, mailbox)
            self._wakers.discard(awake)

    @answers_with_status
    async def GetEquityHistory(self, _request: pb.GetEquityHistoryRequest, _: Context) -> pb.GetEquityHistoryResponse:
        """Not served yet."""
        raise NotServed("GetEquityHistory is not served by this version of EVS")

    @answers_with_status
    async def WatchEquity(self, _requests: Any, _: Context) -> None:
        """Not served yet."""
        raise NotServed("WatchEquity is not served by this version of EVS; use SubscribeEquity, one stream an account")

    async def _send_changes(self, mailbox: Mailbox, awake: asyncio.Event, context: Context) -> None:
        first, version = True, 0
        while True:
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await awake.wait()
            except TimeoutError:
                await _write(context, codec.encode_heartbeat(version))
            awake.clear()
            self._lifecycle.require_serving()
            for pending in mailbox.drain():
                version = pending.snapshot.version
                await _write(context, codec.encode_change(pending, first=first))
                first = False

    async def _look_up(self, account_id: int) -> Snapshot:
        self._lifecycle.require_serving()
        _check_account_id("account_id", account_id)
        snapshot = self._engine.snapshot(account_id)
        if snapshot is None:
            refused = await self._accounts.ensure((account_id,))
            if account_id in refused:
                raise refused[account_id]
            snapshot = self._engine.snapshot(account_id)
            assert snapshot is not None, "an account that is not refused is known"
        return snapshot

    def _wake_all(self, _phase: Phase) -> None:
        for awake in self._wakers:
            awake.set()


def _check_account_id(field: str, account_id: int) -> None:
    if account_id <= 0:
        raise InvalidRequest(field, f"{field} must be positive, not {account_id}", value=account_id)
    if account_id > EXACT_MAX:
        raise OutOfBounds(field, f"{field} is {account_id}, the most is {EXACT_MAX}", value=account_id, bound=EXACT_MAX)


async def _write(context: Context, message: pb.SubscribeEquityResponse) -> None:
    try:
        async with asyncio.timeout(STUCK_READER_SECONDS):
            await context.write(message)
    except TimeoutError:
        raise Overloaded(
            f"the reader took no message for {STUCK_READER_SECONDS} s; subscribe again", bound=STUCK_READER_SECONDS
        ) from None
