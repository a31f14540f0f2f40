"""The proxy does what it says: or tests of a broken line would prove nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.faults.proxy import Trouble, proxied
from tests.serving import until, within_patience

SAID = bytes(range(1, 101))


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    """The address of a server that says what it is told."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(2**16):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield "{}:{}".format(*server.sockets[0].getsockname())
    server.close()


async def told(address: str, count: int) -> bytes:
    """What comes back of ``SAID``, through an address: so many bytes, or fewer if the line breaks."""
    host, port = address.rsplit(":", 1)
    found = b""
    with suppress(ConnectionError):
        reader, writer = await within_patience(asyncio.open_connection(host, int(port)))
        writer.write(SAID)
        while len(found) < count and (chunk := await within_patience(reader.read(count - len(found)))):
            found += chunk
        writer.transport.abort()
    return found


@pytest.mark.parametrize(
    ("trouble", "found"),
    [
        (Trouble(), SAID),
        (Trouble(slice_bytes=1), SAID),
        (Trouble(latency_seconds=0.01), SAID),
        (Trouble(corrupt_at=2), SAID[:2] + bytes([SAID[2] ^ 0xFF]) + SAID[3:]),
        (Trouble(slice_bytes=10, corrupt_at=57), SAID[:57] + bytes([SAID[57] ^ 0xFF]) + SAID[58:]),
    ],
)
async def test_what_comes_through(trouble: Trouble, found: bytes, echo: str) -> None:
    with proxied(echo, lambda _: trouble) as proxy:
        assert found == await told(proxy.address, len(SAID))
        assert 1 == proxy.connection_count


async def test_a_cut_line_carries_so_many_bytes_and_no_more(echo: str) -> None:
    with proxied(echo, lambda number: Trouble(slice_bytes=1, cut_after_bytes=50 if number == 1 else 0)) as proxy:
        assert len(await told(proxy.address, len(SAID))) < 50
        assert SAID == await told(proxy.address, len(SAID))


async def test_a_black_hole_swallows_until_it_is_mended(echo: str) -> None:
    with proxied(echo) as proxy:
        proxy.swallow(everything=True)
        lost = asyncio.create_task(told(proxy.address, len(SAID)))
        await until(lambda: proxy.swallowed_bytes == len(SAID))
        await asyncio.to_thread(proxy.swallow, everything=False)
        assert b"" == await lost
        assert SAID == await told(proxy.address, len(SAID))


async def test_a_line_to_nowhere_is_reset() -> None:
    with proxied("127.0.0.1:1") as proxy:
        assert b"" == await told(proxy.address, len(SAID))
