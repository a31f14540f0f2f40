"""A worker's virtual shards held against the exchange's tables: their books as one, whichever of them are there."""

from collections.abc import AsyncIterator

import pytest

from evs_server.clock import SystemClock
from evs_server.cluster.shards import shard_of
from evs_server.errors import StoreUnavailable
from evs_server.model import Correction, CorrectionKind, Ledger
from evs_server.reconcile.reconciler import Reconciler, Rules
from evs_server.shard.books import UnitedBooks
from evs_server.store.database import Database
from evs_server.store.ledger import LedgerReader
from tests.integration.running import exchange_at
from tests.log_in_process import LogInProcess
from tests.serving import SetClock
from tests.shard_world import Feeder, Worker, committed
from tests.wire import cash, ticks

ALICE, BOB = 1, 2
CASH = {ALICE: 1_000_000, BOB: 2_000_000}


@pytest.fixture
async def worker(database: str) -> AsyncIterator[Worker]:
    async with exchange_at(database) as exchange:
        await exchange.register(CASH)
    async with Worker(database, LogInProcess(), SetClock(), "worker").entered() as worker:
        await worker.take(*map(shard_of, CASH))
        yield worker


def books_of(worker: Worker) -> UnitedBooks:
    return UnitedBooks(lambda: {number: owned.core.books for number, owned in worker.shards.items()})


async def test_a_difference_is_found_and_corrected_in_the_shard_of_its_account(worker: Worker, database: str) -> None:
    """What the tables have more is booked as a flow; the others are left alone."""
    feeder = Feeder(worker.common.event_log, SetClock(), CASH)
    async with exchange_at(database) as exchange:
        await exchange.connection.execute(
            "UPDATE accounts SET currency_balance = currency_balance + 500 WHERE id = $1", ALICE
        )
    ledgers = await Database.open(database)
    rules = Rules(every_seconds=0, grace_seconds=0.05, repair=True, cents_max=10_000)
    reconciler = Reconciler(books_of(worker), LedgerReader(ledgers), SystemClock(), rules)
    report = await reconciler.reconcile(repair=True, requested=True)
    await ledgers.close()
    assert (2, [ALICE]) == (report.compared_count, [found.account_id for found in report.found])
    assert report.found[0].correction is not None
    await feeder.put(cash((BOB, 7)), ticks(1))
    await committed(worker.shards.values(), feeder)
    equity = {
        account_id: equity_cents
        for owned in worker.shards.values()
        for account_id, equity_cents in zip(
            owned.core.engine.latest_snapshots().account_id.tolist(),
            owned.core.engine.latest_snapshots().equity_cents.tolist(),
            strict=True,
        )
    }
    assert {ALICE: 1_000_500, BOB: 2_000_007} == equity


async def test_accounts_of_a_virtual_shard_that_has_gone_are_not_there(worker: Worker) -> None:
    """Whoever looked at them before finds another epoch, and nothing to correct."""
    books = books_of(worker)
    before = books.watermarks()
    assert {ALICE, BOB} == set(books.account_ids())
    await worker.give_up(shard_of(ALICE))
    assert ([BOB], None, False) == (list(books.account_ids()), books.holdings(ALICE), books.is_quiet(ALICE))
    assert () == books.applied_trades(ALICE, ())
    changed = {source for source, mark in books.watermarks().items() if mark[0] != before[source][0]}
    assert {f"virtual shard {shard_of(ALICE)}"} == changed
    correction = Correction(ALICE, CorrectionKind.FLOW, requested=True, flow_cents=500)
    with pytest.raises(StoreUnavailable, match="moved"):
        books.correct(correction, Ledger(ALICE, 0, {}, ()))
