"""The contract's messages as the bridge's values: every field, and nothing that a browser may not know."""

import pytest
from evs.v1 import admin_pb2, evs_pb2
from google.protobuf.message import Message

from evs_server.bridge import codec
from evs_server.bridge.requests import RANGES, RESOLUTIONS, ReadHistory, ReadLeaderboard, ReadPerformance, Span
from evs_server.bridge.values import Cluster, PositionRow, Positions, VirtualShard
from tests.golden_values import BOARD, HELD, LAST_PAGE, MADE, PAGE, SHARDS, VALUE

# --- from the contract's messages --------------------------------------------------------------------------------


def test_every_field_of_a_value_is_carried_over() -> None:
    message = evs_pb2.SubscribeEquityResponse(
        equity=evs_pb2.EquityUpdate(
            account_id=7,
            tick=42,
            timestamp=1_700_000_000,
            total_equity=1_100_000,
            cash_balance=500_000,
            position_value=600_000,
            day_change=100_000,
            day_change_percent=10.0,
            unrealized_pnl=100_000,
        ),
        version=4_294_967_297,
        snapshot=True,
    )
    assert codec.decode_update(message) == VALUE
    assert codec.decode_equity(evs_pb2.GetEquityResponse(equity=message.equity, version=message.version)) == VALUE


def test_a_heartbeat_has_no_value() -> None:
    assert codec.decode_update(evs_pb2.SubscribeEquityResponse(version=3)) is None


def test_flags_and_sources_go_by_name_and_unknown_ones_by_number() -> None:
    message = evs_pb2.SubscribeEquityResponse(
        equity=evs_pb2.EquityUpdate(account_id=7),
        flags=[evs_pb2.EQUITY_FLAG_UNPRICED, evs_pb2.EQUITY_FLAG_IDENTITY_VIOLATED, 77],  # type: ignore[list-item]
    )
    value = codec.decode_update(message)
    assert value is not None
    assert ("UNPRICED", "IDENTITY_VIOLATED", "77") == value.flags


def test_every_field_of_a_position_is_carried_over() -> None:
    message = evs_pb2.ListPositionsResponse(
        positions=[
            evs_pb2.Position(
                symbol_id=1,
                quantity_bp=1_000_000,
                avg_cost=5_000,
                basis_cents=500_000,
                mark_price=6_000,
                mark_source=evs_pb2.MARK_SOURCE_MARK,
                market_value=600_000,
                unrealized_pnl=100_000,
                last_updated=1_700_000_000,
                mark_time=1_700_000_000_250,
            )
        ],
        version=4_294_967_297,
    )
    assert Positions([HELD.positions[0]], 4_294_967_297) == codec.decode_positions(message)
    names = {field.name for field in evs_pb2.Position.DESCRIPTOR.fields}
    assert names == set(PositionRow.__struct_fields__)


def test_every_field_of_a_virtual_shard_is_carried_over_and_its_owner_goes_by_its_name() -> None:
    message = admin_pb2.GetClusterResponse(
        last_position=4_200,
        shards=[
            admin_pb2.VirtualShard(
                shard=0,
                owner="zero",
                start_number=3,
                applied_position=4_199,
                committed_position=4_187,
                owned_since=1_699_999_990_000,
                heard=1_699_999_999_900,
            ),
            admin_pb2.VirtualShard(
                shard=1,
                owner="two",
                start_number=2,
                applied_position=4_100,
                committed_position=4_100,
                lag_ms=4_250,
                owned_since=1_699_999_940_000,
                heard=1_699_999_995_750,
            ),
            admin_pb2.VirtualShard(shard=2, silent=True),
        ],
        time=1_700_000_000_000,
    )
    assert SHARDS == codec.decode_cluster(
        message, lambda owner: {"zero": "shard-0", "two": "shard-2"}.get(owner, owner)
    )
    for kind, ours in ((admin_pb2.VirtualShard, VirtualShard), (admin_pb2.GetClusterResponse, Cluster)):
        assert [field.name for field in kind.DESCRIPTOR.fields] == list(ours.__struct_fields__)


# --- requests ----------------------------------------------------------------------------------------------------


def test_every_range_and_resolution_has_its_number_in_the_contract() -> None:
    """By position, which is how the contract numbers them."""
    spans = [codec.encode_performance(ReadPerformance(1, Span(name)), 7).range for name in RANGES]
    assert [1, 2, 3, 4, 5, 6] == spans
    asked = [ReadHistory(1, Span("1D"), name, False, 1, "") for name in RESOLUTIONS]
    assert [1, 2, 3, 4, 5] == [codec.encode_history(request, 7).resolution for request in asked]


@pytest.mark.parametrize(
    ("expected", "made"),
    [
        (
            evs_pb2.GetEquityHistoryRequest(account_id=7, range=evs_pb2.HISTORY_RANGE_ONE_DAY, page_size=2_500),
            codec.encode_history(ReadHistory(1, Span("1D"), None, False, 2_500, ""), 7),
        ),
        (
            evs_pb2.GetEquityHistoryRequest(
                account_id=7,
                start=0,
                end=9,
                resolution=evs_pb2.RESOLUTION_ONE_HOUR,
                carry_forward=True,
                page_size=1,
                page_token="x",
            ),
            codec.encode_history(ReadHistory(1, Span(None, 0, 9), "1h", True, 1, "x"), 7),
        ),
        (
            evs_pb2.GetPerformanceRequest(account_id=7, start=0),
            codec.encode_performance(ReadPerformance(1, Span(None, 0)), 7),
        ),
        (
            evs_pb2.GetLeaderboardRequest(account_id=7, range=evs_pb2.HISTORY_RANGE_ALL, limit=3),
            codec.encode_leaderboard(ReadLeaderboard(1, "ALL", 3), 7),
        ),
    ],
)
def test_a_request_asks_evs_for_what_the_browser_asked(expected: Message, made: Message) -> None:
    """A start of zero is a start: presence counts, too."""
    assert expected == made


# --- history, performance, leaderboard ---------------------------------------------------------------------------


def test_every_point_of_a_history_is_carried_over() -> None:
    message = evs_pb2.GetEquityHistoryResponse(
        resolution=evs_pb2.RESOLUTION_ONE_MINUTE,
        points=[
            evs_pb2.EquityPoint(**{name: getattr(point, name) for name in point.__struct_fields__})
            for point in PAGE.points
        ],
        next_page_token="1700000040",
    )
    assert codec.decode_history(message) == PAGE


def test_the_last_page_has_no_next_one() -> None:
    assert codec.decode_history(evs_pb2.GetEquityHistoryResponse(resolution=evs_pb2.RESOLUTION_ONE_DAY)).next is None
    assert LAST_PAGE.next is None


def test_every_figure_of_a_performance_is_carried_over() -> None:
    message = evs_pb2.GetPerformanceResponse(**{name: getattr(MADE, name) for name in MADE.__struct_fields__})
    assert codec.decode_performance(message) == MADE


def test_places_are_carried_over_without_anybodys_id() -> None:
    message = evs_pb2.GetLeaderboardResponse(
        entries=[
            evs_pb2.LeaderboardEntry(rank=1, account_id=4, display_name="Ada", return_percent=12.5),
            evs_pb2.LeaderboardEntry(rank=2, account_id=7, return_percent=1.25),
            evs_pb2.LeaderboardEntry(rank=2, account_id=9, display_name="Zoë", return_percent=1.25),
        ],
        own=evs_pb2.LeaderboardEntry(rank=2, account_id=7, return_percent=1.25),
        ranked_count=50,
        version=4_294_967_297,
    )
    assert codec.decode_leaderboard(message, ReadLeaderboard(1, "1W", 3), 7) == BOARD


def test_who_is_not_ranked_has_no_place() -> None:
    board = codec.decode_leaderboard(evs_pb2.GetLeaderboardResponse(), ReadLeaderboard(1, "1D", 3), 7)
    assert board.own is None
