"""
The seams between rooms: who hands what to whom. Pure; protocols only.

Data flows one way. A sink is handed values and can call nothing back; siblings meet only here, wired by ``app``.
"""

from collections.abc import Collection, Mapping
from typing import Protocol

from evs_server.model import ExchangeAccount, ExchangeImport, Flush, Recovered, Valuation


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


class AccountLookup(Protocol):
    """Makes accounts known to the engine that the exchange created later."""

    async def ensure(self, account_ids: Collection[int]) -> frozenset[int]:
        """
        Load what is not known yet.

        Returns:
            The ids that the exchange does not have.

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
