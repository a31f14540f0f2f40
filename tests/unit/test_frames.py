"""The JSON that the bridge sends: the exact frames (`tests/golden`), and numbers that survive being read."""

import json

import pytest
from evs.v1 import evs_pb2
from hypothesis import given
from hypothesis import strategies as st

from evs_server.bridge import frames
from evs_server.bridge.values import EquityData, EquityValue, HistoryPoint, Performance
from tests.golden_values import FRAMES, GOLDEN, WARNED


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_is_exactly_the_golden_one(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    # Written out again, so that the order of keys counts at every depth: it is part of what people read.
    assert json.dumps(golden) == json.dumps(json.loads(FRAMES[name]))


def test_every_golden_frame_that_is_no_request_is_one_that_the_bridge_makes() -> None:
    golden = {path.stem for path in GOLDEN.glob("*.json")}
    assert {name for name in golden if not name.startswith("request_")} == set(FRAMES)


def test_the_points_of_a_history_and_the_figures_of_a_performance_have_the_contracts_names() -> None:
    assert [field.name for field in evs_pb2.EquityPoint.DESCRIPTOR.fields] == list(HistoryPoint.__struct_fields__)
    contract = [field.name for field in evs_pb2.GetPerformanceResponse.DESCRIPTOR.fields]
    assert contract == list(Performance.__struct_fields__)


def test_the_data_of_an_equity_frame_has_the_ten_names_of_the_contract_and_no_others() -> None:
    frame = json.loads(frames.equity(WARNED, snapshot=False, conflated=3))
    assert [field.name for field in evs_pb2.EquityUpdate.DESCRIPTOR.fields] == list(frame["data"])
    assert ["stream", "data", "version", "snapshot", "conflated", "flags"] == list(frame)


@given(st.integers(-9_999_999_999, 9_999_999_999))
def test_a_percentage_of_four_decimals_is_a_json_number_that_reads_back_the_same(percent_e4: int) -> None:
    data = EquityData(7, 1, 1, 0, 0, 0, 0, percent_e4 / 10_000, 0, 0)
    frame = json.loads(frames.equity(EquityValue(data, 1, False, 0, ()), snapshot=False, conflated=0))
    assert percent_e4 == round(frame["data"]["day_change_percent"] * 10_000)
