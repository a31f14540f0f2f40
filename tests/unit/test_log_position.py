"""How far a reader of the log is."""

import numpy as np
import pytest

from evs_server.ingest.position import LOG, LogPosition
from evs_server.ingest.sequencer import Admission, IngestState
from evs_server.model import Batch, TickRun, Watermark


def batch(position: int, ticks: int = 2) -> Batch:
    run = TickRun(np.arange(ticks), np.zeros(ticks, np.int64))
    return Batch("sender", 3, 7, (run,), np.zeros(ticks, np.uint64), {}, position=position)


def test_what_lies_beyond_the_position_is_new_as_a_whole() -> None:
    position = LogPosition()
    position.restore((Watermark(LOG, 1, 5, 6, np.empty(0, np.uint64)),))
    assert Admission(2, 2) == position.admit(batch(5))
    assert Admission(0, 2) == position.admit(batch(6))


def test_a_position_moves_when_its_batch_is_applied_to_the_end() -> None:
    position = LogPosition()
    position.advance(batch(4), 0, 1)
    assert 0 == position.applied
    position.advance(batch(4), 1, 2)
    assert 4 == position.applied
    assert Admission(2, 2) == position.admit(batch(4))


def test_no_event_of_the_log_is_taken_by_itself() -> None:
    """Not even one whose number is the next position."""
    assert not LogPosition().is_next((LOG, 1, 1))
    with pytest.raises(AssertionError, match="batch"):
        LogPosition().advance_one((LOG, 1, 1), 0)


def test_a_position_is_captured_once() -> None:
    position = LogPosition()
    position.advance(batch(9), 0, 2)
    [mark] = position.capture()
    assert (LOG, 1, 9, 0) == (mark.source, mark.epoch, mark.applied_sequence, len(mark.digest))
    assert () == position.capture()


def test_what_is_committed_is_told_from_what_is_applied() -> None:
    position = LogPosition()
    position.advance(batch(3), 0, 2)
    [mark] = position.capture()
    position.advance(batch(8), 0, 2)
    position.mark_durable([mark])
    assert (8, 3) == (position.applied, position.committed)
    assert {LOG: IngestState(1, 8, 3)} == position.states()


def test_an_entry_that_concerns_nobody_moves_the_position_too() -> None:
    position = LogPosition()
    position.pass_by(12)
    assert 12 == position.capture()[0].applied_sequence


def test_a_slice_with_a_sources_watermark_is_no_slice() -> None:
    with pytest.raises(AssertionError, match="watermark of sender"):
        LogPosition().restore((Watermark("sender", 1, 5, 6, np.empty(0, np.uint64)),))
