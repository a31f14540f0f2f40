"""What charts are answered: bars of stored valuations and of the newest, page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.errors import StoreUnavailable
from evs_server.history.pages import Pages
from evs_server.ingest.keeping import Policy
from evs_server.limits import EXACT_MAX, HISTORY_SECONDS, TICK_TIME_MS_MAX
from evs_server.model import StretchColumns
from evs_server.store.memory import Fault
from tests.builders import ALICE, BOB, DAY_MS, HOUR_MS, KICK, NOON_MS
from tests.serving import Rooms, Stub, served, within_patience
from tests.wire import BUY, a_trade, cash, prices, refusal, ticks

StatusCode = grpc.StatusCode
OPENING_CENTS = 1_000_000
MINUTE_MS = 60_000
NOON = NOON_MS // 1_000
MIDNIGHT = NOON - 12 * 3_600
RAW, MINUTE, FIVE = pb.RESOLUTION_RAW, pb.RESOLUTION_ONE_MINUTE, pb.RESOLUTION_FIVE_MINUTES
HOUR, DAY = pb.RESOLUTION_ONE_HOUR, pb.RESOLUTION_ONE_DAY
EVERY_RESOLUTION = (RAW, MINUTE, FIVE, HOUR, DAY)
DAY_RANGE, ALL_RANGE = pb.HISTORY_RANGE_ONE_DAY, pb.HISTORY_RANGE_ALL


class Market:
    """Alice, who holds 100 shares, and a price that moves when a test says so."""

    def __init__(self, rooms: Rooms, stub: Stub) -> None:
        self.rooms, self.stub, self._held = rooms, stub, False

    async def at(self, after_noon_ms: int, price_cents: int, *, tick_time: int = 0) -> None:
        """Value Alice at a price and time, and commit it unless writes are held."""
        self.rooms.clock.ms = NOON_MS + after_noon_ms
        await self.send(prices((KICK, price_cents)), ticks(1, tick_time=(tick_time,)))

    async def send(self, *runs: pb.EventRun) -> None:
        """Have events applied, and committed unless writes are held."""
        call: Any = self.stub.StreamEvents()
        await call.write(pb.StreamEventsRequest(runs=runs))
        answer: Any = await within_patience(call.read())
        assert not answer.refusals
        call.cancel()
        if not self._held:
            await self.rooms.commit()

    def hold_writes(self) -> None:
        """Have every write fail from now on."""
        self._held = True
        self.rooms.store.faults.extend([Fault.LOST] * 1_000)

    async def release_writes(self) -> None:
        """Have what was held committed."""
        self._held = False
        self.rooms.store.faults.clear()
        await self.rooms.commit()

    async def history(self, account_id: int = ALICE, **asked: Any) -> pb.GetEquityHistoryResponse:
        return await within_patience(
            self.stub.GetEquityHistory(pb.GetEquityHistoryRequest(account_id=account_id, **asked))
        )

    async def pages(self, page_size: int, **asked: Any) -> list[pb.EquityPoint]:
        """All points, a page at a time."""
        points: list[pb.EquityPoint] = []
        token = ""
        while True:
            page = await self.history(**asked, page_size=page_size, page_token=token)
            assert len(page.points) <= page_size
            points += page.points
            token = page.next_page_token
            if not token:
                return points

    async def equity(self, account_id: int = ALICE) -> pb.GetEquityResponse:
        return await within_patience(self.stub.GetEquity(pb.GetEquityRequest(account_id=account_id)))


Opened = Callable[..., Awaitable[Market]]


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[Market]:
    """A market whose valuations are committed at once."""
    rooms = Rooms({ALICE: OPENING_CENTS})
    await rooms.open()
    async with served(rooms, tmp_path) as stub:
        market = Market(rooms, stub)
        await rooms.commit()
        await within_patience(stub.OnTradeSettled(a_trade(ALICE, KICK, BUY, 1_000_000, 1_000)))
        yield market


def levels(points: Any) -> list[tuple[int, ...]]:
    """Seconds after noon, and what was gained at the open, high, low and last of each point."""
    return [
        (point.time - NOON, *(level - OPENING_CENTS for level in (point.open, point.high, point.low, point.last)))
        for point in points
    ]


async def test_a_point_has_the_levels_of_its_bucket(market: Market) -> None:
    for after_ms, price in ((MINUTE_MS, 1_010), (90_000, 1_030), (100_000, 1_005), (119_999, 1_020), (120_000, 1_000)):
        await market.at(after_ms, price)
    answer = await market.history(range=DAY_RANGE)
    assert (MINUTE, "") == (answer.resolution, answer.next_page_token)
    assert [(0, 0, 0, 0, 0), (60, 1_000, 3_000, 500, 2_000), (120, 0, 0, 0, 0)] == levels(answer.points)
    assert [True, True, False] == [point.final for point in answer.points]


async def test_levels_of_realized_and_net_flow_are_those_of_the_last_valuation(market: Market) -> None:
    await market.at(MINUTE_MS, 1_100)
    await market.send(cash((ALICE, 5_000)), ticks(2))
    [_, point] = (await market.history(range=DAY_RANGE)).points
    assert (OPENING_CENTS + 10_000, OPENING_CENTS + 15_000, OPENING_CENTS + 5_000, 0) == (
        point.open, point.last, point.net_flow, point.realized_pnl,
    )  # fmt: skip


@pytest.mark.parametrize("resolution", EVERY_RESOLUTION)
async def test_the_last_point_is_what_a_read_says_stored_or_not(market: Market, resolution: pb.Resolution) -> None:
    """Before it is committed, and after: the same answer, in which it counts once."""
    await market.at(HOUR_MS, 1_050)
    market.hold_writes()
    await market.at(HOUR_MS + 500, 1_020)
    answers = [await market.history(range=DAY_RANGE, resolution=resolution)]
    await market.release_writes()
    answers.append(await market.history(range=DAY_RANGE, resolution=resolution))
    read = await market.equity()
    for answer in answers:
        point = answer.points[-1]
        assert (read.equity.total_equity, read.equity.realized_pnl, read.net_flow) == (
            point.last, point.realized_pnl, point.net_flow,
        )  # fmt: skip
        assert not point.final
    assert answers[0] == answers[1]


@pytest.mark.parametrize("resolution", EVERY_RESOLUTION)
@pytest.mark.parametrize("carry_forward", [False, True])
async def test_pages_are_together_what_one_is(market: Market, resolution: pb.Resolution, carry_forward: bool) -> None:
    """However small: with gaps, with many valuations in one bucket, and across the roll at midnight."""
    moments = [*range(1_000, 9_000, 700), 7 * MINUTE_MS, 8 * MINUTE_MS, 8 * MINUTE_MS + 1, 5 * HOUR_MS, 13 * HOUR_MS]
    for index, after_ms in enumerate(moments):
        await market.at(after_ms, 1_000 + index * index % 17)
    start = MIDNIGHT if resolution not in (RAW, MINUTE) else NOON - 3
    end = NOON + 14 * 3_600 if resolution not in (RAW, MINUTE) else NOON + 500
    asked = {"start": start, "end": end, "resolution": resolution, "carry_forward": carry_forward}
    whole = await market.history(**asked, page_size=10_000)
    assert "" == whole.next_page_token
    times = [point.time for point in whole.points]
    assert sorted(set(times)) == times
    for page_size in (1, 2, 3, len(times)):
        assert list(whole.points) == await market.pages(page_size, **asked)


async def test_gaps_are_carried_forward_from_the_first_valuation_to_now(market: Market) -> None:
    """Alice was first valued at noon; nothing is known before, and nothing is said of the time after now."""
    await market.at(2 * HOUR_MS, 1_010)
    market.rooms.clock.ms = NOON_MS + 4 * HOUR_MS + 1
    answer = await market.history(start=MIDNIGHT, end=NOON + 7 * 3_600, resolution=HOUR, carry_forward=True)
    gained = {0: 0, 1: 0, 2: 1_000, 3: 1_000, 4: 1_000}
    assert [(hour * 3_600, *[gain] * 4) for hour, gain in gained.items()] == levels(answer.points)
    assert [True, True, True, True, False] == [point.final for point in answer.points]
    assert [OPENING_CENTS] * 5 == [point.net_flow for point in answer.points]


async def test_what_was_before_the_range_is_carried_into_it(market: Market) -> None:
    await market.at(HOUR_MS, 1_010)
    market.rooms.clock.ms = NOON_MS + DAY_MS
    for carry_forward, expected in ((False, []), (True, [(24 * 3_600, *[1_000] * 4)])):
        answer = await market.history(
            start=NOON + 86_400, resolution=HOUR, carry_forward=carry_forward, end=NOON + 86_401
        )
        assert expected == levels(answer.points)


async def test_what_is_carried_into_a_range_may_wait_to_be_stored(market: Market) -> None:
    """The newest valuation lies before the range and is not stored yet: it is carried all the same, and stays so."""
    market.hold_writes()
    await market.at(HOUR_MS, 1_010)
    market.rooms.clock.ms = NOON_MS + 4 * HOUR_MS
    asked = {"start": NOON + 2 * 3_600, "resolution": HOUR, "carry_forward": True}
    before = await market.history(**asked)
    assert [(hour * 3_600, *[1_000] * 4) for hour in (2, 3, 4)] == levels(before.points)
    assert [True, True, False] == [point.final for point in before.points]
    await market.release_writes()
    assert before == await market.history(**asked)


async def test_a_newcomer_s_points_are_in_the_order_of_its_valuations(market: Market) -> None:
    """Ticks carry their time, and EVS's clock is ahead of it: the first deposit comes after the empty account."""
    await market.at(1_000, 1_010, tick_time=NOON_MS)
    market.rooms.tables.balances_cents[BOB] = 0
    market.rooms.clock.ms = NOON_MS + 62_000
    await market.send(cash((BOB, 5_000)), ticks(2, tick_time=(NOON_MS + MINUTE_MS,)))
    await market.at(3 * MINUTE_MS, 1_020, tick_time=NOON_MS + 2 * MINUTE_MS)
    points = (await market.history(BOB, range=ALL_RANGE, resolution=MINUTE)).points
    assert [(0, 0, 0), (60, 5_000, 5_000)] == [(each.time - NOON, each.last, each.net_flow) for each in points]
    assert (await market.equity(BOB)).equity.total_equity == points[-1].last


async def test_who_has_just_registered_has_a_history_of_one_point(market: Market) -> None:
    """An account is looked up as for any read, and valued at once, though that is not stored yet."""
    market.rooms.tables.balances_cents[BOB] = 5
    market.rooms.clock.ms = NOON_MS + HOUR_MS
    market.hold_writes()
    for span in (DAY_RANGE, ALL_RANGE):
        [point] = (await market.history(BOB, range=span)).points
        assert (5, 5, 5, 5, 0, 5, False) == (
            point.open, point.high, point.low, point.last, point.realized_pnl, point.net_flow, point.final,
        )  # fmt: skip
    assert [] == list((await market.history(BOB, start=0, end=NOON - DAY_MS)).points)


async def test_a_bucket_that_waits_for_its_rows_is_not_final(market: Market) -> None:
    """A minute is over, but a valuation from within it is not stored yet, and another one is the newest."""
    await market.at(MINUTE_MS, 1_010)
    await market.at(2 * MINUTE_MS, 1_020)
    market.hold_writes()
    await market.at(2 * MINUTE_MS + 30_000, 1_040)
    await market.at(3 * MINUTE_MS, 1_030)
    points = (await market.history(range=DAY_RANGE)).points
    assert [0, 60, 120, 180] == [point.time - NOON for point in points]
    assert [True, True, False, False] == [point.final for point in points]
    earlier = (await market.history(start=NOON, end=NOON + 180, resolution=MINUTE)).points
    assert [True, True, False] == [point.final for point in earlier]
    earliest = (await market.history(start=NOON, end=NOON + 120, resolution=MINUTE)).points
    assert [True, True] == [point.final for point in earliest]


async def test_a_clock_that_steps_back_leaves_points_in_order(market: Market) -> None:
    """What was valued later than the clock now says is not shown, until the clock is there again."""
    await market.at(2 * HOUR_MS, 1_020)
    await market.at(HOUR_MS, 1_010)
    answer = await market.history(range=DAY_RANGE)
    assert [(0, *[0] * 4), (3_600, *[1_000] * 4)] == levels(answer.points)
    assert answer.points == (await market.history(start=NOON, end=NOON + 9 * 3_600, resolution=MINUTE)).points
    market.rooms.clock.ms = NOON_MS + 3 * HOUR_MS
    answer = await market.history(range=DAY_RANGE)
    assert [(0, *[0] * 4), (3_600, *[1_000] * 4), (7_200, *[2_000] * 4)] == levels(answer.points)


async def test_ranges_end_at_the_time_of_the_market(market: Market) -> None:
    """Where ticks carry their time, it may lie years back: what was valued by the clock is not of that day."""
    years_ago_ms = NOON_MS - 4_000 * DAY_MS
    for after_ms, price in ((0, 1_010), (HOUR_MS, 1_020)):
        await market.at(HOUR_MS, price, tick_time=years_ago_ms + after_ms)
    answer = await market.history(range=DAY_RANGE, resolution=HOUR)
    past = years_ago_ms // 1_000 - NOON
    assert [(past, *[1_000] * 4), (past + 3_600, *[2_000] * 4)] == levels(answer.points)
    assert [True, False] == [point.final for point in answer.points]
    await market.at(HOUR_MS, 1_020, tick_time=years_ago_ms + 3 * HOUR_MS)
    answer = await market.history(range=DAY_RANGE, resolution=HOUR, carry_forward=True)
    assert [0, 3_600, 7_200, 10_800] == [point.time - NOON - past for point in answer.points]


async def test_a_range_reaches_back_whole_sessions(market: Market) -> None:
    """A point a day, that of the roll among them: this session and the six before it are a week."""
    for day in range(9):
        await market.at(day * DAY_MS, 1_000 + day)
    found = {
        span: len((await market.history(range=span, resolution=DAY)).points)
        for span in (DAY_RANGE, pb.HISTORY_RANGE_ONE_WEEK, pb.HISTORY_RANGE_ONE_MONTH, ALL_RANGE)
    }
    assert [1, 7, 9, 9] == list(found.values())


@pytest.mark.parametrize(
    ("resolution", "asked"),
    [
        (MINUTE, {"range": DAY_RANGE}),
        (FIVE, {"range": pb.HISTORY_RANGE_ONE_WEEK}),
        (HOUR, {"range": pb.HISTORY_RANGE_ONE_MONTH}),
        (HOUR, {"range": pb.HISTORY_RANGE_THREE_MONTHS}),
        (DAY, {"range": pb.HISTORY_RANGE_ONE_YEAR}),
        (DAY, {"range": ALL_RANGE}),
        (MINUTE, {"start": NOON - 86_400}),
        (FIVE, {"start": NOON - 7 * 86_400, "end": NOON}),
        (HOUR, {"start": NOON - 8 * 86_400, "end": NOON}),
        (DAY, {"start": 0}),
        (RAW, {"range": ALL_RANGE, "resolution": RAW}),
    ],
)
async def test_a_resolution_that_is_not_said_follows_from_the_time(
    market: Market, resolution: pb.Resolution, asked: dict[str, Any]
) -> None:
    assert resolution == (await market.history(**asked)).resolution


@pytest.mark.parametrize(
    ("code", "field", "asked"),
    [
        (StatusCode.INVALID_ARGUMENT, "account_id", {"account_id": 0, "range": DAY_RANGE}),
        (StatusCode.OUT_OF_RANGE, "account_id", {"account_id": EXACT_MAX + 1, "range": DAY_RANGE}),
        (StatusCode.NOT_FOUND, "", {"account_id": 404, "range": DAY_RANGE}),
        (StatusCode.INVALID_ARGUMENT, "range", {}),
        (StatusCode.INVALID_ARGUMENT, "range", {"end": NOON}),
        (StatusCode.INVALID_ARGUMENT, "range", {"range": 99}),
        (StatusCode.INVALID_ARGUMENT, "start", {"range": DAY_RANGE, "start": NOON}),
        (StatusCode.INVALID_ARGUMENT, "end", {"range": DAY_RANGE, "end": NOON}),
        (StatusCode.INVALID_ARGUMENT, "start", {"start": -1}),
        (StatusCode.OUT_OF_RANGE, "start", {"start": TICK_TIME_MS_MAX // 1_000 + 1}),
        (StatusCode.OUT_OF_RANGE, "end", {"start": 0, "end": 2**63 - 1}),
        (StatusCode.INVALID_ARGUMENT, "end", {"start": NOON, "end": NOON}),
        (StatusCode.INVALID_ARGUMENT, "end", {"start": NOON, "end": -1}),
        (StatusCode.INVALID_ARGUMENT, "resolution", {"range": DAY_RANGE, "resolution": 99}),
        (StatusCode.INVALID_ARGUMENT, "page_size", {"range": DAY_RANGE, "page_size": 10_001}),
        (StatusCode.INVALID_ARGUMENT, "page_token", {"range": DAY_RANGE, "page_token": "1767268800"}),
        (StatusCode.INVALID_ARGUMENT, "page_token", {"range": DAY_RANGE, "page_token": "x" * 5_000}),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_which_field_is_wrong(
    market: Market, code: StatusCode, field: str, asked: dict[str, Any]
) -> None:
    with refusal() as told:
        await market.history(**asked)
    assert (code, field) == (told.code, told.field)


async def test_a_page_token_goes_with_the_request_it_was_given_for(market: Market) -> None:
    """But for the size of the page, which may change; nor can a token be made up for the middle of a bucket."""
    for minute in range(4):
        await market.at(minute * MINUTE_MS, 1_000 + minute)
    asked: dict[str, Any] = {"start": NOON - 60, "resolution": MINUTE}
    token = (await market.history(**asked, page_size=1)).next_page_token
    assert 3 == len((await market.history(**asked, page_size=3, page_token=token)).points)
    place, _, rest = token.partition(".")
    for other in (
        {**asked, "page_token": f"{int(place) + 1}.{rest}"},
        {**asked, "page_token": f"{place}.{rest[:-1]}"},
        {**asked, "page_token": token, "start": NOON - 61},
        {**asked, "page_token": token, "resolution": HOUR},
        {**asked, "page_token": token, "carry_forward": True},
        {"range": DAY_RANGE, "resolution": MINUTE, "page_token": token},
        {**asked, "page_token": token, "account_id": BOB},
    ):
        with refusal() as told:
            await market.history(**other)
        assert (StatusCode.INVALID_ARGUMENT, "page_token") == (told.code, told.field)


async def test_a_later_page_keeps_the_resolution_of_the_first(market: Market) -> None:
    """What is not said is chosen by the time asked for, which grows while somebody reads on."""
    await market.at(MINUTE_MS, 1_010)
    await market.at(12 * HOUR_MS, 1_020)
    asked: dict[str, Any] = {"start": NOON - 12 * 3_600, "page_size": 1}
    first = await market.history(**asked)
    market.rooms.clock.ms = NOON_MS + 20 * HOUR_MS
    assert FIVE == (await market.history(**asked)).resolution
    assert (MINUTE, MINUTE) == (
        first.resolution, (await market.history(**asked, page_token=first.next_page_token)).resolution,
    )  # fmt: skip


async def test_a_bucket_with_many_rows_is_read_in_steps(market: Market) -> None:
    """1,000 valuations in two minutes, two points a page: the server sums up what one page would not hold."""
    await market.send(*(run for index in range(1_000) for run in (prices((KICK, 1_001 + index)), ticks(index))))
    await market.at(MINUTE_MS, 1_010)
    for page_size in (1, 2):
        points = await market.pages(page_size, range=DAY_RANGE)
        assert [(0, 0, 100_000, 0, 100_000), (60, *[1_000] * 4)] == levels(points)


class SlowHistory:
    """A store that takes all that a page may take, whenever it is asked; and the clock that says so."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms, self._seconds = rooms, 0

    def now_ms(self) -> int:
        return self._rooms.clock.now_ms()

    def monotonic(self) -> float:
        return self._seconds

    async def read_stretches(self, *asked: Any) -> StretchColumns:
        self._seconds += HISTORY_SECONDS
        return await self._rooms.store.read_stretches(*asked)

    async def read_newest(self, *asked: Any) -> StretchColumns:
        return await self._rooms.store.read_newest(*asked)


@pytest.mark.parametrize("carry_forward", [False, True])
async def test_a_page_ends_when_its_time_is_up(market: Market, carry_forward: bool) -> None:
    """It has fewer points than were asked for, and the pages are still together what one is."""
    for row_count in (3, 40, 3):
        await market.send(*(run for index in range(row_count) for run in (prices((KICK, 1_001 + index)), ticks(1))))
        market.rooms.clock.ms += 1_500
    asked: dict[str, Any] = {"start": NOON, "end": NOON + 6, "resolution": RAW, "carry_forward": carry_forward}
    whole = await market.history(**asked)
    engine, calendar, slow = market.rooms.engine, market.rooms.servicer._pages.calendar, SlowHistory(market.rooms)
    market.rooms.servicer.attach_history(Pages(slow, engine, calendar, slow))
    assert list(whole.points) == await market.pages(10, **asked)
    assert 1 == len((await market.history(**asked, page_size=10)).points)


class NoHistory:
    """A store whose database is away."""

    async def read_stretches(self, *_: Any) -> StretchColumns:
        raise StoreUnavailable("could not read history: the database is away")

    read_newest = read_stretches


async def test_without_the_database_there_is_no_history(market: Market) -> None:
    calendar = market.rooms.servicer._pages.calendar
    market.rooms.servicer.attach_history(Pages(NoHistory(), market.rooms.engine, calendar, market.rooms.clock))
    with refusal() as told:
        await market.history(range=DAY_RANGE)
    assert (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE") == (told.code, told.reason)


Told = dict[tuple[int, bool, int], dict[int, pb.EquityPoint]]


async def tell(market: Market, told: Told) -> None:
    """Ask for bars of every kind: what was told as final before is the same; what is told so now is remembered."""
    for asked in product(EVERY_RESOLUTION, (False, True), (MIDNIGHT, NOON + 90)):
        resolution, carry_forward, start = asked
        answer = await market.history(start=start, resolution=resolution, carry_forward=carry_forward)
        points, shown = answer.points, {point.time: point for point in answer.points}
        final = told.setdefault(asked, {})
        assert final == {time: shown.get(time) for time in final}, "what is final never changes"
        final.update({point.time: point for point in points if point.final})
        if points and not answer.next_page_token:
            assert (await market.equity()).equity.total_equity == points[-1].last


@pytest.mark.parametrize("policy", ["interval", "on_trade"])
async def test_what_is_final_never_changes_however_little_is_stored(policy: Policy, tmp_path: Path) -> None:
    """Through prices that are not stored, a trade that is, writes that are held, and a start in the middle."""
    rooms, told = Rooms({ALICE: OPENING_CENTS}, policy=policy), Told()
    await rooms.open()
    async with served(rooms, tmp_path) as stub:
        market = Market(rooms, stub)
        await rooms.commit()
        await within_patience(stub.OnTradeSettled(a_trade(ALICE, KICK, BUY, 1_000_000, 1_000)))
        for after_ms, price in ((0, 1_000), (20_000, 1_010), (50_000, 1_020), (70_000, 1_030), (200_000, 1_005)):
            await market.at(after_ms, price)
            await tell(market, told)
        await market.send(cash((ALICE, 5)), ticks(1))
        await tell(market, told)
        await market.at(260_000, 1_040)
        rooms.clock.ms += 4 * MINUTE_MS
        await tell(market, told)
        market.hold_writes()
        await market.at(520_000, 1_050)
        await tell(market, told)
        await market.release_writes()
        await market.at(530_000, 1_060)
        await tell(market, told)
        before = await market.equity()
    again = Rooms(tables=rooms.tables, policy=policy)
    again.clock.ms = NOON_MS + 10 * MINUTE_MS
    await again.open()
    (tmp_path / "again").mkdir()
    async with served(again, tmp_path / "again") as stub:
        market = Market(again, stub)
        after = await market.equity()
        assert before.equity.total_equity == after.equity.total_equity
        assert before.version < after.version, "an older one would be dropped by who has seen this"
        await tell(market, told)
        for after_ms in (11 * MINUTE_MS, 12 * MINUTE_MS, 13 * HOUR_MS):
            await market.at(after_ms, 1_000 + after_ms % 97)
            await tell(market, told)
    assert all(told.values()), "nothing final proves nothing"


async def test_a_bar_that_holds_what_is_not_stored_is_not_final(tmp_path: Path) -> None:
    """A minute later it is shown as it is stored: without the price that nobody kept."""
    rooms = Rooms({ALICE: OPENING_CENTS}, policy="on_trade")
    await rooms.open()
    async with served(rooms, tmp_path) as stub:
        market = Market(rooms, stub)
        await rooms.commit()
        await within_patience(stub.OnTradeSettled(a_trade(ALICE, KICK, BUY, 1_000_000, 1_000)))
        await market.at(MINUTE_MS, 1_000)
        await market.at(3 * MINUTE_MS, 1_010)
        rooms.clock.ms += 3 * MINUTE_MS
        points = (await market.history(range=DAY_RANGE)).points
        assert [(0, *[0] * 4), (60, *[0] * 4), (180, *[1_000] * 4)] == levels(points)
        assert [True, False, False] == [point.final for point in points]
        await market.at(9 * MINUTE_MS, 1_020)
        assert [0, 60, 540] == [point.time - NOON for point in (await market.history(range=DAY_RANGE)).points]
