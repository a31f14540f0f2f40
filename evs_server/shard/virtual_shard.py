"""
One virtual shard, from taking it to giving it up: a whole core whose source is the log. Touches I/O.

recover, or first import -> read the log from the committed position -> tell, answer, commit -> stop -> let go. Whatever
is not committed when its owner ends is in the log still: the next one reads it again, and a position that is committed
with the state says from where. So nothing is lost by an owner that ends, however it ends, and nothing applied twice.

Nothing is told or answered before the first import is committed. Gateways serve senders once they have heard from
every virtual shard: no event can come before the tables were read which may have it already.
"""

import asyncio
import contextlib
import logging
from typing import Final

from evs_server.core import Core, Surroundings
from evs_server.fanout.hub import Hub
from evs_server.ingest.position import LogPosition
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.model import Flush, Valuation
from evs_server.ports import ValuationSink
from evs_server.reconcile.reconciler import Rules
from evs_server.shard.answers import Answers
from evs_server.shard.checks import Checks
from evs_server.shard.last_values import LastValuesOut
from evs_server.shard.log_clock import LogClock
from evs_server.shard.owned import WRITER_LIMITS, Common, ShardStatistics
from evs_server.shard.source import Source
from evs_server.shard.tell import Teller
from evs_server.store.postgres import PostgresStore
from evs_server.works import Works

log = logging.getLogger(__name__)

IMPORT_SECONDS: Final = 120.0
CANCEL_SECONDS: Final = 1.0
ROLL_CHECK_SECONDS: Final = 1.0
ROLL_GRACE_MS: Final = 2_000
"""How long after its time a session is rolled by the machine's clock: a gateway's may be a little late."""


class VirtualShard:
    """
    A ``shard.owned.Owned`` with accounts.

    Args:
        number: Which one.
        common: What it shares with the others of its worker.

    Attributes:
        core: Its rooms; from ``start`` on.
    """

    core: Core

    def __init__(self, number: int, common: Common) -> None:
        self.number = number
        self._common = common
        self._clock = LogClock(common.clock)
        self._position = LogPosition()
        self._lifecycle = Lifecycle()
        self._works = Works()
        self._answering = contextlib.AsyncExitStack()
        self._source_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """As of ``Owned``; a first import is committed on return."""
        common, number = self._common, self.number
        store = common.store(number)
        recovered = await store.recover()
        common.began(number, recovered.start_number)
        sinks = _Sinks()
        core = self._wire(store, sinks)
        core.on_durable.append(common.on_durable)
        core.restore(recovered)
        for name, work in core.works():
            self._works.start(f"{name} of virtual shard {number}", work)
        if not recovered.imported:
            await self._import(store)
        self._teller.start_number = recovered.start_number
        sinks.others = [self._teller, self._last_values]
        core.on_durable.append(self._note_commit)
        self._last_values.begin()
        self._lifecycle.enter(Phase.SERVING)
        await self._serve(recovered.start_number)

    def _wire(self, store: PostgresStore, sinks: ValuationSink) -> Core:
        common, number, position = self._common, self.number, self._position
        given = Surroundings(
            store,
            position,
            Hub(),  # whom nobody follows: streams are served by gateways, from news
            sinks,
            self._works.fail,
            common.kinds(),
            from_log=True,
            writer_limits=WRITER_LIMITS,
        )
        self.core = core = Core(common.settings, self._clock, self._lifecycle, given)
        core.gate.tally = common.tally
        self._teller = Teller(
            number,
            common.owner,
            common.news,
            position,
            lambda: core.engine.account_count,
            degraded_since_ms=lambda: core.writer.degraded_since_ms,
            session_start_ms=lambda: core.engine.meta.session_start_ms,
        )
        self._last_values = LastValuesOut(number, core.engine, common.last_values)
        self._source = Source(number, common.event_log, core.gate, position, self._clock, self._teller)
        return core

    async def _import(self, store: PostgresStore) -> None:
        """Take in the exchange's tables; what the log has by then is in them already."""
        self._position.pass_by(await self._common.event_log.last_position())
        left = await self.core.import_exchange(await store.read_exchange(), IMPORT_SECONDS)
        while left and not self._works.has_failed:
            log.warning("the first import of virtual shard %d is not committed yet", self.number)
            left = await self.core.writer.drain(IMPORT_SECONDS)

    async def failure(self) -> BaseException:
        """As of ``Owned``."""
        return await self._works.failure()

    def fail(self, error: BaseException) -> None:
        """As of ``Owned``."""
        self._works.fail(error)

    async def stop(self, seconds: float) -> int:
        """As of ``Owned``."""
        await self._answering.aclose()
        if self._source_task is not None:
            self._source_task.cancel()
            await asyncio.wait([self._source_task], timeout=CANCEL_SECONDS)
        # Whatever it is in the middle of, what is captured is between two batches of the log.
        self.core.gate.flush_now()
        left = await self.core.writer.drain(seconds)
        self._teller.tell()
        self._last_values.put()
        return left

    async def drop(self) -> None:
        """As of ``Owned``."""
        self._lifecycle.enter(Phase.STOPPING)
        await self._answering.aclose()
        await self._works.stop(CANCEL_SECONDS)
        if hasattr(self, "core"):
            # Takes the timer of the next flush with it; nobody writes it any more.
            self.core.gate.flush_now()
            self.core.close()

    def statistics(self) -> ShardStatistics:
        """As of ``Owned``."""
        writer, done = self.core.writer, self.core.writer.statistics()
        lag_ms = self._common.clock.now_ms() - self._source.applied_ms if self._source.pending_count else 0
        return ShardStatistics(
            applied=self._position.applied,
            committed=self._position.committed,
            pending_count=self._source.pending_count,
            lag_seconds=max(lag_ms, 0) / 1_000,
            oldest_age_ms=done.oldest_age_ms,
            degraded=writer.degraded_since_ms is not None,
            violation_count=self.core.engine.identity_violation_count,
            set_aside_row_count=done.set_aside_row_count,
        )

    async def _serve(self, start_number: int) -> None:
        number, common = self.number, self._common
        checks = Checks(self.core.books, common.ledgers, common.clock, Rules.of(common.settings))
        answers = Answers(self.core, self._source, self._lifecycle, checks, start_number)
        await self._answering.enter_async_context(common.asks.answer(number, answers.answer))
        self._source_task = self._works.start(f"source of virtual shard {number}", self._source.run())
        self._works.start(f"news of virtual shard {number}", self._teller.run())
        self._works.start(f"last values of virtual shard {number}", self._last_values.run())
        self._works.start(f"sessions of virtual shard {number}", self._roll_sessions())

    async def _roll_sessions(self) -> None:
        """Roll sessions by the machine's clock where nothing waits in the log: what does says its own time."""
        while True:
            await asyncio.sleep(ROLL_CHECK_SECONDS)
            self._source.note_quiet()
            if not self._clock.behind:
                self.core.intake.roll_if_due(self._clock.now_ms() - ROLL_GRACE_MS)
                self.core.gate.flush_soon()
            self._teller.tell()

    def _note_commit(self, _flush: Flush) -> None:
        self._teller.note_commit()


class _Sinks:
    """A ``ports.ValuationSink`` that hands on; to nobody before it is set to whom: a first import is not news."""

    def __init__(self) -> None:
        self.others: list[ValuationSink] = []

    def publish(self, valuation: Valuation) -> None:
        for other in self.others:
            other.publish(valuation)
