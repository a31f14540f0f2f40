"""
The engine and the reference side by side, fed the same events; and what a store would have kept of the engine.

``Twin.apply`` feeds both and compares all that can be seen of them: passes, snapshots, positions, live books. An event
that a bound forbids must be refused by the engine and leave it as it was.
"""

import copy
from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import time
from typing import NamedTuple, TypeVar

import numpy as np

from evs_server import limits
from evs_server.engine import Engine
from evs_server.errors import OutOfBounds
from evs_server.model import (
    AccountColumns,
    Columns,
    EngineMeta,
    EngineState,
    MarkColumns,
    MarkSource,
    PositionColumns,
    Side,
    SnapshotColumns,
    Valuation,
)
from tests.builders import HOUR_MS, NOON_MS, an_account, an_engine, snapshots
from tests.property.events import Cash, Event, Observe, Open, Price, Roll, Tick, Trade, Wait
from tests.reference import Account, Reference, Row, notional

T = TypeVar("T", bound=Columns)


class Twin:
    """
    An engine and a reference that have seen the same; at first three accounts that have not traded.

    Args:
        roll_minute: When the session rolls, in minutes after midnight UTC.
        stale_after_ms: Age at which marks are flagged.

    Attributes:
        told: The events that were not refused.
        passes: Everything the engine has made of them.
    """

    def __init__(self, roll_minute: int = 0, stale_after_ms: int = 6 * HOUR_MS) -> None:
        self._settings = (roll_minute, stale_after_ms)
        self.engine = self.new_engine()
        self.reference = Reference(stale_after_ms=stale_after_ms, roll_minute=roll_minute)
        self.now_ms = NOON_MS
        self.told: list[Told] = []
        self.passes: list[Valuation] = []
        self.apply(Open(((1_000_000, ()), (0, ()), (250_001, ()))))

    def new_engine(self) -> Engine:
        """An empty engine with the same settings."""
        roll_minute, stale_after_ms = self._settings
        return an_engine(roll=time(roll_minute // 60, roll_minute % 60), stale_after_ms=stale_after_ms)

    def apply(self, event: Event) -> list[Valuation]:
        """Feed one event to both and compare what they made of it: the engine's passes."""
        told = self._prepared(event)
        expected = copy.deepcopy(self.reference)
        rows = _tell_reference(expected, told)
        made: list[Valuation] = []
        if _within_bounds(expected):
            made = tell(self.engine, told)
            self.reference = expected
            self.told.append(told)
            self.passes += made
            assert by_account(rows) == by_account([asdict(snapshot) for snapshot in snapshots(made)])
        else:
            self._expect_refusal(told)
        if isinstance(event, Wait):
            self.now_ms += event.milliseconds
        self.check()
        return made

    def apply_all(self, events: Iterable[Event]) -> None:
        """Feed events that make no pass and that no bound forbids, and compare what can be seen when all are told."""
        for event in events:
            told = self._prepared(event)
            _tell_reference(self.reference, told)
            tell(self.engine, told)
            self.told.append(told)
        self.check()

    def _prepared(self, event: Event) -> "Told":
        accounts = list(self.reference.accounts)
        places = (Trade, Cash, Observe)
        account = accounts[event.place % len(accounts)] if isinstance(event, places) else len(accounts) + 1
        return Told(event, account, self.now_ms)

    def _expect_refusal(self, told: "Told") -> None:
        before = self.engine.state_hash(), self.engine.meta
        try:
            tell(self.engine, told)
        except OutOfBounds:
            pass
        else:
            raise AssertionError(f"{told} leaves the bounds and was not refused")
        assert before == (self.engine.state_hash(), self.engine.meta)

    def check(self) -> None:
        """Compare everything that can be seen of the two."""
        assert self.engine.identity_violation_count == 0
        check_books(self.engine, self.reference)
        for account, owner in self.reference.accounts.items():
            snapshot = self.engine.snapshot(account)
            assert snapshot is not None
            assert owner.shown == asdict(snapshot)
            check_positions(self.engine, self.reference, account)


class Told(NamedTuple):
    """
    An event with everything an engine is told.

    Attributes:
        account: Whose it is, or the id of the first account that it opens.
    """

    event: Event
    account: int
    now_ms: int

    @property
    def opened(self) -> dict[int, tuple[int, list[tuple[int, Side, int, int]]]]:
        """Cash and trades by account."""
        assert isinstance(self.event, Open)
        return {self.account + index: (cash, list(fills)) for index, (cash, fills) in enumerate(self.event.accounts)}

    @property
    def tick_time_ms(self) -> int:
        """What the tick carries: 0 if no time of its own."""
        assert isinstance(self.event, Tick)
        return 0 if self.event.market_ms is None else self.now_ms + self.event.market_ms


def tell(engine: Engine, told: Told) -> list[Valuation]:
    """Feed one event to an engine: the passes it makes."""
    event, account, now_ms = told
    match event:
        case Trade(_, symbol, side, quantity_bp, price_cents, fee_cents):
            engine.apply_trade(account, symbol, side, quantity_bp, price_cents, fee_cents, now_ms)
        case Price(symbol, price_cents):
            engine.apply_price(symbol, price_cents, now_ms)
        case Cash(_, amount_cents):
            engine.apply_cash(account, amount_cents)
        case Observe(_, symbol, price_cents):
            engine.observe_trade(account, symbol, price_cents, now_ms)
        case Open():
            return [engine.open_accounts([an_account(new, *books) for new, books in told.opened.items()], now_ms)]
        case Tick(tick, _, degraded):
            return engine.complete_tick(tick, told.tick_time_ms, now_ms, degraded=degraded)
        case Roll():
            rolled = engine.roll_if_due(now_ms)
            return [] if rolled is None else [rolled]
    return []


def _tell_reference(reference: Reference, told: Told) -> list[Row]:
    event, account, now_ms = told
    match event:
        case Trade(_, symbol, side, quantity_bp, price_cents, fee_cents):
            reference.trade(account, symbol, side, quantity_bp, price_cents, fee_cents, now_ms)
        case Price(symbol, price_cents):
            reference.price(symbol, price_cents, now_ms)
        case Cash(_, amount_cents):
            reference.cash(account, amount_cents)
        case Observe(_, symbol, price_cents):
            reference.observe(account, symbol, price_cents, now_ms)
        case Open():
            return reference.open(told.opened, now_ms)
        case Tick(tick, _, degraded):
            return reference.tick(tick, told.tick_time_ms, now_ms, degraded=degraded)
        case Roll():
            return reference.roll_if_due(now_ms)
    return []


def by_account(rows: list[Row]) -> list[tuple[tuple[str, int], ...]]:
    """Snapshots in an order of their own: by pass, then by account."""
    return sorted(
        tuple(sorted(row.items())) for row in sorted(rows, key=lambda row: (row["version"], row["account_id"]))
    )


def check_books(engine: Engine, reference: Reference) -> None:
    """The live books: what events have made of accounts and positions, valued or not."""
    kept = engine.export_state()
    accounts, positions = kept.accounts, kept.positions
    money = zip(
        accounts.account_id.tolist(),
        accounts.cash_cents.tolist(),
        accounts.net_flow_cents.tolist(),
        accounts.realized_cents.tolist(),
        strict=True,
    )
    expected = {account: (own.cash, own.net_flow, own.realized) for account, own in reference.accounts.items()}
    assert expected == {account: amounts for account, *rest in money for amounts in [tuple(rest)]}
    lots = zip(
        zip(positions.account_id.tolist(), positions.symbol_id.tolist(), strict=True),
        positions.quantity_bp.tolist(),
        positions.basis_cents.tolist(),
        positions.realized_cents.tolist(),
        strict=True,
    )
    assert {
        (account, symbol): lot for account, own in reference.accounts.items() for symbol, lot in own.lots.items()
    } == {key: (quantity, basis, realized) for key, quantity, basis, realized in lots}


def check_positions(engine: Engine, reference: Reference, account: int) -> None:
    """The positions of one account as readers see them."""
    owner = reference.accounts[account]
    expected = []
    for symbol, (quantity, basis, realized) in sorted(owner.shown_lots.items()):
        value = reference.lot_value(symbol, (quantity, basis, realized))
        average = abs(basis) * 10_000 // abs(quantity) if quantity else 0
        unpriced = (average, MarkSource.COST if quantity else MarkSource.NONE, 0)
        mark = reference.shown_marks.get(symbol, unpriced)
        expected.append((symbol, quantity, average, basis, *mark, value, value - basis, realized))
    assert expected == [
        (
            view.symbol_id,
            view.quantity_bp,
            view.avg_cost_cents,
            view.basis_cents,
            view.mark_cents,
            view.mark_source,
            view.mark_time_ms,
            view.value_cents,
            view.unrealized_cents,
            view.realized_cents,
        )
        for view in engine.positions(account)
    ]


def _within_bounds(reference: Reference) -> bool:
    return all(_account_within_bounds(reference, owner) for owner in reference.accounts.values())


def _account_within_bounds(reference: Reference, owner: Account) -> bool:
    money = [owner.cash, owner.net_flow, owner.realized]
    value = unrealized = 0
    for symbol, (quantity, basis, realized) in owner.lots.items():
        worth = notional(quantity, reference.marks[symbol][0]) if symbol in reference.marks else basis
        value, unrealized = value + worth, unrealized + worth - basis
        money += [worth, basis, realized]
        if abs(quantity) > limits.QUANTITY_BP_MAX:
            return False
    equity = owner.cash + value
    money += [value, unrealized, equity]
    return (
        all(abs(amount) <= limits.MONEY_CENTS_MAX for amount in money)
        and abs(equity - owner.net_flow) <= limits.PROFIT_CENTS_MAX
    )


# --- what a store would have kept ---------------------------------------------------------------------------------


class Kept:
    """Captures, each over the ones before, and the newest row of each account: what a start would read."""

    def __init__(self) -> None:
        self._meta = EngineMeta()
        self._accounts: dict[object, tuple[int, ...]] = {}
        self._positions: dict[object, tuple[int, ...]] = {}
        self._marks: dict[object, tuple[int, ...]] = {}
        self._latest: dict[object, tuple[int, ...]] = {}

    def flush(self, state: EngineState, passes: Iterable[Valuation]) -> None:
        """Take over one capture and the rows that were made since the one before."""
        self._meta = state.meta
        self._accounts |= {row[0]: row for row in rows_of(state.accounts)}
        self._positions |= {row[:2]: row for row in rows_of(state.positions)}
        self._marks |= {row[0]: row for row in rows_of(state.marks)}
        names = [field.name for field in fields(SnapshotColumns)]
        for snapshot in snapshots(passes):
            self._latest[snapshot.account_id] = tuple(getattr(snapshot, name) for name in names)

    def revive(self, engine: Engine) -> Engine:
        """Restore a new engine from what is kept."""
        state = EngineState(
            self._meta,
            columns_of(AccountColumns, self._accounts.values()),
            columns_of(PositionColumns, self._positions.values()),
            columns_of(MarkColumns, self._marks.values()),
        )
        engine.restore(state, columns_of(SnapshotColumns, self._latest.values()))
        return engine


def rows_of(columns: Columns) -> list[tuple[int, ...]]:
    """A table's rows."""
    return list(zip(*(getattr(columns, field.name).tolist() for field in fields(columns)), strict=True))


def columns_of(kind: type[T], rows: Iterable[tuple[int, ...]]) -> T:
    """A table of rows."""
    columns = np.array(list(rows), np.int64).reshape(-1, len(fields(kind))).T
    return kind(*columns)


def sight(engine: Engine) -> list[object]:
    """Everything that can be seen of an engine, but for the order of its rows and how often it was captured."""
    state = engine.export_state()
    accounts = sorted(engine.account_ids().tolist())
    return [
        state.meta,
        engine.state_hash(),
        *(sorted(rows_of(table)) for table in (state.accounts, state.positions, state.marks)),
        [engine.snapshot(account) for account in accounts],
        [engine.positions(account) for account in accounts],
    ]
