"""
The world that the benchmarks of the engine share: accounts, each holding some symbols, all priced.

Settable in size; the default is what DESIGN 9 measures. Numbers are drawn once, from one seed: every run has the same.
"""

from dataclasses import dataclass, fields, replace
from datetime import time
from zoneinfo import ZoneInfo

import numpy as np

from evs_server.engine import Engine, SessionCalendar
from evs_server.model import (
    AccountColumns,
    EngineMeta,
    EngineState,
    Flag,
    Int64Array,
    MarkColumns,
    MarkSource,
    PositionColumns,
    Side,
    SnapshotColumns,
    TradeRun,
)

NOW_MS = 1_767_268_800_000
DAY_MS = 86_400_000
SEED = 7
TRADES_AT_ONCE = 20_000


@dataclass(frozen=True)
class Size:
    """How large the world is."""

    accounts: int = 100_000
    positions_per_account: int = 20
    symbols: int = 1_000

    @property
    def positions(self) -> int:
        """Positions in all."""
        return self.accounts * self.positions_per_account


@dataclass(frozen=True)
class World:
    """
    The world as plain columns.

    Attributes:
        cash_cents: By account; account ``i`` has the id ``i + 1``.
        position_account: Index of each position's account, ascending.
        position_symbol: Its symbol; symbol ``s`` has the id ``s``.
        quantity_bp: Signed, one in ten short.
        paid_cents: What it was bought or sold for, per share.
        basis_cents: What it cost.
        price_cents: By symbol.
    """

    size: Size
    cash_cents: Int64Array
    position_account: Int64Array
    position_symbol: Int64Array
    quantity_bp: Int64Array
    paid_cents: Int64Array
    basis_cents: Int64Array
    price_cents: Int64Array


def a_world(size: Size) -> World:
    """A world of some size."""
    rng = np.random.default_rng(SEED)
    count, each = size.accounts, size.positions_per_account
    # Each account holds symbols a stride apart, which are all different and, over all accounts, equally often held.
    stride = rng.integers(1, max(size.symbols // max(each, 1), 2), count)
    symbol = (rng.integers(0, size.symbols, count)[:, None] + stride[:, None] * np.arange(each)) % size.symbols
    price = rng.integers(500, 50_000, size.symbols)
    quantity = rng.integers(1, 2_000_000, size.positions) * np.where(rng.random(size.positions) < 0.1, -1, 1)
    position_symbol = symbol.reshape(-1)
    paid = price[position_symbol] + rng.integers(-200, 200, size.positions)
    return World(
        size,
        rng.integers(1_000_000, 100_000_000, count),
        np.repeat(np.arange(count), each),
        position_symbol,
        quantity,
        paid,
        np.abs(quantity) * paid // 10_000 * np.sign(quantity),
        price,
    )


def an_engine(world: World) -> Engine:
    """An engine in which the world has been valued once."""
    engine = empty_engine()
    engine.restore(engine_state(world), latest(world))
    return engine


def a_grown_engine(world: World) -> Engine:
    """
    An engine in which all positions were opened by trades, account by account, and which has been valued once.

    What is loaded at a start lies in the order of its symbols. What is traded lies where there was room.
    """
    engine, state, size = empty_engine(), engine_state(world), world.size
    # Before the trades, each account has the cash that they cost.
    accounts = replace(state.accounts, cash_cents=state.accounts.net_flow_cents)
    no_positions = PositionColumns(*(getattr(state.positions, field.name)[:0] for field in fields(PositionColumns)))
    engine.restore(replace(state, accounts=accounts, positions=no_positions), latest(world))
    zeros = np.zeros(TRADES_AT_ONCE, np.int64)
    for first in range(0, size.positions, TRADES_AT_ONCE):
        part = slice(first, first + TRADES_AT_ONCE)
        quantity_bp = world.quantity_bp[part]
        side = np.where(quantity_bp > 0, int(Side.BUY), int(Side.SELL))
        account_id, symbol_id = world.position_account[part] + 1, world.position_symbol[part]
        none = zeros[: len(side)]
        run = TradeRun(account_id, symbol_id, side, np.abs(quantity_bp), world.paid_cents[part], none, none)
        _apply(engine, run)
    engine.complete_tick(1, 0, NOW_MS)
    return engine


def _apply(engine: Engine, run: TradeRun) -> None:
    """Apply all of a run: what finds no room in a table, one by one."""
    at = 0
    while (at := engine.apply_trades(run, None, at, NOW_MS)) < len(run):
        account_id, symbol_id = run.account_id.item(at), run.symbol_id.item(at)
        what = Side(run.side.item(at)), run.quantity_bp.item(at), run.price_cents.item(at), 0
        engine.apply_trade(account_id, symbol_id, *what, NOW_MS)
        at += 1


def empty_engine() -> Engine:
    """An engine without anything in it."""
    return Engine(SessionCalendar(ZoneInfo("UTC"), time(0)), stale_after_ms=365 * DAY_MS)


def engine_state(world: World) -> EngineState:
    """The world as an engine keeps it."""
    size = world.size
    basis = np.zeros(size.accounts, np.int64)
    np.add.at(basis, world.position_account, world.basis_cents)
    net_flow, zero = world.cash_cents + basis, np.zeros(size.accounts, np.int64)
    account_id, symbol_id = np.arange(1, size.accounts + 1), np.arange(size.symbols)
    price, marks_zero = world.price_cents, np.zeros(size.symbols, np.int64)
    lot = (world.quantity_bp, world.basis_cents, np.zeros(size.positions, np.int64))
    now = np.full(size.positions, NOW_MS)
    marked = (price, np.full(size.symbols, int(MarkSource.MARK)), np.full(size.symbols, NOW_MS))
    return EngineState(
        EngineMeta(version=1, tick=1, session_start_ms=NOW_MS - NOW_MS % DAY_MS),
        AccountColumns(account_id, world.cash_cents, net_flow, zero, net_flow, net_flow, zero + 1, zero),
        PositionColumns(world.position_account + 1, world.position_symbol, *lot, *lot, now, np.ones_like(now)),
        MarkColumns(symbol_id, *marked, *marked, marks_zero),
    )


def latest(world: World) -> SnapshotColumns:
    """Newest snapshots, of no interest: each is made anew by the first tick that values it."""
    count = world.size.accounts
    zero = np.zeros(count, np.int64)
    flags = np.full(count, int(Flag.NO_BASE))
    shown = {field.name: zero for field in fields(SnapshotColumns)}
    return SnapshotColumns(**shown | {"account_id": np.arange(1, count + 1), "version": zero + 1, "flags": flags})
