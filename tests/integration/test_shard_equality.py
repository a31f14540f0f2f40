"""Shards fed a split stream give, account by account, what one engine gives that is fed the whole."""

import contextlib
from random import Random

import pytest

from tests.integration.running import exchange_at
from tests.log_in_process import LogInProcess
from tests.serving import SetClock
from tests.shard_world import Day, Feeder, Worker, applied, committed, shards_of, shown, united_hash

CASH = {account_id: 1_000_000 + account_id for account_id in (1, 2, 3, 5, 8, 13, 21)}


@pytest.mark.parametrize("seed", range(3))
async def test_shards_together_are_the_whole(database: str, seed: int) -> None:
    """Three workers' virtual shards, some of which crash and move on the way, show and hold what one engine does."""
    random, log, clock, still = Random(seed), LogInProcess(), SetClock(), SetClock()
    async with exchange_at(database) as exchange:
        await exchange.register(CASH)
    feeder, day, numbers = Feeder(log, clock, CASH), Day(random, list(CASH), clock), shards_of(CASH)
    async with contextlib.AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(Worker(database, log, still, f"worker {name}").entered()) for name in "abc"
        ]
        for index, number in enumerate(numbers):
            await workers[index % 3].take(number)
        for _ in range(40):
            for _ in range(random.randint(1, 5)):
                await feeder.put_batch(day.batch())
            number, loser, winner = random.choice(numbers), *random.sample(workers, 2)
            if number in loser.shards:
                if random.random() < 0.5:
                    await applied([loser.shards[number]], feeder)
                await (loser.crash if random.random() < 0.5 else loser.give_up)(number)
                await winner.take(number)
        shards = [shard for worker in workers for shard in worker.shards.values()]
        await committed(shards, feeder)
        assert len(numbers) == len(shards)
        for shard in shards:
            engine = shard.core.engine
            assert shown(feeder.whole.engine, engine.account_ids().tolist()) == shown(
                engine, engine.account_ids().tolist()
            )
        assert feeder.whole.engine.state_hash() == united_hash(shards)
