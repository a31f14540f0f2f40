"""
Rows of ``equity_timeseries`` by other ways than ours: a bare COPY, the driver's own, and an INSERT each.

None of them keeps state, watermarks or a flush number; each commits its rows in one transaction, but for the INSERTs.
"""

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg

    Connection = asyncpg.Connection[Any]

TABLE = "equity_timeseries"


async def bare_copy(connection: "Connection", columns: Sequence[str], file: bytes) -> None:
    """Append the rows of a file that is in PostgreSQL's binary format already."""
    await connection.copy_to_table(TABLE, source=io.BytesIO(file), columns=columns, format="binary")


async def copy_records(connection: "Connection", columns: Sequence[str], records: Iterable[tuple[Any, ...]]) -> None:
    """Append rows that the driver encodes value by value."""
    await connection.copy_records_to_table(TABLE, records=records, columns=columns)


async def insert_each(connection: "Connection", columns: Sequence[str], records: Iterable[tuple[Any, ...]]) -> None:
    """Append rows one statement, and one transaction, after the other."""
    values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    statement = f"INSERT INTO {TABLE} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 -- our own names
    for record in records:
        await connection.execute(statement, *record)
