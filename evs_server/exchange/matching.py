"""
Which accounts a tape's prints are matched between, when ticks end, and how both are cut into batches. Pure and seeded.

Lives here: the plan of a replay. Not here: carrying it out (``replay``). The same tape, accounts and seed give the same
plan. Nothing is held but one batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Final, NamedTuple

from evs_server.exchange.ledger import Trade
from evs_server.exchange.prints import Print

TRADES_PER_BATCH: Final = 2_000
"""Settled in one transaction and announced in one request: two events each, and ticks, far below its limit of bytes."""


class Tick(NamedTuple):
    """The end of a tick: its number, from 1, and the market's time of its last print, in unix milliseconds."""

    tick_id: int
    time_ms: int


class Batch(NamedTuple):
    """
    Steps of a replay, in order.

    Attributes:
        steps: Trades, and between them the ticks that end after those before.
        trades: The trades among them.
    """

    steps: list[Trade | Tick]
    trades: list[Trade]


def planned(
    tape: Iterable[Print],
    account_ids: Sequence[int],
    *,
    seed: int,
    tick_ms: int,
    trades_per_batch: int = TRADES_PER_BATCH,
) -> Iterator[Batch]:
    """
    The tape as batches of trades and ticks.

    Each print becomes a trade of two accounts drawn at random; now and then they are one and the same. A tick is an
    interval of market time that has prints; an interval without any has no tick. Its time is that of its last print, so
    that a tick never reaches into a session that no print has reached.

    Args:
        tape: Prints in market order.
        account_ids: Who may trade; at least one.
        seed: Of the draw.
        tick_ms: Length of a tick in milliseconds of market time, positive.
        trades_per_batch: Trades in one batch at most, positive.
    """
    draw = Random(seed).choice  # noqa: S311 - a replay must be repeatable
    batch, tick_id, last_ms = Batch([], []), 1, None
    for time_ms, symbol_id, quantity_bp, price_cents in tape:
        if last_ms is not None and last_ms // tick_ms != time_ms // tick_ms:
            batch.steps.append(Tick(tick_id, last_ms))
            tick_id += 1
        if len(batch.trades) == trades_per_batch:
            yield batch
            batch = Batch([], [])
        trade = Trade(draw(account_ids), draw(account_ids), symbol_id, quantity_bp, price_cents, time_ms)
        batch.steps.append(trade)
        batch.trades.append(trade)
        last_ms = time_ms
    if last_ms is not None:
        batch.steps.append(Tick(tick_id, last_ms))
        yield batch
