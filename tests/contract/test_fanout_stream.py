"""SubscribeEquity: the current value, every change, the latest for who is slow, and how a stream ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.lifecycle import Phase
from evs_server.limits import EXACT_MAX
from tests.builders import ALICE, BOB, CAROL, KICK, PUNT
from tests.serving import Rooms, Stub, served, until, within_patience
from tests.wire import BUY, SELL, a_batch, cash, prices, refusal, ticks, trades

StatusCode = grpc.StatusCode
GHOST = 404
SHARE = 10_000
OPENING_CENTS = 1_000_000
NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1_024)]
"""Options of a reader whose connection takes in little that it has not asked for."""


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    """Alice, Bob and Carol with their opening cash."""
    rooms = Rooms(dict.fromkeys((ALICE, BOB, CAROL), OPENING_CENTS))
    await rooms.open()
    yield rooms
    await rooms.close()


@pytest.fixture
async def stub(rooms: Rooms, tmp_path: Path) -> AsyncIterator[Stub]:
    async with served(rooms, tmp_path, NARROW) as stub:
        yield stub


class Follower:
    """One reader's stream."""

    def __init__(self, stub: Stub, account_id: int = ALICE) -> None:
        self.call: Any = stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=account_id))

    async def next(self) -> pb.SubscribeEquityResponse:
        message: Any = await within_patience(self.call.read())
        assert isinstance(message, pb.SubscribeEquityResponse)
        return message

    async def until_equity(self, equity_cents: int) -> list[pb.SubscribeEquityResponse]:
        """Everything up to the message that shows this equity."""
        seen = [await self.next()]
        while seen[-1].equity.total_equity != equity_cents:
            seen.append(await self.next())
        return seen


async def deposit_and_complete(rooms: Rooms, account_id: int = ALICE, times: int = 1) -> None:
    """So many ticks, each with a cent more; nobody is given a turn in between."""
    await rooms.gate.take(a_batch(*[run for tick in range(times) for run in (cash((account_id, 1)), ticks(tick))]))


async def test_the_current_value_comes_first_and_then_each_change(rooms: Rooms, stub: Stub) -> None:
    follower = Follower(stub)
    first = await follower.next()
    assert (True, OPENING_CENTS, 0) == (first.snapshot, first.equity.total_equity, first.conflated)
    versions = [first.version]
    for cents in range(1, 6):
        await deposit_and_complete(rooms)
        change = await follower.next()
        assert (False, OPENING_CENTS + cents, 0) == (change.snapshot, change.equity.total_equity, change.conflated)
        versions.append(change.version)
    assert versions == sorted(set(versions))


async def test_stream_read_and_row_say_the_same(rooms: Rooms, stub: Stub) -> None:
    """For every account of every pass, version by version."""
    followers = {account_id: Follower(stub, account_id) for account_id in (ALICE, BOB)}
    for follower in followers.values():
        await follower.next()
    await rooms.gate.take(
        a_batch(
            trades((ALICE, KICK, BUY, 3_333, 777, 2), (BOB, KICK, SELL, 3_333, 777, 0)), prices((PUNT, 5)), ticks(9)
        )
    )
    await rooms.commit()
    for account_id, follower in followers.items():
        change = await follower.next()
        read = await within_patience(stub.GetEquity(pb.GetEquityRequest(account_id=account_id)))
        assert (change.equity, change.version, list(change.flags)) == (read.equity, read.version, list(read.flags))
        [row] = [
            valuation.snapshot(index)
            for valuation in rooms.tables.rows
            if valuation.version == change.version
            for index in places(valuation.account_id.tolist(), account_id)
        ]
        assert (row.equity_cents, row.cash_cents, row.unrealized_cents, row.realized_cents, row.net_flow_cents) == (
            read.equity.total_equity, read.equity.cash_balance, read.equity.unrealized_pnl, read.equity.realized_pnl,
            read.net_flow,
        )  # fmt: skip


def places(account_ids: list[int], account_id: int) -> list[int]:
    """Where an account is in a pass."""
    return [index for index, each in enumerate(account_ids) if each == account_id]


async def test_a_price_reaches_each_holder_once_and_nobody_else(rooms: Rooms, stub: Stub) -> None:
    await rooms.gate.take(a_batch(trades((ALICE, KICK, BUY, SHARE, 100), (BOB, KICK, SELL, SHARE, 100)), ticks(1)))
    alice, bob, carol = (Follower(stub, account_id) for account_id in (ALICE, BOB, CAROL))
    start = {id(each): (await each.next()).version for each in (alice, bob, carol)}
    await rooms.gate.take(a_batch(prices((KICK, 150)), trades((ALICE, KICK, BUY, SHARE, 150)), ticks(2)))
    await rooms.gate.take(a_batch(prices((KICK, 150)), ticks(3)))  # the same price: no change
    await deposit_and_complete(rooms, CAROL)
    changes = [await each.next() for each in (alice, bob)]
    assert [OPENING_CENTS + 50, OPENING_CENTS - 50] == [each.equity.total_equity for each in changes]
    assert 1 == len({each.version for each in changes})
    carols = await carol.next()
    assert OPENING_CENTS + 1 == carols.equity.total_equity
    assert start[id(carol)] < carols.version
    for each in (alice, bob):
        await deposit_and_complete(rooms, ALICE if each is alice else BOB)
        assert 0 == (await each.next()).conflated


async def test_nobody_sees_another_account(rooms: Rooms, stub: Stub) -> None:
    followers = {account_id: Follower(stub, account_id) for account_id in (ALICE, BOB, CAROL)}
    for account_id, follower in followers.items():
        assert account_id == (await follower.next()).equity.account_id
    for cents in range(1, 11):
        for account_id in followers:
            await deposit_and_complete(rooms, account_id)
        for account_id, follower in followers.items():
            for message in await follower.until_equity(OPENING_CENTS + cents):
                assert account_id == message.equity.account_id


async def test_what_came_while_the_reader_had_no_turn_is_counted(rooms: Rooms, stub: Stub) -> None:
    follower = Follower(stub)
    await follower.next()
    await deposit_and_complete(rooms, times=100)
    change = await follower.next()
    assert (OPENING_CENTS + 100, 99) == (change.equity.total_equity, change.conflated)


async def test_a_reader_that_sleeps_skips_to_the_final_value(rooms: Rooms, stub: Stub) -> None:
    """It holds up nobody, and what it skipped is counted to the last one."""
    sleeper, awake = Follower(stub), Follower(stub)
    await sleeper.next()
    await awake.next()
    rounds = 1_500
    for cents in range(1, rounds + 1):
        await deposit_and_complete(rooms)
        await awake.until_equity(OPENING_CENTS + cents)
    seen = await sleeper.until_equity(OPENING_CENTS + rounds)
    assert len(seen) < rounds
    assert rounds == sum(1 + message.conflated for message in seen)
    assert [message.version for message in seen] == sorted({message.version for message in seen})


async def test_an_account_is_looked_up_before_it_is_followed(rooms: Rooms, stub: Stub) -> None:
    rooms.tables.balances_cents[1_001] = 0
    follower = Follower(stub, 1_001)
    first = await follower.next()
    assert (True, 0) == (first.snapshot, first.equity.total_equity)
    rooms.tables.balances_cents[1_001] = 1  # the exchange books first
    await deposit_and_complete(rooms, 1_001)
    assert first.version < (await follower.next()).version


@pytest.mark.parametrize(
    ("code", "field", "account_id"),
    [
        (StatusCode.NOT_FOUND, "", GHOST),
        (StatusCode.INVALID_ARGUMENT, "account_id", 0),
        (StatusCode.INVALID_ARGUMENT, "account_id", -(2**63)),
        (StatusCode.OUT_OF_RANGE, "account_id", EXACT_MAX + 1),
    ],
)
async def test_an_account_that_cannot_be_is_not_followed(
    rooms: Rooms, stub: Stub, code: StatusCode, field: str, account_id: int
) -> None:
    with refusal() as told:
        await Follower(stub, account_id).next()
    assert (code, field) == (told.code, told.field)
    assert 0 == rooms.hub.statistics()["subscriptions"]


async def test_a_quiet_stream_sends_heartbeats(tmp_path: Path) -> None:
    rooms = Rooms({ALICE: OPENING_CENTS}, heartbeat_seconds=0.01)
    await rooms.open()
    async with served(rooms, tmp_path) as stub:
        follower = Follower(stub)
        first = await follower.next()
        for _ in range(3):
            heartbeat = await follower.next()
            assert (False, first.version, False) == (
                heartbeat.HasField("equity"), heartbeat.version, heartbeat.snapshot,
            )  # fmt: skip
        await deposit_and_complete(rooms)
        while not (message := await follower.next()).HasField("equity"):
            pass
        assert (OPENING_CENTS + 1, False) == (message.equity.total_equity, message.snapshot)


async def test_shutting_down_ends_every_stream(rooms: Rooms, stub: Stub) -> None:
    followers = [Follower(stub, account_id) for account_id in (ALICE, BOB)]
    for follower in followers:
        await follower.next()
    rooms.lifecycle.enter(Phase.STOPPING)
    for follower in followers:
        with refusal() as told:
            await follower.next()
        assert (StatusCode.UNAVAILABLE, "SHUTTING_DOWN") == (told.code, told.reason)
    assert 0 == rooms.hub.statistics()["subscriptions"]


async def test_a_stream_is_not_opened_before_or_after(rooms: Rooms, stub: Stub) -> None:
    rooms.lifecycle.enter(Phase.STOPPING)
    with refusal() as told:
        await Follower(stub).next()
    assert StatusCode.UNAVAILABLE == told.code


async def test_readers_that_come_and_go_leave_nothing_behind(rooms: Rooms, stub: Stub) -> None:
    """FAULTS 24: mailboxes, wakers and tasks return to where they were."""
    before = len(asyncio.all_tasks())
    for _ in range(5):
        followers = [Follower(stub, account_id) for account_id in (ALICE, BOB) for _ in range(50)]
        for follower in followers:
            await follower.next()
        assert {"followed_accounts": 2, "subscriptions": 100} == rooms.hub.statistics()
        for follower in followers:
            follower.call.cancel()
        await until(lambda: rooms.hub.statistics() == {"followed_accounts": 0, "subscriptions": 0})
    await until(lambda: len(asyncio.all_tasks()) <= before)
    assert set() == rooms.servicer._wakers
