"""Where compiled code is kept, and that it is compiled for what it is declared with and nothing else."""

import ast
import importlib
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from numba import types

from evs_server.engine import arithmetic, compiled
from tests.builders import int64


def test_a_kernel_takes_what_it_was_declared_with_and_nothing_else() -> None:
    """Another type would have to be compiled while others wait for an answer."""
    with pytest.raises(TypeError, match="No matching definition"):
        arithmetic._notionals(np.zeros(1), np.zeros(1), np.zeros(1))  # type: ignore[arg-type]


@pytest.fixture
def no_folder_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled._CONFIG, "CACHE_DIR", "")


def test_code_is_kept_where_the_setting_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled._CONFIG, "CACHE_DIR", str(tmp_path / "given"))
    folder = compiled._writable_folder()
    assert folder is not None
    assert (tmp_path / "given", True) == (folder.parent, folder.is_dir())


@pytest.mark.usefixtures("no_folder_given")
def test_code_is_kept_beside_the_sources_or_else_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / "taken"
    taken.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = []
    for beside in (tmp_path, taken):
        monkeypatch.setattr(compiled, "_BESIDE", beside)
        folder = compiled._writable_folder()
        assert folder is not None
        folders.append(folder.parent)
    assert [tmp_path, tmp_path / "cache" / "evs"] == folders


@pytest.mark.usefixtures("no_folder_given")
def test_without_a_place_to_keep_it_code_is_still_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each start pays then, and says so."""
    taken = tmp_path / "taken"
    taken.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(taken))
    monkeypatch.setattr(compiled, "_BESIDE", taken)
    with caplog.at_level(logging.WARNING):
        assert compiled._writable_folder() is None
    assert "NUMBA_CACHE_DIR" in caplog.text
    monkeypatch.setattr(compiled, "_FOLDER", None)

    @compiled.kernel(types.int64(compiled.INT64S))
    def total(column: np.ndarray) -> int:
        count = 0
        for each in column:
            count += each
        return count

    assert 6 == total(int64(1, 2, 3))


def test_code_is_compiled_anew_when_any_source_of_a_kernel_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper or a bound may stand in another file than the kernel that is made of it."""
    monkeypatch.setattr(compiled, "_ROOMS", (tmp_path,))
    digests = {compiled._sources_digest()}
    for text in ("@kernel\n", "@kernel\n#", "@helper\n"):
        (tmp_path / "loops.py").write_text(text)
        digests.add(compiled._sources_digest())
    (tmp_path / "plain.py").write_text("no loops here")
    assert 4 == len(digests | {compiled._sources_digest()})


def constants_of(file: Path) -> set[str]:
    """The numbers, enumerations and tuples that a file takes from elsewhere: what kernels can be made of."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("evs_server."):
            module = importlib.import_module(str(node.module))
            for name in (each.name for each in node.names):
                value = getattr(module, name, None)  # of a package, perhaps a module
                is_enumeration = isinstance(value, type) and issubclass(value, int)
                if isinstance(value, int | tuple) or is_enumeration:
                    found.add(name)
    return found


def test_whatever_numbers_kernels_are_made_of_compile_them_anew() -> None:
    """They are machine code by then: numba does not look whether one has changed."""
    sources = [path for room in compiled._ROOMS for path in room.glob("*.py")]
    digested = {path for path in sources if re.search("@kernel|@helper", path.read_text())} | set(compiled._CONSTANTS)
    package = Path(compiled.__file__).parents[1]
    for name in set[str]().union(*(constants_of(path) for path in digested & set(sources))):
        made = re.compile(rf"^(class {name}\b|{name}(: Final\S*)? = )", re.MULTILINE)
        makers = [path for path in package.rglob("*.py") if made.search(path.read_text())]
        assert makers, name
        assert set(makers) <= digested, name


def test_code_that_checks_its_indexes_is_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else ``NUMBA_BOUNDSCHECK=1`` would run what was compiled without, and check nothing."""
    digest = compiled._sources_digest()
    monkeypatch.setattr(compiled._CONFIG, "BOUNDSCHECK", 1)
    assert digest != compiled._sources_digest()
