"""
Real PostgreSQL servers for the tests: one of each kind a session, and a fresh, migrated database a test.

Everything here is synchronous and runs its own event loop in a thread, so that sync and async tests may use it alike.
"""

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from evs_server.store.embedded import EmbeddedPostgres
from evs_server.store.migrate import migrate, read_migrations

DATABASE_SECONDS = 60

_T = TypeVar("_T")


def system_bin_dir() -> Path | None:
    """Where the system's own PostgreSQL is (Debian's layout); None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def run_apart(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """What a coroutine returns, run to its end beside the loop of the test."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(asyncio.run, coroutine).result()


class DatabaseServer:
    """A server that makes databases from a template that has been migrated once."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self.postgres = postgres
        self._dsn = run_apart(postgres.start())
        self._number = itertools.count(1)
        self._has_template = False

    def dsn(self, name: str) -> str:
        """The address of one of its databases."""
        return self._dsn.replace("/postgres?", f"/{name}?")

    def create(self, *, migrated: bool = True) -> str:
        """Make a database; its name."""
        if migrated and not self._has_template:
            if not read_migrations():
                pytest.skip("there are no migrations yet")
            self._execute("CREATE DATABASE evs_template")
            run_apart(migrate(self.dsn("evs_template")))
            self._has_template = True
        name = f"evs_test_{next(self._number)}"
        template = "evs_template" if migrated else "template0"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected."""
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """Stop the server."""
        run_apart(self.postgres.stop())

    def _execute(self, statement: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(self._dsn, timeout=DATABASE_SECONDS)
            await connection.execute(statement, timeout=DATABASE_SECONDS)
            await connection.close(timeout=DATABASE_SECONDS)

        run_apart(execute())


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """The PostgreSQL that is installed with EVS."""
    server = DatabaseServer(EmbeddedPostgres(tmp_path_factory.mktemp("embedded"), durable=False))
    yield server
    server.close()


@pytest.fixture(scope="session")
def system_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """The PostgreSQL of the system, an older one."""
    bin_dir = system_bin_dir()
    if bin_dir is None:
        pytest.skip("the system has no PostgreSQL of its own under /usr/lib/postgresql")
    server = DatabaseServer(EmbeddedPostgres(tmp_path_factory.mktemp("system"), durable=False, bin_dir=bin_dir))
    yield server
    server.close()


@pytest.fixture
def database(embedded_server: DatabaseServer) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    name = embedded_server.create()
    yield embedded_server.dsn(name)
    embedded_server.drop(name)


@pytest.fixture
def empty_database(embedded_server: DatabaseServer) -> Iterator[str]:
    """The address of a fresh database in which nothing has been made."""
    name = embedded_server.create(migrated=False)
    yield embedded_server.dsn(name)
    embedded_server.drop(name)


@pytest.fixture(params=["embedded", "system"])
def any_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a fresh, migrated database, on each kind of server in turn."""
    server: DatabaseServer = request.getfixturevalue(f"{request.param}_server")
    name = server.create()
    yield server.dsn(name)
    server.drop(name)
