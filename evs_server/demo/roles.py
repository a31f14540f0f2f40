"""
The gateway and the shards of a demo: each the command that one would start in earnest, as a process of its own.

Each is started by way of ``child.launcher``, so that it ends in order when the demo ends, however that ends. Shards are
there to be killed: one that has ended is started again after a while, long enough to see the others do its work.
Touches processes.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from evs_server.child import LAUNCHER
from evs_server.demo.parts import Say
from evs_server.demo.workers import Roll, Started
from evs_server.errors import ConfigError

START_SECONDS: Final = 60
STOP_SECONDS: Final = 15
"""What an orderly end takes at most."""
AGAIN_SECONDS: Final = 15
"""After so long a shard that has ended is started again."""

log = logging.getLogger(__name__)


class Role:
    """
    One process.

    Args:
        command: What follows ``evs``, such as ``shard``.
        given: Its environment.
        directory: An existing one of the demo.
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
        self.word = f"evs_demo={secrets.token_hex(8)}"
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
        start = f"evs {self._command} ready "
        try:
            async with asyncio.timeout(START_SECONDS):
                line = (await self._process.stdout.readline()).decode().strip()
        except TimeoutError:
            raise ConfigError(f"`evs {self._command}` has not become ready within {START_SECONDS} s") from None
        if not line.startswith(start):
            raise ConfigError(f"`evs {self._command}` does not start; the lines above say why")
        return line.removeprefix(start)

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


class Shards:
    """
    The workers, each started again when it has ended.

    Args:
        names: What they are called here.
        given: Their environment.
        directory: An existing one of the demo, where it is noted which were started.
        say: Told when one has ended, and when it runs again.
    """

    def __init__(self, names: Sequence[str], given: Mapping[str, str], directory: Path, say: Say) -> None:
        self._roles = {name: Role("shard", given, directory) for name in names}
        self._say = say
        self.roll = Roll(directory / "workers.json")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[asyncio.Task[None]]:
        """All of them, for as long as the context; yields the task that looks after them."""
        self.roll.clear()
        try:
            await asyncio.gather(*(self._start(name) for name in self._roles))
            looking_after = asyncio.create_task(self._look_after(), name="demo shards")
            try:
                yield looking_after
            finally:
                looking_after.cancel()
                await asyncio.wait([looking_after])
        finally:
            self.roll.clear()
            await asyncio.gather(*(role.stop() for role in self._roles.values()))

    async def ready(self) -> None:
        """Return once each has its share."""
        await asyncio.gather(*(role.ready() for role in self._roles.values()))

    def processes(self) -> Mapping[str, int]:
        """The process of each, by its name."""
        return {name: role.pid for name, role in self._roles.items()}

    async def _start(self, name: str) -> None:
        role = self._roles[name]
        await role.start()
        self.roll.add(Started(name, role.pid, role.word))

    async def _look_after(self) -> None:
        async with asyncio.TaskGroup() as group:
            for name in self._roles:
                group.create_task(self._keep(name), name=f"demo {name}")

    async def _keep(self, name: str) -> None:
        role = self._roles[name]
        while True:
            status = await role.wait()
            how = "has been killed" if status == -signal.SIGKILL else f"has ended with status {status}"
            self._say(f"{name} {how} (process {role.pid}): started again in {AGAIN_SECONDS} s")
            await asyncio.sleep(AGAIN_SECONDS)
            await self._start(name)
            with contextlib.suppress(ConfigError):  # it has ended, which is told next
                await role.ready()
                self._say(f"{name} runs again (process {role.pid})")


@asynccontextmanager
async def demo_gateway(given: Mapping[str, str], directory: Path) -> AsyncIterator[Role]:
    """A gateway, for as long as the context; it need not be ready at the beginning."""
    gateway = Role("gateway", given, directory)
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


async def first_end(parts: Mapping[str, Awaitable[Any]], stop: asyncio.Event) -> str | None:
    """
    The name of the part that has ended first, or None if ``stop`` was set before; raises what a part has failed with.

    Args:
        parts: What each is waited for by: a task goes on after this, a coroutine is only ever run here.
    """
    ends: dict[asyncio.Future[Any], str] = {asyncio.ensure_future(part): name for name, part in parts.items()}
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({*ends, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return None
        over = next(each for each in ends if each.done())
        await over
        return ends[over]
    finally:
        for each in {stopping, *ends} - {part for part in parts.values() if isinstance(part, asyncio.Future)}:
            each.cancel()
