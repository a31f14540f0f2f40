"""A gateway that cannot begin yet."""

import socket
from pathlib import Path

import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc

from evs_server.config import load
from evs_server.errors import ConfigError
from evs_server.gateway.app import Gateway
from evs_server.log import EmbeddedNats
from tests.serving import within_patience


async def test_a_gateway_finds_out_that_its_address_is_taken_before_it_opens_the_log(tmp_path: Path) -> None:
    """There is none here: it would say so, or wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = load(nats_url="nats://127.0.0.1:1", database_url="postgresql://", data_dir=tmp_path, listen=address)
        with pytest.raises(ConfigError, match=f"EVS_LISTEN: cannot listen on {address}: it is taken"):
            await within_patience(Gateway(settings).__aenter__())


async def test_a_gateway_whose_database_is_away_tells_its_callers_and_can_be_stopped(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/gateway.sock"
    nats = EmbeddedNats(tmp_path / "nats")
    await nats.start()
    try:
        settings = load(
            nats_url=nats.url,
            database_url="postgresql://evs@127.0.0.1:1/nowhere",
            data_dir=tmp_path,
            listen=address,
            metrics_listen="",
        )
        async with Gateway(settings), grpc.aio.insecure_channel(address) as channel:
            stub = evs_pb2_grpc.EquityValuationServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await within_patience(stub.GetEquity(pb.GetEquityRequest(account_id=1)))
    finally:
        await nats.stop()
    assert grpc.StatusCode.UNAVAILABLE == refused.value.code()
    assert "reading its state" in str(refused.value.details())
