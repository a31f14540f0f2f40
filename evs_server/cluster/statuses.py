"""
Errors that travel: as a serialized ``google.rpc.Status``, and back as what they were. Pure.

An error that a shard has found is answered by the gateway, to whoever sent the event: the same class, the same words,
the same numbers.
"""

from collections.abc import Iterator
from typing import Final

from google.rpc import error_details_pb2, status_pb2

from evs_server.errors import EvsError, InvalidRequest, OutOfBounds, Overloaded, Superseded
from evs_server.rpc_status import STATUS_OF, to_status

_KIND_OF: Final[dict[str, type[EvsError]]] = {kind.reason: kind for kind in STATUS_OF}
assert len(_KIND_OF) == len(STATUS_OF), "two errors with one reason could not be told apart"


def encode_error(error: EvsError) -> bytes:
    """An error as a serialized ``google.rpc.Status``."""
    [(_, binary)] = to_status(error).trailing_metadata
    assert isinstance(binary, bytes)
    return binary


def decode_error(binary: bytes) -> EvsError:
    """
    The error that was encoded.

    Of a kind that this version does not know, which takes a newer one at the other end, it is ``Overloaded``: retried.
    """
    status = status_pb2.Status.FromString(binary)
    told = error_details_pb2.ErrorInfo()
    wrong = error_details_pb2.BadRequest()
    for detail in status.details:
        _ = detail.Unpack(told) or detail.Unpack(wrong)
    kind = _KIND_OF.get(told.reason, Overloaded)
    # Not by its own constructor: that makes the words anew, from what only the other end knew.
    error = kind.__new__(kind)
    EvsError.__init__(error, status.message, **dict(told.metadata))
    if isinstance(error, InvalidRequest | OutOfBounds):
        error.field = next(_fields(wrong), "")
    if isinstance(error, Superseded):
        error.last = int(told.metadata["last"])
    return error


def _fields(wrong: error_details_pb2.BadRequest) -> Iterator[str]:
    return (violation.field for violation in wrong.field_violations)
