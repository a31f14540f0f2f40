"""
The state of ``evs serve`` split into slices, once, for a cluster to go on from where one process stopped.

Lives here: who must be away meanwhile, and the order of the steps. Not here: the statements (``adopt.sql``). Touches
the network, and the spool that the last process may have left.

All of it is one transaction: a database is whole or in slices, whenever this stops. Each account goes, with all that
is its own, to the virtual shard that ``shard_of`` gives it; marks and the session are copied to all; how far senders
are, and the digests of what they sent, go to the keeper. History stays where it is: it is keyed by account. Each slice
goes on from the version the whole had got to, so that an account's versions go on growing.

The way back is not here: slices may have marks, session closes and an order of settlements that no one process could
have had (docs/CLUSTER.md).
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from evs_server.cluster.shards import LOG, WHOLE
from evs_server.errors import ConfigError
from evs_server.store.database import CLOSE_SECONDS, BareConnection, connect, unavailable
from evs_server.store.postgres import PostgresStore
from evs_server.store.queries import QUERIES, split_queries
from evs_server.store.spool_replay import recover_with_spools

ANSWER_SECONDS: Final = 10.0
ADOPT_SECONDS: Final = 3_600.0
"""Deadline of the split: 100,000 accounts with five positions each take some ten seconds, five million some minutes."""

_QUERIES: Final = split_queries(resources.files(__package__).joinpath("adopt.sql").read_text(encoding="utf-8"))
_STEPS: Final = (
    "complete_checkpoint",
    "spread_accounts",
    "spread_settlements",
    "copy_marks",
    "hand_over_sources",
    "hand_over_digests",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Adopted:
    """
    What became of a database.

    Attributes:
        now: Whether it was split now; False if there was nothing to split: it was before, or holds no state yet.
        account_count: Accounts in slices.
    """

    now: bool
    account_count: int


async def adopt(dsn: str, *, log_position: int, spool_folder: Path, spool_bytes_max: int) -> Adopted:
    """
    Split the state of ``evs serve`` into slices; done again, it changes nothing.

    Args:
        dsn: URL of a migrated database.
        log_position: Where the log ends now, 0 if it is empty: nothing in it up to there concerns this database.
        spool_folder: Where ``evs serve`` keeps its spools: what is left in them is written first.
        spool_bytes_max: Bound on the size of one.

    Raises:
        ConfigError: If EVS or workers serve on this database, or the spool cannot be used; nothing has changed then.
        StoreUnavailable: If the database is away; try again.
    """
    connection = await connect(dsn)
    try:
        with unavailable("adopt the database"):
            async with asyncio.timeout(ANSWER_SECONDS):
                leads = await connection.fetchval(_QUERIES["take_lead"])
            if not leads:
                raise ConfigError(
                    "`evs serve` is running on this database: stop it, wait until it has ended, try again"
                )
            await _empty_spools(dsn, spool_folder, spool_bytes_max)
            async with asyncio.timeout(ADOPT_SECONDS):
                return await _split(connection, log_position)
    finally:
        with contextlib.suppress(OSError):
            await connection.close(timeout=CLOSE_SECONDS)


async def _empty_spools(dsn: str, folder: Path, bytes_max: int) -> None:
    """Write what the process before could not; under the lead, since this is a start like any other."""
    if not await asyncio.to_thread(folder.is_dir):
        return
    store = await PostgresStore.open(dsn)
    try:
        async with store.database.transaction("see whether the state is whole") as connection:
            slices = await connection.fetch(QUERIES["lock_starts"], WHOLE)
        if any(row["shard"] == WHOLE and row["flush_number"] for row in slices):
            _, spool = await recover_with_spools(store, folder, bytes_max)
            await asyncio.to_thread(spool.close)
    finally:
        await store.close()


async def _split(connection: BareConnection, log_position: int) -> Adopted:
    async with connection.transaction():
        await connection.execute(QUERIES["limit_statement"], f"{int(ADOPT_SECONDS)}s")
        if not await connection.fetchval(_QUERIES["exclude_workers"]):
            raise ConfigError("workers (`evs shard`) are running on this database: stop them, then try again")
        flush_number = {row["shard"]: row["flush_number"] for row in await connection.fetch(_QUERIES["lock_slices"])}
        now = bool(flush_number[WHOLE])
        if now:
            assert not any(number for shard, number in flush_number.items() if shard != WHOLE), "both ways at once"
            for step in _STEPS:
                await connection.execute(_QUERIES[step])
            await connection.execute(_QUERIES["place_in_log"], LOG, log_position)
            await connection.execute(_QUERIES["make_slices"])
            await connection.execute(_QUERIES["empty_whole"])
        account_count: int = await connection.fetchval(_QUERIES["count_accounts"])
    if now:
        logger.info("%d accounts are in slices now", account_count)
    return Adopted(now, account_count)
