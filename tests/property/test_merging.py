"""Merging then writing leaves what writing each flush leaves."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evs_server.model import Flush
from evs_server.store.memory import MemoryStore
from evs_server.store.merge import coalesce_rows, merge
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

few = st.integers(1, 4)
cents = st.integers(-1_000, 1_000)
worth = st.dictionaries(few, cents, max_size=3)


@st.composite
def flush_sequences(draw: st.DrawFn) -> list[Flush]:
    """Flushes as one process captures them: numbers, versions and sequences grow."""
    applied: dict[str, tuple[int, int]] = {}
    flushes, unannounced = [], []
    waiting: list[int] = []
    for number in range(1, draw(st.integers(1, 6)) + 1):
        watermarks = []
        for source in draw(st.sets(st.sampled_from("ab"))):
            epoch, sequence = applied.get(source, (1, 0))
            if draw(st.booleans()):
                epoch, sequence = epoch + 1, 0
            digests = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
            watermarks.append(a_watermark(source, epoch, sequence + 1, digests))
            applied[source] = (epoch, sequence + len(digests))
        rows = [a_valuation(10 * number + step, draw(worth)) for step in range(draw(st.integers(0, 2)))]
        added = [(draw(few), 1_000 * number + step, 5, 1, 10, 10) for step in range(draw(st.integers(0, 2)))]
        unannounced += added
        removed = draw(st.lists(st.sampled_from(unannounced), unique=True)) if unannounced else []
        parked = [a_parked_row(10 * number + step, draw(few)) for step in range(draw(st.integers(0, 2)))]
        waiting += [row[0] for row in parked]
        released = draw(st.sets(st.sampled_from(waiting))) if waiting else set()
        waiting = [each for each in waiting if each not in released]
        flushes.append(
            a_flush(
                number,
                accounts=[an_account_row(key, draw(cents)) for key in draw(st.sets(few))],
                positions=[a_position_row(key, draw(few), draw(cents)) for key in draw(st.sets(few))],
                marks=[a_mark_row(key, draw(cents)) for key in draw(st.sets(few))],
                rows=rows,
                watermarks=watermarks,
                settlements=[(draw(few), 1, 10 * number + step) for step in range(draw(st.integers(0, 2)))],
                added=added,
                removed=removed,
                parked=parked,
                released=[a_parked_row(each) for each in released],
                newcomers=[(key, draw(cents), number) for key in draw(st.sets(few))],
                latest=draw(
                    st.sampled_from([None, snapshots(a_valuation(10 * number, dict.fromkeys(range(1, 5), 1)))])
                ),
            )
        )
    return flushes


@given(flush_sequences(), st.data())
def test_merging_then_writing_is_writing_each(flushes: list[Flush], data: st.DataObject) -> None:
    """However a sequence of flushes is cut into merged ones, the same is recovered, and the same rows are there."""
    cuts = sorted(data.draw(st.sets(st.integers(1, len(flushes)))) | {len(flushes)})
    merged = [merge(flushes[start:end]) for start, end in zip([0, *cuts], cuts, strict=False)]
    assert asyncio.run(_written(flushes)) == asyncio.run(_written(merged))


@given(st.lists(worth, max_size=6))
def test_thinning_rows_keeps_what_is_recovered(passes: list[dict[int, int]]) -> None:
    """Rows thinned out lead to the same newest snapshots, and each account has one: a start has fewer to read."""
    valuations = [a_valuation(version, found) for version, found in enumerate(passes, start=1)]
    kept, dropped_count = coalesce_rows(valuations)
    account_ids = [account_id for valuation in kept for account_id in valuation.account_id.tolist()]
    assert len(set(account_ids)) == len(account_ids) == sum(map(len, valuations)) - dropped_count
    every, _ = asyncio.run(_written([a_flush(1, rows=valuations)]))
    thinned, _ = asyncio.run(_written([a_flush(1, rows=kept)]))
    assert every == thinned | {"rows_since_checkpoint": thinned["rows_since_checkpoint"] + dropped_count}


async def _written(flushes: list[Flush]) -> tuple[dict[str, Any], object]:
    store = MemoryStore()
    await store.recover()
    for flush in flushes:
        await store.write(flush)
    return plain(await store.recover()), plain(store.tables.rows)
