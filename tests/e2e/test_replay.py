"""A replay as anybody runs it: with an EVS and a database of its own, each a process, and nothing left of them."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import Command, children, command_line, is_gone, running, wait_until_gone
from tests.patience import PATIENCE_SECONDS, eventually
from tests.prints import made_up_prints

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes as Linux shows them")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a replay makes the directory that it works in."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory


def test_a_replay_runs_all_it_needs_and_leaves_nothing(tmp_path: Path, scratch: Path) -> None:
    """An installation's keys and settings are left alone, and nobody is warned of what was made on purpose."""
    prints = made_up_prints(tmp_path, "ibm", "20131007", 50, seconds=60)
    installation: dict[str, str | Path] = {"jwt_secret_file": tmp_path / "absent.key", "persist": "on_trade"}
    with running("replay", "--json", str(prints), **installation) as replay:
        eventually(lambda: evs_of(replay), "an EVS")
        started = children(replay.process.pid)
        assert 0 == replay.wait_for_end(PATIENCE_SECONDS), replay.said
        summary = json.loads(replay.said)
    assert (50, 0, 0) == (summary["prints"], summary["mismatches"], summary["refused"])
    wait_until_gone(started)
    assert [] == list(scratch.iterdir())


def test_a_replay_that_is_stopped_leaves_nothing_either(tmp_path: Path, scratch: Path) -> None:
    """Its EVS stores nothing more into a database that is thrown away."""
    prints = made_up_prints(tmp_path, "ibm", "20131007", 50_000, seconds=23_400)
    with running("replay", "--json", str(prints), data_dir=tmp_path / "data") as replay:
        eventually(lambda: evs_of(replay), "an EVS")
        started = children(replay.process.pid)
        replay.process.send_signal(signal.SIGINT)
        assert 1 == replay.wait_for_end(), replay.said
    assert "evs: stopped before the end" in replay.said
    wait_until_gone(started)
    assert [] == list(scratch.iterdir())


def test_what_a_replay_that_was_killed_has_left_is_removed_by_the_next(tmp_path: Path, scratch: Path) -> None:
    prints = made_up_prints(tmp_path, "ibm", "20131007", 10, seconds=60)
    with running("replay", str(prints), data_dir=tmp_path / "data") as killed:
        eventually(lambda: evs_of(killed), "an EVS")
        started = children(killed.process.pid)
        killed.kill()
    wait_until_gone(started)
    left = list(scratch.iterdir())
    assert 1 == len(left)
    with running("replay", str(prints), data_dir=tmp_path / "data") as replay:
        eventually(lambda: evs_of(replay), "an EVS")
        assert not left[0].exists()
        assert 0 == replay.wait_for_end(PATIENCE_SECONDS), replay.said
    assert [] == list(scratch.iterdir())


def test_a_replay_whose_evs_ends_says_so_at_once(database: str, tmp_path: Path) -> None:
    """It does not wait for what nobody will store any more."""
    prints = made_up_prints(tmp_path, "ibm", "20131007", 50_000, seconds=23_400)
    tables = ExchangeTables(database)
    with running("replay", "--json", str(prints), database_url=database, data_dir=tmp_path / "data") as replay:
        evs = eventually(lambda: evs_of(replay), "an EVS")
        assert evs is not None
        eventually(lambda: tables.rows("SELECT FROM trades LIMIT 1"), "a trade that is settled")
        os.kill(evs, signal.SIGKILL)
        assert 0 != replay.wait_for_end(PATIENCE_SECONDS), replay.said
    assert "the replay's EVS has ended by itself: it has been ended by signal 9 (Killed)" in replay.said
    assert is_gone(evs)


def evs_of(replay: Command) -> int | None:
    """The EVS that a replay has started, if it has."""
    started = children(replay.process.pid)
    return next((pid for pid in started if command_line(pid).endswith(b"evs_server.cli\0serve\0")), None)
