"""
How much work the engine does, counted and not timed: what grows with what, and what must not.

A count is the same on any machine, however busy. Calls of Python functions, ours and numpy's, stand for the work of the
interpreter: that of a tick or of a run of trades must not depend on how many accounts, positions or trades there are.
"""

import sys
from collections.abc import Callable
from types import FrameType

import numpy as np
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.engine import Engine
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake
from evs_server.ingest.sequencer import Sequencer
from evs_server.ingest.settled import Settled
from evs_server.model import Flush, Valuation
from tests.builders import NOON_MS, an_engine, exchange_tables
from tests.wire import BUY, a_batch, cash, prices, ticks, trades

SYMBOLS = 25
EACH = 5
CALLS_OF_A_TICK_MAX = 110
CALLS_OF_A_RUN_MAX = 110


class Crowd:
    """Accounts of five positions each, evenly over the symbols, imported; and an intake in front of them."""

    degraded_since_ms = None

    def __init__(self, account_count: int) -> None:
        held = {
            (account, (account + EACH * place) % SYMBOLS): (10_000 * (place + 1), 90)
            for account in range(1, account_count + 1)
            for place in range(EACH)
        }
        self.engine: Engine = an_engine()
        self.passes: list[Valuation] = []
        self.flushes: list[Flush] = []
        self.intake = Intake(self.engine, Sequencer(), Clearing(self.engine, Settled()), self, self)
        cash_cents = dict.fromkeys(range(1, account_count + 1), 1_000_000)
        self.intake.import_exchange(exchange_tables(cash_cents, held, dict.fromkeys(range(SYMBOLS), 100)), NOON_MS)
        self.applied = 0
        self.take(ticks(1))
        self.flushes.clear()

    def publish(self, valuation: Valuation) -> None:
        self.passes.append(valuation)

    def offer(self, flush: Flush) -> None:
        self.flushes.append(flush)

    def take(self, *runs: pb.EventRun) -> None:
        batch = a_batch(*runs, first=self.applied + 1)
        self.applied += len(batch)
        outcome = self.intake.take(batch, NOON_MS)
        assert ({}, None) == (outcome.refusals, outcome.error)


def calls(work: Callable[[], object]) -> int:
    """How many functions the interpreter calls."""
    count = 0

    def note(_frame: FrameType, event: str, _what: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def moved(*symbols: int, price: int = 101) -> pb.EventRun:
    return prices(*((symbol, price) for symbol in symbols))


@pytest.mark.parametrize("symbol_count", [1, 3, SYMBOLS])
def test_a_tick_values_each_holder_of_a_moved_symbol_and_no_other_position(symbol_count: int) -> None:
    crowd = Crowd(200)
    before = crowd.engine.positions_valued_count
    crowd.take(moved(*range(symbol_count)), ticks(2))
    assert 200 * EACH * symbol_count // SYMBOLS == crowd.engine.positions_valued_count - before


def test_a_tick_values_a_position_that_traded_and_one_that_only_its_price_concerns_alike() -> None:
    crowd = Crowd(200)
    before = crowd.engine.positions_valued_count
    crowd.take(trades((1, 1, BUY, 10_000, 100)), ticks(2))
    assert 1 == crowd.engine.positions_valued_count - before, "at the mark as it was, nobody else is concerned"
    assert 1 == len(crowd.passes[-1])


def test_a_quiet_tick_values_nothing_and_makes_no_pass() -> None:
    crowd = Crowd(50)
    before, pass_count = crowd.engine.positions_valued_count, len(crowd.passes)
    crowd.take(ticks(2, 3, 4))
    assert (before, pass_count) == (crowd.engine.positions_valued_count, len(crowd.passes))


def test_the_flush_of_a_price_tick_holds_its_marks_and_rows_and_no_books() -> None:
    """State that did not change is not written: one mark, and a row for each account that holds the symbol."""
    crowd = Crowd(200)
    crowd.take(moved(3), ticks(2))
    [flush] = crowd.flushes
    assert (0, 0, 1) == (len(flush.state.accounts), len(flush.state.positions), len(flush.state.marks))
    assert [200 * EACH // SYMBOLS] == [len(made) for made in flush.rows]


def test_the_flush_of_a_trade_holds_what_it_changed() -> None:
    crowd = Crowd(200)
    crowd.take(trades((1, 1, BUY, 10_000, 100), (2, 2, BUY, 10_000, 100)), ticks(2))
    [flush] = crowd.flushes
    assert (2, 2, 2) == (len(flush.state.accounts), len(flush.state.positions), len(flush.state.marks))


def test_the_interpreter_works_as_much_for_a_tick_of_many_accounts_as_of_few() -> None:
    counted = []
    for account_count in (40, 400):
        crowd = Crowd(account_count)
        crowd.engine.apply_price(7, 101, NOON_MS)
        counted.append(calls(lambda crowd=crowd: crowd.engine.complete_tick(2, 0, NOON_MS)))  # type: ignore[misc]
        for symbol in range(SYMBOLS):
            crowd.engine.apply_price(symbol, 102, NOON_MS)
        counted.append(calls(lambda crowd=crowd: crowd.engine.complete_tick(3, 0, NOON_MS)))  # type: ignore[misc]
    assert 1 == len(set(counted)), counted
    assert counted[0] <= CALLS_OF_A_TICK_MAX


def test_the_interpreter_works_as_much_for_a_long_run_of_trades_as_for_a_short_one() -> None:
    """What opens no position that the tables have no room for goes through without one look by Python."""
    counted = []
    for size in (10, 10, 200):
        crowd = Crowd(100)
        rng = np.random.default_rng(size)
        account, place = rng.integers(1, 101, size), rng.integers(0, EACH, size)
        rows = [(int(a), int(a + EACH * p) % SYMBOLS, BUY, 10_000, 100) for a, p in zip(account, place, strict=True)]
        batch = a_batch(trades(*rows), first=crowd.applied + 1)
        counted.append(calls(lambda crowd=crowd, batch=batch: crowd.intake.take(batch, NOON_MS)))  # type: ignore[misc]
        crowd.intake.flush()
        assert size == crowd.flushes[-1].event_count
    # The first call of a kernel in a process looks up what it takes.
    assert 1 == len(set(counted[1:])), counted
    assert counted[1] <= CALLS_OF_A_RUN_MAX


def test_runs_of_one_event_each_are_applied_as_one_run() -> None:
    """A sender that makes a run of every event costs the intake what one does that makes one run of all."""
    rows = [(account, account % SYMBOLS, BUY, 10_000, 100) for account in range(1, 101)]
    counted = []
    for runs in ([trades(*rows)], [trades(*rows)], [trades(row) for row in rows]):
        crowd = Crowd(100)
        batch = a_batch(*runs, first=crowd.applied + 1)
        assert [100] == [len(run) for run in batch.runs]
        counted.append(calls(lambda crowd=crowd, batch=batch: crowd.intake.take(batch, NOON_MS)))  # type: ignore[misc]
    assert counted[1] == counted[2]


def test_flows_of_known_accounts_are_looked_at_by_no_python() -> None:
    counted = []
    for size in (10, 10, 90):
        crowd = Crowd(100)
        batch = a_batch(cash(*((account, account) for account in range(1, size + 1))), first=crowd.applied + 1)
        counted.append(calls(lambda crowd=crowd, batch=batch: crowd.intake.take(batch, NOON_MS)))  # type: ignore[misc]
    assert counted[1] == counted[2] <= CALLS_OF_A_RUN_MAX
