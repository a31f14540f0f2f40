"""The least that a batch of trades costs anyone who takes it: bytes parsed by protobuf, and its columns made arrays."""

import numpy as np
from evs.v1 import evs_pb2 as pb

from evs_server.model import Int64Array


def decode(message: bytes) -> list[Int64Array]:
    """The columns of a batch of one run of trades."""
    trades = pb.StreamEventsRequest.FromString(message).runs[0].trades
    columns = (
        trades.account_id,
        trades.symbol_id,
        trades.side,
        trades.quantity_bp,
        trades.price_cents,
        trades.fee_cents,
    )
    return [np.array(column, np.int64) for column in columns]
