"""What senders say, shortly: events as rows of numbers, made into messages of the contract; and what EVS refuses."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from evs_server.ingest import codec
from evs_server.model import Batch

BUY, SELL = pb.TRADE_SIDE_BUY, pb.TRADE_SIDE_SELL
EM = "em"
"""The sender of most tests."""


def trades(*rows: tuple[int, ...]) -> pb.EventRun:
    """Legs: account, symbol, side, bp, price and, if any row has them, fee and settlement id."""
    columns = list(zip(*rows, strict=True)) + [()] * 7
    return pb.EventRun(
        trades=pb.TradeColumns(
            account_id=columns[0],
            symbol_id=columns[1],
            side=columns[2],
            quantity_bp=columns[3],
            price_cents=columns[4],
            fee_cents=columns[5],
            settlement_id=columns[6],
        )
    )


def prices(*rows: tuple[int, int]) -> pb.EventRun:
    """Marks: symbol and price."""
    symbol_id, price_cents = zip(*rows, strict=True)
    return pb.EventRun(prices=pb.PriceColumns(symbol_id=symbol_id, price_cents=price_cents))


def cash(*rows: tuple[int, int]) -> pb.EventRun:
    """Flows: account and amount."""
    account_id, amount_cents = zip(*rows, strict=True)
    return pb.EventRun(cash=pb.CashColumns(account_id=account_id, amount_cents=amount_cents))


def ticks(*tick_id: int, tick_time: tuple[int, ...] = ()) -> pb.EventRun:
    """Tick completions."""
    return pb.EventRun(ticks=pb.TickColumns(tick_id=tick_id, tick_time=tick_time))


def a_request(*runs: pb.EventRun, first: int = 0, source: str = EM, epoch: int = 1) -> pb.StreamEventsRequest:
    """A batch as it is sent; unsequenced unless ``first`` says where it begins."""
    if not first:
        source, epoch = "", 0
    return pb.StreamEventsRequest(source=source, epoch=epoch, first_sequence=first, runs=runs)


def a_batch(*runs: pb.EventRun, first: int = 0, source: str = EM, epoch: int = 1) -> Batch:
    """A batch as the intake takes it."""
    return codec.decode_batch(a_request(*runs, first=first, source=source, epoch=epoch))


def a_trade(
    account_id: int, symbol_id: int, side: int, quantity_bp: int, price_cents: int, **rest: Any
) -> pb.OnTradeSettledRequest:
    """One leg; ``side`` may be a number that the contract does not know."""
    return pb.OnTradeSettledRequest(
        account_id=account_id,
        symbol_id=symbol_id,
        side=side,  # type: ignore[arg-type]
        quantity_bp=quantity_bp,
        price_cents=price_cents,
        **rest,
    )


def numbered(sequence: int, *, source: str = EM, epoch: int = 1) -> pb.EventId:
    """The id of an event."""
    return pb.EventId(source=source, epoch=epoch, sequence=sequence)


@dataclass
class Refused:
    """What a caller is told, once the block of ``refusal`` has ended."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    reason: str = ""
    field: str = ""
    metadata: dict[str, str] | None = None


@contextmanager
def refusal() -> Iterator[Refused]:
    """Expect a call to be refused, and read the rich status."""
    told = Refused()
    with pytest.raises(grpc.RpcError) as caught:
        yield told
    error: Any = caught.value
    told.code, told.message = error.code(), error.details()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            assert "evs.v1" == info.domain
            told.reason, told.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad_request):
            [violation] = bad_request.field_violations
            told.field = violation.field
