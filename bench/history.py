"""
History of one account out of many, against merely fetching the rows it is made of (``history/bare_fetch``).

EVS: a request of the contract answered in this process, from the decoded message to the encoded one; what the network
takes on top is ``unary/empty_rpc``. Yardstick: the same rows, or, where a point sums up many, the same sums, asked for
in SQL on a connection of its own, as Python objects. Both read one embedded PostgreSQL: a year of one-minute rows of
account 1 among nine times as many of 100,000 others, partitioned by month, in the order they were written.

``history/bare_fetch`` is a page of 5,000 one-minute points in the middle of the year.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
from evs.v1 import evs_pb2 as pb

from bench.command import run
from bench.harness import Result, Sample, measure_async, timed_async
from evs_server.engine import Engine, SessionCalendar
from evs_server.history import codec
from evs_server.history.pages import Pages
from evs_server.model import ExchangeAccount
from evs_server.store.database import Database
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.history import StoredHistory
from evs_server.store.migrate import migrate
from evs_server.store.queries import QUERIES

ROUNDS = 20
ACCOUNT, ACCOUNTS, ROWS_A_MINUTE = 1, 100_000, 10
YEAR = 2025
BEGIN, MIDDLE, END = (
    datetime(YEAR, 1, 1, tzinfo=UTC),
    datetime(YEAR, 7, 1, tzinfo=UTC),
    datetime(YEAR + 1, 1, 1, tzinfo=UTC),
)

SUMS = """
SELECT extract(epoch FROM date_trunc($4, timestamp))::bigint, (array_agg(total_equity ORDER BY timestamp, version))[1],
       max(total_equity), min(total_equity), (array_agg(total_equity ORDER BY timestamp DESC, version DESC))[1]
FROM equity_timeseries
WHERE account_id = $1 AND timestamp >= $2 AND timestamp < $3
GROUP BY date_trunc($4, timestamp) ORDER BY 1
"""


class Case(NamedTuple):
    """What is asked for."""

    name: str
    start: datetime
    points: int
    resolution: pb.Resolution
    bucket: str


CASES = (
    Case("bare_fetch", MIDDLE, 5_000, pb.RESOLUTION_ONE_MINUTE, "minute"),
    Case("day_of_minutes", MIDDLE, 1_440, pb.RESOLUTION_ONE_MINUTE, "minute"),
    Case("quarter_of_hours", MIDDLE, 92 * 24, pb.RESOLUTION_ONE_HOUR, "hour"),
    Case("year_of_days", BEGIN, 365, pb.RESOLUTION_ONE_DAY, "day"),
)


class StoppedClock:
    """A clock at the end of the year; a page's time is never up."""

    def now_ms(self) -> int:
        """Wall time in unix milliseconds."""
        return 1_000 * int(END.timestamp())

    def monotonic(self) -> float:
        """Seconds since some start."""
        return 0.0


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure each case; the results."""
    async with _history() as (pages, connection):
        return [await _measured(case, pages, connection, rounds) for case in CASES]


async def _measured(case: Case, pages: Pages, connection: "asyncpg.Connection[Any]", rounds: int) -> Result:
    return await measure_async(
        f"history/{case.name}",
        lambda _: _ours(pages, case),
        lambda _: _bare(connection, case),
        # What takes long varies little.
        rounds=rounds if case.bucket == "minute" else max(5, rounds // 3),
        note=f"{case.points:,} points, each of one {case.bucket}",
    )


@contextlib.asynccontextmanager
async def _history() -> AsyncIterator[tuple[Pages, "asyncpg.Connection[Any]"]]:
    """What makes pages, and a connection to the same database, once it is filled."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres", durable=False))
        await migrate(dsn)
        database = await Database.open(dsn)
        stack.push_async_callback(database.close)
        await _fill(database)
        connection = await asyncpg.connect(dsn)
        stack.push_async_callback(connection.close)
        await connection.execute("VACUUM ANALYZE equity_timeseries")
        clock, calendar = StoppedClock(), SessionCalendar(ZoneInfo("UTC"), time(0))
        engine = Engine(calendar, stale_after_ms=1)
        engine.open_accounts([ExchangeAccount(ACCOUNT, 1_000_000, ())], clock.now_ms())
        pages = Pages(StoredHistory(database), engine, calendar, clock)
        pages.mark_durable(engine.meta.version)
        yield pages, connection


async def _fill(database: Database) -> None:
    for month in range(1, 13):
        async with database.transaction("make a month") as connection:
            await connection.execute(QUERIES["make_partition"].replace("$1", f"'{date(YEAR, month, 1)}'"))
    statement = Path(__file__).with_name("fill_history.sql").read_text()
    days = (END - BEGIN) // timedelta(days=1)
    for first in range(0, days, 10):
        begin = int((BEGIN + timedelta(days=first)).timestamp()) // 60
        end = min(begin + 10 * 1_440, int(END.timestamp()) // 60) - 1
        given = {"accounts": ACCOUNTS, "others": ROWS_A_MINUTE, "first_minute": begin, "last_minute": end}
        filled = statement
        for name, value in given.items():
            filled = filled.replace(f":{name}", str(value))
        async with database.transaction("fill some days") as connection:
            await connection.execute(filled)


async def _ours(pages: Pages, case: Case) -> Sample:
    request = pb.GetEquityHistoryRequest(
        account_id=ACCOUNT,
        start=int(case.start.timestamp()),
        end=int(_end(case).timestamp()),
        resolution=case.resolution,
        page_size=case.points,
    )

    async def answer() -> bytes:
        query = codec.decode(request, pages.calendar, pages.now_ms())
        return codec.encode(query, await pages.read(query)).SerializeToString()

    sample = await timed_async(answer)
    points = pb.GetEquityHistoryResponse.FromString(sample.output).points
    return sample._replace(output=[(each.time, each.open, each.high, each.low, each.last) for each in points])


async def _bare(connection: "asyncpg.Connection[Any]", case: Case) -> Sample:
    given = (ACCOUNT, case.start, _end(case))
    if case.resolution == pb.RESOLUTION_ONE_MINUTE:
        rows = QUERIES["history_rows"]
        sample = await timed_async(lambda: connection.fetch(rows, ACCOUNT, case.start, -1, _end(case), case.points))
        return sample._replace(output=[(int(row[0].timestamp()), *[row[2]] * 4) for row in _output(sample)])
    sample = await timed_async(lambda: connection.fetch(SUMS, *given, case.bucket))
    return sample._replace(output=[tuple(row) for row in _output(sample)])


def _output(sample: Sample) -> Sequence[Any]:
    rows: Sequence[Any] = sample.output
    return rows


def _end(case: Case) -> datetime:
    return case.start + case.points * timedelta(**{f"{case.bucket}s": 1})


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
