"""Tokens as a caller sends them: good, bad, ending; and how much one reader may ask for (FAULTS F15, F16)."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from evs.v1 import evs_pb2 as pb
from evs.v1.evs_pb2_grpc import EquityValuationServiceServicer

from evs_server import tokens
from evs_server.limits import READS_AT_ONCE, STREAMS_PER_READER
from evs_server.roles import Role
from evs_server.tokens import LEEWAY_S, TOKEN_BYTES_MAX
from tests.builders import ALICE, BOB
from tests.patience import PATIENCE_SECONDS, eventually_true
from tests.security.secured import KEY, VALUATION, Secure, SecuredEvs, a_token, as_bearer
from tests.serving import SetClock

StatusCode = grpc.StatusCode
GET = f"{VALUATION}GetEquity"
SUBSCRIBE = f"{VALUATION}SubscribeEquity"
ASK = pb.GetEquityRequest(account_id=ALICE)
FOLLOW = pb.SubscribeEquityRequest(account_id=ALICE).SerializeToString()

NOW = int(time.time())
CLAIMS = {"iss": "evs", "aud": "evs", "sub": str(ALICE), "iat": NOW, "exp": NOW + 3_600, "scope": "read:own"}

PUBLIC_KEY = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"


def signed(key: bytes = KEY, algorithm: str = "HS256", **changes: Any) -> str:
    """A token that a library makes."""
    return jwt.encode(CLAIMS | changes, key, algorithm=algorithm)


def by_hand(header: dict[str, Any], key: bytes = KEY) -> str:
    """A token that no library makes: signed as HS256, whatever its header says."""
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, CLAIMS)]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(b".".join(parts), key)
    return b".".join([*parts, jwt.utils.base64url_encode(signature)]).decode()


BAD = {
    "no token": "",
    "no words": "a.b.c",
    "expired": signed(exp=NOW - LEEWAY_S - 60),
    "not yet good": signed(nbf=NOW + 86_400, exp=NOW + 90_000),
    "from the future": signed(iat=NOW + 86_400, exp=NOW + 90_000),
    "another audience": signed(aud="exchange"),
    "another issuer": signed(iss="exchange"),
    "another key": signed(b"a key that somebody else has chosen"),
    "another algorithm": signed(KEY * 2, "HS512"),
    "unsigned": jwt.encode(CLAIMS, "", algorithm="none"),
    "a key to be fetched": by_hand({"alg": "HS256", "jku": "http://127.0.0.1:9/keys", "kid": "../../etc/passwd"}, b"x"),
    "HS256 with a public key": by_hand({"alg": "HS256"}, PUBLIC_KEY),
    "RS256 by name": by_hand({"alg": "RS256"}),
    "no account and no program": signed(sub="7 or 1=1"),
    "an account that cannot be": signed(sub="0"),
    "a scope that is no text": signed(scope=["read:any"]),
    "longer than a token may be": signed(padding="x" * TOKEN_BYTES_MAX),
}


@pytest.mark.parametrize("token", list(BAD.values()), ids=list(BAD))
async def test_a_bad_token_is_refused_and_not_quoted(secure: Secure, token: str) -> None:
    async with secure() as evs:
        outcome = await evs.call(GET, ASK, as_bearer(token))
    assert StatusCode.UNAUTHENTICATED == outcome.code
    assert not token or token[:12] not in outcome.details


async def test_metadata_beyond_8_kib_does_not_reach_us(secure: Secure) -> None:
    """A token of 20 KB is refused by the library, before anybody looks at it."""
    async with secure() as evs:
        outcome = await evs.call(GET, ASK, as_bearer("x" * 20_000))
        assert StatusCode.RESOURCE_EXHAUSTED == outcome.code
        assert StatusCode.OK == (await evs.call(GET, ASK, a_token(ALICE))).code


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", f"Basic {signed()}"),),
        (("authorization", signed()),),
        (*as_bearer(signed()), *as_bearer(signed())),
        (("Authorization".lower(), "Bearer"),),
    ],
)
async def test_authorization_that_is_not_understood_is_refused(secure: Secure, metadata: Any) -> None:
    async with secure() as evs:
        assert StatusCode.UNAUTHENTICATED == (await evs.call(GET, ASK, metadata)).code


async def test_what_other_services_are_asked_for_with_a_token_is_none_of_our_business(secure: Secure) -> None:
    async with secure() as evs:
        assert StatusCode.OK == (await evs.call(GET, ASK, as_bearer(signed(scope="openid read:own email")))).code
        refused = await evs.call(GET, ASK, as_bearer(signed(scope="openid email")))
        assert StatusCode.PERMISSION_DENIED == refused.code


async def test_a_program_has_no_account_of_its_own(secure: Secure) -> None:
    """A scope of read:own gives nothing to a subject that is no account."""
    async with secure() as evs:
        refused = await evs.call(GET, ASK, as_bearer(signed(sub="risk", scope="read:own")))
    assert StatusCode.PERMISSION_DENIED == refused.code


async def test_a_token_without_a_scope_is_a_browsers(secure: Secure) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "scope"}
    token = as_bearer(jwt.encode(claims, KEY, algorithm="HS256"))
    async with secure() as evs:
        assert StatusCode.OK == (await evs.call(GET, ASK, token)).code
        assert not (await evs.call(GET, pb.GetEquityRequest(account_id=BOB), token)).is_let_in


# --- tokens that end ---------------------------------------------------------------------------------------------


async def last_words(stream: Any) -> tuple[StatusCode, str]:
    """How a stream ends, whatever it says before."""
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return await stream.code(), await stream.details()


class Silent(EquityValuationServiceServicer):
    """Streams that never say anything, each in one of the ways in which a method may be written."""

    async def SubscribeEquity(self, _: Any, __: Any) -> Any:  # type: ignore[override]  # noqa: N802
        await asyncio.Event().wait()

    async def StreamEvents(self, requests: Any, _: Any) -> Any:  # noqa: N802
        async for _ in requests:
            yield pb.StreamEventsResponse()


SILENT = Silent()  # type: ignore[abstract]  # the rest answers UNIMPLEMENTED


@pytest.mark.parametrize("servicer", [None, SILENT], ids=["EVS", "silent"])
@pytest.mark.parametrize(("method", "role"), [("SubscribeEquity", Role.READ_ANY), ("StreamEvents", Role.INGEST)])
async def test_a_stream_ends_with_its_token(secure: Secure, method: str, role: Role, servicer: Any) -> None:
    """At its expiry and the leeway, whatever the stream is doing; the clock of the test says when that is."""
    clock = SetClock()
    token = a_token("program", role, ttl_s=-LEEWAY_S + 1, clock=clock)
    async with secure(clock=clock, servicer=servicer) as evs:
        open_stream: Any = evs.channel.stream_stream(f"{VALUATION}{method}")
        stream = open_stream(metadata=token, timeout=PATIENCE_SECONDS)
        await stream.write(FOLLOW if method == "SubscribeEquity" else b"")
        assert (StatusCode.UNAUTHENTICATED, "token has expired: call again with a new one") == await last_words(stream)


async def test_a_token_within_the_leeway_is_good_and_after_it_is_not(secure: Secure) -> None:
    clock = SetClock()
    token = a_token(ALICE, ttl_s=60, clock=clock)
    async with secure(clock=clock) as evs:
        clock.ms += (60 + LEEWAY_S) * 1_000 - 1
        assert StatusCode.OK == (await evs.call(GET, ASK, token)).code
        clock.ms += 1
        assert StatusCode.UNAUTHENTICATED == (await evs.call(GET, ASK, token)).code


async def test_a_token_that_is_good_for_ever_breaks_no_timer(secure: Secure) -> None:
    async with secure() as evs:
        for token in (signed(exp=2**70), signed(exp=10**300)):
            outcome = await evs.stream(SUBSCRIBE, FOLLOW, metadata=as_bearer(token))
            assert StatusCode.OK == outcome.code


@pytest.mark.parametrize("servicer", [None, SILENT], ids=["EVS", "silent"])
@pytest.mark.parametrize(("method", "role"), [("SubscribeEquity", Role.READ_ANY), ("StreamEvents", Role.INGEST)])
async def test_a_stream_ends_when_its_token_is_taken_back(
    secure: Secure, tmp_path: Path, method: str, role: Role, servicer: Any
) -> None:
    """Long before its end; the same program may go on with another."""
    revoked = tmp_path / "revoked"
    revoked.write_text("")
    token, other = (as_bearer(tokens.sign(KEY, "program", [role], token_id=each)) for each in ("stolen", "new"))
    async with secure(servicer=servicer, revoked_tokens_file=revoked) as evs:
        open_stream: Any = evs.channel.stream_stream(f"{VALUATION}{method}")
        streams = [open_stream(metadata=each, timeout=PATIENCE_SECONDS) for each in (token, other)]
        for stream in streams:
            await stream.write(FOLLOW if method == "SubscribeEquity" else b"")
        revoked.write_text("stolen\n")
        assert (StatusCode.UNAUTHENTICATED, "token has been taken back") == await last_words(streams[0])
        assert not streams[1].done()
        again = await evs.stream(f"{VALUATION}{method}", FOLLOW, metadata=token)
        assert (StatusCode.UNAUTHENTICATED, "token has been taken back") == (again.code, again.details)
        streams[1].cancel()


# --- how much one reader may ask for -----------------------------------------------------------------------------


async def statuses(evs: SecuredEvs, count: int, metadata: Any) -> list[StatusCode]:
    """How so many reads end, one after the other."""
    return [(await evs.call(GET, ASK, metadata)).code for _ in range(count)]


async def test_a_reader_that_asks_too_often_is_told_to_wait_and_others_are_not(secure: Secure) -> None:
    clock = SetClock()
    token = a_token(ALICE, clock=clock)
    async with secure(clock=clock) as evs:
        assert [StatusCode.OK] * READS_AT_ONCE == await statuses(evs, READS_AT_ONCE, token)
        assert [StatusCode.RESOURCE_EXHAUSTED] * 2 == await statuses(evs, 2, token)
        assert [StatusCode.OK] == await statuses(evs, 1, a_token("risk", Role.READ_ANY, clock=clock))
        clock.ms += 1_000
        assert [StatusCode.OK] == await statuses(evs, 1, token)


async def test_a_reader_has_so_many_streams_and_gets_them_back(secure: Secure) -> None:
    async with secure() as evs:
        token = a_token(ALICE)
        open_stream: Any = evs.channel.unary_stream(SUBSCRIBE)
        streams: list[Any] = [open_stream(FOLLOW, metadata=token) for _ in range(STREAMS_PER_READER)]
        for stream in streams:
            assert isinstance(await stream.read(), bytes)
        outcome = await evs.stream(SUBSCRIBE, FOLLOW, metadata=token)
        assert StatusCode.RESOURCE_EXHAUSTED == outcome.code
        assert f"{STREAMS_PER_READER} streams" in outcome.details
        streams.pop().cancel()

        async def let_in() -> bool:
            return (await evs.stream(SUBSCRIBE, FOLLOW, metadata=token)).code is StatusCode.OK

        await eventually_true(let_in, "there is room again")
        for stream in streams:
            stream.cancel()
