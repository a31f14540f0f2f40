"""Bars against a model of twenty lines, and against themselves however their rows are cut into stretches."""

from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evs_server.history.bars import bars, with_snapshot
from evs_server.model import Snapshot, StretchColumns
from tests.flushes import plain, table

BUCKET_MS = 1_000


class Row(NamedTuple):
    time_ms: int
    version: int
    equity: int
    realized: int
    net_flow: int


CENTS = st.integers(-(2**53), 2**53)
ROWS = st.lists(
    st.builds(Row, st.integers(0, 5_000), st.integers(1, 9), CENTS, CENTS, CENTS),
    unique_by=lambda row: row[:2],
    max_size=30,
).map(sorted)


def naive_bars(rows: list[Row]) -> dict[str, list[int]]:
    """The bars of rows that are in order."""
    levels = ("open_cents", "high_cents", "low_cents", "last_cents", "realized_cents", "net_flow_cents")
    made: dict[str, list[int]] = {name: [] for name in ("start_ms", *levels)}
    for start, group in groupby(rows, lambda row: row.time_ms // BUCKET_MS * BUCKET_MS):
        bucket = list(group)
        equity = [row.equity for row in bucket]
        bar = (start, equity[0], max(equity), min(equity), equity[-1], bucket[-1].realized, bucket[-1].net_flow)
        for column, value in zip(made.values(), bar, strict=True):
            column.append(value)
    return made


def stretches(groups: list[list[Row]]) -> StretchColumns:
    """Neighbouring rows summed up."""
    return table(
        StretchColumns,
        [
            (
                group[0].time_ms, *group[-1][:2], group[0].equity, max(row.equity for row in group),
                min(row.equity for row in group), *group[-1][2:], len(group),
            )
            for group in groups
        ],
    )  # fmt: skip


def made_of(found: StretchColumns) -> Any:
    return plain(bars(found, found.last_ms // BUCKET_MS * BUCKET_MS))


@given(ROWS)
def test_bars_are_those_of_the_model(rows: list[Row]) -> None:
    assert naive_bars(rows) == made_of(stretches([[row] for row in rows]))


@given(ROWS, st.data())
def test_however_rows_are_summed_up_the_bars_stay(rows: list[Row], data: st.DataObject) -> None:
    """As the server does where they are dense: any cut will do that keeps to the buckets."""
    groups: list[list[Row]] = []
    for row in rows:
        same = groups and groups[-1][0].time_ms // BUCKET_MS == row.time_ms // BUCKET_MS
        if same and data.draw(st.booleans()):
            groups[-1].append(row)
        else:
            groups.append([row])
    assert naive_bars(rows) == made_of(stretches(groups))


@given(ROWS, st.data())
def test_the_newest_valuation_counts_as_one_more_row(rows: list[Row], data: st.DataObject) -> None:
    """Whatever its time, stored already or not: it has a version that no older row has."""
    newest = Row(data.draw(st.integers(0, 5_000)), 10, *(data.draw(CENTS) for _ in range(3)))
    snapshot = Snapshot(
        account_id=1, version=newest.version, tick=1, timestamp_ms=newest.time_ms, equity_cents=newest.equity,
        cash_cents=0, position_value_cents=0, day_change_cents=0, day_change_percent_e4=0, unrealized_cents=0,
        realized_cents=newest.realized, net_flow_cents=newest.net_flow, flags=0,
    )  # fmt: skip
    expected = naive_bars(sorted([*rows, newest]))
    assert expected == made_of(with_snapshot(stretches([[row] for row in rows]), snapshot))
    assert expected == made_of(with_snapshot(stretches([[row] for row in sorted([*rows, newest])]), snapshot))


@given(ROWS)
def test_bars_ascend_and_are_unique(rows: list[Row]) -> None:
    of = np.array([row.time_ms // 7 * 7 for row in rows], np.int64)
    start_ms = bars(stretches([[row] for row in rows]), of).start_ms.tolist()
    assert sorted(set(start_ms)) == start_ms
