"""The sender of ``docs/SENDERS.md``, through crashes of EVS and a connection that breaks: every event counts once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.caller import BUY, SELL, SHARE, Caller, Numbers
from tests.e2e.crashing import Crashing
from tests.e2e.plain_sender import PlainSender
from tests.faults.proxy import CALM, Proxy, Trouble, proxied
from tests.patience import eventually
from tests.wire import ticks, trades

OPENING = 1_000_000
SYMBOL = 1
BATCHES = 300
EVENTS = 3
"""Events of one batch: two legs and a tick."""


def test_a_sender_written_from_the_guide_survives_crashes_and_a_breaking_connection(crashing: Crashing) -> None:
    tables = crashing.tables
    buyer, seller = tables.open_account(OPENING), tables.open_account(OPENING)
    with proxied(trouble_of=lambda number: Trouble(cut_after_bytes=10_000 + 5_000 * (number % 5))) as proxy:
        sender = PlainSender(proxy.address, "another-language")
        with ThreadPoolExecutor(1) as executor:
            running = executor.submit(sender.run)
            try:
                _through_crashes(crashing, proxy, sender, _batches(sender, buyer, seller))
            finally:
                sender.stop()
            assert running.result() is None
    cost = 100 * BATCHES
    with crashing.serving() as served, Caller(served.address) as caller:
        assert Numbers(OPENING - cost, cost, OPENING, 0, 0, 0) == caller.numbers(buyer)
        assert Numbers(OPENING + cost, -cost, OPENING, 0, 0, 0) == caller.numbers(seller)
    versions = [row["version"] for row in tables.equity_rows(buyer)]
    assert len(set(versions)) == len(versions)
    assert {} == sender.refusals


def _batches(sender: PlainSender, buyer: int, seller: int) -> Iterator[int]:
    """Give the sender one more batch each time, ``BATCHES`` in all, and yield the last sequence of it."""
    for number in range(1, BATCHES + 1):
        legs = [(buyer, SYMBOL, BUY, SHARE, 100), (seller, SYMBOL, SELL, SHARE, 100)]
        sender.add(EVENTS, trades(*legs), ticks(number))
        yield EVENTS * number


def _through_crashes(crashing: Crashing, proxy: Proxy, sender: PlainSender, batches: Iterator[int]) -> None:
    crashes = 3
    for _ in range(crashes):
        with crashing.serving() as served:
            proxy.target = served.address
            # Events that no server before has seen: that one is durable, this one has said, on a call of its own.
            first, *_ = [next(batches) for _ in range(BATCHES // (crashes + 1))]
            eventually(lambda: sender.durable_sequence >= first, "some progress since the last crash")  # noqa: B023
            served.kill()
    with crashing.serving() as served:
        proxy.target = served.address
        for _ in batches:
            pass
        eventually(lambda: sender.applied_sequence >= EVENTS * BATCHES * 7 // 8, "half of the last events")
        proxy.trouble_of = lambda _: CALM
        eventually(lambda: sender.durable_sequence == EVENTS * BATCHES, "every event to be durable")
    assert sender.call_count > crashes
