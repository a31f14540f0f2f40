"""
What an account, a position and a subscriber take of memory: resident bytes of a process of their own, per piece.

``memory/bytes_per_position`` is held against the 100 bytes that DESIGN 9 allows; spare rows, indexes and what marks
changed rows are all in it. An account is held against the bare numbers of its row and of its newest snapshot; a
subscriber's mailbox against an ``asyncio.Queue`` with one snapshot in it, the least that the original gave each.
"""

import asyncio
import ctypes
import gc
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from bench.command import run
from bench.harness import Result, single
from bench.world import NOW_MS, Size, a_world, an_engine
from evs_server.engine import Engine
from evs_server.fanout.hub import Hub, Mailbox
from evs_server.model import Snapshot, TradeRun

ACCOUNTS: Final = 100_000
POSITIONS_PER_ACCOUNT: Final = 20
SYMBOLS: Final = 1_000
SUBSCRIBERS: Final = 100_000
POSITION_BYTES_MAX: Final = 100
BARE_ACCOUNT_BYTES: Final = 8 * (8 + 12)
"""Eight numbers of an account, twelve of its newest snapshot."""
_BATCH: Final = 50_000


async def main(accounts: int = ACCOUNTS) -> list[Result]:
    """Measure each in a process of its own; the results."""
    position, account = apart(bytes_per_position, accounts), apart(bytes_per_account, accounts)
    mailbox, queue = apart(bytes_per_mailbox, SUBSCRIBERS), apart(bytes_per_queue, SUBSCRIBERS)
    note = f"{accounts * POSITIONS_PER_ACCOUNT:,} positions"
    return [
        single("memory/bytes_per_position", position, POSITION_BYTES_MAX, unit="bytes", note=note),
        single("memory/bytes_per_account", account, BARE_ACCOUNT_BYTES, unit="bytes", note=f"{accounts:,} accounts"),
        single("memory/bytes_per_subscriber", mailbox, queue, unit="bytes", note=f"{SUBSCRIBERS:,} subscribers"),
    ]


def apart(measured: Callable[[int], float], count: int) -> float:
    """What a function of this module returns in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, count).result()


def bytes_per_position(account_count: int, each: int = POSITIONS_PER_ACCOUNT) -> float:
    """Resident bytes that a position adds, opened by a trade, valued once and captured."""
    engine = an_engine(a_world(Size(account_count, positions_per_account=0, symbols=SYMBOLS)))
    rng = np.random.default_rng(1)
    trade(engine, np.arange(1, min(account_count, _BATCH) + 1), 0)
    before_count, before = engine.position_count, resident_bytes()
    first_symbol = rng.integers(0, SYMBOLS, account_count)
    for index in range(each):
        for first in range(0, account_count, _BATCH):
            account = np.arange(first, min(first + _BATCH, account_count))
            trade(engine, account + 1, (first_symbol[account] + 1 + index * 37) % SYMBOLS)
    return (resident_bytes() - before) / (engine.position_count - before_count)


def bytes_per_account(account_count: int) -> float:
    """Resident bytes that an account adds, without positions."""
    an_engine(a_world(Size(accounts=1_000, positions_per_account=0, symbols=SYMBOLS)))
    before = resident_bytes()
    engine = an_engine(a_world(Size(account_count, positions_per_account=0, symbols=SYMBOLS)))
    return (resident_bytes() - before) / engine.account_count


def bytes_per_mailbox(count: int) -> float:
    """Resident bytes of one who follows an account and has a snapshot to be sent."""
    hub, before = Hub(), resident_bytes()
    mailboxes = [Mailbox(lambda: None) for _ in range(count)]
    for account, mailbox in enumerate(mailboxes):
        hub.follow(account, mailbox)
        mailbox.offer(a_snapshot(account))
    return (resident_bytes() - before) / len(mailboxes)


def bytes_per_queue(count: int) -> float:
    """Resident bytes of a queue with a snapshot in it."""
    before = resident_bytes()
    queues: list[asyncio.Queue[Snapshot]] = [asyncio.Queue() for _ in range(count)]
    for account, queue in enumerate(queues):
        queue.put_nowait(a_snapshot(account))
    return (resident_bytes() - before) / len(queues)


def trade(engine: Engine, account_id: np.ndarray, symbol_id: np.ndarray | int) -> None:
    """Have each of some accounts buy a share of a symbol, and value and capture them."""
    count, one = len(account_id), np.ones(len(account_id), np.int64)
    symbol = np.broadcast_to(np.asarray(symbol_id, np.int64), (count,)).copy()
    bought = TradeRun(account_id, symbol, one, 10_000 * one, 500 * one, 0 * one, 0 * one)
    nothing_apart, at = np.zeros(count, np.bool_), 0
    while (at := engine.apply_trades(bought, nothing_apart, at, NOW_MS)) < count:
        engine.apply_trade(account_id.item(at), symbol.item(at), 1, 10_000, 500, 0, NOW_MS)  # type: ignore[arg-type]
        at += 1
    engine.complete_tick(2, 0, NOW_MS)
    engine.capture()


def a_snapshot(account_id: int) -> Snapshot:
    """A snapshot whose numbers are its own."""
    numbers = (account_id * 1_000_003 + column for column in range(12))
    return Snapshot(account_id, *numbers)


def resident_bytes() -> int:
    """What this process has in memory now, but for what the allocator keeps for later."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    run(main, accounts=5 * ACCOUNTS)
