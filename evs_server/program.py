"""
A command of our own as a process of its own, which ends in order when we do. Touches processes.

On Linux it ends however we do; elsewhere it outlives us if we are killed.

Lives here: starting, awaiting and ending one. Not here: what it is for, and programs of others (``child``), whose
launcher it is started by.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from evs_server.child import LAUNCHER
from evs_server.config import KEYS_AND_CERTIFICATES, unknown_variables
from evs_server.errors import ConfigError

START_SECONDS: Final = 60
STOP_SECONDS: Final = 15
"""What an orderly end takes at most."""

SAYS_WHY: Final = (1, 2)
"""Exit statuses of a command that has said what was wrong (``cli``)."""

END_SECONDS: Final = 2
"""How long after the end of its output a process may take to end itself."""

log = logging.getLogger(__name__)


class Program:
    """
    One process.

    Args:
        command: What follows ``evs``, such as ``shard``.
        given: Its environment.
        directory: An existing one that it may work in.
    """

    def __init__(self, command: str, given: Mapping[str, str], directory: Path) -> None:
        self._command = command
        self._given = given
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self.word = ""

    @property
    def pid(self) -> int:
        """Its process id; it has been started."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; it need not be ready on return."""
        self.word = f"evs_started={secrets.token_hex(8)}"
        # Python takes any word with -X, and hands it on: there is no other with it.
        # What lies in the directory we are in is none of its modules (-P).
        program = (sys.executable, "-P", "-X", self.word, "-m", "evs_server.cli", self._command)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), "", str(self._directory), *program),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=self._given,
            # Ctrl-C reaches the whole foreground group; this one is to end when its turn comes.
            start_new_session=True,
        )

    async def ready(self) -> str:
        """
        What it says after being ready, once it is.

        Raises:
            ConfigError: If it ends before, or takes too long.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                line = (await self._process.stdout.readline()).decode().strip()
        except TimeoutError:
            raise ConfigError(f"`evs {self._command}` has not become ready within {START_SECONDS} s") from None
        _, is_ready, said = line.partition(" ready ")
        if not is_ready:
            raise ConfigError(f"`evs {self._command}` does not start: it {await self._how_it_ended()}")
        return said

    async def wait(self) -> int:
        """Its exit status, once it has ended; negative is the signal that ended it."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """End it in order, or else with force; does nothing if it has ended, or was never started."""
        if await self._sent(signal.SIGTERM):
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self.wait()
            except TimeoutError:
                log.warning("`evs %s` has not ended after %d s; ending it", self._command, STOP_SECONDS)
                await self.kill()

    async def kill(self) -> None:
        """End it at once, for who needs nothing of it any more; does nothing if it has ended, or was never started."""
        if await self._sent(signal.SIGKILL):
            await self.wait()

    async def _sent(self, number: signal.Signals) -> bool:
        """Whether it was sent a signal: not if it has ended, or was never started."""
        await asyncio.sleep(0)  # an end that is known, and not yet told, is told in this turn
        process = self._process
        if process is None or process.returncode is not None:
            return False
        # Not by `process`: it would look first whether it has ended, and take the exit status from asyncio's watcher.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        return True

    async def _how_it_ended(self) -> str:
        try:
            async with asyncio.timeout(END_SECONDS):
                return how_it_ended(await self.wait())
        except TimeoutError:
            return "has said something else than that it is ready"


def how_it_ended(status: int) -> str:
    """
    An exit status in words, to follow the name of who has ended.

    Args:
        status: Negative is the signal that ended it.
    """
    if status < 0:
        return f"has been ended by signal {-status} ({signal.strsignal(-status)})"
    return f"has ended with status {status}" + ("; the lines above say why" if status in SAYS_WHY else "")


def environment() -> dict[str, str]:
    """
    Our own environment without keys and certificates, for what only this machine calls.

    What is no setting is left out as well: who starts a program has warned of it.
    """
    left_alone = {f"EVS_{name.upper()}" for name in KEYS_AND_CERTIFICATES} | unknown_variables(os.environ).keys()
    return {name: value for name, value in os.environ.items() if name not in left_alone}


def environment_without_settings() -> dict[str, str]:
    """Our own environment without any setting of EVS, for what is told all that it is to know."""
    return {name: value for name, value in os.environ.items() if not name.startswith("EVS_")}
