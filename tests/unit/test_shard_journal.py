"""The journal of the log, folded: how far each source is, and what the keeper commits of it."""

import numpy as np
import pytest

from evs_server.cluster.parts import JournalEntry
from evs_server.cluster.shards import LOG
from evs_server.model import Watermark
from evs_server.shard.journal import FoldedJournal


def an_entry(source: str, first: int, *digest: int, epoch: int = 1) -> JournalEntry:
    """An entry of some events; the rest does not matter to the keeper."""
    return JournalEntry(source, epoch, first, np.array(digest, np.uint64), "batch", 0, shared=False)


def seen(watermarks: tuple[Watermark, ...]) -> dict[str, tuple[int, int, list[int]]]:
    """Epoch, sequence and new digests by source."""
    return {mark.source: (mark.epoch, mark.applied_sequence, mark.digest.tolist()) for mark in watermarks}


def test_entries_are_folded_and_captured_with_their_position() -> None:
    """What is committed is how far each source is, and up to where in the log that is so."""
    journal = FoldedJournal()
    journal.fold(3, an_entry("a", 1, 11, 12))
    journal.fold(5, an_entry("b", 1, 21))
    journal.fold(9, an_entry("a", 3, 13))
    assert {LOG: (1, 9, []), "a": (1, 3, [11, 12, 13]), "b": (1, 1, [21])} == seen(journal.capture())
    assert () == journal.capture()


def test_only_what_is_new_is_captured_again() -> None:
    """Digests are stored once."""
    journal = FoldedJournal()
    journal.fold(3, an_entry("a", 1, 11))
    journal.capture()
    journal.fold(4, an_entry("a", 2, 12))
    assert {LOG: (1, 4, []), "a": (1, 2, [12])} == seen(journal.capture())


def test_batches_of_no_source_move_the_position_alone() -> None:
    """They are journalled under a gateway's name, of which nothing is to be remembered."""
    journal = FoldedJournal()
    journal.fold(7, an_entry("gateway/0", 0))
    assert {LOG: (1, 7, [])} == seen(journal.capture())


def test_a_new_epoch_begins_anew_and_an_old_one_is_over() -> None:
    """An entry of an older epoch, of a log that is read again, changes nothing."""
    journal = FoldedJournal()
    journal.fold(1, an_entry("a", 1, 11, 12))
    journal.fold(2, an_entry("a", 1, 31, epoch=2))
    journal.fold(3, an_entry("a", 3, 13))
    assert {LOG: (1, 3, []), "a": (2, 1, [31])} == seen(journal.capture())


def test_the_keeper_goes_on_where_it_was_committed() -> None:
    """Another one restores it, and is told the rest."""
    journal, next_one = FoldedJournal(), FoldedJournal()
    journal.fold(3, an_entry("a", 1, 11, 12))
    next_one.restore(journal.capture())
    assert (3, 3) == (next_one.applied, next_one.committed)
    next_one.fold(4, an_entry("a", 3, 13))
    assert {LOG: (1, 4, []), "a": (1, 3, [13])} == seen(next_one.capture())


def test_a_sender_may_be_called_anything() -> None:
    """No sender has the name under which the keeper's own position is kept: theirs are never empty."""
    journal = FoldedJournal()
    journal.fold(3, an_entry("log", 1, 11))
    captured = journal.capture()
    assert {LOG: (1, 3, []), "log": (1, 1, [11])} == seen(captured)
    journal.mark_durable(captured)
    assert 3 == journal.committed


@pytest.mark.parametrize("first", [3, 100])
def test_a_hole_in_the_journal_is_a_bug(first: int) -> None:
    """Gateways leave none; to go on would lose what is missing."""
    journal = FoldedJournal()
    journal.fold(1, an_entry("a", 1, 11))
    with pytest.raises(AssertionError, match="journal of a goes from 1"):
        journal.fold(2, an_entry("a", first, 12))
