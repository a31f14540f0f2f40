"""A day of prints through a gateway and three workers is, to the cent, what one engine makes of it."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.cluster.shards import SHARD_COUNT, shards_of
from evs_server.engine import state
from evs_server.exchange.ledger import Trade
from evs_server.exchange.matching import planned
from evs_server.exchange.prints import Tape
from evs_server.fanout.codec import encode_position, encode_read
from evs_server.ingest.codec import decode_batch
from evs_server.model import EngineState
from evs_server.store.database import Database
from evs_server.store.memory import Tables
from evs_server.store.postgres import PostgresStore
from tests.builders import DAY_MS
from tests.cluster.deployment import Cluster, started
from tests.database import run_apart
from tests.e2e.caller import BUY, SELL, Caller
from tests.e2e.exchange_tables import ExchangeTables
from tests.simulation.process import Process, at_once
from tests.wire import cash, ticks, trades

OPEN_MS = 34_200_000
STALE_AFTER_MS = DAY_MS
SOURCE = "replay"


def write_prints(folder: Path, symbol: str, day: str, count: int) -> Path:
    """A file of made-up prints over an hour, as the tape has them: many at one time, prices that wander."""
    draw = Random(f"{symbol} {day}")
    times = sorted(OPEN_MS + draw.randrange(0, 3_600_000, 100) for _ in range(count))
    price, lines = draw.randint(2_000, 20_000), []
    for time in times:
        price = max(1, price + draw.choice([-2, -1, 0, 0, 0, 1, 2]))
        lines.append(f"{time},{price * 100},{draw.randint(1, 500)},N,0,0")
    path = folder / symbol / f"{day}_trade.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("prints.csv", "\n".join(lines))
    return path


def requests(tape: Tape, account_ids: Sequence[int]) -> Iterator[pb.StreamEventsRequest]:
    """The prints as a sender's batches, a few deposits among them."""
    draw, sequence, settlement = Random(1), 1, 0
    for batch in planned(tape, account_ids, seed=1, tick_ms=60_000, trades_per_batch=40):
        runs, count = [], 0
        for step in batch.steps:
            if isinstance(step, Trade):
                buyer, seller, symbol_id, quantity_bp, price_cents, _ = step
                settlement += 1
                legs = [(buyer, BUY), (seller, SELL)]
                rows = [(each, symbol_id, side, quantity_bp, price_cents, 0, settlement) for each, side in legs]
                runs.append(trades(*rows))
                count += 2
            else:
                runs.append(ticks(step.tick_id, tick_time=(step.time_ms,)))
                count += 1
        if draw.random() < 0.1:
            runs.append(cash((draw.choice(account_ids), draw.choice([-500, 10_000]))))
            count += 1
        yield pb.StreamEventsRequest(source=SOURCE, epoch=1, first_sequence=sequence, runs=runs)
        sequence += count


def one_engine(balances_cents: dict[int, int], sent: Sequence[pb.StreamEventsRequest], now_ms: int) -> Process:
    """What one process makes of the same, whose tables have the same accounts."""
    tables = Tables()
    tables.balances_cents.update(balances_cents)
    process = Process(tables, STALE_AFTER_MS)
    process.intake.import_exchange(at_once(process.store.read_exchange()), now_ms)
    for request in sent:
        outcome = process.intake.take(decode_batch(request), now_ms)
        assert not outcome.refusals
    return process


def slice_hashes(whole: EngineState) -> list[str]:
    """The digest of what each virtual shard should hold of a state."""

    def part(columns: Any, shard: int) -> Any:
        row = shards_of(columns.account_id) == shard
        return type(columns)(*(getattr(columns, field.name)[row] for field in fields(columns)))

    return [
        state.digest(replace(whole, accounts=part(whole.accounts, shard), positions=part(whole.positions, shard)))
        for shard in range(SHARD_COUNT)
    ]


async def stored_hashes(dsn: str) -> list[str]:
    """The digest of what each virtual shard has committed, as its next owner would read it."""
    database = await Database.open(dsn)
    try:
        stores = [PostgresStore(database, shard=shard) for shard in range(SHARD_COUNT)]
        return [state.digest((await store.recover()).state) for store in stores]
    finally:
        await database.close()


def closes_of(process: Process) -> dict[int, list[tuple[int, int, int]]]:
    """By account, each session close: its time, equity and net flow."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for made in process.published:
        if made.session_roll:
            columns = (made.account_id, made.equity_cents, made.net_flow_cents)
            for account_id, equity, net_flow in zip(*(column.tolist() for column in columns), strict=True):
                found.setdefault(account_id, []).append((made.timestamp_ms, equity, net_flow))
    return found


CLOSES = """
SELECT account_id, extract(epoch FROM timestamp)::bigint * 1000 AS ms, total_equity, net_flow
FROM equity_timeseries WHERE timestamp = ANY (SELECT closed_at FROM evs.closed_session) ORDER BY version
"""


@pytest.mark.parametrize(
    ("account_count", "print_count"), [(60, 400), pytest.param(200, 10_000, marks=pytest.mark.faults)]
)
def test_three_workers_are_one_engine_to_the_cent(
    account_count: int, print_count: int, tables: ExchangeTables, cluster: Cluster, tmp_path: Path
) -> None:
    """Newest values, positions, session closes, and by virtual shard the digest of all that decides what comes next."""
    draw = Random(7)
    days = ("20131007", "20131008")
    tape = Tape.checked(
        [write_prints(tmp_path, name, day, print_count // 4) for day in days for name in ("ibm", "aig")]
    )
    balances = {tables.open_account(cents): cents for cents in draw.choices(range(10**6, 10**8), k=account_count)}
    sent = list(requests(tape, list(balances)))
    address = started(cluster)
    with Caller(address) as caller:
        answers = [answer for answer in caller.stream(iter(sent)) if answer.batch_answer]
        assert (len(sent), []) == (len(answers), [each for answer in answers for each in answer.refusals])
        last = answers[-1].applied_sequence
        assert last == caller.ingest_state(SOURCE, wait_durable=last).durable_sequence
        whole = one_engine(balances, sent, OPEN_MS)
        for account_id in balances:
            snapshot = whole.engine.snapshot(account_id)
            assert snapshot is not None
            found = caller.equity(account_id)
            # A slow disk is no difference: what is not stored soon is flagged, by whoever waits for it.
            found.flags[:] = [each for each in found.flags if each != pb.EQUITY_FLAG_DEGRADED]
            assert encode_read(replace(snapshot, version=found.version)) == found
            expected = {each.symbol_id: encode_position(each) for each in whole.engine.positions(account_id)}
            assert timeless(expected) == timeless(caller.positions(account_id))
    cluster.stop()
    assert slice_hashes(whole.engine.export_state()) == run_apart(stored_hashes(tables.dsn))
    closes: dict[int, list[tuple[int, int, int]]] = {}
    for row in tables.rows(CLOSES):
        closes.setdefault(row["account_id"], []).append((row["ms"], row["total_equity"], row["net_flow"]))
    assert closes_of(whole) == closes


def timeless(positions: dict[int, pb.Position]) -> dict[int, pb.Position]:
    """Positions without the times of the clock at which they, and their marks, last changed."""
    for position in positions.values():
        position.ClearField("last_updated")
        position.ClearField("mark_time")
    return positions
