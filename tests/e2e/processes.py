"""EVS as a stranger runs it: commands as processes, known by what they print, what they answer and how they end."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.patience import PATIENCE_SECONDS, eventually
from tests.sessions import FAR_ROLL

STOP_SECONDS = 15
"""An orderly end takes no longer (FAULTS F2)."""


class Command:
    """A running ``evs`` command and all that it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self._said = ""
        self._open_count = 2
        self._news = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=(pipe,)) for pipe in (process.stdout, process.stderr)]
        for reader in self._readers:
            reader.start()

    @property
    def said(self) -> str:
        """Everything so far, of both outputs."""
        with self._news:
            return self._said

    def wait_for(self, pattern: str, seconds: float = PATIENCE_SECONDS) -> re.Match[str]:
        """The first place in what it says, now or later, that a pattern matches."""
        with self._news:
            self._news.wait_for(lambda: self._open_count == 0 or re.search(pattern, self._said), seconds)
            found = re.search(pattern, self._said)
            assert found, f"{self.process.args!r} has not said {pattern!r}, but:\n{self._said}"
        return found

    def wait_for_end(self, seconds: float = STOP_SECONDS) -> int:
        """Its exit status; all that it said has been read."""
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return status

    def terminate(self) -> int:
        """Ask it to stop; its exit status."""
        self.process.terminate()
        return self.wait_for_end()

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.wait_for_end()

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self._news:
                    self._said += line
                    self._news.notify_all()
        with self._news:
            self._open_count -= 1
            self._news.notify_all()


@contextmanager
def running(*arguments: str, **settings: str | Path) -> Iterator[Command]:
    """
    An ``evs`` command that does not outlive the block.

    Args:
        arguments: What follows ``evs`` on the command line.
        settings: ``EVS_<NAME>`` by its name in lower case; nothing of the caller's own environment is handed on. Where
            they do not say when sessions roll, none does meanwhile.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVS_")}
    settings = {"session_roll": FAR_ROLL, **settings}
    env |= {f"EVS_{name.upper()}": str(value) for name, value in settings.items()}
    program = Path(sys.executable).with_name("evs")
    process = subprocess.Popen(
        [program, *arguments], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    command = Command(process)
    try:
        yield command
    finally:
        if process.poll() is None:
            process.kill()
        command.wait_for_end()


@contextmanager
def serving(database: str, data_dir: Path, **settings: str) -> Iterator[tuple[Command, str]]:
    """``evs serve`` on an address of its own, ready; the command and the address."""
    settings = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"} | settings
    with running("serve", database_url=database, data_dir=data_dir, **settings) as command:
        yield command, command.wait_for(r"(?m)^.*\bready\b.*?(\S+:\S+)\s*$").group(1)


def issue_token(data_dir: Path, account_id: int) -> str:
    """What ``evs token`` prints."""
    with running("token", "--account", str(account_id), data_dir=data_dir) as command:
        assert 0 == command.wait_for_end(), command.said
        return command.said.strip()


# --- processes of processes, as Linux shows them


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it may end at any moment, and each of its threads
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (task / "children").read_text().split())
    return found


def command_line(pid: int) -> bytes:
    """The words of a process's command line, each with a zero after it; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_gone(pid: int) -> bool:
    """Whether a process has ended; what has, and was not waited for by whoever inherited it, has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pids: list[int]) -> None:
    """Return once none of some processes runs."""
    eventually(lambda: all(map(is_gone, pids)), f"an end of processes {pids}")
