"""
ExecutionManager's client: takes events as they happen and brings them to EVS, whatever happens to either.

Lives here: what callers see. Not here: the connection (``sender``), what is kept (``outbox``), the wire (``encode``).

    async with ExecutionManagerClient("127.0.0.1:50051", source="execution-manager") as client:
        async with client.batch() as batch:            # both legs of a trade in one request
            batch.trade(7, 1, "BUY", shares=10, price_cents=1_500, settlement_id=41)
            batch.trade(8, 1, "SELL", shares=10, price_cents=1_500, settlement_id=42)
        await client.on_tick_complete(1)
        await client.wait_durable(deadline_s=5)

An event is numbered and kept the moment it is accepted, which takes microseconds and no answer from EVS; it is let go
of once it is durable. In between the client sends it as often as it must, and EVS counts it once. For one event loop;
not thread-safe.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Self

import grpc
from evs.v1 import evs_pb2_grpc

from evs_client.block import EventBlock
from evs_client.channel import MetadataSource, open_channel
from evs_client.encode import SOURCE_BYTES_MAX, Side, cash_record, price_record, tick_record, trade_record
from evs_client.errors import (
    ClientClosed,
    EvsClientError,
    NotApplied,
    NotDurable,
    NotOpened,
    OutboxFull,
    SenderFailed,
)
from evs_client.outbox import Outbox
from evs_client.refusals import Refusal
from evs_client.sender import Sender, SenderStatistics
from evs_client.tuning import SenderTuning

logger = logging.getLogger(__name__)


class ExecutionManagerClient:
    """
    Takes settled trades, prices, flows and ticks, and sees to it that EVS applies each exactly once, in order.

    Concurrent callers are served in the order they come; each caller's own events keep their order.

    Args:
        target: Where EVS takes events, ``host:port`` or ``unix:path``.
        source: The sender's name, 1 to 64 bytes, kept across restarts; one process at a time may use it.
        epoch: The epoch to number in, at least EVS's current one; None: the next one, which is right unless the caller
            knows better (``sender`` says why).
        credentials: For TLS; None: plain text, for loopback.
        metadata: Sent with every call, such as what ``bearer`` returns.
        block: Whether a full outbox makes callers wait for room (they may bound it with ``asyncio.timeout``), or
            raises ``OutboxFull``.
        on_refused: Called in the loop for each event that EVS refuses for good, once.
        tuning: Patience, widths and depths.

    Raises:
        ValueError: If the source or the epoch cannot be.
    """

    def __init__(
        self,
        target: str,
        *,
        source: str,
        epoch: int | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: MetadataSource = (),
        block: bool = True,
        on_refused: Callable[[Refusal], None] | None = None,
        tuning: SenderTuning | None = None,
    ) -> None:
        if not 1 <= len(source.encode()) <= SOURCE_BYTES_MAX:
            raise ValueError(f"source {source!r} has {len(source.encode())} bytes: expected 1 to {SOURCE_BYTES_MAX}")
        if epoch is not None and epoch < 1:
            raise ValueError(f"epoch {epoch} cannot be: expected 1 or more")
        self._target = target
        self._credentials = credentials
        self._source = source
        self._block = block
        self._tuning = tuning or SenderTuning()
        self._outbox = Outbox(self._tuning.outbox_events_max)
        self._full_count = 0
        self._turn = asyncio.Lock()
        self._failure: EvsClientError | None = ClientClosed(f"source {source!r}: the client is not open")
        self._sender = Sender(source, epoch, self._outbox, self._tuning, metadata=metadata, on_refused=on_refused)
        self._task: asyncio.Task[None] | None = None

    # --- opening and leaving -------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """
        Open the numbering.

        Raises:
            NotOpened: If EVS has not answered within ``open_deadline_s``, or not made durable what was sent before.
            StaleEpoch: If the epoch asked for is older than EVS's.
            CallRefused: If EVS refuses this caller for good.
            ClientClosed: If it was open before.
        """
        if self._task is not None:
            raise ClientClosed(f"source {self._source!r}: a client opens once; make another one")
        self._channel = open_channel(self._target, self._credentials)
        stub = evs_pb2_grpc.EquityValuationServiceStub(self._channel)
        self._failure = None
        self._task = asyncio.create_task(self._sender.run(stub), name=f"evs-sender-{self._source}")
        self._task.add_done_callback(self._on_sender_done)
        try:
            if self._tuning.open_deadline_s is not None:
                await self._await_opening(self._tuning.open_deadline_s)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """
        Wait until everything is durable, then leave. After an exception, leave at once.

        Raises:
            NotDurable: If it is not within ``close_deadline_s``: what EVS has not even applied is lost.
        """
        try:
            if kind is None and self._tuning.close_deadline_s is not None:
                await self.wait_durable(self._tuning.close_deadline_s)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        self._failure = self._failure or ClientClosed(f"source {self._source!r}: the client is closed")
        self._sender.news.announce()
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._channel.close()
        if len(self._outbox):
            logger.warning("source %s: left with %d events not durable", self._source, len(self._outbox))

    def _on_sender_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if not isinstance(error, EvsClientError):
            failure = SenderFailed(f"source {self._source!r}: the sender broke: {error!r}")
            failure.__cause__ = error
            error = failure
        self._failure = self._failure or error
        logger.error("source %s: cannot go on: %s", self._source, error)
        self._sender.news.announce()

    # --- events --------------------------------------------------------------------------------------------------

    async def on_trade_settled(
        self,
        account_id: int,
        symbol_id: int,
        side: Side,
        *,
        shares: int | Decimal | None = None,
        quantity_bp: int | None = None,
        price_cents: int,
        fee_cents: int = 0,
        settlement_id: int = 0,
    ) -> None:
        """
        Take one leg of a settled trade; call it for the buyer and for the seller, or use ``batch``.

        Args:
            account_id: The exchange's id of the account.
            symbol_id: The traded symbol.
            side: ``"BUY"``, ``"SELL"`` or the contract's number for it.
            shares: Size in shares; a ``Decimal`` must come out at whole bp.
            quantity_bp: Size in 1/10,000 share, instead of ``shares``.
            price_cents: Cents per share.
            fee_cents: Cents charged to this account for this leg.
            settlement_id: The exchange's id of this leg's ``trades`` row; 0 = unknown.

        Raises:
            TypeError, ValueError: If it can be no event (see ``trade_record``).
            OutboxFull: If there is no room and ``block`` is off.
            EvsClientError: If the client cannot go on, or is closed.
        """
        await self._accept(
            trade_record(
                account_id,
                symbol_id,
                side,
                shares=shares,
                quantity_bp=quantity_bp,
                price_cents=price_cents,
                fee_cents=fee_cents,
                settlement_id=settlement_id,
            )
        )

    async def on_price_updated(self, symbol_id: int, price_cents: int) -> None:
        """Take a symbol's new mark, in cents per share. Raises as ``on_trade_settled``."""
        await self._accept(price_record(symbol_id, price_cents))

    async def on_tick_complete(self, tick_id: int, tick_time_ms: int = 0) -> None:
        """Take the end of a tick; its time in unix ms, 0 for EVS's clock. Raises as ``on_trade_settled``."""
        await self._accept(tick_record(tick_id, tick_time_ms))

    async def on_cash_adjusted(self, account_id: int, amount_cents: int, reason: str = "") -> None:
        """Take a deposit (positive cents) or a withdrawal (negative). Raises as ``on_trade_settled``."""
        await self._accept(cash_record(account_id, amount_cents, reason))

    def batch(self) -> EventBlock:
        """
        A block of events that are accepted together when it ends, and sent in one request.

        After an exception inside the block none of them is accepted. Adding and ending raise as ``on_trade_settled``; a
        block that would not fit into one request is a ``ValueError``.
        """
        return EventBlock(self._accept_block)

    async def _accept(self, record: bytes) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._turn.locked() or not self._outbox.has_room(1):
            await self._accept_in_turn([record])
            return
        self._outbox.accept(record)
        self._sender.wake()
        if self._outbox.accepted_sequence % self._tuning.batch_events_max == 0:
            await asyncio.sleep(0)  # a caller that never waits for anything else lets the sender run now and then

    async def _accept_block(self, records: Sequence[bytes]) -> None:
        if len(records) > self._outbox.capacity:
            raise ValueError(f"a block of {len(records)} events never fits an outbox of {self._outbox.capacity}")
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if self._turn.locked() or not self._outbox.has_room(len(records)):
            await self._accept_in_turn(records)
            return
        self._outbox.accept_block(records)
        self._sender.wake()
        if self._outbox.unsent_count >= self._tuning.batch_events_max:
            await asyncio.sleep(0)

    async def _accept_in_turn(self, records: Sequence[bytes]) -> None:
        self._full_count += 1
        if not self._block:
            raise OutboxFull(
                f"no room for {len(records)} events: {len(self._outbox)} of {self._outbox.capacity} are not durable; "
                f"{self._sender.trouble if not self._sender.streaming else 'EVS is reached'}"
            )
        async with self._turn:
            await self._until(lambda: self._outbox.has_room(len(records)))
            self._outbox.accept_block(records)
        self._sender.wake()

    # --- how far it has come -------------------------------------------------------------------------------------

    async def wait_applied(self, deadline_s: float) -> None:
        """
        Wait until everything accepted so far is applied: reads and streams of EVS then know it.

        Raises:
            NotApplied: If it is not within ``deadline_s`` seconds.
            EvsClientError: If the client cannot go on, or is closed.
        """
        try:
            async with asyncio.timeout(deadline_s):
                await self._until_opened()
                target = self._outbox.accepted_sequence
                await self._until(lambda: self._outbox.applied_sequence >= target)
        except TimeoutError:
            raise NotApplied(self._words_of_delay("applied", deadline_s)) from None

    async def wait_durable(self, deadline_s: float) -> None:
        """
        Wait until everything accepted so far is committed: no crash can lose it.

        Raises:
            NotDurable: If it is not within ``deadline_s`` seconds.
            EvsClientError: If the client cannot go on, or is closed.
        """
        try:
            async with asyncio.timeout(deadline_s):
                await self._until_opened()
                target = self._outbox.accepted_sequence
                await self._until(lambda: self._outbox.durable_sequence >= target)
        except TimeoutError:
            raise NotDurable(self._words_of_delay("durable", deadline_s)) from None

    async def _await_opening(self, deadline_s: float) -> None:
        try:
            async with asyncio.timeout(deadline_s):
                await self._until_opened()
        except TimeoutError:
            raise NotOpened(
                f"source {self._source!r} is not open at {self._target} within {deadline_s} s: {self._sender.trouble}"
            ) from None

    async def _until_opened(self) -> None:
        await self._until(lambda: self._sender.epoch is not None)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while True:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if reached():
                return
            await self._sender.news.wait()

    def _words_of_delay(self, wanted: str, deadline_s: float) -> str:
        line = "the stream is up" if self._sender.streaming else self._sender.trouble
        return (
            f"sequence {self._outbox.accepted_sequence} is not {wanted} within {deadline_s} s: applied up to "
            f"{self._outbox.applied_sequence}, durable up to {self._outbox.durable_sequence}; {line}"
        )

    @property
    def epoch(self) -> int:
        """The epoch of the numbering; 0 while it is not opened."""
        return self._sender.epoch or 0

    @property
    def accepted_sequence(self) -> int:
        """The last event accepted."""
        return self._outbox.accepted_sequence

    @property
    def applied_sequence(self) -> int:
        """The last event applied in EVS's memory, as of its last answer; falls if EVS crashes."""
        return self._outbox.applied_sequence

    @property
    def durable_sequence(self) -> int:
        """The last event that is committed."""
        return self._outbox.durable_sequence

    @property
    def refusals(self) -> Sequence[Refusal]:
        """The newest refusals, oldest first, ``refusals_kept`` at most."""
        return self._sender.refusals.newest

    def statistics(self) -> SenderStatistics:
        """How the sender is doing now."""
        return self._sender.statistics(self._full_count)
