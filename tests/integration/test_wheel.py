"""The wheel, as ``make wheel`` builds it: whoever installs it has everything that EVS reads at run time."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import web

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 300


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """A wheel of this checkout."""
    if web.find_node() is None:
        pytest.skip("no Node.js to build the page with")
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert 0 == built.returncode, built.stderr
    [path] = folder.glob("*.whl")
    return zipfile.Path(path)


def test_the_wheel_has_the_page_and_all_that_it_loads(wheel: zipfile.Path) -> None:
    """Every file that the page names is there, and none of it is empty."""
    page = wheel / "evs_server" / "bridge" / "static"
    named = re.findall(r'(?:src|href)="/(assets/[^"]+)"', (page / "index.html").read_text())
    assert {".css", ".js", ".svg"} <= {Path(name).suffix for name in named}
    for name in named:
        assert page.joinpath(name).read_bytes()


def test_the_wheel_has_the_statements_and_the_contract(wheel: zipfile.Path) -> None:
    """Migrations, named statements, generated code and the client."""
    sql = {path.relative_to(ROOT).as_posix() for path in (ROOT / "evs_server").rglob("*.sql")}
    python = {path.relative_to(ROOT).as_posix() for path in (ROOT / "evs_server").rglob("*.py")}
    has = set(wheel.root.namelist())
    assert sql | python <= has
    assert {"evs/v1/evs_pb2.py", "evs/v1/evs_pb2_grpc.py", "evs_client/__init__.py"} <= has


def test_the_wheel_has_nothing_else(wheel: zipfile.Path) -> None:
    """No tests, no sources of the page, no tools."""
    top = {name.split("/")[0] for name in wheel.root.namelist()}
    assert {"evs", "evs_client", "evs_server"} == {name for name in top if not name.endswith(".dist-info")}
