"""
The migration runner: brings a database to the schema that this build needs.

Lives here: the order, the lock, the record of what was applied, and every reason to refuse. Not here: the migrations,
which are the plain SQL files ``migrations/NNNN_name.sql``. Does I/O.

Invariants: each migration commits in one transaction with its record, so it is applied once or not at all; of several
processes that migrate at once each finds what the others have done; a file that has been applied never changes.
"""

import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeAlias

import asyncpg

from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.store.database import CONNECT_SECONDS, look_past_our_schema, reads_url, unavailable
from evs_server.store.queries import split_queries

TURN_SECONDS: Final = 120
"""How long to wait for another process that migrates."""

LOCK_SECONDS: Final = 5
"""How long a migration may wait for a table: while it waits, everyone who comes after it for that table waits too."""

STATEMENT_SECONDS: Final = 600
"""How long one statement of a migration may take; an index on a large table takes minutes."""

_REPLY_SECONDS: Final = STATEMENT_SECONDS + 10  # the server gives up first, and says why

EXCHANGE: Final = "0001_exchange"
"""The migration that makes the exchange's tables where they are not."""

_FILE_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_OPTIONAL: Final = re.compile(r"-- optional: (.+)")

_QUERIES: Final = split_queries(resources.files(__package__).joinpath("migrate.sql").read_text(encoding="utf-8"))

logger = logging.getLogger(__name__)

Connection: TypeAlias = "asyncpg.Connection[Any]"


@dataclass(frozen=True, slots=True)
class Migration:
    """
    One file.

    Attributes:
        name: File name without its ending.
        sql: Its statements.
        checksum: SHA-256 of the file, in hex.
        optional_reason: What it is for, if EVS can go on without; None if it cannot.
    """

    name: str
    sql: str
    checksum: str
    optional_reason: str | None


def read_migrations(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """
    The migrations of this build, in order.

    Args:
        folder: Where the files are; None for those of EVS.

    Raises:
        ConfigError: If a name is malformed, or the numbers are not 1, 2, 3 ...; lists every problem.
    """
    if folder is None:
        folder = resources.files(__package__).joinpath("migrations")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    problems = [
        f"migration {file.name}: expected NNNN_name.sql" for file in files if not _FILE_NAME.fullmatch(file.name)
    ]
    if not problems:
        problems = [
            f"migration {file.name}: number {int(file.name[:4])} is not the next: expected {number}"
            for number, file in enumerate(files, 1)
            if int(file.name[:4]) != number
        ]
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(_read(file) for file in files)


async def migrate(
    database: "str | Connection", *, folder: Traversable | None = None, expects_exchange: bool = False
) -> list[str]:
    """
    Apply what is missing.

    Args:
        database: An address, or a connection that is in no transaction.
        folder: Where the migrations are; None for those of EVS.
        expects_exchange: Whether the exchange's tables should be there; that they had to be made is then told, since
            an empty database that was named by mistake looks like one of an exchange without accounts.

    Returns:
        Names of those applied now, in order.

    Raises:
        ConfigError: If the database is not one that this build may bring up to date, or does not let it.
        StoreUnavailable: If the database is away, or busy with another process that migrates.
    """
    migrations = read_migrations(folder)
    async with _connected(database, "migrate the database") as connection:
        async with _turn(connection):
            await _ensure_log(connection)
            _refuse_unknown(migrations, await _applied(connection))
        found = await connection.fetchrow(_QUERIES["look_for_exchange"], timeout=CONNECT_SECONDS)
        assert found is not None
        applied = [migration.name for migration in migrations if await _apply(connection, migration)]
        if expects_exchange and EXCHANGE in applied and found["missing"]:
            _tell_made(**found)
        return applied


async def pending(database: "str | Connection", *, folder: Traversable | None = None) -> list[str]:
    """
    Names of the migrations that ``migrate`` would try, in order; changes nothing.

    Raises:
        ConfigError: If the database is not one that this build may bring up to date.
        StoreUnavailable: If the database is away.
    """
    migrations = read_migrations(folder)
    async with _connected(database, "look for migrations") as connection:
        known = await connection.fetchrow(_QUERIES["look"], timeout=CONNECT_SECONDS)
        assert known is not None
        applied = await _applied(connection) if known["has_log"] else {}
    _refuse_unknown(migrations, applied)
    return [migration.name for migration in migrations if migration.name not in applied]


def _tell_made(database: str, schema: str | None, missing: Sequence[str]) -> None:
    logger.warning(
        "database %s (schema %s) had no table %s: EVS has made them, empty. If the exchange has its accounts elsewhere,"
        " this is the wrong database, or the search_path of EVS's role does not lead to its tables: stop EVS, look at"
        " EVS_DATABASE_URL, and drop what was made here (those tables, and schema evs)",
        database,
        schema,
        ", ".join(missing),
    )


def _read(file: Traversable) -> Migration:
    content = file.read_bytes()
    sql = content.decode("utf-8")
    optional = _OPTIONAL.match(sql)
    return Migration(
        name=file.name.removesuffix(".sql"),
        sql=sql,
        checksum=hashlib.sha256(content).hexdigest(),
        optional_reason=optional.group(1).strip() if optional else None,
    )


def _refuse_unknown(migrations: Sequence[Migration], applied: Mapping[str, str]) -> None:
    """Raise ConfigError if the database was brought up to date by a build other than this or its ancestors."""
    checksums = {migration.name: migration.checksum for migration in migrations}
    problems = [
        f"migration {name} of this database is not part of this build: start the newer EVS that applied it"
        if name not in checksums
        else f"migration {name} was applied with checksum {checksum[:12]}, and this build's file has"
        f" {checksums[name][:12]}: an applied migration must not change; restore the file and add a new one"
        for name, checksum in sorted(applied.items())
        if checksums.get(name) != checksum
    ]
    if problems:
        raise ConfigError("\n".join(problems))


@contextlib.asynccontextmanager
async def _connected(database: "str | Connection", purpose: str) -> AsyncIterator[Connection]:
    """The connection given, or one of our own that is closed in the end; what fails on it fails as ours."""
    with unavailable(purpose):
        if not isinstance(database, str):
            yield database
            return
        with reads_url():
            own = await asyncpg.connect(database, timeout=CONNECT_SECONDS)
        try:
            await look_past_our_schema(own)
            yield own
        finally:
            await own.close(timeout=CONNECT_SECONDS)


@contextlib.asynccontextmanager
async def _turn(connection: Connection) -> AsyncIterator[None]:
    """A transaction in which no other process migrates, with the limits of a migration."""
    async with connection.transaction():
        await _limit(connection, TURN_SECONDS)
        try:
            await connection.execute(_QUERIES["take_turn"], timeout=_REPLY_SECONDS)
        except asyncpg.LockNotAvailableError:
            raise StoreUnavailable(
                f"another process has been migrating this database for over {TURN_SECONDS} s: wait for it, or end it",
                seconds=TURN_SECONDS,
            ) from None
        await _limit(connection, LOCK_SECONDS)
        yield


async def _limit(connection: Connection, lock_seconds: int) -> None:
    limits = (f"{lock_seconds}s", f"{STATEMENT_SECONDS}s")
    await connection.execute(_QUERIES["limit"], *limits, timeout=_REPLY_SECONDS)


async def _ensure_log(connection: Connection) -> None:
    known = await connection.fetchrow(_QUERIES["look"], timeout=_REPLY_SECONDS)
    assert known is not None
    try:
        if not known["has_schema"]:
            await connection.execute(_QUERIES["create_schema"], timeout=_REPLY_SECONDS)
        if not known["has_log"]:
            await connection.execute(_QUERIES["create_log"], timeout=_REPLY_SECONDS)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ConfigError(
            f"EVS may not make its schema evs in this database: {error}; let the database's owner create it for EVS's"
            " role, or run `evs migrate` as the owner"
        ) from error


async def _applied(connection: Connection) -> Mapping[str, str]:
    """Checksums by name, of what the database has."""
    records = await connection.fetch(_QUERIES["applied"], timeout=_REPLY_SECONDS)
    return {record["name"]: record["checksum"] for record in records}


async def _apply(connection: Connection, migration: Migration) -> bool:
    """Apply one migration unless it has been; whether it was applied now."""
    try:
        async with _turn(connection):
            if migration.name in await _applied(connection):
                return False
            await connection.execute(migration.sql, timeout=_REPLY_SECONDS)
            await connection.execute(_QUERIES["record"], migration.name, migration.checksum, timeout=_REPLY_SECONDS)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.LockNotAvailableError) as error:
        if migration.optional_reason is None:
            raise _refusal(migration, error) from error
        logger.warning(
            "migration %s was left out: %s. It %s. EVS goes on without, and tries again at its next start; to have it"
            " now, make EVS's role a member of their owner for as long as `evs migrate` takes, while they are quiet",
            migration.name,
            error,
            migration.optional_reason,
        )
        return False
    except asyncpg.QueryCanceledError as error:
        raise _refusal(migration, error) from error
    except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError):
        raise  # nothing that the migration did
    except asyncpg.PostgresError as error:
        raise _refusal(migration, error) from error
    logger.info("migration %s applied", migration.name)
    return True


def _refusal(migration: Migration, error: asyncpg.PostgresError) -> ConfigError | StoreUnavailable:
    """What to tell when a migration cannot be applied."""
    text = f"migration {migration.name} cannot be applied: {error}"
    if isinstance(error, asyncpg.LockNotAvailableError):
        return StoreUnavailable(f"{text}; it waited {LOCK_SECONDS} s for a table that others use: try again")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return ConfigError(f"{text}; run `evs migrate` as a role that may, or grant EVS's role what is missing")
    return ConfigError(text)
