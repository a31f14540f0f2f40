"""What somebody sees who watches a process: its pages, and its numbers by name."""

import asyncio

from prometheus_client.parser import text_string_to_metric_families

from tests.patience import PATIENCE_SECONDS

Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name and labels."""


async def page(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of a page of a process."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    return int(head.split()[1]), body


async def numbers(address: str) -> Numbers:
    """Everything that a process tells now."""
    status, text = await page(address, "/metrics")
    assert 200 == status
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(seen: Numbers, name: str, **labels: str) -> float:
    """One of them."""
    return seen[name, frozenset(labels.items())]


def names(seen: Numbers) -> set[str]:
    """Their names."""
    return {name for name, _ in seen}


def moved(before: Numbers, after: Numbers) -> set[str]:
    """Names of those that are not what they were."""
    return {key[0] for key, seen in after.items() if before.get(key) != seen}
