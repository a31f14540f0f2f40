from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DifferenceField(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIFFERENCE_FIELD_UNSPECIFIED: _ClassVar[DifferenceField]
    DIFFERENCE_FIELD_CASH: _ClassVar[DifferenceField]
    DIFFERENCE_FIELD_QUANTITY: _ClassVar[DifferenceField]
    DIFFERENCE_FIELD_ACCOUNT: _ClassVar[DifferenceField]

class CorrectionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CORRECTION_KIND_UNSPECIFIED: _ClassVar[CorrectionKind]
    CORRECTION_KIND_FLOW: _ClassVar[CorrectionKind]
    CORRECTION_KIND_TRADES: _ClassVar[CorrectionKind]
    CORRECTION_KIND_RECOMPUTE: _ClassVar[CorrectionKind]

class CorrectedField(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CORRECTED_FIELD_UNSPECIFIED: _ClassVar[CorrectedField]
    CORRECTED_FIELD_CASH: _ClassVar[CorrectedField]
    CORRECTED_FIELD_NET_FLOW: _ClassVar[CorrectedField]
    CORRECTED_FIELD_REALIZED: _ClassVar[CorrectedField]
    CORRECTED_FIELD_QUANTITY: _ClassVar[CorrectedField]
    CORRECTED_FIELD_BASIS: _ClassVar[CorrectedField]
    CORRECTED_FIELD_POSITION_REALIZED: _ClassVar[CorrectedField]
DIFFERENCE_FIELD_UNSPECIFIED: DifferenceField
DIFFERENCE_FIELD_CASH: DifferenceField
DIFFERENCE_FIELD_QUANTITY: DifferenceField
DIFFERENCE_FIELD_ACCOUNT: DifferenceField
CORRECTION_KIND_UNSPECIFIED: CorrectionKind
CORRECTION_KIND_FLOW: CorrectionKind
CORRECTION_KIND_TRADES: CorrectionKind
CORRECTION_KIND_RECOMPUTE: CorrectionKind
CORRECTED_FIELD_UNSPECIFIED: CorrectedField
CORRECTED_FIELD_CASH: CorrectedField
CORRECTED_FIELD_NET_FLOW: CorrectedField
CORRECTED_FIELD_REALIZED: CorrectedField
CORRECTED_FIELD_QUANTITY: CorrectedField
CORRECTED_FIELD_BASIS: CorrectedField
CORRECTED_FIELD_POSITION_REALIZED: CorrectedField

class Difference(_message.Message):
    __slots__ = ("field", "symbol_id", "ours", "theirs")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    OURS_FIELD_NUMBER: _ClassVar[int]
    THEIRS_FIELD_NUMBER: _ClassVar[int]
    field: DifferenceField
    symbol_id: int
    ours: int
    theirs: int
    def __init__(self, field: _Optional[_Union[DifferenceField, str]] = ..., symbol_id: _Optional[int] = ..., ours: _Optional[int] = ..., theirs: _Optional[int] = ...) -> None: ...

class CorrectedValue(_message.Message):
    __slots__ = ("field", "symbol_id", "before", "after")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    field: CorrectedField
    symbol_id: int
    before: int
    after: int
    def __init__(self, field: _Optional[_Union[CorrectedField, str]] = ..., symbol_id: _Optional[int] = ..., before: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...

class AccountDifference(_message.Message):
    __slots__ = ("account_id", "differences", "since", "finding", "correction", "changes")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    CORRECTION_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    differences: _containers.RepeatedCompositeFieldContainer[Difference]
    since: int
    finding: str
    correction: CorrectionKind
    changes: _containers.RepeatedCompositeFieldContainer[CorrectedValue]
    def __init__(self, account_id: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[Difference, _Mapping]]] = ..., since: _Optional[int] = ..., finding: _Optional[str] = ..., correction: _Optional[_Union[CorrectionKind, str]] = ..., changes: _Optional[_Iterable[_Union[CorrectedValue, _Mapping]]] = ...) -> None: ...

class ReconcileRequest(_message.Message):
    __slots__ = ("repair",)
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    repair: bool
    def __init__(self, repair: _Optional[bool] = ...) -> None: ...

class ReconcileResponse(_message.Message):
    __slots__ = ("accounts", "compared_count", "busy_count", "withheld")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    COMPARED_COUNT_FIELD_NUMBER: _ClassVar[int]
    BUSY_COUNT_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[AccountDifference]
    compared_count: int
    busy_count: int
    withheld: str
    def __init__(self, accounts: _Optional[_Iterable[_Union[AccountDifference, _Mapping]]] = ..., compared_count: _Optional[int] = ..., busy_count: _Optional[int] = ..., withheld: _Optional[str] = ...) -> None: ...

class RecomputeRequest(_message.Message):
    __slots__ = ("account_ids", "apply")
    ACCOUNT_IDS_FIELD_NUMBER: _ClassVar[int]
    APPLY_FIELD_NUMBER: _ClassVar[int]
    account_ids: _containers.RepeatedScalarFieldContainer[int]
    apply: bool
    def __init__(self, account_ids: _Optional[_Iterable[int]] = ..., apply: _Optional[bool] = ...) -> None: ...

class RecomputedAccount(_message.Message):
    __slots__ = ("account_id", "changes", "applied", "note")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    changes: _containers.RepeatedCompositeFieldContainer[CorrectedValue]
    applied: bool
    note: str
    def __init__(self, account_id: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[CorrectedValue, _Mapping]]] = ..., applied: _Optional[bool] = ..., note: _Optional[str] = ...) -> None: ...

class RecomputeResponse(_message.Message):
    __slots__ = ("accounts",)
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[RecomputedAccount]
    def __init__(self, accounts: _Optional[_Iterable[_Union[RecomputedAccount, _Mapping]]] = ...) -> None: ...

class GetClusterRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetClusterResponse(_message.Message):
    __slots__ = ("last_position", "shards", "time")
    LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    last_position: int
    shards: _containers.RepeatedCompositeFieldContainer[VirtualShard]
    time: int
    def __init__(self, last_position: _Optional[int] = ..., shards: _Optional[_Iterable[_Union[VirtualShard, _Mapping]]] = ..., time: _Optional[int] = ...) -> None: ...

class VirtualShard(_message.Message):
    __slots__ = ("shard", "owner", "start_number", "applied_position", "committed_position", "lag_ms", "silent", "owned_since", "heard")
    SHARD_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    START_NUMBER_FIELD_NUMBER: _ClassVar[int]
    APPLIED_POSITION_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_POSITION_FIELD_NUMBER: _ClassVar[int]
    LAG_MS_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    OWNED_SINCE_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    shard: int
    owner: str
    start_number: int
    applied_position: int
    committed_position: int
    lag_ms: int
    silent: bool
    owned_since: int
    heard: int
    def __init__(self, shard: _Optional[int] = ..., owner: _Optional[str] = ..., start_number: _Optional[int] = ..., applied_position: _Optional[int] = ..., committed_position: _Optional[int] = ..., lag_ms: _Optional[int] = ..., silent: _Optional[bool] = ..., owned_since: _Optional[int] = ..., heard: _Optional[int] = ...) -> None: ...
