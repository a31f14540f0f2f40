"""
What ``evs doctor`` finds: how an installation is, one finding for each thing, in words, with what to do.

Lives here: looking from outside at all that an installation consists of, and judging it. Not here: printing (``cli``),
SQL (``store.inspection``). Changes nothing: it makes no key, starts no database, sends no event. Does I/O; every look
has a deadline, so that it ends even where nothing answers.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from evs.v1 import evs_pb2
from evs.v1.evs_pb2_grpc import EquityValuationServiceStub
from google.protobuf.internal import api_implementation
from grpc_health.v1 import health_pb2, health_pb2_grpc

from evs_server import tokens
from evs_server.certificates import expires_at
from evs_server.channel import NOTHING_LISTENS, open_channel, why_unreachable
from evs_server.clock import SystemClock
from evs_server.config import Settings
from evs_server.errors import ConfigError, EvsError
from evs_server.listener import is_private, why_not_free
from evs_server.metrics.health import IDENTITY
from evs_server.revocation import Revocations
from evs_server.roles import Role
from evs_server.store.embedded import running_database
from evs_server.store.inspection import Inspection, inspect
from evs_server.store.migrate import pending, read_migrations
from evs_server.store.spool_replay import spool_place
from evs_server.telemetry.tracing import check_tracing

if TYPE_CHECKING:
    from evs.v1.evs_pb2_grpc import EquityValuationServiceAsyncStub

ANSWER_SECONDS: Final = 3
"""Whoever takes longer to say that all is well, is not."""

POSTGRES_OLDEST: Final = 150_000
"""The oldest PostgreSQL that EVS is tested on, as its own version number: 15.0."""

LAG_EVENTS_MAX: Final = 100_000
"""Events applied and not yet stored, beyond which storage is not keeping up: well above a second's worth."""

CERTIFICATE_DAYS_MIN: Final = 14
"""A certificate that ends sooner should have been renewed."""

CONTRADICTION: Final = (
    "a valuation contradicted itself since EVS was started: do not pay out on its numbers; keep its log, run"
    " `evs reconcile`, and restart it, which works all sums out anew (docs/OPERATIONS.md, EvsIdentityViolated)"
)

OWN_NAME: Final = "evs doctor"
"""A sender that never sends anything: whoever asks how far one is must name it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing, whether it is well, and what to know or do about it."""

    subject: str
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'PROBLEM':<8}{self.subject:<11}{self.text}"


def ok(subject: str, text: str) -> Finding:
    """A thing that is well."""
    return Finding(subject, True, text)


def problem(subject: str, text: str) -> Finding:
    """A thing that is not."""
    return Finding(subject, False, text)


async def examine(settings: Settings) -> list[Finding]:
    """Everything about an installation, in the order in which a problem explains the ones after it."""
    findings = [_runtime(), _data_dir(settings), _key(settings), *_revoked(settings), *_certificate(settings)]
    findings += _traces(settings)
    serving = await _evs(settings)
    somebody_is_there = serving[0].ok or NOTHING_LISTENS not in serving[0].text
    findings += [*serving, *_addresses(settings, evs_is_there=somebody_is_there)]
    findings += [finding async for finding in _database(settings, evs_is_there=serving[0].ok)]
    return findings


def taken_addresses(settings: Settings) -> list[str]:
    """
    The addresses to listen on that somebody else already does, as problems, one line each.

    An address of another machine, or one that this user may not use, counts as well: it cannot be listened on.
    """
    wanted = {
        "EVS_LISTEN": settings.listen,
        "EVS_INGEST_LISTEN": settings.ingest_listen,
        "EVS_BRIDGE_LISTEN": settings.bridge_listen,
    }
    # A default one that is taken costs the metrics, nothing else.
    for field in ("metrics_listen", "bridge_metrics_listen"):
        if field in settings.model_fields_set:
            wanted[f"EVS_{field.upper()}"] = getattr(settings, field)
    reasons = {name: why_not_free(address) for name, address in wanted.items() if address is not None}
    return [
        f"{name}: {wanted[name]} {reason}; stop what uses it, or set {name} to another address"
        for name, reason in reasons.items()
        if reason
    ]


def _runtime() -> Finding:
    implementation = api_implementation.Type()
    if implementation != "upb":
        return problem("runtime", f"protobuf runs its {implementation} implementation, many times slower: reinstall it")
    return ok("runtime", "protobuf runs its C implementation")


def _data_dir(settings: Settings) -> Finding:
    path = settings.data_dir
    # What is not there yet will be made, in the nearest directory that is.
    nearest = next(parent for parent in [path, *path.absolute().parents] if parent.exists())
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        return problem("data", f"{nearest} cannot be written to: let this user, or set EVS_DATA_DIR to a directory")
    return ok("data", f"{path}{'' if path.exists() else ' (will be made)'}")


def _key(settings: Settings) -> Finding:
    development = settings.data_dir / tokens.DEVELOPMENT_KEY
    if settings.jwt_secret_file is None and not development.exists():
        return ok("key", "none yet: the first token makes a development key")
    try:
        tokens.read_key(settings)
    except ConfigError as error:
        return problem("key", error.message)
    if settings.jwt_secret_file is None:
        return ok("key", f"development key {development}; set EVS_JWT_SECRET_FILE where it matters")
    mode = settings.jwt_secret_file.stat().st_mode
    if mode & 0o022:
        return problem("key", f"{settings.jwt_secret_file} can be written by others: chmod 600, and write a new one")
    others = "; others on this machine can read it, and sign tokens" if mode & 0o004 else ""
    return ok("key", f"{settings.jwt_secret_file}{others}")


def _revoked(settings: Settings) -> list[Finding]:
    if settings.revoked_tokens_file is None:
        return []
    try:
        revocations = Revocations(settings.revoked_tokens_file)
    except ConfigError as error:
        return [problem("revoked", error.message)]
    return [ok("revoked", f"{revocations.statistics()['revoked']} tokens, by {settings.revoked_tokens_file}")]


def _traces(settings: Settings) -> list[Finding]:
    if settings.traces_endpoint is None:
        return []
    try:
        check_tracing(settings)
    except ConfigError as error:
        return [problem("traces", error.message)]
    return [ok("traces", f"of {settings.traces_ratio:.0%} of the calls, to {settings.traces_endpoint}")]


def _certificate(settings: Settings) -> list[Finding]:
    if settings.tls_cert_file is None:
        return []
    try:
        ends = expires_at(settings.tls_cert_file)
    except ConfigError as error:
        return [problem("TLS", error.message)]
    now_s = SystemClock().now_ms() // 1_000
    days = (int(ends.timestamp()) - now_s) // 86_400
    text = f"certificate {settings.tls_cert_file} ends on {ends:%Y-%m-%d}, in {days} days"
    return [ok("TLS", text) if days >= CERTIFICATE_DAYS_MIN else problem("TLS", f"{text}: renew it")]


def _calling(settings: Settings) -> AbstractAsyncContextManager[grpc.aio.Channel]:
    return open_channel(settings, "evs-doctor", [Role.ADMIN])


async def _evs(settings: Settings) -> list[Finding]:
    """What answers at EVS's address; the first finding is whether EVS is there and serves."""
    try:
        async with _calling(settings) as channel:
            is_ready = await _says(channel, "")
            numbers_agree = await _says(channel, IDENTITY)
            state = await _ask_state(channel)
    except grpc.aio.AioRpcError as error:
        return [problem("EVS", _absent(settings, error))]
    except ConfigError as error:
        return [problem("EVS", error.message)]
    if not is_ready and isinstance(state, grpc.aio.AioRpcError) and state.code() is grpc.StatusCode.UNAVAILABLE:
        return [problem("EVS", f"{settings.server} is there but does not serve: {state.details()}")]
    findings = [ok("EVS", f"serves at {settings.server}")]
    if not numbers_agree:
        findings.append(problem("identity", CONTRADICTION))
    findings.append(_storage(state))
    if not is_ready:
        findings.append(problem("readiness", "EVS counts as not ready, for the reasons above; it goes on serving"))
    return findings


async def _says(channel: grpc.aio.Channel, name: str) -> bool:
    """Whether the health service says of a name that all is well; one that it does not know is well."""
    stub: Any = health_pb2_grpc.HealthStub(channel)  # the types leave out its methods
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=ANSWER_SECONDS)
    except grpc.aio.AioRpcError as error:
        if name and error.code() is grpc.StatusCode.NOT_FOUND:
            return True
        raise
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def _ask_state(channel: grpc.aio.Channel) -> evs_pb2.GetIngestStateResponse | grpc.aio.AioRpcError:
    """How EVS says it is, or why it does not."""
    stub: EquityValuationServiceAsyncStub = EquityValuationServiceStub(channel)
    try:
        return await stub.GetIngestState(evs_pb2.GetIngestStateRequest(source=OWN_NAME), timeout=ANSWER_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error


def _storage(state: evs_pb2.GetIngestStateResponse | grpc.aio.AioRpcError) -> Finding:
    """Whether what EVS applies gets stored, and since when it does not, as EVS itself says."""
    if isinstance(state, grpc.aio.AioRpcError):
        return problem("storage", f"EVS does not say whether it stores what it applies: {_refused(state)}")
    if state.degraded_since:
        since = datetime.fromtimestamp(state.degraded_since // 1_000, UTC)
        return problem(
            "storage",
            f"degraded since {since:%Y-%m-%d %H:%M:%S} UTC: EVS serves, but cannot store what it applies; look at the"
            " database, and at EVS's log",
        )
    return ok("storage", "what EVS applies gets stored")


def _refused(error: grpc.aio.AioRpcError) -> str:
    if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        how = "set EVS_JWT_SECRET_FILE, or EVS_TOKEN_FILE to a token with the role admin"
        return f"it refuses ({error.details()}); {how}"
    return f"{error.code().name}: {error.details()}"


def _absent(settings: Settings, error: grpc.aio.AioRpcError) -> str:
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return why_unreachable(settings, error)
    return (
        f"what is at {settings.server} does not answer as EVS would ({error.code().name}): look at who listens there,"
        " or set EVS_SERVER to where EVS runs"
    )


def _addresses(settings: Settings, *, evs_is_there: bool) -> list[Finding]:
    if evs_is_there:
        return []  # of the addresses that are taken, most are then taken by EVS itself
    taken = taken_addresses(settings)
    return [problem("addresses", text) for text in taken] or [ok("addresses", "all free")]


async def _database(settings: Settings, *, evs_is_there: bool) -> AsyncIterator[Finding]:
    try:
        dsn = running_database(settings)
    except ConfigError as error:
        yield problem("database", error.message)
        return
    if dsn is None:
        yield _no_database(settings, evs_is_there=evs_is_there)
        return
    try:
        seen = await inspect(dsn)
        missing = await pending(dsn)
    except EvsError as error:
        yield problem("database", f"{error.message}; see EVS_DATABASE_URL")
        return
    yield _version(settings, seen)
    yield _migrations(missing)
    if seen.start_count is not None:
        yield ok("history", _history(seen))
    if evs_is_there:
        for finding in _spool(settings, seen):
            yield finding
        async for finding in _lags(settings, seen):
            yield finding


def _no_database(settings: Settings, *, evs_is_there: bool) -> Finding:
    if not evs_is_there:
        return ok("database", f"embedded, in {settings.data_dir}, not running now; `evs serve` starts it")
    return problem(
        "database",
        f"not that of the EVS at {settings.server}: no PostgreSQL runs in {settings.data_dir} that this user can see;"
        " set EVS_DATABASE_URL or EVS_DATA_DIR as that EVS has it, or be its user",
    )


def _spool(settings: Settings, seen: Inspection) -> list[Finding]:
    """Whether the data directory is that of the EVS that serves, which has made a spool in it before it did."""
    if seen.database_id is None or not is_private(settings.server):
        return []  # a cluster has none, and that of another machine cannot be looked for
    folder = settings.data_dir / "spool"
    try:
        spool_place(folder, seen.database_id).stat()
    except FileNotFoundError:
        return [
            problem(
                "spool",
                f"none of this database in {folder}: the EVS at {settings.server} has another data directory, or"
                " another database, or it is on another machine; set EVS_DATA_DIR and EVS_DATABASE_URL as that EVS has"
                " them, and be where it is",
            )
        ]
    except OSError as error:
        return [problem("spool", f"{folder} cannot be looked at: {error.strerror}; be the user of EVS")]
    return [ok("spool", f"in {folder}")]


def _version(settings: Settings, seen: Inspection) -> Finding:
    kind = "embedded" if settings.database_url is None else "given"
    if seen.server_number < POSTGRES_OLDEST:
        oldest = POSTGRES_OLDEST // 10_000
        return problem(
            "database", f"PostgreSQL {seen.server_version} is older than {oldest}, the oldest EVS is tested on"
        )
    return ok("database", f"PostgreSQL {seen.server_version}, {kind}")


def _migrations(missing: list[str]) -> Finding:
    optional = {migration.name for migration in read_migrations() if migration.optional_reason is not None}
    if missing and optional.issuperset(missing):
        return ok(
            "tables",
            f"up to date, but for {', '.join(missing)}, which EVS goes on without (docs/OPERATIONS.md, Installing)",
        )
    if missing:
        return problem(
            "tables", f"not up to date, missing {', '.join(missing)}: run `evs migrate`, or restart `evs serve`"
        )
    return ok("tables", "up to date")


def _history(seen: Inspection) -> str:
    last = "never stored anything" if seen.idle_seconds is None else f"last stored {seen.idle_seconds} s ago"
    return f"start number {seen.start_count} (those that only waited count), {seen.event_count} events stored, {last}"


async def _lags(settings: Settings, seen: Inspection) -> AsyncIterator[Finding]:
    """How far storage is behind memory, for each sender."""
    async with _calling(settings) as channel:
        # The types tell the two kinds of channel apart; when run, one class serves both.
        stub: EquityValuationServiceAsyncStub = EquityValuationServiceStub(channel)
        for source in seen.durable_sequences:
            request = evs_pb2.GetIngestStateRequest(source=source)
            try:
                state = await stub.GetIngestState(request, timeout=ANSWER_SECONDS)
            except grpc.aio.AioRpcError as error:
                yield problem("ingest", f"sender {source}: EVS does not say how far it is: {_refused(error)}")
                continue
            lag = state.applied_sequence - state.durable_sequence
            text = f"sender {source}: {state.applied_sequence} events applied, {lag} of them not yet stored"
            if lag > LAG_EVENTS_MAX:
                yield problem("ingest", f"{text}; storage does not keep up: look at the database, and at EVS's log")
            else:
                yield ok("ingest", text)
