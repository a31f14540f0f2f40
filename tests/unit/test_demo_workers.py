"""The note of a demo's workers: whoever reads it finds the right process, and kills no other."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from evs_server.config import Settings, load
from evs_server.demo.cluster import home_of, kill_shard
from evs_server.demo.workers import STARTS_KEPT, Roll, Started, kill
from evs_server.errors import InputError
from tests.integration.demo_workers import ended_by, owner, some_workers


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "workers.json"


def test_what_is_noted_is_read_by_everybody(path: Path) -> None:
    """A reader that has read before sees what was added since."""
    reader, workers = Roll(path), [Started(f"shard-{number}", 100 + number, f"word-{number}") for number in range(3)]
    assert [] == list(reader.read())
    for count, worker in enumerate(workers, 1):
        Roll(path).add(worker)
        assert workers[:count] == list(reader.read()) == list(Roll(path).read())
    Roll(path).clear()
    assert [] == list(reader.read())


def test_only_the_newest_starts_are_kept(path: Path) -> None:
    """A demo that runs for weeks, with somebody at the button, does not fill the disk."""
    roll = Roll(path)
    for number in range(STARTS_KEPT + 2):
        roll.add(Started("shard-0", 1 + number, f"word-{number}"))
    assert [3, STARTS_KEPT + 2] == [roll.read()[0].pid, roll.read()[-1].pid]


def test_an_owner_goes_by_the_name_of_its_newest_process(path: Path) -> None:
    """Process ids come again; and one that begins like another is not that one."""
    roll = Roll(path)
    for name, pid in (("shard-0", 77), ("shard-1", 777), ("shard-2", 77)):
        roll.add(Started(name, pid, "word"))
    assert "shard-2" == roll.name_of("evs shard 77.ab on here")
    assert "shard-1" == roll.name_of("evs shard 777.ab on here")
    assert "evs shard 7.ab on here" == roll.name_of("evs shard 7.ab on here")
    assert "" == roll.name_of("")


def test_a_worker_that_runs_is_killed_and_one_that_does_not_is_left_alone(path: Path) -> None:
    with some_workers(path, "shard-0") as workers:
        process, [noted] = workers["shard-0"], Roll(path).read()
        assert kill(noted)
        assert -signal.SIGKILL == ended_by(process)
        assert not kill(noted)


def test_another_process_that_has_got_the_id_since_is_never_killed(path: Path) -> None:
    """It is told by the word on its command line, which no other start has."""
    with some_workers(path, "shard-0") as workers:
        [noted] = Roll(path).read()
        assert not kill(replace(noted, word="evs_started=another"))
        assert None is workers["shard-0"].poll()
        assert "shard-0" == Roll(path).name_of(owner(workers["shard-0"]))


def test_a_kill_finds_the_one_that_runs_among_all_that_were_started(path: Path) -> None:
    with some_workers(path, "shard-0", "shard-1") as workers:
        ended = workers["shard-0"]
        ended.kill()
        ended_by(ended)
        roll = Roll(path)
        assert "shard-1" == roll.kill()
        assert None is roll.kill()


def test_the_command_kills_a_worker_of_the_demo_with_the_same_data(tmp_path: Path) -> None:
    """Its directory is one of its own below that of the settings: the other demo's data are beside it."""
    settings: Settings = load(data_dir=tmp_path)
    home_of(settings).mkdir()
    with some_workers(home_of(settings) / "workers.json", "shard-1") as workers:
        assert "shard-1" == kill_shard(settings)
        assert -signal.SIGKILL == ended_by(workers["shard-1"])
    with pytest.raises(InputError, match="no shard of a demo runs"):
        kill_shard(settings)
