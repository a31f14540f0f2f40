"""The realized_pnl columns of the exchange's tables follow our own, and never hold up whoever writes those tables."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from evs_server.store import derived
from evs_server.store.derived import RealizedColumns
from evs_server.store.postgres import PostgresStore
from tests.flushes import a_flush, a_position_row, an_account_row

SECONDS = 30


@pytest.fixture
async def hand(any_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the exchange's, with two accounts and three positions."""
    connection = await asyncpg.connect(any_database, timeout=SECONDS)
    await connection.execute(
        "INSERT INTO accounts (id) VALUES (1), (2);"
        "INSERT INTO positions (account_id, symbol_id, quantity, avg_cost)"
        " VALUES (1, 5, 1, 1), (1, 6, 1, 1), (2, 5, 1, 1)",
        timeout=SECONDS,
    )
    yield connection
    await connection.close(timeout=SECONDS)


@pytest.fixture
async def store(any_database: str) -> AsyncIterator[PostgresStore]:
    """A store that may write."""
    opened = await PostgresStore.open(any_database)
    await opened.recover()
    yield opened
    await opened.close()


@asynccontextmanager
async def running(columns: RealizedColumns) -> AsyncIterator[None]:
    """The columns are kept within the block."""
    task = asyncio.create_task(columns.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=SECONDS)
        assert task.cancelled() or task.exception() is None


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    """Return once a check holds, looking again and again."""
    async with asyncio.timeout(SECONDS):
        while not await check():
            pass


async def realized(hand: asyncpg.Connection) -> list[int]:
    """Realized of both accounts, then of the three positions."""
    accounts = await hand.fetch("SELECT realized_pnl FROM accounts ORDER BY id", timeout=SECONDS)
    positions = await hand.fetch("SELECT realized_pnl FROM positions ORDER BY account_id, symbol_id", timeout=SECONDS)
    return [row["realized_pnl"] for row in (*accounts, *positions)]


async def test_a_start_brings_all_of_them_up_to_date(store: PostgresStore, hand: asyncpg.Connection) -> None:
    """Also what an earlier process committed and did not come to refresh."""
    await store.write(
        a_flush(
            1,
            accounts=[an_account_row(1, realized_cents=30), an_account_row(2, realized_cents=-7)],
            positions=[a_position_row(1, 5, realized_cents=10), a_position_row(1, 6, realized_cents=20)],
        )
    )
    async with running(RealizedColumns(store.database)):

        async def all_there() -> bool:
            return [30, -7, 10, 20, 0] == await realized(hand)

        await eventually(all_there)


async def test_a_row_that_the_exchange_holds_is_put_off_and_the_others_are_not(
    store: PostgresStore, hand: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "RETRY_SECONDS", 0.01)
    columns = RealizedColumns(store.database)
    async with running(columns):
        settlement = hand.transaction()
        await settlement.start()
        await hand.execute("SELECT FROM accounts WHERE id = 1 FOR UPDATE", timeout=SECONDS)
        flush = a_flush(
            1,
            accounts=[an_account_row(1, realized_cents=30), an_account_row(2, realized_cents=-7)],
            positions=[a_position_row(1, 5, realized_cents=10), a_position_row(2, 5, realized_cents=-7)],
        )
        await store.write(flush)
        columns.offer(flush)

        async def others_there() -> bool:
            return [0, -7, 10, 0, -7] == await realized(hand)

        await eventually(others_there)
        await settlement.commit()

        async def all_there() -> bool:
            return [30, -7, 10, 0, -7] == await realized(hand)

        await eventually(all_there)
    assert columns.statistics().skipped_count > 0


async def test_the_exchange_does_not_wait_for_us(store: PostgresStore, hand: asyncpg.Connection) -> None:
    """What another transaction has locked is skipped at once, not waited for."""
    columns = RealizedColumns(store.database)
    await store.write(a_flush(1, accounts=[an_account_row(1, realized_cents=30)]))
    settlement = hand.transaction()
    await settlement.start()
    await hand.execute("UPDATE accounts SET currency_balance = 1 WHERE id = 1", timeout=SECONDS)
    async with running(columns):

        async def put_off() -> bool:
            await hand.execute("SELECT 1", timeout=SECONDS)
            return columns.statistics().skipped_count > 0

        await eventually(put_off)
        waiting = await hand.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted", timeout=SECONDS)
        assert 0 == waiting
        await settlement.rollback()


async def test_too_many_accounts_to_remember_are_all_gone_through(
    store: PostgresStore, hand: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(derived, "DUE_ACCOUNTS_MAX", 1)
    monkeypatch.setattr(derived, "PORTION_ACCOUNTS", 1)
    columns = RealizedColumns(store.database)
    flush = a_flush(1, accounts=[an_account_row(1, realized_cents=30), an_account_row(2, realized_cents=-7)])
    async with running(columns):

        async def idle() -> bool:
            await hand.execute("SELECT 1", timeout=SECONDS)
            return not columns.statistics().sweeping

        await eventually(idle)
        await store.write(flush)
        columns.offer(flush)
        assert (0, True) == (columns.statistics().due_count, columns.statistics().sweeping)

        async def all_there() -> bool:
            return [30, -7, 0, 0, 0] == await realized(hand)

        await eventually(all_there)


async def test_without_the_columns_it_says_so_once_and_stops(
    store: PostgresStore, hand: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await hand.execute(
        "ALTER TABLE accounts DROP COLUMN realized_pnl; ALTER TABLE positions DROP COLUMN realized_pnl", timeout=SECONDS
    )
    await store.write(a_flush(1, accounts=[an_account_row(1)]))
    columns = RealizedColumns(store.database)
    await asyncio.wait_for(columns.run(), SECONDS)
    columns.offer(a_flush(2, accounts=[an_account_row(1)]))
    assert 0 == columns.statistics().due_count
    assert ["accounts.realized_pnl", "positions.realized_pnl"] == [
        record.getMessage().split(" ")[0] for record in caplog.records if record.levelname == "WARNING"
    ]


@pytest.mark.parametrize(("took_seconds", "rests_seconds"), [(0.0, 0.5), (0.1, 0.5), (0.5, 2.0), (60.0, 5.0)])
def test_the_longer_a_refresh_takes_the_longer_it_rests(took_seconds: float, rests_seconds: float) -> None:
    """Ten thousand accounts that change all the time would be half of what the database does."""
    assert rests_seconds == derived.rest_seconds(took_seconds)


async def test_between_two_refreshes_what_changes_is_gathered(
    store: PostgresStore, hand: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many flushes come, and however often they change the same accounts."""
    monkeypatch.setattr(derived, "REST_SECONDS", 3_600.0)
    columns = RealizedColumns(store.database)
    async with running(columns):

        async def resting() -> bool:
            await hand.execute("SELECT 1", timeout=SECONDS)
            return not columns.statistics().sweeping

        await eventually(resting)
        refreshed_count = columns.statistics().refreshed_count
        for number in range(1, 21):
            await store.write(a_flush(number, accounts=[an_account_row(1, realized_cents=number)]))
            columns.offer(a_flush(number, accounts=[an_account_row(1, realized_cents=number)]))
    assert (20, refreshed_count) == (columns.statistics().due_count, columns.statistics().refreshed_count)
    async with running(columns):

        async def refreshed() -> bool:
            await hand.execute("SELECT 1", timeout=SECONDS)
            return columns.statistics().due_count == 0 and columns.statistics().refreshed_count > refreshed_count

        await eventually(refreshed)
    assert refreshed_count + 1 == columns.statistics().refreshed_count
    assert [20, 0] == (await realized(hand))[:2]
