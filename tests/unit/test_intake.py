"""Ordered events meet the engine: what is applied, what is answered, and what each flush holds."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from evs.v1 import evs_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st

from evs_server.errors import (
    EventConflict,
    OutOfBounds,
    Overloaded,
    RequestError,
    SequenceGap,
    StaleEpoch,
    UnknownAccount,
)
from evs_server.ingest import capture, intake
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake, Outcome
from evs_server.ingest.keeping import Interval, Keeping, OnTrade
from evs_server.ingest.sequencer import IngestState, Sequencer
from evs_server.ingest.settled import Settled
from evs_server.limits import EXACT_MAX, PRICE_CENTS_MAX, VERSION_START_BITS
from evs_server.model import Batch, Flag, Flush, Recovered, Side, Valuation
from evs_server.store.memory import MemoryStore, Tables
from tests.builders import ALICE, BOB, CAROL, DAY_MS, KICK, NOON_MS, PUNT, an_account, an_engine, exchange_tables
from tests.flushes import plain
from tests.wire import BUY, EM, SELL, a_batch, cash, prices, ticks, trades

GHOST = 99
MISSING: Mapping[int, RequestError] = {GHOST: UnknownAccount(GHOST)}
SHARE = 10_000
CENT_SHARE = (KICK, BUY, SHARE, 100)


class Desk:
    """An intake with everything behind it; its passes and flushes are kept."""

    def __init__(
        self,
        recovered: Recovered | None = None,
        accounts: Sequence[int] = (ALICE, BOB),
        keeping: Keeping | None = None,
    ) -> None:
        self.engine, self.sequencer = an_engine(), Sequencer()
        self.passes: list[Valuation] = []
        self.flushes: list[Flush] = []
        self.degraded_since_ms: int | None = None
        self.intake = Intake(self.engine, self.sequencer, Clearing(self.engine, Settled()), self, self, keeping)
        if recovered is not None:
            self.intake.restore(recovered)
        elif accounts:
            cash_cents = {account_id: an_account(account_id).cash_cents for account_id in accounts}
            self.intake.import_exchange(exchange_tables(cash_cents), NOON_MS)

    def publish(self, valuation: Valuation) -> None:
        self.passes.append(valuation)

    def offer(self, flush: Flush) -> None:
        self.flushes.append(flush)

    def take(self, *runs: pb.EventRun, first: int = 0, epoch: int = 1, now_ms: int = NOON_MS) -> Outcome:
        """Take events in, numbered from ``first`` or not at all."""
        return self.take_batch(a_batch(*runs, first=first, epoch=epoch), now_ms)

    def take_batch(self, batch: Batch, now_ms: int = NOON_MS) -> Outcome:
        assert self.intake.unknown_accounts(batch) <= {GHOST}
        return self.intake.take(batch, now_ms, MISSING)

    @property
    def applied(self) -> int:
        return self.sequencer.state(EM).applied_sequence

    def marks(self) -> tuple[object, ...]:
        """Everything that an event which changes nothing must leave alone."""
        return self.engine.state_hash(), self.engine.meta, len(self.passes), len(self.flushes), self.applied

    def cash_cents(self, account_id: int = ALICE) -> int:
        """Live, valued or not."""
        accounts = self.engine.export_state().accounts
        return int(accounts.cash_cents[accounts.account_id == account_id][0])


def written(flushes: Sequence[Flush], tables: Tables | None = None) -> Recovered:
    """What a start finds after these flushes."""

    async def write() -> Recovered:
        store = MemoryStore(tables)
        await store.recover()
        for flush in flushes:
            await store.write(flush)
        return await store.recover()

    return asyncio.run(write())


def codes(outcome: Outcome) -> dict[int, type[RequestError]]:
    """The refusals by their kind."""
    return {index: type(error) for index, error in outcome.refusals.items()}


# --- applying ------------------------------------------------------------------------------------------------------


def test_a_batch_of_all_kinds_is_applied_in_order() -> None:
    desk = Desk()
    outcome = desk.take(
        cash((ALICE, 500)),
        trades((ALICE, *CENT_SHARE), (BOB, KICK, SELL, SHARE, 100)),
        ticks(1),
        prices((KICK, 90)),
        ticks(2),
    )
    assert Outcome(end=6, accounts_valued=4) == outcome
    assert [1_000_500, 1_000_490] == [each.snapshot(0).equity_cents for each in desk.passes[1:]]
    assert [1, 2] == [each.tick for each in desk.passes[1:]]


def test_the_time_of_a_tick_is_its_own_or_else_the_clocks() -> None:
    desk = Desk()
    desk.take(cash((ALICE, 1)), ticks(1, tick_time=(NOON_MS - 5,)), cash((ALICE, 1)), ticks(2), now_ms=NOON_MS + 7)
    assert [NOON_MS - 5, NOON_MS + 7] == [each.timestamp_ms for each in desk.passes[1:]]


@pytest.mark.parametrize("count", [127, 128, 129, 1_000])
def test_a_long_run_is_applied_to_its_end(count: int) -> None:
    desk = Desk()
    outcome = desk.take(trades(*[(ALICE, *CENT_SHARE)] * count), first=1)
    assert ({}, None, count, count) == (outcome.refusals, outcome.error, outcome.end, desk.applied)
    assert 1_000_000 - 100 * count == desk.cash_cents()


def test_refused_events_are_named_and_the_rest_goes_on() -> None:
    desk = Desk()
    outcome = desk.take(
        trades((ALICE, *CENT_SHARE), (GHOST, *CENT_SHARE), (ALICE, KICK, 99, SHARE, 100)),
        cash((GHOST, 5), (ALICE, EXACT_MAX), (ALICE, 5)),
        first=1,
    )
    assert {1: UnknownAccount, 2: RequestError, 3: UnknownAccount, 4: OutOfBounds}.keys() == outcome.refusals.keys()
    assert (6, None, 6) == (outcome.end, outcome.error, desk.applied)
    assert 1_000_000 - 100 + 5 == desk.cash_cents()


@pytest.mark.parametrize(
    "run",
    [
        trades((GHOST, *CENT_SHARE)),
        trades((ALICE, KICK, 0, SHARE, 100)),
        trades((ALICE, KICK, BUY, -(2**63), 100)),
        trades((ALICE, KICK, BUY, EXACT_MAX, PRICE_CENTS_MAX)),
        prices((KICK, 0)),
        cash((ALICE, EXACT_MAX)),
        cash((GHOST, 1)),
        ticks(1, tick_time=(-1,)),
    ],
)
def test_a_refused_event_changes_nothing(run: pb.EventRun) -> None:
    """Unsequenced, it leaves nothing to store either; sequenced, it moves the watermark and that alone."""
    desk = Desk()
    desk.intake.flush()
    before = desk.marks()
    assert [0] == list(desk.take(run).refusals)
    assert (before, False) == (desk.marks(), desk.intake.has_unflushed)
    assert [0] == list(desk.take(run, first=1).refusals)
    assert (*before[:-1], 1) == desk.marks()
    desk.intake.flush()
    assert (1, 0, 0) == (
        desk.flushes[-1].watermarks[0].applied_sequence,
        len(desk.flushes[-1].rows),
        len(desk.flushes[-1].state.accounts),
    )


def test_what_ends_a_batch_leaves_the_rest_alone() -> None:
    desk = Desk()
    desk.take(cash((ALICE, 1), (ALICE, 2)), first=1)
    before = desk.marks()
    gap, stale, conflict = (
        desk.take(cash((ALICE, 9)), first=4),
        desk.take(cash((ALICE, 9)), first=3, epoch=0),
        desk.take(cash((ALICE, 1), (ALICE, 7), (ALICE, 3)), first=1),
    )
    assert [SequenceGap, StaleEpoch, EventConflict] == [type(each.error) for each in (gap, stale, conflict)]
    assert [0, 0, 1] == [each.end for each in (gap, stale, conflict)]
    assert 1 == conflict.duplicate_count
    assert before == desk.marks()


def test_what_ends_a_batch_goes_before_what_its_events_say() -> None:
    """And before any look at the exchange's tables."""
    desk = Desk()
    batch = a_batch(cash((GHOST, 0), (GHOST, 1)), first=5)
    assert set() == desk.intake.unknown_accounts(batch)
    outcome = desk.take_batch(batch)
    assert ({}, SequenceGap) == (outcome.refusals, type(outcome.error))


def test_only_new_events_that_may_count_have_their_accounts_looked_up() -> None:
    desk = Desk()
    desk.take(cash((GHOST, 1)), first=1)
    batch = a_batch(cash((GHOST, 1), (7, 0), (8, 5)), trades((9, *CENT_SHARE), (10, KICK, 0, 1, 1)), first=1)
    assert {8, 9} == desk.intake.unknown_accounts(batch)


def test_an_account_that_cannot_be_had_is_refused_with_its_own_reason() -> None:
    desk = Desk()
    too_rich = OutOfBounds("currency_balance", "cash of account 99 would be too much", value=1, bound=0)
    outcome = desk.intake.take(a_batch(cash((GHOST, 1), (ALICE, 1)), first=1), NOON_MS, {GHOST: too_rich})
    assert ({0: too_rich}, 2) == (outcome.refusals, desk.applied)


def test_more_accounts_than_there_is_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(intake, "ACCOUNTS_MAX", 3)
    with pytest.raises(Overloaded, match="there would be 4 accounts, the most is 3"):
        desk.intake.open_accounts([an_account(7), an_account(8)], NOON_MS)
    desk.intake.open_accounts([an_account(7)], NOON_MS)
    assert 3 == desk.engine.account_count


# --- repeating -----------------------------------------------------------------------------------------------------


def test_repeats_of_sequenced_events_change_nothing() -> None:
    desk = Desk()
    runs = [trades((ALICE, *CENT_SHARE)), cash((GHOST, 1)), prices((KICK, 90)), ticks(1)]
    desk.take(*runs, first=1)
    before = desk.marks()
    assert Outcome(duplicate_count=4, end=4) == desk.take(*runs, first=1)
    for sequence, run in enumerate(runs, start=1):
        assert Outcome(duplicate_count=1, end=1) == desk.take(run, first=sequence)
    assert (before, False) == (desk.marks(), desk.intake.has_unflushed)


def test_a_batch_may_begin_with_repeats() -> None:
    desk = Desk()
    desk.take(cash((ALICE, 1), (ALICE, 2)), first=1)
    outcome = desk.take(cash((ALICE, 2), (ALICE, 4)), ticks(1), first=2)
    assert Outcome(duplicate_count=1, end=3, accounts_valued=1) == outcome
    assert 1_000_007 == desk.cash_cents()


@pytest.mark.parametrize(
    ("is_repeat", "leg"),
    [
        (True, (ALICE, KICK, BUY, SHARE, 100, 0, 41)),
        (True, (ALICE, PUNT, BUY, 1, 1, 0, 41)),  # the id decides alone
        (False, (ALICE, KICK, SELL, SHARE, 100, 0, 41)),
        (False, (BOB, KICK, BUY, SHARE, 100, 0, 41)),
        (False, (ALICE, KICK, BUY, SHARE, 100, 0, 42)),
        (False, (ALICE, KICK, BUY, SHARE, 100, 0, 0)),
    ],
)
def test_a_settlement_that_was_told_without_a_sequence_counts_once(is_repeat: bool, leg: tuple[int, ...]) -> None:
    desk = Desk()
    desk.take(trades((ALICE, KICK, BUY, SHARE, 100, 0, 41)))
    desk.intake.flush()
    before = desk.marks()
    assert is_repeat == bool(desk.take(trades(leg)).duplicate_count)
    assert is_repeat == (before == desk.marks())
    assert is_repeat != desk.intake.has_unflushed


def test_a_settlement_is_recognised_within_its_own_batch() -> None:
    desk = Desk()
    leg = (ALICE, KICK, BUY, SHARE, 100, 0, 41)
    assert 1 == desk.take(trades(leg, leg)).duplicate_count
    assert 999_900 == desk.cash_cents()


def test_a_refused_settlement_may_come_again() -> None:
    desk = Desk()
    assert [0] == list(desk.take(trades((ALICE, KICK, BUY, EXACT_MAX, PRICE_CENTS_MAX, 0, 41))).refusals)
    outcome = desk.take(trades((ALICE, KICK, BUY, SHARE, 100, 0, 41)))
    assert Outcome(end=1) == outcome


def test_settlement_ids_of_sequenced_events_do_not_decide() -> None:
    """Their sequence does; a sender may well not know the ids."""
    desk = Desk()
    leg = (ALICE, KICK, BUY, SHARE, 100, 0, 41)
    assert Outcome(end=2) == desk.take(trades(leg, leg), first=1)
    assert 999_800 == desk.cash_cents()


# --- accounts loaded later ------------------------------------------------------------------------------------------


def a_loaded_desk() -> Desk:
    """Carol was loaded with a purchase that EVS has yet to be told of; the exchange has taken her cash already."""
    desk = Desk()
    trade = (KICK, Side.BUY, SHARE, 100)
    desk.intake.open_accounts([an_account(CAROL, 999_900, [trade, trade])], NOON_MS)
    return desk


@pytest.mark.parametrize("settlement", [0, 1])
def test_what_an_account_was_loaded_with_is_not_applied_again(settlement: int) -> None:
    desk = a_loaded_desk()
    for told, cash_cents in ((1, 999_900), (2, 999_900), (3, 999_800)):
        # Each row answers once: with the id of the first row, the second announcement is a trade of its own.
        settlement_id = settlement * told
        desk.take(trades((CAROL, KICK, BUY, SHARE, 100, 0, settlement_id)))
        assert cash_cents == desk.cash_cents(CAROL)


def test_an_announcement_moves_the_mark_and_values_the_account() -> None:
    desk = a_loaded_desk()
    outcome = desk.take(trades((CAROL, KICK, BUY, SHARE, 100)), ticks(1))
    assert 1 == outcome.accounts_valued
    snapshot = desk.engine.snapshot(CAROL)
    assert snapshot is not None
    assert (1_000_100, 200) == (snapshot.equity_cents, snapshot.position_value_cents)


def test_an_announcement_that_is_refused_is_still_expected() -> None:
    """Its id says which it is, its price would take a holder out of bounds."""
    desk = a_loaded_desk()
    desk.take(trades((ALICE, KICK, BUY, EXACT_MAX // 2, 1)))
    before = desk.marks()
    assert {0: OutOfBounds} == codes(desk.take(trades((CAROL, KICK, BUY, SHARE, PRICE_CENTS_MAX, 0, 1))))
    assert before == desk.marks()
    desk.take(trades((CAROL, *CENT_SHARE, 0, 1)))
    assert 999_900 == desk.cash_cents(CAROL)


def test_loading_is_flushed_with_what_is_still_to_be_announced() -> None:
    desk = a_loaded_desk()
    desk.take(trades((CAROL, *CENT_SHARE)))
    desk.intake.flush()
    [flush] = desk.flushes
    assert ([1, 2], [1]) == (flush.unannounced_added.trade_id.tolist(), flush.unannounced_removed.trade_id.tolist())
    assert [ALICE, BOB, CAROL] == [account_id for row in flush.rows for account_id in row.account_id.tolist()]
    successor = Desk(written(desk.flushes))
    successor.take(trades((CAROL, *CENT_SHARE)))
    assert 999_900 == successor.cash_cents(CAROL)
    successor.take(trades((CAROL, *CENT_SHARE)))
    assert 999_800 == successor.cash_cents(CAROL)


# --- flushing ------------------------------------------------------------------------------------------------------


def test_each_tick_is_flushed_with_what_came_before_it_and_nothing_after() -> None:
    desk = Desk()
    desk.intake.flush()
    desk.take(cash((ALICE, 1)), ticks(1), cash((ALICE, 2), (BOB, 3)), ticks(2, 3), cash((ALICE, 4)), first=1)
    assert [1, 2, 3, 4] == [flush.number for flush in desk.flushes]
    assert [2, 5, 6] == [flush.watermarks[0].applied_sequence for flush in desk.flushes[1:]]
    assert [2, 3, 1] == [flush.event_count for flush in desk.flushes[1:]]
    assert [[1], [2], []] == [[row.tick for row in flush.rows] for flush in desk.flushes[1:]]
    assert (True, 7) == (desk.intake.has_unflushed, desk.applied)
    desk.intake.flush()
    assert (7, False) == (desk.flushes[-1].watermarks[0].applied_sequence, desk.intake.has_unflushed)


def test_nothing_new_is_no_flush() -> None:
    desk = Desk(accounts=())
    assert not desk.intake.has_unflushed
    desk.intake.flush()
    assert [] == desk.flushes


def test_rows_and_streams_carry_the_same_passes() -> None:
    desk = Desk()
    desk.take(cash((ALICE, 1)), ticks(1), trades((BOB, *CENT_SHARE)), ticks(2))
    assert plain(desk.passes) == plain([row for flush in desk.flushes for row in flush.rows])


def test_a_session_roll_is_a_pass_of_its_own_and_not_counted_as_valued() -> None:
    desk = Desk()
    desk.take(cash((ALICE, 1)), ticks(1, tick_time=(NOON_MS,)))
    outcome = desk.take(cash((ALICE, 1)), ticks(2, tick_time=(NOON_MS + DAY_MS,)))
    assert 1 == outcome.accounts_valued
    assert [(False, 1), (True, 2), (False, 1)] == [(each.session_roll, len(each)) for each in desk.passes[1:]]
    assert [2] == [len(flush.rows) for flush in desk.flushes[1:]]


def test_the_clock_rolls_the_session_where_ticks_carry_no_time() -> None:
    desk = Desk()
    desk.take(cash((ALICE, 1)), ticks(1))
    desk.intake.roll_if_due(NOON_MS + 1)
    assert not desk.intake.has_unflushed
    desk.intake.roll_if_due(NOON_MS + DAY_MS)
    assert (True, True) == (desk.passes[-1].session_roll, desk.intake.has_unflushed)


def test_what_is_valued_while_the_database_lags_says_so() -> None:
    desk = Desk()
    desk.degraded_since_ms = NOON_MS
    desk.take(cash((ALICE, 1)), ticks(1))
    desk.intake.open_accounts([an_account(CAROL)], NOON_MS)
    assert [Flag.DEGRADED] * 2 == [Flag(each.snapshot(0).flags) & Flag.DEGRADED for each in desk.passes[1:]]


def test_a_checkpoint_comes_after_so_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least so many, and so many for each account; it holds every account's newest snapshot."""
    monkeypatch.setattr(capture, "CHECKPOINT_ROWS_MIN", 5)
    monkeypatch.setattr(capture, "CHECKPOINT_ROWS_PER_ACCOUNT", 3)
    desk = Desk()  # two accounts: a checkpoint after six rows, two of which are stored here
    for tick in range(1, 12):
        desk.take(cash((ALICE, 1)), ticks(tick))
    with_checkpoint = [flush for flush in desk.flushes if flush.latest is not None]
    assert [4, 10] == [flush.number for flush in with_checkpoint]
    for flush in with_checkpoint:
        assert flush.latest is not None
        assert [ALICE, BOB] == flush.latest.account_id.tolist()
        assert flush.rows[-1].version == flush.latest.version[0]
    restored = Desk(written(desk.flushes))
    assert plain(desk.engine.latest_snapshots()) == plain(restored.engine.latest_snapshots())


def test_a_process_that_is_restarted_often_still_makes_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the starts before wrote counts: else each would read more rows than the one before."""
    monkeypatch.setattr(capture, "CHECKPOINT_ROWS_MIN", 5)
    monkeypatch.setattr(capture, "CHECKPOINT_ROWS_PER_ACCOUNT", 3)
    tables = Tables()
    flushes = written_by(Desk(), 1, tables)
    for tick in range(2, 12):
        flushes += written_by(Desk(written([], tables)), tick, tables)
    assert [4, 10] == [flush.number for flush in flushes if flush.latest is not None]


def written_by(desk: Desk, tick: int, tables: Tables) -> list[Flush]:
    """The flushes of a process that ends after one tick."""
    desk.take(cash((ALICE, 1)), ticks(tick))
    written(desk.flushes, tables)
    return desk.flushes


def test_readers_get_what_is_not_stored_and_a_checkpoint_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a start would have to read again counts towards one."""
    monkeypatch.setattr(capture, "CHECKPOINT_ROWS_MIN", 4)
    monkeypatch.setattr(capture, "CHECKPOINT_ROWS_PER_ACCOUNT", 2)
    desk = Desk(keeping=OnTrade())  # two rows at the import, one for the trade: the fourth makes a checkpoint
    desk.take(trades((ALICE, *CENT_SHARE)), ticks(1))
    for price in range(101, 111):
        desk.take(prices((KICK, price)), ticks(1))
    assert 12 == len(desk.passes)
    assert 3 == sum(len(made) for flush in desk.flushes for made in flush.rows)
    assert not any(flush.latest for flush in desk.flushes)
    desk.take(cash((ALICE, 5)), prices((KICK, 200)), ticks(1))
    desk.take(prices((KICK, 300)), ticks(1))
    [checkpoint] = [flush.latest for flush in desk.flushes if flush.latest is not None]
    assert 1_000_000 + 5 + 100 == checkpoint.equity_cents[0]


# --- starting ------------------------------------------------------------------------------------------------------


def test_what_was_told_and_not_stored_is_told_again_and_stored_like_any_other() -> None:
    desk = Desk(keeping=Interval(60))
    desk.take(trades((ALICE, *CENT_SHARE)), ticks(1))
    desk.take(prices((KICK, 150)), ticks(2), now_ms=NOON_MS + 1_000)
    started = Desk(written(desk.flushes), keeping=Interval(60))
    started.intake.restate(NOON_MS + 2_000)
    alices, bobs = started.passes
    assert ([ALICE], [1_000_050]) == (alices.account_id.tolist(), alices.equity_cents.tolist())
    assert [BOB] == bobs.account_id.tolist(), "a version that nobody has seen, of numbers that are stored"
    started.take(cash((BOB, 1)), ticks(3), now_ms=NOON_MS + 61_000)
    [flush] = started.flushes
    assert [(alices.version, [ALICE]), (bobs.version + 1, [BOB])] == [
        (made.version, made.account_id.tolist()) for made in flush.rows
    ]
    again = Desk(written([*desk.flushes, *started.flushes]))
    again.intake.restate(NOON_MS + 62_000)
    assert [] == again.passes, "it was stored"


def test_the_first_import_is_stored_as_one_row_an_account() -> None:
    desk = Desk(accounts=())
    tables = exchange_tables({ALICE: 500, BOB: 0}, {(ALICE, KICK): (SHARE, 100)}, {KICK: 120})
    desk.intake.import_exchange(tables, NOON_MS)
    desk.intake.flush()
    [flush] = desk.flushes
    assert [{ALICE: 620, BOB: 0}] == [
        dict(zip(row.account_id.tolist(), row.equity_cents.tolist(), strict=True)) for row in flush.rows
    ]
    assert (1, 0, ()) == (flush.number, flush.event_count, flush.watermarks)


def test_a_restart_values_nothing_and_numbers_on() -> None:
    desk = Desk()
    desk.take(cash((ALICE, 1)), ticks(1), cash((BOB, 2)), first=1)
    desk.intake.flush()
    recovered = written(desk.flushes)
    successor = Desk(recovered)
    assert ([], [], False) == (successor.passes, successor.flushes, successor.intake.has_unflushed)
    assert desk.engine.state_hash() == successor.engine.state_hash()
    assert plain(desk.engine.latest_snapshots()) == plain(successor.engine.latest_snapshots())
    assert IngestState(1, 3, 3) == successor.sequencer.state(EM)
    outcome = successor.take(cash((BOB, 2)), ticks(2), first=3)
    assert (1, 1) == (outcome.duplicate_count, outcome.accounts_valued)
    assert [BOB] == successor.passes[-1].account_id.tolist()
    assert recovered.start_number << VERSION_START_BITS < successor.passes[-1].version
    assert [recovered.flush_number + 1] == [flush.number for flush in successor.flushes]


def test_settlement_ids_survive_a_restart() -> None:
    desk = Desk()
    leg = (ALICE, KICK, BUY, SHARE, 100, 0, 41)
    desk.take(trades(leg))
    desk.intake.flush()
    assert 1 == Desk(written(desk.flushes)).take(trades(leg)).duplicate_count


# --- any history ---------------------------------------------------------------------------------------------------

WHO = st.sampled_from([ALICE, BOB, GHOST])
EVENT = st.one_of(
    st.builds(
        lambda *leg: trades(leg),
        WHO,
        st.sampled_from([KICK, PUNT]),
        st.sampled_from([BUY, SELL, 0]),
        st.sampled_from([1, 3_333, SHARE, 0, EXACT_MAX]),
        st.sampled_from([1, 333, PRICE_CENTS_MAX]),
        st.sampled_from([0, 7]),
        st.integers(0, 3),
    ),
    st.builds(lambda *mark: prices(mark), st.sampled_from([KICK, PUNT]), st.integers(0, 400)),
    st.builds(lambda *flow: cash(flow), WHO, st.sampled_from([-5, 0, 5, EXACT_MAX])),
    st.builds(
        lambda tick, time: ticks(tick, tick_time=(time,)),
        st.integers(0, 3),
        st.sampled_from([0, NOON_MS, NOON_MS + 1, NOON_MS + DAY_MS, -1]),
    ),
)


@settings(deadline=None)
@given(st.lists(EVENT, max_size=25), st.lists(st.integers(1, 9), max_size=25), st.lists(st.integers(0, 6), max_size=25))
def test_however_a_history_is_cut_repeated_and_flushed_it_comes_to_the_same(
    events: list[pb.EventRun], sizes: list[int], backs: list[int]
) -> None:
    """One by one, or in batches that each begin with some of the last: the same state, passes and refusals."""
    one_by_one, cut = Desk(), Desk()
    refusals: dict[int, type[RequestError]] = {}
    told: dict[int, type[RequestError]] = {}
    for sequence, event in enumerate(events, start=1):
        for error in one_by_one.take(event, first=sequence).refusals.values():
            refusals[sequence] = type(error)
    sent = 0
    for size, back in zip([*sizes, *[25] * len(events)], [*backs, *[0] * 25], strict=False):
        start = max(sent - back, 0)
        outcome = cut.take(*events[start : sent + size], first=start + 1)
        told.update({start + 1 + index: kind for index, kind in codes(outcome).items()})
        assert (None, sent - start) == (outcome.error, outcome.duplicate_count)
        sent = min(sent + size, len(events))
        if back % 2:
            cut.intake.flush()
    assert one_by_one.engine.state_hash() == cut.engine.state_hash()
    assert plain(one_by_one.passes) == plain(cut.passes)
    assert (refusals, len(events)) == (told, cut.applied)
    assert len(events) == sum(flush.event_count for flush in flushed(cut))


def flushed(desk: Desk) -> list[Flush]:
    """All flushes of a desk, with one more for what is left."""
    desk.intake.flush()
    return desk.flushes


@settings(deadline=None)
@given(st.lists(EVENT, max_size=20), st.sets(st.integers(0, 20)))
def test_any_prefix_of_the_flushes_is_the_fold_of_the_events_up_to_its_watermark(
    events: list[pb.EventRun], flush_after: set[int]
) -> None:
    """DESIGN 6: what is in Postgres after a crash at any point."""
    desk = Desk()
    desk.intake.flush()
    hashes = {0: (desk.engine.state_hash(), plain(desk.engine.latest_snapshots()))}
    for sequence, event in enumerate(events, start=1):
        desk.take(event, first=sequence)
        hashes[sequence] = (desk.engine.state_hash(), plain(desk.engine.latest_snapshots()))
        if sequence in flush_after:
            desk.intake.flush()
    for count in range(1, len(desk.flushes) + 1):
        recovered = written(desk.flushes[:count])
        successor = Desk(recovered)
        assert hashes[successor.applied][0] == successor.engine.state_hash()
        assert hashes[successor.applied][1] == plain(successor.engine.latest_snapshots())
        sent = a_batch(*events[: successor.applied])
        known = [watermark.digest for watermark in recovered.watermarks]
        assert sent.digest.tolist() == (known[0].tolist() if known else [])
