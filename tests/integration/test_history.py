"""History on a real database: held against sums made in SQL, read along the index, and gone while the database is."""

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.store.database import look_past_our_schema
from evs_server.store.queries import QUERIES
from tests.builders import ALICE, BOB, DAY_MS, HOUR_MS, KICK, PUNT
from tests.integration.running import Evs, Exchange, exchange_at, running
from tests.patience import PATIENCE_SECONDS, eventually_true
from tests.serving import SetClock, within_patience
from tests.wire import BUY, cash, prices, refusal, ticks, trades

OPENING_CENTS = 1_000_000
BEFORE_THE_CLOCKS_CHANGE_MS = 1_793_390_400_000
"""Noon UTC of 30 October 2026; two nights later New York's clocks go back."""

BUCKET = {
    pb.RESOLUTION_RAW: "date_trunc('second', timestamp)",
    pb.RESOLUTION_ONE_MINUTE: "date_trunc('minute', timestamp)",
    pb.RESOLUTION_FIVE_MINUTES: "date_bin('5 minutes', timestamp, '2000-01-01Z')",
    pb.RESOLUTION_ONE_HOUR: "date_trunc('hour', timestamp, 'America/New_York')",
    pb.RESOLUTION_ONE_DAY: "((timestamp AT TIME ZONE 'America/New_York' - interval '17 hours')::date + time '17:00')"
    " AT TIME ZONE 'America/New_York'",
}
"""What a bucket begins with, as one who knows nothing of EVS would write it."""


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """The exchange, with two accounts."""
    async with exchange_at(database) as exchange:
        await exchange.register(dict.fromkeys((ALICE, BOB), OPENING_CENTS))
        yield exchange


async def ask(evs: Evs, **asked: Any) -> pb.GetEquityHistoryResponse:
    return await within_patience(evs.stub.GetEquityHistory(pb.GetEquityHistoryRequest(account_id=ALICE, **asked)))


async def four_days_of_trading(evs: Evs, clock: SetClock) -> None:
    """Bursts of ticks over days on which the clocks change, with flows and trades among them."""
    dice = random.Random(4)
    await evs.send(trades((ALICE, KICK, BUY, 1_000_000, 1_000), (BOB, KICK, BUY, 500_000, 1_000)), ticks(1))
    bursts = sorted(dice.randrange(4 * DAY_MS) for _ in range(40))
    times = sorted(begin + dice.randrange(10_000) * 60 for begin in bursts for _ in range(10))
    for number, after_ms in enumerate(times):
        clock.ms = BEFORE_THE_CLOCKS_CHANGE_MS + after_ms
        await evs.send(
            prices((KICK, dice.randrange(900, 1_100))),
            *([cash((ALICE, dice.choice((-500, 700))))] if number % 7 == 0 else []),
            *([trades((ALICE, KICK, BUY + number % 2, 10_000, 1_000))] if number % 11 == 0 else []),
            ticks(number + 2),
        )
    await evs.stored()


def values(point: pb.EquityPoint) -> tuple[int, ...]:
    return point.time, point.open, point.high, point.low, point.last, point.realized_pnl, point.net_flow


@pytest.fixture
async def traded(exchange: Exchange, database: str, tmp_path: Path) -> AsyncIterator[Evs]:
    """An EVS on New York's clocks, after four days of trading."""
    await exchange.hold(BOB, PUNT, 50_000, 300)
    clock = SetClock(BEFORE_THE_CLOCKS_CHANGE_MS)
    zone = {"session_timezone": "America/New_York", "session_roll": "17:00"}
    async with running(database, tmp_path, clock, **zone) as evs:
        await four_days_of_trading(evs, clock)
        yield evs


async def test_points_are_the_sums_that_sql_makes_of_raw_rows(exchange: Exchange, traded: Evs) -> None:
    """Every resolution, page by page, against GROUP BY; the last is what a read says, and alone not final."""
    for resolution, bucket in BUCKET.items():
        expected = await exchange.numbers(
            f"SELECT extract(epoch FROM {bucket})::bigint AS start,"
            " (array_agg(total_equity ORDER BY timestamp, version))[1], max(total_equity), min(total_equity),"
            " (array_agg(total_equity ORDER BY timestamp DESC, version DESC))[1],"
            " (array_agg(realized_pnl ORDER BY timestamp DESC, version DESC))[1],"
            " (array_agg(net_flow ORDER BY timestamp DESC, version DESC))[1]"
            " FROM equity_timeseries WHERE account_id = $1 GROUP BY start ORDER BY start",
            ALICE,
        )
        points: list[pb.EquityPoint] = []
        token = ""
        while not points or token:
            answer = await ask(
                evs=traded, range=pb.HISTORY_RANGE_ALL, resolution=resolution, page_size=7, page_token=token
            )
            points += answer.points
            token = answer.next_page_token
        assert expected == [values(point) for point in points]
        assert [True] * (len(points) - 1) + [False] == [point.final for point in points]
        read = await traded.read(ALICE)
        assert (read.equity.total_equity, read.equity.realized_pnl, read.net_flow) == values(points[-1])[4:]


async def test_every_session_has_a_point_for_accounts_that_nobody_touched(traded: Evs) -> None:
    """A day's bar begins with the roll's own row, for all accounts: its open is the close of the day before."""
    days = [await ask(evs=traded, range=pb.HISTORY_RANGE_ALL, resolution=pb.RESOLUTION_ONE_DAY, carry_forward=fill)
            for fill in (False, True)]  # fmt: skip
    assert days[0].points == days[1].points
    points = days[0].points
    assert 5 <= len(points)
    assert [point.last for point in points[:-1]] == [point.open for point in points[1:]]


@pytest.fixture
async def large(any_database: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Three months of history, each of 200 accounts with a row every three hours."""
    connection = await asyncpg.connect(any_database, timeout=PATIENCE_SECONDS, command_timeout=PATIENCE_SECONDS)
    await look_past_our_schema(connection)
    for month in (1, 2, 3):
        await connection.execute("SELECT evs.make_partition($1)", datetime(2026, month, 1, tzinfo=UTC).date())
    await connection.execute(
        "INSERT INTO equity_timeseries (account_id, timestamp, tick, total_equity, cash_balance, position_value,"
        " unrealized_pnl, realized_pnl, day_change, day_change_percent, version, flags, net_flow)"
        " SELECT account, time, 1, 1, 1, 0, 0, 0, 0, 0, extract(epoch FROM time)::bigint, 0, 1"
        " FROM generate_series('2026-01-01Z'::timestamptz, '2026-03-31Z', '3 hours') AS time,"
        " generate_series(1, 200) AS account"
    )
    await connection.execute("VACUUM ANALYZE equity_timeseries")
    yield connection
    await connection.close(timeout=PATIENCE_SECONDS)


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a plan that read a table and were run."""
    own = [plan] if "Relation Name" in plan and plan["Actual Loops"] else []
    return own + [scan for part in plan.get("Plans", ()) for scan in scans(part)]


FROM_FEBRUARY = (datetime(2026, 2, 10, tzinfo=UTC), -1, datetime(2026, 3, 10, tzinfo=UTC))


READS = [
    (100, "history_rows", (*FROM_FEBRUARY, 100)),
    (100, "history_stretches", (*FROM_FEBRUARY, 100, timedelta(hours=1), datetime(2026, 1, 1, tzinfo=UTC))),
    (220, "history_rows", (*FROM_FEBRUARY, 220)),  # nearly all there are: other plans would be cheaper
    (220, "history_stretches", (*FROM_FEBRUARY, 220, timedelta(hours=1), datetime(2026, 1, 1, tzinfo=UTC))),
    (1, "history_newest", (datetime(2026, 2, 10, tzinfo=UTC),)),
]


async def test_a_read_goes_along_the_key_and_touches_its_own_rows_only(large: "asyncpg.Connection[Any]") -> None:
    """Of 140,000 rows it reads as many as it gives, and one at most to look ahead in a further month."""
    for row_count, query, arguments in READS:
        async with large.transaction():
            await large.execute(QUERIES["plan_along_the_key"])
            [[answer]] = await large.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {QUERIES[query]}", 100, *arguments)
        found = scans(json.loads(answer)[0]["Plan"])
        read = [scan for scan in found if scan["Relation Name"] != "equity_timeseries_default"]
        assert {"Index Scan"} == {scan["Node Type"].removesuffix(" Backward") for scan in read}
        assert all(scan["Index Name"].endswith("_pkey") for scan in read)
        months = {scan["Relation Name"].removeprefix("equity_timeseries_") for scan in read}
        assert months <= ({"2026_01", "2026_02"} if query == "history_newest" else {"2026_02", "2026_03"})
        assert row_count <= sum(scan["Actual Rows"] for scan in read) <= row_count + 1


async def answered(evs: Evs) -> pb.GetEquityHistoryResponse | None:
    """All of Alice's history, or None while the database is away."""
    try:
        return await ask(evs, range=pb.HISTORY_RANGE_ALL)
    except grpc.aio.AioRpcError:
        return None


async def test_while_the_database_is_away_there_is_no_history(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    """Reads of the newest valuation go on; history says that it cannot be read now, and is back with the database."""
    async with running(database, tmp_path) as evs:
        await ask(evs, range=pb.HISTORY_RANGE_ALL)
        name = await exchange.connection.fetchval("SELECT current_database()")
        hand = await asyncpg.connect(database.replace(f"/{name}?", "/postgres?"), timeout=PATIENCE_SECONDS)
        await hand.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await hand.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        with refusal() as told:
            await ask(evs, range=pb.HISTORY_RANGE_ALL)
        assert (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE") == (told.code, told.reason)
        assert OPENING_CENTS == (await evs.read(ALICE)).equity.total_equity
        await hand.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await hand.close(timeout=PATIENCE_SECONDS)
        answer = await eventually_true(lambda: answered(evs), "history is back")
        assert answer is not None
        assert [OPENING_CENTS] == [point.last for point in answer.points]


@pytest.mark.usefixtures("exchange")
async def test_a_restart_knows_what_time_it_is_on_the_market(database: str, tmp_path: Path) -> None:
    """Ticks of years ago: a range ends with the last of them, before and after; not with the import, by the clock."""
    past_ms = BEFORE_THE_CLOCKS_CHANGE_MS - 3_000 * DAY_MS
    async with running(database, tmp_path) as evs:
        await evs.send(trades((ALICE, KICK, BUY, 10_000, 1_000)), ticks(1, tick_time=(past_ms,)))
        await evs.send(prices((KICK, 1_100)), ticks(2, tick_time=(past_ms + HOUR_MS,)))
        await evs.stored()
        before = await ask(evs, range=pb.HISTORY_RANGE_ONE_DAY)
    async with running(database, tmp_path) as evs:
        assert before == await ask(evs, range=pb.HISTORY_RANGE_ONE_DAY)
    assert [0, 3_600] == [point.time - past_ms // 1_000 for point in before.points]
    assert [True, False] == [point.final for point in before.points]
