"""Sets of rows: what was added once or often comes out once, in order, and then is gone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evs_server.engine.rowset import RowSet
from tests.builders import int64

BLOCK = 64 * 64
ROWS = st.integers(0, 300) | st.integers(0, 5 * BLOCK) | st.sampled_from([62, 63, 64, 4_095, 4_096, 4_097])


def a_set(*rows: int) -> RowSet:
    made = RowSet()
    for row in rows:
        made.add(row)
    return made


def test_rows_come_out_ascending_and_once() -> None:
    assert [0, 3, 63, 64, 4_096] == a_set(64, 3, 4_096, 3, 0, 63).drain().tolist()


def test_a_drained_set_is_empty_and_can_be_filled_again() -> None:
    rows = a_set(1, 9_000)
    rows.drain()
    assert [] == rows.drain().tolist()
    rows.update(int64(9_000, 2, 2))
    assert [2, 9_000] == rows.drain().tolist()


def test_looking_at_the_rows_leaves_them() -> None:
    rows = a_set(5, 70)
    assert rows.rows().tolist() == rows.rows().tolist() == [5, 70]


@pytest.mark.parametrize(("is_in", "row"), [(True, 63), (True, 5_000), (False, 62), (False, 64), (False, 10**6)])
def test_a_set_knows_what_is_in_it(is_in: bool, row: int) -> None:
    assert is_in == (row in a_set(63, 5_000))


def test_a_set_tells_of_many_rows_which_are_in_it() -> None:
    """Also of those that it has no room for yet."""
    assert [False, True, False, True, False] == [row in a_set(63, 4_095) for row in (62, 63, 64, 4_095, 10**6)]


def test_room_can_be_made_without_losing_anything() -> None:
    rows = a_set(1, BLOCK - 1)
    rows.reserve(10 * BLOCK)
    rows.add(10 * BLOCK - 1)
    assert [1, BLOCK - 1, 10 * BLOCK - 1] == rows.drain().tolist()


def test_any_column_of_rows_can_be_added() -> None:
    rows = RowSet()
    rows.update(np.array([8, 4, 0], np.int32))
    rows.update(int64(2, 9, 6)[::2])
    rows.update(np.empty(0, np.int32))
    assert [0, 2, 4, 6, 8] == rows.drain().tolist()


@given(st.lists(st.lists(ROWS, max_size=30) | ROWS | st.none(), max_size=12))
def test_a_set_of_rows_is_a_set(steps: list[list[int] | int | None]) -> None:
    """Added one by one (a number), as a column (a list), drained (nothing): as Python's own set has it."""
    rows, twin = RowSet(), set[int]()
    for step in steps:
        if step is None:
            assert sorted(twin) == rows.drain().tolist()
            twin = set()
        elif isinstance(step, int):
            rows.add(step)
            twin.add(step)
        else:
            rows.update(int64(*step))
            twin.update(step)
        assert sorted(twin) == rows.rows().tolist()
