"""Returns and the ranking through gRPC: over sessions that roll, flows, restarts, and a database that is away."""

from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from tests.builders import ALICE, BOB, CAROL, DAY_MS, HOUR_MS, KICK, NOON_MS
from tests.integration.running import Evs, Exchange, exchange_at, running
from tests.patience import eventually_true
from tests.serving import SetClock, within_patience
from tests.wire import BUY, SELL, cash, prices, refusal, ticks, trades

SHARE = 10_000
OPENING_CENTS = 1_000_000
RANKED = {
    pb.HISTORY_RANGE_ONE_DAY: 1,
    pb.HISTORY_RANGE_ONE_WEEK: 7,
    pb.HISTORY_RANGE_ONE_MONTH: 31,
    pb.HISTORY_RANGE_ALL: 10_000,
}
"""Ranges that are ranked, and how many sessions each has, the running one included; trading begins on a 1 January."""
ACCOUNTS = (ALICE, BOB, CAROL)


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """The exchange, with three accounts."""
    async with exchange_at(database) as opened:
        await opened.register(dict.fromkeys(ACCOUNTS, OPENING_CENTS))
        yield opened


async def performance(evs: Evs, account_id: int, span: pb.HistoryRange = pb.HISTORY_RANGE_ALL) -> Any:
    request = pb.GetPerformanceRequest(account_id=account_id, range=span)
    return await within_patience(evs.stub.GetPerformance(request))


async def between(evs: Evs, account_id: int, start_ms: int, end_ms: int | None = None) -> Any:
    end = None if end_ms is None else end_ms // 1_000
    request = pb.GetPerformanceRequest(account_id=account_id, start=start_ms // 1_000, end=end)
    return await within_patience(evs.stub.GetPerformance(request))


async def board(evs: Evs, clock: SetClock, span: pb.HistoryRange, **rest: int) -> Any:
    """The ranking as of now: what was rolled is closed, and what was made before is old."""
    newest = max([(await evs.read(account_id)).version for account_id in ACCOUNTS])

    async def current() -> Any:
        clock.ms += 2_000
        answer = await within_patience(evs.stub.GetLeaderboard(pb.GetLeaderboardRequest(range=span, **rest)))
        return answer if answer.version >= newest else None

    return await eventually_true(current, "the ranking has the newest valuations")


async def trade_for(evs: Evs, day: int, price: int, *more: pb.EventRun) -> None:
    """One market day: a price at noon, and again in the afternoon, a cent off."""
    noon_ms = NOON_MS + day * DAY_MS
    await evs.send(prices((KICK, price)), *more, ticks(2 * day, tick_time=(noon_ms,)))
    await evs.send(prices((KICK, price + 1)), ticks(2 * day + 1, tick_time=(noon_ms + 3 * HOUR_MS,)))


async def test_every_surface_tells_the_same_return(exchange: Exchange, database: str, tmp_path: Path) -> None:
    """Ten days with flows: the ranking, the performance of each account and a fold of the rows agree on each range."""
    clock = SetClock()
    async with running(database, tmp_path, clock) as evs:
        await evs.send(
            trades((ALICE, KICK, BUY, 60 * SHARE, 7_000), (BOB, KICK, SELL, 60 * SHARE, 7_000)),
            ticks(1, tick_time=(NOON_MS - HOUR_MS,)),
        )
        for day, price in enumerate((7_001, 7_313, 6_977, 8_111, 8_109, 9_001, 8_003, 7_777, 7_779, 10_007)):
            flows = cash((ALICE, 33_333 * (day - 4) or 1), (BOB, 10_001 * day + 1))
            await trade_for(evs, day, price, flows)
        await evs.stored()
        for span, session_count in RANKED.items():
            ranking = await board(evs, clock, span)
            assert 3 == ranking.ranked_count == len(ranking.entries)
            ranked = {entry.account_id: entry.return_percent for entry in ranking.entries}
            for account_id in ACCOUNTS:
                made = await performance(evs, account_id, span)
                assert made.time_weighted_return_percent == ranked[account_id]
                assert float(folded(await exchange.rows(account_id), session_count)) == pytest.approx(
                    ranked[account_id], abs=0.00005001
                )
        today = {account_id: (await evs.read(account_id)).equity.day_change_percent for account_id in ACCOUNTS}
        assert today == {
            entry.account_id: entry.return_percent
            for entry in (await board(evs, clock, pb.HISTORY_RANGE_ONE_DAY)).entries
        }


@pytest.mark.usefixtures("exchange")
async def test_a_deposit_is_no_return(database: str, tmp_path: Path) -> None:
    """Carol only pays in and out; Alice makes 1 % of what she has each day, whatever she pays in between."""
    clock = SetClock()
    async with running(database, tmp_path, clock) as evs:
        await evs.send(trades((ALICE, KICK, BUY, 100 * SHARE, 10_000)), ticks(1, tick_time=(NOON_MS - HOUR_MS,)))
        price = 10_000
        for day in range(3):
            price = price * 101 // 100
            await evs.send(prices((KICK, price)), cash((CAROL, 500_000)), ticks(2, tick_time=(NOON_MS + day * DAY_MS,)))
        made = await performance(evs, CAROL)
        assert (0, 1_500_000, 0) == (made.profit, made.net_flow, made.time_weighted_return_percent)
        assert (OPENING_CENTS, OPENING_CENTS + 1_500_000) == (made.start_equity, made.end_equity)
        made = await performance(evs, ALICE)
        assert ("3.0300", 0.0, 0.0) == (
            f"{made.time_weighted_return_percent:.4f}",
            made.drawdown_percent,
            made.max_drawdown_percent,
        )
        assert (made.end_equity, made.end) == (made.high_water_mark, made.high_water_time)
        assert (await evs.read(ALICE)).version == made.version
        answer = await board(evs, clock, pb.HISTORY_RANGE_ALL, account_id=CAROL, limit=1)
        assert [(1, ALICE)] == [(entry.rank, entry.account_id) for entry in answer.entries]
        assert (2, CAROL, 0.0) == (answer.own.rank, answer.own.account_id, answer.own.return_percent)
        answer = await board(evs, clock, pb.HISTORY_RANGE_ALL)
        assert [(1, ALICE), (2, BOB), (2, CAROL)] == [(each.rank, each.account_id) for each in answer.entries]
        assert not answer.HasField("own")


@pytest.mark.usefixtures("exchange")
async def test_any_time_may_be_asked_for(database: str, tmp_path: Path) -> None:
    """What counts is the newest valuation at or before the start, and the last before the end."""
    async with running(database, tmp_path, SetClock(NOON_MS - 2 * HOUR_MS)) as evs:
        await evs.send(trades((ALICE, KICK, BUY, 100 * SHARE, 10_000)), ticks(1, tick_time=(NOON_MS - HOUR_MS,)))
        for day, price in enumerate((11_000, 9_900, 9_900)):
            await evs.send(prices((KICK, price)), ticks(2, tick_time=(NOON_MS + day * DAY_MS,)))
            await evs.send(prices((KICK, 10_000)), ticks(3, tick_time=(NOON_MS + day * DAY_MS + HOUR_MS,)))
        await evs.stored()
        made = await between(evs, ALICE, NOON_MS + 1_000, NOON_MS + DAY_MS + 1_000)
        assert (NOON_MS // 1_000, (NOON_MS + DAY_MS) // 1_000) == (made.start, made.end)
        assert (1_100_000, 990_000, -110_000, -10.0) == (
            made.start_equity, made.end_equity, made.profit, made.time_weighted_return_percent,
        )  # fmt: skip
        assert (-10.0, -10.0, 1_100_000, made.start) == (
            made.max_drawdown_percent, made.drawdown_percent, made.high_water_mark, made.high_water_time,
        )  # fmt: skip
        made = await between(evs, ALICE, NOON_MS, NOON_MS + DAY_MS)
        assert (1_100_000, 1_000_000) == (made.start_equity, made.end_equity), "the end is not included"
        made = await between(evs, ALICE, 0)
        assert ((NOON_MS - 2 * HOUR_MS) // 1_000, 0.0) == (made.start, made.time_weighted_return_percent)
        assert -1.0 == made.max_drawdown_percent, "in the last session; those before count with their closes alone"
        made = await between(evs, ALICE, 0, NOON_MS + 99 * DAY_MS)
        assert (await evs.read(ALICE)).version == made.version, "the end may lie ahead"
        made = await between(evs, ALICE, NOON_MS + 99 * DAY_MS)
        assert (0, 0.0, made.start) == (made.profit, made.time_weighted_return_percent, made.end)
        assert pb.GetPerformanceResponse() == await between(evs, ALICE, 0, NOON_MS - 2 * HOUR_MS)


async def test_a_restart_takes_up_where_it_stopped(exchange: Exchange, database: str, tmp_path: Path) -> None:
    """Also if it stopped between a roll and its close, several sessions long."""
    clock = SetClock()
    async with running(database, tmp_path, clock) as evs:
        await evs.send(trades((ALICE, KICK, BUY, 60 * SHARE, 7_000)), ticks(1, tick_time=(NOON_MS - HOUR_MS,)))
        for day, price in enumerate((7_001, 7_313, 6_977)):
            await trade_for(evs, day, price)
        before = [await board(evs, clock, span) for span in RANKED]
        await evs.stored()
    await exchange.connection.execute("TRUNCATE evs.session_close, evs.closed_session")
    async with running(database, tmp_path, clock) as evs:
        assert before == [await board(evs, clock, span) for span in RANKED]
        ranked = {entry.account_id: entry.return_percent for entry in before[-1].entries}
        assert ranked[ALICE] == (await performance(evs, ALICE)).time_weighted_return_percent
        await trade_for(evs, 3, 7_500)
        for span in RANKED:
            ranked = {entry.account_id: entry.return_percent for entry in (await board(evs, clock, span)).entries}
            assert ranked[ALICE] == (await performance(evs, ALICE, span)).time_weighted_return_percent


async def test_an_account_created_later_counts_from_its_own_beginning(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    """With trades that we were not told of: it counts from what was paid in, as its change of the day does."""
    newcomer, clock = 1_001, SetClock()
    async with running(database, tmp_path, clock) as evs:
        await evs.send(trades((ALICE, KICK, BUY, SHARE, 200)), ticks(1))
        await exchange.register({newcomer: 900})
        await exchange.settle(1, newcomer, KICK, "BUY", SHARE, 100)
        made = await performance(evs, newcomer)
        equity = (await evs.read(newcomer)).equity
        assert (100, 10.0) == (equity.day_change, equity.day_change_percent)
        assert (1_100, 1_100, 10.0) == (made.start_equity, made.end_equity, made.time_weighted_return_percent)
        await evs.stored()
        for span in RANKED:
            made = await performance(evs, newcomer, span)
            assert 10.0 == made.time_weighted_return_percent
            answer = await board(evs, clock, span, account_id=newcomer)
            assert (1, 10.0) == (answer.own.rank, answer.own.return_percent)
            clock.ms += 2_000


async def test_entries_carry_the_names_of_the_exchange(exchange: Exchange, database: str, tmp_path: Path) -> None:
    await exchange.connection.execute("UPDATE accounts SET display_name = 'Alice A.' WHERE id = $1", ALICE)
    async with running(database, tmp_path) as evs:
        answer = await within_patience(evs.stub.GetLeaderboard(pb.GetLeaderboardRequest(account_id=ALICE)))
        assert ["Alice A.", "", ""] == [entry.display_name for entry in answer.entries]
        assert ("Alice A.", 3) == (answer.own.display_name, answer.ranked_count)


async def test_an_account_without_a_base_is_not_ranked(exchange: Exchange, database: str, tmp_path: Path) -> None:
    """A position without a price: nobody knows what it began with."""
    await exchange.hold(BOB, KICK, SHARE, 500)
    async with running(database, tmp_path) as evs:
        answer = await within_patience(evs.stub.GetLeaderboard(pb.GetLeaderboardRequest(account_id=BOB)))
        assert ([ALICE, CAROL], False) == ([entry.account_id for entry in answer.entries], answer.HasField("own"))
        assert 0.0 == (await performance(evs, BOB)).time_weighted_return_percent


START, END = NOON_MS // 1_000, NOON_MS // 1_000 + 1
REFUSED = [
    ("range", pb.GetPerformanceRequest(account_id=ALICE)),
    ("range", pb.GetPerformanceRequest(account_id=ALICE, range=99)),  # type: ignore[arg-type]
    ("start", pb.GetPerformanceRequest(account_id=ALICE, range=pb.HISTORY_RANGE_ALL, start=START)),
    ("end", pb.GetPerformanceRequest(account_id=ALICE, range=pb.HISTORY_RANGE_ALL, end=END)),
    ("start", pb.GetPerformanceRequest(account_id=ALICE, start=-1)),
    ("end", pb.GetPerformanceRequest(account_id=ALICE, start=START, end=START)),
    ("account_id", pb.GetPerformanceRequest(range=pb.HISTORY_RANGE_ALL)),
    ("range", pb.GetLeaderboardRequest(range=pb.HISTORY_RANGE_ONE_YEAR)),
    ("range", pb.GetLeaderboardRequest(range=pb.HISTORY_RANGE_THREE_MONTHS)),
    ("range", pb.GetLeaderboardRequest(range=7)),  # type: ignore[arg-type]
    ("limit", pb.GetLeaderboardRequest(limit=1_001)),
    ("account_id", pb.GetLeaderboardRequest(account_id=-1)),
]
BEYOND = [
    ("start", pb.GetPerformanceRequest(account_id=ALICE, start=2**40)),
    ("end", pb.GetPerformanceRequest(account_id=ALICE, start=START, end=2**40)),
    ("account_id", pb.GetLeaderboardRequest(account_id=2**53)),
]


@pytest.mark.usefixtures("exchange")
async def test_what_cannot_be_answered_is_refused_with_the_field(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as evs:
        for code, cases in ((grpc.StatusCode.INVALID_ARGUMENT, REFUSED), (grpc.StatusCode.OUT_OF_RANGE, BEYOND)):
            for field, request in cases:
                with refusal() as told:
                    if isinstance(request, pb.GetPerformanceRequest):
                        await within_patience(evs.stub.GetPerformance(request))
                    elif isinstance(request, pb.GetLeaderboardRequest):
                        await within_patience(evs.stub.GetLeaderboard(request))
                assert (code, field) == (told.code, told.field), told.message
        with refusal() as told:
            await performance(evs, 404)
        assert grpc.StatusCode.NOT_FOUND == told.code


def folded(rows: list[dict[str, Any]], session_count: int) -> Fraction:
    """The exact time-weighted return in percent over the last sessions: an account's rows, in plain fractions."""
    growth, base = [], None
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        profit = row["total_equity"] - row["net_flow"]
        base = profit - row["day_change"] if base is None else base
        if following is None or following["timestamp"].date() > row["timestamp"].date():
            gain = profit - base
            capital = row["total_equity"] - gain
            growth.append(Fraction(row["total_equity"], capital) if capital > 0 else Fraction(1))
            base = profit
    product = Fraction(1)
    for each in growth[-session_count:]:
        product *= each
    return 100 * (product - 1)
