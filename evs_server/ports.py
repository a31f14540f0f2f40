"""
The seams between rooms: who hands what to whom. Pure; protocols only.

Data flows one way. A sink is handed values and can call nothing back; siblings meet only here, wired by ``app``.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from evs_server.errors import RequestError
from evs_server.model import (
    Change,
    CloseColumns,
    Correction,
    EngineMeta,
    ExchangeAccount,
    ExchangeImport,
    Flush,
    Holdings,
    Int64Array,
    Ledger,
    Past,
    Recovered,
    SettledTrade,
    Snapshot,
    SnapshotColumns,
    StretchColumns,
    Stride,
    Valuation,
)


class ValuationSink(Protocol):
    """Takes each valuation pass as it is made: the fan-out, or a log."""

    def publish(self, valuation: Valuation) -> None:
        """Take one pass; must return at once and may keep the columns, which nobody changes any more."""
        ...


class FlushSink(Protocol):
    """Takes each flush as it is captured: the writer."""

    @property
    def degraded_since_ms(self) -> int | None:
        """Since when flushes have not been reaching the database (unix ms), or None if all is well."""
        ...

    def offer(self, flush: Flush) -> None:
        """Take one flush; must return at once and never refuses."""
        ...


class NewestValues(Protocol):
    """The newest snapshot of every account that is known: the engine, or a copy of what engines elsewhere say."""

    @property
    def meta(self) -> EngineMeta:
        """The newest version, and the session."""
        ...

    def knows(self, account_id: int) -> bool:
        """Whether an account is known."""
        ...

    def snapshot(self, account_id: int) -> Snapshot | None:
        """An account's newest snapshot, or None."""
        ...

    def account_ids(self) -> Int64Array:
        """All accounts, in an order that only grows at its end."""
        ...

    def latest_snapshots(self) -> SnapshotColumns:
        """Every account's newest snapshot, in that order."""
        ...


class AccountLookup(Protocol):
    """Makes accounts known to the engine that the exchange created later."""

    async def ensure(self, account_ids: Collection[int]) -> Mapping[int, RequestError]:
        """
        Load what is not known yet.

        Returns:
            The accounts that cannot be had, each with the reason: the exchange does not have it, or its numbers there
            are beyond the bounds.

        Raises:
            StoreUnavailable: If Postgres, which knows, is away.
        """
        ...


class ExchangeTables(Protocol):
    """Reads the tables that AccountService writes."""

    async def read_accounts(self, account_ids: Collection[int]) -> Mapping[int, ExchangeAccount]:
        """Those of the accounts that exist, with all their trades, read in one transaction."""
        ...


class Store(ExchangeTables, Protocol):
    """Where state survives: Postgres, or its in-memory stand-in; one contract suite runs on both."""

    async def recover(self) -> Recovered:
        """Take a start number of our own and read all state, in one transaction."""
        ...

    async def read_exchange(self) -> ExchangeImport:
        """All of the exchange's tables, read in one transaction, for the first import."""
        ...

    async def write(self, flush: Flush) -> None:
        """
        Commit one flush, whole, once: a number that is already committed changes nothing.

        Raises:
            Fenced: If a newer start has taken over.
            StoreUnavailable: If it is not known to be committed; write it again.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class ExchangeLedger(Protocol):
    """Reads cash and quantities as AccountService has written them."""

    async def read_ledgers(self, account_ids: Collection[int], *, with_trades: bool = False) -> Mapping[int, Ledger]:
        """
        Those of the accounts that exist, read in one transaction that sees one moment.

        Raises:
            StoreUnavailable: If the database is away.
        """
        ...


class Books(Protocol):
    """Our side of reconciliation: live numbers, and the one door through which they are corrected."""

    def account_ids(self) -> Sequence[int]:
        """All accounts in memory."""
        ...

    def holdings(self, account_id: int) -> Holdings | None:
        """An account's live numbers, or None if it is not in memory."""
        ...

    def is_quiet(self, account_id: int) -> bool:
        """Whether nothing of a known account is under way: all that was applied is valued, and nothing is parked."""
        ...

    def watermarks(self) -> Mapping[str, tuple[int, int, int]]:
        """Epoch, applied and durable sequence of each source."""
        ...

    def applied_trades(self, account_id: int, trades: Sequence[SettledTrade]) -> Collection[int]:
        """Ids of those of an account's trades that are known to be in its books; others may be, too."""
        ...

    def correct(self, correction: Correction, theirs: Ledger) -> Sequence[Change]:
        """
        Apply a correction, whole; it is flushed soon, in one transaction with its record.

        Args:
            theirs: The exchange's side of the account, with all its trades, which the correction brings ours to.

        Raises:
            OutOfBounds: If it would take the account out of bounds; nothing has changed then.
        """
        ...


class SessionCloses(Protocol):
    """Every account at the closes of the newest sessions: what ranges of the ranking start from."""

    async def catch_up(self, session_starts: Callable[[int, int], Sequence[int]]) -> Sequence[int]:
        """
        Close every session whose roll is committed and that is not closed yet.

        Args:
            session_starts: When the sessions began that began from one moment to another, both included.

        Returns:
            The rolls of the closed sessions that are kept, unix milliseconds, ascending; the last began the current
            session. None before the first completed tick.

        Raises:
            StoreUnavailable: If the database is away; what was closed by then stays so.
        """
        ...

    async def read(self, closed_ms: int) -> CloseColumns:
        """
        All accounts at the close of a session that is kept.

        Raises:
            StoreUnavailable: If the database is away.
        """
        ...


class PastReader(Protocol):
    """Reads what is stored of one account, as far as returns need it."""

    async def read_past(
        self, account_id: int, start_ms: int, until_ms: int, session_starts: Callable[[int, int], Sequence[int]]
    ) -> Past | None:
        """
        From the newest valuation at or before ``start_ms``, or else the first after it, up to ``until_ms``, included.

        Returns:
            None if nothing is stored of that time.

        Raises:
            StoreUnavailable: If the database is away.
        """
        ...


class HistoryReader(Protocol):
    """Reads the stored valuations of one account, in the order of time and version."""

    async def read_stretches(
        self, account_id: int, after: tuple[int, int], until_ms: int, rows_max: int, stride: Stride | None
    ) -> StretchColumns:
        """
        The next rows, summed up.

        Args:
            after: Time (unix milliseconds) and version that they come after.
            until_ms: They are older than this.
            rows_max: How many rows to sum up at most; if the answer counts fewer, there are no more.
            stride: Rows within the same step of it become one stretch; None: each is a stretch of its own.

        Raises:
            Overloaded: If too many readers wait.
            StoreUnavailable: If the database is away.
        """
        ...

    async def read_newest(self, account_id: int, until_ms: int) -> StretchColumns:
        """
        The newest row that is older than ``until_ms``; none if there is none.

        Raises:
            Overloaded: If too many readers wait.
            StoreUnavailable: If the database is away.
        """
        ...


class DisplayNames(Protocol):
    """Reads what the exchange calls its accounts."""

    async def read_names(self, account_ids: Collection[int]) -> Mapping[int, str]:
        """
        Names by account; empty, or left out, where the exchange says nothing.

        Raises:
            StoreUnavailable: If the database is away.
        """
        ...
