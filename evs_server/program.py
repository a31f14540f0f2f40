"""
A command of our own as a process of its own, which ends in order when we do, however that is. Touches processes.

Lives here: starting, awaiting and ending one. Not here: what it is for, and programs of others (``child``), whose
launcher it is started by.
"""

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from evs_server.child import LAUNCHER
from evs_server.config import KEYS_AND_CERTIFICATES
from evs_server.errors import ConfigError

START_SECONDS: Final = 60
STOP_SECONDS: Final = 15
"""What an orderly end takes at most."""

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
        program = (sys.executable, "-X", self.word, "-m", "evs_server.cli", self._command)
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
            raise ConfigError(f"`evs {self._command}` does not start; the lines above say why")
        return said

    async def wait(self) -> int:
        """Its exit status, once it has ended; negative is the signal that ended it."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """End it in order, or else with force; does nothing if it has ended, or was never started."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            log.warning("`evs %s` has not ended after %d s; ending it", self._command, STOP_SECONDS)
            process.kill()
            await process.wait()


def environment() -> dict[str, str]:
    """Our own environment without keys and certificates, for what only this machine calls."""
    left_alone = {f"EVS_{name.upper()}" for name in KEYS_AND_CERTIFICATES}
    return {name: value for name, value in os.environ.items() if name not in left_alone}
