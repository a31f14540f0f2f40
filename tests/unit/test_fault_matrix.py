"""The page that says which test covers which fault: every row, and no test that is not there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "tests" / "faults" / "README.md"
FAULTS = [f"F{number}" for number in range(1, 31)]

ROWS = dict(re.findall(r"^\| (F\d+) [^|]+\| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE))


def listed(row: str) -> list[tuple[str, str]]:
    """The tests of one row, each with its file."""
    each = re.findall(r"`(tests/\S+\.py)`: ([^;]+)", row)
    return [(file, name.strip(" `")) for file, names in each for name in names.split(", ")]


def names_in(file: str) -> set[str]:
    """The tests that a file has."""
    tree = ast.parse((ROOT / file).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {function.name for function in functions if function.name.startswith("test_")}


def test_every_fault_of_the_matrix_is_listed_once_and_in_order() -> None:
    assert FAULTS == list(ROWS)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_tests_of_a_fault_are_there(fault: str) -> None:
    assert listed(ROWS[fault])
    assert [] == [f"{file}: {name}" for file, name in listed(ROWS[fault]) if name not in names_in(file)]


def test_a_test_that_is_named_for_a_fault_is_listed_with_it() -> None:
    """Whoever writes one more says so here."""
    named = {
        (f"F{int(number)}", path.relative_to(ROOT).as_posix(), name)
        for path in (ROOT / "tests" / "faults").glob("test_*.py")
        for name in names_in(path.relative_to(ROOT).as_posix())
        for number in re.findall(r"^test_f(\d\d)_", name)
    }
    assert set() == {(fault, file, name) for fault, file, name in named if (file, name) not in listed(ROWS[fault])}
