"""``AdminService.GetCluster`` over gRPC: of a gateway, and of an EVS that is one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from evs.v1 import admin_pb2
from evs.v1.admin_pb2_grpc import AdminServiceServicer, AdminServiceStub, add_AdminServiceServicer_to_server

from evs_server.clock import SystemClock
from evs_server.cluster.shards import SHARD_COUNT
from evs_server.gateway.admin import GatewayAdminServicer
from evs_server.gateway.journal import Journal
from evs_server.gateway.progress import Progress
from evs_server.lifecycle import Lifecycle, Phase
from evs_server.reconcile.servicer import AdminServicer
from tests.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from evs.v1.admin_pb2_grpc import AdminServiceAsyncStub


def a_gateway(lifecycle: Lifecycle) -> AdminServiceServicer:
    return GatewayAdminServicer(lifecycle, Progress(), Journal(), SystemClock())


@asynccontextmanager
async def served(servicer: AdminServiceServicer, directory: Path) -> AsyncIterator["AdminServiceAsyncStub"]:
    """A client of a servicer, over a socket."""
    server, address = grpc.aio.server(), f"unix:{directory}/evs.sock"
    add_AdminServiceServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield AdminServiceStub(channel)
    finally:
        await server.stop(None)


async def test_a_gateway_tells_every_virtual_shard(tmp_path: Path) -> None:
    lifecycle = Lifecycle()
    lifecycle.enter(Phase.SERVING)
    async with served(a_gateway(lifecycle), tmp_path) as admin:
        answer = await admin.GetCluster(admin_pb2.GetClusterRequest(), timeout=PATIENCE_SECONDS)
    assert SHARD_COUNT + 1 == len(answer.shards)
    assert answer.time > 0


async def test_one_process_has_no_virtual_shards(tmp_path: Path) -> None:
    lifecycle = Lifecycle()
    lifecycle.enter(Phase.SERVING)
    async with served(AdminServicer(lifecycle), tmp_path) as admin:
        answer = await admin.GetCluster(admin_pb2.GetClusterRequest(), timeout=PATIENCE_SECONDS)
    assert admin_pb2.GetClusterResponse() == answer


@pytest.mark.parametrize("kind", [a_gateway, AdminServicer])
async def test_neither_tells_anything_before_it_serves(kind: type[AdminServicer], tmp_path: Path) -> None:
    async with served(kind(Lifecycle()), tmp_path) as admin:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await admin.GetCluster(admin_pb2.GetClusterRequest(), timeout=PATIENCE_SECONDS)
    assert grpc.StatusCode.UNAVAILABLE is refused.value.code()
