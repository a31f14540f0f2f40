"""Several flushes as one, and rows thinned out."""

import pytest

from evs_server.limits import DIGESTS_KEPT
from evs_server.store.merge import coalesce_rows, merge, newest_watermarks
from tests.flushes import (
    a_flush,
    a_mark_row,
    a_position_row,
    a_valuation,
    a_watermark,
    an_account_row,
    plain,
    snapshots,
)


def test_one_flush_stays_as_it_is() -> None:
    flush = a_flush(1, accounts=[an_account_row(1)])
    assert flush is merge([flush])


def test_the_newest_row_of_each_key_wins() -> None:
    merged = merge(
        [
            a_flush(1, accounts=[an_account_row(2, 1), an_account_row(1, 1)], positions=[a_position_row(1, 5, 1)]),
            a_flush(2, accounts=[an_account_row(1, 2)], marks=[a_mark_row(5, 2)]),
            a_flush(3, positions=[a_position_row(1, 5, 3), a_position_row(1, 4, 3)], marks=[a_mark_row(5, 3)]),
        ]
    )
    expected = a_flush(
        3,
        accounts=[an_account_row(1, 2), an_account_row(2, 1)],
        positions=[a_position_row(1, 4, 3), a_position_row(1, 5, 3)],
        marks=[a_mark_row(5, 3)],
        event_count=3,
    )
    assert plain(expected) == plain(merged)


def test_rows_and_settlements_keep_their_order() -> None:
    first, second = a_valuation(7, {1: 10}), a_valuation(8, {1: 11})
    merged = merge(
        [a_flush(1, rows=[first], settlements=[(1, 1, 9)]), a_flush(2, rows=[second], settlements=[(1, 1, 8)])]
    )
    assert (first, second) == merged.rows
    assert [9, 8] == merged.settlements.settlement_id.tolist()


def test_a_checkpoint_is_kept_beside_newer_rows() -> None:
    checkpoint = snapshots(a_valuation(7, {1: 10}))
    merged = merge([a_flush(1, latest=checkpoint), a_flush(2, rows=[a_valuation(8, {1: 11})])])
    assert checkpoint is merged.latest


def test_watermarks_are_the_newest_with_all_digests_of_their_epoch() -> None:
    merged = merge(
        [
            a_flush(1, watermarks=[a_watermark("a", 1, 1, [11, 12]), a_watermark("b", 1, 5, [1])]),
            a_flush(2, watermarks=[a_watermark("a", 1, 3, [13])]),
            a_flush(3, watermarks=[a_watermark("b", 2, 1, [2])]),
        ]
    )
    expected = [a_watermark("a", 1, 1, [11, 12, 13]), a_watermark("b", 2, 1, [2])]
    assert plain(expected) == plain(merged.watermarks)


def test_only_the_last_digests_are_kept() -> None:
    (watermark,) = newest_watermarks(
        [a_watermark("a", 1, 1, range(DIGESTS_KEPT)), a_watermark("a", 1, DIGESTS_KEPT + 1, [5])]
    )
    assert (2, DIGESTS_KEPT + 1, DIGESTS_KEPT) == (
        watermark.first_sequence,
        watermark.applied_sequence,
        len(watermark.digest),
    )


def test_a_gap_in_digests_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="digests of source 'a' continue at 4, expected 3"):
        newest_watermarks([a_watermark("a", 1, 1, [1, 2]), a_watermark("a", 1, 4, [4])])


def test_what_is_added_and_removed_cancels_out() -> None:
    added = [(1, 100, 5, 1, 10, 10), (1, 101, 5, 1, 10, 10)]
    earlier = (2, 50, 0, 0, 0, 0)
    merged = merge([a_flush(1, added=added), a_flush(2, removed=[(1, 100, 0, 0, 0, 0), earlier])])
    assert [101] == merged.unannounced_added.trade_id.tolist()
    assert [50] == merged.unannounced_removed.trade_id.tolist()


def test_rows_are_thinned_to_the_newest_of_each_account() -> None:
    valuations = [a_valuation(1, {1: 10, 2: 20}), a_valuation(2, {2: 21}), a_valuation(3, {2: 22, 3: 30})]
    kept, dropped_count = coalesce_rows(valuations)
    assert 2 == dropped_count
    assert plain([a_valuation(1, {1: 10}), a_valuation(3, {2: 22, 3: 30})]) == plain(kept)


def test_no_rows_are_thinned_to_none() -> None:
    assert ((), 0) == coalesce_rows([])
