"""Rows that PostgreSQL refuses: found, set aside, and the rest is written, once and in order."""

import json
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import asyncpg
import pytest

from evs_server.engine.engine import Engine
from evs_server.errors import Fenced, StoreUnavailable
from evs_server.model import Flush, Recovered, Valuation
from evs_server.store import poison
from evs_server.store.commit import write_rows
from evs_server.store.poison import is_poisoned
from evs_server.store.postgres import PostgresStore
from evs_server.store.writer import WriterLimits
from tests.builders import NOON_MS, an_account, an_engine
from tests.flushes import (
    a_flush,
    a_mark_row,
    a_position_row,
    a_valuation,
    a_watermark,
    an_account_row,
    plain,
    snapshots,
)
from tests.integration.test_writer import SECONDS, Bench
from tests.patience import eventually_true

POISON = 666


@dataclass
class Site:
    """A database that refuses some numbers, a store in it, and a hand to look."""

    store: PostgresStore
    hand: "asyncpg.Connection[asyncpg.Record]"

    async def value(self, query: str) -> object:
        return await self.hand.fetchval(query, timeout=SECONDS)

    async def set_aside(self) -> list[tuple[int, str, str]]:
        found = await self.hand.fetch("SELECT * FROM evs.set_aside ORDER BY id", timeout=SECONDS)
        return [(row["flush_number"], row["target"], row["sqlstate"]) for row in found]


@pytest.fixture
async def site(any_database: str) -> AsyncIterator[Site]:
    """Equity, cash and prices of 666 cents, and positions of 666 bp, are refused."""
    hand = await asyncpg.connect(any_database, timeout=SECONDS)
    for table, column in (
        ("equity_timeseries", "total_equity"),
        ("evs.account", "cash_cents"),
        ("evs.position", "quantity_bp"),
        ("evs.mark", "price_cents"),
    ):
        await hand.execute(f"ALTER TABLE {table} ADD CONSTRAINT no_beast CHECK ({column} <> {POISON})", timeout=SECONDS)
    store = await PostgresStore.open(any_database)
    await store.recover()
    yield Site(store, hand)
    await store.close()
    await hand.close(timeout=SECONDS)


def a_flush_of_all(number: int, *, poison: bool) -> Flush:
    """Two passes, three accounts, positions and marks, and all that is not sifted; a row of each pass is refused."""
    bad = POISON if poison else 667
    return a_flush(
        number,
        event_count=7,
        accounts=[an_account_row(1), an_account_row(2), an_account_row(3)],
        positions=[a_position_row(1, 5), a_position_row(2, 5), a_position_row(2, 6)],
        marks=[a_mark_row(5), a_mark_row(6)],
        rows=[a_valuation(8, {1: bad, 2: 20, 3: 30}), a_valuation(9, {1: 11, 2: bad})],
        watermarks=[a_watermark("a", 1, 1, [1, 2, 3])],
        settlements=[(1, 1, 10)],
        added=[(1, 100, 5, 1, 10, 10)],
        latest=snapshots(a_valuation(8, {1: 18})),
    )


def latest(recovered: Recovered) -> list[tuple[int, int, int]]:
    """Account, version and equity of each snapshot that a start finds."""
    found = recovered.latest
    columns = (found.account_id, found.version, found.equity_cents)
    return list(zip(*(column.tolist() for column in columns), strict=True))


async def test_each_refused_row_is_set_aside_and_everything_else_is_written(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        found = await site.store.write_sifted(a_flush_of_all(1, poison=True))
    expected = [(1, "equity_timeseries", "23514")] * 2
    assert expected == await site.set_aside() == [(1, each.target, each.sqlstate) for each in found]
    assert 2 == sum("set aside a row of flush 1 for" in record.getMessage() for record in caplog.records)
    recovered = await site.store.recover()
    assert [1, 2, 3] == recovered.state.accounts.account_id.tolist()
    positions = recovered.state.positions
    assert ([1, 2, 2], [5, 5, 6]) == (positions.account_id.tolist(), positions.symbol_id.tolist())
    assert [5, 6] == recovered.state.marks.symbol_id.tolist()
    assert (1, 7) == (recovered.flush_number, await site.value("SELECT event_count FROM evs.engine"))
    assert plain([a_watermark("a", 1, 1, [1, 2, 3])]) == plain(recovered.watermarks)
    assert ([10], [100]) == (recovered.settlements.settlement_id.tolist(), recovered.unannounced.trade_id.tolist())
    assert 1 == await site.value("SELECT settlement_count FROM evs.engine")
    assert 3 == await site.value("SELECT count(*) FROM equity_timeseries")


async def test_the_newest_snapshot_of_an_account_survives_though_its_row_is_set_aside(site: Site) -> None:
    """Behind a checkpoint in the same flush; where the newest row was sound, that one counts."""
    await site.store.write_sifted(a_flush_of_all(1, poison=True))
    assert [(1, 9, 11), (2, 9, POISON)] == latest(await site.store.recover())
    await site.store.write_sifted(a_flush(2, rows=[a_valuation(10, {1: POISON, 2: POISON}), a_valuation(11, {2: 21})]))
    assert [(1, 10, POISON), (2, 11, 21)] == latest(await site.store.recover())
    await site.store.write_sifted(a_flush(3, rows=[a_valuation(12, {1: 12})]))
    assert [(1, 12, 12), (2, 11, 21)] == latest(await site.store.recover())
    await site.store.write(a_flush(4, latest=snapshots(a_valuation(12, {1: 12}), a_valuation(11, {2: 21}))))
    assert [(1, 12, 12), (2, 11, 21)] == latest(await site.store.recover())


async def test_a_start_has_what_it_needs_of_an_account_whose_only_row_is_set_aside(site: Site) -> None:
    await site.hand.execute("ALTER TABLE evs.account DROP CONSTRAINT no_beast", timeout=SECONDS)
    engine = an_engine()
    rows = [engine.open_accounts([an_account(1, cash_cents=POISON), an_account(2)], NOON_MS)]
    await site.store.write_sifted(replace(a_flush(1, rows=rows), state=engine.capture()))
    assert [(1, "equity_timeseries", "23514")] == await site.set_aside()
    recovered = await site.store.recover()
    successor = an_engine()
    successor.restore(recovered.state, recovered.latest, 0)
    assert POISON == _equity_cents(successor, 1)


@pytest.mark.parametrize(
    "refused",
    [
        {"accounts": [an_account_row(1, POISON)]},
        {"positions": [a_position_row(1, 5, POISON)]},
        {"marks": [a_mark_row(5, POISON)]},
    ],
)
async def test_state_is_written_whole_or_not_at_all(site: Site, refused: dict[str, Any]) -> None:
    """A watermark that moved on without a row of state would lie, and a position needs its account."""
    flush = a_flush(1, rows=[a_valuation(8, {1: POISON, 2: 20})], watermarks=[a_watermark("a", 1, 1, [1])], **refused)
    with pytest.raises(StoreUnavailable, match="no_beast") as caught:
        await site.store.write_sifted(flush)
    assert is_poisoned(caught.value)
    recovered = await site.store.recover()
    assert (0, (), []) == (recovered.flush_number, recovered.watermarks, latest(recovered))
    assert [] == await site.set_aside()


async def test_a_flush_whose_state_is_refused_is_written_once_the_table_is_repaired(site: Site) -> None:
    limits = WriterLimits(backoff_seconds=0.001, backoff_seconds_max=0.001)
    bench = Bench(site.store, limits, sift=site.store.write_sifted)
    async with bench.running():
        bench.writer.offer(a_flush(1, accounts=[an_account_row(1, POISON)], rows=[a_valuation(8, {1: POISON})]))
        await eventually_true(lambda: _refused(bench, 3), "the third attempt fails")
        assert NOON_MS == bench.writer.degraded_since_ms
        assert "no_beast" in bench.writer.statistics().last_failure
        await site.hand.execute("ALTER TABLE evs.account DROP CONSTRAINT no_beast", timeout=SECONDS)
        assert 0 == await bench.drained()
    assert [(1, "equity_timeseries", "23514")] == await site.set_aside()
    assert None is bench.writer.degraded_since_ms


async def _refused(bench: Bench, times: int) -> bool:
    return bench.writer.statistics().failure_count >= times


def _equity_cents(engine: Engine, account_id: int) -> int:
    snapshot = engine.snapshot(account_id)
    assert snapshot is not None
    return snapshot.equity_cents


async def test_what_is_set_aside_is_enough_to_repair_it_by_hand(site: Site) -> None:
    await site.store.write_sifted(a_flush_of_all(1, poison=True))
    row = await site.hand.fetchrow("SELECT row::text, message FROM evs.set_aside ORDER BY id", timeout=SECONDS)
    assert row is not None
    assert asdict(a_valuation(8, {1: POISON}).snapshot(0)) == json.loads(row["row"])
    assert "no_beast" in row["message"]


@pytest.mark.parametrize(
    ("sqlstate", "raising"),
    [("P0001", "RAISE EXCEPTION 'no beasts'"), ("44000", "RAISE EXCEPTION SQLSTATE '44000'")],
)
async def test_a_row_that_a_trigger_refuses_is_set_aside(any_database: str, sqlstate: str, raising: str) -> None:
    hand = await asyncpg.connect(any_database, timeout=SECONDS)
    await hand.execute(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {raising}; END $$;"
        "CREATE TRIGGER no_beast BEFORE INSERT ON equity_timeseries FOR EACH ROW"
        f" WHEN (new.total_equity = {POISON}) EXECUTE FUNCTION refuse()",
        timeout=SECONDS,
    )
    store = await PostgresStore.open(any_database)
    await store.recover()
    bench = Bench(store, sift=store.write_sifted)
    async with bench.running():
        assert 0 == await bench.drained(a_flush(1, rows=[a_valuation(8, {1: POISON, 2: 20})]))
    assert [(1, "equity_timeseries", sqlstate)] == await Site(store, hand).set_aside()
    await store.close()
    await hand.close(timeout=SECONDS)


async def test_a_flush_without_poison_is_sifted_as_it_is_written(site: Site) -> None:
    assert [] == await site.store.write_sifted(a_flush_of_all(1, poison=False))
    assert 5 == await site.value("SELECT count(*) FROM equity_timeseries")


async def test_a_sifted_flush_is_committed_once(site: Site) -> None:
    """A retry whose first answer was lost finds what was set aside then, and writes nothing."""
    first = await site.store.write_sifted(a_flush_of_all(1, poison=True))
    again = await site.store.write_sifted(a_flush_of_all(1, poison=True))
    assert [(each.target, json.loads(each.row)) for each in first] == [
        (each.target, json.loads(each.row)) for each in again
    ]
    await site.store.write(a_flush_of_all(1, poison=False))
    assert 3 == await site.value("SELECT count(*) FROM equity_timeseries")
    assert 2 == await site.value("SELECT count(*) FROM evs.set_aside")


async def test_one_row_in_ten_thousand_costs_few_parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """About log2 of the rows: a hundred ticks of a hundred accounts, in which one row is bad."""
    parts: list[int] = []

    async def counting(connection: Any, passes: Sequence[Valuation]) -> None:
        parts.append(sum(map(len, passes)))
        await write_rows(connection, passes)

    monkeypatch.setattr(poison, "write_rows", counting)
    passes = [a_valuation(version, {key: version * 1_000 + key for key in range(100)}) for version in range(1, 101)]
    passes[57] = a_valuation(58, {key: POISON if key == 31 else key for key in range(100)})
    assert 1 == len(await site.store.write_sifted(a_flush(1, rows=passes)))
    assert len(parts) <= 2 + 14 + 1
    assert sum(parts) <= 3.5 * 10_000
    assert 9_999 == await site.value("SELECT count(*) FROM equity_timeseries")


async def test_rows_that_only_clash_with_each_other_are_found(site: Site) -> None:
    """Each of the two is sound by itself: the second is set aside."""
    rows = [a_valuation(8, {1: 10, 2: 20}), a_valuation(8, {3: 30, 1: 11})]
    await site.store.write_sifted(a_flush(1, rows=rows))
    assert [(1, "equity_timeseries", "23505")] == await site.set_aside()
    assert 30 == await site.value("SELECT sum(total_equity) - 30 FROM equity_timeseries")


async def test_a_table_that_refuses_everything_is_not_emptied_into_the_other(site: Site) -> None:
    """Then nothing is written, and the writer goes on trying."""
    rows = [a_valuation(8, dict.fromkeys(range(200), POISON))]
    with pytest.raises(StoreUnavailable, match="more than 100 rows of flush 1 are refused") as caught:
        await site.store.write_sifted(a_flush(1, rows=rows))
    assert is_poisoned(caught.value)
    assert 0 == await site.value("SELECT count(*) FROM evs.set_aside")
    assert 0 == await site.value("SELECT flush_number FROM evs.engine")


async def test_a_replaced_process_sifts_nothing(site: Site, any_database: str) -> None:
    successor = await PostgresStore.open(any_database)
    await successor.recover()
    with pytest.raises(Fenced):
        await site.store.write_sifted(a_flush_of_all(1, poison=True))
    await successor.close()


async def test_the_writer_goes_on_behind_a_poisonous_row(site: Site) -> None:
    bench = Bench(site.store, WriterLimits(transaction_rows=50, backoff_seconds=0.001), sift=site.store.write_sifted)
    flushes = [
        a_flush(number, accounts=[an_account_row(1, number)], rows=[a_valuation(number, {1: value, 2: number})])
        for number, value in enumerate([10, 20, POISON, 40, 50, POISON, 70], start=1)
    ]
    async with bench.running():
        for flush in flushes:
            assert 0 == await bench.drained(flush)
    statistics = bench.writer.statistics()
    assert (2, 7, 2) == (statistics.set_aside_row_count, statistics.committed_flush_number, statistics.failure_count)
    assert list(range(1, 8)) == [flush.number for flush in bench.durable]
    assert [(3, "equity_timeseries", "23514"), (6, "equity_timeseries", "23514")] == await site.set_aside()
    assert 12 == await site.value("SELECT count(*) FROM equity_timeseries")
    assert None is bench.writer.degraded_since_ms
