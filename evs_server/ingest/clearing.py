"""
What becomes of one announced trade or flow: applied, skipped because it is in the books already, or parked. Pure.

Lives here: everything that follows from the exchange writing its tables before it tells us (DESIGN 6). Not here: who
announced it and whether before (``sequencer``), and what it does to an account (``engine``).

An account that EVS does not know, or whose flows must be held against the tables, has its events parked; ``resolve``
takes them up once the account has been read. Invariant: an account's trades
take effect in the order they came.
"""

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from evs_server.engine import Engine
from evs_server.errors import OutOfBounds, RequestError
from evs_server.ingest.newcomers import Newcomers, funding_cents
from evs_server.ingest.parked import FLOW, TRADE, Parked, ParkedEvent
from evs_server.ingest.retries import Retries
from evs_server.ingest.settled import Settled
from evs_server.model import (
    Correction,
    CorrectionKind,
    ExchangeAccount,
    ExchangeImport,
    Ledger,
    NewcomerColumns,
    ParkedColumns,
    Recovered,
    SettledTrade,
    SettlementColumns,
    Side,
    UnannouncedColumns,
    Valuation,
)

log = logging.getLogger(__name__)


class Trade(NamedTuple):
    """An announced trade but for its account, as ``model.TradeRun`` has it."""

    symbol_id: int
    side: int
    quantity_bp: int
    price_cents: int
    fee_cents: int
    settlement_id: int


class Cleared(NamedTuple):
    """What a flush carries of this room; named as in ``model.Flush``."""

    settlements: SettlementColumns
    unannounced_added: UnannouncedColumns
    unannounced_removed: UnannouncedColumns
    parked_added: ParkedColumns
    parked_removed: ParkedColumns
    newcomers: NewcomerColumns


class Clearing:
    """
    Clears trades and flows against what the exchange's tables have told already.

    Attributes:
        parked: Events that wait until their account has been read.
        retries: What unsequenced callers sent, to recognise what they send again.
        dropped_count: Parked events that were given up.
    """

    def __init__(self, engine: Engine, settled: Settled) -> None:
        self._engine: Final = engine
        self._settled: Final = settled
        self._newcomers: Final = Newcomers()
        self.parked: Final = Parked()
        self.retries: Final = Retries()
        self.dropped_count = 0

    def restore(self, recovered: Recovered) -> None:
        """Take over what the last process had committed."""
        self.retries.restore(recovered.settlements)
        self._settled.restore(recovered.unannounced)
        self._newcomers.restore(recovered.newcomers)
        self.parked.restore(recovered.parked)
        for columns in (recovered.unannounced, recovered.parked, recovered.newcomers):
            for account_id in columns.account_id.tolist():
                self._heed(account_id)

    def capture(self) -> Cleared:
        """What changed since the last capture."""
        return Cleared(
            self.retries.capture(), *self._settled.capture(), *self.parked.capture(), self._newcomers.capture()
        )

    # --- events ----------------------------------------------------------------------------------------------

    def take_trade(self, account_id: int, trade: Trade, now_ms: int) -> None:
        """
        Apply, skip or park a trade.

        Args:
            trade: Checked field by field.

        Raises:
            OutOfBounds: If it would take an account out of bounds; nothing has changed then.
            Overloaded: If it must wait, and too many do.
        """
        if self._must_wait(account_id):
            self.parked.require_room()
            if self._engine.trades_move_marks:
                self._engine.observe_price(trade.symbol_id, trade.price_cents, now_ms)
            self.parked.park_trade(account_id, *trade)
            self._heed(account_id)
        else:
            self._clear_trade(account_id, trade, now_ms, moves_mark=True)

    def take_flow(
        self, account_id: int, amount_cents: int, now_ms: int, account: ExchangeAccount | None = None
    ) -> None:
        """
        Apply, skip or park a flow; raises as ``take_trade``.

        Args:
            account: As read after the flow came, if it was.
        """
        if self._must_wait(account_id):
            self.parked.park_flow(account_id, amount_cents)
        elif not self._newcomers.holds(account_id, now_ms):
            self._engine.apply_cash(account_id, amount_cents)
        elif account is not None and self._newcomers.explains(account, amount_cents):
            self._settle_flows(account, [amount_cents])
        else:
            self.parked.park_flow(account_id, amount_cents)
        self._heed(account_id)

    def is_doubtful(self, account_id: int, now_ms: int) -> bool:
        """Whether a flow of an account is to be held against the exchange's tables, and nothing waits for that yet."""
        return self._newcomers.holds(account_id, now_ms) and not self.parked.holds(account_id)

    # --- accounts --------------------------------------------------------------------------------------------

    def open_accounts(self, accounts: Sequence[ExchangeAccount], now_ms: int, *, degraded: bool) -> Valuation:
        """
        Take in accounts that the exchange created later, and expect the announcements of their trades.

        Raises:
            OutOfBounds: If their numbers are beyond the bounds; none is taken in then.
        """
        valuation = self._engine.open_accounts(accounts, now_ms, degraded=degraded)
        for account in accounts:
            self._settled.expect(account.account_id, account.trades)
            self._newcomers.welcome(account, now_ms)
            self._heed(account.account_id)
        return valuation

    def import_exchange(self, tables: ExchangeImport, now_ms: int) -> Valuation:
        """
        Take in all of the exchange's tables at the first start.

        Its newest trades may be announced only now; only a settlement id can tell such a one from another like it.

        Raises:
            OutOfBounds: If the tables hold numbers beyond the bounds.
        """
        valuation = self._engine.import_exchange(tables, now_ms)
        for account_id, trade_id in zip(
            tables.recent_account_id.tolist(), tables.recent_trade_id.tolist(), strict=True
        ):
            self._settled.expect(account_id, [SettledTrade(trade_id, 0, Side.BUY, 0, 0)])
            self._heed(account_id)
        return valuation

    def resolve(self, account: ExchangeAccount, last_parked_id: int, now_ms: int) -> None:
        """
        Take up the events of a known account that were parked before it was read.

        Flows of a new account are settled together: what they did is what the tables have more than we do.

        Args:
            account: As read after those events came.
            last_parked_id: The newest of those events.
        """
        events = self.parked.release(account.account_id, last_parked_id)
        # Trades first: their fees are known, and what they leave undeclared is what the flows did.
        for event in events:
            if event.kind == TRADE:
                self._clear_parked(event, now_ms)
        flows = [event.amount_cents for event in events if event.kind == FLOW]
        try:
            if self._newcomers.holds(account.account_id, now_ms):
                self._settle_flows(account, flows)
            else:
                self._book(account.account_id, sum(flows))
        except OutOfBounds as error:
            self._give_up(account.account_id, error)
        self._heed(account.account_id)

    def resolve_unseen(self, account_id: int, last_parked_id: int, now_ms: int) -> None:
        """Take up the parked events of a known account that the exchange's tables have no longer, as announced."""
        self._newcomers.forget(account_id)
        self.resolve(ExchangeAccount(account_id, 0, ()), last_parked_id, now_ms)

    def known_cents(self, account_id: int) -> int | None:
        """What a newcomer had been funded with as far as was taken over, or None for any other account."""
        return self._newcomers.known_cents(account_id)

    @property
    def has_unread(self) -> bool:
        """Whether any account has parked events, or is suspected, though it may not be new any more."""
        return self.parked.holds_any or self._newcomers.has_suspects

    def suspects(self, now_ms: int) -> list[int]:
        """Accounts that may have been read half way, to be read again."""
        return self._newcomers.suspects(now_ms)

    def recheck(self, account: ExchangeAccount, now_ms: int) -> bool:
        """Whether a suspect account, read again, was found to have been read half way; what was missing is booked."""
        account_id = account.account_id
        if self.parked.holds(account_id) or not self._newcomers.holds(account_id, now_ms):
            return False
        missing = self._newcomers.settled_cents(account)
        if missing:
            try:
                self._engine.apply_cash(account_id, missing)
                self._newcomers.take_over(account_id, missing)
            except OutOfBounds as error:
                self._give_up(account_id, error)
        return missing != 0

    def agrees(self, account: ExchangeAccount, last_parked_id: int, now_ms: int) -> bool:
        """
        Whether the tables, as read, explain an account's parked flows: they have all of them, or none.

        If not, a settlement may have been read half way; what differs a moment later is then really so.
        """
        if not self._newcomers.holds(account.account_id, now_ms):
            return True
        flows, fees = self.parked.flows_and_fees_cents(account.account_id, last_parked_id)
        return self._newcomers.explains(account, flows) or self._newcomers.explains(account, flows, fees)

    def drop(self, account_id: int, last_parked_id: int) -> int:
        """How many parked events of an account that does not exist were given up, and counted."""
        dropped = len(self.parked.release(account_id, last_parked_id))
        self.dropped_count += dropped
        self._heed(account_id)
        return dropped

    # --- corrections -----------------------------------------------------------------------------------------

    def correct(self, correction: Correction, theirs: Ledger, now_ms: int) -> None:
        """Take note of what was corrected from the tables: announced late, it is in the books already."""
        if correction.kind is not CorrectionKind.RECOMPUTE:
            account = ExchangeAccount(correction.account_id, theirs.cash_cents, theirs.trades)
            self._settled.expect(correction.account_id, correction.trades)
            self._newcomers.hold(correction.account_id, funding_cents(account), now_ms)
            self._newcomers.keep(correction.account_id)
            self._heed(correction.account_id)

    def applied_ids(self, account_id: int, trades: Sequence[SettledTrade]) -> set[int]:
        """Ids of those of an account's trades that are known to be in its books; others may be, too."""
        expected = self._settled.expected_ids(account_id)
        return expected | {
            trade.trade_id for trade in trades if self.retries.is_repeat(account_id, trade.side, trade.trade_id)
        }

    # --- inside ----------------------------------------------------------------------------------------------

    def _settle_flows(self, account: ExchangeAccount, flows_cents: Sequence[int]) -> None:
        """
        Book the announced flows of a newcomer, read since they came.

        If the tables show that they are kept, what they have and we do not is what the flows did: nothing, if the flows
        were in the balance that the account was loaded with. If they do not show it, nothing can be said against the
        flows, and they are booked as announced.
        """
        account_id, told = account.account_id, sum(flows_cents)
        undeclared = self._newcomers.undeclared_cents(account)
        if not self._newcomers.is_kept(account):
            self._book(account_id, told)
            if undeclared == told:
                self._newcomers.take_over(account_id, told)
            return
        self._book(account_id, undeclared)
        self._newcomers.take_over(account_id, undeclared)
        if flows_cents and not undeclared:
            log.warning(
                "flows of %d cents on account %d are in the books already, by the exchange's balance", told, account_id
            )

    def _book(self, account_id: int, amount_cents: int) -> None:
        if amount_cents:
            self._engine.apply_cash(account_id, amount_cents)
        else:
            self._engine.mark_dirty(account_id)

    def _heed(self, account_id: int) -> None:
        """
        Have an account's trades come one by one while they are more than a change of its books.

        Called after whatever may make it so, or no longer: an account may be heeded needlessly, never too little.
        """
        if self._engine.knows(account_id):
            always = self._settled.expects(account_id) or self.parked.holds(account_id)
            self._engine.heed(account_id, always=always, with_fee=self._newcomers.known_cents(account_id) is not None)

    def _must_wait(self, account_id: int) -> bool:
        return self.parked.holds(account_id) or not self._engine.knows(account_id)

    def _clear_trade(self, account_id: int, trade: Trade, now_ms: int, *, moves_mark: bool) -> None:
        symbol_id, side, quantity_bp, price_cents, fee_cents, settlement_id = trade
        loaded = self._settled.expected(account_id, symbol_id, side, quantity_bp, price_cents, settlement_id)
        if loaded is not None:
            self._engine.observe_trade(
                account_id, symbol_id, price_cents, now_ms, fee_cents=fee_cents, moves_mark=moves_mark
            )
            self._settled.announce(account_id, loaded)
            self._heed(account_id)
        else:
            self._engine.apply_trade(
                account_id, symbol_id, Side(side), quantity_bp, price_cents, fee_cents, now_ms, moves_mark=moves_mark
            )
            self._newcomers.take_over(account_id, -fee_cents)
        if fee_cents and self._newcomers.holds(account_id, now_ms):
            # A fee is in the tables before it is announced, and may have been booked as money paid out.
            self._newcomers.suspect(account_id)
        elif fee_cents:
            self._heed(account_id)

    def _clear_parked(self, event: ParkedEvent, now_ms: int) -> None:
        trade = Trade(
            event.symbol_id, event.side, event.quantity_bp, event.price_cents, event.fee_cents, event.settlement_id
        )
        try:
            self._clear_trade(event.account_id, trade, now_ms, moves_mark=False)
        except RequestError as error:
            self._give_up(event.account_id, error)

    def _give_up(self, account_id: int, error: RequestError) -> None:
        # It counted as applied when it was parked: too late to refuse it.
        self.dropped_count += 1
        log.error("a parked event of account %d cannot be applied: %s", account_id, error)
