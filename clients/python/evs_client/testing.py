"""For the tests of those who use this client. Touches nothing outside."""

from evs.v1 import evs_pb2

from evs_client.encode import (
    CashEvent,
    Event,
    PriceEvent,
    Side,
    TickEvent,
    TradeEvent,
    event_of,
    price_record,
    tick_record,
    trade_record,
)


def events_in(request: evs_pb2.StreamEventsRequest) -> list[Event]:
    """The events of a request in order, for a server of one's own; a column left empty is all zeros."""
    events: list[Event] = []
    for run in request.runs:
        if run.HasField("trades"):
            events += _trades_in(run.trades)
        elif run.HasField("prices"):
            events += map(PriceEvent, run.prices.symbol_id, run.prices.price_cents)
        elif run.HasField("ticks"):
            count = len(run.ticks.tick_id)
            events += map(TickEvent, run.ticks.tick_id, run.ticks.tick_time or [0] * count)
        elif run.HasField("cash"):
            count = len(run.cash.account_id)
            events += map(CashEvent, run.cash.account_id, run.cash.amount_cents, run.cash.reason or [""] * count)
    return events


def _trades_in(trades: evs_pb2.TradeColumns) -> list[TradeEvent]:
    zeros = [0] * len(trades.account_id)
    columns = (
        trades.account_id,
        trades.symbol_id,
        trades.side,
        trades.quantity_bp,
        trades.price_cents,
        trades.fee_cents or zeros,
        trades.settlement_id or zeros,
    )
    return list(map(TradeEvent, *columns))


class RecordedEvents:
    """
    A ``PostSettlementCallback`` that keeps what it is told, in order, after the same checks as the real one.

    Give it to the exchange's dispatcher in place of an ``ExecutionManagerClient``, and read ``events``.
    """

    def __init__(self) -> None:
        self.events: list[TradeEvent | PriceEvent | TickEvent] = []

    async def on_trade_settled(
        self,
        account_id: int,
        symbol_id: int,
        side: Side,
        *,
        quantity_bp: int,
        price_cents: int,
        fee_cents: int = 0,
        settlement_id: int = 0,
    ) -> None:
        """Keep one leg of a settled trade."""
        self._keep(
            trade_record(
                account_id,
                symbol_id,
                side,
                quantity_bp=quantity_bp,
                price_cents=price_cents,
                fee_cents=fee_cents,
                settlement_id=settlement_id,
            )
        )

    async def on_price_updated(self, symbol_id: int, price_cents: int) -> None:
        """Keep a new price."""
        self._keep(price_record(symbol_id, price_cents))

    async def on_tick_complete(self, tick_id: int, tick_time_ms: int = 0) -> None:
        """Keep the end of a tick."""
        self._keep(tick_record(tick_id, tick_time_ms))

    def _keep(self, record: bytes) -> None:
        event = event_of(record)
        assert isinstance(event, TradeEvent | PriceEvent | TickEvent)
        self.events.append(event)
