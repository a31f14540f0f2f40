"""
The engine with a stopwatch: the same results, and how long each tick's valuation took. Reads the clock.

The engine itself knows no clock. Two looks at one and a bisection a tick are what measuring costs; events are not
measured one by one.
"""

from dataclasses import dataclass

import numpy as np

from evs_server.clock import Clock
from evs_server.engine import Engine, SessionCalendar
from evs_server.model import Snapshot, Valuation
from evs_server.telemetry.distribution import TICK_SECONDS, Distribution


@dataclass(frozen=True, slots=True)
class MarkCounts:
    """
    How good the prices are that accounts are valued at.

    Attributes:
        unpriced_position_count: Open positions without any price, valued at their cost.
        stale_position_count: Open positions whose price is too old.
        stale_symbol_count: Symbols whose price is.
    """

    unpriced_position_count: int
    stale_position_count: int
    stale_symbol_count: int


class MeasuredEngine(Engine):
    """
    An engine that is measured; made by ``app``, and an ``Engine`` to everybody else.

    Args:
        calendar: As of ``Engine``.
        stale_after_ms: As of ``Engine``.
        clock: What valuations are timed by.

    Attributes:
        valuation_seconds: How long each completed tick took to value.
        tick_count: Ticks completed since the start.
        valued_count: Accounts valued by them.
        rolled_count: Accounts valued because the session rolled.
        hit_count: Reads of one account's value that were answered from memory.
    """

    def __init__(self, calendar: SessionCalendar, *, stale_after_ms: int, clock: Clock) -> None:
        super().__init__(calendar, stale_after_ms=stale_after_ms)
        self._clock = clock
        self.valuation_seconds = Distribution(TICK_SECONDS)
        self.tick_count = 0
        self.valued_count = 0
        self.rolled_count = 0
        self.hit_count = 0

    def complete_tick(self, tick: int, tick_time_ms: int, now_ms: int, *, degraded: bool = False) -> list[Valuation]:
        """As ``Engine.complete_tick``."""
        started_at = self._clock.monotonic()
        passes = super().complete_tick(tick, tick_time_ms, now_ms, degraded=degraded)
        self.valuation_seconds.observe(self._clock.monotonic() - started_at)
        self.tick_count += 1
        for made in passes:
            self._count(made)
        return passes

    def roll_if_due(self, now_ms: int, *, degraded: bool = False) -> Valuation | None:
        """As ``Engine.roll_if_due``."""
        made = super().roll_if_due(now_ms, degraded=degraded)
        if made is not None:
            self._count(made)
        return made

    def snapshot(self, account_id: int) -> Snapshot | None:
        """As ``Engine.snapshot``."""
        found = super().snapshot(account_id)
        self.hit_count += found is not None
        return found

    def mark_counts(self) -> MarkCounts:
        """How good the prices are, as of the newest valuations; looks at every account."""
        accounts, symbols = self._book.accounts, self._book.symbols
        return MarkCounts(
            int(accounts.unpriced_count[: accounts.count].sum()),
            int(accounts.stale_count[: accounts.count].sum()),
            int(np.count_nonzero(symbols.stale[: symbols.count])),
        )

    def _count(self, made: Valuation) -> None:
        if made.session_roll:
            self.rolled_count += len(made)
        else:
            self.valued_count += len(made)
