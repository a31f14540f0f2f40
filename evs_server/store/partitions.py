"""
Months of ``equity_timeseries``: made ahead of the rows that go into them, dropped when they are older than is kept.

Lives here: which months, and when. Not here: how one is made or dropped (``evs.make_partition`` and
``evs.drop_partitions`` in the migrations). Touches the network through ``Database``.

A month without a partition loses nothing: its rows go to the default partition. Once they are there the month stays
there, since making its partition would have to move them.
"""

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta
from typing import Final

from evs_server.clock import Clock
from evs_server.errors import StoreUnavailable
from evs_server.store.database import Database
from evs_server.store.queries import QUERIES

logger = logging.getLogger(__name__)

MONTHS_AHEAD: Final = 2
"""Months after the current one that have a partition: a process that cannot make one has this long to be noticed."""
PERIOD_SECONDS: Final = 6 * 3_600.0
"""How often to look."""


async def make_partitions(database: Database, now_ms: int) -> list[str]:
    """
    The months, as ``YYYY-MM``, that got a partition: of the current one and those ahead, each that had none.

    Args:
        database: A migrated one.
        now_ms: The current time, unix milliseconds.

    Raises:
        StoreUnavailable: If the database is away, or others use the table for longer than the lock timeout.
    """
    made = []
    for month in _months(now_ms):
        async with database.transaction(f"make the partition of {month:%Y-%m}") as connection:
            outcome = await connection.fetchval(QUERIES["make_partition"], month)
        if outcome == "made":
            made.append(f"{month:%Y-%m}")
        elif outcome == "forbidden":
            logger.warning(
                "EVS may not make the partition of %s; its rows go to the default one, which cannot be thinned by"
                " month: grant its role CREATE on the schema of equity_timeseries, and ownership of that table",
                f"{month:%Y-%m}",
            )
        elif outcome == "default":
            logger.warning(
                "%s has rows in the default partition of equity_timeseries and stays there", f"{month:%Y-%m}"
            )
    return made


async def drop_partitions(database: Database, now_ms: int, retention_days: int) -> list[str]:
    """
    The months, as ``YYYY-MM``, that were dropped: ended longer ago than is kept, and nothing that a start would read.

    Args:
        database: A migrated one.
        now_ms: The current time, unix milliseconds.
        retention_days: How long history is kept; 0 is for ever.

    Raises:
        StoreUnavailable: If the database is away, or our role may not drop tables.
    """
    if not retention_days:
        return []
    before = datetime.fromtimestamp(now_ms // 1_000, UTC).date() - timedelta(days=retention_days)
    async with database.transaction(f"drop the months before {before}") as connection:
        return [row["month"] for row in await connection.fetch(QUERIES["drop_partitions"], before)]


async def keep_partitions(database: Database, clock: Clock, retention_days: int) -> None:
    """Make months ahead and drop old ones until cancelled; a task of ``app``. A failure is logged and tried again."""
    while True:
        try:
            made = await make_partitions(database, clock.now_ms())
            dropped = await drop_partitions(database, clock.now_ms(), retention_days)
        except StoreUnavailable as error:
            logger.warning("%s; trying again in %d h", error.message, PERIOD_SECONDS // 3_600)
        else:
            if made:
                logger.info("made partitions of equity_timeseries: %s", ", ".join(made))
            if dropped:
                logger.info("dropped months older than %d days: %s", retention_days, ", ".join(dropped))
        await asyncio.sleep(PERIOD_SECONDS)


def _months(now_ms: int) -> list[date]:
    now = datetime.fromtimestamp(now_ms // 1_000, UTC)
    count = 12 * now.year + now.month - 1
    return [date(*_year_and_month(month), 1) for month in range(count, count + 1 + MONTHS_AHEAD)]


def _year_and_month(count: int) -> tuple[int, int]:
    return count // 12, count % 12 + 1
