"""A replay as anybody runs it: with an EVS and a database of its own, each a process, and nothing left of them."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import Command, children, is_gone, running, wait_until_gone
from tests.patience import PATIENCE_SECONDS, eventually
from tests.prints import made_up_prints

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes as Linux shows them")


def test_a_replay_runs_all_it_needs_and_leaves_nothing(tmp_path: Path) -> None:
    """Keys of the caller's own are left alone, and nobody is warned of a database that was made on purpose."""
    prints = made_up_prints(tmp_path, "ibm", "20131007", 50, seconds=60)
    absent = tmp_path / "absent.key"
    with running("replay", "--json", str(prints), data_dir=tmp_path / "data", jwt_secret_file=absent) as replay:
        eventually(lambda: evs_of(replay), "an EVS")
        started = children(replay.process.pid)
        assert 0 == replay.wait_for_end(PATIENCE_SECONDS), replay.said
        summary = json.loads(replay.said)
    assert (50, 0, 0) == (summary["prints"], summary["mismatches"], summary["refused"])
    wait_until_gone(started)


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
    assert "the replay's EVS has ended by itself" in replay.said
    assert is_gone(evs)


def evs_of(replay: Command) -> int | None:
    """The EVS that a replay has started, if it has."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(replay.process.pid)}
    return next((pid for pid, line in commands.items() if line.endswith(b"evs_server.cli\0serve\0")), None)
