"""
One account's equity as an async iterator that outlives EVS's restarts and the network's.

    async with EquityStream("127.0.0.1:50051", account_id=7) as stream:
        async for value in stream:
            print(value.total_equity, stream.status)

Versions only grow: what was seen before, such as the snapshot after a reconnect with nothing new, is dropped. A reader
that takes its time misses values, never the last one. One reader per stream; for one event loop.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio
from evs.v1 import evs_pb2, evs_pb2_grpc

from evs_client.backoff import Backoff
from evs_client.channel import MetadataSource, metadata_now, open_channel
from evs_client.equity_value import EquityValue, decode_value
from evs_client.errors import ClientClosed, refused_for_good

logger = logging.getLogger(__name__)

SILENCE_MAX_S: Final = 45.0
"""Three of EVS's heartbeats: a stream that is silent for longer is dead, whatever the connection says."""

EquityCall = grpc.aio.UnaryStreamCall[evs_pb2.SubscribeEquityRequest, evs_pb2.SubscribeEquityResponse]


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """
    Whether what the stream last said is still current.

    Attributes:
        live: True while EVS is heard; False before the first word and from the loss of a stream until the next one.
        since_ms: Since when, in unix milliseconds.
    """

    live: bool
    since_ms: int


class EquityStream:
    """
    Follows one account: the current value, then every change.

    Args:
        target: Where EVS serves readers, ``host:port`` or ``unix:path``; or a channel, which stays the caller's.
        account_id: The exchange's id of the account.
        credentials: For TLS; None: plain text, for loopback.
        metadata: Sent with every call, such as what ``bearer`` returns.
        silence_max_s: Seconds without any message after which the stream is begun anew; more than EVS's heartbeat.
        backoff: Pauses between two tries.
        on_status: Called whenever ``status`` changes.
        now_ms: Unix milliseconds.
    """

    def __init__(
        self,
        target: str | grpc.aio.Channel,
        account_id: int,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: MetadataSource = (),
        silence_max_s: float = SILENCE_MAX_S,
        backoff: Backoff | None = None,
        on_status: Callable[[StreamStatus], None] | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        if silence_max_s <= 0:
            raise ValueError(f"silence_max_s {silence_max_s} cannot be: expected more than 0")
        self.account_id = account_id
        self.last_version = 0
        self.reconnect_count = 0
        self._target = target
        self._credentials = credentials
        self._metadata = metadata
        self._silence_max_s = silence_max_s
        self._backoff = backoff or Backoff(0.1, 5.0)
        self._on_status = on_status
        self._now_ms = now_ms
        self._status = StreamStatus(live=False, since_ms=now_ms())
        self._own_channel: grpc.aio.Channel | None = None
        self._stub: evs_pb2_grpc.EquityValuationServiceAsyncStub | None = None
        self._call: EquityCall | None = None

    @property
    def status(self) -> StreamStatus:
        """Whether the stream is live or stale, and since when."""
        return self._status

    async def __aenter__(self) -> Self:
        """Get ready; EVS is first asked by the first ``anext``."""
        if isinstance(self._target, str):
            channel = self._own_channel = open_channel(self._target, self._credentials)
        else:
            channel = self._target
        self._stub = evs_pb2_grpc.EquityValuationServiceStub(channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel the call, so that EVS forgets this reader at once."""
        self._hang_up()
        self._stub = None
        if self._own_channel is not None:
            await self._own_channel.close()
            self._own_channel = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EquityValue:
        """
        Wait for the next value that is newer than all before, through as many reconnects as it takes.

        Raises:
            CallRefused: If EVS refuses this account or caller for good: ``NotFound``, ``PermissionDenied``,
                ``Unauthenticated``, ``InvalidArgument``.
            ClientClosed: Outside the ``async with`` block.
        """
        while True:
            message = await self._next_message()
            if message is None:
                continue
            value = decode_value(message)
            if value is not None and value.version > self.last_version:
                self.last_version = value.version
                return value

    async def _next_message(self) -> evs_pb2.SubscribeEquityResponse | None:
        """The next message, or None after the stream was lost and the pause before the next try has passed."""
        call = self._call or self._subscribe()
        try:
            async with asyncio.timeout(self._silence_max_s):
                message = await call.read()
        except grpc.aio.AioRpcError as error:
            # A stream that has been heard on was let in: its token has ended, and the next one decides.
            token_ended = self._status.live and error.code() is grpc.StatusCode.UNAUTHENTICATED
            self._hang_up()
            if not token_ended and (refused := refused_for_good(error)):
                raise refused from error
            trouble = f"{error.code().name}: {error.details()}"
        except TimeoutError:
            trouble = f"no message within {self._silence_max_s} s"
        except asyncio.CancelledError:
            # gRPC has cancelled the call with its reader: whoever iterates on begins a new one.
            self._hang_up()
            raise
        else:
            if isinstance(message, evs_pb2.SubscribeEquityResponse):
                self._backoff.reset()
                self._set_live(live=True)
                return message
            trouble = "EVS ended the stream"
        self._hang_up()
        pause_s = self._backoff.next_s()
        logger.info("account %d: %s; next try in %.2f s", self.account_id, trouble, pause_s)
        await asyncio.sleep(pause_s)
        return None

    def _subscribe(self) -> EquityCall:
        if self._stub is None:
            raise ClientClosed(f"account {self.account_id}: the stream is used outside its async with block")
        if self.last_version:
            self.reconnect_count += 1
        request = evs_pb2.SubscribeEquityRequest(account_id=self.account_id)
        self._call = self._stub.SubscribeEquity(request, metadata=metadata_now(self._metadata))
        return self._call

    def _hang_up(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._set_live(live=False)

    def _set_live(self, *, live: bool) -> None:
        if live is not self._status.live:
            self._status = StreamStatus(live, self._now_ms())
            if self._on_status is not None:
                self._on_status(self._status)
