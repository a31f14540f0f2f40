"""
The rules of DESIGN 3 once more, in plain ints and dicts: the slow, obvious twin that the engine is held against.

Every value is made from scratch each time. No bounds, senders or storage. Sessions are days of UTC.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from evs_server.model import Flag, MarkSource, Side

DAY_MS = 86_400_000
LASTING = Flag.UNPRICED | Flag.STALE_PRICE  # what a session roll says again of the valuation it repeats
Row = dict[str, int]  # one snapshot; keys as in model.Snapshot
Lot = tuple[int, int, int]  # signed quantity, basis, realized
Mark = tuple[int, MarkSource, int]  # price, where from, since when


def notional(quantity_bp: int, price_cents: int) -> int:
    return math.trunc(Fraction(quantity_bp * price_cents, 10_000))


@dataclass
class Account:
    cash: int = 0
    net_flow: int = 0
    realized: int = 0
    lots: dict[int, Lot] = field(default_factory=dict)  # by symbol
    base: tuple[int, int] | None = None  # equity and net flow at the session's opening
    shown: Row = field(default_factory=dict)  # the newest snapshot, and the lots it is made of
    shown_lots: dict[int, Lot] = field(default_factory=dict)

    def fill(self, symbol: int, side: Side, size: int, price: int, fee: int = 0) -> None:
        sign = 1 if side is Side.BUY else -1
        held, basis, realized = self.lots.get(symbol, (0, 0, 0))
        closing = min(size, abs(held)) if held * sign < 0 else 0
        total, closing_total = notional(size, price), notional(closing, price)
        cost = math.trunc(Fraction(basis * closing, abs(held) or 1))
        gain = -sign * closing_total - cost - fee  # a sale brings its notional, a buy costs it
        self.lots[symbol] = (held + sign * size, basis - cost + sign * (total - closing_total), realized + gain)
        self.cash -= sign * total + fee
        self.realized += gain


@dataclass
class Reference:
    stale_after_ms: int = DAY_MS
    roll_minute: int = 0
    version: int = 0
    last_tick: int = 0
    tick_time_ms: int = 0  # of the last tick, if it carried one
    session_ms: int | None = None
    accounts: dict[int, Account] = field(default_factory=dict)
    marks: dict[int, Mark] = field(default_factory=dict)  # by symbol
    shown_marks: dict[int, Mark] = field(default_factory=dict)  # of the last completed tick
    moved: set[int] = field(default_factory=set)  # symbols whose mark changed since
    dirty: set[int] = field(default_factory=set)  # accounts that traded or had a flow since

    def trade(self, account: int, symbol: int, side: Side, size: int, price: int, fee: int, now_ms: int) -> None:
        self.accounts[account].fill(symbol, side, size, price, fee)
        self.observe(account, symbol, price, now_ms)

    def observe(self, account: int, symbol: int, price: int, now_ms: int) -> None:
        self.dirty.add(account)
        if symbol not in self.marks or self.marks[symbol][1] is not MarkSource.MARK:
            self.price(symbol, price, now_ms, MarkSource.LAST_TRADE)

    def price(self, symbol: int, price: int, now_ms: int, source: MarkSource = MarkSource.MARK) -> None:
        if symbol not in self.marks or self.marks[symbol][0] != price:
            self.moved.add(symbol)
        self.marks[symbol] = (price, source, now_ms)

    def cash(self, account: int, amount: int) -> None:
        self.accounts[account].cash += amount
        self.accounts[account].net_flow += amount
        self.dirty.add(account)

    def open(self, accounts: Mapping[int, tuple[int, list[tuple[int, Side, int, int]]]], now_ms: int) -> list[Row]:
        for account, (cash, trades) in accounts.items():
            opened = self.accounts[account] = Account()
            for trade in trades:
                opened.fill(*trade)
            opened.cash, opened.net_flow = cash, cash + sum(lot[1] - lot[2] for lot in opened.lots.values())
            opened.base = (opened.net_flow, opened.net_flow)
        return self._value(accounts, self.last_tick, self.tick_time_ms or now_ms, now_ms)

    def adopt(self, cash: Mapping[int, int], lots: Mapping[tuple[int, int], tuple[int, int]], prices: Mapping[int, int],
              now_ms: int) -> list[Row]:  # fmt: skip
        self.accounts = {account: Account(cash[account], cash[account]) for account in cash}
        for (account, symbol), (quantity, average_cost) in lots.items():
            self.accounts[account].lots[symbol] = (quantity, notional(quantity, average_cost), 0)
            self.accounts[account].net_flow += notional(quantity, average_cost)
        self.marks = {symbol: (price, MarkSource.LAST_TRADE, now_ms) for symbol, price in prices.items()}
        self.shown_marks = dict(self.marks)
        return self._value(cash, self.last_tick, now_ms, now_ms)

    def tick(self, tick: int, tick_time_ms: int, now_ms: int, *, degraded: bool = False) -> list[Row]:
        rows = self._roll(tick_time_ms or now_ms, now_ms, degraded=degraded)
        self.last_tick, self.tick_time_ms, self.shown_marks = tick, tick_time_ms, dict(self.marks)
        holders = {a for a, owner in self.accounts.items() for s in self.moved if owner.lots.get(s, (0,))[0]}
        touched, self.dirty, self.moved = sorted(self.dirty | holders), set(), set()
        return rows + self._value(touched, tick, tick_time_ms or now_ms, now_ms, degraded=degraded)

    def roll_if_due(self, now_ms: int, *, degraded: bool = False) -> list[Row]:
        return [] if self.session_ms is None or self.tick_time_ms else self._roll(now_ms, now_ms, degraded=degraded)

    def _roll(self, time_ms: int, now_ms: int, *, degraded: bool) -> list[Row]:
        known, begun_ms = self.session_ms, time_ms - (time_ms - self.roll_minute * 60_000) % DAY_MS
        self.session_ms = begun_ms if known is None else max(begun_ms, known)
        closed = [] if known in (None, self.session_ms) else self.accounts
        return self._value(closed, self.last_tick, begun_ms, now_ms, degraded=degraded, closing=True)

    def _value(self, accounts: Iterable[int], tick: int, time_ms: int, now_ms: int, *, degraded: bool = False,
               closing: bool = False) -> list[Row]:  # fmt: skip
        version = self.version + 1
        for account in accounts:
            owner, self.version = self.accounts[account], version
            # A close is of what was shown last; whatever came since belongs to the session that it opens.
            if not closing:
                owner.shown_lots, owner.shown = dict(owner.lots), {"flags": self._price_flags(owner, now_ms)}
                owner.shown |= {"account_id": account, "cash_cents": owner.cash, "net_flow_cents": owner.net_flow}
                owner.shown["realized_cents"] = owner.realized
            owner.shown |= {"version": version, "tick": tick, "timestamp_ms": time_ms} | self._worth(owner)
            if closing or (owner.base is None and not owner.shown["flags"] & Flag.UNPRICED):
                owner.base = (owner.shown["equity_cents"], owner.shown["net_flow_cents"])
            owner.shown |= self._day(owner, owner.shown["flags"] & LASTING | degraded * Flag.DEGRADED)
        return [dict(self.accounts[account].shown) for account in accounts]

    def lot_value(self, symbol: int, lot: Lot) -> int:
        return notional(lot[0], self.shown_marks[symbol][0]) if symbol in self.shown_marks else lot[1]

    def _worth(self, owner: Account) -> Row:
        value = sum(self.lot_value(symbol, lot) for symbol, lot in owner.shown_lots.items())
        return {"position_value_cents": value, "equity_cents": owner.shown["cash_cents"] + value,
                "unrealized_cents": value - sum(basis for _, basis, _ in owner.shown_lots.values())}  # fmt: skip

    def _price_flags(self, owner: Account, now_ms: int) -> int:
        marks = [self.shown_marks.get(symbol) for symbol, lot in owner.lots.items() if lot[0]]
        stale = any(mark and now_ms - mark[2] > self.stale_after_ms for mark in marks)
        return (None in marks) * Flag.UNPRICED | stale * Flag.STALE_PRICE

    def _day(self, owner: Account, flags: int) -> Row:
        equity, net_flow, base = owner.shown["equity_cents"], owner.shown["net_flow_cents"], owner.base
        day = (equity - net_flow) - (base[0] - base[1]) if base else 0
        over = equity - day if base else 0
        percent = round(Fraction(day * 1_000_000, over)) if over > 0 else 0  # of two halves round takes the even one
        return {"day_change_cents": day, "day_change_percent_e4": max(-9_999_999_999, min(9_999_999_999, percent)),
                "flags": int(flags | (over <= 0) * Flag.NO_BASE)}  # fmt: skip
