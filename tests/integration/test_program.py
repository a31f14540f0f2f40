"""A command of ours as a process: where it works, what is said when it does not start, and how it is ended."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evs_server.errors import ConfigError
from evs_server.program import Program, environment, environment_without_settings, how_it_ended


@asynccontextmanager
async def program(command: str, directory: Path, **settings: str) -> AsyncIterator[Program]:
    """One that has been started, with its own output beside ours."""
    started = Program(command, environment_without_settings() | settings, directory)
    await started.start()
    try:
        yield started
    finally:
        await started.kill()


def serving_on(database: str) -> dict[str, str]:
    """What EVS is told, with a data directory that is named from where we are."""
    return {
        "EVS_DATABASE_URL": database,
        "EVS_DATA_DIR": "data",
        "EVS_LISTEN": "127.0.0.1:0",
        "EVS_METRICS_LISTEN": "",
    }


async def test_a_program_finds_relative_paths_where_we_do(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with program("serve", tmp_path, **serving_on(database)) as evs:
        await evs.ready()
        assert (tmp_path / "data").is_dir()
        await evs.stop()
        assert 0 == await evs.wait()


async def test_a_program_that_does_not_start_says_with_which_status(tmp_path: Path) -> None:
    async with program("no-such-command", tmp_path) as nothing:
        with pytest.raises(ConfigError, match="does not start: it has ended with status 2; the lines above say why"):
            await nothing.ready()


async def test_a_program_that_is_killed_does_not_leave_that_to_lines_that_are_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does ending it once more surprise anybody."""
    async with program("serve", tmp_path) as evs:
        os.kill(evs.pid, signal.SIGKILL)
        await evs.stop()
        with pytest.raises(ConfigError, match=r"does not start: it has been ended by signal 9 \(Killed\)$"):
            await evs.ready()
        await evs.stop()
    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_program_that_was_never_started_is_ended_already(tmp_path: Path) -> None:
    never = Program("serve", {}, tmp_path)
    await asyncio.gather(never.stop(), never.kill())


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("has ended with status 0", 0),
        ("has ended with status 1; the lines above say why", 1),
        ("has ended with status 130", 130),
        ("has been ended by signal 15 (Terminated)", -signal.SIGTERM),
    ],
)
def test_an_end_is_told_in_words(words: str, status: int) -> None:
    """Lines are only spoken of where a command writes some."""
    assert words == how_it_ended(status)


def test_a_program_is_not_given_what_was_warned_of_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for a mistyped setting is enough, however many programs are started."""
    given = {"EVS_DATABSE_URL", "EVS_DATABASE_URL", "EVS_JWT_SECRET_FILE", "EVS_FAILPOINT"}
    for name in given:
        monkeypatch.setenv(name, "x")
    assert {"EVS_DATABASE_URL", "EVS_FAILPOINT"} == environment().keys() & given
