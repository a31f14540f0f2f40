"""
What one account has made over a time: its stored past, and what the engine knows that is not stored yet.

Lives here: over which time, and who is asked. Not here: which valuations count (``timeline``), what is made of them
(``engine.growth``), SQL (``store``). Touches the network through ``ports.PastReader``.

Where a time ends now, the newest valuation is the engine's, and so is the close of the session before, which may not be
committed yet. Sessions are those that the engine has rolled: the running one's return is the day change that every
frame tells.
"""

from evs_server.clock import Clock
from evs_server.engine import Engine, SessionCalendar
from evs_server.engine.engine import NO_SESSION
from evs_server.engine.growth import Performance
from evs_server.model import Close, HistoryRange, StoredValuation
from evs_server.performance.timeline import made, made_until_now
from evs_server.ports import PastReader


class Returns:
    """
    Returns of single accounts.

    Args:
        engine: Has the newest valuations.
        past: Has those before.
        calendar: The engine's.
        clock: What time it is, before the first completed tick.
    """

    def __init__(self, engine: Engine, past: PastReader, calendar: SessionCalendar, clock: Clock) -> None:
        self._engine = engine
        self._past = past
        self._calendar = calendar
        self._clock = clock

    async def over_range(self, account_id: int, span: HistoryRange) -> tuple[Performance, int]:
        """As ``until_now``, from where a range begins."""
        session_ms = self._engine.meta.session_start_ms
        now_ms = self._clock.now_ms() if session_ms == NO_SESSION else session_ms
        return await self.until_now(account_id, self._calendar.range_start_ms(span, now_ms))

    async def until_now(self, account_id: int, start_ms: int) -> tuple[Performance, int]:
        """
        What a known account has made since a moment, and the version of its newest valuation.

        Raises:
            StoreUnavailable: If the database is away.
        """
        now, base, session_ms = self._now(account_id)
        until_ms = max(now.time_ms, session_ms)
        past = await self._past.read_past(account_id, start_ms, until_ms, self._calendar.session_starts_ms)
        return made_until_now(past, now, base, start_ms), now.version

    async def until(self, account_id: int, start_ms: int, end_ms: int) -> tuple[Performance, int] | None:
        """
        What a known account has made from one moment to another, and the version of its last valuation before that.

        Returns:
            None if it had not been valued yet.

        Raises:
            StoreUnavailable: If the database is away.
        """
        now, _, session_ms = self._now(account_id)
        if max(now.time_ms, session_ms) < end_ms:
            return await self.until_now(account_id, start_ms)
        past = await self._past.read_past(account_id, start_ms, end_ms - 1, self._calendar.session_starts_ms)
        if past is None:
            return None
        return made(past, past.last, self._calendar.session_start_ms(past.last.time_ms)), past.last.version

    def _now(self, account_id: int) -> tuple[StoredValuation, Close | None, int]:
        """An account's newest valuation, what the running session counts from, and when that began."""
        snapshot, base = self._engine.snapshot(account_id), self._engine.session_base(account_id)
        assert snapshot is not None, "an account that was looked up is known"
        session_ms = self._engine.meta.session_start_ms
        return (
            StoredValuation(
                snapshot.timestamp_ms,
                snapshot.version,
                snapshot.equity_cents,
                snapshot.net_flow_cents,
                snapshot.day_change_cents,
            ),
            None if base is None or session_ms == NO_SESSION else Close(session_ms, *base),
            session_ms,
        )
