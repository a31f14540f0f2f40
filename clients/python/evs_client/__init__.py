"""
Talk to the Equity Valuation Service: send it events, follow what accounts are worth.

``ExecutionManagerClient`` is for the one who settles trades, ``EquityStream`` for those who read,
``PostSettlementCallback`` is what the exchange calls, ``errors`` has all that can be raised. For everything else there
is the stub of ``evs.v1``.
"""

from evs_client.block import EventBlock
from evs_client.callback import PostSettlementCallback
from evs_client.channel import bearer, tls
from evs_client.encode import CashEvent, Event, PriceEvent, Side, TickEvent, TradeEvent
from evs_client.equity_stream import EquityStream, StreamStatus
from evs_client.equity_value import EquityValue
from evs_client.execution_manager import ExecutionManagerClient
from evs_client.refusals import Refusal
from evs_client.sender import SenderStatistics
from evs_client.tuning import SenderTuning

__all__ = [
    "CashEvent",
    "EquityStream",
    "EquityValue",
    "Event",
    "EventBlock",
    "ExecutionManagerClient",
    "PostSettlementCallback",
    "PriceEvent",
    "Refusal",
    "SenderStatistics",
    "SenderTuning",
    "Side",
    "StreamStatus",
    "TickEvent",
    "TradeEvent",
    "bearer",
    "tls",
]
