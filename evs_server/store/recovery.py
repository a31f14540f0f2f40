"""
All of our state, read back as a start needs it.

Lives here: tables turned into columns. Not here: the transaction that makes them one moment (``postgres``). Touches the
network through the connection it is handed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import numpy as np

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


async def read_recovered(connection: "Connection", engine: asyncpg.Record) -> Recovered:
    """
    Everything a start finds, tables ascending by key and watermarks by source.

    Args:
        connection: Within a transaction that sees one moment.
        engine: The row of ``evs.engine`` at that moment.
    """
    meta = EngineMeta(engine["version"], engine["tick"], engine["session_start_ms"], engine["tick_time_ms"])
    return Recovered(
        flush_number=engine["flush_number"],
        start_number=engine["start_number"],
        # Nothing is flushed before the exchange's tables have been imported: the import is the first flush.
        imported=engine["flush_number"] > 0,
        state=EngineState(
            meta,
            await _read(connection, AccountColumns, rows.ACCOUNT, "read_accounts", ACCOUNT_KEY),
            await _read(connection, PositionColumns, rows.POSITION, "read_positions", POSITION_KEY),
            await _read(connection, MarkColumns, rows.MARK, "read_marks", MARK_KEY),
        ),
        latest=await _read_latest(connection, engine["latest_version"]),
        watermarks=await _read_watermarks(connection),
        settlements=await _read_settlements(connection),
        unannounced=await _read(connection, UnannouncedColumns, rows.UNANNOUNCED, "read_unannounced", UNANNOUNCED_KEY),
        parked=await _read(connection, ParkedColumns, rows.PARKED, "read_parked", PARKED_KEY),
        newcomers=await _read(connection, NewcomerColumns, rows.NEWCOMER, "read_newcomers", ACCOUNT_KEY),
        rows_since_checkpoint=await connection.fetchval(QUERIES["count_newest_rows"], engine["latest_version"]),
    )


async def _read(connection: "Connection", kind: type[C], layout: rows.Layout, query: str, key: Sequence[str]) -> C:
    # Sorted here rather than by the server: it reads the table as it lies, which is several times faster.
    return newest([kind(*await copy_out(connection, layout, QUERIES[query]))], key)


async def _read_latest(connection: "Connection", latest_version: int) -> SnapshotColumns:
    checkpoint = await copy_out(connection, rows.LATEST, QUERIES["read_latest"])
    since = await copy_out(connection, rows.LATEST, QUERIES["read_newest_rows"], latest_version)
    return overlaid(SnapshotColumns(*checkpoint), [SnapshotColumns(*since)])


async def _read_settlements(connection: "Connection") -> SettlementColumns:
    _ordinal, *columns = await copy_out(connection, rows.SETTLEMENT, QUERIES["read_settlements"])
    return SettlementColumns(*columns)


async def _read_watermarks(connection: "Connection") -> tuple[Watermark, ...]:
    sources = await connection.fetch(QUERIES["read_sources"])
    newest_of = {row["source"]: (row["epoch"], row["applied_sequence"]) for row in sources}
    chunks = await connection.fetch(QUERIES["read_digests"])
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
