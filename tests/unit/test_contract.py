"""The contract: what is fixed stays fixed, what is generated is clean, and the tool that watches over both notices."""

import shutil
from pathlib import Path

import pytest
from evs.v1 import evs_pb2

from tools import check_contract

FIXED_METHODS = [
    "OnTradeSettled",
    "OnPriceUpdated",
    "OnTickComplete",
    "OnCashAdjusted",
    "StreamEvents",
    "GetIngestState",
    "GetEquity",
    "BatchGetEquity",
    "ListPositions",
    "GetEquityHistory",
    "SubscribeEquity",
    "WatchEquity",
]

OUR_METHODS = ["GetPerformance", "GetLeaderboard"]

FIXED_EQUITY_NAMES = [
    "account_id",
    "tick",
    "timestamp",
    "total_equity",
    "cash_balance",
    "position_value",
    "day_change",
    "day_change_percent",
    "unrealized_pnl",
    "realized_pnl",
]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the checks read, to spoil."""
    for name in ("buf.yaml", "buf.gen.yaml"):
        shutil.copy(check_contract.ROOT / name, tmp_path)
    for name in ("proto", "tools"):
        shutil.copytree(check_contract.ROOT / name, tmp_path / name)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first occurrence of a text that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_service_has_the_methods_that_callers_were_promised() -> None:
    """Each method of DESIGN 4 is there under its name, and of others those that were added on purpose."""
    service = evs_pb2.DESCRIPTOR.services_by_name["EquityValuationService"]
    assert sorted([*FIXED_METHODS, *OUR_METHODS]) == sorted(method.name for method in service.methods)


def test_an_equity_update_has_exactly_the_ten_names_of_the_frontend() -> None:
    """The JSON of browsers is made from these names, in this order."""
    assert FIXED_EQUITY_NAMES == [field.name for field in evs_pb2.EquityUpdate.DESCRIPTOR.fields]


def test_the_contract_imports_nothing_but_protobuf_itself() -> None:
    """A client in any language needs no file but ours."""
    assert [] == [file.name for file in evs_pb2.DESCRIPTOR.dependencies if not file.name.startswith("google/protobuf/")]


def test_generated_code_is_clean() -> None:
    """What is committed is what the contract generates."""
    assert [] == check_contract.stale_generated_code()


def test_no_promise_is_broken() -> None:
    """The contract can be used by every caller of its baseline."""
    assert [] == check_contract.broken_promises()


def test_a_file_that_differs_from_what_is_generated_is_named(checkout: Path) -> None:
    """An edited, a missing and a leftover file are each told apart."""
    folder = checkout / check_contract.GENERATED / "evs" / "v1"
    edit(folder / "evs_pb2.pyi", "class", "class  ")
    (folder / "evs_pb2_grpc.py").unlink()
    (folder / "old_pb2.py").touch()
    assert [
        "proto/gen/python/evs/v1/evs_pb2.pyi is not what evs.proto generates: run `make gen`",
        "proto/gen/python/evs/v1/evs_pb2_grpc.py is missing: run `make gen`",
        "proto/gen/python/evs/v1/old_pb2.py is no longer generated: delete it",
    ] == check_contract.stale_generated_code(checkout)


def test_a_renamed_field_is_a_broken_promise(checkout: Path) -> None:
    """JSON callers know a field by its name."""
    edit(checkout / "proto/evs/v1/evs.proto", "int64 total_equity = 4;", "int64 equity_total = 4;")
    problems = check_contract.broken_promises(checkout)
    assert '"json_name" from "totalEquity" to "equityTotal"' in problems[0]
    assert "make contract-baseline" in problems[-1]


def test_a_new_field_is_no_broken_promise(checkout: Path) -> None:
    """The contract may grow."""
    edit(
        checkout / "proto/evs/v1/evs.proto",
        "int64 total_equity = 4;",
        "int64 total_equity = 4;\n  // Unused.\n  int64 later = 99;",
    )
    assert [] == check_contract.broken_promises(checkout)


def test_a_missing_baseline_says_how_to_make_one(checkout: Path) -> None:
    """Without a baseline nothing can be promised."""
    (checkout / check_contract.BASELINE).unlink()
    assert ["proto/evs.v1.binpb is missing: run `make contract-baseline`"] == check_contract.broken_promises(checkout)
