"""Months of equity_timeseries are made ahead, and rows without one are not lost."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest

from evs_server.store.database import Database
from evs_server.store.partitions import drop_partitions, make_partitions
from evs_server.store.postgres import PostgresStore
from tests.builders import DAY_MS, NOON_MS
from tests.flushes import a_flush, a_valuation, snapshots

SECONDS = 30


@pytest.fixture
async def store(any_database: str) -> AsyncIterator[PostgresStore]:
    opened = await PostgresStore.open(any_database)
    await opened.recover()
    yield opened
    await opened.close()


async def partitions_of(store: PostgresStore, version: int) -> list[str]:
    """Where the rows of a version are."""
    async with store.database.transaction("look") as connection:
        found = await connection.fetch(
            "SELECT tableoid::regclass::text AS name FROM equity_timeseries WHERE version = $1", version
        )
    return [row["name"] for row in found]


async def test_the_month_and_those_ahead_are_made_once(store: PostgresStore) -> None:
    """Noon of 1 January 2026, and as late in November as one can be: the year turns among the months ahead."""
    assert ["2026-01", "2026-02", "2026-03"] == await make_partitions(store.database, NOON_MS)
    assert [] == await make_partitions(store.database, NOON_MS + 30 * DAY_MS)
    assert ["2026-11", "2026-12", "2027-01"] == await make_partitions(store.database, NOON_MS + 333 * DAY_MS)


async def test_rows_go_to_their_month_from_its_first_millisecond_on(store: PostgresStore) -> None:
    await make_partitions(store.database, NOON_MS)
    new_year_ms = NOON_MS - DAY_MS // 2
    await store.write(
        a_flush(
            1,
            rows=[
                a_valuation(1, {1: 1}, timestamp_ms=new_year_ms - 1),
                a_valuation(2, {1: 1}, timestamp_ms=new_year_ms),
                a_valuation(3, {1: 1}, timestamp_ms=new_year_ms + 31 * DAY_MS - 1),
                a_valuation(4, {1: 1}, timestamp_ms=new_year_ms + 31 * DAY_MS),
            ],
        )
    )
    assert [
        ["equity_timeseries_default"],
        ["equity_timeseries_2026_01"],
        ["equity_timeseries_2026_01"],
        ["equity_timeseries_2026_02"],
    ] == [await partitions_of(store, version) for version in (1, 2, 3, 4)]


async def test_a_month_with_rows_in_the_default_stays_there(
    store: PostgresStore, caplog: pytest.LogCaptureFixture
) -> None:
    await store.write(a_flush(1, rows=[a_valuation(1, {1: 1}, timestamp_ms=NOON_MS)]))
    assert ["2026-02", "2026-03"] == await make_partitions(store.database, NOON_MS)
    assert ["2026-01 has rows in the default partition of equity_timeseries and stays there"] == [
        record.getMessage() for record in caplog.records
    ]
    await store.write(a_flush(2, rows=[a_valuation(2, {1: 1}, timestamp_ms=NOON_MS)]))
    assert ["equity_timeseries_default"] == await partitions_of(store, 2)


async def test_two_processes_may_make_them_at_once(any_database: str) -> None:
    databases = [await Database.open(any_database) for _ in range(2)]
    made = await asyncio.gather(*(make_partitions(database, NOON_MS) for database in databases))
    assert ["2026-01", "2026-02", "2026-03"] == sorted(itertools.chain(*made))
    for database in databases:
        await database.close()
    hand = await asyncpg.connect(any_database, timeout=SECONDS)
    assert 4 == await hand.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'equity_timeseries'::regclass")
    await hand.close(timeout=SECONDS)


async def test_a_month_is_dropped_once_it_is_older_than_is_kept(store: PostgresStore) -> None:
    """January 2026 has ended 30 days before 3 March, and a day later it goes; the rest stays."""
    await make_partitions(store.database, NOON_MS)
    row, march_ms = a_valuation(1, {1: 1}, timestamp_ms=NOON_MS), NOON_MS + 61 * DAY_MS
    newer = a_valuation(2, {1: 1}, timestamp_ms=march_ms)
    await store.write(a_flush(1, rows=[row, newer], latest=snapshots(newer)))
    assert [] == await drop_partitions(store.database, march_ms, 0), "0 keeps for ever"
    assert [] == await drop_partitions(store.database, march_ms, 31)
    assert ["2026-01"] == await drop_partitions(store.database, march_ms + DAY_MS, 31)
    assert [] == await partitions_of(store, 1)
    assert ["equity_timeseries_2026_03"] == await partitions_of(store, 2)


async def test_a_month_that_a_start_would_read_stays(store: PostgresStore) -> None:
    """Until a checkpoint holds what an account was worth, its row is all there is; months behind it wait as well."""
    await make_partitions(store.database, NOON_MS)
    february_ms = NOON_MS + 40 * DAY_MS
    await store.write(a_flush(1, rows=[a_valuation(1, {1: 1}, timestamp_ms=february_ms)]))
    late_ms = NOON_MS + 400 * DAY_MS
    assert ["2026-01"] == await drop_partitions(store.database, late_ms, 30)
    assert ["equity_timeseries_2026_02"] == await partitions_of(store, 1)
    await store.write(a_flush(2, latest=snapshots(a_valuation(1, {1: 1}, timestamp_ms=february_ms))))
    assert ["2026-02", "2026-03"] == await drop_partitions(store.database, late_ms, 30)
    assert [1] == (await store.recover()).latest.version.tolist()


async def test_a_table_that_something_else_cuts_up_is_left_to_it(store: PostgresStore) -> None:
    """As an extension for time series does: it wants a table without partitions, whose key has the time in it."""
    async with store.database.transaction("have no partitions") as connection:
        await connection.execute("CREATE TABLE plain (LIKE equity_timeseries INCLUDING ALL)")
        await connection.execute("ALTER SEQUENCE equity_timeseries_id_seq OWNED BY plain.id")
        await connection.execute("DROP TABLE equity_timeseries")
        await connection.execute("ALTER TABLE plain RENAME TO equity_timeseries")
    assert [] == await make_partitions(store.database, NOON_MS)
    await store.write(a_flush(1, rows=[a_valuation(1, {1: 1}, timestamp_ms=NOON_MS)]))
    assert [] == await drop_partitions(store.database, NOON_MS + 400 * DAY_MS, 30)
    assert [1] == (await store.recover()).latest.version.tolist()
