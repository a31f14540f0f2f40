"""Snapshots and positions as the contract writes them."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from evs.v1 import evs_pb2 as pb
from google.protobuf import json_format

from evs_server.fanout import codec
from evs_server.fanout.hub import Pending, Sheet
from evs_server.limits import EXACT_MAX, PERCENT_E4_MAX
from evs_server.model import Flag, MarkSource, PositionView, Snapshot, SnapshotColumns
from tests.flushes import table

SNAPSHOT = Snapshot(
    account_id=7,
    version=2**33 + 5,
    tick=12,
    timestamp_ms=1_700_000_000_999,
    equity_cents=1_100_000,
    cash_cents=500_000,
    position_value_cents=600_000,
    day_change_cents=-100_000,
    day_change_percent_e4=-83_333,
    unrealized_cents=100_000,
    realized_cents=-50_000,
    net_flow_cents=1_050_000,
    flags=Flag.UNPRICED | Flag.NO_BASE,
)
EQUITY = pb.EquityUpdate(
    account_id=7,
    tick=12,
    timestamp=1_700_000_000,
    total_equity=1_100_000,
    cash_balance=500_000,
    position_value=600_000,
    day_change=-100_000,
    day_change_percent=-8.3333,
    unrealized_pnl=100_000,
    realized_pnl=-50_000,
)
FLAGS = [pb.EQUITY_FLAG_UNPRICED, pb.EQUITY_FLAG_NO_BASE]


def test_a_read_carries_the_ten_numbers_and_the_net_flow() -> None:
    assert pb.GetEquityResponse(equity=EQUITY, version=2**33 + 5, flags=FLAGS, net_flow=1_050_000) == codec.encode_read(
        SNAPSHOT
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_change_carries_the_same_numbers(first: bool) -> None:
    assert pb.SubscribeEquityResponse(
        equity=EQUITY, version=2**33 + 5, snapshot=first, conflated=3, flags=FLAGS
    ) == codec.encode_change(Pending(SNAPSHOT, 3), first=first)


@pytest.mark.parametrize("first", [True, False])
def test_rows_of_a_sheet_say_the_same_as_single_changes(first: bool) -> None:
    """Each of the part asked for, in order, to the last number and flag."""
    snapshots = [
        replace(
            SNAPSHOT, account_id=account_id, version=2**40 + account_id, day_change_percent_e4=percent_e4, flags=flags
        )
        for account_id, percent_e4, flags in ((7, 0, 0), (8, -PERCENT_E4_MAX, sum(Flag)), (9, 1, Flag.DEGRADED))
    ]
    names = [field.name for field in fields(SnapshotColumns)]
    rows = table(SnapshotColumns, [[getattr(snapshot, name) for name in names] for snapshot in snapshots])
    sheet = Sheet(rows, np.array([0, 3, 5]), first)
    changes = [codec.encode_change(Pending(*each), first=first) for each in zip(snapshots, (0, 3, 5), strict=True)]
    assert pb.WatchEquityResponse(updates=changes) == codec.encode_rows(sheet, 0, 3)
    assert pb.WatchEquityResponse(updates=changes[1:]) == codec.encode_rows(sheet, 1, 99)


def test_a_heartbeat_carries_no_value() -> None:
    heartbeat = codec.encode_heartbeat(9)
    assert (False, 9) == (heartbeat.HasField("equity"), heartbeat.version)


def test_json_has_the_ten_names() -> None:
    """DESIGN 4: these names are the JSON keys too."""
    shown = json.loads(json_format.MessageToJson(codec.encode_equity(SNAPSHOT), preserving_proto_field_name=True))
    assert {
        "account_id", "tick", "timestamp", "total_equity", "cash_balance", "position_value", "day_change",
        "day_change_percent", "unrealized_pnl", "realized_pnl",
    } == shown.keys()  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "percent_e4"),
    [
        ("0.0", 0),
        ("10.0", 100_000),
        ("0.0001", 1),
        ("-0.0001", -1),
        ("33.3333", 333_333),
        ("999999.9999", PERCENT_E4_MAX),
        ("-999999.9999", -PERCENT_E4_MAX),
    ],
)
def test_a_percentage_keeps_its_four_decimals(shown: str, percent_e4: int) -> None:
    """The double nearest to four decimals shows as exactly those, wherever it is printed."""
    snapshot = Snapshot(7, 1, 1, 0, 0, 0, 0, 0, percent_e4, 0, 0, 0, 0)
    assert shown == repr(codec.encode_equity(snapshot).day_change_percent)


def test_the_largest_numbers_fit() -> None:
    biggest = replace(
        SNAPSHOT,
        version=EXACT_MAX,
        equity_cents=EXACT_MAX,
        net_flow_cents=EXACT_MAX,
        day_change_percent_e4=PERCENT_E4_MAX,
    )
    encoded = codec.encode_read(biggest)
    assert (EXACT_MAX, EXACT_MAX, EXACT_MAX) == (encoded.equity.total_equity, encoded.version, encoded.net_flow)


@pytest.mark.parametrize(
    ("numbers", "flags"),
    [
        ([], 0),
        ([pb.EQUITY_FLAG_UNPRICED], Flag.UNPRICED),
        ([pb.EQUITY_FLAG_STALE_PRICE], Flag.STALE_PRICE),
        ([pb.EQUITY_FLAG_DEGRADED], Flag.DEGRADED),
        ([pb.EQUITY_FLAG_NO_BASE], Flag.NO_BASE),
        ([pb.EQUITY_FLAG_IDENTITY_VIOLATED], Flag.IDENTITY_VIOLATED),
        ([1, 2, 3, 4, 5], sum(Flag)),
    ],
)
def test_flags_ascend_and_come_once(numbers: list[pb.EquityFlag], flags: int) -> None:
    assert numbers == codec.encode_flags(flags)


def test_bit_n_is_number_n_of_the_contract() -> None:
    """Rows keep the bits, so these numbers may never change."""
    numbers = {number for number in pb.EquityFlag.values() if number != pb.EQUITY_FLAG_UNSPECIFIED}
    assert {1 << number for number in numbers} == {flag.value for flag in Flag}
    for number in numbers:
        assert [number] == codec.encode_flags(1 << number)


@pytest.mark.parametrize(
    ("number", "source"),
    [
        (pb.MARK_SOURCE_UNSPECIFIED, MarkSource.NONE),
        (pb.MARK_SOURCE_MARK, MarkSource.MARK),
        (pb.MARK_SOURCE_LAST_TRADE, MarkSource.LAST_TRADE),
        (pb.MARK_SOURCE_COST, MarkSource.COST),
    ],
)
def test_a_position_names_the_source_of_its_price(number: pb.MarkSource, source: MarkSource) -> None:
    view = PositionView(11, -5_000, 333, -166, 400, source, 1_999, -200, -34, 12, 2_999)
    assert pb.Position(
        symbol_id=11,
        quantity_bp=-5_000,
        avg_cost=333,
        basis_cents=-166,
        mark_price=400,
        mark_source=number,
        market_value=-200,
        unrealized_pnl=-34,
        realized_pnl=12,
        last_updated=2,
        mark_time=1_999,
    ) == codec.encode_position(view)
