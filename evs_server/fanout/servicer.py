"""
The methods that readers call: look the account up, read or follow, encode. Touches I/O.

Register first, then read, with nothing awaited in between: no change can fall into the gap. What a slow reader loses is
the hub's business, and how long it may take nothing at all that of ``pulse``.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.engine import Engine
from evs_server.errors import InvalidRequest, UnknownAccount
from evs_server.fanout import codec
from evs_server.fanout.hub import Hub, Mailbox
from evs_server.fanout.pulse import Pulse
from evs_server.fanout.watch import Watch
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.limits import BATCH_ACCOUNTS_MAX
from evs_server.lookup import check_account_id, look_up
from evs_server.model import Snapshot
from evs_server.ports import AccountLookup, NewestValues
from evs_server.rpc_status import answers_with_status

Context = grpc.aio.ServicerContext[Any, Any]
_Coming = asyncio.Future[pb.WatchEquityRequest | None]


class FanoutServicer(evs_pb2_grpc.EquityValuationServiceServicer):
    """Reads and streams of valuations."""

    _lifecycle: Lifecycle
    _engine: NewestValues
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
            check_account_id("account_ids", account_id)
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
    async def WatchEquity(self, requests: AsyncIterator[pb.WatchEquityRequest], context: Context) -> None:
        """The current values of the accounts asked for, then each change, in batches."""
        awake = asyncio.Event()
        watch = Watch(self._engine, self._hub, self._accounts, awake.set)
        self._wakers.add(awake)
        try:
            await self._serve_watch(watch, requests, awake, context)
        finally:
            watch.close()
            self._wakers.discard(awake)

    async def _serve_watch(
        self, watch: Watch, requests: AsyncIterator[pb.WatchEquityRequest], awake: asyncio.Event, context: Context
    ) -> None:
        coming: _Coming | None = _next_request(requests, awake)
        try:
            async with Pulse(self._heartbeat_seconds, awake.set, self._hub.note_evicted) as pulse:
                while True:
                    await awake.wait()
                    awake.clear()
                    self._lifecycle.require_serving()
                    if coming is not None and coming.done():
                        request = coming.result()
                        # Who has asked for everything it wants may say so, and goes on reading.
                        coming = None if request is None else _next_request(requests, awake)
                        if request is not None:
                            watch.change(request)
                    for message in watch.messages():
                        await pulse.write(context, message)
                    if pulse.is_quiet:
                        await pulse.write(context, pb.WatchEquityResponse())
        finally:
            if coming is not None:
                coming.cancel()

    async def _send_changes(self, mailbox: Mailbox, awake: asyncio.Event, context: Context) -> None:
        first, version = True, 0
        async with Pulse(self._heartbeat_seconds, awake.set, self._hub.note_evicted) as pulse:
            while True:
                await awake.wait()
                awake.clear()
                self._lifecycle.require_serving()
                for pending in mailbox.drain():
                    version = pending.snapshot.version
                    await pulse.write(context, codec.encode_change(pending, first=first))
                    first = False
                if pulse.is_quiet:
                    await pulse.write(context, codec.encode_heartbeat(version))

    async def _look_up(self, account_id: int) -> Snapshot:
        self._lifecycle.require_serving()
        return await look_up(account_id, self._engine, self._accounts)

    def _wake_all(self, _phase: Phase) -> None:
        for awake in self._wakers:
            awake.set()


class PositionsServicer(evs_pb2_grpc.EquityValuationServiceServicer):
    """Reads of what an account holds, where the engine is."""

    _lifecycle: Lifecycle
    _engine: Engine
    _accounts: AccountLookup

    @answers_with_status
    async def ListPositions(self, request: pb.ListPositionsRequest, _: Context) -> pb.ListPositionsResponse:
        """An account's positions as of its newest valuation."""
        self._lifecycle.require_serving()
        snapshot = await look_up(request.account_id, self._engine, self._accounts)
        positions = [codec.encode_position(view) for view in self._engine.positions(request.account_id)]
        return pb.ListPositionsResponse(positions=positions, version=snapshot.version)


def _next_request(requests: AsyncIterator[pb.WatchEquityRequest], awake: asyncio.Event) -> _Coming:
    coming = asyncio.ensure_future(anext(requests, None))
    coming.add_done_callback(lambda _: awake.set())
    return coming
