"""
What tests build again and again: an engine with a clock to turn by hand, accounts as the exchange has them.

Times start at noon of 1 January 2026, UTC. Sizes are in whole shares where a test reads better so, and in bp where the
rest of a share matters.
"""

from collections.abc import Iterable, Mapping
from datetime import time
from zoneinfo import ZoneInfo

import numpy as np

from evs_server.engine import Engine, SessionCalendar
from evs_server.model import (
    ExchangeAccount,
    ExchangeImport,
    Int64Array,
    PositionView,
    SettledTrade,
    Side,
    Snapshot,
    Valuation,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOON_MS = 1_767_268_800_000
SHARE_BP = 10_000
ALICE, BOB, CAROL = 1, 2, 3
KICK, PUNT = 11, 12


def int64(*values: int) -> Int64Array:
    """A column of these values."""
    return np.array(values, np.int64)


def an_engine(
    *, zone: str = "UTC", roll: time = time(0), stale_after_ms: int = DAY_MS, version_floor: int = 0
) -> Engine:
    """An engine without accounts."""
    return Engine(SessionCalendar(ZoneInfo(zone), roll), stale_after_ms=stale_after_ms, version_floor=version_floor)


def an_account(
    account_id: int, cash_cents: int = 1_000_000, trades: Iterable[tuple[int, Side, int, int]] = ()
) -> ExchangeAccount:
    """An account as the exchange's tables have it; each trade is symbol, side, bp and price."""
    settled = tuple(SettledTrade(index, *trade) for index, trade in enumerate(trades, start=1))
    return ExchangeAccount(account_id, cash_cents, settled)


def exchange_tables(
    cash_cents: Mapping[int, int],
    positions: Mapping[tuple[int, int], tuple[int, int]] | None = None,
    price_cents: Mapping[int, int] | None = None,
) -> ExchangeImport:
    """The exchange's tables: cash by account, quantity and average cost by account and symbol, price by symbol."""
    held, prices = positions or {}, price_cents or {}
    return ExchangeImport(
        int64(*cash_cents),
        int64(*cash_cents.values()),
        int64(*(account for account, _ in held)),
        int64(*(symbol for _, symbol in held)),
        int64(*(quantity for quantity, _ in held.values())),
        int64(*(average for _, average in held.values())),
        int64(*prices),
        int64(*prices.values()),
    )


def snapshots(passes: Iterable[Valuation]) -> list[Snapshot]:
    """The snapshots of some passes, one after the other."""
    return [each.snapshot(index) for each in passes for index in range(len(each))]


class Floor:
    """
    A trading floor: one engine, and the time.

    Args:
        engine: With or without accounts.
        cash_cents: Accounts to open at once, by id.
    """

    def __init__(self, engine: Engine | None = None, cash_cents: Mapping[int, int] | None = None) -> None:
        self.engine = engine or an_engine()
        self.now_ms = NOON_MS
        self.last_tick = 0
        if cash_cents:
            self.open(*(an_account(account, cash) for account, cash in cash_cents.items()))

    def open(self, *accounts: ExchangeAccount) -> Valuation:
        """Take in accounts."""
        return self.engine.open_accounts(accounts, self.now_ms)

    def buy(self, account: int, shares: int, price: int, *, symbol: int = KICK, fee: int = 0, bp: int = 0) -> None:
        """Settle a purchase of whole shares and, if given, some bp more."""
        self.engine.apply_trade(account, symbol, Side.BUY, shares * SHARE_BP + bp, price, fee, self.now_ms)

    def sell(self, account: int, shares: int, price: int, *, symbol: int = KICK, fee: int = 0, bp: int = 0) -> None:
        """Settle a sale of whole shares and, if given, some bp more."""
        self.engine.apply_trade(account, symbol, Side.SELL, shares * SHARE_BP + bp, price, fee, self.now_ms)

    def mark(self, price: int, *, symbol: int = KICK) -> None:
        """Set a symbol's mark."""
        self.engine.apply_price(symbol, price, self.now_ms)

    def flow(self, account: int, amount: int) -> None:
        """Pay in or out."""
        self.engine.apply_cash(account, amount)

    def complete(self, *, tick: int | None = None, tick_time_ms: int = 0, degraded: bool = False) -> list[Valuation]:
        """Complete a tick, the next one unless told: its passes."""
        self.last_tick = self.last_tick + 1 if tick is None else tick
        return self.engine.complete_tick(self.last_tick, tick_time_ms, self.now_ms, degraded=degraded)

    def tick(self) -> dict[int, Snapshot]:
        """Complete the next tick: its snapshots by account, each of which must come once."""
        made = snapshots(self.complete())
        assert len(made) == len({snapshot.account_id for snapshot in made}), "an account was valued twice"
        return {snapshot.account_id: snapshot for snapshot in made}

    def wait(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now_ms += milliseconds

    def equity(self, account: int) -> Snapshot:
        """An account's newest snapshot."""
        snapshot = self.engine.snapshot(account)
        assert snapshot is not None
        return snapshot

    def position(self, account: int, symbol: int = KICK) -> PositionView:
        """One position as of the account's newest snapshot."""
        [view] = [view for view in self.engine.positions(account) if view.symbol_id == symbol]
        return view


def restarted(engine: Engine, successor: Engine | None = None) -> Engine:
    """A new engine, or the one given, that has taken over everything another one keeps."""
    successor = successor or an_engine()
    successor.restore(engine.export_state(), engine.latest_snapshots())
    return successor
