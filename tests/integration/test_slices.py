"""Virtual shards in a real database: whose an account is, what each one imports, its closes, and its months."""

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from evs_server.cluster.shards import SHARD_COUNT, shard_of
from evs_server.engine import SessionCalendar
from evs_server.limits import EXACT_MAX
from evs_server.model import EngineMeta, Valuation
from evs_server.store.database import Database
from evs_server.store.growth import ClosesOfAll, PastReader, SessionCloses
from evs_server.store.history import StoredHistory
from evs_server.store.inspection import inspect
from evs_server.store.migrate import migrate, read_migrations
from evs_server.store.partitions import drop_partitions, make_partitions
from evs_server.store.postgres import PostgresStore
from evs_server.store.thinning import thin_next_month
from tests.builders import DAY_MS, NOON_MS, Floor, an_account
from tests.flushes import a_flush, a_valuation, an_account_row, plain, snapshots
from tests.sites import PostgresSite

SECONDS = 30
CALENDAR = SessionCalendar(ZoneInfo("UTC"), time(0))
MIDNIGHT_MS = NOON_MS + DAY_MS // 2
FOREVER_MS = NOON_MS * 2


def accounts_of(shard: int, count: int) -> list[int]:
    """The first accounts of a virtual shard."""
    return list(itertools.islice((account for account in itertools.count(1) if shard_of(account) == shard), count))


@pytest.fixture
async def database(any_database: str) -> AsyncIterator[Database]:
    opened = await Database.open(any_database)
    yield opened
    await opened.close()


@asynccontextmanager
async def asking(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn, timeout=SECONDS)
    yield connection
    await connection.close(timeout=SECONDS)


class Core:
    """A floor with the accounts of one virtual shard, and its slice of the database."""

    def __init__(self, database: Database, shard: int, start_price: int = 5_000) -> None:
        self.store = PostgresStore(database, shard=shard)
        self.closes = SessionCloses(database, shard)
        self.accounts = accounts_of(shard, 2)
        self.floor = Floor()
        self.passes: list[Valuation] = []
        self.flush_count = 0
        self.start_price = start_price

    async def begin(self) -> None:
        """Open the accounts, which trade with each other."""
        await self.store.recover()
        buyer, seller = self.accounts
        self.passes.append(self.floor.open(an_account(buyer), an_account(seller)))
        self.floor.buy(buyer, 10, self.start_price)
        self.floor.sell(seller, 10, self.start_price)

    async def day(self, price: int) -> None:
        """A market day, committed."""
        self.floor.mark(price)
        self.passes += self.floor.complete()
        self.floor.wait(DAY_MS)
        self.flush_count += 1
        meta = self.floor.engine.meta
        await self.store.write(
            a_flush(
                self.flush_count,
                rows=self.passes,
                accounts=[an_account_row(account) for account in self.accounts],
                meta=EngineMeta(meta.version, meta.tick, meta.session_start_ms, meta.tick_time_ms),
            )
        )
        self.passes = []


async def test_postgres_and_python_agree_whose_an_account_is(any_database: str) -> None:
    dice = random.Random(1)
    edges = [2**31 - 2, 2**31 - 1, 2**31, 2**52, EXACT_MAX]
    ids = [*range(1, 500), *edges, *(dice.randrange(1, EXACT_MAX) for _ in range(500))]
    async with asking(any_database) as connection:
        found = await connection.fetch("SELECT evs.shard_of(id) AS shard FROM unnest($1::bigint[]) AS id", ids)
    assert [shard_of(account) for account in ids] == [row["shard"] for row in found]


async def test_a_database_of_before_goes_on_as_the_whole(empty_database: str, tmp_path: Path) -> None:
    """With what is in it; rows that its checkpoint lacks are found by their time from now on."""
    for migration in read_migrations():
        if migration.name < "0013":
            (tmp_path / f"{migration.name}.sql").write_text(migration.sql)
    await migrate(empty_database, folder=tmp_path)
    async with asking(empty_database) as connection:
        await connection.execute(
            "UPDATE evs.engine SET flush_number = 4, version = 9, latest_version = 8, start_number = 2;"
            "INSERT INTO evs.account VALUES (1, 100, 100, 0, 0, 0, false, false);"
            "INSERT INTO evs.mark VALUES (7, 1, 1, 1, 1, 1, 1, false);"
            "INSERT INTO evs.settlement VALUES (5, 1, 1, 77);"
            "INSERT INTO equity_timeseries (account_id, timestamp, tick, total_equity, cash_balance, position_value,"
            "    unrealized_pnl, realized_pnl, day_change, day_change_percent, version, flags, net_flow)"
            " VALUES (1, '2026-01-01T12:00Z', 1, 5, 5, 0, 0, 0, 0, 0, 8, 0, 5),"
            "        (1, '2026-01-02T12:00Z', 2, 6, 6, 0, 0, 0, 0, 0, 9, 0, 5)"
        )
    await migrate(empty_database)
    database = await Database.open(empty_database)
    try:
        found = await PostgresStore(database).recover()
    finally:
        await database.close()
    assert ([9], [6], 1) == (
        found.latest.version.tolist(),
        found.latest.equity_cents.tolist(),
        found.rows_since_checkpoint,
    )
    assert ([1], [7], [77]) == (
        found.state.accounts.account_id.tolist(),
        found.state.marks.symbol_id.tolist(),
        found.settlements.settlement_id.tolist(),
    )


async def test_slices_import_each_account_once_and_every_price(any_database: str, database: Database) -> None:
    site = PostgresSite(any_database)
    await site.fill_exchange(
        dict.fromkeys(range(1, 100), 500),
        {(account, 5): (10_000, 7) for account in range(1, 100)},
        [(account, account, 5, "BUY", 10_000, account) for account in range(1, 100)],
    )
    found = [await PostgresStore(database, shard=shard).read_exchange() for shard in range(SHARD_COUNT)]
    for name in ("account_id", "position_account_id", "recent_account_id"):
        assert list(range(1, 100)) == sorted(itertools.chain.from_iterable(getattr(each, name) for each in found))
    for shard, each in enumerate(found):
        assert {shard} >= {shard_of(account) for account in each.account_id.tolist()}
        assert [99] == each.price_cents.tolist()


async def test_slices_keep_apart_what_has_the_same_key(any_database: str, database: Database) -> None:
    """Marks, sources and numbers of one say nothing of another; nor does its fence."""
    one, two = (PostgresStore(database, shard=shard) for shard in (3, 4))
    for store in (one, two, one):
        await store.recover()
    await one.write(a_flush(1, accounts=[an_account_row(accounts_of(3, 1)[0])], settlements=[(1, 1, 10)]))
    await two.write(a_flush(1, settlements=[(2, 1, 20)]))
    await two.write(a_flush(2, settlements=[(2, 1, 21)]))
    found = [await store.recover() for store in (one, two)]
    assert [(3, 1), (2, 2)] == [(each.start_number, each.flush_number) for each in found]
    assert [[10], [20, 21]] == [each.settlements.settlement_id.tolist() for each in found]
    seen = await inspect(any_database)
    assert (3, 3) == (seen.start_count, seen.event_count)


async def test_a_checkpoint_of_one_slice_is_none_of_another(database: Database) -> None:
    """Though its versions are far below: they compare only with its own."""
    stores = {shard: PostgresStore(database, shard=shard) for shard in (3, 4)}
    accounts = {shard: accounts_of(shard, 2) for shard in stores}
    for (shard, store), base in zip(stores.items(), (1_000, 5), strict=True):
        await store.recover()
        one, two = accounts[shard]
        rows = [a_valuation(base, {one: 10, two: 20}), a_valuation(base + 1, {one: 11})]
        held = [an_account_row(account) for account in accounts[shard]]
        await store.write(a_flush(1, accounts=held, rows=rows, latest=snapshots(rows[0])))
    found = {shard: await store.recover() for shard, store in stores.items()}
    assert [[1_001, 1_000], [6, 5]] == [found[shard].latest.version.tolist() for shard in stores]
    assert [1, 1] == [found[shard].rows_since_checkpoint for shard in stores]


async def test_a_slice_finds_rows_of_a_time_that_went_back(database: Database) -> None:
    """Market time may: what counts is the earliest of what the checkpoint does not hold."""
    store = PostgresStore(database, shard=3)
    await store.recover()
    [account] = accounts_of(3, 1)
    rows = [a_valuation(8, {account: 1}), a_valuation(9, {account: 2}, timestamp_ms=NOON_MS - DAY_MS)]
    await store.write(a_flush(1, accounts=[an_account_row(account)], rows=rows[:1], latest=snapshots(rows[0])))
    await store.write(a_flush(2, rows=rows[1:]))
    found = await store.recover()
    assert ([9], 1) == (found.latest.version.tolist(), found.rows_since_checkpoint)


async def test_a_month_stays_as_long_as_any_slice_reads_it(database: Database) -> None:
    """One of them has its checkpoint, with versions far beyond the other's."""
    await make_partitions(database, NOON_MS)
    stores = {shard: PostgresStore(database, shard=shard) for shard in (3, 4)}
    accounts = {shard: accounts_of(shard, 1)[0] for shard in stores}
    late_ms = NOON_MS + 400 * DAY_MS
    for (shard, store), version in zip(stores.items(), (5, 1_000), strict=True):
        await store.recover()
        row = a_valuation(version, {accounts[shard]: 1})
        latest = snapshots(row) if shard == 4 else None
        await store.write(a_flush(1, accounts=[an_account_row(accounts[shard])], rows=[row], latest=latest))
    assert [] == await drop_partitions(database, late_ms, 30)
    await stores[3].write(a_flush(2, latest=snapshots(a_valuation(5, {accounts[3]: 1}))))
    assert ["2026-01", "2026-02", "2026-03"] == await drop_partitions(database, late_ms, 30)


async def test_months_are_thinned_whatever_the_versions_of_a_slice_are(database: Database) -> None:
    """What comes while a month is being thinned stays, also if its version is below those of another slice."""
    await make_partitions(database, NOON_MS)
    stores = {shard: PostgresStore(database, shard=shard) for shard in (3, 4)}
    accounts = {shard: accounts_of(shard, 1)[0] for shard in stores}
    for (shard, store), base in zip(stores.items(), (10, 1_000), strict=True):
        await store.recover()
        rows = [a_valuation(base + n, {accounts[shard]: 1}, timestamp_ms=NOON_MS + 1_000 * n) for n in range(6)]
        held = [an_account_row(accounts[shard])]
        await store.write(a_flush(1, accounts=held, rows=rows, latest=snapshots(rows[-1])))
    async with database.transaction("begin a month") as connection:
        assert datetime(2026, 1, 1, tzinfo=UTC).date() == await connection.fetchval(
            "SELECT evs.begin_thinning($1)", datetime(2026, 6, 1, tzinfo=UTC).date()
        )
    await stores[3].write(a_flush(2, rows=[a_valuation(16, {accounts[3]: 1}, timestamp_ms=NOON_MS + 2_500)]))
    done = await thin_next_month(
        database, NOON_MS + 200 * DAY_MS, 31, CALENDAR.session_starts_ms, pause_seconds=0, step_rows=4
    )
    assert done is not None
    history = StoredHistory(database)
    found = [
        (await history.read_stretches(account, (0, -1), FOREVER_MS, 100, None)).version.tolist()
        for account in accounts.values()
    ]
    assert 16 in found[0]
    assert [10, 15] == [found[0][0], found[0][-1]]
    assert [1_000, 1_005] == [found[1][0], found[1][-1]]
    assert len(found[0]) + len(found[1]) < 13


async def kept(closes: SessionCloses | ClosesOfAll) -> Sequence[int]:
    return await closes.catch_up(CALENDAR.session_starts_ms)


async def test_each_slice_closes_its_own_sessions_and_all_have_what_the_last_has(database: Database) -> None:
    """Nobody is ranked by a close that others do not have yet."""
    one, two, everybody = Core(database, 3), Core(database, 4), ClosesOfAll(database)
    for core in (one, two):
        await core.begin()
    assert [] == await kept(everybody)
    for price in (5_100, 5_300, 4_700):
        await one.day(price)
    assert [MIDNIGHT_MS + day * DAY_MS for day in (-1, 0, 1)] == await kept(one.closes)
    for price in (5_100, 5_300):
        await two.day(price)
    assert [] == await kept(everybody), "the other slice has closed nothing"
    assert [MIDNIGHT_MS + day * DAY_MS for day in (-1, 0)] == await kept(two.closes) == await kept(everybody)
    for core in (one, two):
        assert core.accounts == (await core.closes.read(MIDNIGHT_MS)).account_id.tolist()
    both = await everybody.read(MIDNIGHT_MS)
    assert sorted([*one.accounts, *two.accounts]) == both.account_id.tolist()
    await two.day(4_700)
    await kept(two.closes)
    assert MIDNIGHT_MS + DAY_MS == (await kept(everybody))[-1]
    [growth_of_one, growth_of_two] = [(await core.closes.read(MIDNIGHT_MS + DAY_MS)).growth for core in (one, two)]
    assert growth_of_one.tolist() == growth_of_two.tolist(), "they traded alike"


async def test_the_past_of_an_account_knows_the_rolls_of_its_slice(database: Database) -> None:
    one, two = Core(database, 3), Core(database, 4)
    for core in (one, two):
        await core.begin()
    for price in (5_100, 5_300, 4_700):
        await one.day(price)
    await kept(one.closes)
    reader = PastReader(database)
    past = await reader.read_past(one.accounts[0], NOON_MS, NOON_MS + 4 * DAY_MS, lambda *_: [])
    assert past is not None
    assert [MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS] == [close.time_ms for close in past.closes]


async def test_closes_of_the_whole_are_closes_of_every_slice(any_database: str, database: Database) -> None:
    """As after `evs adopt`: what all accounts closed, those of a slice have."""
    core = Core(database, 3)
    await core.begin()
    async with asking(any_database) as connection:
        await connection.execute(
            "INSERT INTO evs.closed_session (shard, closed_at, account_count) VALUES (-1, $1, 2)",
            datetime.fromtimestamp((MIDNIGHT_MS - DAY_MS) // 1_000, UTC),
        )
    await core.day(5_100)
    await core.day(5_200)
    assert [MIDNIGHT_MS - DAY_MS, MIDNIGHT_MS] == await kept(core.closes) == await kept(ClosesOfAll(database))
    assert [core.accounts] == [plain((await core.closes.read(MIDNIGHT_MS)).account_id)]
