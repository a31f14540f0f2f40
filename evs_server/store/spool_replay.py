"""
What a process before could not write any more, written at the next start: the spool, if it continues the database.

Lives here: which spool belongs to which database, and what of it may be written. Not here: its files (``spool``), and
recovery itself (``recovery``). Touches the database and, in a thread, files.

A spool continues a database if it was made for it, nobody has written to it since but the process that spooled (or one
that had taken the spool over), and the first flush that is not committed is the next one. All else is set aside whole:
flushes are changes, and applied to another state than the one they were captured on they would corrupt it silently.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from evs_server.errors import ConfigError, SpoolTaken, StoreUnavailable
from evs_server.model import Flush, Recovered
from evs_server.ports import Store
from evs_server.store.database import Database
from evs_server.store.merge import merge
from evs_server.store.poison import Sift, is_poisoned
from evs_server.store.postgres import PostgresStore
from evs_server.store.queries import split_queries
from evs_server.store.spool import Spool
from evs_server.store.spool_segment import Damaged, Stamp

logger = logging.getLogger(__name__)

SPOOLS_MAX: Final = 8
"""Spools of one database in one data directory: one is in use, the others belong to who was replaced."""

BATCH_FLUSHES: Final = 1_024
BATCH_BYTES: Final = 64 * 2**20
"""What is read and written at a time."""

_QUERIES: Final = split_queries(resources.files(__package__).joinpath("spool.sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Lineage:
    """
    Which database this is, and who wrote to it last.

    Attributes:
        database_id: Differs between any two databases, copies included.
        committed_start_number: The start that committed the last flush; 0 if none did.
    """

    database_id: str
    committed_start_number: int


async def read_lineage(database: Database) -> Lineage:
    """
    Which database this is, and who wrote to it last.

    Raises:
        StoreUnavailable: If it is away; try again.
    """
    async with database.transaction("read which database this is", snapshot=True) as connection:
        row = await connection.fetchrow(_QUERIES["read_lineage"])
    assert row is not None, "one row of evs.engine, one database of this name"
    return Lineage(row["database_id"], row["committed_start_number"])


def spool_place(folder: Path, database_id: str, number: int = 1) -> Path:
    """Where a spool of a database is; the first is there as soon as an EVS has begun on both."""
    return folder / f"{database_id.replace('/', '-')}-{number}"


async def recover_with_spools(store: PostgresStore, folder: Path, bytes_max: int) -> tuple[Recovered, Spool]:
    """
    What a start finds once every spool of this database is in it, and the spool to use from now on.

    A database's spools have folders of their own: several EVS may share a data directory, and one that was replaced
    while it slept still holds its own.

    Args:
        store: Open; its start number is taken here.
        folder: Where all spools of the data directory are.
        bytes_max: Bound on the size of one.

    Raises:
        ConfigError: If the folder cannot be used.
        Fenced: If a newer start has taken over.
        StoreUnavailable: If the database is away, or the disk fails; call it again.
    """
    database_id = (await read_lineage(store.database)).database_id
    own: Spool | None = None
    with contextlib.ExitStack() as undo:
        for number in range(1, SPOOLS_MAX + 1):
            place = spool_place(folder, database_id, number)
            if own is not None and not await asyncio.to_thread(place.exists):
                break
            try:
                spool = await asyncio.to_thread(Spool.open, place, bytes_max)
            except SpoolTaken as error:
                logger.warning("%s", error.message)
                continue
            closing = undo.enter_context(contextlib.ExitStack())
            closing.callback(spool.close)
            recovered = await recover_with_spool(store, spool)
            if own is None:
                own = spool
            else:
                closing.close()
        if own is None:
            raise ConfigError(f"all {SPOOLS_MAX} spools of this database in {folder} belong to other running EVS")
        undo.pop_all()
    return recovered, own


async def recover_with_spool(store: PostgresStore, spool: Spool) -> Recovered:
    """
    What a start finds once the spool is in the database, too; the spool is empty and begun afterwards.

    Args:
        store: Open; its start number is taken here.
        spool: As the process before has left it.

    Raises:
        Fenced: If a newer start has taken over.
        StoreUnavailable: If the database is away, or the disk fails; call it again.
    """
    recovered = await store.recover()
    lineage = await read_lineage(store.database)
    if await replay_spool(spool, store, recovered, lineage, sift=store.write_sifted):
        recovered = await store.recover()
        await asyncio.to_thread(spool.begin, Stamp(lineage.database_id, recovered.start_number))
    return recovered


async def replay_spool(
    spool: Spool,
    store: Store,
    recovered: Recovered,
    lineage: Lineage,
    *,
    sift: Sift | None = None,
) -> int:
    """
    The number of flushes written from the spool, which is empty and begun afterwards.

    Args:
        spool: As the process before has left it.
        store: Has recovered: its start number is the one that may write.
        recovered: What it found.
        lineage: Read after that.
        sift: How to write a flush that the database refuses because of what is in it.

    Raises:
        Fenced: If a newer start has taken over.
        StoreUnavailable: If the database is away, or the disk fails; recover, then call it again.
    """
    try:
        return await _replay(spool, store, recovered, lineage, sift)
    except OSError as error:
        raise StoreUnavailable(f"the spool cannot be used: {error}") from error


async def _replay(spool: Spool, store: Store, recovered: Recovered, lineage: Lineage, sift: Sift | None) -> int:
    await asyncio.to_thread(spool.drop, _committed_by(spool, recovered, lineage))
    reason = _unfit(spool, recovered, lineage)
    if reason is not None:
        await asyncio.to_thread(spool.set_aside, reason)
    # From now on the spool is ours: should we end halfway, the next start must not take what we wrote for another's.
    await asyncio.to_thread(spool.begin, Stamp(lineage.database_id, recovered.start_number))
    count = 0
    while spool.flush_count:
        try:
            spooled = await asyncio.to_thread(spool.read, BATCH_FLUSHES, BATCH_BYTES)
        except Damaged as damage:
            await asyncio.to_thread(spool.set_aside, str(damage))
            break
        flush = merge([each.flush for each in spooled])
        await _write(store, flush, sift)
        await asyncio.to_thread(spool.drop, flush.number)
        count += len(spooled)
    if count:
        logger.warning("%d flushes of the process before were in the spool, and are in the database now", count)
    return count


def _committed_by(spool: Spool, recovered: Recovered, lineage: Lineage) -> int:
    """Up to which number the spool's flushes are certainly in the database."""
    stamp = spool.stamp
    theirs = stamp is not None and stamp.database_id == lineage.database_id
    current = stamp is not None and stamp.start_number >= lineage.committed_start_number
    return recovered.flush_number if theirs and current else 0


def _unfit(spool: Spool, recovered: Recovered, lineage: Lineage) -> str | None:
    """Why the spool does not continue the database; None if it does, or is empty."""
    stamp, first_number = spool.stamp, spool.first_number
    if stamp is None or first_number is None:
        return None
    if stamp.database_id != lineage.database_id:
        return f"it was made for database {stamp.database_id}, and this is {lineage.database_id}"
    if stamp.start_number < lineage.committed_start_number:
        return f"start {lineage.committed_start_number} has written since it was made by start {stamp.start_number}"
    if first_number != recovered.flush_number + 1:
        return f"it begins with flush {first_number}, and the database is at flush {recovered.flush_number}"
    return None


async def _write(store: Store, flush: Flush, sift: Sift | None) -> None:
    try:
        await store.write(flush)
    except StoreUnavailable as error:
        if sift is None or not is_poisoned(error):
            raise
        await sift(flush)
