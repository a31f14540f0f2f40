"""What the simulation has found out about accounts that the exchange creates while EVS runs, each in a few lines."""

from collections.abc import Sequence

from evs_server.model import SettledTrade, Side
from evs_server.store.memory import ExchangeTrade, Tables
from tests.builders import DAY_MS, NOON_MS
from tests.simulation.process import Process, at_once
from tests.wire import a_batch, cash, ticks, trades

ACCOUNT = 7
NEVER_MS = 10**15


def started(tables: Tables) -> Process:
    """EVS from what is stored, the first import done."""
    process = Process(tables, NEVER_MS)
    if not process.recovered.imported:
        process.intake.import_exchange(at_once(process.store.read_exchange()), NOON_MS)
        commit(process)
    return process


def commit(process: Process) -> None:
    process.intake.flush()
    while process.has_unwritten:
        process.attempt(1, NOON_MS)


def look_up(process: Process) -> None:
    process.intake.open_accounts(list(at_once(process.store.read_accounts([ACCOUNT])).values()), NOON_MS)


def take_up(process: Process) -> None:
    """What waits for the account is held against the tables."""
    account = at_once(process.store.read_accounts([ACCOUNT]))[ACCOUNT]
    process.intake.resolve(account, process.intake.last_parked_id, NOON_MS, patient=False)


def settle(tables: Tables, trade: SettledTrade, fee_cents: int) -> None:
    """A purchase of one share, in the tables."""
    tables.trades.append(ExchangeTrade(ACCOUNT, trade))
    tables.balances_cents[ACCOUNT] = (tables.balances_cents[ACCOUNT] or 0) - trade.price_cents - fee_cents


def money(process: Process) -> Sequence[int]:
    """Cash and net flow, valued now."""
    process.intake.take(a_batch(ticks(1)), NOON_MS)
    snapshot = process.engine.snapshot(ACCOUNT)
    assert snapshot is not None
    return snapshot.cash_cents, snapshot.net_flow_cents


def test_a_deposit_found_at_the_load_counts_once_though_a_crash_parts_load_and_announcement() -> None:
    tables = Tables()
    process = started(tables)
    tables.balances_cents[ACCOUNT] = 1_000
    tables.changed.add(ACCOUNT)
    look_up(process)
    process.intake.take(a_batch(ticks(1), cash((ACCOUNT, 1_000)), first=1), NOON_MS)
    process.attempt(1, NOON_MS)  # the flush of the tick, in which the account is, and the deposit is not
    process = started(tables)
    assert 1 == process.sequencer.state("em").applied_sequence
    process.intake.take(a_batch(cash((ACCOUNT, 1_000)), first=2), NOON_MS)
    take_up(process)
    assert (1_000, 1_000) == money(process)


def test_fees_of_a_new_account_count_once_though_the_clock_goes_forth_and_back() -> None:
    tables = Tables()
    process = started(tables)
    tables.balances_cents[ACCOUNT] = 0
    for number in (1, 2, 3):
        settle(tables, SettledTrade(number, 1, Side.BUY, 10_000, 100), fee_cents=3)
        if number == 1:
            look_up(process)
        else:
            commit(process)
            process = started(tables)
        run = trades((ACCOUNT, 1, Side.BUY, 10_000, 100, 3, number))
        process.intake.take(a_batch(run, first=number), NOON_MS + (DAY_MS if number == 2 else 0))
    take_up(process)
    assert (-309, 0) == money(process)


def test_a_trade_without_an_id_that_a_new_account_was_loaded_with_counts_once_though_the_clock_steps() -> None:
    tables = Tables()
    process = started(tables)
    tables.balances_cents[ACCOUNT] = 0
    settle(tables, SettledTrade(1, 1, Side.BUY, 10_000, 100), fee_cents=0)
    look_up(process)
    process.intake.take(a_batch(trades((ACCOUNT, 1, Side.BUY, 10_000, 100, 0, 0)), first=1), NOON_MS + DAY_MS)
    assert (-100, 0) == money(process)
