"""
The gateway and the shards of a demo: each the command that one would start in earnest, as a process of its own.

Each ends in order when the demo does, however that ends (``program``). Shards are there to be killed: one that has
ended is started again after a while, long enough to see the others do its work. Touches processes.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from evs_server.demo.parts import Say
from evs_server.demo.workers import Roll, Started
from evs_server.errors import ConfigError
from evs_server.program import Program

AGAIN_SECONDS: Final = 15
"""After so long a shard that has ended is started again."""


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
        self._roles = {name: Program("shard", given, directory) for name in names}
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
async def demo_gateway(given: Mapping[str, str], directory: Path) -> AsyncIterator[Program]:
    """A gateway, for as long as the context; it need not be ready at the beginning."""
    gateway = Program("gateway", given, directory)
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
