"""The commands that run something, as processes: what they say, how they end, and that nothing of them stays behind."""

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import grpc.aio
import pytest
from evs_client import EquityStream
from grpc_health.v1 import health_pb2, health_pb2_grpc

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches processes as Linux shows them")


class Command:
    """A running ``evs`` command, in a process group of its own as a terminal would have it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, start: str) -> str:
        """The rest of the first line of its output that starts so, leading space aside."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self.process.stdout:
                if (text := line.decode().strip()).startswith(start):
                    return text.removeprefix(start).strip()
        raise AssertionError(f"the command ended without a line that starts with {start!r}")

    def interrupt(self) -> None:
        """Press Ctrl-C: the whole group is told."""
        os.killpg(self.process.pid, signal.SIGINT)

    async def end(self) -> int:
        """Its exit status."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode

    def children(self) -> list[int]:
        """Processes that it has started."""
        return [
            int(pid)
            for task in Path(f"/proc/{self.process.pid}/task").iterdir()
            for pid in (task / "children").read_text().split()
        ]


@asynccontextmanager
async def running(
    *arguments: str, data_dir: Path, stderr: IO[bytes] | None = None, **settings: str
) -> AsyncIterator[Command]:
    """A command on addresses of its own; whatever happens, it does not outlive the test."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVS_")}
    env |= {"EVS_DATA_DIR": str(data_dir), "EVS_LISTEN": "127.0.0.1:0", "EVS_BRIDGE_LISTEN": "127.0.0.1:0"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "evs_server.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        env=env | settings,
        process_group=0,
    )
    command = Command(process)
    try:
        yield command
    finally:
        if process.returncode is None:
            process.kill()
        await command.end()


async def gone(pid: int) -> None:
    """Return when a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        loop.add_reader(descriptor, ended.set)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def fetch(url: str) -> bytes:
    """What a page of the bridge holds."""
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        content: bytes = answer.read()
    return content


async def health(address: str) -> int:
    """What the server at an address says of itself, as soon as there is one."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS, wait_for_ready=True)
    return int(answer.status)


async def test_serve_says_ready_when_it_serves_and_ends_well(tmp_path: Path) -> None:
    """Whoever waits for the line finds ingest served; SIGTERM is an orderly end."""
    async with running("serve", data_dir=tmp_path) as evs:
        assert health_pb2.HealthCheckResponse.SERVING == await health(await evs.line("evs ready"))
        started = evs.children()
        evs.process.terminate()
        assert 0 == await evs.end()
        for pid in started:
            await gone(pid)


async def test_serve_does_not_start_on_an_address_that_is_taken(tmp_path: Path) -> None:
    """A second EVS on one port fails at once, with the status of bad settings."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with running("serve", data_dir=tmp_path, EVS_LISTEN=address) as evs:
            assert 2 == await evs.end()


async def test_serve_waits_for_postgres_but_not_when_told_to_stop(tmp_path: Path) -> None:
    """Without its database EVS is there and does not serve; it ends as well as any."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"postgresql://evs@127.0.0.1:{nobody.getsockname()[1]}/evs"
    address = f"unix:{tmp_path}/evs.sock"
    async with running("serve", data_dir=tmp_path, EVS_DATABASE_URL=url, EVS_LISTEN=address) as evs:
        assert health_pb2.HealthCheckResponse.NOT_SERVING == await health(address)
        evs.process.terminate()
        assert 0 == await evs.end()


async def test_the_demo_runs_and_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    """A page, accounts that trade and are worth something new each tick, and no warning; then no process is left."""
    log = tmp_path / "log"
    with log.open("wb") as file:
        await demo_until_ctrl_c(tmp_path / "data", file)
    assert "" == log.read_text()


async def demo_until_ctrl_c(data_dir: Path, stderr: IO[bytes]) -> None:
    async with running("demo", data_dir=data_dir, stderr=stderr) as demo:
        page = await demo.line("page")
        server = (await demo.line("gRPC")).split()[0]
        account_id = json.loads(await asyncio.to_thread(fetch, f"{page}demo/accounts"))[0]["id"]
        async with asyncio.timeout(PATIENCE_SECONDS), EquityStream(server, account_id) as stream:
            seen = [await anext(aiter(stream)), await anext(aiter(stream))]
        assert seen[0].version < seen[1].version
        async with running("doctor", data_dir=data_dir, EVS_SERVER=server) as doctor:
            assert 0 == await doctor.end()
        started = demo.children()
        assert 2 == len(started), "PostgreSQL and the bridge"
        demo.interrupt()
        assert 0 == await demo.end()
        for pid in started:
            await gone(pid)


async def test_a_demo_that_is_killed_takes_its_parts_with_it(tmp_path: Path) -> None:
    """Not even SIGKILL leaves a PostgreSQL or a bridge behind."""
    async with running("demo", data_dir=tmp_path) as demo:
        await demo.line("page")
        started = demo.children()
        demo.process.kill()
        assert -signal.SIGKILL == await demo.end()
        for pid in started:
            await gone(pid)


async def test_the_demo_says_which_address_is_taken(tmp_path: Path) -> None:
    """Nothing is started when something could not be."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with running("demo", data_dir=tmp_path, EVS_BRIDGE_LISTEN=address) as demo:
            assert 2 == await demo.end()
    assert [] == list(tmp_path.iterdir())


async def test_doctor_ends_with_1_when_evs_is_not_there(tmp_path: Path) -> None:
    """What is wrong is named, with what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    async with running("doctor", data_dir=tmp_path, EVS_SERVER=address) as doctor:
        assert f"nothing listens at {address}: start `evs serve`, or set EVS_SERVER to where it runs" == (
            await doctor.line("PROBLEM EVS")
        )
        assert 1 == await doctor.end()
