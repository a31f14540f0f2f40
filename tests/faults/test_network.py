"""F9: the line between a sender and EVS resets, swallows, slices, delays and changes bytes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from evs_client import ExecutionManagerClient, SenderTuning

from tests.e2e.caller import Caller, Numbers
from tests.e2e.exchange_tables import ExchangeTables
from tests.faults.proxy import CALM, Proxy, Trouble, proxied
from tests.faults.trial import OPENING_CENTS, Trial, started
from tests.patience import PATIENCE_SECONDS, eventually_true

TroubleOf = Callable[[int], Trouble]
TROUBLES: dict[str, tuple[TroubleOf, int]] = {
    "resets": (lambda number: Trouble(cut_after_bytes=700 * number if number < 6 else 0), 6),
    "slices": (lambda _: Trouble(slice_bytes=1), 1),
    # Within HTTP/2's preface and first frames: a byte that changes in a payload is for TLS to find.
    "corrupts": (lambda number: Trouble(corrupt_at=9 * number) if number < 5 else CALM, 5),
    "delays": (lambda _: Trouble(latency_seconds=0.02), 1),
}
BLOCKS = 150


@pytest.mark.parametrize("name", TROUBLES)
def test_f09_the_sender_of_the_guide_gets_through_a_line_that(
    name: str, tables: ExchangeTables, tmp_path: Path
) -> None:
    trouble_of, connections_min = TROUBLES[name]
    trial = Trial(tables)
    with started(tables, tmp_path) as (_, address), proxied(address, trouble_of) as proxy:
        with trial.sending(proxy.address):
            trial.trade(40)
            closing = trial.close_market()
            trial.wait_until_durable()
            trial.verify(address, closing)
        assert proxy.connection_count >= connections_min


@pytest.mark.parametrize("name", [*TROUBLES, "swallows"])
async def test_f09_our_client_gets_through_a_line_that(name: str, tables: ExchangeTables, tmp_path: Path) -> None:
    trouble_of, _ = TROUBLES.get(name, (lambda _: CALM, 1))
    buyer, seller = tables.open_account(OPENING_CENTS), tables.open_account(OPENING_CENTS)
    tuning = SenderTuning(
        batch_events_max=10,
        answer_deadline_s=1.0,
        call_deadline_s=1.0,
        backoff_max_s=0.2,
        open_deadline_s=PATIENCE_SECONDS,
        close_deadline_s=PATIENCE_SECONDS,
    )
    with started(tables, tmp_path) as (_, address), proxied(address, trouble_of) as proxy:
        async with ExecutionManagerClient(proxy.address, source="em", tuning=tuning) as client:
            for number in range(BLOCKS):
                if name == "swallows" and number == BLOCKS // 2:
                    await _through_a_black_hole(client, proxy)
                async with client.batch() as batch:
                    batch.trade(buyer, 1, "BUY", shares=1, price_cents=100)
                    batch.trade(seller, 1, "SELL", shares=1, price_cents=100)
                    batch.tick(number)
            await client.wait_durable(PATIENCE_SECONDS)
            assert 3 * BLOCKS + (name == "swallows") == client.durable_sequence
        cost = 100 * BLOCKS
        with Caller(address) as caller:
            assert Numbers(OPENING_CENTS - cost, cost, OPENING_CENTS, 0, 0, 0) == caller.numbers(buyer)
            assert Numbers(OPENING_CENTS + cost, -cost, OPENING_CENTS, 0, 0, 0) == caller.numbers(seller)
        versions = [row["version"] for row in tables.equity_rows(buyer)]
        assert len(set(versions)) == len(versions)


async def _through_a_black_hole(client: ExecutionManagerClient, proxy: Proxy) -> None:
    """Nothing comes through, until the client has given the line up by itself; then it is mended."""
    await client.wait_applied(PATIENCE_SECONDS)
    proxy.swallow(everything=True)
    async with client.batch() as batch:
        batch.price(1, 100)

    async def has_given_up() -> bool:
        return not client.statistics().streaming

    await eventually_true(has_given_up, "the client gives the line up")
    await asyncio.to_thread(proxy.swallow, everything=False)
