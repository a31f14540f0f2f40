"""One EVS for each module of acceptance tests, as a process, on a database that was the exchange's before."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.database import DatabaseServer
from tests.e2e.caller import Caller
from tests.e2e.exchange_tables import ExchangeTables, exchange_database
from tests.e2e.processes import serving

_symbols = itertools.count(1)


@pytest.fixture(scope="module")
def exchange(system_server: DatabaseServer) -> Iterator[ExchangeTables]:
    """The exchange's tables, in the PostgreSQL of the system, as they are before EVS has ever run."""
    with exchange_database(system_server) as tables:
        yield tables


@pytest.fixture(scope="module")
def evs_address(exchange: ExchangeTables, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where an EVS serves whose session does not roll while the tests run."""
    roll = (datetime.now(UTC) + timedelta(hours=12)).strftime("%H:%M")
    with serving(exchange.dsn, tmp_path_factory.mktemp("evs"), session_roll=roll) as (evs, address):
        yield address
        assert 0 == evs.terminate(), evs.said


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
