"""
Accounts that the exchange creates while EVS runs: whenever they are read, the result is the fold of their tables.

The exchange writes first and announces later, in order. Between the two anything may happen: more is written, the
account is read, for its parked events or before a batch is taken, a tick completes, EVS starts again from what it has
flushed.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import time
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from evs_server.engine import Engine, SessionCalendar
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake
from evs_server.ingest.sequencer import Sequencer
from evs_server.ingest.settled import Settled
from evs_server.model import (
    Batch,
    CashRun,
    ExchangeAccount,
    Flush,
    Int64Array,
    Run,
    SettledTrade,
    Side,
    TickRun,
    TradeRun,
    Valuation,
)
from evs_server.store.memory import MemoryStore, Tables
from tests.reference import Account

ACCOUNT = 7
NOW_MS = 1_800_000_000_000


def column(*values: int) -> Int64Array:
    return np.array(values, np.int64)


class Kept:
    """A sink that keeps what it is given."""

    degraded_since_ms = None

    def __init__(self) -> None:
        self.flushes: list[Flush] = []

    def offer(self, flush: Flush) -> None:
        self.flushes.append(flush)

    def publish(self, valuation: Valuation) -> None:
        """Nobody follows."""


class Newcomer(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore(Tables())
        self.balance_cents = 0
        self.fees_cents = 0
        self.trades: list[tuple[SettledTrade, int]] = []
        self.announcements: deque[Callable[[], Run]] = deque()
        self.looks: list[tuple[ExchangeAccount, int]] = []
        self.sequence = 0
        self.shows_changes = self.changed = False
        self.start()

    @initialize(shows_changes=st.booleans())
    def choose(self, shows_changes: bool) -> None:
        """Whether the exchange's rows say of themselves that they have changed."""
        self.shows_changes = shows_changes

    def start(self) -> None:
        """EVS, from what is stored."""
        self.sink = Kept()
        calendar = SessionCalendar(ZoneInfo("UTC"), time(0))
        self.engine = Engine(calendar, stale_after_ms=86_400_000)
        self.clearing = Clearing(self.engine, Settled())
        self.intake = Intake(self.engine, Sequencer(), self.clearing, self.sink, self.sink)
        self.intake.restore(asyncio.run(self.store.recover()))
        self.looks = []

    # --- the exchange ------------------------------------------------------------------------------------------

    @rule(
        symbol=st.integers(1, 2),
        side=st.sampled_from(Side),
        quantity_bp=st.sampled_from([5_000, 10_000, 25_001]),
        price=st.integers(100, 103),
        fee=st.sampled_from([0, 0, 3]),
        has_id=st.booleans(),
    )
    def settle(self, symbol: int, side: Side, quantity_bp: int, price: int, fee: int, has_id: bool) -> None:
        trade = SettledTrade(len(self.trades) + 1, symbol, side, quantity_bp, price)
        self.trades.append((trade, fee))
        self.changed = self.shows_changes
        fold = Account()
        fold.fill(symbol, side, quantity_bp, price, fee)
        self.balance_cents += fold.cash
        settlement_id = trade.trade_id if has_id else 0
        self.announcements.append(
            lambda: TradeRun(
                column(ACCOUNT),
                column(symbol),
                column(side),
                column(quantity_bp),
                column(price),
                column(fee),
                column(settlement_id),
            )
        )

    @rule(amount=st.sampled_from([-150, 1_000, 1_000, 2_500]))
    def pay(self, amount: int) -> None:
        # Unless the row shows that it changed, nothing of an account that never traded tells of a flow on its way.
        if self.trades or self.shows_changes:
            self.changed = self.shows_changes
            self.balance_cents += amount
            self.announcements.append(lambda: CashRun(column(ACCOUNT), column(amount), ("",)))

    @precondition(lambda self: self.announcements)
    @rule(look=st.booleans())
    def announce(self, look: bool) -> None:
        """The next announcement comes in; the gate may have had the account looked up in time, or not."""
        run = self.announcements.popleft()()
        self.sequence += 1
        batch = Batch("exchange", 1, self.sequence, (run,), np.array([self.sequence], np.uint64), {})
        unknown = self.intake.unknown_accounts(batch)
        if look and unknown:
            self.intake.open_accounts([self.account()], NOW_MS)
        doubtful = self.intake.doubtful_accounts(batch, NOW_MS)
        self.intake.take(batch, NOW_MS, accounts=dict.fromkeys(doubtful, self.account()) if look else {})

    # --- EVS ---------------------------------------------------------------------------------------------------

    def account(self) -> ExchangeAccount:
        return ExchangeAccount(ACCOUNT, self.balance_cents, tuple(trade for trade, _ in self.trades), self.changed)

    @rule()
    def look(self) -> None:
        """A read of the account begins."""
        if self.intake.waiting_accounts() and not self.looks:
            self.looks.append((self.account(), self.intake.last_parked_id))

    @rule(patient=st.booleans())
    def take_up(self, patient: bool) -> None:
        """The read that began ends."""
        for account, last_parked_id in self.looks:
            if not self.intake.knows(ACCOUNT):
                self.intake.open_accounts([account], NOW_MS)
            self.intake.resolve(account, last_parked_id, NOW_MS, patient=patient)
        self.looks = []

    @precondition(lambda self: self.trades or self.changed or not self.announcements)
    @rule(half=st.sampled_from(["", "row", "balance"]))
    def subscribe(self, half: str) -> None:
        """Someone wants to see the account; it may be read in the middle of a settlement that is not atomic."""
        if not self.intake.knows(ACCOUNT):
            account = self.account()
            if half and self.trades:
                trade, fee = self.trades[-1]
                fold = Account()
                fold.fill(trade.symbol_id, trade.side, trade.quantity_bp, trade.price_cents, fee)
                if half == "row":
                    account = replace(account, cash_cents=account.cash_cents - fold.cash)
                else:
                    account = replace(account, trades=account.trades[:-1])
            self.intake.open_accounts([account], NOW_MS)

    @rule()
    def look_again(self) -> None:
        """The accounts under suspicion are read again."""
        if self.intake.suspects(NOW_MS):
            self.intake.recheck(self.account(), NOW_MS)

    @rule()
    def tick(self) -> None:
        run = TickRun(column(1), column(0))
        self.intake.take(Batch("", 0, 0, (run,), np.array([1], np.uint64), {}), NOW_MS)
        assert self.engine.identity_violation_count == 0

    @rule()
    def start_again(self) -> None:
        self.intake.flush()
        for flush in self.sink.flushes:
            asyncio.run(self.store.write(flush))
        self.start()

    def teardown(self) -> None:
        """Once all is announced and read, the account is what its tables make of it."""
        while self.announcements:
            self.announce(look=False)
        while self.intake.waiting_accounts():
            self.look()
            self.take_up(patient=True)
            self.look()
            self.take_up(patient=False)
        while self.intake.suspects(NOW_MS):
            self.look_again()
        self.tick()
        snapshot = self.engine.snapshot(ACCOUNT)
        if snapshot is not None:
            fold = Account()
            for trade, fee in self.trades:
                fold.fill(trade.symbol_id, trade.side, trade.quantity_bp, trade.price_cents, fee)
            paid_in = self.balance_cents - fold.cash
            assert (self.balance_cents, paid_in, fold.realized) == (
                snapshot.cash_cents,
                snapshot.net_flow_cents,
                snapshot.realized_cents,
            )
            lots = {view.symbol_id: view for view in self.engine.positions(ACCOUNT)}
            assert fold.lots == {
                symbol: (view.quantity_bp, view.basis_cents, view.realized_cents) for symbol, view in lots.items()
            }
        assert self.clearing.dropped_count == 0


TestNewcomer = Newcomer.TestCase
