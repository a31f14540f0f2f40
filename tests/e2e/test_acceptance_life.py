"""How an EVS begins, ends, crashes and goes on: what is durable stays, the rest is sent again, nothing counts twice."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from evs_server.store.embedded import EmbeddedPostgres
from tests.database import DatabaseServer, run_apart, system_bin_dir
from tests.e2e.caller import BUY, SELL, SERVICE, SHARE, Caller, Numbers, refused
from tests.e2e.exchange_tables import ExchangeTables, dsn_as, ensure_role, exchange_database, exchange_tables
from tests.e2e.processes import running, serving
from tests.patience import eventually

OPENING = 1_000_000
DAY_MS = 86_400_000
SYMBOL = 1
SOURCE = "em"


@pytest.fixture
def tables(system_server: DatabaseServer) -> Iterator[ExchangeTables]:
    """The exchange's tables before EVS has ever run, for one test alone."""
    with exchange_database(system_server) as tables:
        yield tables


class Sender:
    """
    A sender of numbered events by the book: it keeps what is not durable, and sends it again after a break.

    Args:
        accounts: A buyer and a seller.
    """

    EVENTS = 3
    """Events of one tick: two legs and the completion."""

    def __init__(self, accounts: tuple[int, int]) -> None:
        self._buyer, self._seller = accounts

    def batch(self, number: int) -> pb.StreamEventsRequest:
        """Tick ``number``, from 1: one share changes hands at 100."""
        trades = pb.TradeColumns(
            account_id=[self._buyer, self._seller],
            symbol_id=[SYMBOL] * 2,
            side=[BUY, SELL],
            quantity_bp=[SHARE] * 2,
            price_cents=[100] * 2,
            settlement_id=[number] * 2,
        )
        runs = [pb.EventRun(trades=trades), pb.EventRun(ticks=pb.TickColumns(tick_id=[number]))]
        first = self.EVENTS * (number - 1) + 1
        return pb.StreamEventsRequest(source=SOURCE, epoch=1, first_sequence=first, runs=runs)

    def send(self, caller: Caller, ticks: Iterator[int]) -> Iterator[pb.StreamEventsResponse]:
        """The answers, as they come."""
        for answer in caller.stream(self.batch(number) for number in ticks):
            assert [] == list(answer.refusals)
            yield answer


# --- beginning -----------------------------------------------------------------------------------------------------


def test_the_first_start_takes_over_what_the_exchange_has(tables: ExchangeTables, tmp_path: Path) -> None:
    """Positions at their average cost, priced by the newest trade or else by their cost; one row each is stored."""
    holder, idle = tables.open_account(OPENING), tables.open_account()
    tables.settle(holder, SYMBOL, "BUY", 10 * SHARE, 100)
    tables.settle(idle, SYMBOL, "SELL", SHARE, 150)
    untraded = (
        "INSERT INTO positions (account_id, symbol_id, quantity, avg_cost) VALUES ($1, 99, -5000, 333) RETURNING 1"
    )
    tables.rows(untraded, holder)
    with serving(tables.dsn, tmp_path) as (_, address), Caller(address) as caller:
        assert Numbers(OPENING - 1_000, 1_500 - 166, OPENING + 334, 500, 0, 0) == caller.numbers(holder)
        answer = caller.equity(holder)
        assert pb.EQUITY_FLAG_UNPRICED in answer.flags
        assert OPENING - 166 == answer.net_flow
        positions = caller.positions(holder)
        assert (pb.MARK_SOURCE_LAST_TRADE, pb.MARK_SOURCE_COST) == (
            positions[SYMBOL].mark_source,
            positions[99].mark_source,
        )
        assert Numbers(150, -150, 0, 0, 0, 0) == caller.numbers(idle)
        assert [1, 1] == [len(tables.equity_rows(account_id)) for account_id in (holder, idle)]


def test_health_and_reflection_are_what_a_stranger_expects(tables: ExchangeTables, tmp_path: Path) -> None:
    """The standard services, with the contract's name, on the one port."""
    with serving(tables.dsn, tmp_path) as (_, address), Caller(address) as caller:
        assert ["SERVING", "SERVING"] == [caller.health(), caller.health(SERVICE)]
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(caller.channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([ask]), timeout=30)
        names = {service.name for service in answer.list_services_response.service}
        assert {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names


def test_a_second_evs_on_the_same_port_fails_and_does_no_harm(tables: ExchangeTables, tmp_path: Path) -> None:
    """It says which address is taken, and the first goes on serving and storing, though the database is the same."""
    account_id = tables.open_account(OPENING)
    with serving(tables.dsn, tmp_path) as (evs, address), Caller(address) as caller:
        with running("serve", database_url=tables.dsn, data_dir=tmp_path, listen=address) as second:
            assert 0 != second.wait_for_end()
            assert address in second.said
            assert "Traceback" not in second.said
        caller.cash(account_id, 1)
        caller.tick()
        caller.wait_stored()
        assert OPENING + 1 == tables.equity_rows(account_id)[-1]["total_equity"]
        assert 0 == evs.terminate()


def test_settings_that_cannot_be_are_all_named_at_once(tmp_path: Path) -> None:
    """Status 2, one line for each, no stack."""
    with running("serve", data_dir=tmp_path, listen="nowhere", session_timezone="Mars", session_roll="25:00") as evs:
        assert 2 == evs.wait_for_end()
        assert [] == [n for n in ("EVS_LISTEN", "EVS_SESSION_TIMEZONE", "EVS_SESSION_ROLL") if n not in evs.said]
        assert "Traceback" not in evs.said


# --- whose database it is --------------------------------------------------------------------------------------------


def test_the_role_may_be_called_evs(system_server: DatabaseServer, tmp_path: Path) -> None:
    """The obvious name of a role is no trap: the exchange's tables are found where they are."""
    name = system_server.create(migrated=False)
    dsn = system_server.dsn(name)
    ensure_role(dsn, "evs")
    tables = exchange_tables(dsn)
    account_id = tables.open_account(OPENING)
    with serving(dsn_as("evs", dsn), tmp_path) as (_, address), Caller(address) as caller:
        assert OPENING == caller.numbers(account_id).equity
    system_server.drop(name)


def test_a_role_that_may_only_read_the_exchanges_tables_will_do(
    system_server: DatabaseServer, tables: ExchangeTables, tmp_path: Path
) -> None:
    """The two columns that need the tables' owner are left out, loudly; everything else works."""
    ensure_role(system_server.dsn("postgres"), "valuer")
    tables.run(
        f"""
        GRANT CREATE ON DATABASE {tables.value("SELECT current_database()")} TO valuer;
        GRANT USAGE, CREATE ON SCHEMA public TO valuer;
        GRANT SELECT ON accounts, positions, trades TO valuer;
        """
    )
    account_id = tables.open_account(OPENING)
    with serving(dsn_as("valuer", tables.dsn), tmp_path) as (evs, address), Caller(address) as caller:
        evs.wait_for(r"WARNING.*realized_pnl")
        caller.trade(account_id, SYMBOL, BUY, SHARE, 100)
        caller.trade(account_id, SYMBOL, SELL, SHARE, 150)
        caller.tick()
        caller.wait_stored()
        assert 50 == caller.numbers(account_id).realized
        stored = "SELECT realized_pnl FROM equity_timeseries WHERE account_id = $1 ORDER BY version DESC LIMIT 1"
        admin = ExchangeTables(system_server.dsn(str(tables.value("SELECT current_database()"))))
        assert 50 == admin.value(stored, account_id)
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'realized_pnl' AND table_name = $1"
    assert [0, 0] == [tables.value(columns, name) for name in ("accounts", "positions")]


def test_what_is_realized_is_written_beside_what_the_exchange_keeps(tables: ExchangeTables, tmp_path: Path) -> None:
    """``accounts`` and ``positions`` get their ``realized_pnl``, and lose nothing of their own."""
    account_id = tables.open_account(OPENING)
    with serving(tables.dsn, tmp_path) as (_, address), Caller(address) as caller:
        caller.numbers(account_id)
        for side, price in (("BUY", 100), ("SELL", 130)):
            settlement = tables.settle(account_id, SYMBOL, side, 10 * SHARE, price)
            caller.trade(
                account_id, SYMBOL, BUY if side == "BUY" else SELL, 10 * SHARE, price, settlement_id=settlement
            )
        caller.tick()
        for table, key in (("accounts", "id"), ("positions", "account_id")):
            written = f"SELECT FROM {table} WHERE {key} = $1 AND realized_pnl = 300"
            eventually(partial(tables.rows, written, account_id), f"{table}.realized_pnl is written")
        assert OPENING + 300 == tables.value("SELECT currency_balance FROM accounts WHERE id = $1", account_id)


# --- ending and beginning again --------------------------------------------------------------------------------------


def test_sigterm_ends_streams_stores_what_was_applied_and_exits_well(tables: ExchangeTables, tmp_path: Path) -> None:
    """Under load too: readers and senders are told UNAVAILABLE, and all that was answered is in the database."""
    accounts = tables.open_account(OPENING), tables.open_account(OPENING)
    sender = Sender(accounts)
    applied: list[int] = []

    def send_until_it_ends(answers: Iterator[pb.StreamEventsResponse]) -> str:
        with pytest.raises(grpc.RpcError) as caught:
            applied.extend(answer.applied_sequence for answer in answers)
        return refused(caught.value).code

    with (
        serving(tables.dsn, tmp_path) as (evs, address),
        Caller(address) as caller,
        ThreadPoolExecutor(3) as pool,
        caller.follow(accounts[0]) as first,
        caller.follow(accounts[1]) as second,
    ):
        ends = [pool.submit(stream.end) for stream in (first, second)]
        answers = sender.send(caller, itertools.count(1))
        applied += [next(answers).applied_sequence for _ in range(50)]
        sending = pool.submit(send_until_it_ends, answers)
        assert 0 == evs.terminate(), evs.said
        assert [grpc.StatusCode.UNAVAILABLE] * 2 == [job.result() for job in ends]
        assert "UNAVAILABLE" == sending.result()
    durable = tables.value("SELECT applied_sequence FROM evs.source WHERE source = $1", SOURCE)
    assert isinstance(durable, int)
    assert max(applied) <= durable


def test_a_restart_changes_nothing(tables: ExchangeTables, tmp_path: Path) -> None:
    """Same versions, same numbers, same flags, no new rows; what was told before is still known as told."""
    accounts = [tables.open_account(OPENING) for _ in range(3)]
    with serving(tables.dsn, tmp_path) as (evs, address), Caller(address) as caller:
        caller.trade(accounts[0], SYMBOL, BUY, SHARE, 100, settlement_id=5)
        caller.trade(accounts[1], SYMBOL, SELL, SHARE, 100, fee_cents=3, settlement_id=5)
        caller.cash(accounts[1], -7, event_id=pb.EventId(source=SOURCE, epoch=4, sequence=1))
        caller.tick(9, tick_time=20 * DAY_MS)
        caller.price(SYMBOL, 170)
        before = [(caller.equity(account_id), caller.positions(account_id)) for account_id in accounts]
        assert 0 == evs.terminate()
    rows = tables.value("SELECT count(*) FROM equity_timeseries")
    with serving(tables.dsn, tmp_path) as (evs, address), Caller(address) as caller:
        assert before == [(caller.equity(account_id), caller.positions(account_id)) for account_id in accounts]
        assert rows == tables.value("SELECT count(*) FROM equity_timeseries")
        assert caller.trade(accounts[0], SYMBOL, BUY, SHARE, 100, settlement_id=5).duplicate
        assert caller.cash(accounts[1], -7, event_id=pb.EventId(source=SOURCE, epoch=4, sequence=1)).duplicate
        assert 2 == caller.tick(9).accounts_valued, "the price had come and was not valued yet"
        assert OPENING + 70 == caller.numbers(accounts[0]).equity
        assert max(each.version for each, _ in before) < caller.equity(accounts[0]).version


def test_every_event_counts_once_though_evs_is_killed_again_and_again(tables: ExchangeTables, tmp_path: Path) -> None:
    """Sent again from durable + 1 after each ``kill -9``: the numbers are right, and each tick has one row."""
    accounts = tables.open_account(OPENING), tables.open_account(OPENING)
    sender, total, told = Sender(accounts), 150, 0
    for stop_after in (1, 37, 101, total):
        with serving(tables.dsn, tmp_path) as (evs, address), Caller(address) as caller:
            state = caller.ingest_state(SOURCE)
            assert told <= state.durable_sequence == state.applied_sequence
            start = state.durable_sequence // sender.EVENTS + 1
            answers = sender.send(caller, iter(range(start, total + 1)))
            for answer in answers:
                assert answer.durable_sequence <= answer.applied_sequence
                told = max(told, answer.durable_sequence)
                if answer.applied_sequence >= sender.EVENTS * stop_after:
                    break
            if stop_after < total:
                evs.kill()
                continue
            assert sender.EVENTS * total == caller.ingest_state(SOURCE, sender.EVENTS * total).durable_sequence
            for sign, account_id in ((1, accounts[0]), (-1, accounts[1])):
                held = sign * total * 100
                assert (OPENING - held, held, OPENING, 0, 0) == caller.numbers(account_id)[:5]
    for account_id in accounts:
        rows = tables.equity_rows(account_id)[1:]
        assert list(range(1, total + 1)) == [row["tick"] for row in rows]
        assert len(rows) == len({row["version"] for row in rows})


def test_the_session_rolls_once_for_everyone_on_the_time_of_the_ticks(tables: ExchangeTables, tmp_path: Path) -> None:
    """A new day's change starts from the last close, for accounts that did nothing too, and outlives a crash."""
    holder, idle = tables.open_account(OPENING), tables.open_account(OPENING)
    noon = 1_000 * DAY_MS + DAY_MS // 2
    with serving(tables.dsn, tmp_path) as (evs, address), Caller(address) as caller:
        caller.trade(holder, SYMBOL, BUY, 100 * SHARE, 100)
        caller.price(SYMBOL, 150)
        caller.tick(1, noon)
        assert 5_000 == caller.numbers(holder).day
        quiet = caller.equity(idle).version
        caller.price(SYMBOL, 160)
        caller.cash(holder, 10**9)
        caller.tick(2, noon + DAY_MS)
        assert 1_000 == caller.numbers(holder).day, "the gap belongs to the new day, the deposit to none"
        assert quiet < caller.equity(idle).version
        assert 0 == caller.tick(3, noon).accounts_valued, "a session never goes back"
        caller.wait_stored()
        evs.kill()
    assert 2 == len(tables.equity_rows(idle)), "its opening, and the roll"
    with serving(tables.dsn, tmp_path) as (_, address), Caller(address) as caller:
        caller.price(SYMBOL, 140)
        caller.tick(4, noon + DAY_MS + 1)
        assert -1_000 == caller.numbers(holder).day


# --- the database goes and comes -------------------------------------------------------------------------------------


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of the system for one test alone, not started."""
    bin_dir = system_bin_dir()
    if bin_dir is None:
        pytest.skip("the system has no PostgreSQL of its own under /usr/lib/postgresql")
    postgres = EmbeddedPostgres(tmp_path / "postgres", durable=False, bin_dir=bin_dir)
    yield postgres
    run_apart(postgres.stop())


def test_evs_waits_for_its_database(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Started first, it says that it does not serve, refuses everything as UNAVAILABLE, and begins by itself."""
    tables = exchange_tables(run_apart(postgres.start()))
    account_id = tables.open_account(OPENING)
    run_apart(postgres.stop())
    address = f"unix:{tmp_path}/evs.sock"
    with (
        running("serve", database_url=tables.dsn, data_dir=tmp_path, listen=address) as evs,
        Caller(address) as caller,
    ):
        assert "NOT_SERVING" == caller.health()
        for call in (lambda: caller.equity(account_id), caller.tick, lambda: caller.ingest_state(SOURCE)):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert "UNAVAILABLE" == refused(caught.value).code
        assert "ready" not in evs.said
        run_apart(postgres.start())
        caller.wait_serving()
        evs.wait_for("ready")
        assert OPENING == caller.numbers(account_id).equity
        assert 0 == evs.terminate()


def test_streams_go_on_while_the_database_is_away(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Events are taken and told, nothing is durable; when the database is back everything is, and each row is there."""
    tables = exchange_tables(run_apart(postgres.start()))
    accounts = tables.open_account(OPENING), tables.open_account(OPENING)
    sender = Sender(accounts)
    with serving(tables.dsn, tmp_path) as (evs, address), Caller(address) as caller:
        with caller.follow(accounts[0]) as stream:
            stream.next()
            durable = list(sender.send(caller, iter(range(1, 11))))[-1].applied_sequence
            caller.ingest_state(SOURCE, durable)
            run_apart(postgres.stop())
            *_, answer = sender.send(caller, iter(range(11, 21)))
            assert (60, durable) == (answer.applied_sequence, answer.durable_sequence)
            latest = caller.equity(accounts[0])
            assert OPENING - 2_000 == stream.until(latest.version)[-1].equity.cash_balance
            with pytest.raises(grpc.RpcError) as caught:
                caller.equity(987_654)
            assert "UNAVAILABLE" == refused(caught.value).code, "only the database knows whether it exists"
            ticks = iter(range(21, 2**31))

            def flagged() -> bool:
                list(sender.send(caller, itertools.islice(ticks, 1)))
                return pb.EQUITY_FLAG_DEGRADED in stream.next().flags

            eventually(flagged, "values say that the database does not keep up")
            run_apart(postgres.start())
            eventually(lambda: not flagged(), "values say that it keeps up again")
            last = next(ticks) - 1
            assert sender.EVENTS * last == caller.ingest_state(SOURCE, sender.EVENTS * last).durable_sequence
        assert 0 == evs.terminate()
    assert list(range(1, last + 1)) == [row["tick"] for row in tables.equity_rows(accounts[0])[1:]]
