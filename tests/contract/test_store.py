"""What every store keeps to: the stand-in in memory, and PostgreSQL, old and new, with all accounts or a slice."""

from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from evs_server.errors import Fenced, StoreUnavailable
from evs_server.limits import DIGESTS_KEPT
from evs_server.model import EngineMeta, SettledTrade, Side
from evs_server.store import commit, memory
from tests.builders import DAY_MS, NOON_MS
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
from tests.sites import MemorySite, PostgresSite, Site, SliceSite

ACCOUNTS = [an_account_row(account_id) for account_id in (1, 2, 3)]


@pytest.fixture(params=["memory", "embedded", "system", "embedded slice", "system slice"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A fresh, migrated database of each kind."""
    if request.param == "memory":
        yield MemorySite()
        return
    kind, _, slice_ = request.param.partition(" ")
    server = request.getfixturevalue(f"{kind}_server")
    name = server.create()
    postgres = (SliceSite if slice_ else PostgresSite)(server.dsn(name))
    yield postgres
    await postgres.close()
    server.drop(name)


async def recovered(site: Site) -> dict[str, Any]:
    """What a new start would find, but for its own number."""
    found: dict[str, Any] = plain(await (await site.open()).recover())
    del found["start_number"]
    return found


async def test_a_first_start_finds_nothing(site: Site) -> None:
    found = await (await site.open()).recover()
    assert (1, 0, False) == (found.start_number, found.flush_number, found.imported)
    assert EngineMeta() == found.state.meta
    assert [0, 0, 0, 0, 0, 0, 0] == [
        len(found.state.accounts),
        len(found.state.positions),
        len(found.state.marks),
        len(found.latest),
        len(found.watermarks),
        len(found.settlements),
        len(found.unannounced),
    ]


async def test_each_start_takes_the_next_number(site: Site) -> None:
    stores = [await site.open() for _ in range(3)]
    assert [1, 2, 3] == [(await store.recover()).start_number for store in stores]


async def test_everything_that_is_written_is_recovered(site: Site) -> None:
    """Every table, with values of both signs; rows come back ascending by key."""
    store = await site.open()
    await store.recover()
    newest = a_valuation(8, {2: -20, 1: 10}, flags=62, percent_e4=-9_999_999_999)
    meta = EngineMeta(version=8, tick=2**53 - 1, session_start_ms=NOON_MS, tick_time_ms=NOON_MS)
    flush = a_flush(
        1,
        accounts=[an_account_row(2, -5, 2**53 - 1), an_account_row(1)],
        positions=[a_position_row(2, 7, -1), a_position_row(1, 2**32 - 1)],
        marks=[a_mark_row(2**32 - 1), a_mark_row(0)],
        rows=[newest],
        watermarks=[a_watermark("éxchange", 3, 41, [0, 2**64 - 1])],
        settlements=[(9, 2, 100), (1, 1, 99)],
        added=[(5, 77, 2, 1, 30, 40), (4, 78, 2, 2, 30, 40)],
        meta=meta,
        parked=[a_parked_row(3), a_parked_row(2, 9)],
        newcomers=[(8, -5, NOON_MS), (6, 2**53 - 1, NOON_MS)],
    )
    await store.write(flush)
    assert {
        "flush_number": 1,
        "imported": True,
        "state": {
            "meta": plain(meta),
            "accounts": plain(
                a_flush(1, accounts=[an_account_row(1), an_account_row(2, -5, 2**53 - 1)]).state.accounts
            ),
            "positions": plain(
                a_flush(1, positions=[a_position_row(1, 2**32 - 1), a_position_row(2, 7, -1)]).state.positions
            ),
            "marks": plain(a_flush(1, marks=[a_mark_row(0), a_mark_row(2**32 - 1)]).state.marks),
        },
        "latest": plain(snapshots(a_valuation(8, {1: 10, 2: -20}, flags=62, percent_e4=-9_999_999_999))),
        "watermarks": plain(flush.watermarks),
        "settlements": plain(flush.settlements),
        "unannounced": plain(a_flush(1, added=[(4, 78, 2, 2, 30, 40), (5, 77, 2, 1, 30, 40)]).unannounced_added),
        "parked": plain(a_flush(1, parked=[a_parked_row(2, 9), a_parked_row(3)]).parked_added),
        "newcomers": plain(a_flush(1, newcomers=[(6, 2**53 - 1, NOON_MS), (8, -5, NOON_MS)]).newcomers),
        "rows_since_checkpoint": 2,
    } == await recovered(site)


async def test_a_released_event_is_gone_and_a_newcomers_funding_is_replaced(site: Site) -> None:
    store = await site.open()
    await store.recover()
    await store.write(a_flush(1, parked=[a_parked_row(1), a_parked_row(2)], newcomers=[(7, 100, 5), (8, 200, 5)]))
    await store.write(a_flush(2, released=[a_parked_row(1)], newcomers=[(7, 150, 5)]))
    found = await recovered(site)
    assert [2] == found["parked"]["parked_id"]
    assert [150, 200] == found["newcomers"]["funding_cents"]


async def test_accounts_that_have_not_been_new_for_a_day_are_forgotten(site: Site) -> None:
    store = await site.open()
    await store.recover()
    day_before = NOON_MS - DAY_MS
    await store.write(a_flush(1, newcomers=[(6, 1, day_before - 1), (7, 2, day_before), (8, 3, NOON_MS - 5)]))
    await store.write(a_flush(2, accounts=[an_account_row(1)]))
    assert [6, 7, 8] == (await recovered(site))["newcomers"]["account_id"]
    store = await site.open()
    await store.recover()
    await store.write(a_flush(3, newcomers=[(9, 4, NOON_MS), (5, 4, NOON_MS - 1)]))
    assert [5, 7, 8, 9] == (await recovered(site))["newcomers"]["account_id"]


async def test_rows_since_the_checkpoint_are_counted_across_starts(site: Site) -> None:
    """As each start has to read them; of a flush that carries a checkpoint, those that are newer."""
    store = await site.open()
    await store.recover()
    counts = []
    for flush in (
        a_flush(1, accounts=ACCOUNTS, rows=[a_valuation(8, {1: 18, 2: 28}), a_valuation(9, {2: 29})]),
        a_flush(2, rows=[a_valuation(10, {1: 20})]),
        a_flush(
            3, rows=[a_valuation(11, {1: 21}), a_valuation(12, {2: 32})], latest=snapshots(a_valuation(11, {1: 1}))
        ),
        a_flush(4, rows=[a_valuation(13, {1: 23, 2: 33})]),
        a_flush(5, rows=[a_valuation(14, {1: 24})], latest=snapshots(a_valuation(14, {1: 24}))),
    ):
        await store.write(flush)
        store = await site.open()
        counts.append((await store.recover()).rows_since_checkpoint)
    assert [3, 4, 1, 3, 0] == counts


async def test_later_flushes_change_what_they_carry_and_nothing_else(site: Site) -> None:
    store = await site.open()
    await store.recover()
    await store.write(
        a_flush(
            1,
            accounts=[an_account_row(1, 10), an_account_row(2, 20)],
            positions=[a_position_row(1, 5, 1), a_position_row(2, 5, 2)],
            marks=[a_mark_row(5, 1)],
            watermarks=[a_watermark("a", 1, 1, [11]), a_watermark("b", 1, 1, [21])],
            added=[(1, 100, 5, 1, 1, 1), (1, 101, 5, 1, 1, 1)],
        )
    )
    await store.write(
        a_flush(
            5,
            accounts=[an_account_row(2, 21)],
            positions=[a_position_row(2, 5, 3)],
            marks=[a_mark_row(6, 6)],
            watermarks=[a_watermark("b", 1, 2, [22])],
            removed=[(1, 100, 0, 0, 0, 0)],
        )
    )
    found = await (await site.open()).recover()
    assert [10, 21] == found.state.accounts.cash_cents.tolist()
    assert [1, 3] == found.state.positions.quantity_bp.tolist()
    assert [5, 6] == found.state.marks.symbol_id.tolist()
    assert plain([a_watermark("a", 1, 1, [11]), a_watermark("b", 1, 1, [21, 22])]) == plain(found.watermarks)
    assert [101] == found.unannounced.trade_id.tolist()
    assert 5 == found.flush_number


async def test_a_number_that_is_committed_changes_nothing(site: Site) -> None:
    store = await site.open()
    await store.recover()
    await store.write(a_flush(3, accounts=[an_account_row(1, 10)], rows=[a_valuation(7, {1: 10})]))
    for number in (1, 3):
        await store.write(a_flush(number, accounts=[an_account_row(1, 11)], rows=[a_valuation(8, {1: 11})]))
    found = await (await site.open()).recover()
    assert ([10], 3) == (found.state.accounts.cash_cents.tolist(), found.flush_number)
    assert [(1, 7)] == await site.row_versions()


async def test_a_start_that_was_replaced_writes_no_more(site: Site) -> None:
    older, newer = await site.open(), await site.open()
    await older.recover()
    await older.write(a_flush(1, accounts=[an_account_row(1, 10)]))
    await newer.recover()
    with pytest.raises(Fenced, match="start 2 has taken over from start 1"):
        await older.write(a_flush(2, accounts=[an_account_row(1, 11)]))
    await newer.write(a_flush(2, accounts=[an_account_row(1, 12)]))
    found = await (await site.open()).recover()
    assert [12] == found.state.accounts.cash_cents.tolist()


async def test_a_replaced_start_does_not_take_its_successors_flush_for_its_own(site: Site) -> None:
    """Both count from the same flush: the number alone would say that it is committed."""
    older, newer = await site.open(), await site.open()
    await older.recover()
    await newer.recover()
    await newer.write(a_flush(1))
    with pytest.raises(Fenced):
        await older.write(a_flush(1))


async def test_a_flush_that_fails_leaves_nothing(site: Site) -> None:
    """Its last row breaks the table's rule; everything that came before is undone, and the number is free."""
    store = await site.open()
    await store.recover()
    await store.write(a_flush(1, accounts=[an_account_row(1, 10)], watermarks=[a_watermark("a", 1, 1, [1])]))
    before = await recovered(site)
    store = await site.open()
    await store.recover()
    broken = a_valuation(9, {1: 1, 2: 2})
    broken.equity_cents[1] += 1
    flush = a_flush(
        2,
        accounts=[an_account_row(1, 11)],
        rows=[a_valuation(8, {1: 1}), broken],
        watermarks=[a_watermark("a", 1, 2, [2])],
        settlements=[(1, 1, 1)],
        latest=snapshots(a_valuation(8, {1: 1})),
    )
    with pytest.raises(StoreUnavailable, match="write"):
        await store.write(flush)
    await store.write(a_flush(2, meta=EngineMeta(1, 1, NOON_MS, NOON_MS), event_count=0))  # the store still works
    assert before | {"flush_number": 2} == await recovered(site)
    assert [] == await site.row_versions()


async def test_the_same_row_twice_fails(site: Site) -> None:
    store = await site.open()
    await store.recover()
    await store.write(a_flush(1, rows=[a_valuation(8, {1: 1})]))
    with pytest.raises(StoreUnavailable):
        await store.write(a_flush(2, rows=[a_valuation(8, {1: 1})]))


async def test_the_newest_snapshot_is_that_of_the_highest_version(site: Site) -> None:
    """Not that of the latest time: market time may go back."""
    store = await site.open()
    await store.recover()
    earlier = a_valuation(9, {1: 19, 3: 39}, timestamp_ms=NOON_MS - 1_000)
    await store.write(a_flush(1, accounts=ACCOUNTS, rows=[a_valuation(8, {1: 18, 2: 28}), earlier]))
    found = await (await site.open()).recover()
    assert [(1, 9), (2, 8), (3, 9)] == _latest_versions(found)
    assert [19, 28, 39] == found.latest.equity_cents.tolist()
    assert NOON_MS - 1_000 == found.latest.timestamp_ms[0]


async def test_a_checkpoint_is_overlaid_by_the_rows_since(site: Site) -> None:
    """Also where both came in one flush, as they do when several are merged."""
    store = await site.open()
    await store.recover()
    checkpoint = snapshots(a_valuation(8, {1: 18, 2: 28}))
    rows = [a_valuation(8, {1: 18}), a_valuation(9, {2: 29})]
    await store.write(a_flush(1, accounts=ACCOUNTS, rows=rows, latest=checkpoint))
    assert [(1, 8), (2, 9)] == _latest_versions(await (await site.open()).recover())
    store = await site.open()
    await store.recover()
    await store.write(a_flush(2, rows=[a_valuation(10, {1: 20})]))
    assert [(1, 10), (2, 9)] == _latest_versions(await (await site.open()).recover())


async def test_what_was_held_back_before_a_checkpoint_may_be_written_after_it(site: Site) -> None:
    """A row of a lower version than the checkpoint's newest: the checkpoint has it, and the row takes nothing back."""
    store = await site.open()
    await store.recover()
    checkpoint = snapshots(a_valuation(8, {1: 18}), a_valuation(9, {2: 29}))
    await store.write(a_flush(1, accounts=ACCOUNTS, rows=[a_valuation(9, {2: 29})], latest=checkpoint))
    late = a_valuation(8, {1: 18}, timestamp_ms=NOON_MS - 1_000)
    await store.write(a_flush(2, rows=[late, a_valuation(10, {2: 30})]))
    assert [(1, 8), (2, 10)] == _latest_versions(await (await site.open()).recover())


async def test_a_checkpoint_replaces_the_one_before(site: Site) -> None:
    store = await site.open()
    await store.recover()
    await store.write(a_flush(1, latest=snapshots(a_valuation(8, {1: 18, 2: 28}))))
    await store.write(a_flush(2, latest=snapshots(a_valuation(8, {1: 18}), a_valuation(9, {2: 29, 3: 39}))))
    assert [(1, 8), (2, 9), (3, 9)] == _latest_versions(await (await site.open()).recover())


async def test_a_new_epoch_forgets_the_digests_of_the_old(site: Site) -> None:
    store = await site.open()
    await store.recover()
    await store.write(a_flush(1, watermarks=[a_watermark("a", 1, 1, [11, 12])]))
    await store.write(a_flush(2, watermarks=[a_watermark("a", 2, 1, [21])]))
    found = await (await site.open()).recover()
    assert plain([a_watermark("a", 2, 1, [21])]) == plain(found.watermarks)


async def test_a_watermark_may_move_without_new_digests(site: Site) -> None:
    store = await site.open()
    await store.recover()
    await store.write(a_flush(1, watermarks=[a_watermark("a", 1, 1, [11, 12])]))
    await store.write(a_flush(2, watermarks=[a_watermark("a", 2, 1, [])]))
    found = await (await site.open()).recover()
    assert plain([a_watermark("a", 2, 1, [])]) == plain(found.watermarks)


async def test_only_the_last_digests_are_recovered(site: Site) -> None:
    store = await site.open()
    await store.recover()
    digests = np.arange(2 * DIGESTS_KEPT)
    step = DIGESTS_KEPT // 2 + 1
    for number, start in enumerate(range(0, len(digests), step), start=1):
        part = digests[start : start + step].tolist()
        await store.write(a_flush(number, watermarks=[a_watermark("a", 1, start + 1, part)]))
    (watermark,) = (await (await site.open()).recover()).watermarks
    assert (2 * DIGESTS_KEPT, DIGESTS_KEPT + 1) == (watermark.applied_sequence, watermark.first_sequence)
    assert digests[-DIGESTS_KEPT:].tolist() == watermark.digest.tolist()


async def test_only_the_last_settlements_are_recovered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (commit, memory):
        monkeypatch.setattr(module, "SETTLEMENTS_KEPT", 3)
    store = await site.open()
    await store.recover()
    await store.write(a_flush(1, settlements=[(1, 1, 10), (1, 2, 10)]))
    await store.write(a_flush(2, settlements=[(1, 1, 11), (1, 1, 12)]))
    assert [10, 11, 12] == (await (await site.open()).recover()).settlements.settlement_id.tolist()
    store = await site.open()
    await store.recover()
    await store.write(a_flush(3, settlements=[(2, 1, number) for number in range(5)]))
    assert [2, 3, 4] == (await (await site.open()).recover()).settlements.settlement_id.tolist()


async def test_the_exchange_is_read_as_it_stands(site: Site) -> None:
    """An absent balance is zero, closed positions are left out, and a price is that of the newest trade."""
    await site.fill_exchange(
        {2: None, 1: 500},
        {(2, 5): (-10_000, 7), (1, 5): (10_000, 7), (1, 6): (0, 9)},
        [(10, 1, 5, "BUY", 10_000, 7), (12, 2, 5, "sell", 10_000, 8), (11, 1, 6, "Buy", 10_000, 9)],
    )
    assert {
        "account_id": [1, 2],
        "cash_cents": [500, 0],
        "position_account_id": [1, 2],
        "position_symbol_id": [5, 5],
        "position_quantity_bp": [10_000, -10_000],
        "position_avg_cost_cents": [7, 7],
        "price_symbol_id": [5, 6],
        "price_cents": [8, 9],
        "recent_account_id": [2, 1, 1],
        "recent_trade_id": [12, 11, 10],
    } == plain(await (await site.open()).read_exchange())


async def test_an_account_comes_with_all_its_trades_in_order(site: Site) -> None:
    await site.fill_exchange(
        {1: 500, 2: None, 3: 7},
        {},
        [(12, 1, 5, "sell", 10_000, 8), (10, 1, 6, "BUY", 5, 7), (11, 3, 5, "BUY", 1, 1)],
    )
    found = await (await site.open()).read_accounts([2, 1, 99])
    assert {1, 2} == found.keys()
    assert (SettledTrade(10, 6, Side.BUY, 5, 7), SettledTrade(12, 5, Side.SELL, 10_000, 8)) == found[1].trades
    assert (500, 0, ()) == (found[1].cash_cents, found[2].cash_cents, found[2].trades)
    assert {} == await (await site.open()).read_accounts([])


def _latest_versions(found: object) -> list[tuple[int, int]]:
    latest = found.latest  # type: ignore[attr-defined]
    return list(zip(latest.account_id.tolist(), latest.version.tolist(), strict=True))
