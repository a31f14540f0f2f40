"""The bridge's page: its own tests under Node.js, and what builds it."""

import sys
from pathlib import Path

import pytest

from tests.web_client import COMPILER, run_node
from tools import web


def test_the_page_passes_its_own_tests(tmp_path: Path) -> None:
    """What it decides and shows, without a browser, as ``npm run test:page`` runs them."""
    compiled = run_node(COMPILER, "-p", "dashboard/tsconfig.test.json", "--outDir", tmp_path)
    assert 0 == compiled.returncode, compiled.stdout
    (tmp_path / "package.json").write_text('{"type": "module"}')
    tests = sorted((tmp_path / "dashboard" / "tests").glob("*.test.js"))
    assert {"asking.test.js", "chart.test.js", "views.test.js"} <= {path.name for path in tests}
    tested = run_node("--test", "--test-reporter=tap", *tests)
    assert 0 == tested.returncode, tested.stdout


def test_the_page_is_typed_to_its_edges() -> None:
    """The parts that need a browser too."""
    checked = run_node(COMPILER, "-p", "dashboard/tsconfig.json")
    assert 0 == checked.returncode, checked.stdout


@pytest.mark.parametrize(
    ("will_do", "version"),
    [
        (True, "v20.19.0"),
        (True, "v22.12.1"),
        (True, "v24.0.0"),
        (False, "v20.18.9"),
        (False, "v21.7.3"),
        (False, "v22.11.0"),
        (False, "v18.20.4"),
        (False, ""),
        (False, "node"),
    ],
)
def test_only_a_node_that_the_tools_run_on_will_do(will_do: bool, version: str) -> None:
    """As ``engines`` of package.json says."""
    assert will_do == web.is_new_enough(version)


def test_a_program_that_is_none_has_no_version(tmp_path: Path) -> None:
    """Nor has one that is something else."""
    assert web.version_of(tmp_path / "node") == ""
    assert not web.is_new_enough(web.version_of(Path(sys.executable)))


def test_the_page_is_built_again_only_when_its_sources_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests, tools and what was built do not count; names and contents do."""
    monkeypatch.setattr(web, "ROOT", tmp_path)
    monkeypatch.setattr(web, "WEB", tmp_path / "web")
    for name in ("src/a.ts", "dashboard/index.html", "dashboard/tests/a.test.ts", "node_modules/x/y.js", "dist/a.js"):
        (tmp_path / "web" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "web" / name).write_text(name)
    assert ["dashboard/index.html", "src/a.ts"] == [
        path.relative_to(tmp_path / "web").as_posix() for path in web.sources()
    ]
    before = web.digest(web.sources())
    (tmp_path / "web" / "dist" / "a.js").write_text("other")
    assert before == web.digest(web.sources())
    (tmp_path / "web" / "src" / "a.ts").write_text("other")
    changed = web.digest(web.sources())
    assert before != changed
    (tmp_path / "web" / "src" / "a.ts").rename(tmp_path / "web" / "src" / "b.ts")
    assert changed != web.digest(web.sources())


def test_nobody_is_told_more_than_the_commands_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command is a mistake of the caller."""
    assert 2 == web.main("nonsense")
    assert "build, check, test, fmt, node" in capsys.readouterr().err
