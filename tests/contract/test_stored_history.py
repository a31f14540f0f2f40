"""What every reader of stored history keeps to: the stand-in in memory, and PostgreSQL, old and new."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from evs_server.model import Stride
from evs_server.ports import HistoryReader
from evs_server.store.history import StoredHistory
from evs_server.store.memory import MemoryStore
from evs_server.store.postgres import PostgresStore
from tests.builders import ALICE, BOB, NOON_MS
from tests.flushes import a_flush, a_valuation, plain

BEFORE = (0, -1)
SECONDS = Stride(NOON_MS - 3_000, 1_000)
FOREVER_MS = NOON_MS * 2


@pytest.fixture(params=["memory", "embedded", "system"])
async def history(request: pytest.FixtureRequest) -> AsyncIterator[HistoryReader]:
    """A store of each kind, in which Alice has six rows, written out of order, and Bob one among them."""
    times = {1: 0, 2: 400, 3: 400, 4: 1_000, 5: 1_999, 6: 700}
    rows = [a_valuation(version, {ALICE: 100 * version}, timestamp_ms=NOON_MS + ms) for version, ms in times.items()]
    flush = a_flush(1, rows=[*rows, a_valuation(7, {BOB: 1}, timestamp_ms=NOON_MS + 500)])
    if request.param == "memory":
        memory = MemoryStore()
        await memory.recover()
        await memory.write(flush)
        yield memory
        return
    server = request.getfixturevalue(f"{request.param}_server")
    name = server.create()
    store = await PostgresStore.open(server.dsn(name))
    await store.recover()
    await store.write(flush)
    yield StoredHistory(store.database)
    await store.close()
    server.drop(name)


def keys(found: Any) -> list[tuple[int, int]]:
    """Milliseconds after noon and version of each stretch's last row."""
    return [(time - NOON_MS, version) for time, version in zip(plain(found.last_ms), plain(found.version), strict=True)]


async def test_rows_come_by_time_then_version_with_their_numbers(history: HistoryReader) -> None:
    found = await history.read_stretches(ALICE, BEFORE, FOREVER_MS, 10, None)
    assert [(0, 1), (400, 2), (400, 3), (700, 6), (1_000, 4), (1_999, 5)] == keys(found)
    assert plain(found.last_ms) == plain(found.first_ms)
    for levels in (found.open_cents, found.high_cents, found.low_cents, found.last_cents):
        assert [100, 200, 300, 600, 400, 500] == plain(levels)
    assert [-200, -400, -600, -1_200, -800, -1_000] == plain(found.realized_cents)
    assert [193, 393, 593, 1_193, 793, 993] == plain(found.net_flow_cents)
    assert [1] * 6 == plain(found.row_count)


async def test_a_read_goes_on_after_a_time_and_version(history: HistoryReader) -> None:
    """Two rows of one time are told apart, and the end is not included."""
    assert [(400, 3), (700, 6)] == keys(
        await history.read_stretches(ALICE, (NOON_MS + 400, 2), NOON_MS + 1_000, 9, None)
    )
    assert [(400, 2)] == keys(await history.read_stretches(ALICE, (NOON_MS + 400, -1), FOREVER_MS, 1, None))
    assert [] == keys(await history.read_stretches(ALICE, (NOON_MS + 1_999, 5), FOREVER_MS, 9, None))


async def test_dense_rows_are_summed_up(history: HistoryReader) -> None:
    """By the second: of the four in the first, the last is 600, and 100 the first; the limit counts rows."""
    found = await history.read_stretches(ALICE, BEFORE, FOREVER_MS, 5, SECONDS)
    assert {
        "first_ms": [NOON_MS, NOON_MS + 1_000],
        "last_ms": [NOON_MS + 700, NOON_MS + 1_000],
        "version": [6, 4],
        "open_cents": [100, 400],
        "high_cents": [600, 400],
        "low_cents": [100, 400],
        "last_cents": [600, 400],
        "realized_cents": [-1_200, -800],
        "net_flow_cents": [1_193, 793],
        "row_count": [4, 1],
    } == plain(found)
    rest = await history.read_stretches(ALICE, (NOON_MS + 1_000, 4), FOREVER_MS, 5, SECONDS)
    assert ([(1_999, 5)], [1]) == (keys(rest), plain(rest.row_count))


async def test_steps_are_counted_from_their_origin(history: HistoryReader) -> None:
    """Of 600 ms, the first of which ends 100 ms after noon; the origin may lie behind the rows as well."""
    for origin_ms in (NOON_MS - 500, NOON_MS + 700):
        found = await history.read_stretches(ALICE, BEFORE, FOREVER_MS, 10, Stride(origin_ms, 600))
        assert [(0, 1), (400, 3), (1_000, 4), (1_999, 5)] == keys(found)
        assert [1, 2, 2, 1] == plain(found.row_count)


async def test_the_newest_row_before_a_time_is_found(history: HistoryReader) -> None:
    assert [(400, 3)] == keys(await history.read_newest(ALICE, NOON_MS + 700))
    assert [(1_999, 5)] == keys(await history.read_newest(ALICE, FOREVER_MS))
    assert [] == keys(await history.read_newest(ALICE, NOON_MS))


async def test_who_has_no_rows_has_no_history(history: HistoryReader) -> None:
    assert 0 == len(await history.read_stretches(404, BEFORE, FOREVER_MS, 5, None))
    assert 0 == len(await history.read_stretches(404, BEFORE, FOREVER_MS, 5, SECONDS))
    assert 0 == len(await history.read_newest(404, FOREVER_MS))
