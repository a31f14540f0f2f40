"""The state of one process split into slices: nothing lost, nothing doubled, and nobody on the other side any more."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from evs_server.clock import SystemClock
from evs_server.cluster.shards import KEEPER, LOG, SHARD_COUNT, WHOLE, shard_of
from evs_server.errors import ConfigError, Fenced
from evs_server.model import EngineMeta, Flush
from evs_server.store.adopt import Adopted, adopt
from evs_server.store.database import Database
from evs_server.store.leader import Leadership
from evs_server.store.ownership import Ownership
from evs_server.store.postgres import PostgresStore
from evs_server.store.spool import Spool, Spooled
from evs_server.store.spool_replay import read_lineage
from evs_server.store.spool_segment import Stamp
from tests.builders import NOON_MS
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

SECONDS = 30
SPOOL_BYTES = 2**20
ACCOUNTS = range(1, 201)


def everything(number: int = 1) -> Flush:
    """A flush that puts something into every table, for accounts of all slices."""
    meta = EngineMeta(version=2**33 + 9, tick=7, session_start_ms=NOON_MS, tick_time_ms=NOON_MS)
    return a_flush(
        number,
        accounts=[an_account_row(account, account) for account in ACCOUNTS],
        positions=[a_position_row(account, symbol, account) for account in ACCOUNTS for symbol in (7, 8)],
        marks=[a_mark_row(7), a_mark_row(8, 300)],
        rows=[
            a_valuation(2**33 + 8, {account: 1_000 + account for account in ACCOUNTS}),
            a_valuation(2**33 + 9, {account: 2_000 + account for account in ACCOUNTS if account % 3 == 0}),
        ],
        watermarks=[a_watermark("em", 3, 41, [1, 2, 2**64 - 1]), a_watermark("other", 1, 1, [5])],
        settlements=[(account, 1, 9_000 - account) for account in ACCOUNTS],
        added=[(account, 77, 7, 1, 30, 40) for account in ACCOUNTS],
        latest=snapshots(a_valuation(2**33 + 8, {account: 1_000 + account for account in ACCOUNTS})),
        meta=meta,
        event_count=44,
        parked=[a_parked_row(number, account) for number, account in enumerate(range(300, 310))],
        newcomers=[(account, 5, NOON_MS) for account in ACCOUNTS],
    )


class Place:
    """A database, and where its spools are."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn = dsn
        self.folder = folder

    async def adopt(self, log_position: int = 0) -> Adopted:
        return await adopt(self.dsn, log_position=log_position, spool_folder=self.folder, spool_bytes_max=SPOOL_BYTES)

    @asynccontextmanager
    async def store(self, shard: int = WHOLE) -> AsyncIterator[PostgresStore]:
        database = await Database.open(self.dsn)
        try:
            yield PostgresStore(database, shard=shard)
        finally:
            await database.close()

    async def recovered(self, shard: int = WHOLE) -> dict[str, Any]:
        """What a start finds."""
        async with self.store(shard) as store:
            found: dict[str, Any] = plain(await store.recover())
        return found

    async def write(self, *flushes: Flush) -> None:
        """As a start of ``evs serve`` that writes these and ends."""
        async with self.store() as store:
            await store.recover()
            for flush in flushes:
                await store.write(flush)

    async def ask(self, query: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.dsn, timeout=SECONDS)
        try:
            return [tuple(row) for row in await connection.fetch(query, timeout=SECONDS)]
        finally:
            await connection.close(timeout=SECONDS)


@pytest.fixture
def place(any_database: str, tmp_path: Path) -> Place:
    return Place(any_database, tmp_path / "spool")


def rows_of(table: dict[str, list[int]]) -> list[tuple[int, ...]]:
    return list(zip(*table.values(), strict=True))


def united(parts: list[dict[str, list[int]]]) -> list[tuple[int, ...]]:
    """The rows of all parts, in order."""
    return sorted(itertools.chain.from_iterable(rows_of(part) for part in parts))


async def test_slices_together_are_what_the_whole_was(place: Place) -> None:
    """Every table; each row is in the slice of its account, marks and the session are in all of them."""
    await place.write(everything())
    before = await place.recovered()
    history = await place.ask("SELECT * FROM equity_timeseries ORDER BY account_id, version")
    assert Adopted(now=True, account_count=len(ACCOUNTS)) == await place.adopt(log_position=12)
    slices = [await place.recovered(shard) for shard in range(SHARD_COUNT)]
    for name in ("accounts", "positions"):
        assert rows_of(before["state"][name]) == united([each["state"][name] for each in slices])
    for name in ("latest", "unannounced", "parked", "newcomers"):
        assert sorted(rows_of(before[name])) == united([each[name] for each in slices])
    log_at_12 = plain([a_watermark(LOG, 1, 13, [])])
    for shard, each in enumerate(slices):
        held = [account for account in ACCOUNTS if shard_of(account) == shard]
        assert held == each["state"]["accounts"]["account_id"] == each["latest"]["account_id"]
        assert [9_000 - account for account in held] == each["settlements"]["settlement_id"]
        assert (before["state"]["meta"], before["state"]["marks"]) == (each["state"]["meta"], each["state"]["marks"])
        assert log_at_12 == each["watermarks"]
        assert (0, True) == (each["rows_since_checkpoint"], each["imported"])
    keeper = await place.recovered(KEEPER)
    assert [*log_at_12, *before["watermarks"]] == keeper["watermarks"]
    assert [] == rows_of(keeper["state"]["accounts"])
    assert history == await place.ask("SELECT * FROM equity_timeseries ORDER BY account_id, version")
    assert [(44,)] == await place.ask("SELECT sum(event_count)::bigint FROM evs.engine")


async def test_slices_go_on_from_where_the_whole_was(place: Place) -> None:
    """With versions beyond its own, and settlements after those it had."""
    await place.write(everything())
    whole_start = (await place.recovered())["start_number"]
    await place.adopt()
    shard = shard_of(1)
    async with place.store(shard) as store:
        found = await store.recover()
        assert whole_start < found.start_number
        version = found.start_number << 32
        meta = EngineMeta(version, 8, NOON_MS, NOON_MS)
        rows = [a_valuation(version, {1: 5})]
        await store.write(
            a_flush(found.flush_number + 1, rows=rows, settlements=[(1, 2, 1)], parked=[a_parked_row(99)], meta=meta)
        )
        after = await store.recover()
    assert (1, version) == (after.rows_since_checkpoint, int(after.latest.version[after.latest.account_id == 1][0]))
    assert [*found.settlements.settlement_id.tolist(), 1] == after.settlements.settlement_id.tolist()
    assert 99 in after.parked.parked_id


async def test_done_again_it_changes_nothing(place: Place) -> None:
    await place.write(everything())
    await place.adopt(log_position=12)
    before = [await place.recovered(shard) for shard in (0, 1, KEEPER)]
    assert Adopted(now=False, account_count=len(ACCOUNTS)) == await place.adopt(log_position=99)
    after = [await place.recovered(shard) for shard in (0, 1, KEEPER)]
    for each in (*before, *after):
        del each["start_number"]
    assert before == after


async def test_a_database_without_state_has_nothing_to_adopt(place: Place) -> None:
    """A cluster imports the exchange's tables itself."""
    assert Adopted(now=False, account_count=0) == await place.adopt()
    assert not (await place.recovered(3))["imported"]


async def test_who_keeps_the_whole_refuses_slices_and_the_other_way(place: Place) -> None:
    await place.write(everything())
    async with place.store(3) as store:
        with pytest.raises(ConfigError, match=r"whole.*run `evs adopt` once"):
            await store.recover()
    await place.adopt()
    async with place.store() as store:
        with pytest.raises(ConfigError, match=r"in 65 slices.*start `evs shard`"):
            await store.recover()


async def test_a_process_that_slept_through_it_writes_nothing(place: Place) -> None:
    async with place.store() as sleeper:
        await sleeper.recover()
        await sleeper.write(everything())
        await place.adopt()
        with pytest.raises(Fenced, match="start 2 has taken over from start 1"):
            await sleeper.write(a_flush(2, accounts=[an_account_row(1)]))


async def test_on_a_new_database_who_writes_first_decides(place: Place) -> None:
    """Both may begin, as long as neither has imported anything; the other one is turned away then."""
    async with place.store() as whole, place.store(3) as part:
        await part.recover()
        await whole.recover()
        with pytest.raises(Fenced):
            await part.write(a_flush(1))
        await part.recover()
        await part.write(a_flush(1))
        with pytest.raises(Fenced):
            await whole.write(a_flush(1))
        with pytest.raises(ConfigError, match="in 1 slices"):
            await whole.recover()
        async with place.store(4) as another:
            await another.recover()
            await another.write(a_flush(1))
            await part.write(a_flush(2))


async def test_it_waits_for_nobody_who_serves(place: Place) -> None:
    """It would have to be told when; so it refuses, and changes nothing."""
    await place.write(everything())
    leader = Leadership(place.dsn, name="evs one", clock=SystemClock(), on_following=lambda _: None)
    await leader.acquire()
    with pytest.raises(ConfigError, match="`evs serve` is running"):
        await place.adopt()
    await leader.close()
    worker = Ownership(place.dsn, name="one", on_lost=lambda: None, on_gone=lambda _: None)
    await worker.join()
    with pytest.raises(ConfigError, match="workers"):
        await place.adopt()
    await worker.close()
    assert [(WHOLE, 1)] == await place.ask("SELECT shard, flush_number FROM evs.engine")
    assert (await place.adopt()).now


async def test_what_is_left_in_a_spool_is_written_first(place: Place) -> None:
    await place.write(everything())
    async with place.store() as store:
        number = (await store.recover()).start_number
        lineage = await read_lineage(store.database)
    spool = Spool.open(place.folder / f"{lineage.database_id.replace('/', '-')}-1", SPOOL_BYTES)
    spool.begin(Stamp(lineage.database_id, number))
    spool.append([Spooled(2, a_flush(2, accounts=[an_account_row(1, 77)]))])
    spool.close()
    await place.adopt()
    found = (await place.recovered(shard_of(1)))["state"]["accounts"]
    assert 77 == found["cash_cents"][found["account_id"].index(1)]
