"""
How far the slices of a cluster are, and what its keeper has of the journal: what a gateway begins with.
"""

from dataclasses import dataclass
from importlib import resources
from typing import Final

from evs_server.cluster.shards import KEEPER, LOG, SHARD_COUNT
from evs_server.errors import ConfigError
from evs_server.model import Watermark
from evs_server.store.database import Database
from evs_server.store.queries import split_queries
from evs_server.store.recovery import read_watermarks

_QUERIES: Final = split_queries(resources.files(__package__).joinpath("journal.sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class KeptJournal:
    """
    As of one moment.

    Attributes:
        watermarks: Of every source, with the digests that are remembered.
        kept_position: Up to where in the log the keeper has folded the journal into them.
        lowest_position: Up to where every slice has committed.
        slice_count: How many slices have ever committed anything, the keeper included.
    """

    watermarks: tuple[Watermark, ...]
    kept_position: int
    lowest_position: int
    slice_count: int

    @property
    def is_whole(self) -> bool:
        """Whether every slice has begun: until then the exchange's tables are still being imported."""
        return self.slice_count > SHARD_COUNT


async def claim_log(database: Database, log_id: str) -> None:
    """
    Return if positions in the database are of this log; of a database that has none yet they are from now on.

    Args:
        log_id: Names the log, and will never name another.

    Raises:
        ConfigError: If they are of another log.
        StoreUnavailable: If the database is away; try again.
    """
    async with database.transaction("see which log this database belongs to") as connection:
        known: str = await connection.fetchval(_QUERIES["claim_log"], log_id)
    if known != log_id:
        raise ConfigError(
            f"the log of EVS_NATS_URL is {log_id}, and what EVS_DATABASE_URL holds was read from log {known}: one of"
            " them is another deployment's, or the log was lost and made anew (docs/CLUSTER.md, 'The log is lost')",
            log_id=log_id,
            known=known,
        )


async def read_journal(database: Database) -> KeptJournal:
    """
    What a gateway begins with.

    Raises:
        StoreUnavailable: If the database is away; try again.
    """
    async with database.transaction("read the journal", snapshot=True) as connection:
        watermarks = await read_watermarks(connection, KEEPER)
        positions = {row["shard"]: row["position"] for row in await connection.fetch(_QUERIES["read_positions"], LOG)}
    return KeptJournal(
        tuple(each for each in watermarks if each.source != LOG),
        positions.get(KEEPER, 0),
        min(positions.values(), default=0) if len(positions) > SHARD_COUNT else 0,
        len(positions),
    )
