"""
A child process that ends with us, whichever way we end: how PostgreSQL and NATS are run where we bring them.

Lives here: starting, watching and ending one program, and its output as log lines. Not here: what the program is for.
Does I/O and holds one thread per child. That thread forks it and lasts until it has gone, because Linux sends the
parent's death signal when the *thread* that forked ends; so a child may be started and stopped from any event loop.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

LOG_LINES_KEPT: Final = 40
"""Newest lines of output that are kept to explain a failure."""

LAST_WORDS_SECONDS: Final = 0.5
"""How long to wait, once a program has ended, for what it had started; that may go on for as long as it is busy."""

LAUNCHER: Final = Path(__file__).with_name("launcher.py")

_POLL_SECONDS: Final = 0.01
_POLL_SECONDS_MAX: Final = 0.1

_SEVERITIES: Final = {"PANIC": logging.ERROR, "WARNING": logging.WARNING}
# Nothing of the operator's own settings (PGDATA, PGPORT ...) may reach the program; UTC is its time zone.
_ENVIRONMENT: Final = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}

logger = logging.getLogger(__name__)


class Child:
    """
    One running program.

    Args:
        program: The executable.
        arguments: Its arguments; ``{directory}`` in them stands for ``directory``, as ``user`` can reach it.
        directory: The directory the program works on.
        user: Name of the user to run as; empty for our own. Only root may change it.
    """

    def __init__(self, program: Path, arguments: Sequence[str], *, directory: Path, user: str = "") -> None:
        self._name = program.name
        self._command = [
            *(sys.executable, "-I", "-S", str(LAUNCHER)),
            *(str(os.getpid()), user, str(directory), str(program), *arguments),
        ]
        self._lines: deque[str] = deque(maxlen=LOG_LINES_KEPT)
        self._started: Future[subprocess.Popen[bytes]] = Future()
        self._exited: Future[int] = Future()
        # A running future cannot be cancelled, so that a cancelled waiter leaves it to the others.
        self._started.set_running_or_notify_cancel()
        self._exited.set_running_or_notify_cancel()
        threading.Thread(target=self._attend, name=f"{self._name} child", daemon=True).start()
        self._process = self._started.result()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """The newest lines it has written, to explain why it ended."""
        return "\n".join(self._lines)

    async def wait(self, seconds: float) -> int:
        """
        The exit status, once the program and all that it started have ended.

        Raises:
            TimeoutError: If that takes longer than ``seconds``.
        """
        return await asyncio.wait_for(asyncio.wrap_future(self._exited), seconds)

    async def ended(self, seconds: float | None = None) -> None:
        """
        Return once the program itself has ended, whatever it had started.

        Args:
            seconds: How long to wait; None for as long as it takes.

        Raises:
            TimeoutError: If that takes longer.
        """
        pause_seconds = _POLL_SECONDS
        async with asyncio.timeout(seconds):
            while self.running:  # asked for again and again, because its thread waits for more than its end
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _POLL_SECONDS_MAX)

    async def stop(self, steps: Sequence[tuple[signal.Signals, float]]) -> None:
        """
        End the program, with more force at each step; returns once it has gone.

        Args:
            steps: What to send, and how many seconds to wait before the next; the last should be ``SIGKILL``.

        Raises:
            TimeoutError: If it outlives the last step.
        """
        for step, seconds in steps:
            # Popen looks whether it has ended before it sends, so this never hits another process.
            self._process.send_signal(step)
            with contextlib.suppress(TimeoutError):
                await self.ended(seconds)
                with contextlib.suppress(TimeoutError):
                    await self.wait(LAST_WORDS_SECONDS)
                    return
                logger.warning("%s (process %d) has left processes behind", self._name, self.pid)
                return  # they end by themselves, after what they are busy with
            logger.warning("%s (process %d) is not over %g s after %s", self._name, self.pid, seconds, step.name)
        raise TimeoutError(f"{self._name} (process {self.pid}) outlives SIGKILL")

    def _attend(self) -> None:
        """Start the program, pass on what it writes, and reap it: the whole life of the thread."""
        try:
            process = subprocess.Popen(  # noqa: S603 - an executable of our installation, no shell
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
                # Out of the terminal's reach: Ctrl-C is for us, and the last flush still needs the server.
                start_new_session=True,
            )
        except OSError as error:
            self._started.set_exception(error)
            return
        self._started.set_result(process)
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                self._note(line.decode(errors="replace").rstrip())
        self._exited.set_result(process.returncode)

    def _note(self, line: str) -> None:
        self._lines.append(line)
        severity = _SEVERITIES.get(line.partition(":")[0], logging.DEBUG)
        logger.log(severity, "%s: %s", self._name, line)
