"""
What dividing costs: the same batch taken by 64 virtual shards, one after the other, against one engine with everything.

Processor time, and all of it in this process: decoding parts, joining, applying, encoding news, for all shards
together. More workers share this, and each of them has its own processor; what a virtual shard has to do for every
batch, however small, is what no number of workers makes less in all. ``cluster/hearing`` is the other end: what a
gateway does with what it hears of an account, against merely parsing the message.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Final

from evs.cluster.v1 import cluster_pb2 as internal
from evs.v1 import evs_pb2 as pb

from bench.cluster_work import SIZE, Counts, Room, Sender, VirtualShard, put_in, shard_engine, virtual_shards
from bench.command import run
from bench.events import trades
from bench.harness import Result, Sample, measure
from bench.world import NOW_MS, a_world, an_engine
from evs_server.clock import SystemClock
from evs_server.cluster.ports import Entry, Reply
from evs_server.errors import NoOwner
from evs_server.fanout.hub import Hub
from evs_server.gateway.hearing import Hearing
from evs_server.gateway.owners import Owners
from evs_server.gateway.progress import Progress
from evs_server.gateway.table import SnapshotTable
from evs_server.ingest.sequencer import Sequencer
from evs_server.model import Batch

ROUNDS: Final = 9
TRADES: Final = (1, 100, 1_000, 10_000)
MOVING: Final = 100


class Crowd:
    """One engine with everything, and the same in virtual shards."""

    def __init__(self) -> None:
        world = a_world(SIZE)
        self._whole, self._shards = Room(an_engine(world), Sequencer()), virtual_shards(world)
        self._sender = Sender()
        self._log = Counts()
        self._first = 1
        self._made: tuple[object, Batch, list[Entry]] | None = None

    def ours(self, make: Callable[[int], Sequence[pb.EventRun]], number: int) -> Sample:
        """All virtual shards take the batch of a round; how many positions they have valued by now."""
        entries = self._round(make, number)[1]
        began = time.process_time()
        for shard in self._shards:
            for entry in entries:
                shard.read(entry)
        return Sample(time.process_time() - began, _valued(*self._shards))

    def yardstick(self, make: Callable[[int], Sequence[pb.EventRun]], number: int) -> Sample:
        """One engine takes it; the same number."""
        batch = self._round(make, number)[0]
        began = time.process_time()
        self._whole.intake.take(batch, NOW_MS)
        return Sample(time.process_time() - began, _valued(self._whole))

    def trades(self, count: int) -> Callable[[int], Sequence[pb.EventRun]]:
        """So many trades, others in each round."""

        def make(_: int) -> Sequence[pb.EventRun]:
            self._first += count
            return [trades(range(self._first, self._first + count), 1, SIZE.accounts, settled=True)]

        return make

    def _round(self, make: Callable[[int], Sequence[pb.EventRun]], number: int) -> tuple[Batch, list[Entry]]:
        """Its batch, and the same as it is in the log; made once for both sides."""
        if self._made is None or self._made[0] != (make, number):
            self._made = ((make, number), *self._entries(*make(number)))
        return self._made[1:]

    def _entries(self, *runs: pb.EventRun) -> tuple[Batch, list[Entry]]:
        batch = self._sender.batch(*runs)
        return batch, put_in(batch, self._log)


async def main(rounds: int = ROUNDS) -> list[Result]:
    """Measure batches of trades, a tick, and hearing of it; the results."""
    crowd = Crowd()
    cases = {f"{count}_trades": crowd.trades(count) for count in TRADES} | {f"tick_{MOVING}": _moving}
    return [
        *(
            measure(
                f"cluster/divided/{name}", partial(crowd.ours, make),
                partial(crowd.yardstick, make), rounds=rounds,
                note="processor time, 64 virtual shards; one engine",
            )
            for name, make in cases.items()
        ),
        _hearing(rounds),
    ]  # fmt: skip


def _moving(number: int) -> Sequence[pb.EventRun]:
    """New prices of some symbols, and a tick."""
    prices = pb.PriceColumns(symbol_id=range(MOVING), price_cents=[1_000 + number + symbol for symbol in range(MOVING)])
    return pb.EventRun(prices=prices), pb.EventRun(ticks=_tick(number + 3))


def _tick(tick: int) -> pb.TickColumns:
    return pb.TickColumns(tick_id=[tick], tick_time=[0])


def _valued(*rooms: Room) -> int:
    return sum(room.engine.positions_valued_count for room in rooms)


# --- the other end -----------------------------------------------------------------------------------------------


class _Nobody:
    """``Asks`` of whom nothing is asked here."""

    async def ask(self, shard: int, method: str, data: bytes, seconds: float) -> Reply:
        raise NoOwner(f"nobody is asked {method} of {shard} for {len(data)} bytes within {seconds} s")

    def answer(
        self, shard: int, answered: Callable[[str, bytes], Awaitable[Reply]]
    ) -> AbstractAsyncContextManager[None]:
        raise AssertionError(f"nobody answers here, and {answered} was to answer for {shard}")


class _Talking(VirtualShard):
    """A virtual shard whose last message is kept."""

    told: bytes = b""

    def tell(self, _shard: int, data: bytes) -> None:
        self.told = data


def _hearing(rounds: int) -> Result:
    """A gateway takes in what one shard says of a tick."""
    world = a_world(SIZE)
    shard = _Talking(0, shard_engine(world, 0))
    clock, table, progress = SystemClock(), SnapshotTable(), Progress()
    hearing = Hearing(table, Hub(), progress, Owners(_Nobody(), clock, progress), clock)
    log, sender = Counts(), Sender()

    def told(number: int) -> bytes:
        for entry in put_in(sender.batch(*_moving(number)), log):
            shard.read(entry)
        return shard.told

    messages = [told(number) for number in range(rounds + 1)]
    count = len(internal.News.FromString(messages[0]).passes[0].account_id)

    def ours(number: int) -> Sample:
        began = time.process_time()
        hearing.hear(0, messages[number])
        return Sample((time.process_time() - began) / count, table.account_count)

    def yardstick(number: int) -> Sample:
        began = time.process_time()
        [made] = internal.News.FromString(messages[number]).passes
        return Sample((time.process_time() - began) / count, len(made.account_id))

    note = f"processor time per account; parsing, {len(messages[0]) / count:.0f} bytes each"
    return measure("cluster/hearing", ours, yardstick, rounds=rounds, unit="us", note=note)


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS)
