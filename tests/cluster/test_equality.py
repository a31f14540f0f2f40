"""Days of prints through a gateway and three workers are, to the cent and by digest, what one process makes of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.cluster.shards import SHARD_COUNT, WHOLE, shards_of
from evs_server.engine import state
from evs_server.exchange.ledger import Trade
from evs_server.exchange.matching import planned
from evs_server.exchange.prints import Print, Tape
from evs_server.model import EngineState
from evs_server.store.database import Database
from evs_server.store.postgres import PostgresStore
from tests.cluster.deployment import Cluster, started
from tests.database import DatabaseServer, run_apart
from tests.e2e.caller import BUY, SELL, Caller
from tests.e2e.exchange_tables import ExchangeTables, exchange_database
from tests.e2e.processes import serving
from tests.patience import eventually
from tests.prints import made_up_prints, real_tapes
from tests.wire import cash, ticks, trades

SOURCE = "replay"


def made_up_tapes(folder: Path, print_count: int) -> list[Tape]:
    """Two days of two stocks: many prints at one time, prices that wander, as the real tape has them."""
    days = ("20131007", "20131008")
    each = print_count // 4
    return [
        Tape.checked([made_up_prints(folder, name, day, each, seconds=3_600) for name in ("ibm", "aig")])
        for day in days
    ]


def requests(
    prints: Iterable[Print], account_ids: Sequence[int], trades_per_batch: int
) -> Iterator[pb.StreamEventsRequest]:
    """The prints as a sender's batches, a few deposits among them."""
    draw, sequence, settlement = Random(1), 1, 0
    for batch in planned(prints, account_ids, seed=1, tick_ms=60_000, trades_per_batch=trades_per_batch):
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


def opened(tables: ExchangeTables, count: int) -> list[int]:
    """Accounts with some money, the same in each database."""
    draw = Random(7)
    return [tables.open_account(draw.randrange(10**6, 10**8)) for _ in range(count)]


class Served(NamedTuple):
    """What is said of each account: its newest value, and its positions."""

    values: dict[int, pb.GetEquityResponse]
    positions: dict[int, dict[int, pb.Position]]


def served(caller: Caller, account_ids: Sequence[int]) -> Served:
    """What is said of all, but for what may differ: versions, clock times, and whether the disk was slow just now."""
    found = Served({each: caller.equity(each) for each in account_ids}, {})
    for value in found.values.values():
        value.ClearField("version")
        value.flags[:] = [each for each in value.flags if each != pb.EQUITY_FLAG_DEGRADED]
    for account_id in account_ids:
        found.positions[account_id] = caller.positions(account_id)
        for position in found.positions[account_id].values():
            position.ClearField("last_updated")
            position.ClearField("mark_time")
    return found


def send(caller: Caller, sent: Sequence[pb.StreamEventsRequest], half_way: Callable[[], object]) -> None:
    """Return once all is durable; nothing may be refused."""
    answered = 0
    for answer in caller.stream(iter(sent)):
        assert [] == list(answer.refusals)
        answered += answer.batch_answer
        if answer.batch_answer and answered == len(sent) // 2:
            half_way()
    assert len(sent) == answered
    last = caller.ingest_state(SOURCE).applied_sequence
    assert last == caller.ingest_state(SOURCE, wait_durable=last).durable_sequence


async def stored(dsn: str, *shards: int) -> list[EngineState]:
    """What is committed of each slice, or of the whole, as the next to start would read it."""
    database = await Database.open(dsn)
    try:
        return [(await PostgresStore(database, shard=shard).recover()).state for shard in shards]
    finally:
        await database.close()


def slices(whole: EngineState) -> list[EngineState]:
    """What each virtual shard should hold of the state of one process."""

    def part(columns: Any, shard: int) -> Any:
        row = shards_of(columns.account_id) == shard
        return type(columns)(*(getattr(columns, field.name)[row] for field in fields(columns)))

    return [
        replace(whole, accounts=part(whole.accounts, shard), positions=part(whole.positions, shard))
        for shard in range(SHARD_COUNT)
    ]


CLOSES = """
SELECT account_id, timestamp, total_equity, net_flow, flags
FROM equity_timeseries WHERE timestamp = ANY (SELECT closed_at FROM evs.closed_session) ORDER BY account_id, timestamp
"""

OPEN_SESSIONS = """
SELECT shard FROM evs.engine WHERE session_start_ms >= 0 AND NOT EXISTS (
    SELECT FROM evs.closed_session
    WHERE closed_session.shard = engine.shard AND closed_at >= to_timestamp(session_start_ms / 1000.0)
)
"""


def await_closes(tables: ExchangeTables) -> None:
    """Closes are made up from what is stored, a moment later; whoever is stopped before makes them up at its start."""
    eventually(lambda: not tables.rows(OPEN_SESSIONS), "every session that has rolled is closed")


class Rehearsal:
    """
    Prints through one process, and then through a cluster, each with the exchange's database of its own.

    Args:
        server: Where the databases are.
        cluster: Three workers and a gateway, not started yet.
        tables: The cluster's database.
        folder: Of the process.
    """

    def __init__(self, server: DatabaseServer, cluster: Cluster, tables: ExchangeTables, folder: Path) -> None:
        self._server, self._cluster, self._tables, self._folder = server, cluster, tables, folder

    def run(
        self,
        prints: Iterable[Print],
        account_count: int,
        trades_per_batch: int,
        half_way: Callable[[], object] = lambda: None,
    ) -> None:
        """Newest values, positions, session closes, and by virtual shard the digest of all that decides what comes."""
        account_ids = opened(self._tables, account_count)
        sent = list(requests(prints, account_ids, trades_per_batch))
        with exchange_database(self._server) as tables:
            assert account_ids == opened(tables, account_count)
            with serving(tables.dsn, self._folder / "one") as (process, address), Caller(address) as caller:
                send(caller, sent, lambda: None)
                expected = served(caller, account_ids)
                await_closes(tables)
                assert 0 == process.terminate(), process.said
            [whole] = run_apart(stored(tables.dsn, WHOLE))
            closes = tables.rows(CLOSES)
        address = started(self._cluster)
        with Caller(address) as caller:
            send(caller, sent, half_way)
            # What a gateway has yet to hear after a shard has moved, it asks for: a moment later than of a commit.
            eventually(lambda: expected == served(caller, account_ids), "the gateway says what one process does")
        await_closes(self._tables)
        self._cluster.stop()
        found = run_apart(stored(self._tables.dsn, *range(SHARD_COUNT)))
        assert [state.digest(each) for each in slices(whole)] == [state.digest(each) for each in found]
        assert closes
        assert closes == self._tables.rows(CLOSES)


def kill_one(cluster: Cluster) -> None:
    """End a worker as a crash would."""
    cluster.shards[0].kill()


@pytest.fixture
def rehearsal(system_server: DatabaseServer, cluster: Cluster, tables: ExchangeTables, tmp_path: Path) -> Rehearsal:
    """One process and a cluster, to be held against each other."""
    return Rehearsal(system_server, cluster, tables, tmp_path)


def test_three_workers_are_one_process_to_the_cent(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Prints that were made up, some hundreds."""
    rehearsal.run(chain(*made_up_tapes(tmp_path, 400)), account_count=60, trades_per_batch=40)


@pytest.mark.faults
@pytest.mark.parametrize("real", [False, True], ids=["made up", "real"])
def test_with_a_worker_killed_half_way_all_prints_count_once(
    rehearsal: Rehearsal, cluster: Cluster, tmp_path: Path, real: bool
) -> None:
    """Tens of thousands, at the pace of the log: what the worker had not committed is read again by others."""
    tapes = real_tapes() if real else made_up_tapes(tmp_path, 10_000)
    prints = chain(*(islice(tape, 25_000) for tape in tapes))
    rehearsal.run(prints, 200, trades_per_batch=1_000, half_way=partial(kill_one, cluster))
