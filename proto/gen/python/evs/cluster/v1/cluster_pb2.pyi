from evs.v1 import evs_pb2 as _evs_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Part(_message.Message):
    __slots__ = ("taken_ms", "source", "epoch", "first_sequence", "batch_id", "shared_follows", "runs")
    TAKEN_MS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    SHARED_FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    taken_ms: int
    source: str
    epoch: int
    first_sequence: int
    batch_id: str
    shared_follows: bool
    runs: _containers.RepeatedCompositeFieldContainer[PartRun]
    def __init__(self, taken_ms: _Optional[int] = ..., source: _Optional[str] = ..., epoch: _Optional[int] = ..., first_sequence: _Optional[int] = ..., batch_id: _Optional[str] = ..., shared_follows: _Optional[bool] = ..., runs: _Optional[_Iterable[_Union[PartRun, _Mapping]]] = ...) -> None: ...

class PartRun(_message.Message):
    __slots__ = ("index", "trades", "prices", "cash", "ticks", "observed")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    CASH_FIELD_NUMBER: _ClassVar[int]
    TICKS_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    index: _containers.RepeatedScalarFieldContainer[int]
    trades: _evs_pb2.TradeColumns
    prices: _evs_pb2.PriceColumns
    cash: _evs_pb2.CashColumns
    ticks: _evs_pb2.TickColumns
    observed: _evs_pb2.PriceColumns
    def __init__(self, index: _Optional[_Iterable[int]] = ..., trades: _Optional[_Union[_evs_pb2.TradeColumns, _Mapping]] = ..., prices: _Optional[_Union[_evs_pb2.PriceColumns, _Mapping]] = ..., cash: _Optional[_Union[_evs_pb2.CashColumns, _Mapping]] = ..., ticks: _Optional[_Union[_evs_pb2.TickColumns, _Mapping]] = ..., observed: _Optional[_Union[_evs_pb2.PriceColumns, _Mapping]] = ...) -> None: ...

class JournalEntry(_message.Message):
    __slots__ = ("source", "epoch", "first_sequence", "digests", "batch_id", "touched_shards", "shared", "carried")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_SHARDS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    CARRIED_FIELD_NUMBER: _ClassVar[int]
    source: str
    epoch: int
    first_sequence: int
    digests: bytes
    batch_id: str
    touched_shards: int
    shared: bool
    carried: _containers.RepeatedCompositeFieldContainer[CarriedPart]
    def __init__(self, source: _Optional[str] = ..., epoch: _Optional[int] = ..., first_sequence: _Optional[int] = ..., digests: _Optional[bytes] = ..., batch_id: _Optional[str] = ..., touched_shards: _Optional[int] = ..., shared: _Optional[bool] = ..., carried: _Optional[_Iterable[_Union[CarriedPart, _Mapping]]] = ...) -> None: ...

class CarriedPart(_message.Message):
    __slots__ = ("shard", "shared", "part")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    shard: int
    shared: bool
    part: bytes
    def __init__(self, shard: _Optional[int] = ..., shared: _Optional[bool] = ..., part: _Optional[bytes] = ...) -> None: ...

class News(_message.Message):
    __slots__ = ("shard", "start_number", "number", "owner", "applied_position", "committed_position", "applied_ms", "passes", "refusals", "account_count", "degraded_since_ms", "session_start_ms")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    START_NUMBER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    APPLIED_POSITION_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_POSITION_FIELD_NUMBER: _ClassVar[int]
    APPLIED_MS_FIELD_NUMBER: _ClassVar[int]
    PASSES_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    SESSION_START_MS_FIELD_NUMBER: _ClassVar[int]
    shard: int
    start_number: int
    number: int
    owner: str
    applied_position: int
    committed_position: int
    applied_ms: int
    passes: _containers.RepeatedCompositeFieldContainer[Pass]
    refusals: _containers.RepeatedCompositeFieldContainer[ShardRefusal]
    account_count: int
    degraded_since_ms: int
    session_start_ms: int
    def __init__(self, shard: _Optional[int] = ..., start_number: _Optional[int] = ..., number: _Optional[int] = ..., owner: _Optional[str] = ..., applied_position: _Optional[int] = ..., committed_position: _Optional[int] = ..., applied_ms: _Optional[int] = ..., passes: _Optional[_Iterable[_Union[Pass, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[ShardRefusal, _Mapping]]] = ..., account_count: _Optional[int] = ..., degraded_since_ms: _Optional[int] = ..., session_start_ms: _Optional[int] = ...) -> None: ...

class Pass(_message.Message):
    __slots__ = ("batch_id", "version", "tick", "timestamp_ms", "session_roll", "account_id", "equity_cents", "cash_cents", "position_value_cents", "day_change_cents", "day_change_percent_e4", "unrealized_cents", "realized_cents", "net_flow_cents", "flags")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ROLL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    EQUITY_CENTS_FIELD_NUMBER: _ClassVar[int]
    CASH_CENTS_FIELD_NUMBER: _ClassVar[int]
    POSITION_VALUE_CENTS_FIELD_NUMBER: _ClassVar[int]
    DAY_CHANGE_CENTS_FIELD_NUMBER: _ClassVar[int]
    DAY_CHANGE_PERCENT_E4_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_CENTS_FIELD_NUMBER: _ClassVar[int]
    REALIZED_CENTS_FIELD_NUMBER: _ClassVar[int]
    NET_FLOW_CENTS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    version: int
    tick: int
    timestamp_ms: int
    session_roll: bool
    account_id: _containers.RepeatedScalarFieldContainer[int]
    equity_cents: _containers.RepeatedScalarFieldContainer[int]
    cash_cents: _containers.RepeatedScalarFieldContainer[int]
    position_value_cents: _containers.RepeatedScalarFieldContainer[int]
    day_change_cents: _containers.RepeatedScalarFieldContainer[int]
    day_change_percent_e4: _containers.RepeatedScalarFieldContainer[int]
    unrealized_cents: _containers.RepeatedScalarFieldContainer[int]
    realized_cents: _containers.RepeatedScalarFieldContainer[int]
    net_flow_cents: _containers.RepeatedScalarFieldContainer[int]
    flags: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, batch_id: _Optional[str] = ..., version: _Optional[int] = ..., tick: _Optional[int] = ..., timestamp_ms: _Optional[int] = ..., session_roll: _Optional[bool] = ..., account_id: _Optional[_Iterable[int]] = ..., equity_cents: _Optional[_Iterable[int]] = ..., cash_cents: _Optional[_Iterable[int]] = ..., position_value_cents: _Optional[_Iterable[int]] = ..., day_change_cents: _Optional[_Iterable[int]] = ..., day_change_percent_e4: _Optional[_Iterable[int]] = ..., unrealized_cents: _Optional[_Iterable[int]] = ..., realized_cents: _Optional[_Iterable[int]] = ..., net_flow_cents: _Optional[_Iterable[int]] = ..., flags: _Optional[_Iterable[int]] = ...) -> None: ...

class ShardRefusal(_message.Message):
    __slots__ = ("batch_id", "index", "status")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    index: int
    status: bytes
    def __init__(self, batch_id: _Optional[str] = ..., index: _Optional[int] = ..., status: _Optional[bytes] = ...) -> None: ...

class EnsureRequest(_message.Message):
    __slots__ = ("account_ids", "settled_account_id", "settled_side", "settlement_id", "at_least_position")
    ACCOUNT_IDS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    SETTLED_SIDE_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    account_ids: _containers.RepeatedScalarFieldContainer[int]
    settled_account_id: _containers.RepeatedScalarFieldContainer[int]
    settled_side: _containers.RepeatedScalarFieldContainer[int]
    settlement_id: _containers.RepeatedScalarFieldContainer[int]
    at_least_position: int
    def __init__(self, account_ids: _Optional[_Iterable[int]] = ..., settled_account_id: _Optional[_Iterable[int]] = ..., settled_side: _Optional[_Iterable[int]] = ..., settlement_id: _Optional[_Iterable[int]] = ..., at_least_position: _Optional[int] = ...) -> None: ...

class EnsureResponse(_message.Message):
    __slots__ = ("snapshots", "refused", "repeated_settlements", "start_number")
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_SETTLEMENTS_FIELD_NUMBER: _ClassVar[int]
    START_NUMBER_FIELD_NUMBER: _ClassVar[int]
    snapshots: Snapshots
    refused: _containers.RepeatedCompositeFieldContainer[RefusedAccount]
    repeated_settlements: _containers.RepeatedScalarFieldContainer[int]
    start_number: int
    def __init__(self, snapshots: _Optional[_Union[Snapshots, _Mapping]] = ..., refused: _Optional[_Iterable[_Union[RefusedAccount, _Mapping]]] = ..., repeated_settlements: _Optional[_Iterable[int]] = ..., start_number: _Optional[int] = ...) -> None: ...

class RefusedAccount(_message.Message):
    __slots__ = ("account_id", "status")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    status: bytes
    def __init__(self, account_id: _Optional[int] = ..., status: _Optional[bytes] = ...) -> None: ...

class LatestRequest(_message.Message):
    __slots__ = ("at_least_position", "after_account_id")
    AT_LEAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    AFTER_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    at_least_position: int
    after_account_id: int
    def __init__(self, at_least_position: _Optional[int] = ..., after_account_id: _Optional[int] = ...) -> None: ...

class LatestResponse(_message.Message):
    __slots__ = ("snapshots", "start_number", "more")
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    START_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    snapshots: Snapshots
    start_number: int
    more: bool
    def __init__(self, snapshots: _Optional[_Union[Snapshots, _Mapping]] = ..., start_number: _Optional[int] = ..., more: _Optional[bool] = ...) -> None: ...

class Snapshots(_message.Message):
    __slots__ = ("account_id", "version", "tick", "timestamp_ms", "equity_cents", "cash_cents", "position_value_cents", "day_change_cents", "day_change_percent_e4", "unrealized_cents", "realized_cents", "net_flow_cents", "flags")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_MS_FIELD_NUMBER: _ClassVar[int]
    EQUITY_CENTS_FIELD_NUMBER: _ClassVar[int]
    CASH_CENTS_FIELD_NUMBER: _ClassVar[int]
    POSITION_VALUE_CENTS_FIELD_NUMBER: _ClassVar[int]
    DAY_CHANGE_CENTS_FIELD_NUMBER: _ClassVar[int]
    DAY_CHANGE_PERCENT_E4_FIELD_NUMBER: _ClassVar[int]
    UNREALIZED_CENTS_FIELD_NUMBER: _ClassVar[int]
    REALIZED_CENTS_FIELD_NUMBER: _ClassVar[int]
    NET_FLOW_CENTS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    account_id: _containers.RepeatedScalarFieldContainer[int]
    version: _containers.RepeatedScalarFieldContainer[int]
    tick: _containers.RepeatedScalarFieldContainer[int]
    timestamp_ms: _containers.RepeatedScalarFieldContainer[int]
    equity_cents: _containers.RepeatedScalarFieldContainer[int]
    cash_cents: _containers.RepeatedScalarFieldContainer[int]
    position_value_cents: _containers.RepeatedScalarFieldContainer[int]
    day_change_cents: _containers.RepeatedScalarFieldContainer[int]
    day_change_percent_e4: _containers.RepeatedScalarFieldContainer[int]
    unrealized_cents: _containers.RepeatedScalarFieldContainer[int]
    realized_cents: _containers.RepeatedScalarFieldContainer[int]
    net_flow_cents: _containers.RepeatedScalarFieldContainer[int]
    flags: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, account_id: _Optional[_Iterable[int]] = ..., version: _Optional[_Iterable[int]] = ..., tick: _Optional[_Iterable[int]] = ..., timestamp_ms: _Optional[_Iterable[int]] = ..., equity_cents: _Optional[_Iterable[int]] = ..., cash_cents: _Optional[_Iterable[int]] = ..., position_value_cents: _Optional[_Iterable[int]] = ..., day_change_cents: _Optional[_Iterable[int]] = ..., day_change_percent_e4: _Optional[_Iterable[int]] = ..., unrealized_cents: _Optional[_Iterable[int]] = ..., realized_cents: _Optional[_Iterable[int]] = ..., net_flow_cents: _Optional[_Iterable[int]] = ..., flags: _Optional[_Iterable[int]] = ...) -> None: ...
