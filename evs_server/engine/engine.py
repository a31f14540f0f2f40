"""
The engine: events in, valuations out. Pure; integers only; one thread.

Between two tick completions events change live numbers and mark what they touch; ``complete_tick`` values what is
marked, once. The engine knows nothing of senders, sequences, readers or databases, and is told the time.

Invariants: an event that raises ``OutOfBounds`` has changed nothing; an account has at most one snapshot per pass;
``version`` only grows; ``equity - net_flow = realized + unrealized`` is compared for every snapshot.
"""

from collections.abc import Sequence

import numpy as np

from evs_server.engine import bounds, opening, state, valuation, views
from evs_server.engine.accounting import fill, signed_quantity_bp
from evs_server.engine.changes import Changes
from evs_server.engine.correction import Corrections
from evs_server.engine.opening import Opening
from evs_server.engine.session import SessionCalendar
from evs_server.engine.tables import NO_ROW, Book
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
    Side,
    Snapshot,
    SnapshotColumns,
    Valuation,
)

NO_SESSION = -1
"""``session_start_ms`` before the first completed tick; no session starts off a whole second."""


class Engine:
    """
    Every account, position and mark in memory.

    Args:
        calendar: When sessions roll.
        stale_after_ms: Age at which a mark is flagged, at least 1.
        version_floor: Versions grow from here; must exceed any version of an earlier process.
    """

    def __init__(self, calendar: SessionCalendar, *, stale_after_ms: int, version_floor: int = 0) -> None:
        self._calendar = calendar
        self._stale_after_ms = stale_after_ms
        self._book = Book()
        self._meta = EngineMeta(version=version_floor)
        self._changes = Changes(self._book)
        self.corrections = Corrections(self._book, self._changes)
        self.identity_violation_count = 0

    # --- events ----------------------------------------------------------------------------------------------

    def apply_trade(
        self,
        account_id: int,
        symbol_id: int,
        side: Side,
        quantity_bp: int,
        price_cents: int,
        fee_cents: int,
        now_ms: int,
        *,
        moves_mark: bool = True,
    ) -> None:
        """
        Apply one leg of a settled trade to a known account.

        Args:
            moves_mark: False if the trade has moved its symbol's mark before, with ``observe_price``.

        Raises:
            OutOfBounds: If it would take this account, or by its price another holder, out of bounds.
        """
        book = self._book
        account_row = book.account_row[account_id]
        symbol_row = book.symbol_row.get(symbol_id, NO_ROW)
        position_row = book.position_row(account_row, symbol_row)
        before = book.lot(position_row)
        after, cash_change = fill(before, signed_quantity_bp(side, quantity_bp), price_cents, fee_cents)
        takes_mark = moves_mark and self._book.trades_make_the_mark(symbol_row)
        prospect = bounds.Prospect(
            account_row,
            book.accounts.cash_cents.item(account_row) + cash_change,
            book.accounts.net_flow_cents.item(account_row),
            book.accounts.realized_cents.item(account_row) + after.realized_cents - before.realized_cents,
            symbol_row,
            after,
            price_cents if takes_mark else book.price_of(symbol_row),
        )
        bounds.check_new_symbol(book, symbol_row)
        bounds.check_new_position(book, account_row, position_row)
        loud = bounds.check_account(book, prospect)
        loud_rows = bounds.check_price(book, symbol_row, price_cents, account_row) if takes_mark else []

        symbol_row = book.symbol_row_or_new(symbol_id)
        if position_row == NO_ROW:
            position_row = book.add_position(account_row, symbol_row)
        self._changes.write_lot(position_row, after, now_ms)
        book.accounts.cash_cents[account_row] = prospect.cash_cents
        book.accounts.realized_cents[account_row] = prospect.realized_cents
        self._changes.touched.add(position_row)
        self._changes.mark_dirty(account_row)
        if takes_mark:
            self._changes.set_mark(symbol_row, price_cents, MarkSource.LAST_TRADE, now_ms)
        for loud_row in [*loud_rows, account_row] if loud else loud_rows:
            bounds.make_loud(book, loud_row)

    def apply_price(self, symbol_id: int, price_cents: int, now_ms: int) -> None:
        """
        Set a symbol's mark; from now on its trades no longer do.

        Raises:
            OutOfBounds: If it would take a holder out of bounds.
        """
        symbol_row = self._book.symbol_row.get(symbol_id, NO_ROW)
        bounds.check_new_symbol(self._book, symbol_row)
        loud_rows = bounds.check_price(self._book, symbol_row, price_cents)
        self._changes.set_mark(self._book.symbol_row_or_new(symbol_id), price_cents, MarkSource.MARK, now_ms)
        for loud_row in loud_rows:
            bounds.make_loud(self._book, loud_row)

    def apply_cash(self, account_id: int, amount_cents: int) -> None:
        """
        Book a deposit (positive) or a withdrawal (negative) on a known account.

        Raises:
            OutOfBounds: If it would take the account out of bounds.
        """
        book = self._book
        account_row = book.account_row[account_id]
        now = bounds.current(book, account_row)
        prospect = bounds.Prospect(
            account_row, now.cash_cents + amount_cents, now.net_flow_cents + amount_cents, now.realized_cents
        )
        if bounds.check_account(book, prospect):
            bounds.make_loud(book, account_row)
        book.accounts.cash_cents[account_row] = prospect.cash_cents
        book.accounts.net_flow_cents[account_row] = prospect.net_flow_cents
        self._changes.mark_dirty(account_row)

    def observe_price(self, symbol_id: int, price_cents: int, now_ms: int) -> None:
        """
        Take note of a trade's price: it moves its symbol's mark, unless ``apply_price`` ever set that.

        Raises:
            OutOfBounds: If it would take a holder out of bounds.
        """
        symbol_row = self._book.symbol_row.get(symbol_id, NO_ROW)
        if self._book.trades_make_the_mark(symbol_row):
            bounds.check_new_symbol(self._book, symbol_row)
            loud_rows = bounds.check_price(self._book, symbol_row, price_cents)
            symbol_row = self._book.symbol_row_or_new(symbol_id)
            self._changes.set_mark(symbol_row, price_cents, MarkSource.LAST_TRADE, now_ms)
            for loud_row in loud_rows:
                bounds.make_loud(self._book, loud_row)

    def observe_trade(
        self,
        account_id: int,
        symbol_id: int,
        price_cents: int,
        now_ms: int,
        *,
        fee_cents: int = 0,
        moves_mark: bool = True,
    ) -> None:
        """
        Take note of a trade that is in a known account's books already, since it was loaded with it.

        The account is valued at the next completed tick. Its cash has paid the fee, of which the exchange's ``trades``
        rows know nothing: what the fold took for money paid out becomes a cost.

        Raises:
            OutOfBounds: If its price would take a holder out of bounds.
        """
        if moves_mark:
            self.observe_price(symbol_id, price_cents, now_ms)
        book = self._book
        account_row = book.account_row[account_id]
        position_row = book.position_row(account_row, book.symbol_row.get(symbol_id, NO_ROW))
        if fee_cents and position_row != NO_ROW:
            lot = book.lot(position_row)
            self._changes.write_lot(position_row, lot._replace(realized_cents=lot.realized_cents - fee_cents), now_ms)
            self._changes.touched.add(position_row)
            book.accounts.realized_cents[account_row] -= fee_cents
            book.accounts.net_flow_cents[account_row] += fee_cents
        self._changes.mark_dirty(account_row)

    def mark_dirty(self, account_id: int) -> None:
        """Have a known account valued at the next completed tick, though nothing of it changed."""
        self._changes.mark_dirty(self._book.account_row[account_id])

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
        self._meta = EngineMeta(self._meta.version, tick, self._meta.session_start_ms, tick_time_ms != 0)
        own = self._value_dirty(time_ms, now_ms, flags)
        return [made for made in (roll, own) if made is not None]

    def roll_if_due(self, now_ms: int, *, degraded: bool = False) -> Valuation | None:
        """
        The pass of a session roll, if EVS's clock is past one and ticks carry no time of their own.

        Before the first completed tick there is no session, and nothing to roll.
        """
        if self._meta.tick_timed or self._meta.session_start_ms == NO_SESSION:
            return None
        return self._roll(now_ms, int(Flag.DEGRADED) if degraded else 0)

    # --- accounts --------------------------------------------------------------------------------------------

    def knows(self, account_id: int) -> bool:
        """Whether an account is in memory."""
        return account_id in self._book.account_row

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
        *_, set_now = self._changes.drain()
        valuation.take_over_marks(book, set_now)
        return self._take_in(list(opening.imported(tables)), now_ms, degraded=False)

    # --- reads, as of the newest valuation -------------------------------------------------------------------

    @property
    def account_count(self) -> int:
        """How many accounts are in memory."""
        return self._book.accounts.count

    @property
    def position_count(self) -> int:
        """How many positions are in memory, closed ones included."""
        return self._book.positions.count

    @property
    def meta(self) -> EngineMeta:
        """The newest version, tick and session."""
        return self._meta

    def account_ids(self) -> Int64Array:
        """All accounts, in the order they were taken in."""
        return self._book.accounts.account_id[: self._book.accounts.count].copy()

    def snapshot(self, account_id: int) -> Snapshot | None:
        """An account's newest snapshot, or None if it is not in memory."""
        return views.snapshot(self._book, account_id)

    def positions(self, account_id: int) -> list[PositionView]:
        """A known account's positions as of its newest snapshot, ascending by symbol, closed ones included."""
        return views.positions(self._book, account_id)

    # --- keeping ---------------------------------------------------------------------------------------------

    def capture(self) -> EngineState:
        """What changed since the last capture; the rows hold what they hold now."""
        return state.export(
            self._book, self._meta, self._changes.dirty, self._changes.moved, self._changes.unsaved.drain()
        )

    def export_state(self) -> EngineState:
        """Everything; the next capture is not affected."""
        return state.export(self._book, self._meta, self._changes.dirty, self._changes.moved, None)

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
        meta = saved.meta
        self._meta = EngineMeta(max(floor, meta.version), meta.tick, meta.session_start_ms, meta.tick_timed)

    def state_hash(self) -> str:
        """A digest of everything that events decide; equal for equal histories, whatever the clock and the versions."""
        return state.digest(self.export_state())

    # --- inside ----------------------------------------------------------------------------------------------

    def _stamp(self, timestamp_ms: int, flags: int) -> Stamp:
        meta = self._meta
        self._meta = EngineMeta(meta.version + 1, meta.tick, meta.session_start_ms, meta.tick_timed)
        return Stamp(self._meta.version, meta.tick, timestamp_ms, flags)

    def _value_dirty(self, time_ms: int, now_ms: int, flags: int) -> Valuation | None:
        book, changes = self._book, self._changes
        valuation.age_marks(book, book.symbols.price_cents, book.symbols.mark_time_ms, now_ms - self._stale_after_ms)
        # The sets are swapped for empty ones and valued with nothing in between: no event can fall into a gap.
        dirty, touched, moved, set_again = changes.drain()
        holding = book.open_position_rows_of_symbols(moved)
        valuation.revalue(book, np.union1d(touched, holding), book.symbols.price_cents)
        valuation.take_over_marks(book, set_again)
        changes.unsaved.accounts.update(dirty)
        changes.unsaved.positions.update(touched)
        changes.unsaved.symbols.update(set_again)
        account_row = np.union1d(dirty, book.positions.account_row[holding])
        return self._appraise(account_row, self._stamp(time_ms, flags)) if len(account_row) else None

    def _take_in(self, openings: Sequence[Opening], now_ms: int, degraded: bool) -> Valuation:
        for opened in openings:
            bounds.check_opening(self._book, opened)
        rows = np.array([self._changes.open_account(opened, now_ms) for opened in openings], np.int64)
        book = self._book
        for row in state.loud_accounts(book, rows):
            bounds.make_loud(book, row)
        held = [row for account_row in rows.tolist() for row in book.position_rows_of_account(account_row)]
        oldest_ms = now_ms - self._stale_after_ms
        valuation.age_marks(book, book.symbols.valued_price_cents, book.symbols.valued_time_ms, oldest_ms)
        valuation.revalue(book, np.array(held, np.int64), book.symbols.valued_price_cents)
        return self._appraise(rows, self._stamp(now_ms, int(Flag.DEGRADED) if degraded else 0))

    def _appraise(self, account_row: Int64Array, stamp: Stamp) -> Valuation:
        made, new_base = valuation.appraise(self._book, account_row, stamp)
        self._changes.unsaved.accounts.update(new_base)
        self.identity_violation_count += int(np.count_nonzero(made.flags & int(Flag.IDENTITY_VIOLATED)))
        return made

    def _roll(self, time_ms: int, flags: int) -> Valuation | None:
        meta = self._meta
        start_ms = self._calendar.session_start_ms(time_ms)
        opened = meta.session_start_ms == NO_SESSION
        if not opened and start_ms <= meta.session_start_ms:
            return None
        self._meta = EngineMeta(meta.version, meta.tick, start_ms, meta.tick_timed)
        if opened or not self.account_count:
            return None
        made, disagreeing = valuation.close_session(self._book, self._stamp(start_ms, flags))
        self._changes.unsaved.accounts.update(np.arange(self.account_count))
        self.identity_violation_count += len(disagreeing)
        return made
