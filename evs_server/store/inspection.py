"""
A look at a database from outside, for ``evs doctor``: what it is, and how far EVS has come in it.

Lives here: reading. Not here: judging what was read (``doctor``). Does I/O, changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

import asyncpg

from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.store.database import reads_url
from evs_server.store.queries import split_queries

ANSWER_SECONDS: Final = 5
"""A database that takes longer for a handful of rows is not well, and that is worth saying."""

_QUERIES: Final = split_queries(resources.files(__package__).joinpath("inspection.sql").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Inspection:
    """
    What a database says of itself.

    Attributes:
        server_version: PostgreSQL's version, as it writes it.
        server_number: The same as a number: 150004 is 15.4.
        start_count: How often EVS has started on it; None if it has no tables of EVS yet.
        event_count: Events ever committed.
        idle_seconds: Since the last commit of EVS; None if there never was one.
        durable_sequences: By source, the highest sequence committed.
        database_id: By which spools are named; None if none is made for it, since no `evs serve` has begun on it.
    """

    server_version: str
    server_number: int
    start_count: int | None
    event_count: int
    idle_seconds: int | None
    durable_sequences: Mapping[str, int]
    database_id: str | None


async def inspect(dsn: str) -> Inspection:
    """
    Look at a database.

    Raises:
        ConfigError: If it refuses us.
        StoreUnavailable: If it cannot be reached, or does not answer in time.
    """
    try:
        with reads_url():
            connection = await asyncpg.connect(dsn, timeout=ANSWER_SECONDS, command_timeout=ANSWER_SECONDS)
        try:
            return await _inspect(connection)
        finally:
            await connection.close(timeout=ANSWER_SECONDS)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise ConfigError(f"the database refuses us: {error}") from error
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(
            f"the database cannot be reached: {error or 'no answer in time'}: start PostgreSQL if it does not run, and"
            " let this machine reach it"
        ) from error


async def _inspect(connection: "asyncpg.Connection[asyncpg.Record]") -> Inspection:
    server = await connection.fetchrow(_QUERIES["server"])
    assert server is not None
    try:
        engine = await connection.fetchrow(_QUERIES["engine"])
        sources = await connection.fetch(_QUERIES["sources"])
        database_id = await connection.fetchval(_QUERIES["database_id"])
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        engine, sources, database_id = None, [], None
    return Inspection(
        server_version=server["version"],
        server_number=server["number"],
        start_count=engine["start_number"] if engine else None,
        event_count=engine["event_count"] if engine else 0,
        idle_seconds=engine["idle_seconds"] if engine else None,
        durable_sequences={record["source"]: record["applied_sequence"] for record in sources},
        database_id=database_id,
    )
