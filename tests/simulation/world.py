"""
The simulated world: an exchange, its senders, EVS and its database, and one seeded random that decides what happens.

A faulty phase of many small steps, each followed by what must hold at every moment; then one in which all heals, and
what must hold in the end. Accounts that were there from the start are held against the reference event by event; those
created later against the fold of their trades, once everything has been announced.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, fields
from random import Random

import numpy as np

from evs_server.errors import Fenced, RequestError, UnknownAccount
from evs_server.ingest.keeping import Policy, keeping
from evs_server.ingest.loader import LOOKS_MAX
from evs_server.model import Batch, ExchangeAccount, MarkSource, Snapshot, Valuation
from evs_server.store.memory import Fault, Tables
from tests.builders import DAY_MS, HOUR_MS, NOON_MS, snapshots
from tests.reference import Reference, Row, notional
from tests.simulation.exchange import PLAIN, SYMBOLS, Announcement, Exchange
from tests.simulation.process import Process, Told, at_once
from tests.simulation.senders import Numbered, Plain

STALE_AFTER_MS = 10**15
INTERVAL_SECONDS = 2
CHECKED = [field.name for field in fields(Snapshot) if field.name != "version"]
"""Versions are EVS's own; everything else of a snapshot follows from the events."""


class World:
    """
    One run.

    Args:
        seed: Decides everything.
        policy: Which valuations are stored; decides nothing else.
    """

    def __init__(self, seed: int, policy: Policy = "every_tick") -> None:
        self._policy: Policy = policy
        self.random = random = Random(seed)
        # In every other world ticks wait for the writer's turn, more or less often. That is decided apart: nothing else
        # of a seed is another for it.
        turns = Random(seed)
        waiting = turns.choice([0.0, 0.0, 0.4, 0.9])
        self._waits = lambda: turns.random() < waiting
        self.now_ms = NOON_MS
        self.tables = Tables()
        # Not every world has every trouble: some combinations would drown others.
        self._jumps, fees, self._timed = (random.random() < 0.5 for _ in range(3))
        # For how long an account is new is told by the clock: see ``test_new_accounts`` for one that jumps.
        self._fees = fees and not self._jumps
        names = ["em-1", "em-2", f"{PLAIN}-1", f"{PLAIN}-2"]
        self.exchange = Exchange(random, self.tables, names, disorderly={names[-1]})
        self.numbered = [Numbered(name, random) for name in names[:2]]
        self.plain = [Plain(name, random, disorderly=name == names[-1]) for name in names[2:]]
        self.exchange.names_ids = self._jumps
        self.exchange.found(6)
        self.reference = Reference(stale_after_ms=STALE_AFTER_MS)
        self._kept: dict[int, tuple[Reference, Told]] = {}
        self._published: dict[int, Valuation] = {}
        self._carried: dict[int, tuple[Valuation, ...]] = {}
        self._newest_version = 0
        self._look: tuple[dict[int, tuple[bool, int | None]], int, dict[int, ExchangeAccount]] | None = None
        self._looks = 0
        self._faulty = True
        self.crash_count = 0
        self.process = self._start()
        self._import()

    # --- a run ---------------------------------------------------------------------------------------------------

    def run(self, step_count: int) -> None:
        """A faulty phase, and a healing one."""
        steps: dict[Callable[[], None], float] = {
            self.settle: 8, self.pay: 3, self.register: 1, self.quote: 2, self.end_tick: 6, self.blunder: 0.5,
            self.tell: 12, self.tell_plainly: 8, self.intrude: 1, self.begin_epoch: 1,
            self.write: 8, self.flush: 4, self.crash: 1, self.look: 2, self.take_up: 2, self.look_again: 2,
            self.subscribe: 1, self.pass_time: 3, self.roll: 2,
        }  # fmt: skip
        weights = [weight * self.random.choice([0.2, 1, 1, 3]) for weight in steps.values()]
        for step in self.random.choices(list(steps), weights, k=step_count):
            self.do(step)
        self.finish()

    def do(self, step: Callable[[], None]) -> None:
        """One step, and what must hold after each."""
        step()
        self._check_always()

    def finish(self) -> None:
        """The healing phase, and what must hold in the end."""
        self._heal()
        self._check_in_the_end()

    # --- the exchange --------------------------------------------------------------------------------------------

    def settle(self) -> None:
        self.exchange.settle(fees=self._fees)

    def pay(self) -> None:
        # What is paid into a new account is told from what it was loaded with by the time that has passed since.
        self.exchange.pay(late=not self._jumps)

    def register(self) -> None:
        if len(self.exchange.clients) < 12:
            self.exchange.register()

    def quote(self) -> None:
        self.exchange.quote(self.numbered[0].name)

    def end_tick(self) -> None:
        time_ms = self.now_ms + self.random.choice([-DAY_MS, -HOUR_MS, 0, 0, HOUR_MS]) if self._timed else 0
        self.exchange.complete_tick(self.random.choice(self.numbered).name, time_ms)

    def blunder(self) -> None:
        self.exchange.blunder(self.random.choice(self.numbered).name)

    # --- the senders ---------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """A numbered sender sends a batch, some of which it may have sent before."""
        sender = self.random.choice(self.numbered)
        sender.take_over(self.exchange.outgoing[sender.name])
        found = sender.batch(self.process.sequencer.state(sender.name), repeats=self._faulty)
        if found is not None:
            self._take(*found)

    def tell_plainly(self) -> None:
        """A plain sender sends an event; the answer may get lost."""
        sender = self.random.choice(self.plain)
        sender.take_over(self.exchange.outgoing[sender.name])
        found = sender.next(repeats=self._faulty)
        if found is not None:
            batch, event = found
            self._take(batch, [event])
            if not self._faulty or self.random.random() < 0.8:
                sender.answered(event)

    def intrude(self) -> None:
        """Something comes out of step; it changes nothing."""
        sender = self.random.choice(self.numbered)
        found = sender.intrusion(self.process.sequencer.state(sender.name))
        if found is not None:
            batch, error = found
            before = self.process.engine.state_hash(), self.process.sequencer.state(sender.name)
            outcome = self.process.intake.take(batch, self.now_ms)
            assert (error, 0) == (type(outcome.error), outcome.end)
            assert before == (self.process.engine.state_hash(), self.process.sequencer.state(sender.name))

    def begin_epoch(self) -> None:
        sender = self.random.choice(self.numbered)
        sender.begin_epoch(self.process.sequencer.state(sender.name))

    # --- EVS and its database ------------------------------------------------------------------------------------

    def write(self) -> None:
        """The writer tries; its transaction, or the answer to its commit, may get lost."""
        if self._faulty and self.random.random() < 0.3:
            self.process.store.faults.append(self.random.choice(list(Fault)))
        self.process.attempt(self.random.randint(1, 4), self.now_ms)

    def flush(self) -> None:
        self.process.intake.flush()
        for captured in self.process.offered:
            self._keep(*captured)
        self.process.offered.clear()

    def crash(self) -> None:
        """EVS ends in the middle of it, perhaps between a commit and the news of it, and starts again."""
        self.crash_count += 1
        if self.random.random() < 0.5:
            self.process.attempt(self.random.randint(1, 4), self.now_ms, told=False)
        zombie = self.process
        self.process = self._start()
        self._look, self._looks = None, 0
        number = self.process.recovered.flush_number
        self._carried = {key: rows for key, rows in (self._carried | zombie.rows_of).items() if key <= number}
        self.reference, told = copy.deepcopy(self._kept[number])
        self._kept = {key: kept for key, kept in self._kept.items() if key <= number}
        assert told == self.process.told(), f"what was told when flush {number} was captured is not what was found"
        for sender in self.plain:
            sender.start_over()
        if zombie.has_unwritten:
            self._expect_fenced(zombie)

    def look(self) -> None:
        """A read of the accounts that events wait for begins."""
        waiting = self.process.intake.waiting_accounts()
        if waiting and self._look is None:
            moments = {account_id: self.process.intake.moment(account_id) for account_id in waiting}
            self._look = moments, self.process.intake.last_parked_id, self._read(waiting)

    def take_up(self) -> None:
        """The read that began ends."""
        if self._look is not None:
            moments, last_parked_id, found = self._look
            self._look = None
            intake = self.process.intake
            current = [account_id for account_id in moments if intake.moment(account_id) == moments[account_id]]
            fresh = [found[account_id] for account_id in current if account_id in found]
            intake.open_accounts([each for each in fresh if not intake.knows(each.account_id)], self.now_ms)
            for account_id in current:
                if account_id in found:
                    intake.resolve(found[account_id], last_parked_id, self.now_ms, patient=self._looks < LOOKS_MAX)
                else:
                    intake.drop_parked(account_id, last_parked_id)
            self._looks = self._looks + 1 if intake.waiting_accounts() else 0

    def look_again(self) -> None:
        """The accounts that may have been read half way are read again."""
        for account in self._read(self.process.intake.suspects(self.now_ms)).values():
            self.process.intake.recheck(account, self.now_ms)

    def subscribe(self) -> None:
        """Someone wants to see an account that EVS may not know."""
        for client in self.exchange.late_accounts():
            if not self.process.intake.knows(client.account_id):
                self.process.intake.open_accounts(list(self._read([client.account_id]).values()), self.now_ms)
                return

    def pass_time(self) -> None:
        """The clock goes on; or it steps, back or forth."""
        steps = [-DAY_MS, -HOUR_MS, HOUR_MS, DAY_MS] if self._jumps else []
        self.now_ms += self.random.choice([1, 50, 999, *steps])

    def roll(self) -> None:
        """EVS's clock asks whether the session is over."""
        before = len(self.process.published)
        self.process.intake.roll_if_due(self.now_ms)
        degraded = self.process.degraded_since_ms is not None
        self._compare(self.reference.roll_if_due(self.now_ms, degraded=degraded), self.process.published[before:])

    # --- inside --------------------------------------------------------------------------------------------------

    def _start(self) -> Process:
        started = Process(
            self.tables, STALE_AFTER_MS, self.now_ms, keeping(self._policy, INTERVAL_SECONDS), self._waits
        )
        if self._policy == "every_tick":
            assert not started.published, "where everything is stored, a start makes no valuation"
        else:
            # Whoever has seen a version that was not stored must not be told an older one.
            versions = started.engine.latest_snapshots().version
            assert versions.min(initial=self._newest_version + 1) > self._newest_version
        return started

    def _import(self) -> None:
        balances = {account_id: balance or 0 for account_id, balance in self.tables.balances_cents.items()}
        self.process.intake.import_exchange(at_once(self.process.store.read_exchange()), self.now_ms)
        self._compare(self.reference.adopt(balances, self.tables.positions, {}, self.now_ms), self.process.published)
        self.flush()
        self.process.attempt(1, self.now_ms)
        self._check_always()

    def _read(self, account_ids: list[int]) -> dict[int, ExchangeAccount]:
        return dict(at_once(self.process.store.read_accounts(account_ids)))

    def _take(self, batch: Batch, events: list[Announcement]) -> None:
        """Have a batch taken as the gate would, in time to look its accounts up or not, and the reference follow."""
        intake = self.process.intake
        unknown = intake.unknown_accounts(batch)
        refused: dict[int, RequestError] = {}
        if unknown and (not self._faulty or self.random.random() < 0.5):
            found = self._read(sorted(unknown))
            refused = {account_id: UnknownAccount(account_id) for account_id in unknown - found.keys()}
            if found:
                intake.open_accounts(list(found.values()), self.now_ms)
        before = len(self.process.published)
        applied = self.process.sequencer.state(batch.source).applied_sequence
        doubtful = intake.doubtful_accounts(batch, self.now_ms)
        accounts = self._read(sorted(doubtful)) if self.random.random() < 0.5 else {}
        outcome = intake.take(batch, self.now_ms, refused, accounts)
        assert (None, len(batch)) == (outcome.error, outcome.end)
        if batch.first_sequence > 1:
            assert min(applied + 1 - batch.first_sequence, len(batch)) == outcome.duplicate_count
        rows: list[Row] = []
        for index, event in enumerate(events):
            if index >= outcome.duplicate_count and index not in outcome.refusals:
                rows += self._follow(event)
        self._compare(rows, self.process.published[before:])
        assert not self.process.offered

    def _follow(self, event: Announcement) -> list[Row]:
        """Tell the reference of an event that counts."""
        reference = self.reference
        known = event.account_id in reference.accounts
        if event.trade is not None:
            told = event.trade
            symbol, price = told.symbol_id, told.price_cents
            if known:
                reference.trade(
                    event.account_id, symbol, told.side, told.quantity_bp, price, event.fee_cents, self.now_ms
                )
            elif symbol not in reference.marks or reference.marks[symbol][1] is not MarkSource.MARK:
                reference.price(symbol, price, self.now_ms, MarkSource.LAST_TRADE)
        elif event.mark is not None:
            reference.price(*event.mark, self.now_ms)
        elif event.amount_cents and known:
            reference.cash(event.account_id, event.amount_cents)
        elif event.tick is not None:
            degraded = self.process.degraded_since_ms is not None
            rows = reference.tick(*event.tick, self.now_ms, degraded=degraded)
            if self.process.has_captured.pop(0):
                self._keep(*self.process.offered.pop(0))
            return rows
        return []

    def _keep(self, number: int, told: Told) -> None:
        """Remember what a flush holds: the events up to now, and none after."""
        self._kept[number] = copy.deepcopy(self.reference), told

    def _compare(self, expected: list[Row], made: list[Valuation]) -> None:
        """Hold passes against those of the reference, which knows only the accounts that were there from the start."""
        accounts = self.reference.accounts
        shown = [asdict(each) for each in snapshots(made) if each.account_id in accounts]
        assert [[row[name] for name in CHECKED] for row in _in_order(expected)] == [
            [row[name] for name in CHECKED] for row in _in_order(shown)
        ]

    def _expect_fenced(self, zombie: Process) -> None:
        """A process that another has replaced writes no more."""
        before = self.tables.recovered
        try:
            zombie.attempt(1, self.now_ms)
        except Fenced:
            assert before is self.tables.recovered
        else:
            raise AssertionError("a process that had been replaced wrote")

    # --- what must hold ------------------------------------------------------------------------------------------

    def _check_always(self) -> None:
        process = self.process
        assert 0 == process.engine.identity_violation_count
        for made in process.published:
            assert made.version > self._newest_version, "versions must grow, restarts included"
            assert len(made) == len(np.unique(made.account_id)), "an account was valued twice in one pass"
            self._newest_version = made.version
            self._published[made.version] = made
        process.published.clear()
        stored = {mark.source: mark for mark in self.tables.recovered.watermarks}
        for sender in self.numbered:
            state = process.sequencer.state(sender.name)
            assert state.durable_sequence <= state.applied_sequence
            if state.durable_sequence and stored[sender.name].epoch == state.epoch:
                assert state.durable_sequence <= stored[sender.name].applied_sequence

    def _heal(self) -> None:
        """No more faults: everything is told, read and written; last of all a price for each symbol, and a tick."""
        self._faulty = False
        self.process.store.faults.clear()
        for symbol in (None, *SYMBOLS):
            if symbol is not None:
                self.exchange.quote(self.numbered[0].name, symbol)
            self._tell_everything()
        self.exchange.complete_tick(self.numbered[0].name)
        self._tell_everything()
        self.flush()
        while self.process.has_unwritten:
            self.write()
        self._check_always()

    def _tell_everything(self) -> None:
        while not self._is_all_told():
            self.tell()
            self.tell_plainly()
            self.look()
            self.take_up()
        while self.process.intake.suspects(self.now_ms):
            self.look_again()

    def _is_all_told(self) -> bool:
        states = [(sender, self.process.sequencer.state(sender.name)) for sender in self.numbered]
        return (
            not any(self.exchange.outgoing.values())
            and all(not s.told or (s.epoch, len(s.told)) == (now.epoch, now.applied_sequence) for s, now in states)
            and all(sender.is_done for sender in self.plain)
            and not self.process.intake.waiting_accounts()
        )

    def _check_in_the_end(self) -> None:
        engine = self.process.engine
        for client in self.exchange.clients.values():
            snapshot = engine.snapshot(client.account_id)
            if snapshot is None:
                assert client.is_late, f"account {client.account_id} is lost"
                assert not client.books.lots, f"account {client.account_id} is not known, though it traded"
                continue
            books, marks = client.books, self.reference.marks
            value = sum(notional(lot[0], marks[symbol][0]) for symbol, lot in books.lots.items())
            assert (client.account_id, books.cash, books.net_flow, books.realized, books.cash + value) == (
                snapshot.account_id,
                snapshot.cash_cents,
                snapshot.net_flow_cents,
                snapshot.realized_cents,
                snapshot.equity_cents,
            )
            views = engine.positions(client.account_id)
            assert books.lots == {
                view.symbol_id: (view.quantity_bp, view.basis_cents, view.realized_cents) for view in views
            }
        self._check_rows()
        self._check_restart()

    def _check_rows(self) -> None:
        """What is stored is what committed flushes carried, all of which was made public, each pass once."""
        flushes = self._carried | self.process.rows_of
        carried = [made for number in sorted(flushes) for made in flushes[number]]
        assert [made.version for made in carried] == [made.version for made in self.tables.rows]
        for made in self.tables.rows:
            published = snapshots([self._published[made.version]])
            stored = snapshots([made])
            assert [each for each in published if each in stored] == stored
            assert self._policy != "every_tick" or len(stored) == len(published)
            assert not made.session_roll or len(stored) == len(published)

    def _check_restart(self) -> None:
        engine, before = self.process.engine, self.process
        after = self._start()
        assert before.told() == after.told()
        if self._policy == "every_tick":
            for account_id in engine.account_ids().tolist():
                assert engine.snapshot(account_id) == after.engine.snapshot(account_id)
        for sender in self.numbered:
            assert before.sequencer.state(sender.name) == after.sequencer.state(sender.name)


def _in_order(rows: list[Row]) -> list[Row]:
    """By pass, then by account."""
    return sorted(rows, key=lambda row: (row["version"], row["account_id"]))
