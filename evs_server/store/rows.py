"""
Columns as the bytes of PostgreSQL's binary COPY, and back. Pure.

Lives here: the layout of each table's rows on the wire. Not here: SQL, connections, which rows are written.

Every field has a fixed width, NULL never occurs, so all rows of a table are one structured array of big-endian fields
and a copy is a few column assignments instead of a loop over rows. A file is 19 bytes of header, then per row a field
count and each field with its length before it, then a count of -1 (PostgreSQL manual, COPY, "Binary Format").

A percentage of 10.0000 is 100,000 in units of 0.0001; as NUMERIC(10,4) it is written with three base-10,000 digits
whatever its size, 0 | 10 | 0: leading zeros are accepted and dropped by the server.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from evs_server.limits import PERCENT_E4_MAX
from evs_server.model import (
    AccountColumns,
    Columns,
    CorrectionColumns,
    Int64Array,
    MarkColumns,
    NewcomerColumns,
    ParkedColumns,
    PositionColumns,
    SnapshotColumns,
    UnannouncedColumns,
    Valuation,
    table_of,
)

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
SLICE_ROWS: Final = 4_096
"""Rows encoded at a time: about 5 ms, after which the event loop may see to others."""

_EPOCH_MS: Final = 946_684_800_000
"""2000-01-01, from which PostgreSQL counts its microseconds."""
_NUMERIC_NEGATIVE: Final = 0x4000

assert PERCENT_E4_MAX < 10_000**3, "three digits of base 10,000 hold every percentage"


class Kind(Enum):
    """Type of a column in the database."""

    INT8 = "bigint"
    INT4 = "integer"
    INT2 = "smallint"
    BOOL = "boolean"
    TIMESTAMP = "timestamp with time zone"
    NUMERIC_E4 = "numeric(10, 4)"


_FIELD: Final[Mapping[Kind, np.dtype[Any]]] = {
    Kind.INT8: np.dtype(">i8"),
    Kind.INT4: np.dtype(">i4"),
    Kind.INT2: np.dtype(">i2"),
    Kind.BOOL: np.dtype("u1"),
    Kind.TIMESTAMP: np.dtype(">i8"),
    Kind.NUMERIC_E4: np.dtype([("head", ">i2", 2), ("sign", ">u2"), ("scale", ">i2"), ("digit", ">i2", 3)]),
}


class Layout:
    """
    The rows of one table.

    Args:
        kinds: Kind of each column by name, in the order of the columns.
    """

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.names: Final = tuple(kinds)
        self._kinds: Final = tuple(kinds.values())
        fields: list[tuple[str, Any]] = [("count", ">i2")]
        for index, kind in enumerate(self._kinds):
            fields += [(f"length{index}", ">i4"), (f"field{index}", _FIELD[kind])]
        self._dtype: Final = np.dtype(fields)
        self._blank: Final = self._blank_row()

    @classmethod
    def of(cls, columns: type[Columns], **kinds: Kind) -> Self:
        """The layout of a table with the columns of a class: bigint, but for those named."""
        return cls({field.name: kinds.get(field.name, Kind.INT8) for field in dataclasses.fields(columns)})

    def of_slice(self) -> Self:
        """The same rows with one column more, which says whose slice they are of."""
        return type(self)(dict(zip(self.names, self._kinds, strict=True)) | {"shard": Kind.INT2})

    def encode(self, columns: Sequence[Int64Array]) -> bytes:
        """
        Rows without header and trailer.

        Args:
            columns: One array per column, all of the same length; times in unix milliseconds, percentages in 0.0001.
        """
        return self._encoded(columns, self._blank_rows(len(columns[0])))

    def _encoded(self, columns: Sequence[Int64Array], out: npt.NDArray[Any]) -> bytes:
        """The same, by way of as many rows: blank ones, or such that were written to before."""
        assert len(columns) == len(self._kinds)
        for index, (kind, column) in enumerate(zip(self._kinds, columns, strict=True)):
            field = out[f"field{index}"]
            if kind is Kind.NUMERIC_E4:
                _write_numeric(field, column)
            elif kind is Kind.TIMESTAMP:
                field[:] = (column - _EPOCH_MS) * 1_000
            else:
                field[:] = column
        return out.tobytes()

    def _blank_rows(self, count: int) -> npt.NDArray[Any]:
        """Rows to write fields to: what is alike in all of them, two thirds of the work, is there already."""
        rows = np.empty((count, self._dtype.itemsize), np.uint8)
        rows[:] = self._blank
        return rows.view(self._dtype)[:, 0]

    def _blank_row(self) -> npt.NDArray[np.uint8]:
        """The bytes of a row before its fields are written."""
        row = np.zeros(1, self._dtype)
        row["count"] = len(self._kinds)
        for index, kind in enumerate(self._kinds):
            row[f"length{index}"] = _FIELD[kind].itemsize
            if kind is Kind.NUMERIC_E4:
                row[f"field{index}"]["head"] = (3, 1)  # three digits, the first of which counts 10,000s
                row[f"field{index}"]["scale"] = 4
        return row.view(np.uint8)

    def encode_file(self, columns: Sequence[Int64Array]) -> Iterator[bytes]:
        """A whole file of rows, a slice at a time; a small one is a single piece, since each is sent by itself."""
        return _framed(self.encode_slices(columns))

    def encode_slices(self, columns: Sequence[Int64Array]) -> Iterator[bytes]:
        """Rows without header and trailer, a slice at a time."""
        count = len(columns[0])
        # One for all slices: fresh memory for each would cost half as much again.
        rows = self._blank_rows(min(count, SLICE_ROWS))
        for start in range(0, count, SLICE_ROWS):
            part = [column[start : start + SLICE_ROWS] for column in columns]
            yield self._encoded(part, rows[: len(part[0])])

    def decode(self, file: bytes | bytearray) -> list[Int64Array]:
        """
        Columns of a whole file; integers, booleans and times only, times in unix milliseconds.

        Args:
            file: What COPY TO gave for exactly these columns, none of them NULL.

        Raises:
            ValueError: If the file does not hold rows of this layout.
        """
        body = len(file) - len(HEADER) - len(TRAILER)
        if body < 0 or body % self._dtype.itemsize or file[: len(HEADER)] != HEADER:
            raise ValueError(f"a copy of {len(file)} bytes does not hold rows of {self._dtype.itemsize} bytes")
        rows = np.frombuffer(file, self._dtype, body // self._dtype.itemsize, len(HEADER))
        columns = [rows[f"field{index}"].astype(np.int64) for index in range(len(self._kinds))]
        return [
            column // 1_000 + _EPOCH_MS if kind is Kind.TIMESTAMP else column
            for kind, column in zip(self._kinds, columns, strict=True)
        ]


def _write_numeric(field: npt.NDArray[Any], value_e4: Int64Array) -> None:
    size = np.abs(value_e4)
    assert size.max(initial=0) <= PERCENT_E4_MAX
    field["sign"] = np.where(value_e4 < 0, _NUMERIC_NEGATIVE, 0)
    # Numpy divides by a constant as fast as it multiplies; for a remainder it would divide in earnest.
    above_last = size // 10_000
    first = above_last // 10_000
    field["digit"][:, 0] = first
    field["digit"][:, 1] = above_last - first * 10_000
    field["digit"][:, 2] = size - above_last * 10_000


EQUITY: Final = Layout(
    {
        "account_id": Kind.INT8,
        "timestamp": Kind.TIMESTAMP,
        "tick": Kind.INT8,
        "total_equity": Kind.INT8,
        "cash_balance": Kind.INT8,
        "position_value": Kind.INT8,
        "unrealized_pnl": Kind.INT8,
        "realized_pnl": Kind.INT8,
        "day_change": Kind.INT8,
        "day_change_percent": Kind.NUMERIC_E4,
        "version": Kind.INT8,
        "flags": Kind.INT4,
        "net_flow": Kind.INT8,
    }
)
"""equity_timeseries; written only."""

ACCOUNT: Final = Layout.of(AccountColumns, has_base=Kind.BOOL, dirty=Kind.BOOL)
POSITION: Final = Layout.of(PositionColumns, listed=Kind.BOOL)
MARK: Final = Layout.of(MarkColumns, source=Kind.INT2, valued_source=Kind.INT2, changed=Kind.BOOL)
LATEST: Final = Layout.of(SnapshotColumns, flags=Kind.INT4)
UNANNOUNCED: Final = Layout.of(UnannouncedColumns, side=Kind.INT2)
PARKED: Final = Layout.of(ParkedColumns, kind=Kind.INT2, side=Kind.INT2)
NEWCOMER: Final = Layout.of(NewcomerColumns)
CORRECTION: Final = Layout.of(CorrectionColumns, kind=Kind.INT2, requested=Kind.BOOL, field=Kind.INT2)
SETTLEMENT: Final = Layout(
    {"ordinal": Kind.INT8, "account_id": Kind.INT8, "side": Kind.INT2, "settlement_id": Kind.INT8}
)


def equity_columns(valuations: Sequence[Valuation]) -> list[Int64Array]:
    """Columns of ``EQUITY`` for at least one pass, in the order of their snapshots."""
    table = table_of(valuations)
    return [
        table.account_id,
        table.timestamp_ms,
        table.tick,
        table.equity_cents,
        table.cash_cents,
        table.position_value_cents,
        table.unrealized_cents,
        table.realized_cents,
        table.day_change_cents,
        table.day_change_percent_e4,
        table.version,
        table.flags,
        table.net_flow_cents,
    ]


def encode_valuations(valuations: Sequence[Valuation]) -> Iterator[bytes]:
    """A file of the rows of several passes, a slice at a time; small passes share one."""
    return _framed(part for columns in _gathered(valuations) for part in EQUITY.encode_slices(columns))


def _gathered(valuations: Sequence[Valuation]) -> Iterator[list[Int64Array]]:
    """Columns of ``EQUITY`` of each large pass, and of small ones together, in order."""
    together: list[Valuation] = []
    row_count = 0
    for valuation in valuations:
        if together and row_count + len(valuation) > SLICE_ROWS:
            yield equity_columns(together)
            together, row_count = [], 0
        together.append(valuation)
        row_count += len(valuation)
    if together:
        yield equity_columns(together)


def _framed(slices: Iterable[bytes]) -> Iterator[bytes]:
    """A file: its header goes with the first slice, and its trailer with the last."""
    waiting = HEADER
    for number, part in enumerate(slices):
        if number:
            yield waiting
            waiting = part
        else:
            waiting += part
    yield waiting + TRAILER
