"""When the ranking is made anew, what from, and what it says while the closes of sessions are not at hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import time
from zoneinfo import ZoneInfo

import pytest

from evs_server.engine import SessionCalendar
from evs_server.engine.growth import GROWTH_ONE
from evs_server.errors import StoreUnavailable
from evs_server.model import CloseColumns, EngineMeta, HistoryRange
from evs_server.performance import leaderboard
from evs_server.performance.leaderboard import FRESH_SECONDS, Leaderboard
from evs_server.performance.names import NAMES_MAX, REMEMBERED_SECONDS, REST_SECONDS, Names
from tests.builders import ALICE, BOB, DAY_MS, NOON_MS, Floor, int64
from tests.flushes import a_flush
from tests.serving import SetClock, until, within_patience

DAY, WEEK, ALL = HistoryRange.ONE_DAY, HistoryRange.ONE_WEEK, HistoryRange.ALL
MIDNIGHT_MS = NOON_MS + DAY_MS // 2
TENTH_E4 = 100_000


class KeptCloses:
    """Closes of sessions that a test has written down; away while it says so."""

    def __init__(self) -> None:
        self.by_roll: dict[int, CloseColumns] = {}
        self.away = False
        self.look_count = 0

    async def catch_up(self, _: Callable[[int, int], Sequence[int]]) -> Sequence[int]:
        self.look_count += 1
        if self.away:
            raise StoreUnavailable("the database is away")
        return sorted(self.by_roll)

    async def read(self, closed_ms: int) -> CloseColumns:
        return self.by_roll[closed_ms]

    def close(self, roll_ms: int, growth: int) -> None:
        """Everybody's close: a tenth won, on the way to this growth."""
        ones = int64(1, 1)
        self.by_roll[roll_ms] = CloseColumns(int64(ALICE, BOB), 110 * ones, 100 * ones, growth * ones)


class Board:
    """A leaderboard, with all that it is made of."""

    def __init__(self) -> None:
        self.floor = Floor(cash_cents={ALICE: 1_000, BOB: 1_000})
        self.closes, self.clock = KeptCloses(), SetClock()
        calendar = SessionCalendar(ZoneInfo("UTC"), time(0))
        self.leaderboard = Leaderboard(self.floor.engine, self.closes, calendar, self.clock)

    async def percents_e4(self, span: HistoryRange) -> dict[int, int]:
        """Returns by account, after a while."""
        self.clock.ms += int(1_000 * FRESH_SECONDS)
        places = (await within_patience(self.leaderboard.ranking(span))).first(9)
        return {place.account_id: place.return_percent_e4 for place in places}

    def trade(self, price: int) -> None:
        """Alice holds a share, bought at 100; it has this price now."""
        if not self.floor.engine.positions(ALICE):
            self.floor.buy(ALICE, 1, 100)
        self.floor.mark(price)
        self.floor.complete()

    def roll(self) -> None:
        """A day passes."""
        self.floor.wait(DAY_MS)
        self.floor.complete()

    def tell(self, session_start_ms: int) -> None:
        """A flush of the session that began then is committed."""
        meta = EngineMeta(1, 1, session_start_ms)
        self.leaderboard.offer(a_flush(1, meta=meta))


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(leaderboard, "RETRY_SECONDS", 0)
    return Board()


@asynccontextmanager
async def run(board: Board) -> AsyncIterator[None]:
    """The task of ``app``."""
    task = asyncio.create_task(board.leaderboard.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_the_order_of_the_day_needs_no_closes(board: Board) -> None:
    board.trade(200)
    assert {ALICE: TENTH_E4, BOB: 0} == await board.percents_e4(DAY)
    assert 0 == board.closes.look_count


async def test_an_order_is_served_for_a_second_and_made_anew_after_it(board: Board) -> None:
    board.trade(200)
    first = await board.leaderboard.ranking(DAY)
    board.trade(300)
    board.clock.ms += int(1_000 * FRESH_SECONDS) - 1
    assert first is await board.leaderboard.ranking(DAY)
    board.clock.ms += 1
    assert board.floor.engine.meta.version == (await board.leaderboard.ranking(DAY)).version


async def test_an_order_of_which_nothing_has_changed_is_not_made_anew(board: Board) -> None:
    board.trade(200)
    first = await board.leaderboard.ranking(DAY)
    board.clock.ms += 9_000
    assert first is await board.leaderboard.ranking(DAY)


async def test_a_week_links_the_days_that_closed_in_it(board: Board) -> None:
    """The close at which it begins is not among them; growth since the first valuation is that of the newest."""
    for day in range(9):
        board.closes.close(MIDNIGHT_MS + (day - 9) * DAY_MS, (day + 1) * GROWTH_ONE)
    board.floor.complete(tick_time_ms=MIDNIGHT_MS - 1)
    async with run(board):
        assert {ALICE: 771_561, BOB: 771_561} == await board.percents_e4(WEEK), "1.1 ** 6"
        assert 8 * 100 * 10_000 == (await board.percents_e4(ALL))[BOB]


async def test_before_the_first_tick_everybody_is_where_he_began(board: Board) -> None:
    async with run(board):
        assert {ALICE: 0, BOB: 0} == await board.percents_e4(ALL)


async def test_after_a_roll_the_order_before_it_is_served_until_its_closes_are_read(board: Board) -> None:
    """With the new day's valuations alone, the day before would be missing."""
    board.closes.close(MIDNIGHT_MS - DAY_MS, GROWTH_ONE)
    board.trade(200)
    async with run(board):
        assert {ALICE: TENTH_E4, BOB: 0} == await board.percents_e4(WEEK)
        board.roll()
        assert {ALICE: 0, BOB: 0} == await board.percents_e4(DAY), "which is a new one"
        assert {ALICE: TENTH_E4, BOB: 0} == await board.percents_e4(WEEK)
        board.closes.close(MIDNIGHT_MS, GROWTH_ONE)
        board.tell(MIDNIGHT_MS)

        def has_read() -> bool:
            return board.leaderboard._is_current

        await until(has_read)
        assert {ALICE: TENTH_E4, BOB: TENTH_E4} == await board.percents_e4(WEEK), "as the closes have it"


async def test_a_reader_waits_for_the_closes_that_are_being_read(board: Board) -> None:
    """And a database that is away is asked again."""
    board.closes.away = True
    board.closes.close(MIDNIGHT_MS - DAY_MS, GROWTH_ONE)
    board.trade(200)
    async with run(board):
        asked = asyncio.create_task(board.percents_e4(WEEK))
        await until(lambda: board.closes.look_count > 1)
        assert not asked.done()
        board.closes.away = False
        assert {ALICE: TENTH_E4, BOB: 0} == await within_patience(asked)


async def test_without_the_closes_there_is_no_order_and_the_reason_is_told(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "STARTS_SECONDS", 0.01)
    board.closes.away = True
    board.trade(200)
    async with run(board):
        await until(lambda: board.closes.look_count > 1)
        with pytest.raises(StoreUnavailable, match="are not at hand: the database is away"):
            await board.leaderboard.ranking(ALL)
        assert {ALICE: TENTH_E4, BOB: 0} == await board.percents_e4(DAY)


async def test_flushes_of_the_same_session_are_no_news(board: Board) -> None:
    board.closes.close(MIDNIGHT_MS - DAY_MS, GROWTH_ONE)
    board.trade(200)
    async with run(board):
        await board.percents_e4(WEEK)
        board.tell(MIDNIGHT_MS - DAY_MS)
        await board.percents_e4(WEEK)
        assert 1 == board.closes.look_count


# --- names --------------------------------------------------------------------------------------------------------


class KeptNames:
    """The exchange's names; away while a test says so."""

    def __init__(self) -> None:
        self.names = {ALICE: "Alice"}
        self.away = False
        self.asked: list[list[int]] = []

    async def read_names(self, account_ids: Collection[int]) -> dict[int, str]:
        self.asked.append(list(account_ids))
        if self.away:
            raise StoreUnavailable("the database is away")
        return {account_id: self.names[account_id] for account_id in account_ids if account_id in self.names}


async def test_names_are_remembered_for_a_while() -> None:
    """Also that an account has none."""
    source, clock = KeptNames(), SetClock()
    names = Names(source, clock)
    assert {ALICE: "Alice", BOB: ""} == await names.of([ALICE, BOB])
    source.names[BOB] = "Bob"
    assert {BOB: ""} == await names.of([BOB])
    clock.ms += int(1_000 * REMEMBERED_SECONDS)
    assert {BOB: "Bob"} == await names.of([BOB])
    assert [[ALICE, BOB], [BOB]] == source.asked


async def test_without_a_database_names_are_empty_and_it_is_left_alone_for_a_while() -> None:
    source, clock = KeptNames(), SetClock()
    names = Names(source, clock)
    source.away = True
    assert ({ALICE: ""}, {ALICE: ""}) == (await names.of([ALICE]), await names.of([ALICE]))
    assert 1 == len(source.asked)
    source.away = False
    clock.ms += int(1_000 * REST_SECONDS)
    assert {ALICE: "Alice"} == await names.of([ALICE])


async def test_names_that_were_read_outlive_a_database_that_is_away() -> None:
    """However long it is away; once it is back they are read anew."""
    source, clock = KeptNames(), SetClock()
    names = Names(source, clock)
    await names.of([ALICE])
    source.away, source.names = True, {ALICE: "Alicia"}
    for _ in range(3):
        clock.ms += int(REMEMBERED_SECONDS * 1_000)
        assert {ALICE: "Alice", BOB: ""} == await names.of([ALICE, BOB])
    source.away = False
    clock.ms += int(REST_SECONDS * 1_000)
    assert {ALICE: "Alicia"} == await names.of([ALICE])


async def test_not_more_names_are_remembered_than_there_is_room_for() -> None:
    source, clock = KeptNames(), SetClock()
    names = Names(source, clock)
    await names.of(range(NAMES_MAX + 1))
    await names.of([ALICE])
    assert [[ALICE]] == source.asked[1:]
