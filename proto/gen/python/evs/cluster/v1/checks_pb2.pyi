from evs.v1 import admin_pb2 as _admin_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CheckRequest(_message.Message):
    __slots__ = ("corrected_account_ids",)
    CORRECTED_ACCOUNT_IDS_FIELD_NUMBER: _ClassVar[int]
    corrected_account_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, corrected_account_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("found", "correctable_account_ids", "correctable_cents")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    CORRECTABLE_ACCOUNT_IDS_FIELD_NUMBER: _ClassVar[int]
    CORRECTABLE_CENTS_FIELD_NUMBER: _ClassVar[int]
    found: _admin_pb2.ReconcileResponse
    correctable_account_ids: _containers.RepeatedScalarFieldContainer[int]
    correctable_cents: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, found: _Optional[_Union[_admin_pb2.ReconcileResponse, _Mapping]] = ..., correctable_account_ids: _Optional[_Iterable[int]] = ..., correctable_cents: _Optional[_Iterable[int]] = ...) -> None: ...
