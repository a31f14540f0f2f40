"""A replay takes prints through the whole service, and its audit finds whatever one place tells otherwise."""

import json
import os
import zipfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import asyncpg
import grpc.aio
import pytest
from evs.v1 import evs_pb2_grpc
from evs_client import ExecutionManagerClient

from evs_server.app import Application
from evs_server.config import Settings, load
from evs_server.errors import ConfigError, InputError, StoreUnavailable
from evs_server.exchange.account_service import AccountService
from evs_server.exchange.auditor import Verdict, audit
from evs_server.exchange.evidence import introduce
from evs_server.exchange.ledger import Trade
from evs_server.exchange.replay import ReplayOptions, run_replay
from evs_server.exchange.venue import Ending, Served, told
from evs_server.store.database import Database
from tests.patience import PATIENCE_SECONDS
from tests.prints import made_up_prints

NEWEST_ROW = "account_id = 1 AND tick = 1"
REAL_PRINTS = Path(os.environ.get("EVS_TEST_PRINTS", Path(__file__).parents[3] / "shared" / "data" / "trades"))


@pytest.fixture
def settings(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a replay that runs an EVS of its own, on a fresh database."""
    monkeypatch.delenv("EVS_SERVER", raising=False)
    return load(database_url=database, data_dir=tmp_path / "evs")


@asynccontextmanager
async def serving(settings: Settings, _thrown_away: bool = False) -> AsyncIterator[Served]:
    """EVS in this process."""
    async with Application(settings) as application:
        await application.wait_ready()
        yield Served(application.address, Ending())


def not_serving(settings: Settings, _thrown_away: bool) -> AbstractAsyncContextManager[Served]:
    """What must not come about."""
    raise AssertionError(f"a server was started on {settings.listen}")


@asynccontextmanager
async def tables(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn, timeout=PATIENCE_SECONDS)
    try:
        yield connection
    finally:
        await connection.close()


async def test_two_days_of_two_symbols_agree_everywhere(
    settings: Settings, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every account is as the fold says, every tick's rows are stored, and the session rolls once, with the date."""
    files = [
        made_up_prints(tmp_path, symbol, day, 150, seconds=60)
        for day in ("20131007", "20131008")
        for symbol in ("ibm", "aig")
    ]
    assert await run_replay(ReplayOptions(files, accounts=10, json=True), settings, serving)
    summary = json.loads(capsys.readouterr().out)
    assert (600, 10, 0, 0) == tuple(summary[key] for key in ("prints", "accounts", "mismatches", "identity_violations"))
    assert 2 * 600 + summary["ticks"] == summary["events"]
    assert {"rows", "seconds", "events_per_second"} < summary.keys()
    async with tables(database) as connection:
        assert summary["rows"] == await connection.fetchval("SELECT count(*) FROM equity_timeseries")
        rolled = await connection.fetch(
            "SELECT version, count(*) FROM equity_timeseries"
            " WHERE timestamp::time = '00:00' AND timestamp < '2020-01-01' GROUP BY version"
        )
        assert [10] == [row["count"] for row in rolled]
        assert 1_200 == await connection.fetchval("SELECT count(*) FROM trades")


async def test_a_tampered_position_is_the_one_mismatch(
    settings: Settings, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The audit finds exactly what was altered, and nothing stays altered."""
    files = [made_up_prints(tmp_path, "ibm", "20131007", 50, seconds=60)]
    assert not await run_replay(ReplayOptions(files, accounts=3, json=True, tamper=True), settings, serving)
    summary = json.loads(capsys.readouterr().out)
    assert 1 == summary["mismatches"]
    assert "EVS's tables: account 1, symbol 1: quantity is" in summary["findings"][0]
    async with tables(database) as connection:
        assert 0 == await connection.fetchval("SELECT sum(quantity_bp) FROM evs.position")


async def test_a_named_server_is_replayed_against_again_and_again(
    settings: Settings, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each replay opens accounts of its own; one account alone trades with itself."""
    files = [made_up_prints(tmp_path, "ibm", "20131007", 40, seconds=60)]
    async with serving(settings.model_copy(update={"listen": "127.0.0.1:0"})) as served:
        named = load(database_url=database, data_dir=settings.data_dir, server=served.address)
        for accounts in (5, 1):
            assert await run_replay(ReplayOptions(files, accounts=accounts), named, not_serving)
    assert 2 == capsys.readouterr().out.count("every account agrees with the fold of its trades")


async def test_an_evs_that_takes_events_at_another_address_is_replayed_against(
    settings: Settings, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever gives one address is told which other one is missing."""
    files = [made_up_prints(tmp_path, "ibm", "20131007", 40, seconds=60)]
    options, ingest = ReplayOptions(files, accounts=5), f"unix:{tmp_path}/ingest.sock"
    async with serving(settings.model_copy(update={"listen": "127.0.0.1:0", "ingest_listen": ingest})) as served:
        named = load(database_url=database, data_dir=settings.data_dir, server=served.address)
        with pytest.raises(StoreUnavailable, match=r"EVS_INGEST_LISTEN.*--ingest-server, or set EVS_INGEST_SERVER"):
            await run_replay(options, named, not_serving)
        assert await run_replay(options, named.model_copy(update={"ingest_server": ingest}), not_serving)
    assert "every account agrees with the fold of its trades" in capsys.readouterr().out


async def test_a_bad_file_stops_a_replay_before_it_begins(settings: Settings, tmp_path: Path) -> None:
    """No server is started, and no print of the good files applied."""
    good, bad = (made_up_prints(tmp_path, symbol, "20131007", 10, seconds=60) for symbol in ("aig", "ibm"))
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("prints.csv", "34200000,1814950,100,N,0,0")
    with pytest.raises(InputError, match="line 1: price 1814950 is not in whole cents"):
        await run_replay(ReplayOptions([good, bad]), settings, not_serving)


async def test_a_server_without_its_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exchange must write the tables that EVS reads, so they must be known."""
    monkeypatch.delenv("EVS_DATABASE_URL", raising=False)
    named = load(server="127.0.0.1:1", data_dir=tmp_path)
    with pytest.raises(ConfigError, match="set EVS_DATABASE_URL"):
        await run_replay(
            ReplayOptions([made_up_prints(tmp_path, "ibm", "20131007", 1, seconds=60)]), named, not_serving
        )


@pytest.mark.parametrize(("role", "port", "said"), [("evs", "1", "Connection|No such file"), ("nobody", "", "nobody")])
async def test_a_database_that_lets_nobody_in_is_told_before_an_evs_is_started(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, port: str, said: str
) -> None:
    """An EVS would wait for it, and the replay for the EVS."""
    monkeypatch.delenv("EVS_SERVER", raising=False)
    url = database.replace("//evs@", f"//{role}@") + (f"&port={port}" if port else "")
    away = load(database_url=url, data_dir=tmp_path)
    files = [made_up_prints(tmp_path, "ibm", "20131007", 1, seconds=60)]
    with pytest.raises(StoreUnavailable, match=f"could not connect to the database: .*({said})"):
        await run_replay(ReplayOptions(files), away, not_serving)


async def test_a_database_on_which_an_evs_leads_is_that_ones(settings: Settings, tmp_path: Path) -> None:
    """An EVS of the replay's own would only wait for that one to end."""
    files = [made_up_prints(tmp_path, "ibm", "20131007", 1, seconds=60)]
    async with serving(settings.model_copy(update={"listen": "127.0.0.1:0"})) as served:
        leads = rf"evs {served.address} on \S+ leads on this database: name it with --server"
        with pytest.raises(ConfigError, match=leads):
            await run_replay(ReplayOptions(files), settings, not_serving)


def test_an_evs_of_the_replays_own_is_told_what_the_audit_expects(settings: Settings) -> None:
    """What the caller has set of sessions holds for it, too; what an installation stores and forgets does not."""
    given = {"session_timezone": "America/New_York", "persist": "on_trade", "retention_days": 1, "connections_max": 1}
    own = told(load(**settings.model_dump(include={"database_url", "data_dir"}), **given))
    assert ("America/New_York", "0") == (own["EVS_SESSION_TIMEZONE"], own["EVS_RETENTION_DAYS"])
    assert set() == {"EVS_PERSIST", "EVS_CONNECTIONS_MAX", "EVS_TRACES_ENDPOINT"} & own.keys()


class Traded:
    """An EVS with a few trades behind it, to be audited after one number of it has been altered."""

    def __init__(self, server: str, dsn: str) -> None:
        self._server = server
        self._dsn = dsn
        self._opening_cents: dict[int, int] = {}

    async def trade(self) -> None:
        async with (
            AccountService.connect(self._dsn) as exchange,
            grpc.aio.insecure_channel(self._server) as channel,
            ExecutionManagerClient(self._server, source="test") as client,
        ):
            one, two = await exchange.open_accounts({"one": 1_000_000, "two": 500})
            self._opening_cents = {one: 1_000_000, two: 500}
            await introduce(evs_pb2_grpc.EquityValuationServiceStub(channel), [one, two])
            settled = await exchange.settle(Trade(one, two, 7, 20_000, 1_500, 0))
            await client.on_trade_settled(
                one, 7, "BUY", quantity_bp=20_000, price_cents=1_500, settlement_id=settled.buy_id
            )
            await client.on_trade_settled(
                two, 7, "SELL", quantity_bp=20_000, price_cents=1_500, settlement_id=settled.sell_id
            )
            await client.on_price_updated(7, 1_600)
            await client.on_tick_complete(1)
            await client.wait_durable(PATIENCE_SECONDS)

    async def audit_after(self, statement: str | None = None) -> Verdict:
        if statement is not None:
            async with tables(self._dsn) as connection:
                assert (await connection.execute(statement)).endswith(" 1")
        database = await Database.open(self._dsn)
        try:
            async with grpc.aio.insecure_channel(self._server) as channel:
                return await audit(evs_pb2_grpc.EquityValuationServiceStub(channel), database, self._opening_cents)
        finally:
            await database.close()


@pytest.fixture
async def traded(settings: Settings, database: str) -> AsyncIterator[Traded]:
    """Two accounts that have traded with each other, valued at a price that was set."""
    async with serving(settings.model_copy(update={"listen": "127.0.0.1:0"})) as served:
        traded = Traded(served.address, database)
        await traded.trade()
        yield traded


async def test_an_audit_of_honest_numbers_finds_nothing(traded: Traded) -> None:
    """A price that the exchange has set values positions in the fold too."""
    verdict = await traded.audit_after()
    assert ([], [], 0, 2) == (
        list(verdict.mismatches), list(verdict.breaches), verdict.violation_count, verdict.leg_count
    )  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        (
            "UPDATE evs.account SET cash_cents = 1 WHERE account_id = 2",
            "EVS's tables: account 2: cash is 1, expected 3500",
        ),
        ("UPDATE evs.position SET basis_cents = 2999 WHERE account_id = 1", "symbol 7: basis is 2999, expected 3000"),
        ("DELETE FROM evs.account WHERE account_id = 1", "EVS's tables: account 1: cash is None, expected 997000"),
        ("UPDATE accounts SET currency_balance = 0 WHERE id = 1", "exchange's tables: account 1: cash is 0, expected"),
        ("DELETE FROM positions WHERE account_id = 1", "exchange's tables: account 1, symbol 7: quantity is None"),
        (
            f"UPDATE equity_timeseries SET total_equity = 5, position_value = 5 - cash_balance WHERE {NEWEST_ROW}",
            "equity_timeseries: account 1: equity is 5, expected 1000200",
        ),
        (f"DELETE FROM equity_timeseries WHERE {NEWEST_ROW}", "equity_timeseries: account 1: version is"),
        ("UPDATE trades SET price = 1400 WHERE id = 1", "EVS: account 1: cash is 997000, expected 997200"),
    ],
)
async def test_an_audit_names_what_differs(traded: Traded, statement: str, finding: str) -> None:
    """One altered number, in any of the places, is told with the place, the account and both values."""
    verdict = await traded.audit_after(statement)
    assert any(finding in str(mismatch) for mismatch in verdict.mismatches), list(map(str, verdict.mismatches))


async def test_an_audit_counts_rows_whose_profit_does_not_add_up(traded: Traded) -> None:
    """A stored valuation that breaks the identity is counted, wherever in history it is."""
    verdict = await traded.audit_after(
        "UPDATE equity_timeseries SET realized_pnl = 1 WHERE account_id = 1 AND tick = 0"
    )
    assert 1 == verdict.violation_count


@pytest.fixture
def real_prints() -> list[Path]:
    """A file of real prints, where there is one."""
    files = sorted(REAL_PRINTS.glob("aig/*_trade.zip"))[:1]
    if not files:
        pytest.skip("no real prints: set EVS_TEST_PRINTS to a folder of LEAN trade files")
    return files


async def test_a_day_of_real_prints_agrees_everywhere(
    settings: Settings, real_prints: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Real prices, sizes and times, whatever they are."""
    assert await run_replay(ReplayOptions(real_prints, accounts=50, tick_ms=60_000, json=True), settings, serving)
    summary = json.loads(capsys.readouterr().out)
    assert (0, 0, 0) == (summary["mismatches"], summary["identity_violations"], summary["refused"])
