"""Old months are thinned to minutes: bars stay what they were, and nothing that anybody needs is lost."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from evs_server.engine import SessionCalendar
from evs_server.history.bars import bars
from evs_server.history.buckets import Buckets
from evs_server.model import Resolution, StretchColumns
from evs_server.store.database import Database
from evs_server.store.history import StoredHistory
from evs_server.store.partitions import drop_partitions, make_partitions
from evs_server.store.postgres import PostgresStore
from evs_server.store.thinning import Thinned, thin_next_month
from tests.builders import ALICE, BOB, DAY_MS, HOUR_MS, NOON_MS
from tests.flushes import a_flush, a_valuation, plain, snapshots

MINUTE_MS = 60_000
NEW_YEAR_MS = NOON_MS - DAY_MS // 2
LATE_MS = NOON_MS + 200 * DAY_MS
FOREVER_MS = NOON_MS * 2
CALENDAR = SessionCalendar(ZoneInfo("UTC"), time(12))
MINUTES_AND_MORE = [resolution for resolution in Resolution if resolution is not Resolution.RAW]


@pytest.fixture
async def store(any_database: str) -> AsyncIterator[PostgresStore]:
    opened = await PostgresStore.open(any_database)
    await opened.recover()
    await make_partitions(opened.database, NOON_MS)
    yield opened
    await opened.close()


async def write(store: PostgresStore, *rows: tuple[int, int, dict[int, int]], checkpoint: bool = True) -> None:
    """The first flush: rows of time after noon, version and equities; and a checkpoint that covers them."""
    valuations = [a_valuation(version, equity, timestamp_ms=NOON_MS + after_ms) for after_ms, version, equity in rows]
    latest = snapshots(max(valuations, key=lambda valuation: valuation.version)) if checkpoint else None
    await store.write(a_flush(1, rows=valuations, latest=latest))


async def thin(store: PostgresStore, after_days: int = 31, **settings: Any) -> Thinned | None:
    return await thin_next_month(
        store.database, LATE_MS, after_days, CALENDAR.session_starts_ms, pause_seconds=0, **settings
    )


async def rows_of(store: PostgresStore, account_id: int) -> StretchColumns:
    return await StoredHistory(store.database).read_stretches(account_id, (0, -1), FOREVER_MS, 10**6, None)


async def versions_of(store: PostgresStore, account_id: int = ALICE) -> list[int]:
    """Versions of an account's rows, by time."""
    return [int(version) for version in (await rows_of(store, account_id)).version]


async def bars_of(store: PostgresStore, account_id: int) -> Any:
    """All bars of an account, but those of a second."""
    found = await rows_of(store, account_id)
    return [
        plain(bars(found, Buckets(resolution, CALENDAR).starts_of(found.last_ms))) for resolution in MINUTES_AND_MORE
    ]


def a_day_of_valuations(seed: int) -> list[tuple[int, int, dict[int, int]]]:
    """Of two accounts: many in a few minutes, ties and repeats among them, across a roll, and some at the same time."""
    dice = random.Random(seed)
    times = sorted(dice.choice((0, HOUR_MS, DAY_MS)) + dice.randrange(5 * MINUTE_MS) for _ in range(120))
    times[10] = times[11] = times[12]
    return [
        (after_ms, version, {account: dice.randrange(-5, 6) for account in (ALICE, BOB) if dice.random() < 0.8})
        for version, after_ms in enumerate(times, 1)
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step_rows", [50_000, 17])
async def test_bars_are_after_thinning_what_they_were_before(store: PostgresStore, seed: int, step_rows: int) -> None:
    """Levels, realized and net flow, of every bucket of a minute or more, also where steps cut a minute in two."""
    await write(store, *a_day_of_valuations(seed))
    before = [await bars_of(store, account) for account in (ALICE, BOB)]
    row_count = len(await versions_of(store)) + len(await versions_of(store, BOB))
    done = await thin(store, step_rows=step_rows)
    assert done is not None
    assert row_count == done.read_count > done.kept_count
    assert before == [await bars_of(store, account) for account in (ALICE, BOB)]
    assert done.kept_count == len(await versions_of(store)) + len(await versions_of(store, BOB))


async def test_of_a_minute_the_first_highest_lowest_and_last_stay(store: PostgresStore) -> None:
    """Of equal ones the earliest; and what is alone in its minute stays as it is."""
    levels = [50, 70, 90, 90, 20, 20, 60, 40]
    await write(store, *((second * 1_000, second + 1, {ALICE: level}) for second, level in enumerate(levels)),
                (MINUTE_MS, 9, {ALICE: 1}))  # fmt: skip
    assert Thinned(datetime(2026, 1, 1, tzinfo=UTC).date(), 9, 5) == await thin(store)
    assert [1, 3, 5, 8, 9] == await versions_of(store)
    found = await rows_of(store, ALICE)
    assert [50, 90, 20, 40, 1] == found.open_cents.tolist()


async def test_rows_at_a_roll_stay(store: PostgresStore) -> None:
    """Sessions roll at noon: of three rows of that very moment none is the first or last of its minute, nor extreme."""
    middle = [(0, version, {ALICE: 5}) for version in (2, 3, 4)]
    await write(store, (0, 1, {ALICE: 9}), *middle, (0, 5, {ALICE: 1}), (1, 6, {ALICE: 5}), (2, 7, {ALICE: 5}))
    await thin(store)
    assert [1, 2, 3, 4, 5, 7] == await versions_of(store)


async def test_months_are_thinned_one_by_one_once_they_are_old_enough(store: PostgresStore) -> None:
    """January has ended 169 days before 20 July, and February 141."""
    await write(store, (0, 1, {ALICE: 1}), (1, 2, {ALICE: 1}), (2, 3, {ALICE: 1}), (32 * DAY_MS, 4, {ALICE: 1}))
    assert await thin(store, after_days=170) is None
    done = [await thin(store, after_days=150) for _ in range(2)]
    assert [datetime(2026, 1, 1, tzinfo=UTC).date(), None] == [each and each.month for each in done]
    done = [await thin(store, after_days=141) for _ in range(2)]
    assert [datetime(2026, 2, 1, tzinfo=UTC).date(), None] == [each and each.month for each in done]
    assert [1, 3, 4] == await versions_of(store)


async def test_rows_without_a_month_of_their_own_stay(store: PostgresStore) -> None:
    await write(store, *((-400 * DAY_MS + second, second + 1, {ALICE: 1}) for second in range(5)))
    while await thin(store):
        pass
    assert [1, 2, 3, 4, 5] == await versions_of(store)


async def test_a_month_that_a_start_would_read_is_left_alone(store: PostgresStore) -> None:
    """Until a checkpoint holds what an account was worth, its row is all there is; months behind it wait as well."""
    await write(store, *((second, second + 1, {ALICE: 1}) for second in range(5)), checkpoint=False)
    assert await thin(store) is None
    assert [1, 2, 3, 4, 5] == await versions_of(store)
    await store.write(a_flush(2, latest=snapshots(a_valuation(5, {ALICE: 1}))))
    await thin(store)
    assert [1, 5] == await versions_of(store)


async def test_a_start_finds_the_same_after_thinning(store: PostgresStore) -> None:
    await write(store, *a_day_of_valuations(7))
    before = plain((await store.recover()).latest)
    await thin(store)
    assert before == plain((await store.recover()).latest)


async def run_sql(store: PostgresStore, statement: str, *arguments: object) -> Any:
    async with store.database.transaction("prepare a test") as connection:
        return await connection.fetchval(statement, *arguments)


async def begun(store: PostgresStore, row_count: int) -> None:
    """January, with so many of its rows gone through."""
    month = datetime(2026, 1, 1, tzinfo=UTC).date()
    assert month == await run_sql(store, "SELECT evs.begin_thinning($1)", datetime(2026, 6, 1, tzinfo=UTC).date())
    assert row_count == await run_sql(store, "SELECT evs.thin($1, '{}', $2)", month, row_count)


async def test_what_was_interrupted_goes_on(store: PostgresStore) -> None:
    """Rows are gone through by account and time: Alice's first four seconds, then the rest."""
    await write(store, *((second * 1_000, second + 1, {ALICE: 1, BOB: 1}) for second in range(6)))
    await begun(store, 4)
    assert Thinned(datetime(2026, 1, 1, tzinfo=UTC).date(), 12, 6) == await thin(store)
    assert ([1, 4, 5, 6], [1, 6]) == (await versions_of(store), await versions_of(store, BOB))


async def test_what_comes_into_a_month_that_is_being_thinned_stays(store: PostgresStore) -> None:
    """Ticks carry their own time: rows may come late, before or behind where thinning has got to."""
    await write(store, *((second * 1_000, second + 1, {ALICE: 1}) for second in range(6)))
    await begun(store, 3)
    late = [a_valuation(version, {ALICE: 1}, timestamp_ms=NOON_MS + ms) for version, ms in ((7, 500), (8, 4_500))]
    await store.write(a_flush(2, rows=late))
    await thin(store)
    assert [1, 7, 3, 4, 8, 6] == await versions_of(store)


async def test_a_thinned_month_takes_rows_and_is_dropped_as_any_other(store: PostgresStore) -> None:
    await write(store, *((second, second + 1, {ALICE: 1}) for second in range(5)))
    await thin(store)
    late = a_valuation(6, {ALICE: 1}, timestamp_ms=NOON_MS + 2)
    await store.write(a_flush(2, rows=[late], latest=snapshots(late)))
    assert [1, 6, 5] == await versions_of(store)
    assert ["2026-01"] == await drop_partitions(store.database, NOON_MS + 61 * DAY_MS, 28)
    assert [] == await versions_of(store)


async def test_two_processes_may_thin_at_once(any_database: str, store: PostgresStore) -> None:
    """One that was replaced may not have noticed yet: each step waits for the other's, and begins where that ended."""
    await write(store, *((second * 1_000, second + 1, {ALICE: 1, BOB: 1}) for second in range(6)))
    await begun(store, 4)
    other = await Database.open(any_database)
    month = datetime(2026, 1, 1, tzinfo=UTC).date()
    async with other.transaction("thin beside") as connection:
        assert 4 == await connection.fetchval("SELECT evs.thin($1, '{}', 4)", month)
    await other.close()
    done = await thin(store)
    assert done is not None
    assert 12 == done.read_count
    assert np.unique(await versions_of(store, BOB)).tolist() == await versions_of(store, BOB)
