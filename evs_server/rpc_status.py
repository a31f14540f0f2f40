"""
Errors as gRPC statuses: the one table, and the one door through which failures leave a method.

Expected errors become rich statuses (``google.rpc``). What nobody expected becomes INTERNAL without a word of detail,
and a log line with all of it. A failed assertion is a bug that may have left state half changed: it ends the process,
and recovery is the ordinary start (STYLE 4).
"""

import asyncio
import functools
import logging
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from evs_server import errors

log = logging.getLogger(__name__)

DOMAIN = "evs.v1"

STATUS_OF: dict[type[errors.EvsError], grpc.StatusCode] = {
    errors.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    errors.OutOfBounds: grpc.StatusCode.OUT_OF_RANGE,
    errors.UnknownAccount: grpc.StatusCode.NOT_FOUND,
    errors.EventConflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.SequenceGap: grpc.StatusCode.ABORTED,
    errors.StaleEpoch: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotServed: grpc.StatusCode.UNIMPLEMENTED,
    errors.Malformed: grpc.StatusCode.INTERNAL,  # what gRPC answers in most languages
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.LogUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.LogGap: grpc.StatusCode.UNAVAILABLE,
    errors.NoOwner: grpc.StatusCode.UNAVAILABLE,
    errors.Superseded: grpc.StatusCode.UNAVAILABLE,
    errors.Recovering: grpc.StatusCode.UNAVAILABLE,
    errors.Following: grpc.StatusCode.UNAVAILABLE,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    errors.Fenced: grpc.StatusCode.UNAVAILABLE,
}

Method = Callable[..., Any]

refusals: Counter[tuple[str, str]] = Counter()
"""Calls that ended in a status other than OK, by method and reason, since this process began."""

UNEXPECTED = "INTERNAL"
"""The reason of those that nobody expected."""


def status_name(error: errors.EvsError) -> str:
    """The name of the gRPC status that answers an error, such as ``INVALID_ARGUMENT``."""
    return STATUS_OF[type(error)].name


def to_status(error: errors.EvsError) -> Any:
    """The rich status that answers an error, as ``abort_with_status`` takes it."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata)))
    details = [detail]
    if isinstance(error, errors.InvalidRequest | errors.OutOfBounds):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        named = any_pb2.Any()
        named.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        details.append(named)
    code = code_pb2.Code.Value(status_name(error))
    return rpc_status.to_status(status_pb2.Status(code=code, message=error.message, details=details))


def answers_with_status(method: Method) -> Method:
    """
    Decorate a servicer's coroutine method: it asks the servicer's ``_lifecycle`` first, and errors become statuses.
    """

    @functools.wraps(method)
    async def answered(self: Any, request: Any, context: Any) -> Any:
        try:
            self._lifecycle.require_serving()
            return await method(self, request, context)
        except Exception as error:
            await _tell(error, context, method.__qualname__)

    return answered


def while_serving(method: Method) -> Method:
    """
    Decorate a servicer's streaming method (an async generator): called, it asks the servicer's ``_lifecycle``.

    Its errors are left to whoever writes what it yields (``access.guard``): told from here, a status would come while a
    response is still being written, and gRPC would refuse to send it.
    """

    @functools.wraps(method)
    def asked(self: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        self._lifecycle.require_serving()
        responses: AsyncIterator[Any] = method(self, request, context)
        return responses

    return asked


def fails_with_status(behavior: Method, where: str) -> Method:
    """
    Wrap a coroutine that is no servicer's method: its errors become statuses, whatever phase EVS is in.

    Args:
        behavior: Takes a request, or the requests, and the context.
        where: What to call it in the log.
    """

    async def failed(request: Any, context: Any) -> Any:
        try:
            return await behavior(request, context)
        except Exception as error:
            await _tell(error, context, where)

    return failed


def end_process(where: str) -> NoReturn:
    """Log a failed assertion and end the process at once: nothing that is in memory can be trusted any more."""
    log.critical("assertion failed in %s; ending the process, the next start recovers", where, exc_info=True)
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(70)


async def _tell(error: Exception, context: Any, where: str) -> NoReturn:
    """End a call with the status of an error; to be called while it is being handled, so that the log has its stack."""
    match error:
        case errors.EvsError():
            refusals[_method_name(where), error.reason] += 1
            await context.abort_with_status(to_status(error))
        case AssertionError():
            end_process(where)
        case grpc.aio.AbortError():
            raise error  # a method within this one has told already
        case grpc.aio.InternalError():
            # There is no call any more to write to: its caller has left, and nothing has failed.
            log.debug("the caller of %s has left: %s", where, error)
            raise asyncio.CancelledError from error
        case _:
            refusals[_method_name(where), UNEXPECTED] += 1
            log.exception("unexpected error in %s", where)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error; see the log of EVS")
    raise AssertionError("to abort is to raise")


def _method_name(where: str) -> str:
    """The method's own name, from ``Class.Method`` or ``/package.Service/Method``."""
    return re.split("[./]", where)[-1]
