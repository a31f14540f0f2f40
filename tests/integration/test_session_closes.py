"""The closes of sessions in a real database: the fold of the rows, made late, again, or several at once."""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from evs_server.engine import SessionCalendar
from evs_server.engine.growth import CAPITAL_CENTS_MAX, GROWTH_MAX, GROWTH_ONE, linked
from evs_server.errors import StoreUnavailable
from evs_server.limits import EXACT_MAX
from evs_server.model import EngineMeta, Valuation
from evs_server.store import growth
from evs_server.store.growth import DisplayNames, PastReader, SessionCloses
from evs_server.store.postgres import PostgresStore
from tests.builders import ALICE, BOB, CAROL, DAY_MS, HOUR_MS, NOON_MS, Floor, an_account
from tests.flushes import a_flush, an_account_row

SECONDS = 30
CALENDAR = SessionCalendar(ZoneInfo("UTC"), time(0))
MIDNIGHT_MS = NOON_MS + DAY_MS // 2
"""The first roll: tests begin at noon before it."""


@dataclass
class Trading:
    """A floor whose passes are committed day by day, and kept to be folded."""

    store: PostgresStore
    floor: Floor = field(default_factory=Floor)
    passes: list[Valuation] = field(default_factory=list)
    flush_count: int = 0
    waiting: list[Valuation] = field(default_factory=list)

    def take(self, *made: Valuation) -> None:
        """Keep some passes until they are committed."""
        self.waiting += made

    async def commit(self) -> None:
        """Commit what is waiting, in one flush."""
        self.flush_count += 1
        meta = self.floor.engine.meta
        accounts = [an_account_row(account_id) for account_id in self.floor.engine.account_ids().tolist()]
        version = EngineMeta(meta.version, meta.tick, meta.session_start_ms, meta.tick_time_ms)
        await self.store.write(a_flush(self.flush_count, rows=self.waiting, accounts=accounts, meta=version))
        self.passes, self.waiting = self.passes + self.waiting, []

    def day(self, price: int, *flows: tuple[int, int]) -> None:
        """A market day: flows, a price at noon, and another in the evening."""
        for account_id, amount in flows:
            self.floor.flow(account_id, amount)
        for each in (price - 3, price):
            self.floor.mark(each)
            self.take(*self.floor.complete())
            self.floor.wait(HOUR_MS)
        self.floor.wait(DAY_MS - 2 * HOUR_MS)

    def folded(self) -> dict[int, dict[int, tuple[int, int, int]]]:
        """By roll and account what must be in the table: equity, capital and growth, folded from the passes."""
        found: dict[int, dict[int, tuple[int, int, int]]] = {}
        base: dict[int, int] = {}
        chained: dict[int, int] = {}
        for made in self.passes:
            for index in range(len(made)):
                snapshot = made.snapshot(index)
                account_id, profit = snapshot.account_id, snapshot.equity_cents - snapshot.net_flow_cents
                base.setdefault(account_id, profit - snapshot.day_change_cents)
                if made.session_roll:
                    capital = snapshot.equity_cents - (profit - base[account_id])
                    before = chained.get(account_id, GROWTH_ONE)
                    chained[account_id] = linked(before, snapshot.equity_cents, capital)
                    base[account_id] = profit
                    entry = (snapshot.equity_cents, capital, chained[account_id])
                    found.setdefault(made.timestamp_ms, {})[account_id] = entry
        return found


async def table(closes: SessionCloses, rolls_ms: Sequence[int]) -> dict[int, dict[int, tuple[int, int, int]]]:
    """The same as the table has it; sessions that closed nobody are left out."""
    found = {}
    for roll_ms in rolls_ms:
        columns = await closes.read(roll_ms)
        rows = zip(columns.equity_cents.tolist(), columns.capital_cents.tolist(), columns.growth.tolist(), strict=True)
        found[roll_ms] = dict(zip(columns.account_id.tolist(), rows, strict=True))
    return {roll_ms: rows for roll_ms, rows in found.items() if rows}


@pytest.fixture
async def trading(any_database: str) -> AsyncIterator[Trading]:
    """Alice and Bob, who have traded with each other; nothing is committed."""
    store = await PostgresStore.open(any_database)
    await store.recover()
    begun = Trading(store)
    begun.take(begun.floor.open(an_account(ALICE), an_account(BOB)))
    begun.floor.buy(ALICE, 100, 5_000)
    begun.floor.sell(BOB, 100, 5_000)
    yield begun
    await store.close()


@pytest.fixture
async def hand(any_database: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection to look and interfere with."""
    connection = await asyncpg.connect(any_database, timeout=SECONDS, command_timeout=SECONDS)
    yield connection
    await connection.close(timeout=SECONDS)


async def test_before_the_first_tick_there_is_nothing_to_close(trading: Trading) -> None:
    await trading.commit()
    assert [] == await SessionCloses(trading.store.database).catch_up(CALENDAR.session_starts_ms)


async def test_closes_are_the_fold_of_the_rows(trading: Trading) -> None:
    """Day by day, with flows, a newcomer who has traded before we knew him, and a loss of everything and more."""
    closes = SessionCloses(trading.store.database)
    for day, price in enumerate((5_100, 4_700, 9_999, 14_900, 20_000, 7, 5_000)):
        if day == 2:
            trading.take(trading.floor.open(an_account(CAROL, 70_000)))
            trading.floor.buy(CAROL, 3, 4_000)
        trading.day(price, (ALICE, 1_000 * day - 2_500), (BOB, 77))
        await trading.commit()
        rolls_ms = await closes.catch_up(CALENDAR.session_starts_ms)
        assert MIDNIGHT_MS + (day - 1) * DAY_MS == rolls_ms[-1]
        assert trading.folded() == await table(closes, rolls_ms)
    assert {ALICE, BOB, CAROL} == set((await table(closes, rolls_ms[-1:]))[rolls_ms[-1]])
    assert min(growth for _, _, growth in trading.folded()[rolls_ms[-1]].values()) < 0, "Bob is short"


async def test_several_sessions_at_once_are_closed_as_if_one_by_one(trading: Trading) -> None:
    """As after an outage, or the first time on a database with a history; a second look changes nothing."""
    for price in (5_100, 4_700, 5_300, 5_301):
        trading.day(price)
        await trading.commit()
    closes = SessionCloses(trading.store.database)
    rolls_ms = await closes.catch_up(CALENDAR.session_starts_ms)
    assert [MIDNIGHT_MS + day * DAY_MS for day in (-1, 0, 1, 2)] == rolls_ms, "before the first there was nothing"
    assert trading.folded() == await table(closes, rolls_ms)
    assert rolls_ms == await closes.catch_up(CALENDAR.session_starts_ms)
    assert trading.folded() == await table(closes, rolls_ms)


async def test_what_is_lost_is_made_again(trading: Trading, hand: "asyncpg.Connection[Any]") -> None:
    """All of it, or a session that was closed half, as no crash leaves it."""
    for price in (5_100, 4_700, 5_300):
        trading.day(price)
    await trading.commit()
    closes = SessionCloses(trading.store.database)
    rolls_ms = await closes.catch_up(CALENDAR.session_starts_ms)
    newest = datetime.fromtimestamp(rolls_ms[-1] // 1_000, UTC)
    await hand.execute("DELETE FROM evs.closed_session WHERE closed_at = $1", newest)
    await hand.execute("DELETE FROM evs.session_close WHERE closed_at = $1 AND account_id = $2", newest, ALICE)
    assert rolls_ms == await closes.catch_up(CALENDAR.session_starts_ms)
    assert trading.folded() == await table(closes, rolls_ms)
    await hand.execute("TRUNCATE evs.closed_session, evs.session_close")
    assert rolls_ms == await closes.catch_up(CALENDAR.session_starts_ms)
    assert trading.folded() == await table(closes, rolls_ms)


async def test_days_that_nobody_rolled_are_passed_over(trading: Trading) -> None:
    """A weekend without ticks: the next roll closes all of it."""
    trading.day(5_100)
    trading.floor.wait(2 * DAY_MS)
    trading.day(5_200)
    trading.day(5_300)
    await trading.commit()
    closes = SessionCloses(trading.store.database)
    rolls_ms = await closes.catch_up(CALENDAR.session_starts_ms)
    assert [MIDNIGHT_MS + day * DAY_MS for day in (-1, 2, 3)] == rolls_ms
    assert trading.folded() == await table(closes, rolls_ms)


async def test_the_first_session_closes_nobody_and_is_noted(trading: Trading) -> None:
    """Nothing was there before it; so it is not looked for again."""
    trading.day(5_100)
    await trading.commit()
    closes = SessionCloses(trading.store.database)
    assert [MIDNIGHT_MS - DAY_MS] == await closes.catch_up(CALENDAR.session_starts_ms)
    assert 0 == len(await closes.read(MIDNIGHT_MS - DAY_MS))


async def test_a_tick_at_the_very_moment_of_the_roll_is_not_the_close(trading: Trading) -> None:
    trading.day(5_100)
    trading.floor.mark(6_000)
    trading.take(*trading.floor.complete(tick_time_ms=MIDNIGHT_MS))
    trading.floor.mark(5_100)
    trading.take(*trading.floor.complete(tick_time_ms=MIDNIGHT_MS))  # with the change of the day back at zero
    await trading.commit()
    closes = SessionCloses(trading.store.database)
    rolls_ms = await closes.catch_up(CALENDAR.session_starts_ms)
    assert [MIDNIGHT_MS - DAY_MS, MIDNIGHT_MS] == rolls_ms
    assert trading.folded() == await table(closes, rolls_ms)


async def test_an_account_left_out_of_a_session_counts_from_the_one_before(
    trading: Trading, hand: "asyncpg.Connection[Any]"
) -> None:
    """As when a row was given up while the database was away."""
    for price in (5_100, 4_700, 5_300):
        trading.day(price)
    await trading.commit()
    lost = datetime.fromtimestamp((MIDNIGHT_MS + DAY_MS) // 1_000, UTC)
    trading.day(5_900)
    await trading.commit()
    await hand.execute("DELETE FROM equity_timeseries WHERE account_id = $1 AND timestamp = $2", ALICE, lost)
    closes = SessionCloses(trading.store.database)
    rolls_ms = await closes.catch_up(CALENDAR.session_starts_ms)
    found, expected = await table(closes, rolls_ms), trading.folded()
    _, first, second, third = rolls_ms
    assert [BOB] == list(found[second])
    assert (expected[third][ALICE][0], expected[first][ALICE][0]) == found[third][ALICE][:2], "nothing was paid in"
    assert expected[third][BOB] == found[third][BOB]


async def test_only_the_newest_sessions_are_kept(trading: Trading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth since the first valuation goes on."""
    monkeypatch.setattr(growth, "SESSIONS_KEPT", 3)
    closes = SessionCloses(trading.store.database)
    for price in (5_100, 4_700, 5_300, 5_301, 6_000, 6_100):
        trading.day(price)
    await trading.commit()
    rolls_ms = await closes.catch_up(CALENDAR.session_starts_ms)
    assert [MIDNIGHT_MS + day * DAY_MS for day in (2, 3, 4)] == rolls_ms
    assert {roll_ms: rows for roll_ms, rows in trading.folded().items() if roll_ms in rolls_ms} == await table(
        closes, rolls_ms
    )
    assert rolls_ms == await closes.catch_up(CALENDAR.session_starts_ms)
    assert 0 == len(await closes.read(MIDNIGHT_MS + DAY_MS))


async def test_the_current_session_is_closed_whatever_the_calendar_says_by_now(trading: Trading) -> None:
    """The roll time was set otherwise while EVS was stopped, and the session before had not been closed by then."""
    for price in (5_100, 4_700, 5_300):
        trading.day(price)
    await trading.commit()
    otherwise = SessionCalendar(ZoneInfo("America/New_York"), time(17))
    closes = SessionCloses(trading.store.database)
    rolls_ms = await closes.catch_up(otherwise.session_starts_ms)
    assert MIDNIGHT_MS + DAY_MS == rolls_ms[-1], "ranges start from when the running session began"
    assert {ALICE, BOB} == set((await table(closes, rolls_ms))[rolls_ms[-1]])
    trading.day(5_400)
    await trading.commit()
    assert MIDNIGHT_MS + 2 * DAY_MS == (await closes.catch_up(otherwise.session_starts_ms))[-1]


async def test_growth_in_the_database_is_growth_in_the_engine(hand: "asyncpg.Connection[Any]") -> None:
    """Two thousand links, the widest and the roundest among them."""
    chance = random.Random(20_260_101)
    sizes = (0, 1, 2, 3, 1_000, 10**6 + 1, EXACT_MAX, CAPITAL_CENTS_MAX)
    growths = (GROWTH_ONE, GROWTH_MAX, 0, 1, -GROWTH_ONE, 3, GROWTH_ONE // 3)
    links = [
        (
            chance.choice([*growths, chance.randint(0, GROWTH_MAX)]),
            min(chance.choice([*sizes, chance.randint(0, EXACT_MAX)]), EXACT_MAX) * chance.choice((1, 1, -1)),
            chance.choice([*sizes, chance.randint(1, 10**7)]) * chance.choice((1, 1, 1, -1)),
        )
        for _ in range(2_000)
    ]
    found = await hand.fetch(
        "SELECT evs.linked_growth(growth, equity, capital) AS growth"
        " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY"
        " AS link (growth, equity, capital, place) ORDER BY place",
        *(list(column) for column in zip(*links, strict=True)),
    )
    assert [linked(*link) for link in links] == [row["growth"] for row in found]


# --- one account --------------------------------------------------------------------------------------------------


async def test_a_past_has_the_closes_and_the_minutes_since_the_last(trading: Trading) -> None:
    trading.day(5_100, (ALICE, 500))
    trading.day(4_700)
    await trading.commit()
    past = await PastReader(trading.store.database).read_past(
        ALICE, 0, NOON_MS + 5 * DAY_MS, CALENDAR.session_starts_ms
    )
    assert past is not None
    assert (True, False, NOON_MS) == (past.begins, past.starts_with_close, past.start.time_ms)
    assert [(MIDNIGHT_MS, 1_010_500)] == [(close.time_ms, close.equity_cents) for close in past.closes]
    assert 0 == past.first_base_cents
    assert [NOON_MS + DAY_MS, NOON_MS + DAY_MS + HOUR_MS] == [minute.time_ms for minute in past.minutes]
    assert (NOON_MS + DAY_MS + HOUR_MS, 970_500) == (past.last.time_ms, past.last.equity_cents)


async def test_a_past_begins_with_the_newest_valuation_at_or_before_its_start(trading: Trading) -> None:
    """A roll is the valuation at its moment, even if a tick was completed at the same."""
    trading.day(5_100)
    trading.floor.mark(6_000)
    trading.take(*trading.floor.complete(tick_time_ms=MIDNIGHT_MS))
    await trading.commit()
    reader = PastReader(trading.store.database)

    async def start(start_ms: int) -> tuple[int, int, bool, bool]:
        past = await reader.read_past(ALICE, start_ms, MIDNIGHT_MS + DAY_MS, CALENDAR.session_starts_ms)
        assert past is not None
        return past.start.time_ms, past.start.equity_cents, past.begins, past.starts_with_close

    assert (NOON_MS, 1_000_000, True, False) == await start(NOON_MS - 1)
    assert (NOON_MS + HOUR_MS, 1_010_000, False, False) == await start(MIDNIGHT_MS - 1)
    assert (MIDNIGHT_MS, 1_010_000, False, True) == await start(MIDNIGHT_MS)
    assert (MIDNIGHT_MS, 1_010_000, False, True) == await start(MIDNIGHT_MS + 1)


async def test_a_past_has_the_closes_of_a_calendar_that_was_set_before(
    trading: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sessions ago: rolls are remembered longer than what all accounts closed with."""
    monkeypatch.setattr(growth, "SESSIONS_KEPT", 2)
    for price in (5_100, 4_700, 5_300, 5_301, 6_000):
        trading.day(price)
    await trading.commit()
    await SessionCloses(trading.store.database).catch_up(CALENDAR.session_starts_ms)
    reader, otherwise = PastReader(trading.store.database), SessionCalendar(ZoneInfo("America/New_York"), time(17))
    for start_ms in (0, NOON_MS + DAY_MS, MIDNIGHT_MS + DAY_MS):
        asked = ALICE, start_ms, NOON_MS + 9 * DAY_MS
        past = await reader.read_past(*asked, otherwise.session_starts_ms)
        assert past is not None
        assert past.closes
        assert await reader.read_past(*asked, CALENDAR.session_starts_ms) == past


async def test_of_a_time_before_the_first_valuation_nothing_is_stored(trading: Trading) -> None:
    await trading.commit()
    reader = PastReader(trading.store.database)
    assert await reader.read_past(ALICE, 0, NOON_MS - 1, CALENDAR.session_starts_ms) is None
    assert await reader.read_past(999, 0, NOON_MS, CALENDAR.session_starts_ms) is None


async def test_of_a_minute_counts_its_last_valuation(trading: Trading) -> None:
    for price in (5_010, 5_020, 5_030):
        trading.floor.mark(price)
        trading.take(*trading.floor.complete())
        trading.floor.wait(25_000)
    await trading.commit()
    past = await PastReader(trading.store.database).read_past(ALICE, NOON_MS, NOON_MS + DAY_MS, lambda _, __: [])
    assert past is not None
    assert [1_003_000] == [minute.equity_cents for minute in past.minutes if minute.time_ms < NOON_MS + 60_000]


async def test_names_are_those_of_the_exchange_if_it_has_any(trading: Trading, hand: "asyncpg.Connection[Any]") -> None:
    await hand.execute("INSERT INTO accounts (id, display_name) VALUES (1, 'Alice'), (2, NULL)")
    names = DisplayNames(trading.store.database)
    assert {1: "Alice", 2: ""} == await names.read_names([1, 2, 3])
    await hand.execute("ALTER TABLE accounts DROP COLUMN display_name")
    assert {1: "", 2: ""} == await names.read_names([1, 2])


async def test_while_the_database_is_away_every_question_says_so(trading: Trading) -> None:
    database = trading.store.database
    await trading.store.close()
    for question in (
        SessionCloses(database).catch_up(CALENDAR.session_starts_ms),
        SessionCloses(database).read(MIDNIGHT_MS),
        PastReader(database).read_past(ALICE, 0, NOON_MS, CALENDAR.session_starts_ms),
        DisplayNames(database).read_names([ALICE]),
    ):
        with pytest.raises(StoreUnavailable):
            await question
