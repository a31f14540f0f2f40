"""
Closes of sessions: kept for all accounts over the newest sessions, and read for one account from its history.

Lives here: which rows make a close, and one account's past as returns need it. Not here: statements (``queries.sql``),
what is made of closes (``engine.growth``). Touches the network through ``Database``.

``evs.session_close`` is derived: a roll's rows, once committed, say what every account closed with, and the close
before says what had been there. So making it late, twice, or several sessions at once changes nothing; and only what is
committed is ever in it. ``evs.closed_session`` says when sessions rolled, and keeps that for good, a row a session:
once the zone or the roll time has been set otherwise, no calendar tells it any more.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from evs_server.cluster.shards import WHOLE
from evs_server.limits import EXACT_MAX
from evs_server.model import Close, CloseColumns, Past, StoredValuation
from evs_server.store import rows
from evs_server.store.database import BULK_SECONDS, Database, copy_out
from evs_server.store.queries import QUERIES

if TYPE_CHECKING:
    from evs_server.store.database import Connection

SESSIONS_KEPT: Final = 40
"""Closed sessions kept for the ranking: the longest range that needs them, a month, has 31."""
READ_SECONDS: Final = 10.0
"""Deadline of a reader's question."""

_CLOSES: Final = rows.Layout(dict.fromkeys(("account_id", "total_equity", "capital", "growth"), rows.Kind.INT8))
_SESSION_MS_MAX: Final = 10 * 86_400_000
"""No calendar has a session as long as this."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SessionStarts = Callable[[int, int], Sequence[int]]
"""When the sessions began that began from one moment to another, both included; unix milliseconds, ascending."""


class SessionCloses:
    """
    A ``ports.SessionCloses`` in PostgreSQL, of one core's accounts; whoever opened the database closes it.

    Args:
        database: A migrated one.
        shard: The core's slice; ``WHOLE`` is the exchange.
    """

    def __init__(self, database: Database, shard: int = WHOLE) -> None:
        self._database: Final = database
        self._shard: Final = shard

    async def catch_up(self, session_starts: SessionStarts) -> list[int]:
        """
        Close every session whose roll is committed and that is not closed yet; trim what is no longer kept.

        Returns:
            The closed sessions that are kept: their rolls, unix milliseconds, ascending; the last is when the session
            began that is the current one in the database. None before the first completed tick.

        Raises:
            StoreUnavailable: If the database is away; what was closed by then stays so.
        """
        async with self._database.transaction("look for sessions to close") as connection:
            current_ms: int = await connection.fetchval(QUERIES["durable_session"], self._shard)
            found = await connection.fetch(QUERIES["closed_sessions"], self._shard, SESSIONS_KEPT)
        kept = [row["closed_ms"] for row in found]
        if current_ms < 0 or (kept and kept[-1] >= current_ms):
            return kept
        first_ms = kept[-1] + 1 if kept else await self._first_valuation_ms(current_ms)
        since_ms = first_ms if kept else max(first_ms - _SESSION_MS_MAX, 0)
        # The current session has begun, whatever the calendar says: it may have been set otherwise since.
        due = [*session_starts(since_ms, current_ms - 1), current_ms]
        for closed_ms in due[max(bisect_right(due, first_ms) - 1, 0) :]:
            # Before the session of the first valuation there was nothing to close, but ranges begin with it.
            if await self._close(closed_ms, kept, even_of_nobody=not kept or closed_ms == current_ms):
                kept = [*kept[1 - SESSIONS_KEPT :], closed_ms]
        return kept

    async def read(self, closed_ms: int) -> CloseColumns:
        """
        All accounts at the close of a session that is kept.

        Raises:
            StoreUnavailable: If the database is away.
        """
        return await _read_closes(self._database, self._shard, closed_ms)

    async def _first_valuation_ms(self, current_ms: int) -> int:
        """When the oldest valuation was made, or when the current session began, whichever is earlier."""
        async with self._database.transaction("find the first valuation", seconds=BULK_SECONDS) as connection:
            first_ms: int | None = await connection.fetchval(QUERIES["first_valuation"], self._shard)
        return current_ms if first_ms is None else min(first_ms, current_ms)

    async def _close(self, closed_ms: int, kept: Sequence[int], *, even_of_nobody: bool) -> bool:
        """Whether the session is closed; one that nobody was there to roll can be passed over."""
        moment, before = _moment(closed_ms), [_moment(each) for each in kept]
        arguments = (moment, before[-1] if before else None, before, self._shard)
        async with self._database.transaction("close a session", seconds=BULK_SECONDS) as connection:
            status = await connection.execute(QUERIES["close_session"], *arguments, timeout=BULK_SECONDS)
            account_count = int(status.rpartition(" ")[2])
            if not account_count and not even_of_nobody:
                return False
            await connection.execute(QUERIES["note_closed_session"], self._shard, moment, account_count)
            if len(kept) >= SESSIONS_KEPT:
                await connection.execute(QUERIES["trim_session_closes"], self._shard, before[1 - SESSIONS_KEPT])
        return True


class ClosesOfAll:
    """
    A ``ports.SessionCloses`` over all slices of the exchange, for a ranking of everybody; closes nothing by itself.

    A session is among the closed ones once the slice that is furthest behind is past it: no ranking is of a part.

    Args:
        database: A migrated one; whoever opened it closes it.
    """

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def catch_up(self, _session_starts: SessionStarts) -> list[int]:
        """
        The sessions that every slice has closed and that are kept: their rolls, unix milliseconds, ascending.

        Raises:
            StoreUnavailable: If the database is away.
        """
        async with self._database.transaction("look for sessions that all have closed") as connection:
            found = await connection.fetch(QUERIES["sessions_closed_by_all"], SESSIONS_KEPT)
        return [row["closed_ms"] for row in found]

    async def read(self, closed_ms: int) -> CloseColumns:
        """
        All accounts of all slices at the close of a session that is kept.

        Raises:
            StoreUnavailable: If the database is away.
        """
        return await _read_closes(self._database, WHOLE, closed_ms)


class PastReader:
    """
    A ``ports.PastReader`` in PostgreSQL; whoever opened the database closes it.

    Args:
        database: A migrated one.
    """

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def read_past(
        self, account_id: int, start_ms: int, until_ms: int, session_starts: SessionStarts
    ) -> Past | None:
        """
        An account's stored past from the newest valuation at or before a moment, or else the first after it.

        Args:
            start_ms: That moment, unix milliseconds.
            until_ms: The last moment that counts.
            session_starts: The exchange's calendar.

        Returns:
            None if nothing is stored of that time.

        Raises:
            StoreUnavailable: If the database is away.
        """
        what = f"read the past of account {account_id}"
        async with self._database.transaction(what, snapshot=True, seconds=READ_SECONDS) as connection:
            start = await _newest(connection, account_id, min(start_ms, until_ms))
            begins = start is None
            if start is None:
                start = await _valuation(
                    connection, "oldest_valuation", account_id, _moment(start_ms), _moment(until_ms)
                )
            if start is None:
                return None
            starts = [_moment(each) for each in session_starts(start.time_ms, until_ms)]
            span = (_moment(start.time_ms), _moment(until_ms))
            found = await connection.fetch(QUERIES["closes_of_account"], account_id, starts, *span)
            closes = [StoredValuation(*row) for row in found]
            starts_with_close = bool(closes) and closes[0].time_ms == start.time_ms
            if starts_with_close:
                start = closes.pop(0)
            first_base_cents = start.close.profit_cents
            if begins and closes:
                # Any row of its first session tells the base, and one that is stored before the close is of no other.
                before = await _newest(connection, account_id, closes[0].time_ms, closes[0].version)
                first_base_cents = before.base_cents if before else closes[0].base_cents
            since = _moment((closes[-1] if closes else start).time_ms)
            minutes = await connection.fetch(QUERIES["minutes_of_account"], account_id, since, _moment(until_ms))
            last = await _newest(connection, account_id, until_ms)
            assert last is not None, "there is a first valuation in that time"
        return Past(
            start=start,
            begins=begins,
            starts_with_close=starts_with_close,
            closes=tuple(each.close for each in closes),
            first_base_cents=first_base_cents,
            minutes=tuple(Close(*row) for row in minutes),
            last=last,
        )


class DisplayNames:
    """
    A ``ports.DisplayNames`` in PostgreSQL; whoever opened the database closes it.

    Args:
        database: A migrated one.
    """

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def read_names(self, account_ids: Collection[int]) -> Mapping[int, str]:
        """
        What the exchange calls its accounts; empty where it says nothing.

        Raises:
            StoreUnavailable: If the database is away.
        """
        async with self._database.transaction("read names", seconds=READ_SECONDS) as connection:
            found = await connection.fetch(QUERIES["display_names"], list(account_ids))
        return {row["account_id"]: row["display_name"] for row in found}


async def _read_closes(database: Database, shard: int, closed_ms: int) -> CloseColumns:
    async with database.transaction("read the closes of a session", snapshot=True) as connection:
        found = await copy_out(connection, _CLOSES, QUERIES["session_closes"], shard, _moment(closed_ms))
    return CloseColumns(*found)


async def _newest(
    connection: "Connection", account_id: int, until_ms: int, before_version: int = EXACT_MAX + 1
) -> StoredValuation | None:
    return await _valuation(connection, "newest_valuation", account_id, _moment(until_ms), before_version)


async def _valuation(connection: "Connection", query: str, *arguments: object) -> StoredValuation | None:
    row = await connection.fetchrow(QUERIES[query], *arguments)
    return None if row is None else StoredValuation(*row)


def _moment(time_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=time_ms)
