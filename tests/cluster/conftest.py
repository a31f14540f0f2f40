"""A cluster of each test's own, which may end its parts as it likes; the database is on a server that stays."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evs_server.log import EmbeddedNats
from tests.cluster.deployment import Cluster, a_nats
from tests.database import DatabaseServer
from tests.e2e.exchange_tables import ExchangeTables, exchange_database

pytest.register_assert_rewrite("tests.faults.trial", "tests.cluster.trial")

SETTINGS = {"reconcile_seconds": "0"}
"""The exchange's tables are not written here: there is nothing to reconcile with."""


@pytest.fixture
def tables(system_server: DatabaseServer) -> Iterator[ExchangeTables]:
    """The exchange's tables before EVS has ever run, on a server that stays."""
    with exchange_database(system_server) as tables:
        yield tables


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """A log, empty."""
    with a_nats(tmp_path / "nats") as nats:
        yield nats


@pytest.fixture
def cluster(tables: ExchangeTables, nats: EmbeddedNats, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without any process yet: accounts can still be opened that are imported."""
    with Cluster(nats.url, tables.dsn, tmp_path, **SETTINGS) as cluster:
        yield cluster
        sys.stderr.write(cluster.said())  # shown with a test that fails
