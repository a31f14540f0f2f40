"""
A batch is its events one by one: taken whole, or as batches of one, the same becomes of each, and the same is stored.

The accounts are of every kind that the intake treats apart: in the books since the import, loaded later with trades
that are yet to be announced, new with a fee, not there at all, and waiting for a flow to be explained.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from evs.v1 import evs_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from evs_server.errors import RequestError, UnknownAccount
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake, Outcome
from evs_server.ingest.sequencer import Sequencer
from evs_server.ingest.settled import Settled
from evs_server.limits import TURN_ROWS
from evs_server.model import Flush, Recovered, Side, Snapshot, Valuation
from evs_server.store.memory import MemoryStore
from tests.builders import ALICE, BOB, CAROL, NOON_MS, an_account, an_engine, exchange_tables
from tests.flushes import plain
from tests.property.events import FEES, PRICES, QUANTITIES, SIDES, SYMBOLS
from tests.property.twin import rows_of, sight
from tests.wire import a_batch, cash, prices, ticks, trades

DAVE, GHOST, PARKED = 4, 99, 5
LOADED_WITH = [(1, Side.BUY, 10_000, 100), (2, Side.SELL, 5_000, 333)]

Row = tuple[int, ...]

ACCOUNTS = st.sampled_from([ALICE, ALICE, BOB, CAROL, CAROL, DAVE, GHOST, PARKED])
# What Carol was loaded with is announced by its id, by its content, or not at all.
ANNOUNCED = st.sampled_from([(CAROL, *trade, 0, settlement) for trade in LOADED_WITH for settlement in (0, 1, 2)])
TRADES = st.tuples(ACCOUNTS, SYMBOLS, SIDES, QUANTITIES, PRICES, FEES, st.sampled_from([0, 0, 7, 8])) | ANNOUNCED
BROKEN = st.just((ALICE, 1, 3, 10_000, 100, 0, 0))
RUNS = st.one_of(
    st.lists(TRADES | TRADES | TRADES | BROKEN, min_size=1, max_size=12).map(lambda rows: ("trades", rows)),
    st.lists(st.tuples(SYMBOLS, PRICES | st.just(0)), min_size=1, max_size=8).map(lambda rows: ("prices", rows)),
    st.lists(st.tuples(ACCOUNTS, st.integers(-500, 500)), min_size=1, max_size=8).map(lambda rows: ("cash", rows)),
    st.just(("ticks", [(1,)])),
)


class Desk:
    """An intake with everything behind it; what it makes is kept."""

    def __init__(self) -> None:
        self.engine = an_engine()
        self.clearing = Clearing(self.engine, Settled())
        self.passes: list[Valuation] = []
        self.flushes: list[Flush] = []
        self.degraded_since_ms: int | None = None
        self.sequencer = Sequencer()
        self.intake = Intake(self.engine, self.sequencer, self.clearing, self, self)
        self.intake.import_exchange(exchange_tables({ALICE: 10**6, BOB: 0}), NOON_MS)
        self.intake.open_accounts([an_account(CAROL, 10**6, LOADED_WITH), an_account(DAVE)], NOON_MS)

    def publish(self, valuation: Valuation) -> None:
        self.passes.append(valuation)

    def offer(self, flush: Flush) -> None:
        self.flushes.append(flush)

    def take(self, *runs: pb.EventRun, first: int, **sender: Any) -> Outcome:
        missing: dict[int, RequestError] = {GHOST: UnknownAccount(GHOST)}
        return self.intake.take(a_batch(*runs, first=first, **sender), NOON_MS, missing)


def a_run(kind: str, rows: list[Row]) -> pb.EventRun:
    match kind:
        case "trades":
            return trades(*rows)
        case "prices":
            return prices(*((symbol, price) for symbol, price in rows))
        case "cash":
            return cash(*((account, amount) for account, amount in rows))
    return ticks(*(tick for (tick,) in rows))


def stored(desk: Desk) -> list[object]:
    """All that flushes hold, one after the other, but for how they are cut."""
    desk.intake.flush()
    tables = ("settlements", "unannounced_added", "unannounced_removed", "parked_added", "parked_removed", "newcomers")
    return [
        [row for flush in desk.flushes for row in rows_of(getattr(flush, table))]
        if table != "newcomers"
        else sorted({row for flush in desk.flushes for row in rows_of(flush.newcomers)})
        for table in tables
    ]


def seen(desk: Desk) -> list[object]:
    rows = [[made.snapshot(index) for index in range(len(made))] for made in desk.passes]
    return [sight(desk.engine), rows, desk.clearing.parked.account_ids(), desk.clearing.suspects(NOON_MS)]


def compare(runs: list[tuple[str, list[Row]]], *, is_sequenced: bool) -> None:
    whole, split = Desk(), Desk()
    outcome = whole.take(*(a_run(*run) for run in runs), first=int(is_sequenced))
    events = [(kind, [row]) for kind, rows in runs for row in rows]
    refusals: dict[int, str] = {}
    duplicate_count = 0
    for index, event in enumerate(events):
        one = split.take(a_run(*event), first=(index + 1) * is_sequenced)
        duplicate_count += one.duplicate_count
        for error in one.refusals.values():
            refusals[index] = error.message
    assert refusals == {index: error.message for index, error in outcome.refusals.items()}
    assert list(outcome.refusals) == sorted(outcome.refusals)
    assert (duplicate_count, len(events), None) == (outcome.duplicate_count, outcome.end, outcome.error)
    assert seen(split) == seen(whole)
    assert stored(split) == stored(whole)


@given(st.lists(RUNS, max_size=6), st.booleans())
def test_a_batch_is_its_events_one_by_one(runs: list[tuple[str, list[Row]]], is_sequenced: bool) -> None:
    """(9) Splitting a batch changes nothing: outcome by outcome, pass by pass, row by row."""
    compare(runs, is_sequenced=is_sequenced)


def test_what_an_account_was_loaded_with_is_skipped_in_the_middle_of_a_run() -> None:
    """Around it, trades go through as a run; with a fee and without, and one that nobody has told the tables of."""
    [(symbol, side, quantity, price), _] = LOADED_WITH
    rows = [(ALICE, 1, Side.BUY, 10_000, 100, 0, 0)] * 3
    loaded = [(CAROL, symbol, side, quantity, price, fee, 0) for fee in (0, 5)]
    compare([("trades", [*rows, *loaded, *rows])], is_sequenced=True)


@pytest.mark.parametrize("is_sequenced", [False, True])
def test_a_settlement_that_comes_again_in_a_run_counts_once_unless_it_is_numbered(is_sequenced: bool) -> None:
    """Around it, trades go through as a run; of a sender that numbers its events, the number alone says what is new."""
    rows: list[Row] = [(ALICE, 1, Side.BUY, 10_000, 100, 0, each) for each in (0, 7, 8, 0, 7, 9, 8, 10)]
    compare([("trades", rows), ("trades", rows)], is_sequenced=is_sequenced)
    desk = Desk()
    outcome = desk.take(a_run("trades", rows), first=int(is_sequenced))
    assert (0 if is_sequenced else 2) == outcome.duplicate_count
    desk.take(ticks(1), first=(len(rows) + 1) * is_sequenced)
    [view] = desk.engine.positions(ALICE)
    assert (80_000 if is_sequenced else 60_000) == view.quantity_bp


def test_the_tables_of_a_flush_are_all_compared() -> None:
    """A table that a flush gains must be added above."""
    compared = {
        "settlements",
        "unannounced_added",
        "unannounced_removed",
        "parked_added",
        "parked_removed",
        "newcomers",
    }
    seen_elsewhere = {"number", "event_count", "state", "rows", "watermarks", "latest", "corrections"}
    assert {field.name for field in fields(Flush)} == compared | seen_elsewhere


@given(st.lists(st.tuples(st.lists(RUNS | st.just(("ticks", [(1,)])), min_size=1, max_size=4), st.booleans())))
def test_a_tick_captured_after_its_answer_makes_the_flush_that_it_would_have_made_at_once(
    batches: list[tuple[list[tuple[str, list[Row]]], bool]],
) -> None:
    """Whether the loop came to it, or the next event came first."""
    at_once, later = Desk(), Desk()
    later.intake.on_tick = lambda: None
    first = 1
    for runs, has_come_to_it in batches:
        batch = [a_run(*run) for run in runs]
        for desk in (at_once, later):
            desk.take(*batch, first=first)
        assert seen(at_once) == seen(later)
        if has_come_to_it:
            later.intake.flush_tick()
            assert len(at_once.flushes) == len(later.flushes)
        first += sum(len(rows) for _, rows in runs)
    for desk in (at_once, later):
        desk.intake.flush()
    assert plain(at_once.flushes) == plain(later.flushes)


def written(flushes: Sequence[Flush]) -> tuple[Recovered, list[list[Snapshot]]]:
    """What a database holds after these flushes: what a start finds, but for how many they were, and all rows."""

    async def wrote() -> tuple[Recovered, list[list[Snapshot]]]:
        store = MemoryStore()
        await store.recover()
        for flush in flushes:
            await store.write(flush)
        rows = [[made.snapshot(index) for index in range(len(made))] for made in store.tables.rows]
        return replace(store.tables.recovered, flush_number=0), rows

    return asyncio.run(wrote())


@given(st.lists(st.tuples(st.lists(RUNS | st.just(("ticks", [(1,)])), min_size=1, max_size=4), st.booleans())))
def test_ticks_captured_with_what_came_after_them_leave_the_database_that_each_by_itself_leaves(
    batches: list[tuple[list[tuple[str, list[Row]]], bool]],
) -> None:
    """However many there were when the turn of the writer came, and in whichever batch."""
    apart, joined = Desk(), Desk()

    def join() -> None:
        joined.intake.join_tick(TURN_ROWS)

    joined.intake.on_tick = join
    first = 1
    for runs, is_turn in batches:
        for desk in (apart, joined):
            desk.take(*(a_run(*run) for run in runs), first=first)
        if is_turn:
            joined.intake.flush()
            apart.intake.flush()
            assert plain(written(apart.flushes)) == plain(written(joined.flushes))
        first += sum(len(rows) for _, rows in runs)
    assert len(joined.flushes) <= len(apart.flushes)
