"""A gateway asks all shards to hold their books against the exchange's tables: one answer, weighed as one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import NamedTuple

import pytest
from evs.v1 import admin_pb2 as pb

from evs_server.clock import SystemClock
from evs_server.cluster.shards import SHARD_COUNT, shard_of
from evs_server.config import load
from evs_server.errors import InvalidRequest, NoOwner
from evs_server.gateway import owners as room
from evs_server.gateway.checks import Checks
from evs_server.gateway.owners import Owners
from evs_server.gateway.progress import Progress
from evs_server.limits import RECOMPUTED_ACCOUNTS_MAX
from evs_server.reconcile.codec import decode_account_ids
from tests.integration.running import Exchange, exchange_at
from tests.log_in_process import LogInProcess
from tests.serving import SetClock, within_patience
from tests.shard_world import Feeder, Worker, committed, shown
from tests.wire import ticks

CASH = {account_id: 1_000_000 * account_id for account_id in range(1, 7)}
PLENTY_CENTS = 10**9
FLOW, TRADES = pb.CORRECTION_KIND_FLOW, pb.CORRECTION_KIND_TRADES


class World(NamedTuple):
    """A worker that owns every virtual shard, and the exchange's tables."""

    worker: Worker
    log: LogInProcess
    feeder: Feeder
    exchange: Exchange

    def checks(self, cents_max: int = PLENTY_CENTS) -> Checks:
        """What a gateway asks with."""
        return Checks(Owners(self.log, SystemClock(), Progress()), cents_max)

    async def reconciled(self, *, repair: bool = False, cents_max: int = PLENTY_CENTS) -> pb.ReconcileResponse:
        return await within_patience(self.checks(cents_max).reconcile(repair=repair))

    async def recomputed(self, *account_ids: int, apply: bool = False) -> list[pb.RecomputedAccount]:
        return list((await within_patience(self.checks().recompute(account_ids, apply=apply))).accounts)

    async def equity_cents(self) -> dict[int, int]:
        """What each account is worth after one more tick."""
        await self.feeder.put(ticks(1))
        await committed(self.worker.shards.values(), self.feeder)
        return {
            each: shown(self.worker.shards[shard_of(each)].core.engine, [each])[each]["equity_cents"] for each in CASH
        }


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with exchange_at(database) as exchange:
        await exchange.register(CASH)
        log = LogInProcess()
        async with Worker(database, log, SetClock(), "worker").entered() as worker:
            settings = load(database_url=database, reconcile_grace_seconds=0.05)
            worker.common = replace(worker.common, settings=settings, clock=SystemClock())
            await worker.take(*range(SHARD_COUNT))
            yield World(worker, log, Feeder(log, SetClock(), CASH), exchange)


async def lose(exchange: Exchange) -> None:
    """Cash of two accounts moves, and a trade of a third is never announced."""
    assert 3 == len({shard_of(each) for each in (1, 2, 3)}), "one virtual shard would not show that several answer"
    await exchange.connection.execute("UPDATE accounts SET currency_balance = currency_balance + 500 WHERE id IN (1,2)")
    await exchange.connection.execute("UPDATE accounts SET currency_balance = currency_balance - 5000 WHERE id = 3")
    await exchange.hold(3, 5, 100_000, 500)
    await exchange.settle(1, 3, 5, "BUY", 100_000, 500)


async def test_all_shards_answer_as_one_and_correct_what_may_be_corrected(world: World) -> None:
    found = await world.reconciled()
    assert (len(CASH), []) == (found.compared_count, list(found.accounts))
    await lose(world.exchange)
    found = await world.reconciled()
    assert {1: 0, 2: 0, 3: 0} == {each.account_id: each.correction for each in found.accounts}
    assert sorted(each.since for each in found.accounts) == [each.since for each in found.accounts]
    assert CASH == await world.equity_cents()
    found = await world.reconciled(repair=True)
    assert {1: FLOW, 2: FLOW, 3: TRADES} == {each.account_id: each.correction for each in found.accounts}
    assert all(each.changes and each.differences for each in found.accounts)
    assert CASH | {1: CASH[1] + 500, 2: CASH[2] + 500} == await world.equity_cents()
    assert [] == list((await world.reconciled()).accounts)


async def test_what_is_too_much_for_one_pass_is_so_for_all_shards_together(world: World) -> None:
    """No account alone comes near the bound."""
    await lose(world.exchange)
    found = await world.reconciled(repair=True, cents_max=5_999)
    assert "3 accounts or more, and 6000 cents, would be corrected" in found.withheld
    assert [0, 0, 0] == [each.correction for each in found.accounts]
    assert CASH == await world.equity_cents()
    assert "" == (await world.reconciled(repair=True, cents_max=6_000)).withheld


async def test_accounts_of_several_shards_are_rebuilt_in_the_order_they_were_named(world: World) -> None:
    await lose(world.exchange)
    previews = await world.recomputed(4, 3, 1, 3)
    assert [(4, False), (3, True), (1, False)] == [(each.account_id, bool(each.changes)) for each in previews]
    applied = await world.recomputed(3, apply=True)
    assert [True] == [each.applied for each in applied]
    assert [] == list((await world.recomputed(3))[0].changes)


async def test_nothing_is_corrected_while_a_shard_has_no_owner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOVING_SECONDS", 0.0)
    await lose(world.exchange)
    await world.worker.give_up(SHARD_COUNT - 1)
    with pytest.raises(NoOwner):
        await world.reconciled(repair=True)
    await world.worker.take(SHARD_COUNT - 1)
    assert CASH == await world.equity_cents()


@pytest.mark.parametrize("account_ids", [[], [0], [-1], [2**53], [1] * (RECOMPUTED_ACCOUNTS_MAX + 1)])
def test_accounts_that_cannot_be_rebuilt_are_a_mistake_of_the_caller(account_ids: list[int]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_account_ids(account_ids)
    assert "account_ids" == refused.value.field
