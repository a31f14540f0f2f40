"""
The engine: events in, valuations out. Pure; integers only; one thread.

Between two tick completions events change live numbers and mark what they touch; ``complete_tick`` values what is
marked, once. The engine knows nothing of senders, sequences, readers or databases, and is told the time.

Invariants: an event that raises ``OutOfBounds`` has changed nothing; an account has at most one snapshot per pass;
``version`` only grows; ``equity - net_flow = realized + unrealized`` is compared for every snapshot.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evs_server.engine import bounds, opening, state, valuation, views
from evs_server.engine.correction import Corrections
from evs_server.engine.events import Events
from evs_server.engine.opening import Opening
from evs_server.engine.session import SessionCalendar
from evs_server.engine.valuation import Stamp
from evs_server.model import (
    EngineMeta,
    EngineState,
    ExchangeAccount,
    ExchangeImport,
    Flag,
    Int64Array,
    MarkSource,
    PositionView,
    Snapshot,
    SnapshotColumns,
    Valuation,
)

NO_SESSION = -1
"""``session_start_ms`` before the first completed tick; no session starts off a whole second."""


class Engine(Events):
    """
    Every account, position and mark in memory.

    Args:
        calendar: When sessions roll.
        stale_after_ms: Age at which a mark is flagged, at least 1.
        version_floor: Versions grow from here; must exceed any version of an earlier process.
    """

    def __init__(self, calendar: SessionCalendar, *, stale_after_ms: int, version_floor: int = 0) -> None:
        super().__init__()
        self._calendar = calendar
        self._stale_after_ms = stale_after_ms
        self._meta = EngineMeta(version=version_floor)
        self.corrections = Corrections(self._book, self._changes)
        self.identity_violation_count = 0
        self.positions_valued_count = 0

    # --- valuation -------------------------------------------------------------------------------------------

    def complete_tick(self, tick: int, tick_time_ms: int, now_ms: int, *, degraded: bool = False) -> list[Valuation]:
        """
        Value every account that is dirty, at the prices of this moment.

        Args:
            tick: The exchange's id of it; stored and shown, never ordered by.
            tick_time_ms: Its time; 0 is ``now_ms``.
            now_ms: EVS's clock, against which marks age.
            degraded: Whether to flag the snapshots so.

        Returns:
            The passes made, in order: the session roll if this tick is past it, then this tick's own unless nothing
            is dirty.
        """
        time_ms = tick_time_ms or now_ms
        flags = int(Flag.DEGRADED) if degraded else 0
        roll = self._roll(time_ms, flags)
        meta = self._meta
        self._meta = EngineMeta(meta.version, tick, meta.session_start_ms, tick_time_ms)
        own = self._value_dirty(time_ms, now_ms, flags)
        return [made for made in (roll, own) if made is not None]

    def roll_if_due(self, now_ms: int, *, degraded: bool = False) -> Valuation | None:
        """
        The pass of a session roll, if EVS's clock is past one and ticks carry no time of their own.

        Before the first completed tick there is no session, and nothing to roll.
        """
        if self._meta.tick_time_ms or self._meta.session_start_ms == NO_SESSION:
            return None
        return self._roll(now_ms, int(Flag.DEGRADED) if degraded else 0)

    # --- accounts --------------------------------------------------------------------------------------------

    def open_accounts(self, accounts: Sequence[ExchangeAccount], now_ms: int, *, degraded: bool = False) -> Valuation:
        """
        Take in accounts that the exchange created later, as the fold of their trades, and value them at once.

        They are valued at the marks of the last completed tick. What was paid into them is their base, so that the
        day change does not depend on how soon they were taken in.

        Raises:
            OutOfBounds: If the exchange's tables hold numbers beyond the bounds; none is taken in then.
        """
        return self._take_in([opening.folded(account) for account in accounts], now_ms, degraded)

    def import_exchange(self, tables: ExchangeImport, now_ms: int) -> Valuation:
        """
        Take in all of the exchange's tables at the first start, and value every account once.

        Positions cost their average cost; realized is 0; marks are the newest trades. An account's base is its
        first fully priced valuation.

        Raises:
            OutOfBounds: If the exchange's tables hold numbers beyond the bounds.
        """
        book = self._book
        bounds.check_prices(tables.price_symbol_id, tables.price_cents)
        for symbol_id, price_cents in zip(tables.price_symbol_id.tolist(), tables.price_cents.tolist(), strict=True):
            self._changes.set_mark(book.symbol_row_or_new(symbol_id), price_cents, MarkSource.LAST_TRADE, now_ms)
        self._changes.moved.drain()
        valuation.take_over_marks(book, self._changes.set_again.drain())
        return self._take_in(list(opening.imported(tables)), now_ms, degraded=False)

    # --- reads, as of the newest valuation -------------------------------------------------------------------

    @property
    def account_count(self) -> int:
        """How many accounts are in memory."""
        return self._book.accounts.count

    @property
    def position_count(self) -> int:
        """How many positions are in memory, closed ones included."""
        return self._book.position_count

    @property
    def meta(self) -> EngineMeta:
        """The newest version, tick and session."""
        return self._meta

    def time_ms(self, now_ms: int) -> int:
        """What time it is on the market: that of the last completed tick if ticks carry their own, else EVS's clock."""
        return self._meta.tick_time_ms or now_ms

    def account_ids(self) -> Int64Array:
        """All accounts, in the order they were taken in."""
        return self._book.accounts.account_id[: self._book.accounts.count].copy()

    def snapshot(self, account_id: int) -> Snapshot | None:
        """An account's newest snapshot, or None if it is not in memory."""
        return views.snapshot(self._book, account_id)

    def positions(self, account_id: int) -> list[PositionView]:
        """A known account's positions as of its newest snapshot, ascending by symbol, closed ones included."""
        return views.positions(self._book, account_id)

    def session_base(self, account_id: int) -> tuple[int, int] | None:
        """A known account's equity and net flow from which its day change counts; None if it has no base yet."""
        return views.session_base(self._book, account_id)

    # --- keeping ---------------------------------------------------------------------------------------------

    def capture(self) -> EngineState:
        """What changed since the last capture; the rows hold what they hold now."""
        return state.export(self._book, self._changes.handle(), self._meta, self._changes.unsaved.drain())

    def export_state(self) -> EngineState:
        """Everything; the next capture is not affected."""
        return state.export(self._book, self._changes.handle(), self._meta, None)

    def latest_snapshots(self) -> SnapshotColumns:
        """Every account's newest snapshot."""
        return views.snapshots(self._book)

    def restore(self, saved: EngineState, latest: SnapshotColumns, version_floor: int = 0) -> None:
        """
        Take over an exported state and the newest snapshots that belong to it; the engine must be new.

        No valuation is made. Versions go on from the highest of the saved one and the floors given.
        """
        assert self._book.accounts.count == 0, "restore into a new engine"
        floor = max(self._meta.version, version_floor)
        self._changes.resume(*state.restore(self._book, saved, latest))
        self._meta = replace(saved.meta, version=max(floor, saved.meta.version))

    def restate(self, now_ms: int, *, whole: bool) -> tuple[Valuation | None, Valuation | None]:
        """
        Newest valuations of a start, made anew where the restored ones are not what was told last.

        Whoever does not store every valuation finds older ones. What positions were worth in the newest is known all
        the same (``valuation.restate``), so that nobody is told a number that was over. They say the time of the last
        completed tick; where ticks carry none, EVS's clock, within the session that they belong to.

        Args:
            now_ms: EVS's clock.
            whole: Whether to give all the other accounts another version, too: one of them that came back to the
                numbers it has here has been told with a higher version than this.

        Returns:
            The pass of those whose numbers are others, and that of all the others; each only if there are any.
        """
        book, every = self._book, slice(0, self.account_count)
        accounts, latest = book.accounts, book.latest
        differs = (accounts.position_value_cents[every] != latest.position_value_cents[every]) | (
            accounts.unrealized_cents[every] != latest.unrealized_cents[every]
        )
        if not differs.any() and not (whole and self.account_count):
            return None, None
        oldest_ms = now_ms - self._stale_after_ms
        valuation.age_marks(book, book.symbols.valued_price_cents, book.symbols.valued_time_ms, oldest_ms)
        time_ms = self._last_time_ms(now_ms)
        others = np.flatnonzero(~differs) if whole else np.empty(0, np.int64)
        return self._restate(np.flatnonzero(differs), time_ms), self._restate(others, time_ms)

    def state_hash(self) -> str:
        """A digest of everything that events decide; equal for equal histories, whatever the clock and the versions."""
        return state.digest(self.export_state())

    # --- inside ----------------------------------------------------------------------------------------------

    def _stamp(self, timestamp_ms: int, flags: int) -> Stamp:
        meta = self._meta
        version = meta.version + 1
        self._meta = EngineMeta(version, meta.tick, meta.session_start_ms, meta.tick_time_ms)
        return Stamp(version, meta.tick, timestamp_ms, flags)

    def _value_dirty(self, time_ms: int, now_ms: int, flags: int) -> Valuation | None:
        handle, room = self._changes.handle(), self._changes.room_for_accounts()
        # What is marked is valued and emptied in one step: no event can fall into a gap.
        position_count, account_row = valuation.revalue(handle, room, now_ms, now_ms - self._stale_after_ms)
        self.positions_valued_count += position_count
        return self._appraise(handle, account_row, self._stamp(time_ms, flags)) if len(account_row) else None

    def _take_in(self, openings: Sequence[Opening], now_ms: int, degraded: bool) -> Valuation:
        for opened in openings:
            bounds.check_opening(self._book, opened)
        rows, held = self._changes.open_accounts(openings, now_ms)
        book = self._book
        for row in bounds.loud_accounts(book, rows, held):
            bounds.make_loud(book, row)
        oldest_ms = now_ms - self._stale_after_ms
        valuation.age_marks(book, book.symbols.valued_price_cents, book.symbols.valued_time_ms, oldest_ms)
        valuation.revalue_loaded(book, held)
        # By the time of the market, whose marks value them: the clock is ahead of ticks that carry their own, and an
        # account's next valuation would seem to be older than its first.
        stamp = self._stamp(self.time_ms(now_ms), int(Flag.DEGRADED) if degraded else 0)
        return self._appraise(self._changes.handle(), rows, stamp)

    def _restate(self, account_row: Int64Array, time_ms: int) -> Valuation | None:
        if not len(account_row):
            return None
        made, violation_count = valuation.restate(self._book, account_row, self._stamp(time_ms, flags=0))
        self.identity_violation_count += violation_count
        return made

    def _last_time_ms(self, now_ms: int) -> int:
        """What time a valuation may say that is of the newest session, and not older than any of it."""
        meta = self._meta
        if meta.tick_time_ms or meta.session_start_ms == NO_SESSION:
            return self.time_ms(now_ms)
        newest_ms = int(self._book.latest.timestamp_ms[: self.account_count].max(initial=0))
        return max(newest_ms, min(now_ms, self._calendar.session_end_ms(meta.session_start_ms) - 1))

    def _appraise(self, handle: Int64Array, account_row: Int64Array, stamp: Stamp) -> Valuation:
        made, violation_count = valuation.appraise(handle, account_row, stamp)
        self.identity_violation_count += violation_count
        return made

    def _roll(self, time_ms: int, flags: int) -> Valuation | None:
        meta = self._meta
        start_ms = self._calendar.session_start_ms(time_ms)
        opened = meta.session_start_ms == NO_SESSION
        if not opened and start_ms <= meta.session_start_ms:
            return None
        self._meta = replace(meta, session_start_ms=start_ms)
        if opened or not self.account_count:
            return None
        made, disagreeing = valuation.close_session(self._book, self._stamp(start_ms, flags))
        self._changes.unsaved.accounts.update(np.arange(self.account_count))
        self.identity_violation_count += len(disagreeing)
        return made
