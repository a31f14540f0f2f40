"""The sender of ``docs/SENDERS.md``, through crashes of EVS and a connection that breaks: every event counts once."""

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
            for number in range(1, BATCHES + 1):
                legs = [(buyer, SYMBOL, BUY, SHARE, 100), (seller, SYMBOL, SELL, SHARE, 100)]
                sender.add(EVENTS, trades(*legs), ticks(number))
            try:
                _through_crashes(crashing, proxy, sender)
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


def _through_crashes(crashing: Crashing, proxy: Proxy, sender: PlainSender) -> None:
    for crash in range(3):
        with crashing.serving() as served:
            proxy.target = served.address
            eventually(lambda: sender.durable_sequence >= crash * 60, "some progress since the last crash")  # noqa: B023
            served.kill()
    with crashing.serving() as served:
        proxy.target = served.address
        eventually(lambda: sender.applied_sequence >= EVENTS * BATCHES // 2, "half of the events")
        proxy.trouble_of = lambda _: CALM
        eventually(lambda: sender.durable_sequence == EVENTS * BATCHES, "every event to be durable")
    assert sender.call_count > 1, "it was cut off"
