"""
The guard: a gRPC server's methods, each behind its rule. Touches I/O.

Lives here: who calls (from token, certificate or socket), and the wrapping of methods. Not here: which role a method
asks for (``rules``). Methods are wrapped once, as they are added, by what the table says of their exact name: a call
costs the judgement alone, and no method can be added past the guard.

A stream ends with its token, at its expiry and the leeway or when it is taken back, whatever it is doing.
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError

from evs_server.access.answers import Answers
from evs_server.access.quota import Quota
from evs_server.access.rules import RULES, Rule
from evs_server.errors import Malformed, PermissionDenied, Unauthenticated
from evs_server.roles import Caller, Role
from evs_server.rpc_status import fails_with_status
from evs_server.telemetry.trace import with_trace
from evs_server.tokens import LEEWAY_S, TAKEN_BACK, TokenVerifier

if TYPE_CHECKING:
    from evs_server.telemetry.spans import Tracing

Behavior = Callable[[Any, Any], Any]
Parse = Callable[[bytes], Any]

OWN_SERVICES: Final = "/evs."

STREAM_MS_MAX: Final = 366 * 86_400_000
"""Longer than any stream lives, and what a timer can hold, whatever a token says."""


@dataclass(frozen=True, slots=True)
class Identities:
    """
    What proves who calls.

    Attributes:
        verifier: Tells good tokens.
        client_roles: Roles of certificates, by a name in them.
        socket_roles: Roles of whoever could open the Unix socket, which its file's mode decides; none: proves nothing.
    """

    verifier: TokenVerifier
    client_roles: Mapping[str, frozenset[Role]]
    socket_roles: frozenset[Role]

    def caller(self, context: Any) -> Caller | None:
        """
        Who calls: roles of connection and token together; None if nothing says who.

        Raises:
            Unauthenticated: If there is a token and it is not good, whatever the connection says.
        """
        from_connection = self._from_socket(context) or self._from_certificate(context)
        token = _token(context.invocation_metadata() or ())
        if token is None:
            return from_connection
        caller = self.verifier.caller(token)
        if from_connection is None:
            return caller
        return replace(caller, roles=caller.roles | from_connection.roles)

    def _from_socket(self, context: Any) -> Caller | None:
        trusted = self.socket_roles and context.peer().startswith("unix:")
        return Caller("unix socket", self.socket_roles) if trusted else None

    def _from_certificate(self, context: Any) -> Caller | None:
        # Alternative names if the certificate has any, else its common name: gRPC has checked who signed it.
        names = [name.decode(errors="replace") for name in context.peer_identities() or ()]
        if not names:
            return None
        roles = frozenset(role for name in names for role in self.client_roles.get(name, ()))
        return Caller(names[0], roles)


def _token(metadata: Any) -> str | None:
    values = [value for name, value in metadata if name == "authorization"]
    if not values:
        return None
    scheme, _, token = str(values[0]).partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer":
        raise Unauthenticated("authorization is not understood: expected it once, as `Bearer` and a token")
    return token.strip()


class GuardedServer:
    """
    A server to whose methods only those get that may; hand it to ``add_...Servicer_to_server`` in the server's place.

    Args:
        server: Serves what passes.
        serves: Whether methods of a rule are served here at all; others are refused with where to go.
        identities: What proves who calls; None: every caller has every role.
        quota: What single readers may ask for; one for all servers.
        tracing: Follows calls of our own services; None: only their log lines carry what callers say of their trace.
    """

    def __init__(
        self,
        server: grpc.aio.Server,
        serves: Callable[[Rule], bool],
        identities: Identities | None,
        quota: Quota,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._server = server
        self._serves = serves
        self._identities = identities
        self._quota = quota
        self._tracing = tracing
        self.services: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Add nothing: the same methods come again, by name, in the next call of the generated code."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, "grpc.RpcMethodHandler[Any, Any]"]
    ) -> None:
        """Add a service's methods, each behind its rule."""
        self.services.append(service)
        guarded = {name: self._guarded(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        # By service, and not registered one by one: for every call, of whichever method, gRPC's loop would wait anew
        # for a task of each registered method.
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))

    def _guarded(self, method: str, handler: Any) -> Any:
        rule = RULES.get(method)
        kind = f"{_arity(handler.request_streaming)}_{_arity(handler.response_streaming)}"
        behavior = getattr(handler, kind)
        if rule is None or not self._serves(rule):
            guarded = _refusing(method, rule)
        else:
            wrap = self._stream if handler.response_streaming else self._call
            guarded = wrap(rule, behavior, _parsing(method, handler.request_deserializer))
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        # Requests come as bytes: nobody's are parsed before it is clear that it may call, and gRPC would log a stack
        # for each that cannot be.
        told = self._followed(fails_with_status(guarded, method), method, takes_stream=handler.request_streaming)
        return make(told, response_serializer=handler.response_serializer)

    def _followed(self, behavior: Behavior, method: str, *, takes_stream: bool) -> Behavior:
        # Health is asked all day long: nobody wants to read of it.
        if self._tracing is None or not method.startswith(OWN_SERVICES):
            return with_trace(behavior)
        return self._tracing.served(behavior, method, takes_stream=takes_stream)

    def _call(self, rule: Rule, behavior: Behavior, parse: Parse) -> Behavior:
        if self._is_for_anybody(rule):
            # No coroutine of its own for a call of which there is nothing to judge.
            return lambda payload, context: behavior(parse(payload), context)

        async def call(payload: Any, context: Any) -> Any:
            _, reader = self._admit(rule, context)
            request = parse(payload)
            if reader is None:
                return await behavior(request, context)
            assert reader.account_id is not None
            rule.judge_request(reader, request)
            response = await behavior(request, context)
            return response if rule.shown is None else rule.shown(response, reader.account_id)

        return call

    def _stream(self, rule: Rule, behavior: Behavior, parse: Parse) -> Behavior:
        # Whoever follows values is to get the newest: of those, none is made before the one before it is out.
        goes_on = rule.is_for_senders

        async def stream(payload: Any, context: Any) -> None:
            caller, reader = self._admit(rule, context)

            def judged(each: bytes) -> Any:
                request = parse(each)
                if reader is not None:
                    rule.judge_request(reader, request)
                return request

            counted = contextlib.nullcontext() if reader is None else self._quota.stream(reader.name)
            async with self._as_long_as_token_of(caller):
                with counted:
                    is_single = isinstance(payload, bytes)
                    request = judged(payload) if is_single else _each(judged, payload)
                    await _run(behavior, request, context, goes_on=goes_on)

        return stream

    def _is_for_anybody(self, rule: Rule) -> bool:
        return self._identities is None or rule.is_open

    @contextlib.asynccontextmanager
    async def _as_long_as_token_of(self, caller: Caller | None) -> AsyncIterator[None]:
        """
        A context that ends with its caller's token, if it has one.

        Raises:
            Unauthenticated: If it did.
        """
        if caller is None or caller.valid_ms is None:
            yield
            return
        assert self._identities is not None, "who calls is known"
        words = "token has expired: call again with a new one"

        def end() -> None:
            nonlocal words
            words = TAKEN_BACK
            scope.reschedule(asyncio.get_running_loop().time())

        seconds = min(caller.valid_ms, STREAM_MS_MAX) / 1_000 + LEEWAY_S
        try:
            async with asyncio.timeout(seconds) as scope:
                unwatch = self._identities.verifier.watch(caller.token_id, end)
                try:
                    yield
                finally:
                    unwatch()
        except TimeoutError:
            if not scope.expired():
                raise
            raise Unauthenticated(words) from None

    def _admit(self, rule: Rule, context: Any) -> tuple[Caller | None, Caller | None]:
        """
        Let a caller in, or not.

        Returns:
            Who calls, if it is known; and the same again if it may only read its own account.

        Raises:
            Unauthenticated: If nobody is known to call, and somebody must.
            PermissionDenied: If the caller may not.
            Overloaded: If a reader asks too often.
        """
        if self._is_for_anybody(rule):
            return None, None
        assert self._identities is not None
        caller = self._identities.caller(context)
        if not rule.judge(caller):
            return caller, None
        assert caller is not None, "nobody is not restricted but refused"
        self._quota.take(caller.name)
        return caller, caller


def _arity(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _parsing(method: str, deserialize: Callable[[bytes], Any]) -> Parse:
    def parse(payload: bytes) -> Any:
        try:
            return deserialize(payload)
        except DecodeError:
            raise Malformed(f"{method} takes another message: {len(payload)} bytes cannot be parsed as it") from None

    return parse


async def _each(parse: Parse, payloads: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for payload in payloads:
        yield parse(payload)


def _refusing(method: str, rule: Rule | None) -> Behavior:
    if rule is None:
        text = f"{method} is served to nobody"
    else:
        other = "EVS_INGEST_LISTEN" if rule.is_for_senders else "EVS_LISTEN"
        text = f"{method} is served at another address of this EVS, that of {other}: call it there"

    async def refuse(_payload: Any, _context: Any) -> None:
        raise PermissionDenied(text)

    return refuse


async def _run(behavior: Behavior, request: Any, context: Any, *, goes_on: bool) -> None:
    """
    Run a streaming method to its end.

    What it yields is written here: a method that waits for its reader is then within the caller's time, too.

    Args:
        goes_on: Whether the method goes on to its next response while one is being written.
    """
    running = behavior(request, context)
    if not inspect.isasyncgen(running):
        await running
        return
    async with contextlib.aclosing(running):
        if goes_on:
            await _write_behind(running, context)
            return
        async for response in running:
            await context.write(response)


async def _write_behind(responses: AsyncIterator[Any], context: Any) -> None:
    answers = Answers(context)
    try:
        async for response in responses:
            await answers.put(response)
    finally:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # The caller's time is over, or the caller is gone: one that takes nothing must not hold this up.
            answers.give_up()
        else:
            await answers.finish()
