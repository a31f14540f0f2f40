"""
What it costs to apply a batch of 10,000 settled trades, against merely decoding it.

Ours is ``Intake.take``, from decoded columns to state changed and marked dirty: what is new is told, accounts are
looked up, each fill is worked out in order, bounds are judged, and a tenth of the trades open a position. The yardstick
parses the bytes of the same batch and makes arrays of its columns (``yardsticks/bare_decode.py``).

Left out: valuing what was traded (``tick``), storing it (``persistence``), and the way from the sender (``stream``).
"""

from collections.abc import Callable

import numpy as np
from evs.v1 import evs_pb2 as pb

from bench.command import run
from bench.harness import Result, Sample, measure, timed
from bench.world import NOW_MS, Size, World, a_world, an_engine
from bench.yardsticks import bare_decode
from evs_server.engine import Engine
from evs_server.ingest import codec
from evs_server.ingest.clearing import Clearing
from evs_server.ingest.intake import Intake
from evs_server.ingest.sequencer import Sequencer
from evs_server.ingest.settled import Settled
from evs_server.model import Flush, Int64Array, TradeRun, Valuation

ROUNDS = 25
BATCH = 10_000
SIZE = Size()
NEW_PART = 0.1


class Sink:
    """Takes passes and flushes, and drops them."""

    degraded_since_ms = None

    def publish(self, valuation: Valuation) -> None:
        """Drop a pass."""

    def offer(self, flush: Flush) -> None:
        """Drop a flush."""


async def main(rounds: int = ROUNDS, size: Size = SIZE) -> list[Result]:
    """Measure; the result."""
    world = a_world(size)
    engine = an_engine(world)
    name, note = "trades/decode", f"a batch of {BATCH:,}"
    return [measure(name, applying(world, engine), decoding(world), rounds=rounds, agree=same, note=note)]


def batch_of(world: World, number: int) -> bytes:
    """A batch of one round, as it comes from the wire."""
    rng = np.random.default_rng([9, number])
    held = rng.integers(0, world.size.positions, BATCH)
    symbol = world.position_symbol[held].copy()
    is_new = rng.random(BATCH) < NEW_PART
    symbol[is_new] = rng.integers(0, world.size.symbols, int(is_new.sum()))
    columns = pb.TradeColumns(
        account_id=(world.position_account[held] + 1).tolist(),
        symbol_id=symbol.tolist(),
        side=rng.integers(1, 3, BATCH).tolist(),
        quantity_bp=rng.integers(1, 500_000, BATCH).tolist(),
        price_cents=(world.price_cents[symbol] + rng.integers(-50, 50, BATCH)).tolist(),
        fee_cents=rng.integers(0, 100, BATCH).tolist(),
    )
    request = pb.StreamEventsRequest(source="bench", epoch=1, first_sequence=number * BATCH + 1)
    request.runs.add(trades=columns)
    return request.SerializeToString()


def applying(world: World, engine: Engine) -> Callable[[int], Sample]:
    """Ours: decoded before, valued and flushed after, both untimed."""
    sequencer, sink = Sequencer(), Sink()
    intake = Intake(engine, sequencer, Clearing(engine, Settled()), sink, sink)

    def side(number: int) -> Sample:
        batch = codec.decode_batch(pb.StreamEventsRequest.FromString(batch_of(world, number)))
        sample = timed(lambda: intake.take(batch, NOW_MS))
        outcome = sample.output
        assert (outcome.end, outcome.refusals) == (BATCH, {}), "every trade counts"
        engine.complete_tick(number, 0, NOW_MS)
        intake.flush()
        sequencer.mark_durable(sequencer.capture())
        [trades] = batch.runs
        assert isinstance(trades, TradeRun)
        return Sample(sample.cost, trades.account_id)

    return side


def decoding(world: World) -> Callable[[int], Sample]:
    """The yardstick's side."""

    def side(number: int) -> Sample:
        message = batch_of(world, number)
        return timed(lambda: bare_decode.decode(message))

    return side


def same(applied: Int64Array, columns: list[Int64Array]) -> bool:
    """Whether both had the same batch."""
    return np.array_equal(applied, columns[0])


if __name__ == "__main__":
    run(main, rounds=4 * ROUNDS)
