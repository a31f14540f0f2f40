"""
One page of bars: as many rows read as it takes, the newest valuation added, the rest left for later. Touches I/O.

Rows are read along their index in steps, each a statement of its own. The first reads as many rows as the page has
points: so many are needed in any case. How dense they are says how many the next ones take, and whether the server is
to sum them up. A page ends where it is full, where the rows end, or where its time is up. A bucket whose rows have not
all been read begins the next page, so that pages together are what one large page would have been.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

from evs_server.clock import Clock
from evs_server.engine import Engine, SessionCalendar
from evs_server.history.bars import BarColumns, bars, filled, joined, with_snapshot
from evs_server.history.buckets import Buckets
from evs_server.history.codec import Page, Query
from evs_server.limits import HISTORY_ROWS_MAX, HISTORY_SECONDS
from evs_server.model import Snapshot, StretchColumns
from evs_server.ports import HistoryReader

DENSE_ROWS: Final = 4
"""Rows a bar from which the server sums them up. Low: more work for it. High: more for our event loop."""
STEP_ROWS_MIN: Final = 256
"""Rows of the second step, at least; of each later one twice as many, so that no bucket takes many steps."""

_ANY_VERSION: Final = -1
"""Every version comes after it."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Stretches from the first bucket on; from the bucket that begins at ``more_ms`` on, not all of them."""

    stretches: StretchColumns
    more_ms: int | None


class Pages:
    """
    Makes pages.

    Args:
        reader: Has the rows.
        engine: Has the newest valuations, which may not be stored yet.
        calendar: The session's.
        clock: Says when a page's time is up, and what time it is where ticks do not.
        stored_with: The version that must be durable for a newest valuation to be stored, or None if it may never be:
            an operator may want few stored. Absent: its own.
    """

    def __init__(
        self,
        reader: HistoryReader,
        engine: Engine,
        calendar: SessionCalendar,
        clock: Clock,
        stored_with: Callable[[Snapshot], int | None] = lambda newest: newest.version,
    ) -> None:
        self._reader = reader
        self._stored_with = stored_with
        self._engine = engine
        self._clock = clock
        self._durable_version = 0
        self.calendar = calendar

    def mark_durable(self, version: int) -> None:
        """Take note that whatever is stored of the passes up to a version is durable."""
        self._durable_version = version

    def now_ms(self) -> int:
        """What time it is on the market."""
        return self._engine.time_ms(self._clock.now_ms())

    async def read(self, query: Query) -> Page:
        """
        The bars that a query asks for, from its first bucket on, of an account that is in memory.

        Raises:
            Overloaded: If too many readers wait.
            StoreUnavailable: If the database is away.
        """
        buckets = Buckets(query.resolution, self.calendar)
        found = await self._rows(query, buckets)
        before = StretchColumns.empty()
        if query.carry_forward:
            before = await self._reader.read_newest(query.account_id, query.first_ms)
        settled_ms = await self._settled_ms(query, found)
        # Nothing is awaited from here on: now, the newest valuation and what is final belong together.
        now_ms, newest, stretches = self.now_ms(), self._snapshot(query), found.stretches
        if newest.timestamp_ms < query.first_ms:
            before = with_snapshot(before, newest)
        elif self._covers(query, newest):
            stretches = with_snapshot(stretches, newest)
        made = bars(stretches, buckets.starts_of(stretches.last_ms))
        if found.more_ms is not None:
            made = _head(made, int(made.start_ms.searchsorted(found.more_ms)))
        if query.carry_forward:
            last_ms = min(end_ms - 1 for end_ms in (query.until_ms, found.more_ms, now_ms + 1) if end_ms is not None)
            first_ms = query.first_ms if len(before) or not len(made) else made.start_ms.item(0)
            made = filled(made, before, buckets.starts_ms(first_ms, last_ms, query.points_max + 1))
        open_ms = buckets.start_ms(now_ms if settled_ms is None else min(now_ms, settled_ms))
        if len(made) > query.points_max:
            return Page(_head(made, query.points_max), open_ms, made.start_ms.item(query.points_max))
        return Page(made, open_ms, found.more_ms)

    async def _rows(self, query: Query, buckets: Buckets) -> _Found:
        until_ms, deadline = self._until_ms(query), self._clock.monotonic() + HISTORY_SECONDS
        after, rows_max, stride = (query.first_ms, _ANY_VERSION), query.points_max + 1, None
        parts: list[StretchColumns] = []
        row_count = bar_count = step_count = 0
        last_bar_ms = None
        while True:
            part = await self._reader.read_stretches(query.account_id, after, until_ms, rows_max, stride)
            parts.append(part)
            part_count = int(part.row_count.sum())
            if part_count < rows_max:
                return _Found(joined(parts), None)
            start_ms = buckets.starts_of(part.last_ms)
            bar_count += 1 + int((start_ms[1:] != start_ms[:-1]).sum()) - int(start_ms[0] == last_bar_ms)
            row_count, step_count, last_bar_ms = row_count + part_count, step_count + 1, start_ms.item(-1)
            is_up = self._clock.monotonic() >= deadline
            if bar_count > query.points_max or (is_up and bar_count > 1):
                return _Found(joined(parts), last_bar_ms)
            after = (part.last_ms.item(-1), part.version.item(-1))
            wanted = (query.points_max + 1 - bar_count) * -(-row_count // bar_count)
            rows_max = min(max(wanted, STEP_ROWS_MIN << step_count), HISTORY_ROWS_MAX)
            is_dense = row_count >= DENSE_ROWS * bar_count
            stride = (stride or buckets.stride(last_bar_ms, until_ms - 1)) if is_dense else None

    def _until_ms(self, query: Query) -> int:
        # Rows that are newer than both are of a clock that has stepped back, or of before ticks carried their time.
        newest_ms = max(self.now_ms(), self._snapshot(query).timestamp_ms)
        return newest_ms + 1 if query.until_ms is None else min(query.until_ms, newest_ms + 1)

    async def _settled_ms(self, query: Query, found: _Found) -> int | None:
        """
        The time of the newest stored row, if there are further valuations; None if they do not matter here.

        They are newer than what is stored, so that bars before it are as they will be, whether or not those are ever
        stored.
        """
        snapshot = self._snapshot(query)
        stored_with, is_before = self._stored_with(snapshot), snapshot.timestamp_ms < query.first_ms
        if stored_with is not None and (is_before or stored_with <= self._durable_version):
            return None
        if found.more_ms is not None:
            return None
        if is_before:
            return query.first_ms  # carried into the range, it is in every bar
        newest = found.stretches
        if not len(newest) or not self._covers(query, snapshot):
            newest = await self._reader.read_newest(query.account_id, snapshot.timestamp_ms + 1)
        if not len(newest):
            return query.first_ms
        newest_ms, version = newest.last_ms.item(-1), newest.version.item(-1)
        return None if (newest_ms, version) >= (snapshot.timestamp_ms, snapshot.version) else newest_ms

    @staticmethod
    def _covers(query: Query, snapshot: Snapshot) -> bool:
        return query.until_ms is None or snapshot.timestamp_ms < query.until_ms

    def _snapshot(self, query: Query) -> Snapshot:
        snapshot = self._engine.snapshot(query.account_id)
        assert snapshot is not None, "an account that was looked up is known"
        return snapshot


def _head(made: BarColumns, count: int) -> BarColumns:
    return BarColumns(*(getattr(made, field.name)[:count] for field in fields(BarColumns)))
