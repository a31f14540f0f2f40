"""Every expected failure has a status, and what nobody expected says nothing."""

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Any, Never

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from evs_server import errors, rpc_status
from evs_server.lifecycle import Lifecycle, Phase

StatusCode = grpc.StatusCode
AT_START_ONLY = {errors.ConfigError, errors.SpoolTaken, errors.InputError}
"""They end a command before it serves anybody."""


def concrete(root: type[errors.EvsError] = errors.EvsError) -> Iterator[type[errors.EvsError]]:
    """The leaves of the tree of errors."""
    for kind in root.__subclasses__():
        if kind.__subclasses__():
            yield from concrete(kind)
        else:
            yield kind


def an_error(kind: type[errors.EvsError]) -> errors.EvsError:
    """One of each kind."""
    if issubclass(kind, errors.InvalidRequest | errors.OutOfBounds):
        return kind("price_cents", "price_cents is 7, the most is 5", value=7, bound=5)
    if kind is errors.UnknownAccount:
        return errors.UnknownAccount(7)
    if kind is errors.Superseded:
        return errors.Superseded(7)
    return errors.Following("node-7") if kind is errors.Following else kind("there are 7", count=7)


def details(status: Any) -> tuple[error_details_pb2.ErrorInfo, list[tuple[str, str]]]:
    """What a rich status carries: who says why, and the fields that are wrong."""
    [(_, binary)] = status.trailing_metadata
    packed = status_pb2.Status.FromString(binary)
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert packed.details[0].Unpack(info)
    if len(packed.details) > 1:
        assert packed.details[1].Unpack(bad_request)
    return info, [(violation.field, violation.description) for violation in bad_request.field_violations]


def test_every_error_has_a_status_or_ends_a_command() -> None:
    assert set(concrete()) - AT_START_ONLY == rpc_status.STATUS_OF.keys()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (StatusCode.INVALID_ARGUMENT, errors.InvalidRequest),
        (StatusCode.OUT_OF_RANGE, errors.OutOfBounds),
        (StatusCode.NOT_FOUND, errors.UnknownAccount),
        (StatusCode.ALREADY_EXISTS, errors.EventConflict),
        (StatusCode.ABORTED, errors.SequenceGap),
        (StatusCode.FAILED_PRECONDITION, errors.StaleEpoch),
        (StatusCode.RESOURCE_EXHAUSTED, errors.Overloaded),
        (StatusCode.UNAVAILABLE, errors.StoreUnavailable),
        (StatusCode.UNAVAILABLE, errors.Recovering),
        (StatusCode.UNAVAILABLE, errors.Following),
        (StatusCode.UNAVAILABLE, errors.ShuttingDown),
        (StatusCode.UNAVAILABLE, errors.Fenced),
        (StatusCode.UNIMPLEMENTED, errors.NotServed),
        (StatusCode.INTERNAL, errors.Malformed),
        (StatusCode.UNAUTHENTICATED, errors.Unauthenticated),
        (StatusCode.PERMISSION_DENIED, errors.PermissionDenied),
    ],
)
def test_an_error_becomes_its_status(status: StatusCode, kind: type[errors.EvsError]) -> None:
    assert status.name == rpc_status.status_name(an_error(kind))
    assert status == rpc_status.to_status(an_error(kind)).code


@pytest.mark.parametrize("kind", list(rpc_status.STATUS_OF))
def test_the_details_say_why_and_hold_every_number(kind: type[errors.EvsError]) -> None:
    error = an_error(kind)
    status = rpc_status.to_status(error)
    info, fields = details(status)
    assert error.message == status.details
    assert (kind.reason, "evs.v1", dict(error.metadata)) == (info.reason, info.domain, dict(info.metadata))
    assert set(re.findall(r"\d+", error.message)) <= set(re.findall(r"\d+", " ".join(info.metadata.values())))
    named = issubclass(kind, errors.InvalidRequest | errors.OutOfBounds)
    assert ([("price_cents", error.message)] if named else []) == fields


def test_reasons_tell_errors_apart() -> None:
    reasons = [kind.reason for kind in concrete()]
    assert len(set(reasons)) == len(reasons)


class Context:
    """What grpc.aio hands to a method, as far as the door needs it."""

    def __init__(self) -> None:
        self.told: list[tuple[StatusCode, str]] = []

    async def abort_with_status(self, status: Any) -> Never:
        await self.abort(status.code, status.details)

    async def abort(self, code: StatusCode, message: str) -> Never:
        self.told.append((code, message))
        raise grpc.aio.AbortError


class Failing:
    """A servicer whose methods fail as they are asked to."""

    def __init__(self) -> None:
        self._lifecycle = Lifecycle()

    @rpc_status.answers_with_status
    async def Answer(self, request: Exception | None, _: Context) -> str:  # noqa: N802 -- as methods are named
        if request is not None:
            raise request
        return "answered"

    @rpc_status.while_serving
    async def Stream(self, request: Exception | None, _: Context) -> Any:  # noqa: N802
        yield "first"
        if request is not None:
            raise request


async def call(servicer: Failing, method: str, request: Exception | None) -> tuple[list[str], Context]:
    """What came, and the context that was told how it ended."""
    context = Context()
    came: list[str] = []

    async def write(request: Exception | None, context: Context) -> None:
        async for each in servicer.Stream(request, context):
            came.append(each)

    try:
        if method == "Answer":
            came.append(await servicer.Answer(request, context))
        else:
            await rpc_status.fails_with_status(write, "Failing.Stream")(request, context)
    except grpc.aio.AbortError:
        pass
    return came, context


@pytest.fixture
def servicer() -> Failing:
    failing = Failing()
    failing._lifecycle.enter(Phase.SERVING)
    return failing


@pytest.mark.parametrize("method", ["Answer", "Stream"])
async def test_a_method_that_succeeds_tells_no_status(servicer: Failing, method: str) -> None:
    came, context = await call(servicer, method, None)
    assert (["answered" if method == "Answer" else "first"], []) == (came, context.told)


@pytest.mark.parametrize("method", ["Answer", "Stream"])
@pytest.mark.parametrize(
    ("phase", "word"), [(Phase.RECOVERING, "does not serve yet"), (Phase.STOPPING, "shutting down")]
)
async def test_nothing_is_served_before_or_after(servicer: Failing, method: str, phase: Phase, word: str) -> None:
    servicer._lifecycle.enter(phase)
    came, context = await call(servicer, method, None)
    [(code, message)] = context.told
    assert ([], StatusCode.UNAVAILABLE) == (came, code)
    assert word in message


@pytest.mark.parametrize("method", ["Answer", "Stream"])
async def test_an_expected_failure_is_told(servicer: Failing, method: str) -> None:
    _, context = await call(servicer, method, errors.UnknownAccount(7))
    assert [(StatusCode.NOT_FOUND, "account 7 does not exist on the exchange")] == context.told


@pytest.mark.parametrize("method", ["Answer", "Stream"])
async def test_an_unexpected_failure_is_logged_and_not_told(
    servicer: Failing, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """FAULTS F30: no text of the failure reaches the client."""
    _, context = await call(servicer, method, ZeroDivisionError("secret of the house"))
    assert [(StatusCode.INTERNAL, "internal error; see the log of EVS")] == context.told
    assert "secret of the house" in caplog.text


@pytest.mark.parametrize("method", ["Answer", "Stream"])
async def test_a_caller_that_leaves_while_it_is_written_to_is_nothing_unexpected(
    servicer: Failing, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The call ends as a cancelled one does: nobody is told, nothing is logged, nothing is counted."""
    refused = dict(rpc_status.refusals)
    # What gRPC raises then has no public name.
    [kind] = [each for each in grpc.aio.InternalError.__subclasses__() if each.__name__ == "ExecuteBatchError"]
    with pytest.raises(asyncio.CancelledError):
        await call(servicer, method, kind("Failed grpc_call_start_batch"))
    assert (refused, []) == (dict(rpc_status.refusals), caplog.records)


@pytest.mark.parametrize("method", ["Answer", "Stream"])
async def test_a_failed_assertion_ends_the_process(
    servicer: Failing, method: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in memory may be half changed; the next start recovers."""

    def leave(status: int) -> Never:
        raise SystemExit(status)

    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(SystemExit, match="70"):
        await call(servicer, method, AssertionError("impossible"))
    assert [logging.CRITICAL] == [record.levelno for record in caplog.records]
    assert "impossible" in caplog.text
