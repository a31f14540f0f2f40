"""
Shows that the tests notice: each mutant of ``mutants.toml`` is applied to a copy of the tree, and its tests must fail.

A mutant counts as killed by an assertion of a named test; a crash, an error at collection or a test that hangs is no
kill. The unchanged copy must pass the same tests in the same job. Ends with status 1 unless every mutant is killed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("evs_server", "clients", "proto", "tests", "tools", "pyproject.toml")
RUN_SECONDS_MAX = 120
KILL = re.compile(r"^tests/\S+:\d+: (AssertionError|Failed)$", re.MULTILINE)
"""How the failure of an assertion in a test ends; one in the product would name a file of the product."""


class Unusable(Exception):
    """A mutant that cannot be applied, or tests that do not pass without it."""


@dataclass(frozen=True)
class Edit:
    """One replacement in one file."""

    file: str
    find: str
    replace: str


@dataclass(frozen=True)
class Mutant:
    """A wrong program, and the tests that must notice."""

    name: str
    tests: tuple[str, ...]
    edits: tuple[Edit, ...]


def read_mutants(path: Path) -> list[Mutant]:
    """All mutants of a file."""
    listed = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [
        Mutant(each["name"], tuple(each["tests"]), tuple(Edit(**edit) for edit in each["edits"])) for each in listed
    ]


def copy_tree(target: Path) -> None:
    """Everything that tests need, without what was compiled from it."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy2(source, target / name)


def apply(mutant: Mutant, tree: Path) -> dict[Path, str]:
    """
    What the files it changed said before.

    Raises:
        Unusable: If a text does not stand exactly once where it is looked for.
    """
    before: dict[Path, str] = {}
    for edit in mutant.edits:
        path = tree / edit.file
        text = path.read_text(encoding="utf-8")
        if text.count(edit.find) != 1:
            restore(before)
            raise Unusable(f"{edit.file} has {text.count(edit.find)} times, expected once: {edit.find!r}")
        before.setdefault(path, text)
        path.write_text(text.replace(edit.find, edit.replace), encoding="utf-8")
    return before


def restore(before: dict[Path, str]) -> None:
    """Undo what ``apply`` has done."""
    for path, text in before.items():
        path.write_text(text, encoding="utf-8")


def run(tree: Path, tests: tuple[str, ...]) -> tuple[bool, list[str]]:
    """Whether some tests of a copy pass, and the names of those that failed with an assertion of their own."""
    report = tree / "report.xml"
    report.unlink(missing_ok=True)
    paths = [str(tree), str(tree / "proto/gen/python"), str(tree / "clients/python")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    try:
        ended = subprocess.run(
            [*command, f"--junitxml={report}", *tests],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=RUN_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, []
    if not report.exists():
        return ended.returncode == 0, []
    failures = [
        case.attrib["name"]
        for case in ET.parse(report).iter("testcase")  # noqa: S314 -- written by the line above
        for failure in case.iter("failure")
        if KILL.search(failure.text or "")
    ]
    return ended.returncode == 0, failures


def judge(mutant: Mutant, tree: Path) -> str:
    """The test that kills a mutant; empty if none does."""
    before = apply(mutant, tree)
    try:
        _, failures = run(tree, mutant.tests)
    finally:
        restore(before)
    return failures[0] if failures else ""


def main() -> int:
    """Judge all mutants and print a table; the exit status."""
    mutants = read_mutants(ROOT / "tools/mutants.toml")
    began, survivors = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="evs-mutants-") as folder:
        tree = Path(folder)
        # The databases of some tests run as another user, who must get to what they need.
        tree.chmod(0o755)
        copy_tree(tree)
        passed, _ = run(tree, tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests)))
        if not passed:
            print("The unchanged tree does not pass the tests that should kill mutants: there is nothing to show.")
            return 1
        print(f"{'unchanged':64} passes")
        for mutant in mutants:
            try:
                killer = judge(mutant, tree)
            except Unusable as error:
                killer = ""
                print(f"{mutant.name:64} CANNOT BE MADE: {error}")
            else:
                print(f"{mutant.name:64} {f'killed by {killer}' if killer else 'SURVIVES'}", flush=True)
            survivors += not killer
    print(f"{len(mutants) - survivors} of {len(mutants)} killed in {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
