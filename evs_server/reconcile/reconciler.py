"""
Passes over all quiet accounts, a little at a time: look, look again, explain, and correct if that was asked for.

Lives here: the order of reads and waits, and how much may be corrected. Not here: what differs (``compare``), whether
it stood (``watch``), what accounts for it (``explain``), what a correction does (``engine.correction``). Touches I/O.

Nothing is awaited between the last look at our side and its correction, so no event can come in between.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Self

from evs_server.clock import Clock
from evs_server.config import Settings
from evs_server.errors import OutOfBounds, StoreUnavailable
from evs_server.limits import CORRECTIONS_MAX
from evs_server.model import Change, Correction, Ledger
from evs_server.ports import Books, ExchangeLedger
from evs_server.reconcile.compare import Difference
from evs_server.reconcile.explain import explain, size_cents
from evs_server.reconcile.watch import Look, Standing, Watch

log = logging.getLogger(__name__)

CHUNK_ACCOUNTS: Final = 200
"""Accounts read in one transaction. Low: short stalls, for us and for the database. High: shorter passes."""

PAUSE_SECONDS: Final = 0.02
"""Between two chunks, so that a pass over all accounts takes a fraction of what the database can do."""

EXPLAINED_ACCOUNTS: Final = 1_000
"""Accounts whose trades one pass reads, to find out why they differ."""

LOGGED_ACCOUNTS: Final = 20
"""Accounts that one pass names in the log; `evs reconcile` names them all."""

_CLOCK_SLACK_SECONDS: Final = 0.001
"""A sleep may end a hair early, and a look that comes too early decides nothing."""


@dataclass(frozen=True, slots=True)
class Rules:
    """
    How often, how patiently, and how far.

    Attributes:
        every_seconds: Between two passes in the background; 0 is never.
        grace_seconds: How long a difference must stand before it counts.
        repair: Whether the background corrects, or only reports.
        cents_max: How much money one pass may correct.
    """

    every_seconds: float
    grace_seconds: float
    repair: bool
    cents_max: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As an operator has set them."""
        return cls(
            every_seconds=settings.reconcile_seconds,
            grace_seconds=settings.reconcile_grace_seconds,
            repair=settings.reconcile_repair,
            cents_max=settings.reconcile_cents_max,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """An account that differs: what, since when (unix ms), of which cause, and what was changed if it was corrected."""

    account_id: int
    differences: tuple[Difference, ...]
    since_ms: int
    finding: str
    correction: Correction | None = None
    changes: Sequence[Change] = ()


@dataclass(slots=True)
class Report:
    """
    What a pass found.

    Attributes:
        busy_count: Accounts that were not quiet, and hence not compared.
        found: The accounts that differ, the longest first.
        correctable_cents: By account that a correction would settle: how much money that is about.
        withheld: Why nothing was corrected although it was asked for; empty if that is not so.
    """

    compared_count: int = 0
    busy_count: int = 0
    found: list[Found] = field(default_factory=list)
    correctable_cents: dict[int, int] = field(default_factory=dict)
    withheld: str = ""


@dataclass(slots=True)
class ReconcileStatistics:
    """
    What reconciliation has done since the start, and how its last pass ended.

    Attributes:
        pass_count: Passes that came to their end.
        failed_pass_count: Passes that did not, because the database was away.
        compared_count: Accounts compared in the last pass.
        busy_count: Accounts it passed over.
        differing_count: Accounts whose difference counted at its end, corrected ones left out.
        overflow_count: Accounts that differed and were not remembered.
        corrected_count: Accounts corrected.
        withheld_count: Passes that would have corrected too much, and corrected nothing.
        last_pass_ms: When the last pass ended, unix ms; 0 if none did.
    """

    pass_count: int = 0
    failed_pass_count: int = 0
    compared_count: int = 0
    busy_count: int = 0
    differing_count: int = 0
    overflow_count: int = 0
    corrected_count: int = 0
    withheld_count: int = 0
    last_pass_ms: int = 0


class Reconciler:
    """
    Holds our books against the exchange's tables.

    Args:
        books: Our side.
        ledgers: Theirs.
    """

    def __init__(self, books: Books, ledgers: ExchangeLedger, clock: Clock, rules: Rules) -> None:
        self._books = books
        self._ledgers = ledgers
        self._clock = clock
        self._rules = rules
        self._watch = Watch(rules.grace_seconds)
        self._turn = asyncio.Lock()
        self._statistics = ReconcileStatistics()

    @property
    def grace_seconds(self) -> float:
        """How long a difference must stand before it counts."""
        return self._rules.grace_seconds

    def statistics(self) -> ReconcileStatistics:
        """For metrics; the numbers of now."""
        self._statistics.overflow_count = self._watch.overflow_count
        return self._statistics

    async def run(self) -> None:
        """Pass after pass, for as long as the process lives."""
        if not self._rules.every_seconds:
            return
        await asyncio.sleep(min(self._rules.every_seconds, self._rules.grace_seconds))
        while True:
            try:
                await self.reconcile(repair=self._rules.repair, requested=False)
            except StoreUnavailable as error:
                self._statistics.failed_pass_count += 1
                log.warning("reconciliation did not come to its end: %s", error.message)
            await asyncio.sleep(self._rules.every_seconds)

    async def reconcile(self, *, repair: bool, requested: bool, only: Collection[int] | None = None) -> Report:
        """
        One pass over all accounts; takes the grace period longer if differences turn up that are new.

        Args:
            repair: Whether to correct what can be explained.
            requested: Whether a person asked for it.
            only: Accounts to look at, in the place of all.

        Raises:
            StoreUnavailable: If the database is away.
        """
        async with self._turn:
            report = Report()
            account_ids = self._books.account_ids() if only is None else list(only)
            if only is None:
                self._watch.forget_others(account_ids)
            await self._look_at(account_ids, report)
            await self._look_again()
            stood = self._watch.stood()
            if only is not None:
                stood = {account_id: standing for account_id, standing in stood.items() if account_id in only}
            await self._explain_and_correct(report, stood, repair=repair, requested=requested)
            self._conclude(report)
            return report

    async def _look_at(self, account_ids: Sequence[int], report: Report) -> None:
        for start in range(0, len(account_ids), CHUNK_ACCOUNTS):
            chunk = account_ids[start : start + CHUNK_ACCOUNTS]
            quiet = [account_id for account_id in chunk if self._books.is_quiet(account_id)]
            seen_count = await self._see(quiet) if quiet else 0
            report.compared_count += seen_count
            report.busy_count += len(chunk) - seen_count
            for account_id in set(chunk) - set(quiet):
                self._watch.forget(account_id)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _see(self, account_ids: Collection[int]) -> int:
        """How many of some quiet accounts were still quiet once the tables had been read, and so were compared."""
        theirs = await self._ledgers.read_ledgers(account_ids)
        watermarks = self._books.watermarks()
        at_seconds, at_ms = self._clock.monotonic(), self._clock.now_ms()
        seen_count = 0
        for account_id in account_ids:
            ours = self._books.holdings(account_id)
            if ours is None or not self._books.is_quiet(account_id):
                self._watch.forget(account_id)
                continue
            self._watch.see(account_id, Look(ours, theirs.get(account_id), watermarks, at_seconds, at_ms))
            seen_count += 1
        return seen_count

    async def _look_again(self) -> None:
        """A second look at what differs for the first time, once that can decide."""
        undecided = self._watch.undecided()
        if not undecided:
            return
        await asyncio.sleep(max(undecided.values()) - self._clock.monotonic() + _CLOCK_SLACK_SECONDS)
        await self._look_at(list(undecided), Report())

    async def _explain_and_correct(
        self, report: Report, stood: Mapping[int, Standing], *, repair: bool, requested: bool
    ) -> None:
        plan: dict[int, tuple[Correction, Ledger]] = {}
        for account_id, standing in islice(stood.items(), EXPLAINED_ACCOUNTS):
            # One more than may be corrected, to see that it is too much.
            if len(plan) <= CORRECTIONS_MAX:
                explained = await self._explained(account_id, standing, requested)
                if explained is not None:
                    plan[account_id] = explained
        report.correctable_cents = {each: size_cents(correction) for each, (correction, _) in plan.items()}
        if repair:
            report.withheld = self._too_much(report.correctable_cents.values())
        corrects = repair and not report.withheld
        for account_id, standing in stood.items():
            done = self._corrected(*plan[account_id], standing) if corrects and account_id in plan else None
            correction = plan[account_id][0] if done is not None else None
            report.found.append(
                Found(account_id, standing.differences, standing.first.at_ms, standing.finding, correction, done or ())
            )

    async def _explained(
        self, account_id: int, standing: Standing, requested: bool
    ) -> tuple[Correction, Ledger] | None:
        """What would settle an account's difference, and the tables it was read from."""
        if standing.first.theirs is None:
            standing.finding = "the exchange's tables do not have the account"
            return None
        try:
            theirs = (await self._ledgers.read_ledgers([account_id], with_trades=True)).get(account_id)
        except StoreUnavailable as error:
            standing.finding = f"its trades cannot be read: {error.message}"
            return None
        if theirs is None or not self._stands(standing, theirs):
            standing.finding = "it has changed since"
            return None
        applied = self._books.applied_trades(account_id, theirs.trades)
        # A long history takes a while to go through: not on the event loop.
        explanation = await asyncio.to_thread(explain, standing.first.ours, theirs, applied, requested=requested)
        standing.finding = explanation.finding
        return None if explanation.correction is None else (explanation.correction, theirs)

    def _stands(self, standing: Standing, theirs: Ledger) -> bool:
        first = standing.first
        assert first.theirs is not None
        account_id = first.ours.account_id
        return (
            self._books.holdings(account_id) == first.ours
            and self._books.is_quiet(account_id)
            and (theirs.cash_cents, theirs.quantity_bp) == (first.theirs.cash_cents, first.theirs.quantity_bp)
        )

    def _too_much(self, cents: Collection[int]) -> str:
        why = too_much(len(cents), sum(cents), self._rules.cents_max)
        if why:
            self._statistics.withheld_count += 1
            log.error("reconciliation: %s", why)
        return why

    def _corrected(self, correction: Correction, theirs: Ledger, standing: Standing) -> Sequence[Change] | None:
        """What a correction changed, or None if it could not be made."""
        if not self._stands(standing, theirs):
            standing.finding = "it has changed since"
            return None
        try:
            changes = self._books.correct(correction, theirs)
        except OutOfBounds as error:
            standing.finding = f"it cannot be corrected: {error.message}"
            return None
        self._statistics.corrected_count += 1
        self._watch.forget(correction.account_id)
        log.warning("corrected account %d: %s", correction.account_id, standing.finding)
        return changes

    def _conclude(self, report: Report) -> None:
        left = [found for found in report.found if found.correction is None]
        statistics = self._statistics
        statistics.pass_count += 1
        statistics.compared_count, statistics.busy_count = report.compared_count, report.busy_count
        statistics.differing_count = len(left)
        statistics.last_pass_ms = self._clock.now_ms()
        for found in left[:LOGGED_ACCOUNTS]:
            what = "; ".join(str(difference) for difference in found.differences)
            log.warning("account %d differs from the exchange's tables: %s (%s)", found.account_id, what, found.finding)
        if len(left) > LOGGED_ACCOUNTS:
            log.warning("%d accounts differ from the exchange's tables", len(left))


def too_much(correction_count: int, cents: int, cents_max: int) -> str:
    """Why nothing may be corrected in one pass that would correct so many accounts and so much money, or nothing."""
    if correction_count <= CORRECTIONS_MAX and cents <= cents_max:
        return ""
    return (
        f"{correction_count} accounts or more, and {cents} cents, would be corrected; one pass may correct "
        f"{CORRECTIONS_MAX} accounts and {cents_max} cents, so nothing was corrected"
    )
