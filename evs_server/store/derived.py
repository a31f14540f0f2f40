"""
The two ``realized_pnl`` columns that we add to the exchange's tables, refreshed a moment after what changes them.

Lives here: which accounts are due, and in which portions. Not here: the statements (``queries.sql``). Touches the
network through ``Database``.

AccountService must never wait for us: a portion is small, its transaction is its one statement, rows are locked in the
order of their ids, and a row that someone else holds is left for later. The values come from our own tables, so being
late, or doing it twice, changes nothing; and when more accounts are due than can be remembered, all are gone through.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import asyncpg
import numpy as np

from evs_server.errors import StoreUnavailable
from evs_server.model import Flush, Int64Array
from evs_server.store.database import Database
from evs_server.store.queries import QUERIES

logger = logging.getLogger(__name__)

PORTION_ACCOUNTS: Final = 200
"""Accounts refreshed by one statement. Low: rows are locked for shorter. High: fewer statements."""
DUE_ACCOUNTS_MAX: Final = 1_000_000
"""Accounts remembered, each as often as it changed; beyond it all accounts are gone through."""
REST_SECONDS: Final = 0.5
"""Between two refreshes: accounts that change with every tick are refreshed once for many. Two transactions after each
flush would cost the event loop, and the database, more than the flush does."""
REST_FACTOR: Final = 4.0
"""Where so many times what a refresh took is longer, it is that long, so that refreshing is a fifth of the time ..."""
REST_SECONDS_MAX: Final = 5.0
"""... up to this."""
RETRY_SECONDS: Final = 1.0
"""How long to leave rows alone that someone else holds, and a database that is away."""

_TABLES: Final = {"accounts": "refresh_accounts", "positions": "refresh_positions"}


@dataclass(frozen=True, slots=True)
class DerivedStatistics:
    """
    How far the columns are behind.

    Attributes:
        due_count: Accounts known to be due, each as often as it changed.
        sweeping: Whether all accounts are being gone through.
        refreshed_count: Accounts refreshed by this process, repeats included.
        skipped_count: Times an account was put off because someone held one of its rows.
    """

    due_count: int
    sweeping: bool
    refreshed_count: int
    skipped_count: int


class RealizedColumns:
    """
    Keeps ``accounts.realized_pnl`` and ``positions.realized_pnl`` up to date; begins by going through all of them.

    Args:
        database: Where our tables and the exchange's are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables = dict(_TABLES)
        self._due: list[Int64Array] = []
        self._due_count = 0
        self._sweep_due = True
        self._arrival = asyncio.Event()
        self._arrival.set()
        self._refreshed_count = 0
        self._skipped_count = 0

    def offer(self, flush: Flush) -> None:
        """Note the accounts that a committed flush changed; returns at once."""
        if not self._tables:
            return
        self._note(flush.state.accounts.account_id, flush.state.positions.account_id)
        self._arrival.set()

    async def run(self) -> None:
        """Refresh what is due until cancelled, or for good if neither table has the column; a task of ``app``."""
        while self._tables:
            await self._arrival.wait()
            self._arrival.clear()
            began_at = asyncio.get_running_loop().time()
            try:
                put_off = await self._refresh_due()
            except StoreUnavailable as error:
                logger.warning("%s; trying again in %s s", error.message, RETRY_SECONDS)
                put_off = True
            took_seconds = asyncio.get_running_loop().time() - began_at
            await asyncio.sleep(RETRY_SECONDS if put_off else rest_seconds(took_seconds))
            if put_off:
                self._arrival.set()

    def statistics(self) -> DerivedStatistics:
        """How far the columns are behind, now."""
        return DerivedStatistics(self._due_count, self._sweep_due, self._refreshed_count, self._skipped_count)

    def _note(self, *account_ids: Int64Array) -> None:
        self._due += account_ids
        self._due_count += sum(map(len, account_ids))
        if self._due_count > DUE_ACCOUNTS_MAX:
            self._due, self._due_count = [], 0
            self._sweep_due = True

    async def _refresh_due(self) -> bool:
        """Whether some accounts had to be put off."""
        skipped: set[int] = set()
        noted, self._due, self._due_count = self._due, [], 0
        due = np.empty(0, np.int64)
        try:
            if noted:
                # In a thread: to sort hundreds of thousands would hold up the event loop.
                due = await asyncio.to_thread(lambda: np.unique(np.concatenate(noted)))
                noted = []
            while len(due) and self._tables:
                skipped |= await self._refresh(due[:PORTION_ACCOUNTS].tolist())
                due = due[PORTION_ACCOUNTS:]
        finally:
            self._note(*noted, due, _ids(skipped))
        if self._sweep_due:
            skipped |= await self._sweep()
        return bool(skipped)

    async def _sweep(self) -> set[int]:
        """Refresh all accounts; those that were put off."""
        skipped: set[int] = set()
        after: int | None = 0
        self._sweep_due = False  # a flush may ask for another round while this one is under way
        try:
            while after is not None and self._tables:
                async with self._database.connection("list accounts") as connection:
                    rows = await connection.fetch(QUERIES["next_accounts"], after, PORTION_ACCOUNTS)
                portion = [row["account_id"] for row in rows]
                skipped |= await self._refresh(portion) if portion else set()
                after = portion[-1] if portion else None
        except StoreUnavailable:
            self._sweep_due = True
            raise
        self._note(_ids(skipped))
        return skipped

    async def _refresh(self, account_ids: list[int]) -> set[int]:
        """Those of the accounts that were put off."""
        skipped: set[int] = set()
        for table, query in list(self._tables.items()):
            try:
                async with self._database.connection(f"refresh {table}.realized_pnl") as connection:
                    skipped |= {row["account_id"] for row in await connection.fetch(QUERIES[query], account_ids)}
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, asyncpg.UndefinedColumnError | asyncpg.InsufficientPrivilegeError):
                    raise
                del self._tables[table]
                logger.warning(
                    "%s.realized_pnl is not kept: %s; to have it kept, let EVS's role update it, and restart EVS",
                    table,
                    error.__cause__,
                )
        self._refreshed_count += len(account_ids) - len(skipped)
        self._skipped_count += len(skipped)
        return skipped


def rest_seconds(took_seconds: float) -> float:
    """How long to leave the columns as they are after a refresh that took so long."""
    return max(REST_SECONDS, min(REST_FACTOR * took_seconds, REST_SECONDS_MAX))


def _ids(account_ids: set[int]) -> Int64Array:
    return np.fromiter(account_ids, np.int64, len(account_ids))
