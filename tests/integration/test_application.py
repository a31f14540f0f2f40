"""A whole EVS on a real database: how it starts, what a restart keeps, what it does at the end, and a day's work."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server import app
from evs_server.app import Application
from evs_server.config import load
from evs_server.errors import ConfigError, Fenced, OutOfBounds
from evs_server.ingest import gate
from evs_server.ingest.loader import CHUNK_ACCOUNTS
from evs_server.limits import EXACT_MAX
from tests.builders import ALICE, BOB, CAROL, DAY_MS, KICK, NOON_MS, PUNT
from tests.integration.running import Exchange, entered, exchange_at, of_accounts, running, says_the_same
from tests.patience import PATIENCE_SECONDS
from tests.serving import SetClock, within_patience
from tests.wire import BUY, EM, SELL, a_trade, cash, prices, refusal, ticks, trades

StatusCode = grpc.StatusCode
SERVICE = "evs.v1.EquityValuationService"
SHARE = 10_000
OPENING_CENTS = 1_000_000
NEWCOMER = 1_001
CURRENT_SESSION_MS = NOON_MS - DAY_MS // 2
"""Midnight before noon."""


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """The exchange, with three accounts."""
    async with exchange_at(database) as exchange:
        await exchange.register(dict.fromkeys((ALICE, BOB, CAROL), OPENING_CENTS))
        yield exchange


@pytest.fixture(autouse=True)
def patient_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a look at the tables may take a while; these tests are not about events that wait for it."""
    monkeypatch.setattr(gate, "LOOK_UP_SECONDS", PATIENCE_SECONDS)


# --- starting ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("exchange")
async def test_nothing_is_served_before_the_database_is_there(database: str, tmp_path: Path) -> None:
    """It listens, says so, and begins by itself once the database comes."""
    [directory] = parse_qs(urlsplit(database).query)["host"]
    late = database.replace(quote(directory, safe=""), quote(str(tmp_path), safe=""))
    assert late != database
    async with entered(late, tmp_path) as evs:
        assert [False, False] == [await evs.is_healthy(), await evs.is_healthy(SERVICE)]
        with refusal() as told:
            await evs.read(ALICE)
        assert StatusCode.UNAVAILABLE == told.code
        assert not evs.application._ready.is_set()
        [place] = Path(directory).glob(".s.PGSQL.*[0-9]")
        (tmp_path / place.name).symlink_to(place)
        await within_patience(evs.application.wait_ready())
        assert [True, True] == [await evs.is_healthy(), await evs.is_healthy(SERVICE)]
        assert OPENING_CENTS == (await evs.read(ALICE)).equity.total_equity


async def test_an_evs_that_waits_for_its_database_can_be_stopped(tmp_path: Path) -> None:
    async with entered(f"postgresql://evs@/evs?host={tmp_path}", tmp_path) as evs:
        assert not await evs.is_healthy()


async def test_the_first_start_imports_the_exchange(exchange: Exchange, database: str, tmp_path: Path) -> None:
    """One row an account; positions cost their average cost; marks are the newest trades."""
    await exchange.hold(ALICE, KICK, 100 * SHARE, 900)
    await exchange.hold(BOB, PUNT, -5 * SHARE, 100)
    await exchange.hold(BOB, KICK, 0, 50)
    for trade_id, price_cents in ((1, 950), (3, 1_000), (2, 1_100)):
        await exchange.settle(trade_id, ALICE, KICK, "BUY", SHARE, price_cents)
    async with running(database, tmp_path) as evs:
        alice, bob = await evs.read(ALICE), await evs.read(BOB)
        assert (OPENING_CENTS + 100_000, 10_000, OPENING_CENTS + 90_000, 0, []) == (
            alice.equity.total_equity, alice.equity.unrealized_pnl, alice.net_flow, alice.equity.day_change,
            list(alice.flags),
        )  # fmt: skip
        assert (OPENING_CENTS - 500, 0, OPENING_CENTS - 500, [pb.EQUITY_FLAG_UNPRICED, pb.EQUITY_FLAG_NO_BASE]) == (
            bob.equity.total_equity, bob.equity.unrealized_pnl, bob.net_flow, list(bob.flags),
        )  # fmt: skip
        rows = await exchange.rows()
        assert {ALICE: alice.version, BOB: bob.version, CAROL: alice.version} == of_accounts(rows, "version")
        assert [KICK] == [position.symbol_id for position in (await evs.positions(ALICE)).positions]
        assert pb.MARK_SOURCE_LAST_TRADE == (await evs.positions(ALICE)).positions[0].mark_source


async def test_the_base_of_an_imported_account_is_its_first_fully_priced_valuation(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    await exchange.hold(BOB, PUNT, 5 * SHARE, 100)
    async with running(database, tmp_path) as evs:
        assert [pb.EQUITY_FLAG_UNPRICED, pb.EQUITY_FLAG_NO_BASE] == list((await evs.read(BOB)).flags)
        await evs.send(prices((PUNT, 150)), ticks(1))
        assert ([], 0) == (list((bob := await evs.read(BOB)).flags), bob.equity.day_change)
        await evs.send(prices((PUNT, 160)), ticks(2))
        assert 50 == (await evs.read(BOB)).equity.day_change


async def test_an_exchange_with_numbers_beyond_bounds_is_not_served(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    await exchange.register({NEWCOMER: EXACT_MAX + 1})
    async with entered(database, tmp_path) as evs:
        with pytest.raises(OutOfBounds, match=f"account {NEWCOMER} beyond the bounds"):
            await within_patience(evs.application.wait_ready())
        assert not await evs.is_healthy()


async def test_an_address_that_is_taken_cannot_be_listened_on(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path, listen="127.0.0.1:0") as evs:
        with pytest.raises(ConfigError, match=f"cannot listen on {evs.application.address}"):
            async with entered(database, tmp_path, listen=evs.application.address):
                pass


@pytest.mark.parametrize("setting", ["listen", "ingest_listen", "metrics_listen"])
async def test_an_address_that_is_taken_is_known_before_a_database_is_made(setting: str, tmp_path: Path) -> None:
    """Nothing is made for an EVS that nobody could call."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = load(**({"data_dir": tmp_path / "data", "listen": "127.0.0.1:0"} | {setting: address}))
        with pytest.raises(ConfigError, match=f"EVS_{setting.upper()}: cannot listen on {address}: it is taken"):
            await Application(settings).__aenter__()
    assert [] == list(tmp_path.iterdir())


async def test_a_socket_that_another_evs_listens_on_stays_its_own(database: str, tmp_path: Path) -> None:
    """A library lets a second one take its place: whoever calls would meet an EVS that only waits for the lead."""
    address = f"unix:{tmp_path}/evs.sock"
    async with running(database, tmp_path, listen=address) as evs:
        with pytest.raises(ConfigError, match=f"EVS_LISTEN: cannot listen on {address}: it is taken"):
            async with entered(database, tmp_path, listen=address):
                pass
        assert await evs.is_healthy()


async def test_a_start_that_is_overtaken_during_its_import_ends(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    async with exchange_at(database) as other:
        held = other.connection.transaction()
        await held.start()
        await other.connection.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
        async with entered(database, tmp_path) as evs:
            await exchange.wait_for("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
            await exchange.connection.execute("UPDATE evs.engine SET start_number = start_number + 1")
            await held.rollback()
            with pytest.raises(Fenced):
                await within_patience(evs.application.wait_ready())


# --- restarting ----------------------------------------------------------------------------------------------------


async def test_a_restart_keeps_everything_in_the_middle_of_a_tick(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    """The newest valuations with their versions, what no tick has valued yet, and every watermark; no new rows."""
    before: dict[int, Any] = {}
    async with running(database, tmp_path) as evs:
        await evs.send(
            trades((ALICE, KICK, BUY, SHARE, 500), (BOB, KICK, SELL, SHARE, 500)),
            prices((KICK, 510)),
            ticks(1),
            first=1,
        )
        await evs.send(trades((ALICE, KICK, BUY, SHARE, 520, 0, 41)))
        await evs.send(prices((KICK, 530)), cash((CAROL, 7)), first=5)
        for account_id in (ALICE, BOB, CAROL):
            before[account_id] = (await evs.read(account_id), await evs.positions(account_id))
    rows = await exchange.rows()
    async with running(database, tmp_path) as evs:
        for account_id, (read, positions) in before.items():
            assert read == await evs.read(account_id)
            assert positions == await evs.positions(account_id)
        state = await evs.state(EM)
        assert (1, 6, 6) == (state.epoch, state.applied_sequence, state.durable_sequence)
        assert rows == await exchange.rows()
        again = await evs.send(prices((KICK, 530)), cash((CAROL, 7)), ticks(2), first=5)
        assert (2, 3) == (again.duplicate_count, again.accounts_valued)
        assert 1 == (await evs.send(trades((ALICE, KICK, BUY, SHARE, 520, 0, 41)))).duplicate_count
        equities = {account_id: (await evs.read(account_id)) for account_id in before}
        assert [OPENING_CENTS + 40, OPENING_CENTS - 30, OPENING_CENTS + 7] == [
            read.equity.total_equity for read in equities.values()
        ]
        assert [40, -30, 0] == [read.equity.day_change for read in equities.values()]
        assert all(read.version > before[account_id][0].version + 2**31 for account_id, read in equities.items())


async def test_a_restart_begins_with_every_start_number_once(exchange: Exchange, database: str, tmp_path: Path) -> None:
    """Versions only grow, though the clock may stand still."""
    versions = []
    for amount in (1, 2, 3):
        async with running(database, tmp_path, SetClock()) as evs:
            await evs.send(cash((ALICE, amount)), ticks(amount))
            versions.append((await evs.read(ALICE)).version)
    assert versions == sorted(set(versions))
    assert [1, 2, 3] == [version >> 32 for version in versions]
    assert 4 == len(await exchange.rows(ALICE))


# --- ending --------------------------------------------------------------------------------------------------------


async def test_what_was_applied_is_stored_at_the_end(exchange: Exchange, database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as evs:
        await evs.send(cash((ALICE, 5), (BOB, -5)), trades((CAROL, KICK, BUY, SHARE, 100)), first=1)
    assert [(ALICE, OPENING_CENTS + 5), (BOB, OPENING_CENTS - 5), (CAROL, OPENING_CENTS - 100)] == (
        await exchange.numbers("SELECT account_id, cash_cents FROM evs.account ORDER BY 1")
    )
    assert [(EM, 1, 3)] == await exchange.numbers("SELECT source, epoch, applied_sequence FROM evs.source")


@pytest.mark.usefixtures("exchange")
async def test_every_stream_ends_with_unavailable(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as evs:
        reader: Any = evs.stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=ALICE))
        sender: Any = evs.stub.StreamEvents()
        await within_patience(reader.read())
        await sender.write(pb.StreamEventsRequest())
        await within_patience(sender.read())
        waiting: Any = evs.stub.GetIngestState(pb.GetIngestStateRequest(source=EM, wait_durable_sequence=1))
        calls = [reader, sender, waiting]
        ends = [asyncio.ensure_future(call.code()) for call in calls]
        await asyncio.sleep(0)
        await evs.application.__aexit__()
        assert [StatusCode.UNAVAILABLE] * 3 == await within_patience(asyncio.gather(*ends))


async def test_a_newer_start_ends_this_one(exchange: Exchange, database: str, tmp_path: Path) -> None:
    """Its writes are turned away; it says so, ends its streams and serves no more."""
    async with running(database, tmp_path) as evs:
        reader: Any = evs.stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=ALICE))
        await within_patience(reader.read())
        await exchange.connection.execute("UPDATE evs.engine SET start_number = start_number + 1")
        await evs.send(cash((ALICE, 1)), ticks(1))
        with pytest.raises(Fenced):
            await within_patience(evs.application.run_until(asyncio.Event()))
        with refusal() as told:
            while True:
                await within_patience(reader.read())
        assert StatusCode.UNAVAILABLE == told.code
        with refusal() as told:
            await evs.read(ALICE)
        assert StatusCode.UNAVAILABLE == told.code
    assert 1 == len(await exchange.rows(ALICE))


# --- a day's work --------------------------------------------------------------------------------------------------


async def test_stream_read_and_row_of_a_version_say_the_same(exchange: Exchange, database: str, tmp_path: Path) -> None:
    """Version by version, for everyone; the percentage too."""
    async with running(database, tmp_path) as evs:
        followers: dict[int, Any] = {
            account_id: evs.stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=account_id))
            for account_id in (ALICE, BOB)
        }
        seen: dict[int, list[tuple[pb.EquityUpdate, int, list[int]]]] = {ALICE: [], BOB: []}
        reads: list[pb.GetEquityResponse] = []
        for tick in range(8):
            if tick:
                legs = ((ALICE, KICK, BUY, 3_333, 777 * tick, 2, 0), (BOB, KICK, SELL, 3_333, 777 * tick, 0, 0))
                await evs.send(trades(*legs), cash((BOB, -10 * tick)), ticks(tick, tick_time=(NOON_MS + tick,)))
            for account_id, follower in followers.items():
                message = await within_patience(follower.read())
                seen[account_id].append((message.equity, message.version, list(message.flags)))
                reads.append(await evs.read(account_id))
        await evs.stored()
        rows = {(row["account_id"], row["version"]): row for row in await exchange.rows()}
        assert 16 == len(reads)
        for read in reads:
            assert says_the_same(read, rows[read.equity.account_id, read.version])
            assert (read.equity, read.version, list(read.flags)) in seen[read.equity.account_id]
            assert read.equity.total_equity - read.net_flow == read.equity.realized_pnl + read.equity.unrealized_pnl


@pytest.mark.usefixtures("exchange")
async def test_a_trade_with_oneself_costs_its_fees(database: str, tmp_path: Path) -> None:
    async with running(database, tmp_path) as evs:
        legs = ((ALICE, KICK, BUY, 3 * SHARE, 333, 5, 1), (ALICE, KICK, SELL, 3 * SHARE, 333, 7, 2))
        assert 1 == (await evs.send(trades(*legs), ticks(1), first=1)).accounts_valued
        equity = (await evs.read(ALICE)).equity
        assert (OPENING_CENTS - 12, OPENING_CENTS - 12, 0, -12, -12) == (
            equity.total_equity, equity.cash_balance, equity.position_value, equity.realized_pnl, equity.day_change,
        )  # fmt: skip
        [position] = (await evs.positions(ALICE)).positions
        assert (0, 0, -12) == (position.quantity_bp, position.basis_cents, position.realized_pnl)


@pytest.mark.parametrize("with_ids", [True, False], ids=["by settlement id", "by content"])
async def test_an_account_created_later_counts_each_trade_once(
    exchange: Exchange, database: str, tmp_path: Path, with_ids: bool
) -> None:
    """Its tables hold the trades that are being announced, several at once; later ones are not among them."""
    async with running(database, tmp_path) as evs:
        await exchange.register({NEWCOMER: OPENING_CENTS - 300 - 3 * 400 + 250})
        legs = [(1, "BUY", 300), (2, "BUY", 400), (3, "BUY", 400), (4, "BUY", 400), (5, "SELL", 250)]
        for trade_id, side, price_cents in legs:
            await exchange.settle(trade_id, NEWCOMER, KICK, side, SHARE, price_cents)

        async def announce(trade_id: int, side: str, price_cents: int) -> None:
            settlement_id = trade_id if with_ids else 0
            leg = a_trade(
                NEWCOMER, KICK, BUY if side == "BUY" else SELL, SHARE, price_cents, settlement_id=settlement_id
            )
            await within_patience(evs.stub.OnTradeSettled(leg))

        await asyncio.gather(*(announce(*leg) for leg in reversed(legs)))
        await exchange.settle(6, NEWCOMER, KICK, "BUY", SHARE, 400)
        await announce(6, "BUY", 400)
        await evs.send(prices((KICK, 400)), ticks(1))
        read = await evs.read(NEWCOMER)
        assert (OPENING_CENTS - 300 - 4 * 400 + 250, 4 * 400) == (
            read.equity.cash_balance, read.equity.position_value,
        )  # fmt: skip
        [position] = (await evs.positions(NEWCOMER)).positions
        assert (4 * SHARE, OPENING_CENTS) == (position.quantity_bp, read.net_flow)
        assert read.equity.total_equity - read.net_flow == read.equity.realized_pnl + read.equity.unrealized_pnl


async def test_more_accounts_created_later_than_are_read_at_once_are_all_taken_in(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    async with running(database, tmp_path) as evs:
        newcomers = range(NEWCOMER, NEWCOMER + CHUNK_ACCOUNTS + 1)
        await exchange.register(dict.fromkeys(newcomers, 700))
        for account in newcomers:
            await exchange.settle(account, account, KICK, "BUY", SHARE, 100)
        legs = [(account, KICK, BUY, SHARE, 100, 0, account) for account in newcomers]
        answer = await evs.send(trades(*legs), ticks(1), first=1)
        assert ([], len(newcomers)) == (list(answer.refusals), answer.accounts_valued)
        for account in (newcomers[0], newcomers[-1]):
            equity = (await evs.read(account)).equity
            assert (700, 100) == (equity.cash_balance, equity.position_value)


async def test_what_is_still_to_be_announced_survives_a_restart(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    async with running(database, tmp_path) as evs:
        await exchange.register({NEWCOMER: 700})
        await exchange.settle(1, NEWCOMER, KICK, "BUY", SHARE, 100)
        await exchange.settle(2, NEWCOMER, KICK, "BUY", SHARE, 200)
        await evs.send(trades((NEWCOMER, KICK, BUY, SHARE, 100, 0, 1)), first=1)
    async with running(database, tmp_path) as evs:
        await evs.send(trades((NEWCOMER, KICK, BUY, SHARE, 200, 0, 2)), ticks(1), first=2)
        read = await evs.read(NEWCOMER)
        assert (700, 400) == (read.equity.cash_balance, read.equity.position_value)


async def test_the_session_rolls_once_for_everyone_on_the_time_of_the_ticks(
    exchange: Exchange, database: str, tmp_path: Path
) -> None:
    """Two market days, the clock far away from both; the roll has a row for every account and becomes the base."""
    async with running(database, tmp_path, SetClock(NOON_MS + 99 * DAY_MS)) as evs:
        legs = ((ALICE, KICK, BUY, SHARE, 500), (BOB, KICK, SELL, SHARE, 500))
        await evs.send(trades(*legs), ticks(1, tick_time=(NOON_MS,)))
        await evs.send(prices((KICK, 510)), cash((CAROL, 40)), ticks(2, tick_time=(NOON_MS + 1_000,)))
        await evs.send(prices((KICK, 530)), ticks(3, 3, tick_time=(NOON_MS + DAY_MS, NOON_MS + DAY_MS + 1)))
        await evs.send(prices((KICK, 540)), ticks(4, tick_time=(NOON_MS,)))  # back again: no second roll
        await evs.stored()
        rolled = CURRENT_SESSION_MS + DAY_MS
        of_roll = [row for row in await exchange.rows() if row["timestamp"].timestamp() * 1_000 == rolled]
        assert {ALICE: OPENING_CENTS + 10, BOB: OPENING_CENTS - 10, CAROL: OPENING_CENTS + 40} == of_accounts(
            of_roll, "total_equity"
        )
        assert [0, 0, 0] == [row["day_change"] for row in of_roll]
        assert 1 == len({row["version"] for row in of_roll})
        assert [30, -30, 0] == [(await evs.read(account_id)).equity.day_change for account_id in (ALICE, BOB, CAROL)]
    async with running(database, tmp_path, SetClock(NOON_MS + 99 * DAY_MS)) as evs:
        await evs.send(prices((KICK, 550)), ticks(5, tick_time=(NOON_MS + DAY_MS + 2,)))
        assert [40, -40] == [(await evs.read(account_id)).equity.day_change for account_id in (ALICE, BOB)]


async def test_the_session_rolls_on_the_clock_where_ticks_carry_no_time(
    exchange: Exchange, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nothing happens at all; readers see the new day."""
    monkeypatch.setattr(app, "ROLL_CHECK_SECONDS", 0.01)
    clock = SetClock()
    async with running(database, tmp_path, clock) as evs:
        await evs.send(trades((ALICE, KICK, BUY, SHARE, 500)), prices((KICK, 510)), ticks(1))
        reader: Any = evs.stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=ALICE))
        assert 10 == (await within_patience(reader.read())).equity.day_change
        clock.ms = NOON_MS + DAY_MS
        rolled = await within_patience(reader.read())
        assert (0, CURRENT_SESSION_MS + DAY_MS) == (rolled.equity.day_change, 1_000 * rolled.equity.timestamp)
        await evs.send(prices((KICK, 530)), ticks(2))
        assert 20 == (await within_patience(reader.read())).equity.day_change
        await evs.stored()
        assert 3 == len([row for row in await exchange.rows() if row["version"] == rolled.version])


async def test_settings_that_cannot_be_served_are_told_before_a_database_is_made(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path, listen="0.0.0.0:0")
    with pytest.raises(ConfigError, match="EVS_LISTEN"):
        async with app.Application(settings):
            raise AssertionError("it must not start")
    assert [] == list(tmp_path.iterdir())
