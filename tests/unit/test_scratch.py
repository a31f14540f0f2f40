"""The directory that a replay works in: it goes with its process, or else with the next."""

import tempfile
from pathlib import Path

import pytest

from evs_server.exchange.scratch import PREFIX, scratch_directory


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's directory for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_directory_in_use_is_nobody_elses(parent: Path) -> None:
    with scratch_directory() as one, scratch_directory() as other:
        assert {one, other} == set(parent.iterdir())
    assert [] == list(parent.iterdir())


def test_a_directory_whose_process_has_gone_is_removed_and_nothing_else(parent: Path) -> None:
    """A lock goes with its process; a file of that name, or a link to a directory, was never one of ours."""
    left, kept = parent / f"{PREFIX}left", parent / "kept"
    for directory in (left, kept):
        (directory / "postgres").mkdir(parents=True)
        (directory / "postgres" / "file").touch()
    link, file = parent / f"{PREFIX}link", parent / f"{PREFIX}file"
    link.symlink_to(kept)
    file.touch()
    with scratch_directory() as directory:
        assert {directory, kept, link, file} == set(parent.iterdir())
        assert (kept / "postgres" / "file").exists()
