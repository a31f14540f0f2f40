"""WatchEquity: many accounts on one stream, each as if it had a stream of its own; and every account at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.lifecycle import Phase
from evs_server.limits import EXACT_MAX, WATCH_CHANGES_MAX, WATCH_UPDATES_MAX
from tests.builders import ALICE, BOB, CAROL, KICK
from tests.serving import Rooms, Stub, served, until, within_patience
from tests.wire import BUY, SELL, a_batch, cash, prices, refusal, ticks, trades

StatusCode = grpc.StatusCode
DAVE, GHOST = 1_001, 404
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


class Watcher:
    """One stream of many accounts, and what it last said of each."""

    def __init__(self, stub: Stub) -> None:
        self.call: Any = stub.WatchEquity()
        self.equity_cents: dict[int, int] = {}

    async def ask(self, *, add: Sequence[int] = (), remove: Sequence[int] = (), everyone: bool = False) -> None:
        """Change what is followed."""
        await within_patience(self.call.write(pb.WatchEquityRequest(add=add, remove=remove, all=everyone)))

    async def next(self) -> pb.WatchEquityResponse:
        message: Any = await within_patience(self.call.read())
        assert isinstance(message, pb.WatchEquityResponse)
        for update in message.updates:
            self.equity_cents[update.equity.account_id] = update.equity.total_equity
        return message

    async def updates(self, count: int) -> list[pb.SubscribeEquityResponse]:
        """The next updates, as many as are waited for, however they are batched."""
        seen: list[pb.SubscribeEquityResponse] = []
        while len(seen) < count:
            seen.extend((await self.next()).updates)
        assert count == len(seen)
        return seen


async def deposit_and_complete(rooms: Rooms, *account_ids: int, cents: int = 1) -> None:
    """One tick in which these accounts get some cents."""
    await rooms.gate.take(a_batch(*(cash((account_id, cents)) for account_id in account_ids), ticks(1)))


def said(updates: Sequence[pb.SubscribeEquityResponse]) -> dict[int, tuple[bool, int, int]]:
    """Of each account whether it was a snapshot, its equity, and how many were skipped."""
    found = {each.equity.account_id: (each.snapshot, each.equity.total_equity, each.conflated) for each in updates}
    assert len(found) == len(updates)
    return found


async def test_each_account_begins_with_its_value_and_goes_on_with_its_changes(rooms: Rooms, stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(add=[BOB, ALICE])
    assert dict.fromkeys((ALICE, BOB), (True, OPENING_CENTS, 0)) == said(await watcher.updates(2))
    await deposit_and_complete(rooms, BOB, CAROL)
    assert {BOB: (False, OPENING_CENTS + 1, 0)} == said(await watcher.updates(1))
    await deposit_and_complete(rooms, ALICE, BOB)
    assert {ALICE: (False, OPENING_CENTS + 1, 0), BOB: (False, OPENING_CENTS + 2, 0)} == said(await watcher.updates(2))


async def test_the_values_of_one_pass_come_in_one_message(rooms: Rooms, stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(add=[ALICE, BOB, CAROL])
    await watcher.updates(3)
    await deposit_and_complete(rooms, ALICE, BOB, CAROL)
    message = await watcher.next()
    assert (3, 1) == (len(message.updates), len({update.version for update in message.updates}))


@pytest.mark.parametrize("everyone", [False, True])
async def test_a_watch_says_the_same_as_a_read(rooms: Rooms, stub: Stub, everyone: bool) -> None:
    """Account by account, flags and all, whether asked for one by one or together."""
    watcher = Watcher(stub)
    await watcher.ask(add=[] if everyone else [ALICE, BOB], everyone=everyone)
    await watcher.updates(3 if everyone else 2)
    await rooms.gate.take(
        a_batch(
            trades((ALICE, KICK, BUY, 3_333, 777, 2), (BOB, KICK, SELL, 3_333, 777, 0)), prices((KICK, 5)), ticks(9)
        )
    )
    for update in await watcher.updates(2):
        read = await within_patience(stub.GetEquity(pb.GetEquityRequest(account_id=update.equity.account_id)))
        assert (read.equity, read.version, list(read.flags)) == (update.equity, update.version, list(update.flags))


async def test_what_is_followed_may_change_at_any_time(rooms: Rooms, stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(add=[ALICE])
    await watcher.updates(1)
    await watcher.ask(add=[BOB], remove=[ALICE])
    assert {BOB: (True, OPENING_CENTS, 0)} == said(await watcher.updates(1))
    await deposit_and_complete(rooms, ALICE, BOB, CAROL)
    assert {BOB: (False, OPENING_CENTS + 1, 0)} == said(await watcher.updates(1))


async def test_an_account_that_is_removed_and_added_begins_anew(stub: Stub) -> None:
    watcher = Watcher(stub)
    for _ in range(3):
        await watcher.ask(add=[ALICE], remove=[ALICE])
        assert {ALICE: (True, OPENING_CENTS, 0)} == said(await watcher.updates(1))


async def test_an_account_that_is_added_twice_changes_nothing(rooms: Rooms, stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(add=[ALICE, ALICE])
    await watcher.ask(add=[ALICE, BOB])
    assert {ALICE: (True, OPENING_CENTS, 0), BOB: (True, OPENING_CENTS, 0)} == said(await watcher.updates(2))
    await deposit_and_complete(rooms, ALICE)
    assert {ALICE: (False, OPENING_CENTS + 1, 0)} == said(await watcher.updates(1))


async def test_an_account_that_does_not_exist_is_named_and_harms_no_other(rooms: Rooms, stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(add=[GHOST, ALICE])
    messages = [await watcher.next(), await watcher.next()]
    assert [[GHOST]] == [list(message.refused_account_ids) for message in messages if message.refused_account_ids]
    assert [ALICE] == [update.equity.account_id for message in messages for update in message.updates]
    rooms.tables.balances_cents[GHOST] = 7  # it registers after all
    await watcher.ask(add=[GHOST])
    assert {GHOST: (True, 7, 0)} == said(await watcher.updates(1))


async def test_an_account_that_nobody_knew_is_looked_up(rooms: Rooms, stub: Stub) -> None:
    rooms.tables.balances_cents[DAVE] = 5
    watcher = Watcher(stub)
    await watcher.ask(add=[DAVE])
    assert {DAVE: (True, 5, 0)} == said(await watcher.updates(1))


async def test_who_follows_everyone_begins_with_everyone_and_meets_who_comes_later(rooms: Rooms, stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(everyone=True)
    assert dict.fromkeys((ALICE, BOB, CAROL), (True, OPENING_CENTS, 0)) == said(await watcher.updates(3))
    rooms.tables.balances_cents[DAVE] = 5
    await rooms.gate.ensure([DAVE])
    assert {DAVE: (False, 5, 0)} == said(await watcher.updates(1))
    await deposit_and_complete(rooms, BOB)
    assert {BOB: (False, OPENING_CENTS + 1, 0)} == said(await watcher.updates(1))


async def test_following_everyone_takes_the_place_of_single_accounts(rooms: Rooms, stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(add=[ALICE])
    await watcher.updates(1)
    await watcher.ask(everyone=True)
    await watcher.updates(3)
    await deposit_and_complete(rooms, ALICE)
    assert {ALICE: (False, OPENING_CENTS + 1, 0)} == said(await watcher.updates(1))
    assert (0, 1) == (rooms.hub.statistics()["subscriptions"], rooms.hub.reader_of_all_count)


async def test_many_values_come_in_messages_of_bounded_size(tmp_path: Path) -> None:
    account_ids = range(1, 2 * WATCH_UPDATES_MAX + 2)
    rooms = Rooms(dict.fromkeys(account_ids, OPENING_CENTS))
    await rooms.open()
    async with served(rooms, tmp_path) as stub:
        for everyone in (False, True):
            watcher = Watcher(stub)
            for start in range(0, 0 if everyone else len(account_ids), WATCH_CHANGES_MAX):
                await watcher.ask(add=account_ids[start : start + WATCH_CHANGES_MAX])
            if everyone:
                await watcher.ask(everyone=True)
            await watcher.updates(len(account_ids))
            await rooms.gate.take(a_batch(*(cash((account_id, 1)) for account_id in account_ids), ticks(1)))
            sizes = [len((await watcher.next()).updates) for _ in range(3)]
            assert [WATCH_UPDATES_MAX, WATCH_UPDATES_MAX, 1] == sizes


@pytest.mark.parametrize("everyone", [False, True])
async def test_a_watcher_that_sleeps_skips_to_the_final_values(rooms: Rooms, stub: Stub, everyone: bool) -> None:
    """It holds up nobody, and versions of one account only grow."""
    sleeper, awake = Watcher(stub), Watcher(stub)
    for watcher in (sleeper, awake):
        await watcher.ask(add=[] if everyone else [ALICE, BOB], everyone=everyone)
        await watcher.updates(3 if everyone else 2)
    rounds = 1_000
    for cents in range(1, rounds + 1):
        await deposit_and_complete(rooms, ALICE, BOB)
        while awake.equity_cents[ALICE] != OPENING_CENTS + cents:
            await awake.next()
    versions: dict[int, list[int]] = {ALICE: [], BOB: []}
    skipped = 0
    while sleeper.equity_cents[BOB] != OPENING_CENTS + rounds:
        for update in (await sleeper.next()).updates:
            versions[update.equity.account_id].append(update.version)
            skipped += update.conflated
    assert 2 * rounds == skipped + sum(map(len, versions.values()))
    assert 0 < skipped
    for seen in versions.values():
        assert sorted(set(seen)) == seen


async def test_nobody_sees_an_account_that_was_not_asked_for(rooms: Rooms, stub: Stub) -> None:
    watchers = {account_id: Watcher(stub) for account_id in (ALICE, BOB, CAROL)}
    for account_id, watcher in watchers.items():
        await watcher.ask(add=[account_id])
        await watcher.updates(1)
    for cents in range(1, 11):
        await deposit_and_complete(rooms, *watchers)
        for account_id, watcher in watchers.items():
            assert {account_id: (False, OPENING_CENTS + cents, 0)} == said(await watcher.updates(1))


async def test_who_has_asked_for_everything_may_say_so_and_reads_on(rooms: Rooms, stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(add=[ALICE])
    await within_patience(watcher.call.done_writing())
    await watcher.updates(1)
    for cents in range(1, 4):
        await deposit_and_complete(rooms, ALICE)
        assert {ALICE: (False, OPENING_CENTS + cents, 0)} == said(await watcher.updates(1))


async def test_a_quiet_watch_sends_heartbeats(tmp_path: Path) -> None:
    rooms = Rooms({ALICE: OPENING_CENTS}, heartbeat_seconds=0.01)
    await rooms.open()
    async with served(rooms, tmp_path) as stub:
        watcher = Watcher(stub)
        for _ in range(3):
            assert pb.WatchEquityResponse() == await watcher.next()
        await watcher.ask(add=[ALICE])
        assert {ALICE: (True, OPENING_CENTS, 0)} == said(await watcher.updates(1))


@pytest.mark.parametrize(
    ("code", "field", "request_"),
    [
        (StatusCode.INVALID_ARGUMENT, "add", pb.WatchEquityRequest(add=[ALICE, 0])),
        (StatusCode.INVALID_ARGUMENT, "add", pb.WatchEquityRequest(add=[-(2**63)])),
        (StatusCode.INVALID_ARGUMENT, "remove", pb.WatchEquityRequest(remove=[0])),
        (StatusCode.OUT_OF_RANGE, "add", pb.WatchEquityRequest(add=[EXACT_MAX + 1])),
        (StatusCode.INVALID_ARGUMENT, "add", pb.WatchEquityRequest(add=range(1, WATCH_CHANGES_MAX + 2))),
        (StatusCode.INVALID_ARGUMENT, "all", pb.WatchEquityRequest(add=[ALICE], all=True)),
    ],
)
async def test_a_request_that_makes_no_sense_ends_the_watch(
    rooms: Rooms, stub: Stub, code: StatusCode, field: str, request_: pb.WatchEquityRequest
) -> None:
    watcher = Watcher(stub)
    await watcher.ask(add=[BOB])
    await watcher.updates(1)
    await within_patience(watcher.call.write(request_))
    with refusal() as told:
        await watcher.next()
    assert (code, field) == (told.code, told.field)
    assert 0 == rooms.hub.statistics()["subscriptions"]


async def test_a_stream_of_all_takes_no_single_accounts(stub: Stub) -> None:
    watcher = Watcher(stub)
    await watcher.ask(everyone=True)
    await watcher.updates(3)
    await watcher.ask(everyone=True)  # says nothing new
    await watcher.ask(remove=[ALICE])
    with refusal() as told:
        await watcher.next()
    assert (StatusCode.INVALID_ARGUMENT, "all") == (told.code, told.field)


async def test_shutting_down_ends_every_watch(rooms: Rooms, stub: Stub) -> None:
    one, everyone = Watcher(stub), Watcher(stub)
    await one.ask(add=[ALICE])
    await everyone.ask(everyone=True)
    await one.updates(1)
    await everyone.updates(3)
    rooms.lifecycle.enter(Phase.STOPPING)
    for watcher in (one, everyone):
        with refusal() as told:
            await watcher.next()
        assert (StatusCode.UNAVAILABLE, "SHUTTING_DOWN") == (told.code, told.reason)
    assert (0, 0) == (rooms.hub.statistics()["subscriptions"], rooms.hub.reader_of_all_count)


async def test_watchers_that_come_and_go_leave_nothing_behind(rooms: Rooms, stub: Stub) -> None:
    """FAULTS 24: mailboxes, wakers and tasks return to where they were."""
    before = len(asyncio.all_tasks())
    for number in range(3):
        watchers = [Watcher(stub) for _ in range(30)]
        for watcher in watchers:
            await watcher.ask(add=[] if number == 1 else [ALICE, BOB, GHOST], everyone=number == 1)
            await watcher.next()
        for watcher in watchers:
            watcher.call.cancel()
        await until(lambda: rooms.hub.statistics() == {"followed_accounts": 0, "subscriptions": 0})
        await until(lambda: rooms.hub.reader_of_all_count == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before)
    assert set() == rooms.servicer._wakers
