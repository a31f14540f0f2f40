"""What travels between gateways and shards comes out as it went in."""

from dataclasses import fields

import numpy as np
import pytest
from evs.cluster.v1 import cluster_pb2 as pb

from evs_server import errors
from evs_server.cluster import codec, subjects
from evs_server.cluster.news import (
    NEWS_ROWS_MAX,
    EnsureRequest,
    EnsureResponse,
    LatestRequest,
    LatestResponse,
    News,
    Pass,
    ShardRefusal,
    in_pieces,
    latest_page,
)
from evs_server.cluster.parts import Part, PartRun
from evs_server.cluster.statuses import decode_error, encode_error
from evs_server.limits import EXACT_MAX
from evs_server.model import (
    VALUATION_COLUMNS,
    CashRun,
    SettlementColumns,
    SnapshotColumns,
    TickRun,
    TradeRun,
    Valuation,
)
from evs_server.rpc_status import STATUS_OF
from tests.builders import NOON_MS, int64
from tests.unit.test_rpc_status import an_error


def some_snapshots(count: int) -> SnapshotColumns:
    """Ids, versions and times are positive, and so are flags; all else goes both ways."""
    rows = np.arange(1, count + 1)
    signed = {name: rows * (-1) ** place * 7 for place, name in enumerate(VALUATION_COLUMNS)}
    return SnapshotColumns(**{**signed, "version": rows, "tick": rows, "timestamp_ms": rows, "flags": rows % 64})


def some_valuation(count: int, version: int = 9) -> Valuation:
    rows = some_snapshots(count)
    columns = np.array([getattr(rows, name) for name in VALUATION_COLUMNS])
    return Valuation(version, 3, NOON_MS, columns, session_roll=True)


def some_news(*passes: Valuation) -> News:
    refusal = ShardRefusal("b1", 4, errors.OutOfBounds("cash_cents", "cash_cents would be 7, the most is 5", value=7))
    made = tuple(Pass(f"b{number}", valuation) for number, valuation in enumerate(passes))
    return News(3, 12, 100, "worker-1", 55, 44, NOON_MS, made, (refusal,), 1_000)


def columns_of(row: object) -> list[object]:
    names = row.__dataclass_fields__  # type: ignore[attr-defined]
    return [each.tolist() if isinstance(each := getattr(row, name), np.ndarray) else each for name in names]


def test_a_part_comes_back_as_it_was() -> None:
    """Columns of zeros and empty texts, which are left out, included."""
    run = TradeRun(
        int64(1, EXACT_MAX), int64(0, 2**32 - 1), int64(1, 2), *(int64(1, EXACT_MAX),) * 2, *(int64(0, 0),) * 2
    )
    flows = PartRun(int64(5, 7), CashRun(int64(1, 2), int64(-5, 5), ("", "")))
    named = PartRun(int64(9), CashRun(int64(1), int64(-EXACT_MAX), ("überweisung",)))
    tick = PartRun(int64(10), TickRun(int64(0), int64(0)))
    part = Part(NOON_MS, "em", 2, 77, "b1", (PartRun(int64(0, 3), run), flows, named, tick), shared_follows=True)
    back = codec.decode_part(codec.encode_part(part))
    assert (NOON_MS, "em", 2, 77, "b1", True) == (
        back.taken_ms, back.source, back.epoch, back.first_sequence, back.batch_id, back.shared_follows
    )  # fmt: skip
    assert [(run.index.tolist(), type(run.run), columns_of(run.run)) for run in part.runs] == [
        (run.index.tolist(), type(run.run), columns_of(run.run)) for run in back.runs
    ]


def test_events_of_a_kind_that_is_not_known_are_not_passed_over() -> None:
    """A newer version has put them in; to go on without them would be wrong for ever."""
    newer = pb.Part(batch_id="b1", runs=[pb.PartRun(index=[0])]).SerializeToString()
    with pytest.raises(errors.LogGap, match="does not know"):
        codec.decode_part(newer)


@pytest.mark.parametrize("kind", list(STATUS_OF))
def test_an_error_comes_back_as_what_it_was(kind: type[errors.EvsError]) -> None:
    error = errors.Superseded(7) if kind is errors.Superseded else an_error(kind)
    back = decode_error(encode_error(error))
    assert (kind, error.message, error.metadata, str(error)) == (type(back), back.message, back.metadata, str(back))
    assert vars(error) == vars(back)


def test_an_error_of_a_newer_version_is_retried() -> None:
    status = encode_error(errors.Overloaded("there are 7", count=7)).replace(b"OVERLOADED", b"NEWERTHING")
    back = decode_error(status)
    assert (errors.Overloaded, "there are 7") == (type(back), back.message)


def test_news_comes_back_as_it_was() -> None:
    news = some_news(some_valuation(3))
    back = codec.decode_news(codec.encode_news(news))
    assert columns_of(news.passes[0].valuation) == columns_of(back.passes[0].valuation)
    assert (12, 100, "worker-1", 55, 44, NOON_MS, 1_000) == (
        back.start_number, back.number, back.owner, back.applied_position, back.committed_position, back.applied_ms,
        back.account_count,
    )  # fmt: skip
    [refusal] = back.refusals
    assert ("b1", 4, "cash_cents") == (refusal.batch_id, refusal.index, refusal.error.field)  # type: ignore[attr-defined]


def test_large_news_is_told_in_pieces_and_only_the_last_says_how_far_it_is() -> None:
    """Numbers go on by one, no snapshot is lost, and no piece has more than its share."""
    pieces = list(in_pieces(some_news(some_valuation(5, 1), some_valuation(3, 2), some_valuation(0, 3)), rows_max=4))
    assert [100, 101] == [piece.number for piece in pieces]
    assert [0, 55] == [piece.applied_position for piece in pieces]
    assert [0, 44] == [piece.committed_position for piece in pieces]
    assert [0, 1] == [len(piece.refusals) for piece in pieces]
    told = [(made.valuation.version, made.valuation.account_id.tolist()) for piece in pieces for made in piece.passes]
    assert [(1, [7, 14, 21, 28]), (1, [35]), (2, [7, 14, 21]), (3, [])] == told
    assert all(made.valuation.session_roll for piece in pieces for made in piece.passes), "as a part of a roll is one"


def test_news_without_passes_is_one_message() -> None:
    """As after a commit."""
    [piece] = in_pieces(some_news())
    assert (100, 55, 44, ()) == (piece.number, piece.applied_position, piece.committed_position, piece.passes)


def test_a_piece_of_news_fits_into_a_message() -> None:
    """Whatever the numbers are."""
    most = np.full(NEWS_ROWS_MAX, EXACT_MAX)
    columns = np.array([most % 64 if name == "flags" else most for name in VALUATION_COLUMNS])
    worst = Valuation(EXACT_MAX, EXACT_MAX, NOON_MS, columns, session_roll=True)
    [piece] = in_pieces(some_news(worst))
    assert len(codec.encode_news(piece)) < 2**20


def test_questions_and_answers_come_back_as_they_were() -> None:
    ensure = EnsureRequest(int64(1, 2), SettlementColumns(int64(1), int64(2), int64(77)), 9)
    back = codec.decode_ensure_request(codec.encode_ensure_request(ensure))
    assert ([1, 2], [1], [2], [77], 9) == (
        back.account_id.tolist(), *map(np.ndarray.tolist, (
            back.settlements.account_id, back.settlements.side, back.settlements.settlement_id
        )), back.at_least_position,
    )  # fmt: skip
    answer = EnsureResponse(some_snapshots(2), {9: errors.UnknownAccount(9)}, (0,), 12)
    again = codec.decode_ensure_response(codec.encode_ensure_response(answer))
    assert columns_of(answer.snapshots) == columns_of(again.snapshots)
    assert ([errors.UnknownAccount], (0,), 12) == (
        [type(error) for error in again.refused.values()], again.repeated, again.start_number
    )  # fmt: skip
    assert LatestRequest(9, 5) == codec.decode_latest_request(codec.encode_latest_request(LatestRequest(9, 5)))
    page = LatestResponse(some_snapshots(1), 12, more=True)
    shown = codec.decode_latest_response(codec.encode_latest_response(page))
    assert (columns_of(page.snapshots), 12, True) == (columns_of(shown.snapshots), shown.start_number, shown.more)


def test_all_newest_snapshots_are_had_page_by_page() -> None:
    rows = some_snapshots(2 * NEWS_ROWS_MAX + 5)
    latest = SnapshotColumns(*(getattr(rows, field.name)[::-1] for field in fields(rows)))
    had: list[int] = []
    request, more = LatestRequest(), True
    while more:
        page = latest_page(latest, request, 12)
        had += page.snapshots.account_id.tolist()
        more, request = page.more, LatestRequest(0, had[-1])
    assert rows.account_id.tolist() == had


def test_names_in_the_log_hold_whatever_a_source_is_called() -> None:
    """Dots, stars and spaces mean something to NATS."""
    entry = subjects.of_source("a.* ä")
    assert ("evs.in.source.612e2a20c3a4.journal", "evs.in.source.612e2a20c3a4.*") == (
        entry,
        subjects.whole_journal(entry),
    )
    assert ("evs.in.shard.7", "evs.in.all", "evs.in.source.*.whole") == subjects.read_by(7)
    assert 7 == subjects.shard_in(subjects.news_of(7))
