"""pytest-grpc's fixtures for an aio servicer: one server a module, over a socket of its own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from evs.v1 import evs_pb2_grpc

from evs_server.core import Servicer
from tests.builders import ALICE, BOB, CAROL
from tests.serving import LoopServer, Rooms

OPENING_CENTS = 1_000_000


@pytest.fixture(scope="module")
def grpc_addr(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"unix:{tmp_path_factory.mktemp('grpc')}/evs.sock"


@pytest.fixture(scope="module")
def _grpc_server() -> Iterator[LoopServer]:
    server = LoopServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def loop_server(_grpc_server: LoopServer) -> LoopServer:
    """The server, for tests that reach behind it."""
    return _grpc_server


@pytest.fixture(scope="module")
def rooms(_grpc_server: LoopServer) -> Iterator[Rooms]:
    """What is behind the methods: three accounts with their opening cash, which the tests of a module share."""
    rooms = _grpc_server.call(lambda: Rooms(dict.fromkeys((ALICE, BOB, CAROL), OPENING_CENTS)))
    _grpc_server.run(rooms.open())
    yield rooms
    _grpc_server.run(rooms.close())


@pytest.fixture(scope="module")
def grpc_servicer(rooms: Rooms) -> Servicer:
    return rooms.servicer


@pytest.fixture(scope="module")
def grpc_add_to_server() -> Callable[..., Any]:
    return evs_pb2_grpc.add_EquityValuationServiceServicer_to_server


@pytest.fixture(scope="module")
def grpc_stub_cls() -> Callable[..., Any]:
    return evs_pb2_grpc.EquityValuationServiceStub
