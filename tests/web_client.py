"""The TypeScript client in the tests of Python: where Node.js is, the client compiled, and one that runs."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_SECONDS
from tools.web import Node, find_node, version_of

PACKAGE = Path(__file__).resolve().parents[1] / "clients" / "web"
COMPILER = PACKAGE / "node_modules" / "typescript" / "bin" / "tsc"

NODE_WITH_WEBSOCKET = 22
LINE_BYTES_MAX = 4 << 20
"""A page of history on one line."""

BUILD_SECONDS = 300.0
"""What compiling or testing takes at most, on a machine that does other things too."""

Line = dict[str, Any]


@cache
def node() -> Node:
    """The Node.js that builds the page; skips the test where there is none, or the client's tools are not installed."""
    found = find_node()
    if found is None:
        pytest.skip("no Node.js that is new enough: `make web` installs one")
    if not COMPILER.exists():
        pytest.skip("the web client's tools are not installed: `make web` does it")
    return found


def run_node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What a program says, run to its end in the package's folder; both outputs in one."""
    return subprocess.run(
        [node().program, *arguments],
        cwd=PACKAGE,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BUILD_SECONDS,
        check=False,
    )


def compile_client(folder: Path) -> None:
    """Compile the client and its tests, to where no other run of the tests writes."""
    compiled = run_node(COMPILER, "-p", "tsconfig.test.json", "--outDir", folder)
    assert 0 == compiled.returncode, compiled.stdout
    (folder / "package.json").write_text('{"type": "module"}')


@cache
def _node_major() -> int:
    numbers = re.match(r"v(\d+)\.", version_of(node().program))
    assert numbers, f"{node().program} does not say its version"
    return int(numbers.group(1))


class WebClient:
    """
    A client of ours in a Node.js of its own, told what to do and heard line by line (``tests/remote.ts``).

    Attributes:
        heard: Every line so far.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.heard: list[Line] = []
        self._process = process
        self._call_count = 0

    async def tell(self, command: Line) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._process.stdin.drain()

    async def hear(self, kind: str) -> Any:
        """What the next line of a kind says; lines before it are passed over."""
        return await self.hear_until(kind, lambda _: True)

    async def hear_until(self, kind: str, wanted: Callable[[Any], bool]) -> Any:
        """What the first line of a kind says that is wanted; lines before it are passed over."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while text := await self._process.stdout.readline():
                    line = json.loads(text)
                    self.heard.append(line)
                    if kind in line and wanted(line[kind]):
                        return line[kind]
        except TimeoutError:
            pytest.fail(f"no {kind} within {PATIENCE_SECONDS} s; heard {self.heard}")
        pytest.fail(f"ended without {kind}; heard {self.heard}, then {await self._last_words()}")

    def statuses(self) -> list[str]:
        """The kinds of status so far, in order."""
        return [line["status"]["kind"] for line in self.heard if "status" in line]

    async def status(self, kind: str) -> Any:
        """The next status of a kind."""
        return await self.hear_until("status", lambda status: status["kind"] == kind)

    async def ask(self, method: str, *arguments: object) -> Any:
        """What a method of the client resolves to."""
        answer = await self._answer(method, arguments)
        assert "result" in answer, f"{method}{arguments} failed: {answer['error']}"
        return answer["result"]

    async def refusal(self, method: str, *arguments: object) -> Any:
        """The protocol's code with which a method of the client is refused."""
        answer = await self._answer(method, arguments)
        assert "error" in answer, f"{method}{arguments} was answered with {answer['result']}"
        return answer["error"]["code"]

    async def _answer(self, method: str, arguments: tuple[object, ...]) -> Any:
        self._call_count += 1
        number = self._call_count
        await self.tell({"call": method, "arguments": arguments, "number": number})
        return await self.hear_until("answer", lambda answer: answer["number"] == number)

    async def end(self) -> int:
        """Its exit status, after it was told to close."""
        await self.tell({"close": True})
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._process.wait()

    async def _last_words(self) -> str:
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await self._process.stderr.read()).decode()


@asynccontextmanager
async def web_client(compiled: Path, url: str) -> AsyncIterator[WebClient]:
    """A client of a socket's address that does not outlive the block."""
    flags = ["--experimental-websocket"] if _node_major() < NODE_WITH_WEBSOCKET else []
    process = await asyncio.create_subprocess_exec(
        node().program,
        *flags,
        compiled / "tests" / "remote.js",
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
    )
    try:
        yield WebClient(process)
    finally:
        if process.returncode is None:
            process.kill()
        # Reads what is left, so that its pipes are closed with it.
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process.communicate()
