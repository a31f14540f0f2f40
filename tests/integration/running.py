"""A whole EVS in the process of a test, on a real database; and the exchange that writes into that database first."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import asyncpg
import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from evs_server.app import Application
from evs_server.clock import Clock
from evs_server.config import load
from tests.patience import PATIENCE_SECONDS
from tests.serving import Stub, within_patience
from tests.sessions import FAR_ROLL
from tests.wire import a_request

ROW_OF = {
    "account_id": "account_id",
    "tick": "tick",
    "total_equity": "total_equity",
    "cash_balance": "cash_balance",
    "position_value": "position_value",
    "day_change": "day_change",
    "unrealized_pnl": "unrealized_pnl",
    "realized_pnl": "realized_pnl",
}
"""Columns of ``equity_timeseries`` by the contract's names."""


class Evs:
    """One EVS and a client of its own."""

    def __init__(self, application: Application, channel: grpc.aio.Channel) -> None:
        self.application = application
        stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
        self.stub: Stub = stub
        self._health: Any = health_pb2_grpc.HealthStub(channel)

    async def send(self, *runs: pb.EventRun, first: int = 0) -> pb.StreamEventsResponse:
        """The answer to one batch, on a stream of its own."""
        call: Any = self.stub.StreamEvents()
        await call.write(a_request(*runs, first=first))
        answer: Any = await within_patience(call.read())
        call.cancel()
        assert isinstance(answer, pb.StreamEventsResponse), await call.details()
        return answer

    async def read(self, account_id: int) -> pb.GetEquityResponse:
        return await within_patience(self.stub.GetEquity(pb.GetEquityRequest(account_id=account_id)))

    async def positions(self, account_id: int) -> pb.ListPositionsResponse:
        return await within_patience(self.stub.ListPositions(pb.ListPositionsRequest(account_id=account_id)))

    async def state(self, source: str, wait_durable_sequence: int = 0) -> pb.GetIngestStateResponse:
        request = pb.GetIngestStateRequest(source=source, wait_durable_sequence=wait_durable_sequence)
        return await within_patience(self.stub.GetIngestState(request))

    async def is_healthy(self, service: str = "") -> bool:
        """Whether the health service says SERVING."""
        response = await within_patience(self._health.Check(health_pb2.HealthCheckRequest(service=service)))
        return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def stored(self) -> None:
        """Return once everything applied so far is in the database."""
        core = self.application._core
        assert core is not None
        core.gate.flush_now()
        assert 0 == await core.writer.drain(PATIENCE_SECONDS)


@contextlib.asynccontextmanager
async def entered(database: str, directory: Path, clock: Clock | None = None, **settings: object) -> AsyncIterator[Evs]:
    """An EVS that listens, and may not serve yet; by the real clock, no session rolls meanwhile."""
    given = {"database_url": database, "data_dir": directory, "listen": f"unix:{directory}/evs.sock"} | settings
    if clock is None:
        given = {"session_roll": FAR_ROLL} | given
    async with (
        Application(load(**given), clock) as application,
        grpc.aio.insecure_channel(application.address) as channel,
    ):
        yield Evs(application, channel)


@contextlib.asynccontextmanager
async def running(database: str, directory: Path, clock: Clock | None = None, **settings: object) -> AsyncIterator[Evs]:
    """An EVS that serves."""
    async with entered(database, directory, clock, **settings) as evs:
        await within_patience(evs.application.wait_ready())
        yield evs


class Exchange:
    """The exchange's side of the database, and what EVS has written there."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection

    async def register(self, cash_cents: dict[int, int]) -> None:
        """Open accounts."""
        await self.connection.executemany(
            "INSERT INTO accounts (id, currency_balance) VALUES ($1, $2)", list(cash_cents.items())
        )

    async def hold(self, account_id: int, symbol_id: int, quantity_bp: int, avg_cost: int) -> None:
        """Write a position."""
        await self.connection.execute(
            "INSERT INTO positions (account_id, symbol_id, quantity, avg_cost) VALUES ($1, $2, $3, $4)",
            account_id, symbol_id, quantity_bp, avg_cost,
        )  # fmt: skip

    async def settle(self, trade_id: int, account_id: int, symbol_id: int, side: str, bp: int, price: int) -> None:
        """Write a trade; cash and positions are up to the test."""
        await self.connection.execute(
            "INSERT INTO trades (id, account_id, symbol_id, side, quantity, price, timestamp, order_id)"
            " VALUES ($1, $2, $3, $4, $5, $6, now()::timestamp + make_interval(secs => $1::bigint::int), 1)",
            trade_id, account_id, symbol_id, side, bp, price,
        )  # fmt: skip

    async def rows(self, account_id: int | None = None) -> list[dict[str, Any]]:
        """Stored valuations, of one account or of all, ascending by version."""
        found = await self.connection.fetch(
            "SELECT * FROM equity_timeseries WHERE account_id = $1 OR $1 IS NULL ORDER BY version, account_id",
            account_id,
        )
        return [dict(row) for row in found]

    async def numbers(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """The rows of any query."""
        return [tuple(row) for row in await self.connection.fetch(statement, *arguments)]

    async def wait_for(self, statement: str) -> None:
        """Return once a query gives true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await self.connection.fetchval(statement):  # noqa: ASYNC110 -- each look is a round trip
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def exchange_at(database: str) -> AsyncIterator[Exchange]:
    """The exchange, connected."""
    connection = await asyncpg.connect(database, timeout=PATIENCE_SECONDS, command_timeout=PATIENCE_SECONDS)
    try:
        yield Exchange(connection)
    finally:
        await connection.close(timeout=PATIENCE_SECONDS)


def says_the_same(read: pb.GetEquityResponse, row: dict[str, Any]) -> bool:
    """Whether a read and a row of one version carry the same numbers, to the last of them."""
    equity = {name: getattr(read.equity, name) for name in ROW_OF}
    flags = [bit for bit in range(1, 6) if row["flags"] & (1 << bit)]
    return (
        equity == {name: row[column] for name, column in ROW_OF.items()}
        and (read.version, read.net_flow, list(read.flags)) == (row["version"], row["net_flow"], flags)
        and read.equity.timestamp == int(row["timestamp"].timestamp())
        and f"{read.equity.day_change_percent:.4f}" == f"{row['day_change_percent']:.4f}"
    )


def of_accounts(rows: Iterable[dict[str, Any]], column: str) -> dict[int, Any]:
    """One column by account; each account must come once."""
    listed = [(row["account_id"], row[column]) for row in rows]
    assert len(listed) == len(dict(listed)), f"an account has several rows: {listed}"
    return dict(listed)
