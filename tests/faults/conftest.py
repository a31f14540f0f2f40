"""Databases of one test alone, which it may stop, kill and freeze; and how much of a long run a run is."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from evs_server.store.embedded import EmbeddedPostgres
from tests.database import DatabaseServer, run_apart, system_bin_dir
from tests.e2e.exchange_tables import ExchangeTables, exchange_database, exchange_tables

pytest.register_assert_rewrite("tests.faults.trial")


@pytest.fixture
def tables(system_server: DatabaseServer) -> Iterator[ExchangeTables]:
    """The exchange's tables before EVS has ever run, on a server that stays."""
    with exchange_database(system_server) as tables:
        yield tables


class OwnServer(NamedTuple):
    """A PostgreSQL of one test alone, the address of an administrator, and the exchange's tables in it."""

    postgres: EmbeddedPostgres
    admin_dsn: str
    tables: ExchangeTables


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnServer]:
    """A PostgreSQL of the system, started; durable, since it will be killed."""
    bin_dir = system_bin_dir()
    if bin_dir is None:
        pytest.skip("the system has no PostgreSQL of its own under /usr/lib/postgresql")
    postgres = EmbeddedPostgres(tmp_path / "postgres", bin_dir=bin_dir)
    dsn = run_apart(postgres.start())
    yield OwnServer(postgres, dsn, exchange_tables(dsn))
    run_apart(postgres.stop())
