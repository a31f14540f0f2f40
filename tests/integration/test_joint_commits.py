"""Flushes of several slices in one transaction on a real database: together, and each for itself where it must be."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from evs_server.clock import SystemClock
from evs_server.cluster.shards import LOG
from evs_server.errors import Fenced, StoreUnavailable
from evs_server.model import Flush
from evs_server.store import database as room
from evs_server.store.database import Database
from evs_server.store.joint import Due, JointCommits, JointLimits
from evs_server.store.ownership import Ownership
from evs_server.store.poison import is_poisoned
from evs_server.store.postgres import PostgresStore
from evs_server.works import Works
from tests.builders import DAY_MS, NOON_MS
from tests.database import DatabaseServer
from tests.flushes import (
    a_flush,
    a_mark_row,
    a_parked_row,
    a_position_row,
    a_valuation,
    a_watermark,
    an_account_row,
    plain,
    snapshots,
)
from tests.patience import PATIENCE_SECONDS, eventually_true
from tests.serving import within_patience

SHARDS = (3, 4, 5)
KICK = 7
HISTORY = "equity_timeseries"


class Slices:
    """
    Some slices of a database, each started on by one worker, which commits them together.

    Attributes:
        due: The flushes that were handed in, in order.
    """

    def __init__(self, database: Database, ownership: Ownership, limits: JointLimits) -> None:
        self._database = database
        self.ownership = ownership
        self.joint = JointCommits(ownership.transaction, SystemClock(), limits)
        self.stores: dict[int, PostgresStore] = {}
        self.due: list[Due] = []

    async def begin(self, *shards: int) -> None:
        """Start on some."""
        for shard in shards:
            assert await self.ownership.take(shard)
            self.stores[shard] = PostgresStore(
                self._database, shard=shard, writing=self.ownership.transaction, committing=self._commit
            )
            self.ownership.began(shard, (await self.stores[shard].recover()).start_number)

    async def _commit(self, due: Due) -> None:
        self.due.append(due)
        await self.joint.write(due)

    async def write(self, flushes: dict[int, Flush]) -> list[BaseException | None]:
        """What becomes of flushes of different slices that are ready at the same moment, by slice in that order."""
        writing = [self.stores[shard].write(flush) for shard, flush in flushes.items()]
        return await within_patience(asyncio.gather(*writing, return_exceptions=True))

    async def flush_numbers(self) -> list[int]:
        """What each slice has committed, by its number."""
        async with self._database.transaction("look") as connection:
            rows = await connection.fetch("SELECT flush_number FROM evs.engine WHERE shard >= 0 ORDER BY shard")
        return [row["flush_number"] for row in rows]

    def counts(self) -> tuple[int, int]:
        """Transactions, and flushes in them."""
        statistics = self.joint.statistics()
        return statistics.transaction_count, statistics.flush_count


@asynccontextmanager
async def begun(dsn: str, shards: Sequence[int] = SHARDS, limits: JointLimits | None = None) -> AsyncIterator[Slices]:
    """Some slices, whose flushes are committed together until the end of the block."""
    database = await Database.open(dsn)
    ownership = Ownership(dsn, name="worker", on_lost=lambda: None, on_gone=lambda _: None)
    works = Works()
    try:
        await ownership.join()
        works.start("ownership", ownership.keep())
        slices = Slices(database, ownership, limits or JointLimits(gather_seconds=0.0, pace_seconds=0.0))
        works.start("commits", slices.joint.run())
        await slices.begin(*shards)
        yield slices
    finally:
        await works.stop(PATIENCE_SECONDS)
        await ownership.close()
        await database.close()


@pytest.fixture(autouse=True)
def _waits_long_for_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, what these tests lock is free again by then."""
    monkeypatch.setitem(room._SESSION, "lock_timeout", "25s")


@pytest.fixture
async def slices(database: str) -> AsyncIterator[Slices]:
    async with begun(database) as slices:
        yield slices


@pytest.fixture
async def hand(database: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Somebody else's connection to the database."""
    connection = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    yield connection
    await connection.close(timeout=PATIENCE_SECONDS)


def a_full_flush(shard: int, number: int) -> Flush:
    """Something for every table: accounts and amounts are this slice's alone, marks are of one symbol everywhere."""
    one, two = 100 * shard, 100 * shard + 1
    passes = [a_valuation(8 * number, {one: shard, two: -shard}), a_valuation(8 * number + 1, {two: number})]
    return a_flush(
        number,
        accounts=[an_account_row(one, shard), an_account_row(two, number)],
        positions=[a_position_row(one, KICK, shard)],
        marks=[a_mark_row(KICK, shard), a_mark_row(shard, number)],
        rows=passes,
        watermarks=[a_watermark(LOG, 1, 10 * number + shard, []), a_watermark("sender", 1, number, [shard])],
        settlements=[(one, 1, 1_000 * shard + number)] * (number % 2 + shard % 2),
        added=[(one, number, KICK, 1, 5, 5)],
        removed=[(one, number - 1, KICK, 1, 5, 5)],
        latest=snapshots(passes[1]) if number == shard % 3 else None,
        event_count=shard,
        parked=[a_parked_row(number, one)],
        released=[a_parked_row(number - 1, one)] if number > 1 else (),
        newcomers=[(two, shard, NOON_MS + shard * DAY_MS * number)],
    )


def broken(shard: int, number: int) -> Flush:
    """One whose row of history the database refuses."""
    refused = a_valuation(9, {100 * shard: 1})
    refused.equity_cents[0] += 1
    return a_flush(number, accounts=[an_account_row(100 * shard)], rows=[refused])


async def waiting_for_history(hand: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Return once somebody waits for the table of history, which ``hand`` has locked."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass"
    await eventually_true(lambda: hand.fetchval(query, HISTORY, timeout=PATIENCE_SECONDS), "somebody waits")


def of(shards: Sequence[int], number: int) -> dict[int, Flush]:
    return {shard: a_full_flush(shard, number) for shard in shards}


# --- together --------------------------------------------------------------------------------------------------------


async def test_what_is_ready_at_one_moment_is_one_transaction(slices: Slices) -> None:
    assert [None] * 3 == await slices.write(of(SHARDS, 1))
    assert ((1, 3), [1, 1, 1]) == (slices.counts(), await slices.flush_numbers())


async def test_flushes_committed_together_leave_what_each_alone_would(embedded_server: DatabaseServer) -> None:
    """Of every table, the same in every slice."""
    found: list[list[Any]] = []
    for together in (True, False):
        name = embedded_server.create()
        async with begun(embedded_server.dsn(name)) as slices:
            for number in (1, 2, 3):
                if together:
                    assert [None] * 3 == await slices.write(of(SHARDS, number))
                for shard in () if together else SHARDS:
                    assert [None] == await slices.write(of([shard], number))
            assert ((3, 9) if together else (9, 9)) == slices.counts()
            recovered = [plain(await slices.stores[shard].recover()) for shard in SHARDS]
            async with slices._database.transaction("look") as connection:
                rest = await connection.fetch(
                    "SELECT shard, event_count, settlement_count, latest_version, rows_since, flush_number"
                    " FROM evs.engine ORDER BY shard"
                )
            found.append([recovered, [tuple(row) for row in rest]])
        embedded_server.drop(name)
    assert found[0] == found[1]


async def test_who_is_ready_first_waits_for_the_others(database: str) -> None:
    """Here until the others are ready: 64 readers of one tick are so one after the other."""
    async with begun(database, limits=JointLimits(gather_seconds=1.0, pace_seconds=1.0)) as slices:
        writing = []
        for shard in SHARDS:
            writing.append(asyncio.ensure_future(slices.stores[shard].write(a_full_flush(shard, 1))))
            await asyncio.sleep(0)
            assert len(writing) == len(slices.due)
        await within_patience(asyncio.gather(*writing))
        assert (1, 3) == slices.counts()


async def test_a_transaction_takes_no_more_rows_than_it_may(database: str) -> None:
    """What is large goes by itself, and those behind it need not wait for that."""
    limits = JointLimits(gather_seconds=0.0, pace_seconds=0.0, transaction_rows=30)
    async with begun(database, limits=limits) as slices:
        large = a_flush(1, accounts=[an_account_row(500 + place) for place in range(50)])
        flushes = {3: a_full_flush(3, 1), 5: large, 4: a_full_flush(4, 1)}
        assert [None] * 3 == await slices.write(flushes)
        assert ((2, 3), [1, 1, 1]) == (slices.counts(), await slices.flush_numbers())


async def test_a_slice_that_is_committed_already_is_left_as_it_is(slices: Slices) -> None:
    """Its answer was lost; the others have something new."""
    assert [None] * 3 == await slices.write(of(SHARDS, 1))
    again = {3: a_flush(1, accounts=[an_account_row(300, 12_345)]), 4: a_full_flush(4, 2)}
    assert [None] * 2 == await slices.write(again)
    assert [3, 1] == (await slices.stores[3].recover()).state.accounts.cash_cents.tolist()
    assert [1, 2, 1] == await slices.flush_numbers()


# --- each for itself -------------------------------------------------------------------------------------------------


async def test_a_flush_that_is_refused_fails_alone_and_goes_alone_from_then_on(slices: Slices) -> None:
    """Its writer sifts it then; nobody is held up by it twice."""
    one, refused, three = await slices.write({3: a_full_flush(3, 1), 4: broken(4, 1), 5: a_full_flush(5, 1)})
    assert (None, None) == (one, three)
    assert isinstance(refused, StoreUnavailable)
    assert is_poisoned(refused)
    assert ((2, 2), [1, 0, 1]) == (slices.counts(), await slices.flush_numbers())
    one, refused, three = await slices.write({3: a_full_flush(3, 2), 4: broken(4, 1), 5: a_full_flush(5, 2)})
    assert (None, None) == (one, three)
    assert (3, 4) == slices.counts(), "the others were committed together, at the first attempt"
    await slices.stores[4].write_sifted(broken(4, 1))
    assert [None] == await slices.write(of([4], 2)), "the first that succeeds is alone ..."
    assert [None] * 3 == await slices.write(of(SHARDS, 3))
    assert ((5, 8), [3, 3, 3]) == (slices.counts(), await slices.flush_numbers()), "... and the next is not"


async def test_a_slice_that_another_has_taken_over_is_fenced_alone(slices: Slices, database: str) -> None:
    """The others are committed by the very transaction that finds out."""
    opened = await Database.open(database)
    await PostgresStore(opened, shard=4).recover()
    await opened.close()
    one, fenced, three = await slices.write(of(SHARDS, 1))
    assert (None, None, Fenced) == (one, three, type(fenced))
    assert ((1, 3), [1, 0, 1]) == (slices.counts(), await slices.flush_numbers())


async def test_a_slice_whose_row_is_locked_holds_up_nobody_twice(
    database: str, hand: "asyncpg.Connection[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was not to blame is written at the next attempt, and the locked one goes by itself."""
    monkeypatch.setitem(room._SESSION, "lock_timeout", "200ms")
    async with begun(database) as slices:
        async with hand.transaction():
            await hand.execute("SELECT FROM evs.engine WHERE shard = 3 FOR UPDATE", timeout=PATIENCE_SECONDS)
            failures = await slices.write(of(SHARDS, 1))
            assert {StoreUnavailable} == {type(failure) for failure in failures}
            locked, *others = await slices.write(of(SHARDS, 1))
            assert ([None, None], StoreUnavailable) == (others, type(locked))
            assert (1, 2) == slices.counts()
        assert [None] * 3 == await slices.write({3: a_full_flush(3, 1)} | of([4, 5], 2))
        assert [1, 2, 2] == await slices.flush_numbers()


async def test_while_the_connection_is_lost_all_are_told_and_afterwards_all_are_written(
    slices: Slices, hand: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """As they were: their numbers say whether they had been."""
    async with slices.ownership.transaction("ask who serves us") as connection:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
    await hand.fetchval("SELECT pg_terminate_backend($1, 10000)", pid, timeout=PATIENCE_SECONDS)

    async def are_written() -> bool:
        return [None] * 3 == await slices.write(of(SHARDS, 1))

    await eventually_true(are_written, "they are written by another connection")
    assert [1, 1, 1] == await slices.flush_numbers()


# --- leaving ---------------------------------------------------------------------------------------------------------


async def test_a_flush_that_is_taken_back_before_its_turn_is_never_written(slices: Slices) -> None:
    """As when a virtual shard is dropped: its lock is about to be released."""
    writing = asyncio.ensure_future(slices.stores[4].write(a_full_flush(4, 1)))
    await asyncio.sleep(0)
    assert 1 == len(slices.due)
    writing.cancel()
    others = of([3, 5], 1)
    assert [None] * 2 == await slices.write(others)
    assert ((1, 2), [1, 0, 1]) == (slices.counts(), await slices.flush_numbers())
    assert 0 == slices.joint.statistics().waiting_count


async def test_a_lock_is_released_behind_what_is_being_written_and_never_before(
    slices: Slices, hand: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Here somebody holds a table: one slice leaves meanwhile, and what is written for the others is not touched."""
    order: list[str] = []
    async with hand.transaction():
        await hand.execute(f"LOCK TABLE {HISTORY}", timeout=PATIENCE_SECONDS)
        writing = {shard: asyncio.ensure_future(slices.stores[shard].write(a_full_flush(shard, 1))) for shard in SHARDS}
        await waiting_for_history(hand)
        writing[4].cancel()
        writing[5].add_done_callback(lambda _: order.append("written"))
        releasing = asyncio.ensure_future(slices.ownership.release(4))
        releasing.add_done_callback(lambda _: order.append("released"))
        await asyncio.wait({writing[4]})
    await within_patience(asyncio.gather(writing[3], writing[5], releasing))
    assert (["written", "released"], (1, 3)) == (order, slices.counts())
    assert [1, 1, 1] == await slices.flush_numbers()


async def test_what_nobody_waits_for_any_more_is_not_tried_alone(
    slices: Slices, hand: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The joint transaction fails; by then one of its slices has gone, and must not be written any more."""
    async with hand.transaction():
        await hand.execute(f"LOCK TABLE {HISTORY}", timeout=PATIENCE_SECONDS)
        flushes = {3: broken(3, 1), 4: a_full_flush(4, 1), 5: a_full_flush(5, 1)}
        writing = {shard: asyncio.ensure_future(slices.stores[shard].write(flush)) for shard, flush in flushes.items()}
        await waiting_for_history(hand)
        writing[4].cancel()
        await asyncio.wait({writing[4]})
    await within_patience(asyncio.wait(writing.values()))
    assert [0, 0, 1] == await slices.flush_numbers()


async def test_whoever_still_waits_when_committing_ends_is_told(database: str) -> None:
    async with begun(database) as slices:
        pass
    with pytest.raises(StoreUnavailable, match="this worker has ended"):
        await slices.joint.write(Due(3, 1, a_flush(1)))
