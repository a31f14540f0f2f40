"""
Whether EVS makes traces, and where they go: to a collector, by OTLP over gRPC. Touches the network.

Lives here: what the settings ask for. Not here: spans (``spans``). OpenTelemetry is an extra, and is imported only
where ``EVS_TRACES_ENDPOINT`` is set: without it nothing of this costs anything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from evs_server.config import Settings
from evs_server.errors import ConfigError
from evs_server.listener import is_private

if TYPE_CHECKING:
    from evs_server.telemetry.spans import Tracing

log = logging.getLogger(__name__)

EXTRA: Final = "pip install 'equity-valuation-service[otel]'"

EXPORT_SECONDS: Final = 5
"""Deadline of one export, its repetitions included; what a collector does not take by then is given up."""

LAST_EXPORT_SECONDS: Final = 2.0
"""How long the end of EVS waits for the last spans to be taken."""


def check_tracing(settings: Settings) -> None:
    """
    Return if the traces that are asked for can be made.

    Raises:
        ConfigError: If the libraries are not installed, or spans would leave this machine in plain text.
    """
    if settings.traces_endpoint is None:
        return
    parts = urlsplit(settings.traces_endpoint)
    if parts.scheme == "http" and not is_private(parts.netloc):
        if not settings.allow_plaintext:
            raise ConfigError(
                f"EVS_TRACES_ENDPOINT: {settings.traces_endpoint} would take traces to another machine in plain text;"
                " use https://, or set EVS_ALLOW_PLAINTEXT=true where something else encrypts"
            )
        log.warning("PLAIN TEXT to %s: whoever is on the way can read traces", settings.traces_endpoint)
    try:
        from evs_server.telemetry import spans
    except ModuleNotFoundError as error:
        raise ConfigError(f"EVS_TRACES_ENDPOINT needs the module {error.name}, which is not here: {EXTRA}") from None
    assert spans


@asynccontextmanager
async def open_tracing(settings: Settings, service: str = "evs") -> AsyncIterator["Tracing | None"]:
    """
    What makes spans, for as long as the context; None if no traces are asked for.

    Args:
        service: What the process is called in traces.

    Raises:
        ConfigError: As ``check_tracing``.
    """
    check_tracing(settings)
    if settings.traces_endpoint is None:
        yield None
        return
    from evs_server.telemetry.spans import Tracing, exporter_to

    tracing = Tracing(exporter_to(settings.traces_endpoint, EXPORT_SECONDS), settings.traces_ratio, service)
    log.info("traces go to %s", settings.traces_endpoint)
    try:
        yield tracing
    finally:
        await _close(tracing)


async def _close(tracing: "Tracing") -> None:
    """Let the last spans go, but not wait for a collector that takes none."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        tracing.close()
        with suppress(RuntimeError):  # the loop has not waited
            loop.call_soon_threadsafe(done.set)

    # Not of the loop's executor: that would be waited for, whatever its thread is doing.
    Thread(target=close, name="last traces", daemon=True).start()
    try:
        async with asyncio.timeout(LAST_EXPORT_SECONDS):
            await done.wait()
    except TimeoutError:
        log.warning("the last traces were not taken within %s s; they are given up", LAST_EXPORT_SECONDS)
