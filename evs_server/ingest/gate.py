"""
The door between the outside and the intake: looks up accounts, reads the clock, arms the flush. Touches I/O.

Senders of every kind come through ``take``; nothing else of the outside calls the intake. A large batch is applied in
slices, between which others get a turn, but nothing that must not come in between: no tick and no roll of the session
(it might part the two legs of a trade), no other large batch, and nothing of the same sender.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from evs_server.clock import Clock
from evs_server.errors import EvsError, RequestError, StoreUnavailable
from evs_server.ingest.intake import Intake, Outcome
from evs_server.ingest.loader import Loader
from evs_server.ingest.sequencer import EventId, IngestState, Sequencing
from evs_server.ingest.slices import add, is_large, slices
from evs_server.ingest.tally import Tally
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.limits import FLUSH_DELAY_MS, TURN_ROWS
from evs_server.model import Batch, ExchangeAccount, Flush, PriceRun, Run, TickRun, TradeRun
from evs_server.rpc_status import end_process
from evs_server.telemetry.distribution import TICK_SECONDS, Distribution

LOOK_UP_SECONDS = 1.0
"""How long a batch waits for an account to be read, before its events are parked instead."""

T = TypeVar("T")


class Gate:
    """
    Takes batches in, and lets those wait who want to know when they are durable.

    Attributes:
        takes_singly: Whether it takes events of unary calls one by one, without a batch around each.
        tally: What became of the events.
        publish_seconds: From the arrival of batches with ticks to when their values were offered to readers.
        announce: Has the writer call ``flush_in_turn`` when it is about to take what waits; absent: each tick that
            leaves rows is captured by itself.
    """

    takes_singly = True

    def __init__(
        self, lifecycle: Lifecycle, intake: Intake, sequencer: Sequencing, loader: Loader, clock: Clock
    ) -> None:
        self._lifecycle = lifecycle
        self._intake = intake
        self._sequencer = sequencer
        self._loader = loader
        self._clock = clock
        self.tally = Tally()
        self.publish_seconds = Distribution(TICK_SECONDS)
        self._in_slices = asyncio.Lock()
        self._in_slices_of = ""
        self._flush_due: asyncio.TimerHandle | None = None
        self._news: asyncio.Future[None] | None = None
        self.announce: Callable[[], None] | None = None
        loader.on_change = self.flush_soon
        intake.on_tick = self._flush_tick_next
        self._singles = intake.singles
        lifecycle.on_change(self._changed_phase)

    # --- one by one ------------------------------------------------------------------------------------------

    def take_trade(self, leg: tuple[int, ...], event_id: EventId | None = None) -> bool:
        """
        Apply a settled leg at once, if nothing speaks against it; for a method that has not awaited anything yet.

        Args:
            leg: The columns of a ``TradeRun``, as they were sent.
            event_id: How its sender has numbered it, as it was sent; absent: not at all.

        Returns:
            Whether it is applied, and counted. If it is not, nothing has changed: then it takes its way as a batch.
        """
        if event_id is not None and self._in_slices.locked():
            # In the middle of its sender's large batch, a number of that batch might be the next.
            return False
        return self._singles.take_trade(leg, self._clock.now_ms(), event_id) and self._note(TradeRun)

    def take_price(self, symbol_id: int, price_cents: int, event_id: EventId | None = None) -> bool:
        """Set a mark at once, if nothing speaks against it; as ``take_trade``."""
        if event_id is not None and self._in_slices.locked():
            return False
        return self._singles.take_price(symbol_id, price_cents, self._clock.now_ms(), event_id) and self._note(PriceRun)

    def take_tick(self, tick: int, tick_time_ms: int, event_id: EventId | None = None) -> int | None:
        """Complete a tick at once, as ``take_trade``: how many accounts are valued, or None if it is not completed."""
        if self._in_slices.locked():
            return None
        arrived_at = self._clock.monotonic()
        valued_count = self._singles.take_tick(tick, tick_time_ms, self._clock.now_ms(), event_id)
        if valued_count is not None:
            self._note(TickRun)
        if valued_count:
            self.publish_seconds.observe(self._clock.monotonic() - arrived_at)
        return valued_count

    def _note(self, kind: type[Run]) -> bool:
        self.tally.count_single(kind)
        if self._flush_due is None:
            self.flush_soon()
        return True

    # --- batches ---------------------------------------------------------------------------------------------

    async def take(self, batch: Batch) -> Outcome:
        """
        Apply what is new of a batch, and count what became of it.

        Raises:
            Recovering, ShuttingDown: If EVS does not serve.
            Overloaded: If too many unknown accounts are being looked up.
        """
        arrived_at = self._clock.monotonic()
        try:
            outcome = await self._take(batch)
        except EvsError as error:
            self.tally.count_untaken(batch, error)
            raise
        self.tally.count(batch, outcome)
        if outcome.accounts_valued:
            self.publish_seconds.observe(self._clock.monotonic() - arrived_at)
        return outcome

    async def _take(self, batch: Batch) -> Outcome:
        if is_large(batch) or (self._in_slices.locked() and self._comes_after(batch)):
            return await self._take_in_turn(batch)
        refused, accounts = await self._find(batch)
        return self._apply(batch, refused, accounts)

    def _comes_after(self, batch: Batch) -> bool:
        """Whether a batch must wait for the one that is being applied in slices."""
        is_same = batch.first_sequence > 0 and batch.source == self._in_slices_of
        return is_same or any(isinstance(run, TickRun) for run in batch.runs)

    async def _take_in_turn(self, batch: Batch) -> Outcome:
        """Apply a batch when no other is under way that must not be parted; a large one in slices."""
        # Accounts are found before: nobody's tick waits for the database.
        refused, accounts = await self._find(batch)
        async with self._in_slices:
            if not is_large(batch):
                return self._apply(batch, refused, accounts)
            self._in_slices_of = batch.source
            whole, cancelled = Outcome(), None
            for first, part in slices(batch):
                if first and cancelled is None:
                    try:
                        await asyncio.sleep(0)
                    except asyncio.CancelledError as error:
                        # A request is applied whole, or not at all: the rest does not wait for anybody.
                        cancelled = error
                add(whole, first, self._apply(part, refused, accounts))
                if whole.error is not None:
                    break
        if cancelled is not None:
            raise cancelled
        return whole

    async def _find(self, batch: Batch) -> tuple[Mapping[int, RequestError], Mapping[int, ExchangeAccount]]:
        """Those of a batch's accounts that are not to be had, and those that had to be read, as they were."""
        unknown = self._intake.unknown_accounts(batch)
        refused = await self._look_up(unknown) if unknown else {}
        self.tally.known_batch_count += not unknown
        doubtful = self._intake.doubtful_accounts(batch, self._clock.now_ms())
        return refused, await self._read(doubtful) if doubtful else {}

    def _apply(
        self, batch: Batch, refused: Mapping[int, RequestError], accounts: Mapping[int, ExchangeAccount]
    ) -> Outcome:
        self._lifecycle.require_serving()
        outcome = self._intake.take(batch, self._clock.now_ms(), refused, accounts)
        if self._intake.has_unread:
            self._loader.look_after_parked()
        self.flush_soon()
        return outcome

    async def ensure(self, account_ids: Collection[int]) -> Mapping[int, RequestError]:
        """As ``AccountLookup.ensure``, for readers; what was loaded is flushed soon."""
        if self._loader.is_failing and not all(self._intake.knows(account_id) for account_id in account_ids):
            raise StoreUnavailable(
                "an account is not in memory, and the exchange's tables cannot be read now; try again"
            )
        refused = await self._loader.ensure(account_ids)
        self.flush_soon()
        return refused

    def state(self, source: str) -> IngestState:
        """How far a source is."""
        self._lifecycle.require_serving()
        return self._sequencer.state(source)

    @property
    def degraded_since_ms(self) -> int | None:
        """As of ``Intake``."""
        return self._intake.degraded_since_ms

    def parked_statistics(self) -> Mapping[str, int]:
        """How many events wait for an account to be read, and for how many accounts."""
        return self._intake.parked_statistics()

    def roll_if_due(self) -> None:
        """Roll the session if EVS's clock says so; later, if a batch is under way that must not be parted."""
        if self._in_slices.locked():
            return
        self._intake.roll_if_due(self._clock.now_ms())
        self.flush_soon()

    def flush_soon(self) -> None:
        """See that what changed is handed to the writer within ``FLUSH_DELAY_MS``."""
        if self._flush_due is None and self._intake.has_unflushed:
            loop = asyncio.get_running_loop()
            self._flush_due = loop.call_later(FLUSH_DELAY_MS / 1_000, self.flush_in_turn)

    def flush_now(self) -> None:
        """Hand what changed to the writer."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        self._intake.flush()

    def flush_in_turn(self) -> None:
        """The same, called by whoever could do nothing about a failed assertion."""
        _unless_broken(self.flush_now)

    def mark_durable(self, flush: Flush) -> None:
        """Take note that a flush is committed, and wake who waits for it."""
        self._sequencer.mark_durable(flush.watermarks)
        self._wake()

    def news(self) -> asyncio.Future[None]:
        """Done at the next commit or change of phase; shared by all who wait, so nobody may cancel it."""
        if self._news is None or self._news.done():
            self._news = asyncio.get_running_loop().create_future()
        return self._news

    def require_serving(self) -> None:
        """As ``Lifecycle.require_serving``."""
        self._lifecycle.require_serving()

    async def _look_up(self, account_ids: Collection[int]) -> Mapping[int, RequestError]:
        """Those of some unknown accounts that are known not to be had; events of all others may be parked."""
        return await self._unless_slow(self._loader.ensure, account_ids)

    async def _read(self, account_ids: Collection[int]) -> Mapping[int, ExchangeAccount]:
        """Some known accounts as the exchange's tables have them; flows of all others are parked."""
        return await self._unless_slow(self._loader.look, account_ids)

    async def _unless_slow(
        self, look: Callable[[Collection[int]], Awaitable[Mapping[int, T]]], account_ids: Collection[int]
    ) -> Mapping[int, T]:
        if self._loader.is_failing:
            return {}
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                return await look(account_ids)
        except TimeoutError:
            self._loader.note_failure()
        except StoreUnavailable:
            pass
        return {}

    def _flush_tick_next(self) -> None:
        # Most ticks of an exchange that completes one per symbol value nobody: they are worth no transaction each.
        if self._intake.join_tick(0):
            return
        if self.announce is not None and self._intake.join_tick(TURN_ROWS):
            self.announce()
            return
        # By then the tick's caller has its answer: whoever waits for it does not wait for the capture.
        asyncio.get_running_loop().call_soon(_unless_broken, self._intake.flush_tick)

    def _changed_phase(self, _phase: Phase) -> None:
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _unless_broken(flush: Callable[[], None]) -> None:
    try:
        flush()
    except AssertionError:
        # The loop itself would only log it, and half a capture would be lost.
        end_process("a flush")
