"""
All of our state, or one slice of it, read back as a start needs it.

Lives here: who may start, and tables turned into columns. Not here: the transaction that makes them one moment
(``postgres``). Touches the network through the connection it is handed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import numpy as np

from evs_server.cluster.shards import WHOLE
from evs_server.errors import ConfigError
from evs_server.model import (
    AccountColumns,
    Columns,
    EngineMeta,
    EngineState,
    MarkColumns,
    NewcomerColumns,
    ParkedColumns,
    PositionColumns,
    Recovered,
    SettlementColumns,
    SnapshotColumns,
    UnannouncedColumns,
    Watermark,
)
from evs_server.store import rows
from evs_server.store.database import copy_out
from evs_server.store.merge import (
    ACCOUNT_KEY,
    MARK_KEY,
    PARKED_KEY,
    POSITION_KEY,
    UNANNOUNCED_KEY,
    newest,
    newest_watermarks,
    overlaid,
)
from evs_server.store.queries import QUERIES

if TYPE_CHECKING:
    from evs_server.store.database import Connection

C = TypeVar("C", bound=Columns)


async def take_start(connection: "Connection", shard: int) -> int:
    """
    The next start number of a slice: with it, whoever had the one before can write no more.

    A database's state is whole or in slices. Who starts first on one that has none yet decides which by writing first:
    whoever began on the other side is then turned away.

    Args:
        connection: Within a transaction. Waits for a flush of a predecessor that is under way; no later one can pass.
        shard: The slice; ``WHOLE`` is the exchange.

    Raises:
        ConfigError: If the state is kept the other way.
    """
    flush_number = {row["shard"]: row["flush_number"] for row in await connection.fetch(QUERIES["lock_starts"], shard)}
    if shard == WHOLE:
        _refuse_slices(sum(1 for each, number in flush_number.items() if each != WHOLE and number))
    elif flush_number[WHOLE]:
        raise ConfigError(
            "the state in this database is whole, as `evs serve` keeps it: end that, run `evs adopt` once, and start"
            " the shards again"
        )
    if shard not in flush_number:
        await connection.execute(QUERIES["add_slice"], shard)
    if not flush_number.get(shard):
        await connection.execute(QUERIES["fence_other_side"], shard)
    start_number: int = await connection.fetchval(QUERIES["take_start"], shard)
    return start_number


def _refuse_slices(count: int) -> None:
    if count:
        raise ConfigError(
            f"the state in this database is in {count} slices, as `evs shard` keeps it: start `evs shard` and"
            " `evs gateway` on it, or give `evs serve` another database",
            slices=count,
        )


async def read_recovered(connection: "Connection", engine: asyncpg.Record) -> Recovered:
    """
    Everything a start finds of a slice, tables ascending by key and watermarks by source.

    Args:
        connection: Within a transaction that sees one moment.
        engine: The slice's row of ``evs.engine`` at that moment.
    """
    shard: int = engine["shard"]
    latest, rows_since_checkpoint = await _read_latest(connection, engine)
    meta = EngineMeta(engine["version"], engine["tick"], engine["session_start_ms"], engine["tick_time_ms"])
    return Recovered(
        flush_number=engine["flush_number"],
        start_number=engine["start_number"],
        # Nothing is flushed before the exchange's tables have been imported: the import is the first flush.
        imported=engine["flush_number"] > 0,
        state=EngineState(
            meta,
            await _read(connection, AccountColumns, rows.ACCOUNT, "read_accounts", ACCOUNT_KEY, shard),
            await _read(connection, PositionColumns, rows.POSITION, "read_positions", POSITION_KEY, shard),
            await _read(connection, MarkColumns, rows.MARK, "read_marks", MARK_KEY, shard),
        ),
        latest=latest,
        watermarks=await read_watermarks(connection, shard),
        settlements=await _read_settlements(connection, shard),
        unannounced=await _read(
            connection, UnannouncedColumns, rows.UNANNOUNCED, "read_unannounced", UNANNOUNCED_KEY, shard
        ),
        parked=await _read(connection, ParkedColumns, rows.PARKED, "read_parked", PARKED_KEY, shard),
        newcomers=await _read(connection, NewcomerColumns, rows.NEWCOMER, "read_newcomers", ACCOUNT_KEY, shard),
        rows_since_checkpoint=rows_since_checkpoint,
    )


async def _read(
    connection: "Connection", kind: type[C], layout: rows.Layout, query: str, key: Sequence[str], shard: int
) -> C:
    # Sorted here rather than by the server: it reads the table as it lies, which is several times faster.
    return newest([kind(*await copy_out(connection, layout, QUERIES[query], shard))], key)


async def _read_latest(connection: "Connection", engine: asyncpg.Record) -> tuple[SnapshotColumns, int]:
    """The newest snapshot of every account, and how many rows of history are newer than the checkpoint."""
    shard, version, rows_since = engine["shard"], engine["latest_version"], engine["rows_since"]
    checkpoint = SnapshotColumns(*await copy_out(connection, rows.LATEST, QUERIES["read_latest"], shard))
    if rows_since is None:
        return overlaid(checkpoint, []), 0
    suffix, arguments = ("", (version,)) if shard == WHOLE else ("_of_slice", (shard, version, rows_since))
    since = await copy_out(connection, rows.LATEST, QUERIES[f"read_newest_rows{suffix}"], *arguments)
    count: int = await connection.fetchval(QUERIES[f"count_newest_rows{suffix}"], *arguments)
    return overlaid(checkpoint, [SnapshotColumns(*since)]), count


async def _read_settlements(connection: "Connection", shard: int) -> SettlementColumns:
    _ordinal, *columns = await copy_out(connection, rows.SETTLEMENT, QUERIES["read_settlements"], shard)
    return SettlementColumns(*columns)


async def read_watermarks(connection: "Connection", shard: int) -> tuple[Watermark, ...]:
    """How far each source is in a slice, with the digests that are remembered; by source."""
    sources = await connection.fetch(QUERIES["read_sources"], shard)
    newest_of = {row["source"]: (row["epoch"], row["applied_sequence"]) for row in sources}
    chunks = await connection.fetch(QUERIES["read_digests"], shard)
    known = [
        Watermark(
            row["source"],
            newest_of[row["source"]][0],
            row["last_sequence"],
            row["first_sequence"],
            np.frombuffer(row["digests"], "<u8").astype(np.uint64),
        )
        for row in chunks
    ]
    ends = [
        Watermark(source, epoch, applied_sequence, applied_sequence + 1, np.empty(0, np.uint64))
        for source, (epoch, applied_sequence) in newest_of.items()
    ]
    return tuple(sorted(newest_watermarks([*known, *ends]), key=lambda watermark: watermark.source))
