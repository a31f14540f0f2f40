"""
Where ordered events meet the engine: the one way in, whoever sends and however it comes. Pure.

``take`` applies what is new of a batch, in order; a completed tick's passes go to the sinks at once. What changed
since the last flush is captured in one step and handed to the writer. Nothing here awaits, so no reader of the engine
can ever see half an event. Invariant: a flush holds exactly the events up to its watermarks. That of a completed tick
may be captured when its caller has its answer, and with what comes after it, several ticks included (ADR 0010).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from evs_server import failpoints
from evs_server.engine import Engine
from evs_server.errors import OperatingError, OutOfBounds, Overloaded, RequestError
from evs_server.ingest import named
from evs_server.ingest.capture import Capture
from evs_server.ingest.clearing import Clearing, Trade
from evs_server.ingest.course import NO_ACCOUNTS, NOBODY, Course, Outcome
from evs_server.ingest.keeping import Keeping
from evs_server.ingest.plain import apart_rows
from evs_server.ingest.sequencer import Sequencing
from evs_server.ingest.single import Singles
from evs_server.limits import ACCOUNTS_MAX, VERSION_START_BITS
from evs_server.model import (
    Batch,
    CashRun,
    Change,
    Correction,
    ExchangeAccount,
    ExchangeImport,
    Int64Array,
    Ledger,
    ObservedRun,
    PriceRun,
    Recovered,
    Run,
    TickRun,
    TradeRun,
    Valuation,
)
from evs_server.ports import FlushSink, ValuationSink

__all__ = ["Intake", "Outcome"]


class Intake:
    """
    Applies batches, publishes passes, captures flushes.

    Args:
        valuations: Takes each pass as it is made.
        flushes: Takes each flush as it is captured.
        keeping: Says what is stored of each pass; absent: all of it.

    Attributes:
        singles: Takes events of unary calls, if they are plain.
        on_tick: Called when a tick is completed, to have ``flush_tick`` called soon, or the tick joined to what comes
            after it; left alone, it is called at once. The next event waits for neither: a tick that is not joined is
            captured before that is applied.
    """

    def __init__(
        self,
        engine: Engine,
        sequencer: Sequencing,
        clearing: Clearing,
        valuations: ValuationSink,
        flushes: FlushSink,
        keeping: Keeping | None = None,
    ) -> None:
        self._engine = engine
        self._sequencer = sequencer
        self._clearing = clearing
        self._valuations = valuations
        self._flushes = flushes
        self._keeping = keeping or Keeping()
        self._capture = Capture(engine, sequencer, clearing, self._keeping)
        self._changed = False
        self._tick_due = self._is_within = False
        self.singles = Singles(engine, sequencer, clearing, self)
        self.on_tick: Callable[[], None] = self.flush_tick

    # --- starting --------------------------------------------------------------------------------------------

    def restore(self, recovered: Recovered) -> None:
        """Take over what the last process had committed; makes no valuation."""
        self._capture.restore(recovered)
        floor = recovered.start_number << VERSION_START_BITS
        self._engine.restore(recovered.state, recovered.latest, floor)
        self._sequencer.restore(recovered.watermarks)
        self._clearing.restore(recovered)

    def restate(self, now_ms: int) -> None:
        """
        Make the newest valuations anew that were told but not stored; after ``restore``, before anybody is served.

        Where every pass has been stored, nothing is made.
        """
        changed, others = self._engine.restate(now_ms, whole=not self._keeping.is_whole)
        if changed is not None:
            self._made(changed)
        if others is not None:
            self._valuations.publish(others)  # all that they say is stored, but for their version

    def import_exchange(self, tables: ExchangeImport, now_ms: int) -> None:
        """Take in the exchange's tables at the first start; each account is valued and stored once."""
        self._made(self._clearing.import_exchange(tables, now_ms))

    # --- events ----------------------------------------------------------------------------------------------

    def knows(self, account_id: int) -> bool:
        """Whether an account is in memory."""
        return self._engine.knows(account_id)

    def knows_of(self, account_id: int) -> bool:
        """Whether an account is in memory, or events of it wait for that."""
        return self._engine.knows(account_id) or self._clearing.parked.holds(account_id)

    def unknown_accounts(self, batch: Batch) -> set[int]:
        """The accounts that what is new of a batch names, and that nobody has looked up yet."""
        return named.unknown(self._engine, self._sequencer, batch, self.knows_of)

    def doubtful_accounts(self, batch: Batch, now_ms: int) -> set[int]:
        """The accounts that flows of a batch name, and that should be read before it is taken."""
        heeded = named.in_flows(self._engine, batch)
        return {account_id for account_id in heeded if self._clearing.is_doubtful(account_id, now_ms)}

    def take(
        self,
        batch: Batch,
        now_ms: int,
        refused: Mapping[int, RequestError] = NOBODY,
        accounts: Mapping[int, ExchangeAccount] = NO_ACCOUNTS,
    ) -> Outcome:
        """
        Apply what is new of a batch, in order; events of accounts that are not known are parked.

        Args:
            now_ms: EVS's clock.
            refused: Accounts that cannot be had, each with the reason its events are refused for.
            accounts: Accounts whose flows are doubtful, as read after the batch had come.
        """
        admission = self._sequencer.admit(batch)
        outcome = Outcome(admission.first_new, end=admission.end, error=admission.error)
        self.flush_tick()
        self._is_within = batch.has_more and batch.position > 0
        if admission.error is None:
            course = Course(batch, outcome, now_ms, refused, accounts, admission.first_new)
            start = 0
            for run in batch.runs:
                first = max(admission.first_new - start, 0)
                if first < len(run) and outcome.error is None:
                    self._take_run(run, course, start, first)
                start += len(run)
            self._advance(course, outcome.end)
            if batch.position and not len(batch):
                self._sequencer.advance(batch, 0, 0)
                self._changed = True
        if batch.position and self._tick_due:
            self.on_tick()
        return outcome

    def open_accounts(self, accounts: Sequence[ExchangeAccount], now_ms: int) -> None:
        """
        Take in accounts that the exchange created later, and remember which of their trades are still to be announced.

        Raises:
            OutOfBounds: If their numbers are beyond the bounds; none is taken in then.
            Overloaded: If there is no room for them.
        """
        count = self._engine.account_count + len(accounts)
        if count > ACCOUNTS_MAX:
            raise Overloaded(
                f"there would be {count} accounts, the most is {ACCOUNTS_MAX}", count=count, bound=ACCOUNTS_MAX
            )
        self._made(self._clearing.open_accounts(accounts, now_ms, degraded=self._degraded))

    def parked_statistics(self) -> dict[str, int]:
        """How many events wait for an account to be read, and for how many accounts."""
        return self._clearing.parked.statistics()

    def waiting_accounts(self) -> list[int]:
        """Accounts whose events are parked until they have been read, the longest waiting first."""
        return self._clearing.parked.account_ids()

    @property
    def has_unread(self) -> bool:
        """Whether any account waits to be read: for its parked events, or because it was read half way."""
        return self._clearing.has_unread

    @property
    def last_parked_id(self) -> int:
        """The newest event that was ever parked: what is read from now on has seen it happen."""
        return self._clearing.parked.last_id

    def resolve(self, account: ExchangeAccount, last_parked_id: int, now_ms: int, *, patient: bool) -> None:
        """
        Take up the parked events of a known account, or leave them for a better look.

        Args:
            account: As read after the events up to ``last_parked_id`` had come.
            patient: Whether to have that better look if the tables do not explain the account's flows.
        """
        if patient and not self._clearing.agrees(account, last_parked_id, now_ms):
            return
        self._clearing.resolve(account, last_parked_id, now_ms)
        self._changed = True

    def resolve_unseen(self, account_id: int, last_parked_id: int, now_ms: int) -> None:
        """Take up the parked events of a known account that the exchange's tables have no longer."""
        self._clearing.resolve_unseen(account_id, last_parked_id, now_ms)
        self._changed = True

    def moment(self, account_id: int) -> tuple[bool, int | None]:
        """What must not change while an account is read, or what was read is of the past."""
        return self._engine.knows(account_id), self._clearing.known_cents(account_id)

    def suspects(self, now_ms: int) -> list[int]:
        """Accounts that may have been read half way, to be read again."""
        return self._clearing.suspects(now_ms)

    def recheck(self, account: ExchangeAccount, now_ms: int) -> None:
        """Book what a suspect account, read again, is found to have had more, or less."""
        if self._clearing.recheck(account, now_ms):
            self._changed = True

    def drop_parked(self, account_id: int, last_parked_id: int) -> int:
        """How many parked events were given up, because the exchange does not have their account."""
        self._changed = True
        return self._clearing.drop(account_id, last_parked_id)

    def roll_if_due(self, now_ms: int) -> None:
        """Roll the session if EVS's clock says so."""
        rolled = self._engine.roll_if_due(now_ms, degraded=self._degraded)
        if rolled is not None:
            self._made(rolled)

    def correct(self, correction: Correction, theirs: Ledger, now_ms: int) -> list[Change]:
        """
        Apply a correction, whole; the next flush carries it with its record.

        Args:
            theirs: The tables that the correction brings the account to, with all its trades.

        Raises:
            OutOfBounds: If it would take the account out of bounds; nothing has changed then.
        """
        changes = self._engine.corrections.apply(correction, now_ms)
        self._clearing.correct(correction, theirs, now_ms)
        self._changed = True
        return changes

    # --- events that come one by one ---------------------------------------------------------------------------

    def complete_tick(self, tick: int, tick_time_ms: int, now_ms: int) -> int:
        """How many accounts are valued, and published; their flush is due before the next event is applied."""
        valued_count = 0
        for made in self._engine.complete_tick(tick, tick_time_ms, now_ms, degraded=self._degraded):
            self._made(made)
            valued_count += 0 if made.session_roll else len(made)
        self._changed = True
        failpoints.hit(failpoints.AFTER_TICK)
        self._tick_due = True
        return valued_count

    def note_single(self) -> None:
        """Take note of an event that was applied past ``take``."""
        self._capture.add_events(1)
        self._changed = True

    # --- flushing --------------------------------------------------------------------------------------------

    @property
    def has_unflushed(self) -> bool:
        """Whether anything changed that no flush holds yet, nor that of a tick is about to."""
        return self._changed and not self._tick_due and not self._is_within

    def flush_tick(self) -> None:
        """Capture the flush of the last completed tick, unless that has been done."""
        if self._tick_due:
            self.flush()

    def join_tick(self, rows_max: int) -> bool:
        """Whether so few rows wait to be stored: then the last completed tick is captured with what comes after it."""
        if self._capture.row_count <= rows_max:
            self._tick_due = False
        return not self._tick_due

    def flush(self) -> None:
        """Capture everything that changed since the last flush, in one step; not what is half a batch of the log."""
        if self._is_within or not self._changed:
            return
        flush, self._changed, self._tick_due = self._capture.flush(), False, False
        failpoints.hit(failpoints.AFTER_CAPTURE)
        self._flushes.offer(flush)

    # --- inside ----------------------------------------------------------------------------------------------

    def _take_run(self, run: Run, course: Course, start: int, first: int) -> None:
        if not course.batch.position:
            self.flush_tick()
        columns, apply = self._taking(run)
        refused = course.refused if isinstance(run, TradeRun | CashRun) else NOBODY
        for at in apart_rows(self._engine, self._clearing.retries, run, course, start, first):
            index, row = start + at, [column.item(at) for column in columns]
            refusal = course.batch.refusals.get(index) or refused.get(row[0])
            if refusal is not None:
                course.outcome.refuse(index, refusal)
                continue
            try:
                apply(course, index, *row)
            except RequestError as error:
                course.outcome.refuse(index, error)
            except OperatingError as error:
                course.outcome.error, course.outcome.end = error, index
                break
        self._changed, course.changed = self._changed or course.changed, False

    def _taking(self, run: Run) -> tuple[tuple[Int64Array, ...], Callable[..., None]]:
        """The columns of a run, and what takes one event of it."""
        match run:
            case TradeRun():
                who = (run.account_id, run.symbol_id, run.side)
                what = (run.quantity_bp, run.price_cents, run.fee_cents, run.settlement_id)
                return who + what, self._take_trade
            case PriceRun():
                return (run.symbol_id, run.price_cents), self._take_price
            case CashRun():
                return (run.account_id, run.amount_cents), self._take_cash
            case TickRun():
                return (run.tick, run.tick_time_ms), self._take_tick
            case ObservedRun():
                return (run.symbol_id, run.price_cents), self._take_observed

    def _take_trade(
        self,
        course: Course,
        _index: int,
        account_id: int,
        symbol_id: int,
        side: int,
        *amounts: int,
    ) -> None:
        settlement_id = amounts[-1]
        retried = settlement_id and not course.batch.first_sequence
        if retried and self._clearing.retries.is_repeat(account_id, side, settlement_id):
            course.outcome.duplicate_count += 1
            return
        self._clearing.take_trade(account_id, Trade(symbol_id, side, *amounts), course.now_ms)
        self._changed = True
        if retried:
            self._clearing.retries.remember(account_id, side, settlement_id)

    def _take_price(self, course: Course, _index: int, symbol_id: int, price_cents: int) -> None:
        self._engine.apply_price(symbol_id, price_cents, course.now_ms)
        self._changed = True

    def _take_observed(self, course: Course, _index: int, symbol_id: int, price_cents: int) -> None:
        # The trade is another's business, and may be in its books: out of bounds here, its price moves nothing here.
        with suppress(OutOfBounds):
            self._engine.observe_price(symbol_id, price_cents, course.now_ms)
            self._changed = True

    def _take_cash(self, course: Course, _index: int, account_id: int, amount_cents: int) -> None:
        self._clearing.take_flow(account_id, amount_cents, course.now_ms, course.accounts.get(account_id))
        self._changed = True

    def _take_tick(self, course: Course, index: int, tick: int, tick_time_ms: int) -> None:
        if not course.batch.position:
            self.flush_tick()
        course.outcome.accounts_valued += self.complete_tick(tick, tick_time_ms, course.now_ms)
        if not course.batch.position:
            # The flush of this tick holds this tick's event. A position in the log is between two batches: there, it is
            # captured when this one is applied.
            self._advance(course, index + 1)
            self.on_tick()

    def _advance(self, course: Course, end: int) -> None:
        if end > course.advanced:
            self._sequencer.advance(course.batch, course.advanced, end)
            self._capture.add_events(end - course.advanced)
            # A refused event of a sequenced sender moves its watermark; of any other it leaves nothing to store.
            self._changed = self._changed or course.batch.first_sequence + course.batch.position > 0
            course.advanced = end

    @property
    def degraded_since_ms(self) -> int | None:
        """Since when what is applied has not been getting stored (unix ms); None if all is well."""
        return self._flushes.degraded_since_ms

    @property
    def _degraded(self) -> bool:
        return self.degraded_since_ms is not None

    def _made(self, valuation: Valuation) -> None:
        self._changed = True
        self._capture.add_pass(valuation)
        self._valuations.publish(valuation)
