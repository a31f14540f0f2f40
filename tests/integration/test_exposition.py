"""The address that a process is watched at: what it answers, whom it refuses, and what it costs nobody."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from evs_server.authority import Authority
from evs_server.config import Settings, load
from evs_server.errors import ConfigError
from evs_server.telemetry import exposition
from evs_server.telemetry.exposition import Watched, exposed
from evs_server.telemetry.families import counter
from tests.patience import PATIENCE_SECONDS, eventually_true
from tests.watching import numbers, page, value

ANYWHERE = "127.0.0.1:0"


class Counting(Collector):
    """One number, which grows each time it is looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def collect(self) -> Iterator[Metric]:
        self.looks += 1
        yield counter("evs_looks_total", "How often somebody looked.", self.looks)


@asynccontextmanager
async def watched(settings: Settings, reasons: list[str] | None = None) -> AsyncIterator[str]:
    """The address of a process that is not ready for these reasons."""
    async with exposed(settings, "metrics_listen", Watched(Counting(), lambda: reasons or [])) as address:
        assert address is not None
        yield address


async def test_it_tells_numbers_and_whether_the_process_is_alive_and_ready() -> None:
    """And nothing else; a process that is not ready says why, and is alive."""
    reasons: list[str] = []
    async with watched(load(metrics_listen=ANYWHERE), reasons) as address:
        seen = await numbers(address)
        assert (1, 1) == (value(seen, "evs_looks_total"), value(seen, "evs_ready"))
        assert {"process_resident_memory_bytes", "process_open_fds"} <= {name for name, _ in seen}
        assert (200, "alive\n") == await page(address, "/livez")
        assert (200, "ready\n") == await page(address, "/readyz?verbose")
        reasons.extend(["too early", "too late"])
        assert (503, "too early\ntoo late\n") == await page(address, "/readyz")
        assert (200, "alive\n") == await page(address, "/livez")
        assert 0 == value(await numbers(address), "evs_ready")
        assert 404 == (await page(address, "/"))[0]
        assert 405 == (await page(address, "/metrics", "POST"))[0]
        assert (200, "") == await page(address, "/metrics", "HEAD")


@pytest.mark.parametrize("said", [b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\xfe\r\n\r\n", b"GET /" + b"x" * 20_000])
async def test_what_is_no_request_harms_nobody(said: bytes) -> None:
    async with watched(load(metrics_listen=ANYWHERE)) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(said)
            # It is cut off, or answered that it is no request.
            with contextlib.suppress(ConnectionError):
                assert b" 200 " not in await reader.read()
        writer.close()
        assert (200, "alive\n") == await page(address, "/livez")


async def test_who_says_nothing_holds_one_of_few_places_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than there are places for are cut off at once; those that are there are, after their time."""
    monkeypatch.setattr(exposition, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(exposition, "REQUEST_SECONDS", 0.2)
    async with watched(load(metrics_listen=ANYWHERE)) as address:
        host, _, port = address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            for reader, writer in silent:
                with contextlib.suppress(ConnectionError):
                    assert b"" == await reader.read()
                writer.close()

        async def answers() -> bool:
            with contextlib.suppress(ConnectionError, IndexError):
                return (200, "alive\n") == await page(address, "/livez")
            return False

        assert await eventually_true(answers, "places are free again")


async def test_an_address_that_was_set_must_be_had_and_a_default_one_need_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The second EVS of a machine serves; an operator who asked for an address is told that it is taken."""
    async with watched(load(metrics_listen=ANYWHERE)) as taken:
        with pytest.raises(ConfigError, match=f"EVS_METRICS_LISTEN: cannot listen on {taken}"):
            async with watched(load(metrics_listen=taken)):
                pass
        monkeypatch.delenv("EVS_METRICS_LISTEN")
        by_default = load().model_copy(update={"metrics_listen": taken})
        by_default.model_fields_set.discard("metrics_listen")
        async with exposed(by_default, "metrics_listen", Watched(Counting(), list)) as address:
            assert address is None
        assert "metrics are not served" in caplog.text


async def test_without_an_address_there_is_none() -> None:
    async with exposed(load(metrics_listen=""), "metrics_listen", Watched(Counting(), list)) as address:
        assert address is None


@pytest.mark.parametrize(
    ("address", "problem"),
    [("0.0.0.0:0", "EVS_TLS_CERT_FILE"), ("unix:evs.sock", "Prometheus needs host:port")],
)
async def test_an_address_that_would_not_do_is_refused(address: str, problem: str) -> None:
    """Plain text does not leave the machine unless that was asked for."""
    with pytest.raises(ConfigError, match=problem):
        async with watched(load(metrics_listen=address)):
            pass


async def test_off_this_machine_it_is_encrypted(tmp_path: Path) -> None:
    """With the certificate that EVS itself shows, whose end is among the numbers."""
    authority = Authority(tmp_path)
    certificate, key = authority.sign_server(["localhost"], 30)
    settings = load(metrics_listen="0.0.0.0:0", tls_cert_file=certificate, tls_key_file=key)
    async with watched(settings) as address:
        port = int(address.rpartition(":")[2])
        trust = ssl.create_default_context(cafile=str(authority.certificate_file))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            text = (await reader.read()).decode()
        writer.close()
    assert "\nevs_certificate_expiry_timestamp_seconds 1." in text


async def test_a_loop_that_stands_still_is_seen_to_have() -> None:
    """Half a second in which nothing ran is in the histogram (FAULTS F25)."""
    async with watched(load(metrics_listen=ANYWHERE)) as address:

        async def probed() -> bool:
            return value(await numbers(address), "evs_loop_lag_seconds_count") > 0

        assert await eventually_true(probed, "the loop is looked at")
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            pass

        async def stalled() -> bool:
            seen = await numbers(address)
            short = value(seen, "evs_loop_lag_seconds_bucket", le="0.25")
            return value(seen, "evs_loop_lag_seconds_count") - short >= 1

        assert await eventually_true(stalled, "the stall is counted")
