"""Reconciliation on a real database: the exchange writes its tables, EVS is told of less than that, and says so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from evs.v1 import admin_pb2 as pb
from evs.v1 import admin_pb2_grpc, evs_pb2

from evs_server.reconcile.reconciler import CHUNK_ACCOUNTS
from tests.builders import ALICE, BOB, KICK, PUNT, SHARE_BP
from tests.integration.running import Evs, Exchange, exchange_at, running
from tests.patience import PATIENCE_SECONDS
from tests.serving import within_patience
from tests.wire import BUY, SELL, cash, prices, refusal, ticks, trades

if TYPE_CHECKING:
    from evs.v1.admin_pb2_grpc import AdminServiceAsyncStub

OPENING_CENTS = 1_000_000
GRACE_SECONDS = 0.05
LONG_GRACE_SECONDS = 0.5


class Site:
    """An EVS that holds its books against an exchange's tables, which settle all that the test says."""

    def __init__(self, evs: Evs, exchange: Exchange, admin: "AdminServiceAsyncStub") -> None:
        self.evs, self.exchange, self.admin = evs, exchange, admin
        self._trade_id = 0

    async def settle(self, account: int, side: str, shares: int, price: int, *, symbol: int = KICK) -> int:
        """What AccountService does; the id of the trade."""
        signed = shares * SHARE_BP if side == "BUY" else -shares * SHARE_BP
        self._trade_id += 1
        await self.exchange.settle(self._trade_id, account, symbol, side, shares * SHARE_BP, price)
        await self.exchange.connection.execute(
            "INSERT INTO positions (account_id, symbol_id, quantity, avg_cost) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (account_id, symbol_id) DO UPDATE SET quantity = positions.quantity + excluded.quantity",
            account, symbol, signed, price,
        )  # fmt: skip
        await self.pay(account, -signed * price // SHARE_BP)
        return self._trade_id

    async def pay(self, account: int, amount: int) -> None:
        """Money moves on the exchange."""
        await self.exchange.connection.execute(
            "UPDATE accounts SET currency_balance = currency_balance + $2 WHERE id = $1", account, amount
        )

    async def announce(self, account: int, side: evs_pb2.TradeSide, shares: int, price: int, trade_id: int = 0) -> None:
        """EVS is told of a trade, and a tick completes."""
        await self.evs.send(trades((account, KICK, side, shares * SHARE_BP, price, 0, trade_id)), ticks(1))

    async def reconcile(self, *, repair: bool = False) -> pb.ReconcileResponse:
        return await within_patience(self.admin.Reconcile(pb.ReconcileRequest(repair=repair)))

    async def recompute(self, *account_ids: int, apply: bool = False) -> list[pb.RecomputedAccount]:
        request = pb.RecomputeRequest(account_ids=account_ids, apply=apply)
        return list((await within_patience(self.admin.Recompute(request))).accounts)

    async def equity(self, account: int) -> tuple[int, int, int, int]:
        """Cash, equity, net flow and realized after the next tick; on the way, the identity is checked."""
        await self.evs.send(ticks(1))
        answer = await self.evs.read(account)
        equity = answer.equity
        assert equity.total_equity - answer.net_flow == equity.realized_pnl + equity.unrealized_pnl
        return equity.cash_balance, equity.total_equity, answer.net_flow, equity.realized_pnl

    async def record(self) -> list[tuple[Any, ...]]:
        """What was corrected, as the database has it."""
        await self.evs.stored()
        return await self.exchange.numbers(
            "SELECT account_id, kind, field, symbol_id, before, after FROM evs.correction ORDER BY id"
        )

    async def wait_looked(self) -> None:
        """Return once a first look has seen a difference."""
        reconciler = self.evs.application._admin._reconciler
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reconciler._watch.undecided():  # noqa: ASYNC110 -- a look tells nobody
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def a_site(database: str, directory: Path, exchange: Exchange, **settings: Any) -> AsyncIterator[Site]:
    given = {"reconcile_seconds": 0, "reconcile_grace_seconds": GRACE_SECONDS} | settings
    async with (
        running(database, directory, **given) as evs,
        grpc.aio.insecure_channel(evs.application.address) as channel,
    ):
        stub: AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
        yield Site(evs, exchange, stub)


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    """The exchange, with two accounts."""
    async with exchange_at(database) as exchange:
        await exchange.register(dict.fromkeys((ALICE, BOB), OPENING_CENTS))
        yield exchange


@pytest.fixture
async def site(database: str, tmp_path: Path, exchange: Exchange) -> AsyncIterator[Site]:
    async with a_site(database, tmp_path, exchange) as site:
        yield site


def shown(account: pb.AccountDifference) -> list[tuple[int, int, int, int]]:
    return [(each.field, each.symbol_id, each.ours, each.theirs) for each in account.differences]


async def test_books_that_agree_are_said_to(site: Site) -> None:
    """Trades told of, a short, a closed position: all as the exchange has it, whatever its average costs."""
    for side, wire_side, shares, price in [("BUY", BUY, 10, 501), ("SELL", SELL, 10, 499), ("SELL", SELL, 3, 77)]:
        await site.announce(ALICE, wire_side, shares, price, await site.settle(ALICE, side, shares, price))
    response = await site.reconcile()
    assert (2, 0, []) == (response.compared_count, response.busy_count, list(response.accounts))


async def test_more_accounts_than_are_read_at_once_are_all_compared(
    database: str, tmp_path: Path, exchange: Exchange
) -> None:
    last = BOB + CHUNK_ACCOUNTS
    await exchange.register(dict.fromkeys(range(BOB + 1, last + 1), OPENING_CENTS))
    async with a_site(database, tmp_path, exchange) as site:
        await site.pay(last, 250)
        response = await site.reconcile()
    assert (CHUNK_ACCOUNTS + 2, [last]) == (response.compared_count, [each.account_id for each in response.accounts])


async def test_unannounced_cash_is_reported_and_only_on_request_booked_as_a_flow(site: Site) -> None:
    """Booked it is no profit, it is recorded, and later looks agree."""
    await site.pay(ALICE, 250)
    [account] = (await site.reconcile()).accounts
    assert [(pb.DIFFERENCE_FIELD_CASH, 0, OPENING_CENTS, OPENING_CENTS + 250)] == shown(account)
    assert ("cash moved that was never announced, and no trade", 0) == (account.finding, account.correction)
    assert (OPENING_CENTS, []) == ((await site.equity(ALICE))[0], await site.record())
    [account] = (await site.reconcile(repair=True)).accounts
    assert pb.CORRECTION_KIND_FLOW == account.correction
    assert (OPENING_CENTS + 250, OPENING_CENTS + 250, OPENING_CENTS + 250, 0) == await site.equity(ALICE)
    assert [
        (ALICE, "flow", "cash", None, OPENING_CENTS, OPENING_CENTS + 250),
        (ALICE, "flow", "net_flow", None, OPENING_CENTS, OPENING_CENTS + 250),
    ] == await site.record()
    assert [] == list((await site.reconcile(repair=True)).accounts)


async def test_a_flow_that_is_announced_after_it_was_booked_does_not_count_twice(site: Site) -> None:
    """The announcement is held against the tables, and a later one still counts."""
    await site.pay(ALICE, 250)
    await site.reconcile(repair=True)
    await site.evs.send(cash((ALICE, 250)))
    await site.exchange.wait_for("SELECT count(*) = 0 FROM evs.parked")
    await site.pay(ALICE, 30)
    await site.evs.send(cash((ALICE, 30)))
    loader_is_done = site.evs.application._admin._reconciler._books
    async with asyncio.timeout(PATIENCE_SECONDS):
        while loader_is_done._clearing.parked.holds(ALICE):  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert OPENING_CENTS + 280 == (await site.equity(ALICE))[0]
    assert [] == list((await site.reconcile()).accounts)


async def test_trades_that_were_lost_are_applied_from_their_rows_never_as_a_flow(site: Site) -> None:
    """Cost and profit are those of the trades, and net flow is what it was."""
    first = await site.settle(ALICE, "BUY", 10, 500)
    await site.announce(ALICE, BUY, 10, 500, first)
    await site.settle(ALICE, "SELL", 4, 600)
    [account] = (await site.reconcile(repair=True)).accounts
    assert [
        (pb.DIFFERENCE_FIELD_CASH, 0, 995_000, 997_400),
        (pb.DIFFERENCE_FIELD_QUANTITY, KICK, 100_000, 60_000),
    ] == shown(account)
    assert (pb.CORRECTION_KIND_TRADES, "trades were never announced: row 2") == (account.correction, account.finding)
    assert (997_400, 1_000_400, OPENING_CENTS, 400) == await site.equity(ALICE)
    assert ["trades"] * 5 == [kind for _, kind, *_ in await site.record()]


@pytest.mark.parametrize("with_id", [True, False])
async def test_a_trade_that_is_announced_after_it_was_repaired_does_not_count_twice(site: Site, with_id: bool) -> None:
    """By its settlement id, or by its content; the next one of the same content counts again."""
    for _ in range(2):
        trade_id = await site.settle(ALICE, "BUY", 10, 500)
        await site.reconcile(repair=True)
        await site.announce(ALICE, BUY, 10, 500, trade_id if with_id else 0)
    assert (990_000, 1_000_000, OPENING_CENTS, 0) == await site.equity(ALICE)
    await site.settle(ALICE, "BUY", 10, 500)
    await site.announce(ALICE, BUY, 10, 500)
    assert (985_000, 1_000_000, OPENING_CENTS, 0) == await site.equity(ALICE)
    assert [] == list((await site.reconcile()).accounts)


async def test_a_settlement_that_is_half_done_is_no_difference(
    database: str, tmp_path: Path, exchange: Exchange
) -> None:
    """F29: the balance is written, the rest and the announcement follow within the grace period."""
    async with a_site(database, tmp_path, exchange, reconcile_grace_seconds=LONG_GRACE_SECONDS) as site:
        await site.pay(ALICE, -5_000)
        under_way = asyncio.create_task(site.reconcile(repair=True))
        await site.wait_looked()
        await site.pay(ALICE, 5_000)
        await site.announce(ALICE, BUY, 10, 500, await site.settle(ALICE, "BUY", 10, 500))
        assert [] == list((await under_way).accounts)
        assert (995_000, 1_000_000, OPENING_CENTS, 0) == await site.equity(ALICE)


async def test_a_settlement_that_stayed_half_done_is_reported_and_left_alone(site: Site) -> None:
    """A position without a trade: nothing that EVS knows of could account for it."""
    await site.exchange.hold(ALICE, PUNT, 7, 100)
    [account] = (await site.reconcile(repair=True)).accounts
    assert [(pb.DIFFERENCE_FIELD_QUANTITY, PUNT, 0, 7)] == shown(account)
    assert ("no rows of trades account for it", 0) == (account.finding, account.correction)
    assert [] == await site.record()


async def test_an_account_with_something_under_way_is_left_alone(site: Site) -> None:
    """It traded and no tick has completed since: whatever differs may be on its way."""
    await site.evs.send(trades((ALICE, KICK, BUY, SHARE_BP, 500)))
    response = await site.reconcile(repair=True)
    assert (1, 1, []) == (response.compared_count, response.busy_count, list(response.accounts))


async def test_nothing_is_corrected_if_it_would_be_too_much(database: str, tmp_path: Path, exchange: Exchange) -> None:
    """A hundred small corrections may be right; one pass that moves more money than this is not."""
    async with a_site(database, tmp_path, exchange, reconcile_cents_max=999) as site:
        await site.pay(ALICE, 500)
        await site.pay(BOB, -500)
        response = await site.reconcile(repair=True)
        assert [0, 0] == [account.correction for account in response.accounts]
        assert "2 accounts or more, and 1000 cents" in response.withheld
        assert [] == await site.record()
        await site.pay(BOB, 500)
        assert [pb.CORRECTION_KIND_FLOW] == [
            account.correction for account in (await site.reconcile(repair=True)).accounts
        ]


async def test_an_account_that_is_gone_is_reported(site: Site) -> None:
    await site.exchange.connection.execute("DELETE FROM accounts WHERE id = $1", BOB)
    [account] = (await site.reconcile(repair=True)).accounts
    assert [(pb.DIFFERENCE_FIELD_ACCOUNT, 0, 1, 0)] == shown(account)
    assert "the exchange's tables do not have the account" == account.finding


async def test_a_correction_survives_a_restart(database: str, tmp_path: Path, exchange: Exchange) -> None:
    """It is flushed as an event is, and with its record; the announcement is expected by the successor too."""
    async with a_site(database, tmp_path, exchange) as site:
        trade_id = await site.settle(ALICE, "BUY", 10, 500)
        await site.reconcile(repair=True)
    async with a_site(database, tmp_path, exchange) as site:
        assert 3 == len(await site.record())
        await site.announce(ALICE, BUY, 10, 500, trade_id)
        assert (995_000, 1_000_000, OPENING_CENTS, 0) == await site.equity(ALICE)


async def test_the_background_corrects_if_it_is_told_to(database: str, tmp_path: Path, exchange: Exchange) -> None:
    """Unless a person asked, the record says who did it."""
    settings = {"reconcile_seconds": 1, "reconcile_repair": True}
    async with a_site(database, tmp_path, exchange, **settings) as site:
        await site.pay(ALICE, 250)
        await exchange.wait_for("SELECT count(*) = 2 FROM evs.correction WHERE reason LIKE '%background check'")
        assert OPENING_CENTS + 250 == (await site.equity(ALICE))[0]
        statistics = site.evs.application._admin._reconciler.statistics()
        assert (1, 0) == (statistics.corrected_count, statistics.failed_pass_count)


# --- recompute ---------------------------------------------------------------------------------------------------


async def test_a_recompute_shows_what_would_change_and_changes_it_on_request(
    database: str, tmp_path: Path, exchange: Exchange
) -> None:
    """An account was imported with an average in whole cents; its trades know better."""
    for trade_id, side, shares, price in [(1, "BUY", 3, 100), (2, "BUY", 1, 101), (3, "SELL", 2, 110)]:
        await exchange.settle(trade_id, ALICE, KICK, side, shares * SHARE_BP, price)
    await exchange.hold(ALICE, KICK, 2 * SHARE_BP, 100)
    async with a_site(database, tmp_path, exchange) as site:
        await site.evs.send(prices((KICK, 120)))
        assert (OPENING_CENTS, OPENING_CENTS + 240, OPENING_CENTS + 200, 0) == await site.equity(ALICE)
        changes = [
            (pb.CORRECTED_FIELD_NET_FLOW, 0, 1_000_200, 1_000_181),
            (pb.CORRECTED_FIELD_REALIZED, 0, 0, 20),
            (pb.CORRECTED_FIELD_BASIS, KICK, 200, 201),
            (pb.CORRECTED_FIELD_POSITION_REALIZED, KICK, 0, 20),
        ]
        for apply in (False, True):
            [account] = await site.recompute(ALICE, apply=apply)
            assert changes == [(each.field, each.symbol_id, each.before, each.after) for each in account.changes]
            assert (apply, "") == (account.applied, account.note)
        assert (OPENING_CENTS, OPENING_CENTS + 240, OPENING_CENTS + 181, 20) == await site.equity(ALICE)
        assert ["recompute"] * 4 == [kind for _, kind, *_ in await site.record()]
        [again] = await site.recompute(ALICE, apply=True)
        assert (False, []) == (again.applied, list(again.changes))


async def test_an_account_that_trades_is_not_rebuilt_under_way(
    database: str, tmp_path: Path, exchange: Exchange
) -> None:
    """Its newest row may be on its way to EVS, and would count twice."""
    async with a_site(database, tmp_path, exchange, reconcile_grace_seconds=LONG_GRACE_SECONDS) as site:
        trade_id = await site.settle(ALICE, "BUY", 10, 500)
        rebuilding = asyncio.create_task(site.recompute(ALICE, BOB, apply=True))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not site.evs.application._admin._recompute.waiting_count:  # noqa: ASYNC110 -- a wait tells nobody
                await asyncio.sleep(0)
        await site.announce(ALICE, BUY, 10, 500, trade_id)
        alice, bob = await rebuilding
        assert (False, "it is trading, so nothing was changed; try again when it is quiet") == (
            alice.applied,
            alice.note,
        )
        assert (False, []) == (bob.applied, list(bob.changes))
        assert (995_000, 1_000_000, OPENING_CENTS, 0) == await site.equity(ALICE)


@pytest.mark.parametrize("account_ids", [(), (0,), (-1,), (2**53,), tuple(range(1, 102))])
async def test_accounts_that_cannot_be_are_refused(site: Site, account_ids: tuple[int, ...]) -> None:
    with refusal() as told:
        await site.recompute(*account_ids)
    assert (grpc.StatusCode.INVALID_ARGUMENT, "account_ids") == (told.code, told.field)


async def test_an_account_that_nobody_has_loaded_is_said_to_be_so(site: Site) -> None:
    [account] = await site.recompute(4711)
    assert ("EVS has not loaded it: it will be, as the fold of its trades", False) == (account.note, account.applied)
