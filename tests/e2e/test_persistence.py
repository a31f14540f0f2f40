"""
What ``EVS_PERSIST`` promises, of the program as it is run: on a database of its own, killed, and started again.

A market of two sessions goes through one EVS that stores every tick and is left in peace. Under the other policies,
with EVS killed again and again, newest values and days are the same; history has what is promised of it, in far fewer
rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.config import load
from evs_server.store.embedded.server import running_database
from tests.e2e.caller import BUY, SELL, SHARE, Caller
from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import Command, running
from tests.wire import a_request, cash, prices, ticks, trades

SOURCE = "em"
DAY, STEP = 86_400, 30
MIDNIGHT = 20_000 * DAY
START, END = MIDNIGHT - 3_600, MIDNIGHT + 3_600
INTERVAL = 300
SYMBOLS = (1, 2)
ACCOUNTS = 4
BATCHES = (END - START) // STEP


def market(account_ids: Sequence[int]) -> list[pb.StreamEventsRequest]:
    """A batch for each tick: prices that wander, a trade now and then, a deposit; one account never does anything."""
    draw, batches, first = Random(1), list[pb.StreamEventsRequest](), 1
    price = dict.fromkeys(SYMBOLS, 5_000)
    traders = account_ids[:-1]
    for number in range(BATCHES):
        for symbol in SYMBOLS:
            price[symbol] += draw.randint(-20, 20)
        runs = [prices(*price.items())]
        if number % 17 == 0:
            symbol, (buyer, seller) = draw.choice(SYMBOLS), draw.sample(traders, 2)
            legs = [(buyer, symbol, BUY, SHARE, price[symbol]), (seller, symbol, SELL, SHARE, price[symbol])]
            runs.append(trades(*legs))
        if number % 60 == 31:
            runs.append(cash((draw.choice(traders), 10_000)))
        runs.append(ticks(number + 1, tick_time=(1_000 * (START + number * STEP),)))
        batches.append(a_request(*runs, first=first, source=SOURCE))
        first += event_count(batches[-1])
    return batches


def event_count(batch: pb.StreamEventsRequest) -> int:
    """How many events a batch has."""
    return sum(len(getattr(run, str(run.WhichOneof("events"))).ListFields()[0][1]) for run in batch.runs)


class Seen(NamedTuple):
    """What a market has left behind, by account."""

    values: list[pb.EquityUpdate]
    positions: list[list[pb.Position]]
    days: list[list[tuple[int, int, int, int]]]
    bars: list[dict[int, int]]
    row_count: int


@contextmanager
def evs(data_dir: Path, **settings: str) -> Iterator[tuple[Command, str, ExchangeTables]]:
    """EVS on a database of its own; the command, its address, and the exchange's side of its database."""
    fixed = {"listen": "127.0.0.1:0", "metrics_listen": "", "reconcile_seconds": "0", "session_roll": "00:00"}
    with running("serve", data_dir=data_dir, **fixed, **settings) as command:
        address = command.wait_for(r"(?m)^.*\bready\b.*?(\S+:\S+)\s*$").group(1)
        dsn = running_database(load(data_dir=data_dir))
        assert dsn is not None
        yield command, address, ExchangeTables(dsn)


def lived(data_dir: Path, *kills: int, **settings: str) -> Seen:
    """A market through EVS, which is killed once so many batches were applied, and started again."""
    with evs(data_dir, **settings) as (command, _, tables):
        opened = "INSERT INTO accounts (currency_balance) SELECT 1000000 FROM generate_series(1, $1) RETURNING id"
        account_ids = [row["id"] for row in tables.rows(opened, ACCOUNTS)]
        assert 0 == command.terminate(), command.said
    batches = market(account_ids)
    for applied_count in kills:
        with evs(data_dir, **settings) as (command, address, _), Caller(address) as caller:
            send(caller, batches[:applied_count])
            command.kill()
    with evs(data_dir, **settings) as (command, address, tables), Caller(address) as caller:
        send(caller, batches)
        last = caller.ingest_state(SOURCE).applied_sequence
        assert last == caller.ingest_state(SOURCE, wait_durable=last).durable_sequence
        seen = look(caller, account_ids, tables)
        assert 0 == command.terminate(), command.said
    return seen


def send(caller: Caller, batches: Sequence[pb.StreamEventsRequest]) -> None:
    """Send, and return once all are applied; those that are stored already are left out."""
    durable = caller.ingest_state(SOURCE).durable_sequence
    waiting = [batch for batch in batches if batch.first_sequence + event_count(batch) - 1 > durable]
    for answer in caller.stream(iter(waiting)):
        assert [] == list(answer.refusals)


def look(caller: Caller, account_ids: Sequence[int], tables: ExchangeTables) -> Seen:
    """What there is to see of accounts now."""
    values = [caller.equity(each).equity for each in account_ids]
    positions = [list(caller.positions(each).values()) for each in account_ids]
    for position in (position for held in positions for position in held):
        position.ClearField("last_updated")
        position.ClearField("mark_time")
    days = [
        [
            (each.time, each.last, each.realized_pnl, each.net_flow)
            for each in bars(caller, account_id, pb.RESOLUTION_ONE_DAY)
        ]
        for account_id in account_ids
    ]
    fives = [bars(caller, account_id, pb.RESOLUTION_FIVE_MINUTES) for account_id in account_ids]
    lasts = [{each.time: each.last for each in found} for found in fives]
    row_count = tables.value("SELECT count(*) FROM equity_timeseries")
    assert isinstance(row_count, int)
    return Seen(values, positions, days, lasts, row_count)


def bars(caller: Caller, account_id: int, resolution: pb.Resolution) -> Sequence[pb.EquityPoint]:
    """The market's history of one account."""
    asked = pb.GetEquityHistoryRequest(
        account_id=account_id, start=START, end=END + INTERVAL, resolution=resolution, page_size=10_000
    )
    found: Sequence[pb.EquityPoint] = caller.call("GetEquityHistory", asked).points
    return found


@pytest.fixture(scope="module")
def every_tick(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What an EVS that stores everything, and is left in peace, has made of the market."""
    return lived(tmp_path_factory.mktemp("every-tick"), persist="every_tick")


@pytest.mark.parametrize("persist", ["interval", "on_trade"])
def test_killed_again_and_again_fewer_rows_lose_no_value_and_no_day(
    persist: str, every_tick: Seen, tmp_path: Path
) -> None:
    seen = lived(tmp_path, 50, 150, persist=persist, persist_seconds=str(INTERVAL))
    assert every_tick.values == seen.values
    assert every_tick.positions == seen.positions
    assert every_tick.days == seen.days
    assert 2 == len(seen.days[0])
    assert seen.row_count < every_tick.row_count / 4
    if persist == "interval":
        assert every_tick.bars == seen.bars, "a bar as long as the interval has its right last value"
    assert all(each.keys() <= every.keys() for each, every in zip(seen.bars, every_tick.bars, strict=True))
