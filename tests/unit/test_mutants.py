"""The mutants of ``make mutants`` can still be made: whoever changes such a line is told at once, not a day later."""

from pathlib import Path

import pytest

from tools.mutants import ROOT, Mutant, read_mutants

MUTANTS = read_mutants(ROOT / "tools/mutants.toml")


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_what_a_mutant_changes_stands_exactly_once(mutant: Mutant) -> None:
    for edit in mutant.edits:
        assert 1 == (ROOT / edit.file).read_text(encoding="utf-8").count(edit.find), edit.file


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_tests_that_should_kill_a_mutant_are_there(mutant: Mutant) -> None:
    for test in mutant.tests:
        path, _, name = test.partition("::")
        assert f"def {name}" in Path(ROOT / path).read_text(encoding="utf-8")
