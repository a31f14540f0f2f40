"""How far every source is, as gateways fold it from the journal."""

import numpy as np

from evs_server.cluster.parts import JournalEntry
from evs_server.cluster.shards import KEEPER, SHARD_COUNT
from evs_server.errors import EventConflict, SequenceGap
from evs_server.gateway.journal import Journal
from evs_server.ingest.sequencer import IngestState
from evs_server.model import Batch, TickRun, UInt64Array, Watermark

SENDER = "execution-manager"


def digests(first: int, count: int) -> UInt64Array:
    return np.arange(first, first + count, dtype=np.uint64) * np.uint64(7)


def entry(
    first: int, count: int, *, epoch: int = 1, shards: tuple[int, ...] = (3,), shared: bool = False
) -> JournalEntry:
    touched = sum(1 << shard for shard in shards)
    return JournalEntry(SENDER, epoch, first, digests(first, count), "batch", touched, shared)


def batch(first: int, count: int, digest: UInt64Array | None = None) -> Batch:
    run = TickRun(np.arange(count), np.zeros(count, np.int64))
    return Batch(SENDER, 1, first, (run,), digests(first, count) if digest is None else digest, {})


def committed(**exceptions: int) -> dict[int, int]:
    """Everything is committed up to 1,000, but for ``shard_<n>`` and the ``keeper``."""
    given = {KEEPER if name == "keeper" else int(name.removeprefix("shard_")): at for name, at in exceptions.items()}
    return dict.fromkeys(range(SHARD_COUNT + 1), 1_000) | given


def test_what_is_folded_decides_what_is_new() -> None:
    journal = Journal()
    assert journal.fold(5, entry(1, 4))
    assert (4, 6) == (journal.admit(batch(1, 6)).first_new, journal.admit(batch(1, 6)).end)
    assert isinstance(journal.admit(batch(6, 1)).error, SequenceGap)
    assert isinstance(journal.admit(batch(2, 1, np.zeros(1, np.uint64))).error, EventConflict)


def test_an_entry_counts_once_however_often_it_is_seen() -> None:
    journal = Journal()
    assert journal.fold(5, entry(1, 4))
    assert not journal.fold(5, entry(1, 4))
    assert 4 == journal.state(SENDER).applied_sequence
    assert 5 == journal.last_position(SENDER)


def test_a_batch_is_durable_when_each_shard_it_touched_and_the_keeper_have_committed() -> None:
    journal = Journal()
    journal.fold(12, entry(1, 4, shards=(3, 9)))
    assert not journal.settle(committed(shard_9=9))
    assert not journal.settle(committed(keeper=11))
    assert IngestState(1, 4, 0) == journal.state(SENDER)
    assert journal.settle(committed(shard_9=10, shard_40=0))
    assert IngestState(1, 4, 4) == journal.state(SENDER)


def test_a_part_for_all_waits_for_all() -> None:
    journal = Journal()
    journal.fold(12, entry(1, 4, shards=(3,), shared=True))
    assert not journal.settle(committed(shard_40=9))
    assert journal.settle(committed(shard_40=11))
    assert 4 == journal.state(SENDER).durable_sequence


def test_durable_ends_before_the_first_batch_that_is_not() -> None:
    journal = Journal()
    journal.fold(12, entry(1, 4, shards=(3,)))
    journal.fold(14, entry(5, 2, shards=(7,)))
    journal.settle(committed(shard_3=0))
    assert IngestState(1, 6, 0) == journal.state(SENDER)
    journal.settle(committed(shard_7=12))
    assert IngestState(1, 6, 4) == journal.state(SENDER)


def test_a_new_epoch_is_durable_from_its_beginning_only() -> None:
    journal = Journal()
    journal.fold(12, entry(1, 4))
    journal.fold(14, entry(1, 2, epoch=2))
    assert IngestState(2, 2, 0) == journal.state(SENDER)
    journal.settle(committed(shard_3=12))
    assert IngestState(2, 2, 0) == journal.state(SENDER)
    journal.settle(committed())
    assert IngestState(2, 2, 2) == journal.state(SENDER)


def test_a_new_gateway_says_durable_only_of_what_every_shard_has_committed() -> None:
    """The keeper has committed the journal up to 14, a shard its own part only up to 12."""
    journal = Journal()
    journal.restore((Watermark(SENDER, 1, 6, 1, digests(1, 6)),), kept_position=14, position=12)
    journal.fold(14, entry(5, 2))
    assert IngestState(1, 6, 4) == journal.state(SENDER)
    assert (6, 6) == (journal.admit(batch(1, 6)).first_new, journal.admit(batch(1, 6)).end)
    journal.settle(committed())
    assert IngestState(1, 6, 6) == journal.state(SENDER)


def test_a_source_that_the_keeper_knows_begins_where_it_is() -> None:
    journal = Journal()
    journal.restore((Watermark(SENDER, 3, 6, 1, digests(1, 6)),), kept_position=14, position=14)
    assert IngestState(3, 6, 6) == journal.state(SENDER)
    assert 0 == journal.last_position(SENDER)
    journal.correct_last(SENDER, 11)
    assert 11 == journal.last_position(SENDER)


def test_an_unsequenced_batch_moves_its_gateways_place_alone() -> None:
    journal = Journal()
    journal.fold(8, JournalEntry("gateway-1", 0, 0, digests(0, 0), "a", 1, shared=False))
    assert IngestState() == journal.state("gateway-1")
    assert (8, 0) == (journal.last_position("gateway-1"), journal.waiting_count())
