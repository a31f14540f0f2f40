"""F29: the exchange settles in statements without a transaction, and EVS reads in the middle of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from evs.v1 import admin_pb2, admin_pb2_grpc

from tests.builders import ALICE, KICK
from tests.integration.running import exchange_at, running
from tests.serving import within_patience
from tests.wire import BUY, ticks, trades

if TYPE_CHECKING:
    from evs.v1.admin_pb2_grpc import AdminServiceAsyncStub

LATE = 77
OPENING_CENTS = 1_000_000
SHARES_BP = 100_000
GRACE_SECONDS = 0.05

STATEMENTS = {
    "balance": f"UPDATE accounts SET currency_balance = currency_balance - 5000 WHERE id = {LATE}",
    "position": "INSERT INTO positions (account_id, symbol_id, quantity, avg_cost)"
    f" VALUES ({LATE}, {KICK}, 100000, 500)",
    "trade": "INSERT INTO trades (id, account_id, symbol_id, side, quantity, price, order_id)"
    f" VALUES (41, {LATE}, {KICK}, 'BUY', 100000, 500, 1)",
}


@pytest.mark.parametrize("done", range(len(STATEMENTS) + 1))
@pytest.mark.parametrize("order", [("balance", "position", "trade"), ("trade", "position", "balance")])
async def test_f29_an_account_that_is_read_in_the_middle_of_a_settlement_is_put_right(
    order: tuple[str, ...], done: int, database: str, tmp_path: Path
) -> None:
    """Whatever the read saw: once all is announced and reconciled, books and tables agree, to the cent."""
    async with exchange_at(database) as exchange:
        await exchange.register({ALICE: OPENING_CENTS})
        async with (
            running(database, tmp_path, reconcile_seconds=0, reconcile_grace_seconds=GRACE_SECONDS) as evs,
            grpc.aio.insecure_channel(evs.application.address) as channel,
        ):
            await exchange.register({LATE: OPENING_CENTS})
            for name in order[:done]:
                await exchange.connection.execute(STATEMENTS[name])
            await evs.read(LATE)
            for name in order[done:]:
                await exchange.connection.execute(STATEMENTS[name])
            await evs.send(trades((LATE, KICK, BUY, SHARES_BP, 500, 0, 41)), ticks(1))
            admin: AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
            await within_patience(admin.Reconcile(admin_pb2.ReconcileRequest(repair=True)))
            await evs.send(ticks(2))
            found = await evs.read(LATE)
            assert (995_000, OPENING_CENTS, OPENING_CENTS, 0) == (
                found.equity.cash_balance,
                found.equity.total_equity,
                found.net_flow,
                found.equity.realized_pnl,
            )
            left = await within_patience(admin.Reconcile(admin_pb2.ReconcileRequest()))
            assert [] == list(left.accounts)
