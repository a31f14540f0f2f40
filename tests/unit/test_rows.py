"""Columns as binary COPY, against PostgreSQL itself and against the bytes of its manual."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import numpy as np
import pytest

from evs_server.limits import EXACT_MAX, PERCENT_E4_MAX, TICK_TIME_MS_MAX
from evs_server.store import rows
from evs_server.store.rows import Kind, Layout
from tests.builders import NOON_MS, int64
from tests.flushes import a_valuation

SECONDS = 30


def test_a_row_is_a_field_count_and_each_field_with_its_length() -> None:
    layout = Layout({"wide": Kind.INT8, "narrow": Kind.INT4, "small": Kind.INT2, "yes": Kind.BOOL})
    expected = (
        b"\x00\x04"
        b"\x00\x00\x00\x08\xff\xff\xff\xff\xff\xff\xff\xfe"
        b"\x00\x00\x00\x04\x00\x00\x01\x00"
        b"\x00\x00\x00\x02\x00\x03"
        b"\x00\x00\x00\x01\x01"
    )
    assert expected == layout.encode([int64(-2), int64(256), int64(3), int64(1)])


def test_a_percentage_is_three_digits_of_base_ten_thousand() -> None:
    layout = Layout({"percent": Kind.NUMERIC_E4})
    expected = b"\x00\x01\x00\x00\x00\x0e\x00\x03\x00\x01\x40\x00\x00\x04\x00\x00\x00\x0a\x00\x05"
    assert expected == layout.encode([int64(-100_005)])


def test_rows_keep_nothing_of_those_encoded_before() -> None:
    """Fewer, more and as many, with every kind of field."""
    kinds = {kind.name: kind for kind in Kind}
    layout = Layout(kinds)
    given = [int64(-3, 1, -PERCENT_E4_MAX), int64(1), int64(0, -1, 1, 2, -2, 3, 7), int64(5, 4, 3, 2, 1, 0, -1)]
    small = [np.abs(column) % 2 for column in given]
    tables = [
        [column if kind is Kind.NUMERIC_E4 else few for kind in Kind] for column, few in zip(given, small, strict=True)
    ]
    assert [Layout(kinds).encode(table) for table in tables] == [layout.encode(table) for table in tables]


def test_threads_do_not_write_to_each_others_rows() -> None:
    """A layout is shared by all who encode rows of its table, whichever loops they run."""
    layout, rounds = Layout({"wide": Kind.INT8, "narrow": Kind.INT4}), 300

    def encoded(value: int) -> set[bytes]:
        column = np.full(rows.SLICE_ROWS, value)
        return {layout.encode([column, column]) for _ in range(rounds)}

    with ThreadPoolExecutor(4) as threads:
        for value, found in enumerate(threads.map(encoded, range(4))):
            expected = layout.encode([np.full(rows.SLICE_ROWS, value)] * 2)
            assert {expected} == found


def test_what_is_encoded_is_decoded_to_the_same_columns() -> None:
    layout = Layout({"wide": Kind.INT8, "narrow": Kind.INT4, "yes": Kind.BOOL})
    columns = [int64(-1, 0, EXACT_MAX), int64(-(2**31), 0, 2**31 - 1), int64(0, 1, 0)]
    decoded = layout.decode(b"".join(layout.encode_file(columns)))
    assert [column.tolist() for column in columns] == [column.tolist() for column in decoded]


def test_a_long_table_comes_in_slices_that_make_one_file() -> None:
    layout = Layout({"wide": Kind.INT8})
    column = np.arange(2 * rows.SLICE_ROWS + 1)
    parts = list(layout.encode_file([column]))
    assert 3 == len(parts)  # the header goes with the first, the trailer with the last
    assert column.tolist() == layout.decode(b"".join(parts))[0].tolist()


def test_small_passes_share_a_slice_and_are_encoded_as_if_each_were_alone() -> None:
    """Each piece of a file is sent by itself, and wakes the server."""
    small = [a_valuation(number, {1: number, 2: -number}) for number in range(1, 21)]
    large = a_valuation(21, dict.fromkeys(range(rows.SLICE_ROWS), 21))
    body = slice(len(rows.HEADER), -len(rows.TRAILER))
    one_by_one = [b"".join(rows.encode_valuations([each]))[body] for each in (*small, large, *small)]
    parts = list(rows.encode_valuations([*small, large, *small]))
    assert 3 == len(parts)
    assert rows.HEADER + b"".join(one_by_one) + rows.TRAILER == b"".join(parts)
    assert 1 == len(list(rows.encode_valuations(small)))


def test_a_file_without_rows_is_a_file_too() -> None:
    assert [rows.HEADER + rows.TRAILER] == list(rows.encode_valuations([a_valuation(1, {})]))


def test_bytes_that_are_not_rows_of_the_layout_are_refused() -> None:
    layout = Layout({"wide": Kind.INT8})
    file = b"".join(layout.encode_file([int64(1)]))
    with pytest.raises(ValueError, match="a copy of 34 bytes does not hold rows of 14 bytes"):
        layout.decode(file[:-1])


async def test_postgres_reads_back_every_field_of_a_valuation(any_database: str) -> None:
    """Signs, zero and both ends of the percentage, as PostgreSQL itself understands them."""
    percents = [0, 1, -1, 9_999, 10_000, -10_000, 99_999_999, 100_000_000, PERCENT_E4_MAX, -PERCENT_E4_MAX]
    equities = {account_id: (-1) ** account_id * account_id for account_id in range(1, len(percents) + 1)}
    valuation = a_valuation(2**33, equities, timestamp_ms=NOON_MS + 1, flags=62)
    valuation.day_change_percent_e4[:] = percents
    valuation.equity_cents[0], valuation.cash_cents[0], valuation.position_value_cents[0] = -EXACT_MAX, -EXACT_MAX, 0
    stored = await _copied(any_database, b"".join(rows.encode_valuations([valuation])))
    assert [Decimal(percent).scaleb(-4) for percent in percents] == [row["day_change_percent"] for row in stored]
    assert {datetime.fromtimestamp(NOON_MS / 1_000, UTC).replace(microsecond=1_000)} == {
        row["timestamp"] for row in stored
    }
    assert [
        {
            "account_id": snapshot.account_id,
            "tick": snapshot.tick,
            "total_equity": snapshot.equity_cents,
            "cash_balance": snapshot.cash_cents,
            "position_value": snapshot.position_value_cents,
            "unrealized_pnl": snapshot.unrealized_cents,
            "realized_pnl": snapshot.realized_cents,
            "day_change": snapshot.day_change_cents,
            "version": snapshot.version,
            "flags": snapshot.flags,
            "net_flow": snapshot.net_flow_cents,
        }
        for snapshot in map(valuation.snapshot, range(len(valuation)))
    ] == [
        {name: value for name, value in row.items() if name not in {"id", "timestamp", "day_change_percent"}}
        for row in stored
    ]


@pytest.mark.parametrize("timestamp_ms", [0, 946_684_799_999, TICK_TIME_MS_MAX])
async def test_postgres_reads_back_every_time(database: str, timestamp_ms: int) -> None:
    """Times before and after the day from which PostgreSQL counts."""
    stored = await _copied(
        database, b"".join(rows.encode_valuations([a_valuation(1, {1: 1}, timestamp_ms=timestamp_ms)]))
    )
    seconds, thousandths = divmod(timestamp_ms, 1_000)
    assert datetime.fromtimestamp(seconds, UTC).replace(microsecond=1_000 * thousandths) == stored[0]["timestamp"]


async def _copied(dsn: str, file: bytes) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, timeout=SECONDS)
    await connection.copy_to_table(
        "equity_timeseries", source=io.BytesIO(file), columns=rows.EQUITY.names, format="binary", timeout=SECONDS
    )
    stored = await connection.fetch("SELECT * FROM equity_timeseries ORDER BY account_id", timeout=SECONDS)
    await connection.close(timeout=SECONDS)
    return stored
