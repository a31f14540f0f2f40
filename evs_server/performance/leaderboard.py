"""
The ranking of all accounts, by range: what a range starts from held in memory, the order made anew when somebody asks.

Lives here: when to close sessions, to read what ranges start from, and to rank. Not here: how (``ranking``,
``engine.growth``), SQL (``store``). Touches the network through ``ports.SessionCloses``, and ranks in a thread: 100,000
accounts take it some 30 ms, which the event loop has for others.

The order over one day is that of the newest valuations alone. All others need the closes of sessions, which are read
once a session, when its roll is committed. Between a roll and that, the order made last is served: with the new
session's valuations alone, the whole session before it would be missing.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from evs_server.clock import Clock
from evs_server.engine import SessionCalendar
from evs_server.engine.engine import NO_SESSION
from evs_server.errors import StoreUnavailable
from evs_server.model import Flush, HistoryRange, Int64Array
from evs_server.performance.ranking import RANKED_RANGES, GrowthFold, Ranking, range_starts, ranked
from evs_server.ports import NewestValues, SessionCloses

logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 1.0
"""How long an order is served before it is made anew."""
STARTS_SECONDS: Final = 5.0
"""How long a reader waits for the closes to be read, where there is no order yet."""
RETRY_SECONDS: Final = 1.0
"""How long to leave a database alone that is away."""


@dataclass(frozen=True, slots=True)
class _Starts:
    """Growths by range and account row, until a session began."""

    session_start_ms: int
    growth: Mapping[HistoryRange, Int64Array]


@dataclass(frozen=True, slots=True)
class _Made:
    """A ranking, when it was made, and from what."""

    ranking: Ranking
    made_at: float
    starts: _Starts | None
    engine_version: int


class Leaderboard:
    """
    Accounts by return over one day, one week, one month and all time.

    Args:
        engine: Has the newest valuations.
        closes: Has the closes of sessions.
        calendar: The engine's.
        clock: For ages.
    """

    def __init__(self, engine: NewestValues, closes: SessionCloses, calendar: SessionCalendar, clock: Clock) -> None:
        self._engine = engine
        self._closes = closes
        self._calendar = calendar
        self._clock = clock
        self._starts: _Starts | None = None
        self._failure = "they are being read"
        self._due = asyncio.Event()
        self._due.set()
        self._read = asyncio.Event()
        self._made: dict[HistoryRange, _Made] = {}
        self._making = {span: asyncio.Lock() for span in RANKED_RANGES}

    def offer(self, flush: Flush) -> None:
        """Note that a committed flush may hold a session's roll; returns at once."""
        self.note_session(flush.state.meta.session_start_ms)

    def note_session(self, session_start_ms: int) -> None:
        """Note when the current session began; returns at once."""
        if self._starts is None or session_start_ms != self._starts.session_start_ms:
            self._due.set()

    async def run(self) -> None:
        """Close sessions and read their closes, as they come, until cancelled; a task of ``app``."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                self._starts = await self._read_starts()
            except StoreUnavailable as error:
                self._failure = error.message
                logger.warning("%s; trying again in %s s", error.message, RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)
                self._due.set()
            else:
                self._read.set()
                self._read = asyncio.Event()

    async def ranking(self, span: HistoryRange) -> Ranking:
        """
        The order over a range, at most ``FRESH_SECONDS`` old, or that of the session before until its closes are read.

        Args:
            span: One of ``RANKED_RANGES``.

        Raises:
            StoreUnavailable: If it has never been made, since the closes of sessions could not be read.
        """
        async with self._making[span]:
            made = self._made.get(span)
            if made is not None and self._clock.monotonic() - made.made_at < FRESH_SECONDS:
                return made.ranking
            if span is not HistoryRange.ONE_DAY and made is not None and not self._is_current:
                return made.ranking
            starts = None if span is HistoryRange.ONE_DAY else await self._current_starts()
            version = self._engine.meta.version
            if made is not None and made.starts is starts and made.engine_version == version:
                ranking = made.ranking
            else:
                growth = GrowthFold.none() if starts is None else starts.growth[span]
                ranking = await asyncio.to_thread(ranked, growth, self._engine.latest_snapshots())
            self._made[span] = _Made(ranking, self._clock.monotonic(), starts, version)
            return ranking

    @property
    def _is_current(self) -> bool:
        """Whether what is held was made until the session began that the newest valuations belong to."""
        return self._starts is not None and self._starts.session_start_ms == self._engine.meta.session_start_ms

    async def _current_starts(self) -> _Starts:
        try:
            async with asyncio.timeout(STARTS_SECONDS):
                while not self._is_current:
                    await self._read.wait()
        except TimeoutError:
            raise StoreUnavailable(
                f"the closes of sessions, from which ranges start, are not at hand: {self._failure}"
            ) from None
        assert self._starts is not None, "it was waited for"
        return self._starts

    async def _read_starts(self) -> _Starts:
        rolls_ms = await self._closes.catch_up(self._calendar.session_starts_ms)
        if not rolls_ms:
            return _Starts(NO_SESSION, GrowthFold(self._engine.account_ids(), {}).growth)
        session_ms = rolls_ms[-1]
        spans = (HistoryRange.ONE_WEEK, HistoryRange.ONE_MONTH)
        starts_ms = range_starts(rolls_ms, {span: self._calendar.range_start_ms(span, session_ms) for span in spans})
        fold = GrowthFold(self._engine.account_ids(), starts_ms)
        for closed_ms in rolls_ms:
            # The oldest are kept for later ranges, and their growth until the newest is in that one's.
            if closed_ms > min(starts_ms.values()) or closed_ms == session_ms:
                await asyncio.to_thread(fold.add, closed_ms, await self._closes.read(closed_ms))
        return _Starts(session_ms, fold.growth)
