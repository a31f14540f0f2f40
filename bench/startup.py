"""
How long a start takes, against merely fetching the rows that it must read (``startup/bare_fetch``).

EVS: from an open database to ingest being served: lead, recover, rebuild the engine. Yardstick: a binary copy of the
same tables into memory, unread. Both on one embedded PostgreSQL without fsync, in turn, several rounds; accounts are
multiplied to show that the cost is in proportion. Left out: starting PostgreSQL itself, and the first import, which is
shown apart.
"""

import asyncio
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.table import Table

from evs_server.app import Application
from evs_server.config import Settings, load
from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.migrate import migrate

ROUNDS = 5
POSITIONS_PER_ACCOUNT = 10
SYMBOLS = 1_000
ACCOUNTS = (10_000, 30_000, 100_000)
TABLES = ("account", "position", "mark", "latest")
RESULTS = Path(__file__).with_name("results") / "latest.json"


async def main() -> None:
    """Measure each size, print a table, and write the largest into the results."""
    table = Table("accounts", "positions", "first import s", "start s", "bare fetch s", "ratio")
    ratio = {}
    for account_count in ACCOUNTS:
        with tempfile.TemporaryDirectory() as folder:
            ratio = await measure(Path(folder), account_count)
        table.add_row(
            f"{account_count:,}",
            f"{account_count * POSITIONS_PER_ACCOUNT:,}",
            f"{ratio['import']:.2f}",
            f"{ratio['ours']:.2f}",
            f"{ratio['yardstick']:.2f}",
            f"{ratio['ratio']:.1f}",
        )
    Console().print(table)
    del ratio["import"]
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results["startup/bare_fetch"] = {**ratio, "unit": "s", "rounds": ROUNDS, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")


async def measure(folder: Path, account_count: int) -> dict[str, float]:
    """Medians in seconds of the first import, of a start and of the bare fetch, and the ratio of the last two."""
    async with EmbeddedPostgres(folder / "postgres", durable=False) as dsn:
        await migrate(dsn)
        connection = await asyncpg.connect(dsn)
        await fill(connection, account_count)
        settings = load(database_url=dsn, data_dir=folder / "data", listen="127.0.0.1:0", log_level="ERROR")
        import_s = await start(settings)
        # Postgres's own upkeep of what was just written must not fall into the rounds.
        await connection.execute("VACUUM ANALYZE")
        ours, yardstick = [], []
        for _ in range(ROUNDS):
            ours.append(await start(settings))
            yardstick.append(await fetch(connection))
        await connection.close()
    median, bare = statistics.median(ours), statistics.median(yardstick)
    return {"import": import_s, "ours": round(median, 3), "yardstick": round(bare, 3), "ratio": round(median / bare, 2)}


async def fill(connection: asyncpg.Connection, account_count: int) -> None:
    """An exchange's tables: every account holds some symbols, every symbol has a price."""
    await connection.execute(
        (Path(__file__).with_name("fill_exchange.sql"))
        .read_text()
        .replace(":accounts", str(account_count))
        .replace(":positions", str(POSITIONS_PER_ACCOUNT))
        .replace(":symbols", str(SYMBOLS))
    )


async def start(settings: Settings) -> float:
    """Seconds until EVS serves."""
    began = time.perf_counter()
    async with Application(settings) as application:
        await application.wait_ready()
        return time.perf_counter() - began


async def fetch(connection: asyncpg.Connection) -> float:
    """Seconds to copy out of Postgres what a start must read."""
    began = time.perf_counter()
    for table in TABLES:
        await connection.copy_from_table(table, schema_name="evs", output=_discard, format="binary")
    await connection.copy_from_query("SELECT * FROM equity_timeseries", output=_discard, format="binary")
    return time.perf_counter() - began


async def _discard(_part: bytes) -> None:
    """Where the yardstick's bytes go."""


if __name__ == "__main__":
    asyncio.run(main())
