from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TradeSide(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRADE_SIDE_UNSPECIFIED: _ClassVar[TradeSide]
    TRADE_SIDE_BUY: _ClassVar[TradeSide]
    TRADE_SIDE_SELL: _ClassVar[TradeSide]

class MarkSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MARK_SOURCE_UNSPECIFIED: _ClassVar[MarkSource]
    MARK_SOURCE_MARK: _ClassVar[MarkSource]
    MARK_SOURCE_LAST_TRADE: _ClassVar[MarkSource]
    MARK_SOURCE_COST: _ClassVar[MarkSource]

class EquityFlag(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EQUITY_FLAG_UNSPECIFIED: _ClassVar[EquityFlag]
    EQUITY_FLAG_UNPRICED: _ClassVar[EquityFlag]
    EQUITY_FLAG_STALE_PRICE: _ClassVar[EquityFlag]
    EQUITY_FLAG_DEGRADED: _ClassVar[EquityFlag]
    EQUITY_FLAG_NO_BASE: _ClassVar[EquityFlag]
    EQUITY_FLAG_IDENTITY_VIOLATED: _ClassVar[EquityFlag]

class HistoryRange(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HISTORY_RANGE_UNSPECIFIED: _ClassVar[HistoryRange]
    HISTORY_RANGE_ONE_DAY: _ClassVar[HistoryRange]
    HISTORY_RANGE_ONE_WEEK: _ClassVar[HistoryRange]
    HISTORY_RANGE_ONE_MONTH: _ClassVar[HistoryRange]
    HISTORY_RANGE_THREE_MONTHS: _ClassVar[HistoryRange]
    HISTORY_RANGE_ONE_YEAR: _ClassVar[HistoryRange]
    HISTORY_RANGE_ALL: _ClassVar[HistoryRange]

class Resolution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESOLUTION_UNSPECIFIED: _ClassVar[Resolution]
    RESOLUTION_RAW: _ClassVar[Resolution]
    RESOLUTION_ONE_MINUTE: _ClassVar[Resolution]
    RESOLUTION_FIVE_MINUTES: _ClassVar[Resolution]
    RESOLUTION_ONE_HOUR: _ClassVar[Resolution]
    RESOLUTION_ONE_DAY: _ClassVar[Resolution]
TRADE_SIDE_UNSPECIFIED: TradeSide
TRADE_SIDE_BUY: TradeSide
TRADE_SIDE_SELL: TradeSide
MARK_SOURCE_UNSPECIFIED: MarkSource
MARK_SOURCE_MARK: MarkSource
MARK_SOURCE_LAST_TRADE: MarkSource
MARK_SOURCE_COST: MarkSource
EQUITY_FLAG_UNSPECIFIED: EquityFlag
EQUITY_FLAG_UNPRICED: EquityFlag
EQUITY_FLAG_STALE_PRICE: EquityFlag
EQUITY_FLAG_DEGRADED: EquityFlag
EQUITY_FLAG_NO_BASE: EquityFlag
EQUITY_FLAG_IDENTITY_VIOLATED: EquityFlag
HISTORY_RANGE_UNSPECIFIED: HistoryRange
HISTORY_RANGE_ONE_DAY: HistoryRange
HISTORY_RANGE_ONE_WEEK: HistoryRange
HISTORY_RANGE_ONE_MONTH: HistoryRange
HISTORY_RANGE_THREE_MONTHS: HistoryRange
HISTORY_RANGE_ONE_YEAR: HistoryRange
HISTORY_RANGE_ALL: HistoryRange
RESOLUTION_UNSPECIFIED: Resolution
RESOLUTION_RAW: Resolution
RESOLUTION_ONE_MINUTE: Resolution
RESOLUTION_FIVE_MINUTES: Resolution
RESOLUTION_ONE_HOUR: Resolution
RESOLUTION_ONE_DAY: Resolution

class EventId(_message.Message):
    __slots__ = ("source", "epoch", "sequence")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    source: str
    epoch: int
    sequence: int
    def __init__(self, source: _Optional[str] = ..., epoch: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class OnTradeSettledRequest(_message.Message):
    __slots__ = ("account_id", "symbol_id", "side", "quantity_bp", "price_cents", "fee_cents", "settlement_id", "event_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_BP_FIELD_NUMBER: _ClassVar[int]
    PRICE_CENTS_FIELD_NUMBER: _ClassVar[int]
    FEE_CENTS_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    symbol_id: int
    side: TradeSide
    quantity_bp: int
    price_cents: int
    fee_cents: int
    settlement_id: int
    event_id: EventId
    def __init__(self, account_id: _Optional[int] = ..., symbol_id: _Optional[int] = ..., side: _Optional[_Union[TradeSide, str]] = ..., quantity_bp: _Optional[int] = ..., price_cents: _Optional[int] = ..., fee_cents: _Optional[int] = ..., settlement_id: _Optional[int] = ..., event_id: _Optional[_Union[EventId, _Mapping]] = ...) -> None: ...

class OnTradeSettledResponse(_message.Message):
    __slots__ = ("duplicate", "applied_sequence", "durable_sequence")
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    duplicate: bool
    applied_sequence: int
    durable_sequence: int
    def __init__(self, duplicate: _Optional[bool] = ..., applied_sequence: _Optional[int] = ..., durable_sequence: _Optional[int] = ...) -> None: ...

class OnPriceUpdatedRequest(_message.Message):
    __slots__ = ("symbol_id", "price_cents", "event_id")
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_CENTS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    symbol_id: int
    price_cents: int
    event_id: EventId
    def __init__(self, symbol_id: _Optional[int] = ..., price_cents: _Optional[int] = ..., event_id: _Optional[_Union[EventId, _Mapping]] = ...) -> None: ...

class OnPriceUpdatedResponse(_message.Message):
    __slots__ = ("duplicate", "applied_sequence", "durable_sequence")
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    duplicate: bool
    applied_sequence: int
    durable_sequence: int
    def __init__(self, duplicate: _Optional[bool] = ..., applied_sequence: _Optional[int] = ..., durable_sequence: _Optional[int] = ...) -> None: ...

class OnTickCompleteRequest(_message.Message):
    __slots__ = ("tick_id", "tick_time", "event_id")
    TICK_ID_FIELD_NUMBER: _ClassVar[int]
    TICK_TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    tick_id: int
    tick_time: int
    event_id: EventId
    def __init__(self, tick_id: _Optional[int] = ..., tick_time: _Optional[int] = ..., event_id: _Optional[_Union[EventId, _Mapping]] = ...) -> None: ...

class OnTickCompleteResponse(_message.Message):
    __slots__ = ("duplicate", "applied_sequence", "durable_sequence", "accounts_valued")
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_VALUED_FIELD_NUMBER: _ClassVar[int]
    duplicate: bool
    applied_sequence: int
    durable_sequence: int
    accounts_valued: int
    def __init__(self, duplicate: _Optional[bool] = ..., applied_sequence: _Optional[int] = ..., durable_sequence: _Optional[int] = ..., accounts_valued: _Optional[int] = ...) -> None: ...

class OnCashAdjustedRequest(_message.Message):
    __slots__ = ("account_id", "amount_cents", "reason", "event_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_CENTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    amount_cents: int
    reason: str
    event_id: EventId
    def __init__(self, account_id: _Optional[int] = ..., amount_cents: _Optional[int] = ..., reason: _Optional[str] = ..., event_id: _Optional[_Union[EventId, _Mapping]] = ...) -> None: ...

class OnCashAdjustedResponse(_message.Message):
    __slots__ = ("duplicate", "applied_sequence", "durable_sequence")
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    duplicate: bool
    applied_sequence: int
    durable_sequence: int
    def __init__(self, duplicate: _Optional[bool] = ..., applied_sequence: _Optional[int] = ..., durable_sequence: _Optional[int] = ...) -> None: ...

class TradeColumns(_message.Message):
    __slots__ = ("account_id", "symbol_id", "side", "quantity_bp", "price_cents", "fee_cents", "settlement_id")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_BP_FIELD_NUMBER: _ClassVar[int]
    PRICE_CENTS_FIELD_NUMBER: _ClassVar[int]
    FEE_CENTS_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: _containers.RepeatedScalarFieldContainer[int]
    symbol_id: _containers.RepeatedScalarFieldContainer[int]
    side: _containers.RepeatedScalarFieldContainer[TradeSide]
    quantity_bp: _containers.RepeatedScalarFieldContainer[int]
    price_cents: _containers.RepeatedScalarFieldContainer[int]
    fee_cents: _containers.RepeatedScalarFieldContainer[int]
    settlement_id: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, account_id: _Optional[_Iterable[int]] = ..., symbol_id: _Optional[_Iterable[int]] = ..., side: _Optional[_Iterable[_Union[TradeSide, str]]] = ..., quantity_bp: _Optional[_Iterable[int]] = ..., price_cents: _Optional[_Iterable[int]] = ..., fee_cents: _Optional[_Iterable[int]] = ..., settlement_id: _Optional[_Iterable[int]] = ...) -> None: ...

class PriceColumns(_message.Message):
    __slots__ = ("symbol_id", "price_cents")
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    PRICE_CENTS_FIELD_NUMBER: _ClassVar[int]
    symbol_id: _containers.RepeatedScalarFieldContainer[int]
    price_cents: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, symbol_id: _Optional[_Iterable[int]] = ..., price_cents: _Optional[_Iterable[int]] = ...) -> None: ...

class CashColumns(_message.Message):
    __slots__ = ("account_id", "amount_cents", "reason")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_CENTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    account_id: _containers.RepeatedScalarFieldContainer[int]
    amount_cents: _containers.RepeatedScalarFieldContainer[int]
    reason: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, account_id: _Optional[_Iterable[int]] = ..., amount_cents: _Optional[_Iterable[int]] = ..., reason: _Optional[_Iterable[str]] = ...) -> None: ...

class TickColumns(_message.Message):
    __slots__ = ("tick_id", "tick_time")
    TICK_ID_FIELD_NUMBER: _ClassVar[int]
    TICK_TIME_FIELD_NUMBER: _ClassVar[int]
    tick_id: _containers.RepeatedScalarFieldContainer[int]
    tick_time: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, tick_id: _Optional[_Iterable[int]] = ..., tick_time: _Optional[_Iterable[int]] = ...) -> None: ...

class EventRun(_message.Message):
    __slots__ = ("trades", "prices", "cash", "ticks")
    TRADES_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    CASH_FIELD_NUMBER: _ClassVar[int]
    TICKS_FIELD_NUMBER: _ClassVar[int]
    trades: TradeColumns
    prices: PriceColumns
    cash: CashColumns
    ticks: TickColumns
    def __init__(self, trades: _Optional[_Union[TradeColumns, _Mapping]] = ..., prices: _Optional[_Union[PriceColumns, _Mapping]] = ..., cash: _Optional[_Union[CashColumns, _Mapping]] = ..., ticks: _Optional[_Union[TickColumns, _Mapping]] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("source", "epoch", "first_sequence", "runs")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    source: str
    epoch: int
    first_sequence: int
    runs: _containers.RepeatedCompositeFieldContainer[EventRun]
    def __init__(self, source: _Optional[str] = ..., epoch: _Optional[int] = ..., first_sequence: _Optional[int] = ..., runs: _Optional[_Iterable[_Union[EventRun, _Mapping]]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("sequence", "index", "reason", "message")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    index: int
    reason: str
    message: str
    def __init__(self, sequence: _Optional[int] = ..., index: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class StreamEventsResponse(_message.Message):
    __slots__ = ("applied_sequence", "durable_sequence", "refusals", "duplicate_count", "batch_answer", "accounts_valued")
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    BATCH_ANSWER_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_VALUED_FIELD_NUMBER: _ClassVar[int]
    applied_sequence: int
    durable_sequence: int
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    duplicate_count: int
    batch_answer: bool
    accounts_valued: int
    def __init__(self, applied_sequence: _Optional[int] = ..., durable_sequence: _Optional[int] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., duplicate_count: _Optional[int] = ..., batch_answer: _Optional[bool] = ..., accounts_valued: _Optional[int] = ...) -> None: ...

class GetIngestStateRequest(_message.Message):
    __slots__ = ("source", "wait_durable_sequence")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    WAIT_DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    source: str
    wait_durable_sequence: int
    def __init__(self, source: _Optional[str] = ..., wait_durable_sequence: _Optional[int] = ...) -> None: ...

class GetIngestStateResponse(_message.Message):
    __slots__ = ("epoch", "applied_sequence", "durable_sequence", "degraded_since")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    APPLIED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_SINCE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    applied_sequence: int
    durable_sequence: int
    degraded_since: int
    def __init__(self, epoch: _Optional[int] = ..., applied_sequence: _Optional[int] = ..., durable_sequence: _Optional[int] = ..., degraded_since: _Optional[int] = ...) -> None: ...

class EquityUpdate(_message.Message):
    __slots__ = ("account_id", "tick", "timestamp", "total_equity", "cash_balance", "position_value", "day_change", "day_change_percent", "unrealized_pnl", "realized_pnl")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_EQUITY_FIELD_NUMBER: _ClassVar[int]
    CASH_BALANCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_VALUE_FIELD_NUMBER: _ClassVar[int]
    DAY_CHANGE_FIELD_NUMBER: _ClassVar[int]
    DAY_CHANGE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    tick: int
    timestamp: int
    total_equity: int
    cash_balance: int
    position_value: int
    day_change: int
    day_change_percent: float
    unrealized_pnl: int
    realized_pnl: int
    def __init__(self, account_id: _Optional[int] = ..., tick: _Optional[int] = ..., timestamp: _Optional[int] = ..., total_equity: _Optional[int] = ..., cash_balance: _Optional[int] = ..., position_value: _Optional[int] = ..., day_change: _Optional[int] = ..., day_change_percent: _Optional[float] = ..., unrealized_pnl: _Optional[int] = ..., realized_pnl: _Optional[int] = ...) -> None: ...

class GetEquityRequest(_message.Message):
    __slots__ = ("account_id",)
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    def __init__(self, account_id: _Optional[int] = ...) -> None: ...

class GetEquityResponse(_message.Message):
    __slots__ = ("equity", "version", "flags", "net_flow")
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    NET_FLOW_FIELD_NUMBER: _ClassVar[int]
    equity: EquityUpdate
    version: int
    flags: _containers.RepeatedScalarFieldContainer[EquityFlag]
    net_flow: int
    def __init__(self, equity: _Optional[_Union[EquityUpdate, _Mapping]] = ..., version: _Optional[int] = ..., flags: _Optional[_Iterable[_Union[EquityFlag, str]]] = ..., net_flow: _Optional[int] = ...) -> None: ...

class BatchGetEquityRequest(_message.Message):
    __slots__ = ("account_ids",)
    ACCOUNT_IDS_FIELD_NUMBER: _ClassVar[int]
    account_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, account_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class BatchGetEquityResponse(_message.Message):
    __slots__ = ("equities", "unknown_account_ids")
    EQUITIES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ACCOUNT_IDS_FIELD_NUMBER: _ClassVar[int]
    equities: _containers.RepeatedCompositeFieldContainer[GetEquityResponse]
    unknown_account_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, equities: _Optional[_Iterable[_Union[GetEquityResponse, _Mapping]]] = ..., unknown_account_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ListPositionsRequest(_message.Message):
    __slots__ = ("account_id",)
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    def __init__(self, account_id: _Optional[int] = ...) -> None: ...

class ListPositionsResponse(_message.Message):
    __slots__ = ("positions", "version")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    version: int
    def __init__(self, positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., version: _Optional[int] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("symbol_id", "quantity_bp", "avg_cost", "basis_cents", "mark_price", "mark_source", "market_value", "unrealized_pnl", "realized_pnl", "last_updated", "mark_time")
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_BP_FIELD_NUMBER: _ClassVar[int]
    AVG_COST_FIELD_NUMBER: _ClassVar[int]
    BASIS_CENTS_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    MARK_SOURCE_FIELD_NUMBER: _ClassVar[int]
    MARKET_VALUE_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    LAST_UPDATED_FIELD_NUMBER: _ClassVar[int]
    MARK_TIME_FIELD_NUMBER: _ClassVar[int]
    symbol_id: int
    quantity_bp: int
    avg_cost: int
    basis_cents: int
    mark_price: int
    mark_source: MarkSource
    market_value: int
    unrealized_pnl: int
    realized_pnl: int
    last_updated: int
    mark_time: int
    def __init__(self, symbol_id: _Optional[int] = ..., quantity_bp: _Optional[int] = ..., avg_cost: _Optional[int] = ..., basis_cents: _Optional[int] = ..., mark_price: _Optional[int] = ..., mark_source: _Optional[_Union[MarkSource, str]] = ..., market_value: _Optional[int] = ..., unrealized_pnl: _Optional[int] = ..., realized_pnl: _Optional[int] = ..., last_updated: _Optional[int] = ..., mark_time: _Optional[int] = ...) -> None: ...

class GetEquityHistoryRequest(_message.Message):
    __slots__ = ("account_id", "range", "start", "end", "resolution", "carry_forward", "page_size", "page_token")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    CARRY_FORWARD_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    range: HistoryRange
    start: int
    end: int
    resolution: Resolution
    carry_forward: bool
    page_size: int
    page_token: str
    def __init__(self, account_id: _Optional[int] = ..., range: _Optional[_Union[HistoryRange, str]] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., resolution: _Optional[_Union[Resolution, str]] = ..., carry_forward: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class EquityPoint(_message.Message):
    __slots__ = ("time", "open", "high", "low", "last", "realized_pnl", "net_flow", "final")
    TIME_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    REALIZED_PNL_FIELD_NUMBER: _ClassVar[int]
    NET_FLOW_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    time: int
    open: int
    high: int
    low: int
    last: int
    realized_pnl: int
    net_flow: int
    final: bool
    def __init__(self, time: _Optional[int] = ..., open: _Optional[int] = ..., high: _Optional[int] = ..., low: _Optional[int] = ..., last: _Optional[int] = ..., realized_pnl: _Optional[int] = ..., net_flow: _Optional[int] = ..., final: _Optional[bool] = ...) -> None: ...

class GetEquityHistoryResponse(_message.Message):
    __slots__ = ("resolution", "points", "next_page_token")
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    resolution: Resolution
    points: _containers.RepeatedCompositeFieldContainer[EquityPoint]
    next_page_token: str
    def __init__(self, resolution: _Optional[_Union[Resolution, str]] = ..., points: _Optional[_Iterable[_Union[EquityPoint, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetPerformanceRequest(_message.Message):
    __slots__ = ("account_id", "range", "start", "end")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    range: HistoryRange
    start: int
    end: int
    def __init__(self, account_id: _Optional[int] = ..., range: _Optional[_Union[HistoryRange, str]] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class GetPerformanceResponse(_message.Message):
    __slots__ = ("start", "end", "start_equity", "end_equity", "net_flow", "profit", "time_weighted_return_percent", "max_drawdown_percent", "drawdown_percent", "high_water_mark", "high_water_time", "version")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    START_EQUITY_FIELD_NUMBER: _ClassVar[int]
    END_EQUITY_FIELD_NUMBER: _ClassVar[int]
    NET_FLOW_FIELD_NUMBER: _ClassVar[int]
    PROFIT_FIELD_NUMBER: _ClassVar[int]
    TIME_WEIGHTED_RETURN_PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_DRAWDOWN_PERCENT_FIELD_NUMBER: _ClassVar[int]
    DRAWDOWN_PERCENT_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATER_MARK_FIELD_NUMBER: _ClassVar[int]
    HIGH_WATER_TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    start_equity: int
    end_equity: int
    net_flow: int
    profit: int
    time_weighted_return_percent: float
    max_drawdown_percent: float
    drawdown_percent: float
    high_water_mark: int
    high_water_time: int
    version: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., start_equity: _Optional[int] = ..., end_equity: _Optional[int] = ..., net_flow: _Optional[int] = ..., profit: _Optional[int] = ..., time_weighted_return_percent: _Optional[float] = ..., max_drawdown_percent: _Optional[float] = ..., drawdown_percent: _Optional[float] = ..., high_water_mark: _Optional[int] = ..., high_water_time: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class GetLeaderboardRequest(_message.Message):
    __slots__ = ("range", "limit", "account_id")
    RANGE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    range: HistoryRange
    limit: int
    account_id: int
    def __init__(self, range: _Optional[_Union[HistoryRange, str]] = ..., limit: _Optional[int] = ..., account_id: _Optional[int] = ...) -> None: ...

class LeaderboardEntry(_message.Message):
    __slots__ = ("rank", "account_id", "display_name", "return_percent")
    RANK_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    RETURN_PERCENT_FIELD_NUMBER: _ClassVar[int]
    rank: int
    account_id: int
    display_name: str
    return_percent: float
    def __init__(self, rank: _Optional[int] = ..., account_id: _Optional[int] = ..., display_name: _Optional[str] = ..., return_percent: _Optional[float] = ...) -> None: ...

class GetLeaderboardResponse(_message.Message):
    __slots__ = ("entries", "own", "ranked_count", "version")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    RANKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LeaderboardEntry]
    own: LeaderboardEntry
    ranked_count: int
    version: int
    def __init__(self, entries: _Optional[_Iterable[_Union[LeaderboardEntry, _Mapping]]] = ..., own: _Optional[_Union[LeaderboardEntry, _Mapping]] = ..., ranked_count: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class SubscribeEquityRequest(_message.Message):
    __slots__ = ("account_id",)
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    def __init__(self, account_id: _Optional[int] = ...) -> None: ...

class SubscribeEquityResponse(_message.Message):
    __slots__ = ("equity", "version", "snapshot", "conflated", "flags")
    EQUITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CONFLATED_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    equity: EquityUpdate
    version: int
    snapshot: bool
    conflated: int
    flags: _containers.RepeatedScalarFieldContainer[EquityFlag]
    def __init__(self, equity: _Optional[_Union[EquityUpdate, _Mapping]] = ..., version: _Optional[int] = ..., snapshot: _Optional[bool] = ..., conflated: _Optional[int] = ..., flags: _Optional[_Iterable[_Union[EquityFlag, str]]] = ...) -> None: ...

class WatchEquityRequest(_message.Message):
    __slots__ = ("add", "remove", "all")
    ADD_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    add: _containers.RepeatedScalarFieldContainer[int]
    remove: _containers.RepeatedScalarFieldContainer[int]
    all: bool
    def __init__(self, add: _Optional[_Iterable[int]] = ..., remove: _Optional[_Iterable[int]] = ..., all: _Optional[bool] = ...) -> None: ...

class WatchEquityResponse(_message.Message):
    __slots__ = ("updates", "refused_account_ids")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_ACCOUNT_IDS_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[SubscribeEquityResponse]
    refused_account_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, updates: _Optional[_Iterable[_Union[SubscribeEquityResponse, _Mapping]]] = ..., refused_account_ids: _Optional[_Iterable[int]] = ...) -> None: ...
