"""
How long a start takes, against merely fetching the rows that it must read (``startup/bare_fetch``).

EVS: from an open database to ingest being served: lead, recover, rebuild the engine. Yardstick: a binary copy of the
same tables into memory, unread. Both on one embedded PostgreSQL without fsync, in turn, several rounds; with ``--full``
on fewer accounts as well, to show that the cost is in proportion. What both have found is compared by its numbers of
accounts and positions. Left out: starting PostgreSQL itself, and the first import, which the note has.
"""

import asyncio
import contextlib
import re
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg

from bench.command import run
from bench.harness import Result, Sample, measure_async
from evs_server.app import Application
from evs_server.config import Settings, load
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.migrate import migrate

ROUNDS = 5
POSITIONS_PER_ACCOUNT = 10
SYMBOLS = 1_000
ACCOUNTS = 100_000
SIZES = (ACCOUNTS,)
MORE_SIZES = (10_000, 30_000, ACCOUNTS)
"""With ``--full``."""
PATIENCE_SECONDS = 60
TABLES = ("account", "position", "mark", "latest")
FOUND = re.compile(r"^evs_(?:accounts|positions) ([0-9.e+]+)$", re.MULTILINE)
"""What the metrics say of an engine's size."""


async def main(rounds: int = ROUNDS, sizes: Sequence[int] = SIZES) -> list[Result]:
    """Measure each size; the results, the largest under the promised name."""
    results = [await _case(account_count, rounds) for account_count in sizes]
    return [*results[:-1], replace(results[-1], name="startup/bare_fetch")]


async def _case(account_count: int, rounds: int) -> Result:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres", durable=False))
        await migrate(dsn)
        connection = await asyncpg.connect(dsn)
        stack.push_async_callback(connection.close)
        await fill(connection, account_count)
        anywhere: dict[str, Any] = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
        settings = load(database_url=dsn, data_dir=folder / "data", log_level="ERROR", **anywhere)
        imported = await start(settings)
        # Neither what an import that was ended at once has left to write, nor Postgres's own upkeep of what was just
        # written, must fall into the rounds.
        await start(settings)
        await connection.execute("VACUUM ANALYZE")
        result = await measure_async(
            f"startup/{account_count}_accounts",
            lambda _: start(settings),
            lambda _: fetch(connection),
            rounds=rounds,
            unit="s",
        )
    found = "{:,.0f} accounts, {:,.0f} positions".format(*imported.output)
    return replace(result, note=f"{found}; their first import {imported.cost:.1f} s")


async def fill(connection: asyncpg.Connection, account_count: int) -> None:
    """An exchange's tables: every account holds some symbols, every symbol has a price."""
    await connection.execute(
        (Path(__file__).with_name("fill_exchange.sql"))
        .read_text()
        .replace(":accounts", str(account_count))
        .replace(":positions", str(POSITIONS_PER_ACCOUNT))
        .replace(":symbols", str(SYMBOLS))
    )


async def start(settings: Settings) -> Sample:
    """A start until EVS serves, and the accounts and positions that its metrics then show."""
    began = time.perf_counter()
    async with Application(settings) as application:
        await application.wait_ready()
        seconds = time.perf_counter() - began
        page = await asyncio.to_thread(_page, f"http://{application.metrics_address}/metrics")
    return Sample(seconds, tuple(float(count) for count in FOUND.findall(page)))


async def fetch(connection: asyncpg.Connection) -> Sample:
    """Copying out of Postgres what a start must read, and the accounts and positions among it."""
    began = time.perf_counter()
    done = [
        await connection.copy_from_table(table, schema_name="evs", output=_discard, format="binary") for table in TABLES
    ]
    await connection.copy_from_query("SELECT * FROM equity_timeseries", output=_discard, format="binary")
    seconds = time.perf_counter() - began
    # Postgres says how many rows a copy had.
    return Sample(seconds, tuple(float(said.removeprefix("COPY ")) for said in done[:2]))


async def _discard(_part: bytes) -> None:
    """Where the yardstick's bytes go."""


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 -- our own, on loopback
        page: bytes = answer.read()
    return page.decode()


if __name__ == "__main__":
    run(main, rounds=3 * ROUNDS, sizes=MORE_SIZES)
