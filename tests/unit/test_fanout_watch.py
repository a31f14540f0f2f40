"""What one watch follows while accounts are being looked up, and a database that is away."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping

import pytest
from evs.v1 import evs_pb2 as pb

from evs_server.errors import OutOfBounds, Overloaded, RequestError, StoreUnavailable, UnknownAccount
from evs_server.fanout import watch as watch_module
from evs_server.fanout.hub import Hub
from evs_server.fanout.watch import Watch
from evs_server.limits import WATCH_CHANGES_MAX
from evs_server.model import ExchangeAccount
from tests.builders import ALICE, BOB, CAROL, NOON_MS, an_engine
from tests.patience import PATIENCE_SECONDS

GHOST = 404

Found = Mapping[int, RequestError] | Exception


class Registry:
    """An ``AccountLookup`` that answers as it is told, one answer a question, and opens what it does not refuse."""

    def __init__(self, world: "World") -> None:
        self.asked: list[list[int]] = []
        self.answers: deque[Found] = deque()
        self.may_answer = asyncio.Event()
        self._world = world

    async def ensure(self, account_ids: Collection[int]) -> Mapping[int, RequestError]:
        self.asked.append(list(account_ids))
        await self.may_answer.wait()
        answer: Found = self.answers.popleft() if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        self._world.open(*(account_id for account_id in account_ids if account_id not in answer))
        return answer


class World:
    """An engine with one account, a hub, and a watch of them."""

    def __init__(self) -> None:
        self.engine, self.hub, self.register = an_engine(), Hub(), Registry(self)
        self.news = asyncio.Event()
        self.watch = Watch(self.engine, self.hub, self.register, self.news.set)
        self.open(ALICE)

    def open(self, *account_ids: int) -> None:
        """Take accounts in that the exchange has."""
        accounts = [ExchangeAccount(account_id, 100 * account_id, ()) for account_id in account_ids]
        self.hub.publish(self.engine.open_accounts(accounts, NOON_MS, degraded=False))

    def due(self) -> tuple[list[int], list[int]]:
        """Accounts whose values are due, and those that are refused."""
        messages = list(self.watch.messages())
        return (
            [update.equity.account_id for message in messages for update in message.updates],
            [account_id for message in messages for account_id in message.refused_account_ids],
        )

    async def told(self) -> tuple[list[int], list[int]]:
        """The next that is due."""
        while True:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.news.wait()
            self.news.clear()
            if any(due := self.due()):
                return due


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "LOOK_UP_AGAIN_SECONDS", 0)


async def test_nobody_waits_for_an_account_that_is_being_looked_up() -> None:
    world = World()
    world.watch.change(pb.WatchEquityRequest(add=[BOB, ALICE]))
    assert ([ALICE], []) == world.due()
    world.register.may_answer.set()
    assert ([BOB], []) == await world.told()
    assert [[BOB]] == world.register.asked


@pytest.mark.parametrize("trouble", [StoreUnavailable("away"), Overloaded("too many")])
async def test_a_database_that_is_away_delays_what_it_alone_knows(trouble: Exception) -> None:
    world = World()
    world.register.answers.extend([trouble, trouble])
    world.register.may_answer.set()
    world.watch.change(pb.WatchEquityRequest(add=[BOB, ALICE]))
    assert ([ALICE], []) == world.due()
    assert ([BOB], []) == await world.told()
    assert 3 == len(world.register.asked)


async def test_accounts_that_cannot_be_had_are_named_whatever_the_reason() -> None:
    world = World()
    world.register.answers.append({GHOST: UnknownAccount(GHOST), CAROL: OutOfBounds("cash", "too much")})
    world.register.may_answer.set()
    world.watch.change(pb.WatchEquityRequest(add=[GHOST, BOB, CAROL]))
    assert ([BOB], sorted([GHOST, CAROL])) == await world.told()


async def test_what_was_removed_while_it_was_looked_up_is_not_followed() -> None:
    world = World()
    world.register.answers.append({GHOST: UnknownAccount(GHOST)})
    world.watch.change(pb.WatchEquityRequest(add=[GHOST, BOB, CAROL]))
    await asyncio.sleep(0)  # the question is asked
    world.watch.change(pb.WatchEquityRequest(remove=[GHOST, BOB]))
    world.register.may_answer.set()
    assert ([CAROL], []) == await world.told()
    assert {"followed_accounts": 1, "subscriptions": 1} == world.hub.statistics()


async def test_what_is_asked_for_meanwhile_is_looked_up_next_and_once() -> None:
    world = World()
    world.watch.change(pb.WatchEquityRequest(add=[BOB]))
    await asyncio.sleep(0)
    for _ in range(2):
        world.watch.change(pb.WatchEquityRequest(add=[BOB, CAROL]))
    world.register.may_answer.set()
    seen = [*(await world.told())[0]]
    while len(seen) < 2:
        seen += (await world.told())[0]
    assert ([BOB, CAROL], [[BOB], [CAROL]]) == (seen, world.register.asked)


async def test_following_everyone_ends_the_search() -> None:
    world = World()
    world.watch.change(pb.WatchEquityRequest(add=[BOB]))
    await asyncio.sleep(0)
    world.watch.change(pb.WatchEquityRequest(all=True))
    assert ([ALICE], []) == world.due()
    world.register.may_answer.set()
    assert ([BOB], []) == await world.told()  # it is there now, and one of all
    assert {"followed_accounts": 0, "subscriptions": 0} == world.hub.statistics()


async def test_a_search_that_breaks_breaks_the_watch() -> None:
    world = World()
    world.register.answers.append(ZeroDivisionError("unexpected"))
    world.register.may_answer.set()
    world.watch.change(pb.WatchEquityRequest(add=[BOB]))
    with pytest.raises(ZeroDivisionError):
        await world.told()


async def test_a_watch_that_is_closed_searches_no_longer() -> None:
    world = World()
    world.watch.change(pb.WatchEquityRequest(add=[ALICE, BOB]))
    await asyncio.sleep(0)
    world.watch.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (1, {"followed_accounts": 0, "subscriptions": 0}) == (len(asyncio.all_tasks()), world.hub.statistics())


async def test_a_watch_follows_only_so_many_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "WATCHED_ACCOUNTS_MAX", WATCH_CHANGES_MAX + 1)
    world = World()
    world.watch.change(pb.WatchEquityRequest(add=range(1, WATCH_CHANGES_MAX + 1)))
    world.watch.change(pb.WatchEquityRequest(add=[1, 2, 5_000]))
    with pytest.raises(OutOfBounds, match=r"would follow 1002 accounts, the most is 1001"):
        world.watch.change(pb.WatchEquityRequest(add=[5_001]))
    world.watch.change(pb.WatchEquityRequest(add=[5_001], remove=[5_000]))
    world.watch.close()
