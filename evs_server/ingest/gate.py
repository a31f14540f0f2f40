"""
The door between the outside and the intake: looks up accounts, reads the clock, arms the flush. Touches I/O.

Senders of every kind come through ``take``; nothing else of the outside calls the intake.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from evs_server.clock import Clock
from evs_server.errors import EvsError, RequestError, StoreUnavailable
from evs_server.ingest.intake import Intake, Outcome
from evs_server.ingest.loader import Loader
from evs_server.ingest.sequencer import IngestState, Sequencer
from evs_server.ingest.tally import Tally
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.limits import FLUSH_DELAY_MS
from evs_server.model import Batch, ExchangeAccount, Flush
from evs_server.rpc_status import end_process
from evs_server.telemetry.distribution import TICK_SECONDS, Distribution

LOOK_UP_SECONDS = 1.0
"""How long a batch waits for an account to be read, before its events are parked instead."""

T = TypeVar("T")


class Gate:
    """
    Takes batches in, and lets those wait who want to know when they are durable.

    Attributes:
        tally: What became of the events.
        publish_seconds: From the arrival of batches with ticks to when their values were offered to readers.
    """

    def __init__(
        self, lifecycle: Lifecycle, intake: Intake, sequencer: Sequencer, loader: Loader, clock: Clock
    ) -> None:
        self._lifecycle = lifecycle
        self._intake = intake
        self._sequencer = sequencer
        self._loader = loader
        self._clock = clock
        self.tally = Tally()
        self.publish_seconds = Distribution(TICK_SECONDS)
        self._flush_due: asyncio.TimerHandle | None = None
        self._news: asyncio.Future[None] | None = None
        loader.on_change = self.flush_soon
        lifecycle.on_change(self._changed_phase)

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
        unknown = self._intake.unknown_accounts(batch)
        refused = await self._look_up(unknown) if unknown else {}
        self.tally.known_batch_count += not unknown
        doubtful = self._intake.doubtful_accounts(batch, self._clock.now_ms())
        accounts = await self._read(doubtful) if doubtful else {}
        self._lifecycle.require_serving()
        outcome = self._intake.take(batch, self._clock.now_ms(), refused, accounts)
        if self._intake.waiting_accounts() or self._intake.suspects(self._clock.now_ms()):
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
        """Roll the session if EVS's clock says so."""
        self._intake.roll_if_due(self._clock.now_ms())
        self.flush_soon()

    def flush_soon(self) -> None:
        """See that what changed is handed to the writer within ``FLUSH_DELAY_MS``."""
        if self._flush_due is None and self._intake.has_unflushed:
            loop = asyncio.get_running_loop()
            self._flush_due = loop.call_later(FLUSH_DELAY_MS / 1_000, self._flush_due_now)

    def flush_now(self) -> None:
        """Hand what changed to the writer."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        self._intake.flush()

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

    def _flush_due_now(self) -> None:
        try:
            self.flush_now()
        except AssertionError:
            # The loop itself would only log it, and half a capture would be lost.
            end_process("a flush")

    def _changed_phase(self, _phase: Phase) -> None:
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
