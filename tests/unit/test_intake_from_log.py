"""The intake where events come from the log: positions in the place of sequences, and whole batches."""

from dataclasses import replace

import numpy as np
import pytest

from evs_server.ingest import slices
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake
from evs_server.ingest.position import LogPosition
from evs_server.ingest.settled import Settled
from evs_server.model import Batch, Flush, ObservedRun, Valuation
from tests.builders import ALICE, BOB, KICK, NOON_MS, an_account, an_engine, exchange_tables
from tests.flushes import plain
from tests.wire import BUY, a_batch, cash, ticks, trades

SHARE = 10_000


class Reader:
    """A core that reads the log; its passes and flushes are kept."""

    degraded_since_ms: int | None = None

    def __init__(self) -> None:
        self.engine, self.position = an_engine(), LogPosition()
        self.engine.trades_move_marks = False
        self.passes: list[Valuation] = []
        self.flushes: list[Flush] = []
        self.intake = Intake(self.engine, self.position, Clearing(self.engine, Settled()), self, self)
        self.intake.import_exchange(
            exchange_tables({account_id: an_account(account_id).cash_cents for account_id in (ALICE, BOB)}), NOON_MS
        )
        self.intake.flush()

    def publish(self, valuation: Valuation) -> None:
        self.passes.append(valuation)

    def offer(self, flush: Flush) -> None:
        self.flushes.append(flush)

    def take(self, batch: Batch, position: int) -> None:
        outcome = self.intake.take(replace(batch, position=position), NOON_MS)
        assert outcome.error is None
        assert {} == outcome.refusals


def positions(flush: Flush) -> list[int]:
    return [mark.applied_sequence for mark in flush.watermarks]


def test_a_flush_is_between_two_batches_though_ticks_are_within() -> None:
    """The position says how far the log is read; half a batch has none."""
    reader = Reader()
    reader.take(a_batch(ticks(1), cash((ALICE, 5)), ticks(2), cash((BOB, 7))), 12)
    [_, flush] = reader.flushes
    assert [12] == positions(flush)
    assert {ALICE, BOB} == set(flush.state.accounts.account_id.tolist())


def test_a_batch_in_slices_is_captured_and_counts_as_applied_only_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks in between, or wants to flush, finds the position where it was, and nothing to flush."""
    batch = a_batch(cash((ALICE, 5)), ticks(1), cash((BOB, 7)), ticks(2), cash((ALICE, 9)))
    monkeypatch.setattr(slices, "SLICE_EVENTS", 1)
    cut, whole = Reader(), Reader()
    parts = [part for _, part in slices.slices(replace(batch, position=12))]
    assert 5 == len(parts)
    for part in parts[:-1]:
        cut.take(part, 12)
        cut.intake.flush()
        cut.intake.flush_tick()
        assert (0, 1, False) == (cut.position.applied, len(cut.flushes), cut.intake.has_unflushed)
    cut.take(parts[-1], 12)
    whole.take(batch, 12)
    assert [12] == positions(cut.flushes[-1])
    assert whole.engine.state_hash() == cut.engine.state_hash()
    assert [plain(flush) for flush in whole.flushes] == [plain(flush) for flush in cut.flushes]


def test_a_batch_that_comes_again_changes_nothing() -> None:
    reader = Reader()
    reader.take(a_batch(cash((ALICE, 5)), ticks(1)), 12)
    before = reader.engine.state_hash(), len(reader.passes)
    reader.take(a_batch(cash((ALICE, 5)), ticks(1)), 12)
    assert before == (reader.engine.state_hash(), len(reader.passes))


def test_a_trade_moves_no_mark_and_an_observed_price_does() -> None:
    """The price is told to all shards, the trade to one."""
    reader = Reader()
    seen = ObservedRun(np.array([KICK]), np.array([700]))
    trade = a_batch(trades((ALICE, KICK, BUY, SHARE, 500)), ticks(1))
    reader.take(replace(trade, runs=(seen, *trade.runs), digest=np.zeros(3, np.uint64)), 12)
    [view] = reader.engine.positions(ALICE)
    assert (700, 200) == (view.mark_cents, view.unrealized_cents)


def test_a_sign_of_life_moves_the_position_and_is_committed() -> None:
    """A reader that nothing has concerned for long must not look as if it had missed something."""
    reader = Reader()
    reader.take(a_batch(), 40)
    assert 40 == reader.position.applied
    assert reader.intake.has_unflushed
    reader.intake.flush()
    assert [40] == positions(reader.flushes[-1])
