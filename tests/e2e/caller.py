"""A client written from ``evs.proto`` alone, with plain grpcio stubs: what a stranger in any language would write."""

import itertools
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.patience import PATIENCE_SECONDS

BUY = pb.TRADE_SIDE_BUY
SELL = pb.TRADE_SIDE_SELL
SHARE = 10_000
"""One share in bp."""

SERVICE = "evs.v1.EquityValuationService"


class Numbers(NamedTuple):
    """The money of one valuation, in cents, in the order that people say it."""

    cash: int
    value: int
    equity: int
    unrealized: int
    realized: int
    day: int


def numbers(equity: pb.EquityUpdate) -> Numbers:
    """What a valuation says."""
    return Numbers(
        equity.cash_balance,
        equity.position_value,
        equity.total_equity,
        equity.unrealized_pnl,
        equity.realized_pnl,
        equity.day_change,
    )


def ten_fields(equity: pb.EquityUpdate) -> dict[str, int | float]:
    """All ten fields by their names."""
    return {field.name: getattr(equity, field.name) for field in pb.EquityUpdate.DESCRIPTOR.fields}


class Follower:
    """One stream of one account."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.cancel()

    def next(self) -> pb.SubscribeEquityResponse:
        """The next message that carries a value."""
        while True:
            message: pb.SubscribeEquityResponse = next(self._call)
            if message.HasField("equity"):
                return message

    def until(self, version: int) -> list[pb.SubscribeEquityResponse]:
        """The values up to a version, that one included."""
        seen = [self.next()]
        while seen[-1].version < version:
            seen.append(self.next())
        return seen

    def end(self) -> grpc.StatusCode:
        """The status that the stream ends with, whatever comes before."""
        try:
            while True:
                next(self._call)
        except grpc.RpcError:
            code: grpc.StatusCode = self._call.code()
            return code


class Caller:
    """
    Everything of the contract on one channel; each call has a deadline.

    Args:
        address: Where EVS is.
    """

    _markers = itertools.count(1)

    def __init__(self, address: str) -> None:
        # A channel of its own: channels to one address would share a connection, and with it their fate.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
        self.channel = grpc.insecure_channel(address, options=options)
        self.stub: Any = evs_pb2_grpc.EquityValuationServiceStub(self.channel)
        self._health: Any = health_pb2_grpc.HealthStub(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()

    def call(self, method: str, request: Any, seconds: float = PATIENCE_SECONDS) -> Any:
        """The answer of one unary method."""
        return getattr(self.stub, method)(request, timeout=seconds)

    # --- events, unsequenced unless an ``event_id`` is given -----------------------------------------------------

    def trade(
        self, account_id: int, symbol_id: int, side: pb.TradeSide, quantity_bp: int, price_cents: int, **more: Any
    ) -> pb.OnTradeSettledResponse:
        request = pb.OnTradeSettledRequest(
            account_id=account_id,
            symbol_id=symbol_id,
            side=side,
            quantity_bp=quantity_bp,
            price_cents=price_cents,
            **more,
        )
        answer: pb.OnTradeSettledResponse = self.call("OnTradeSettled", request)
        return answer

    def price(self, symbol_id: int, price_cents: int, **more: Any) -> pb.OnPriceUpdatedResponse:
        request = pb.OnPriceUpdatedRequest(symbol_id=symbol_id, price_cents=price_cents, **more)
        answer: pb.OnPriceUpdatedResponse = self.call("OnPriceUpdated", request)
        return answer

    def cash(self, account_id: int, amount_cents: int, **more: Any) -> pb.OnCashAdjustedResponse:
        request = pb.OnCashAdjustedRequest(account_id=account_id, amount_cents=amount_cents, **more)
        answer: pb.OnCashAdjustedResponse = self.call("OnCashAdjusted", request)
        return answer

    def tick(self, tick_id: int = 1, tick_time: int = 0, **more: Any) -> pb.OnTickCompleteResponse:
        request = pb.OnTickCompleteRequest(tick_id=tick_id, tick_time=tick_time, **more)
        answer: pb.OnTickCompleteResponse = self.call("OnTickComplete", request)
        return answer

    # --- reads ---------------------------------------------------------------------------------------------------

    def equity(self, account_id: int) -> pb.GetEquityResponse:
        answer: pb.GetEquityResponse = self.call("GetEquity", pb.GetEquityRequest(account_id=account_id))
        return answer

    def numbers(self, account_id: int) -> Numbers:
        """The newest valuation; on the way, what must hold of every one is checked."""
        answer = self.equity(account_id)
        equity = answer.equity
        assert equity.total_equity == equity.cash_balance + equity.position_value
        assert equity.total_equity - answer.net_flow == equity.realized_pnl + equity.unrealized_pnl
        assert pb.EQUITY_FLAG_IDENTITY_VIOLATED not in answer.flags
        return numbers(equity)

    def positions(self, account_id: int) -> dict[int, pb.Position]:
        """Positions by symbol."""
        answer = self.call("ListPositions", pb.ListPositionsRequest(account_id=account_id))
        return {position.symbol_id: position for position in answer.positions}

    def follow(self, account_id: int, seconds: float = PATIENCE_SECONDS) -> Follower:
        """A stream of one account; end it as a context."""
        return Follower(self.stub.SubscribeEquity(pb.SubscribeEquityRequest(account_id=account_id), timeout=seconds))

    def stream(self, batches: Iterator[pb.StreamEventsRequest], seconds: float = PATIENCE_SECONDS) -> Any:
        """The answers to batches of events."""
        return self.stub.StreamEvents(batches, timeout=seconds)

    def ingest_state(self, source: str, wait_durable: int = 0) -> pb.GetIngestStateResponse:
        request = pb.GetIngestStateRequest(source=source, wait_durable_sequence=wait_durable)
        answer: pb.GetIngestStateResponse = self.call("GetIngestState", request)
        return answer

    def wait_stored(self) -> None:
        """Return once everything sent so far is in Postgres: a numbered event sent now is durable no earlier."""
        source = f"marker-{next(self._markers)}"
        self.price(2**32 - 1, 1, event_id=pb.EventId(source=source, epoch=1, sequence=1))
        self.ingest_state(source, wait_durable=1)

    # --- health --------------------------------------------------------------------------------------------------

    def health(self, service: str = "") -> str:
        """What the server says of a service, as soon as it answers."""
        request = health_pb2.HealthCheckRequest(service=service)
        answer = self._health.Check(request, timeout=PATIENCE_SECONDS, wait_for_ready=True)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)

    def wait_serving(self) -> None:
        """Return once the server says that it serves."""
        request = health_pb2.HealthCheckRequest(service="")
        call = self._health.Watch(request, timeout=PATIENCE_SECONDS, wait_for_ready=True)
        for answer in call:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                call.cancel()
                return


class Refused(NamedTuple):
    """How a call was refused: its status, and what the rich status adds."""

    code: str
    message: str
    fields: tuple[str, ...]
    metadata: dict[str, str]


def refused(error: grpc.RpcError) -> Refused:
    """What a refusal says, read as any client would."""
    assert isinstance(error, grpc.Call)
    fields: list[str] = []
    metadata: dict[str, str] = {}
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                for kind in (error_details_pb2.BadRequest, error_details_pb2.ErrorInfo):
                    if detail.Is(kind.DESCRIPTOR):
                        message = kind.FromString(detail.value)
                        fields += [violation.field for violation in getattr(message, "field_violations", ())]
                        metadata |= dict(getattr(message, "metadata", {}))
    return Refused(error.code().name, error.details() or "", tuple(fields), metadata)
