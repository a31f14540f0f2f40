"""An EVS for acceptance tests, on a database that was the exchange's before: once as one process, once as a cluster."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cluster.deployment import Cluster, a_nats, started
from tests.database import DatabaseServer
from tests.e2e.caller import Caller
from tests.e2e.crashing import Crashing, ManyProcesses, OneProcess
from tests.e2e.exchange_tables import ExchangeTables, exchange_database
from tests.e2e.processes import serving

_symbols = itertools.count(1)

REPRESENTATIVE = {
    "test_vectors_1_to_4",
    "test_stream_read_and_row_say_the_same",
    "test_two_subscribers_each_see_their_own_account",
    "test_a_trade_that_is_in_the_tables_already_counts_once",
    "test_many_who_ask_for_a_new_account_at_once_find_one",
    "test_a_sequence_counts_once_and_only_in_its_place",
    "test_a_settlement_told_twice_counts_once",
    "test_a_batch_goes_on_after_what_it_must_refuse",
    "test_a_stream_tells_when_its_events_are_durable",
    "test_every_event_counts_once_though_evs_is_killed_in_between",
}
"""Asked of a cluster whenever tests run; all others in ``make test-cluster``."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most of what is asked of a cluster to the target of its own."""
    for item in items:
        asked = getattr(getattr(item, "callspec", None), "params", {})
        is_cluster = "cluster" in (asked.get("installation"), asked.get("crashing"))
        if is_cluster and getattr(item, "originalname", "") not in REPRESENTATIVE:
            item.add_marker(pytest.mark.faults)


NOTHING_TO_RECONCILE = {"reconcile_seconds": "0"}
"""Where senders tell of trades that the exchange's tables do not have."""


class Installation(NamedTuple):
    """The exchange's tables, in the PostgreSQL of the system, and the EVS that has found them."""

    tables: ExchangeTables
    address: str
    is_cluster: bool


@pytest.fixture(scope="session")
def cluster(system_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A gateway and three workers; one for all modules, which take as long to start as it does."""
    directory = tmp_path_factory.mktemp("cluster")
    with (
        exchange_database(system_server) as tables,
        a_nats(directory / "nats") as nats,
        Cluster(nats.url, tables.dsn, directory) as cluster,
    ):
        yield Installation(tables, started(cluster), is_cluster=True)
        cluster.stop()


@pytest.fixture(scope="module", params=["process", "cluster"])
def installation(
    request: pytest.FixtureRequest, system_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """An EVS whose session does not roll while the tests run; callers are not to notice which kind it is."""
    if request.param == "cluster":
        yield request.getfixturevalue("cluster")
        return
    with (
        exchange_database(system_server) as tables,
        serving(tables.dsn, tmp_path_factory.mktemp("evs")) as (evs, address),
    ):
        yield Installation(tables, address, is_cluster=False)
        assert 0 == evs.terminate(), evs.said


@pytest.fixture(params=["process", "cluster"])
def crashing(request: pytest.FixtureRequest, system_server: DatabaseServer, tmp_path: Path) -> Iterator[Crashing]:
    """An EVS of one test's own, which it may kill; nothing is there yet but the exchange's tables."""
    with ExitStack() as stack:
        tables = stack.enter_context(exchange_database(system_server))
        if request.param == "process":
            yield OneProcess(tables, tmp_path)
            return
        nats = stack.enter_context(a_nats(tmp_path / "nats"))
        cluster = stack.enter_context(Cluster(nats.url, tables.dsn, tmp_path, **NOTHING_TO_RECONCILE))
        yield ManyProcesses(tables, cluster)


@pytest.fixture(scope="module")
def exchange(installation: Installation) -> ExchangeTables:
    """The exchange's tables; EVS has found them as they are before it has ever run."""
    return installation.tables


@pytest.fixture(scope="module")
def evs_address(installation: Installation) -> str:
    """Where that EVS serves."""
    return installation.address


@pytest.fixture(scope="module")
def is_cluster(installation: Installation) -> bool:
    """Whether it is a cluster, where ``docs/CLUSTER.md`` says that it differs."""
    return installation.is_cluster


@pytest.fixture
def caller(evs_address: str) -> Iterator[Caller]:
    """A client of that EVS, which has nothing left to value."""
    with Caller(evs_address) as caller:
        caller.tick()
        yield caller


@pytest.fixture
def symbol() -> int:
    """A symbol that nobody has heard of."""
    return next(_symbols)
