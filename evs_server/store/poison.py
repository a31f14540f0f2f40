"""
A flush that the database refuses because of what is in it: rows to blame are found and set aside, the rest is written.

Lives here: the search, and what is kept of the rows it finds. Not here: whether the flush may be written, and its
commit (``postgres``), when to sift (``writer``). Touches the network through the connection it is handed.

Only rows of ``equity_timeseries`` are ever set aside: they are history, and the state of a start does without them, but
for the newest snapshot of each account, which goes to ``evs.latest``. State is all or nothing. A watermark that is
stored says that everything up to it is: without the row of one account, it would lie. Refused state keeps its flush
waiting until somebody repairs the table.

The rows of a flush are numbered through. Within the flush's transaction parts of them are written behind savepoints: a
part that fails is halved, a part that succeeds stays. Whatever fails behind all that succeeded before it is to blame,
even if it only clashes with another row. One row among n costs about log2(n) parts, which together write each row about
twice. All of it ends in one commit, with what was set aside, the flush's number and its watermarks in it: each row is
stored once, or set aside once.
"""

import logging
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple, dataclass
from importlib import resources
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

import asyncpg
import msgspec

from evs_server.errors import StoreUnavailable
from evs_server.model import Flush, Snapshot, Valuation
from evs_server.store.commit import SliceFlush, write_all_but_rows, write_rows
from evs_server.store.queries import split_queries

if TYPE_CHECKING:
    from evs_server.store.database import Connection

logger = logging.getLogger(__name__)

SET_ASIDE_MAX: Final = 100
"""Rows of one flush. Beyond it not the rows are to blame but the table, and they wait until it is repaired."""

_QUERIES: Final = split_queries(resources.files(__package__).joinpath("poison.sql").read_text(encoding="utf-8"))
_DATA_CLASSES: Final = ("22", "23", "44", "P0")
"""
Classes of SQLSTATE: data exceptions, violated constraints and check options, what triggers raise. All others may be
well at the next attempt.
"""


@dataclass(frozen=True, slots=True)
class SetAside:
    """
    One row that the database refuses, as ``evs.set_aside`` keeps it.

    Attributes:
        target: The table that it was meant for.
        row: Its columns as JSON, by the names of ``model.Snapshot``.
        sqlstate: The code of the refusal ...
        message: ... and its words.
    """

    target: str
    row: str
    sqlstate: str
    message: str


Sift = Callable[[Flush], Awaitable[Sequence[SetAside]]]
"""Commits a flush without the rows that the database refuses, and gives those."""


def is_poisoned(error: StoreUnavailable) -> bool:
    """Whether a write failed because of what was to be written, so that trying again as it is is in vain."""
    return _blames_data(error.metadata.get("sqlstate"))


async def write_sifted(connection: "Connection", written: SliceFlush) -> list[SetAside]:
    """
    Write all that a flush carries but for the rows of history that the database refuses, which are set aside and given.

    Args:
        connection: Within the flush's transaction.
        written: The flush.

    Raises:
        StoreUnavailable: If more than ``SET_ASIDE_MAX`` rows are refused.
        PostgresError: If it is not rows of history that are refused.
    """
    # First: if state is refused, there is nothing to search for.
    await write_all_but_rows(connection, [written])
    shard, flush = written.shard, written.flush
    found: list[SetAside] = []
    for snapshot, error in await _search(connection, flush):
        kept = SetAside("equity_timeseries", msgspec.json.encode(snapshot).decode(), error.sqlstate or "", str(error))
        arguments = (shard, flush.number, kept.target, kept.row, kept.sqlstate, kept.message)
        await connection.execute(_QUERIES["set_aside"], *arguments)
        # Behind the checkpoint that the flush may carry. A start needs a snapshot of every account, and its newest.
        await connection.execute(_QUERIES["keep_latest"], shard, *astuple(snapshot))
        logger.error("set aside a row of flush %d for %s, refused: %s: %s", *arguments[1:3], kept.message, kept.row)
        found.append(kept)
    return found


async def read_set_aside(connection: "Connection", flush_number: int, shard: int) -> list[SetAside]:
    """What was set aside of a slice's flush that is committed."""
    return [SetAside(**row) for row in await connection.fetch(_QUERIES["read_set_aside"], shard, flush_number)]


async def _search(connection: "Connection", flush: Flush) -> list[tuple[Snapshot, asyncpg.PostgresError]]:
    """Write a flush's rows of history; those that are refused, and why."""
    rows = _Rows(flush.rows)
    found: list[tuple[Snapshot, asyncpg.PostgresError]] = []
    start = 0
    # What follows a poisonous row is nearly always sound: it is tried as a whole first.
    while (error := await _try(connection, rows.part(start, rows.count))) is not None:
        sound, end = start, rows.count
        while end - sound > 1:
            middle = (sound + end) // 2
            refusal = await _try(connection, rows.part(sound, middle))
            if refusal is None:
                sound = middle
            else:
                end, error = middle, refusal
        found.append((rows.snapshot(sound), error))
        if len(found) > SET_ASIDE_MAX:
            raise StoreUnavailable(
                f"more than {SET_ASIDE_MAX} rows of flush {flush.number} are refused, the last because {error}",
                flush_number=flush.number,
                bound=SET_ASIDE_MAX,
                sqlstate=error.sqlstate,
            )
        start = sound + 1
    return found


async def _try(connection: "Connection", part: Sequence[Valuation]) -> asyncpg.PostgresError | None:
    """Why the database refuses a part; None if it is written."""
    try:
        async with connection.transaction():
            await write_rows(connection, part)
    except asyncpg.PostgresError as error:
        if not _blames_data(error.sqlstate):
            raise
        return error
    return None


def _blames_data(sqlstate: str | None) -> bool:
    return (sqlstate or "")[:2] in _DATA_CLASSES


class _Rows:
    """
    The rows of some passes, one by one.

    Attributes:
        count: How many there are.
    """

    def __init__(self, passes: Sequence[Valuation]) -> None:
        self._passes: Final = passes
        self._ends: Final = (0, *accumulate(len(valuation) for valuation in passes))
        self.count: Final = self._ends[-1]

    def part(self, start: int, end: int) -> list[Valuation]:
        """Passes of these rows and nothing else."""
        return [
            valuation.part(slice(max(0, start - first), end - first))
            for valuation, (first, last) in zip(self._passes, pairwise(self._ends), strict=True)
            if start < last and first < end
        ]

    def snapshot(self, index: int) -> Snapshot:
        """One row."""
        place = bisect_right(self._ends, index) - 1
        return self._passes[place].snapshot(index - self._ends[place])
