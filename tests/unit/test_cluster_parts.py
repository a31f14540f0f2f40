"""What of a batch goes to whom, by example; that it comes to the same is for the property tests."""

from dataclasses import replace

import numpy as np
import pytest

from evs_server.cluster.codec import decode_journal, encode_batch
from evs_server.cluster.join import Joining, join
from evs_server.cluster.parts import Part, Parts
from evs_server.cluster.ports import Entry
from evs_server.cluster.shards import shard_of
from evs_server.cluster.split import CARRIED_EVENTS_MAX, sign_of_life, split
from evs_server.errors import LogGap
from evs_server.limits import BATCH_EVENTS_MAX
from evs_server.model import Batch, CashRun, ObservedRun, PriceRun, TickRun, TradeRun
from tests.builders import ALICE, BOB, KICK, NOON_MS, PUNT, SHARE_BP, int64
from tests.wire import BUY, SELL, a_batch, cash, prices, ticks, trades

OWN, SHARED = shard_of(ALICE), shard_of(BOB)


def the_parts(batch: Batch, *, left_out: tuple[int, ...] = ()) -> Parts:
    return split(batch, 0, len(batch), left_out=left_out, batch_id="b1", taken_ms=NOON_MS, gateway="gateway-1")


def kinds(part: Part | None) -> list[tuple[type, list[int]]]:
    assert part is not None
    return [(type(run.run), run.index.tolist()) for run in part.runs]


def test_both_legs_of_a_trade_go_each_to_its_account_and_their_price_to_all() -> None:
    parts = the_parts(a_batch(trades((ALICE, KICK, BUY, SHARE_BP, 100), (BOB, KICK, SELL, SHARE_BP, 100)), first=7))
    assert {OWN, SHARED} == parts.of_shard.keys()
    assert [(TradeRun, [0])] == kinds(parts.of_shard[OWN])
    assert [(TradeRun, [1])] == kinds(parts.of_shard[SHARED])
    assert [(ObservedRun, [1])] == kinds(parts.shared)
    assert (1 << OWN | 1 << SHARED, True) == (parts.journal.touched_shards, parts.journal.shared)
    assert ("em", 1, 7, "b1") == (
        parts.journal.source, parts.journal.epoch, parts.journal.first_sequence, parts.journal.batch_id
    )  # fmt: skip


def test_of_the_trades_between_two_ticks_a_symbol_needs_two_prices() -> None:
    """Where its mark is, and that it has moved; the worked example of the module."""
    legs = [(ALICE, KICK, BUY, SHARE_BP, price) for price in (100, 105, 105)]
    parts = the_parts(a_batch(trades(*legs), ticks(1), trades((ALICE, KICK, BUY, SHARE_BP, 105)), first=1))
    assert [(ObservedRun, [0, 2]), (TickRun, [3]), (ObservedRun, [4])] == kinds(parts.shared)
    assert parts.shared is not None
    assert [100, 105] == parts.shared.runs[0].run.price_cents.tolist()  # type: ignore[union-attr]


def test_a_flow_concerns_its_account_alone() -> None:
    parts = the_parts(a_batch(cash((ALICE, 500)), first=1))
    assert parts.shared is None
    assert not parts.of_shard[OWN].shared_follows
    assert parts.journal.touches(OWN)
    assert not parts.journal.touches(SHARED)


def test_prices_and_ticks_touch_every_shard() -> None:
    parts = the_parts(a_batch(prices((KICK, 100)), ticks(1), first=1))
    assert {} == parts.of_shard
    assert [(PriceRun, [0]), (TickRun, [1])] == kinds(parts.shared)
    assert all(parts.journal.touches(shard) for shard in range(64))


def test_what_was_refused_or_left_out_is_in_the_journal_alone() -> None:
    batch = a_batch(prices((KICK, 0)), cash((ALICE, 500)), first=1)
    parts = the_parts(batch, left_out=(1,))
    assert ({}, None) == (parts.of_shard, parts.shared)
    assert batch.digest.tolist() == parts.journal.digest.tolist()
    assert not parts.journal.touches(OWN)


def test_an_unsequenced_batch_is_journalled_under_the_gateways_name() -> None:
    parts = the_parts(a_batch(cash((ALICE, 500))))
    assert ("gateway-1", 0, 0, 0) == (
        parts.journal.source, parts.journal.epoch, parts.journal.first_sequence, len(parts.journal.digest)
    )  # fmt: skip
    assert ("", 0) == (parts.of_shard[OWN].source, parts.of_shard[OWN].first_sequence)


def test_a_shard_joins_its_part_and_the_one_for_all_in_the_order_they_were_sent() -> None:
    """Two trades with a tick between them; the observed prices before each, since trades from the log move no mark."""
    leg = trades((ALICE, KICK, BUY, SHARE_BP, 100), (BOB, PUNT, BUY, SHARE_BP, 50))
    parts = the_parts(a_batch(leg, ticks(1), cash((ALICE, 5)), leg, first=1))
    batch = join(parts.of_shard[OWN], parts.shared, 44)
    assert [ObservedRun, TradeRun, TickRun, ObservedRun, CashRun, TradeRun] == [type(run) for run in batch.runs]
    assert batch.index is not None
    assert [0, 1, 0, 2, 4, 5, 3, 4] == batch.index.tolist()
    assert (44, NOON_MS, "em", 1) == (batch.position, batch.taken_ms, batch.source, batch.first_sequence)
    assert len(batch) == len(batch.index)


def own_and_shared() -> tuple[Entry, Entry]:
    """What a shard reads of a batch that is too large to be carried."""
    parts = the_parts(a_batch(trades(*[(ALICE, KICK, BUY, SHARE_BP, 100)] * (CARRIED_EVENTS_MAX + 1)), first=1))
    [own, shared], _ = encode_batch(parts)
    return Entry(5, own.subject, own.data, 1), Entry(6, shared.subject, shared.data, 0)


def test_a_part_that_announces_another_waits_for_it() -> None:
    own, shared = own_and_shared()
    joining = Joining(OWN)
    assert joining.take(own) is None
    joined = joining.take(shared)
    assert joined is not None
    assert ("b1", 6) == (joined.batch_id, joined.batch.position)


def test_a_part_for_all_that_does_not_come_is_a_gap() -> None:
    """What would be applied without it would be wrong for ever."""
    own, _ = own_and_shared()
    joining = Joining(OWN)
    joining.take(own)
    with pytest.raises(LogGap, match="batch b1 has no part for all before position 8"):
        joining.take(replace(own, position=8))


def test_a_small_batch_is_one_entry_that_every_shard_reads() -> None:
    """And applies as far as it concerns it, which a flow does one alone."""
    parts = the_parts(a_batch(cash((ALICE, 500)), first=1))
    messages, journal = encode_batch(parts)
    assert ([], "evs.in.source.656d.whole", 0) == (messages, journal.subject, parts.journal.part_count)
    entry = Entry(7, journal.subject, journal.data, 0)
    assert parts.journal.touched_shards == decode_journal(journal.data).touched_shards
    assert decode_journal(journal.data).carried
    joined = Joining(OWN).take(entry)
    assert joined is not None
    assert [CashRun] == [type(run) for run in joined.batch.runs]
    assert Joining(SHARED).take(entry) is None


@pytest.mark.parametrize(("carried", "count"), [(True, CARRIED_EVENTS_MAX), (False, CARRIED_EVENTS_MAX + 1)])
def test_a_batch_is_carried_up_to_a_size(carried: bool, count: int) -> None:
    parts = the_parts(a_batch(cash(*[(ALICE, 500)] * count), first=1))
    assert carried == parts.journal.carried
    assert (0 if carried else 1) == parts.journal.part_count == len(encode_batch(parts)[0])


def test_the_largest_batch_has_no_more_observed_prices_than_symbols_need() -> None:
    """What all shards read stays small, however many trades there are."""
    count = BATCH_EVENTS_MAX
    generator = np.random.default_rng(3)
    run = TradeRun(
        generator.integers(1, 10**6, count),
        generator.integers(1, 101, count),
        *(generator.integers(1, 3, count) for _ in range(5)),
    )
    parts = the_parts(Batch("em", 1, 1, (run,), np.zeros(count, np.uint64), {}))
    assert parts.shared is not None
    assert 200 == len(parts.shared.runs[0])
    assert count == sum(len(part.runs[0]) for part in parts.of_shard.values())
    assert int64(*sorted(parts.of_shard)).tolist() == list(range(64))


def test_a_sign_of_life_is_a_batch_of_nothing_that_every_shard_reads() -> None:
    parts = sign_of_life(batch_id="alive", taken_ms=7, gateway="gateway/1")
    messages, journal = encode_batch(parts)
    assert [] == messages
    for shard in (0, 63):
        joined = Joining(shard).take(Entry(9, journal.subject, journal.data, 0))
        assert joined is not None
        assert (0, 9, 7) == (len(joined.batch), joined.batch.position, joined.batch.taken_ms)
