"""
Old months of ``equity_timeseries`` thinned to minutes: written anew with fewer rows, then put in the place of the old.

Lives here: which months, in which steps, and when. Not here: what stays of a month and how it takes its place
(``evs.begin_thinning``, ``evs.thin`` and ``evs.finish_thinning`` in the migrations). Touches the network through
``Database``.

Of each account and minute the first, highest, lowest and last row stay, so that every bar of a minute or longer is
what it was; and every row at a session roll, from which returns are counted. A deleted row would leave its room to
nobody, as no rows come into old months: so what stays is copied, in short transactions and by account, and changes
places with the month in one more. Wherever that stops, the next start goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from evs_server.clock import Clock
from evs_server.errors import StoreUnavailable
from evs_server.store.database import Database
from evs_server.store.queries import QUERIES

logger = logging.getLogger(__name__)

STEP_ROWS: Final = 50_000
"""Rows gone through in one transaction: a fraction of a second."""
PAUSE_SECONDS: Final = 0.5
"""Between two transactions: the database is for others, too."""
PERIOD_SECONDS: Final = 6 * 3_600.0
"""How often to look for months that have become old enough."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

SessionStarts = Callable[[int, int], Sequence[int]]
"""When the sessions began that began from one moment to another, both included; unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Thinned:
    """
    A month that has been thinned.

    Attributes:
        month: Its first day.
        read_count: Rows it had.
        kept_count: Those of them that stay.
    """

    month: date
    read_count: int
    kept_count: int


async def thin_next_month(
    database: Database,
    now_ms: int,
    thin_after_days: int,
    session_starts: SessionStarts,
    *,
    step_rows: int = STEP_ROWS,
    pause_seconds: float = PAUSE_SECONDS,
) -> Thinned | None:
    """
    The oldest month that is due, thinned; None if none is.

    Args:
        database: A migrated one.
        now_ms: The current time, unix milliseconds.
        thin_after_days: How long after its end a month is left as it is.
        session_starts: When sessions began: those rows stay.
        step_rows: Rows to go through in one transaction.
        pause_seconds: How long to wait between two.

    Raises:
        StoreUnavailable: If the database is away, our role does not own the table, or others use it for longer than the
            lock timeout; what was done by then stays so.
    """
    before = datetime.fromtimestamp(now_ms // 1_000, UTC).date() - timedelta(days=thin_after_days)
    async with database.transaction(f"look for a month before {before} to thin") as connection:
        month: date | None = await connection.fetchval(QUERIES["begin_thinning"], before)
    if month is None:
        return None
    rolls = [_EPOCH + timedelta(milliseconds=roll_ms) for roll_ms in session_starts(*_month_ms(month))]
    while True:
        async with database.transaction(f"thin {month:%Y-%m}") as connection:
            count: int = await connection.fetchval(QUERIES["thin"], month, rolls, step_rows)
        if count < step_rows:
            break
        await asyncio.sleep(pause_seconds)
    async with database.transaction(f"finish thinning {month:%Y-%m}") as connection:
        done = await connection.fetchrow(QUERIES["finish_thinning"], month)
    assert done is not None, "a function gives one row"
    return Thinned(month, done["read_count"], done["kept_count"])


async def keep_thin(database: Database, clock: Clock, thin_after_days: int, session_starts: SessionStarts) -> None:
    """Thin months as they become due, until cancelled; a task of ``app``. A failure is logged and tried again."""
    while thin_after_days:
        try:
            while done := await thin_next_month(database, clock.now_ms(), thin_after_days, session_starts):
                logger.info("thinned %s: %d of %d rows stay", f"{done.month:%Y-%m}", done.kept_count, done.read_count)
        except StoreUnavailable as error:
            logger.warning("%s; trying again in %d h", error.message, PERIOD_SECONDS // 3_600)
        await asyncio.sleep(PERIOD_SECONDS)


def _month_ms(month: date) -> tuple[int, int]:
    """The first and the last millisecond of a month (UTC)."""
    next_month = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    day = date(1970, 1, 1)
    return (month - day).days * 86_400_000, (next_month - day).days * 86_400_000 - 1
