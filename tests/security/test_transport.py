"""What goes over the wire, and over which: encryption, certificates, sockets, addresses."""

import asyncio
import logging
import os
import ssl
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb

from evs_server import listener
from evs_server.access.servers import serving
from evs_server.authority import Authority
from evs_server.certificates import ServerCertificate, expires_at
from evs_server.channel import bearer_of, open_channel
from evs_server.clock import SystemClock
from evs_server.config import Settings, load
from evs_server.errors import ConfigError
from evs_server.limits import MESSAGE_BYTES_MAX, READER_MESSAGE_BYTES_MAX
from evs_server.roles import Role
from tests.builders import ALICE, BOB
from tests.security.secured import KEY, VALUATION, Certificates, Secure, a_token, call, secured

StatusCode = grpc.StatusCode
GET = f"{VALUATION}GetEquity"
PRICE = f"{VALUATION}OnPriceUpdated"
STREAM = f"{VALUATION}StreamEvents"
ASK = pb.GetEquityRequest(account_id=ALICE)
A_PRICE = pb.OnPriceUpdatedRequest(symbol_id=1, price_cents=100)
HEALTH = "/grpc.health.v1.Health/Check"


def dialled(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A channel of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials, options=options)


# --- TLS ---------------------------------------------------------------------------------------------------------


async def test_with_a_certificate_only_tls_is_spoken(secure: Secure, certificates: Certificates) -> None:
    async with secure(**certificates.settings, credentials=certificates.credentials()) as evs:
        assert StatusCode.OK == (await evs.call(GET, ASK, a_token(ALICE))).code
        async with dialled(evs.addresses[0]) as plain:
            assert StatusCode.UNAVAILABLE == (await call(plain, GET, ASK, a_token(ALICE))).code


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_before_1_2_is_not_spoken(
    secure: Secure, certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    async with secure(**certificates.settings, credentials=certificates.credentials()) as evs:
        host, _, port = evs.addresses[0].rpartition(":")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=context)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await handshake(ServerCertificate(*certificates.server).context(), context)


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """The server's certificate, as a client of Python's own sees it."""

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listening = await asyncio.start_server(close, "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
        seen: dict[str, Any] = writer.get_extra_info("peercert")
        writer.close()
    return seen


async def test_a_renewed_certificate_needs_no_restart(tmp_path: Path, secure: Secure) -> None:
    """Of gRPC's servers and of the bridge's alike; connections that are there stay."""
    old, new = Certificates(tmp_path / "old"), Certificates(tmp_path / "new")
    bridge = ServerCertificate(*old.server).context()
    trusting_new = ssl.create_default_context(cafile=str(new.ca))
    async with secure(**old.settings, credentials=old.credentials()) as evs:
        assert StatusCode.OK == (await evs.call(HEALTH)).code
        async with dialled(evs.addresses[0], new.credentials()) as before:
            assert StatusCode.UNAVAILABLE == (await call(before, HEALTH)).code
        for path, renewed in zip(old.server, new.server, strict=True):
            renewed.replace(path)
        async with dialled(evs.addresses[0], new.credentials()) as after:
            assert StatusCode.OK == (await call(after, HEALTH)).code
        assert StatusCode.OK == (await evs.call(HEALTH)).code
    assert await handshake(bridge, trusting_new)


def test_a_certificate_that_does_not_fit_its_key_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the writing of the one and of the other the files do not fit."""
    old, new = Certificates(tmp_path / "old"), Certificates(tmp_path / "new")
    certificate = ServerCertificate(*old.server)
    before = certificate.pem
    new.server[0].replace(old.server[0])
    with caplog.at_level(logging.WARNING):
        assert [False, False] == [certificate.renewed(), certificate.renewed()]
    assert 1 == caplog.text.count("the certificate in use is kept")
    assert before == certificate.pem
    new.server[1].replace(old.server[1])
    assert [True, False] == [certificate.renewed(), certificate.renewed()]
    assert before != certificate.pem
    assert "PRIVATE" not in repr(certificate.pem)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), (b"nothing", "is no PEM file"), (b"-----BEGIN NONSENSE-----", "are not a PEM cert")],
)
def test_a_certificate_that_cannot_be_used_is_named(
    tmp_path: Path, certificates: Certificates, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "server.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        ServerCertificate(path, certificates.server[1])
    assert str(path) in caught.value.message


def test_a_certificate_says_when_it_ends(certificates: Certificates) -> None:
    """Whoever watches it must be able to warn in time."""
    now_s = SystemClock().now_ms() // 1_000
    assert 80_000 < expires_at(certificates.server[0]).timestamp() - now_s <= 86_400


# --- certificates of clients -------------------------------------------------------------------------------------


@pytest.fixture
def asked(certificates: Certificates) -> dict[str, Any]:
    """Settings of an EVS that asks clients for certificates."""
    roles = "execution-manager=ingest,risk=read:any+admin"
    return {**certificates.settings, "tls_client_ca_file": certificates.ca, "client_roles": roles}


@pytest.mark.parametrize(
    ("name", "let_in"),
    [
        ("execution-manager", {PRICE}),
        ("risk", {GET, "/evs.v1.AdminService/Reconcile"}),
        ("stranger", set()),
    ],
)
async def test_a_certificate_has_the_roles_that_its_name_is_given(
    secure: Secure, certificates: Certificates, asked: dict[str, Any], name: str, let_in: set[str]
) -> None:
    async with secure(**asked, credentials=certificates.credentials(name)) as evs:
        requests: dict[str, Any] = {GET: ASK, PRICE: A_PRICE, "/evs.v1.AdminService/Reconcile": b""}
        outcomes = {method: await evs.call(method, request) for method, request in requests.items()}
    assert let_in == {method for method, outcome in outcomes.items() if outcome.is_let_in}
    assert {StatusCode.PERMISSION_DENIED} >= {each.code for each in outcomes.values() if not each.is_let_in}


async def test_whoever_shows_no_certificate_or_another_authoritys_does_not_get_in(
    secure: Secure, certificates: Certificates, asked: dict[str, Any], tmp_path: Path
) -> None:
    """A token does not help: there is no connection to send it over."""
    forged, key = Authority(tmp_path / "other").sign_client("execution-manager", 1)
    others = grpc.ssl_channel_credentials(certificates.ca.read_bytes(), key.read_bytes(), forged.read_bytes())
    async with secure(**asked) as evs:
        for credentials in (certificates.credentials(), others):
            async with dialled(evs.addresses[0], credentials) as channel:
                outcome = await call(channel, PRICE, A_PRICE, a_token("execution-manager", Role.INGEST))
                assert StatusCode.UNAVAILABLE == outcome.code


async def test_a_token_adds_to_what_a_certificate_gives_and_a_bad_one_is_refused(
    secure: Secure, certificates: Certificates, asked: dict[str, Any]
) -> None:
    async with secure(**asked, credentials=certificates.credentials("execution-manager")) as evs:
        assert StatusCode.OK == (await evs.call(PRICE, A_PRICE, a_token(ALICE))).code
        assert StatusCode.OK == (await evs.call(GET, ASK, a_token(ALICE))).code
        bad = (("authorization", "Bearer nonsense"),)
        assert StatusCode.UNAUTHENTICATED == (await evs.call(PRICE, A_PRICE, bad)).code


async def test_readers_are_asked_for_no_certificate_where_senders_have_an_address_of_their_own(
    secure: Secure, certificates: Certificates, asked: dict[str, Any]
) -> None:
    async with secure(**asked, ingest_listen="127.0.0.1:0", credentials=certificates.credentials()) as evs:
        readers, senders = evs.addresses
        assert StatusCode.OK == (await evs.call(GET, ASK, a_token(ALICE))).code
        async with dialled(senders, certificates.credentials()) as channel:
            assert StatusCode.UNAVAILABLE == (await call(channel, PRICE, A_PRICE)).code
        async with dialled(senders, certificates.credentials("execution-manager")) as channel:
            assert StatusCode.OK == (await call(channel, PRICE, A_PRICE)).code
        assert readers != senders


# --- two addresses -----------------------------------------------------------------------------------------------


async def test_methods_are_served_at_their_own_address_only(secure: Secure, tmp_path: Path) -> None:
    """Whatever its roles: a sender's messages may be long, and a reader's may not."""
    everything = a_token("everything", Role.INGEST, Role.READ_ANY, Role.ADMIN)
    async with secure(ingest_listen=f"unix:{tmp_path}/ingest.sock") as evs, dialled(evs.addresses[1]) as senders:
        refused = await evs.call(PRICE, A_PRICE, everything)
        assert StatusCode.PERMISSION_DENIED == refused.code
        assert "at another address of this EVS, that of EVS_INGEST_LISTEN" in refused.details
        assert StatusCode.OK == (await call(senders, PRICE, A_PRICE, everything)).code
        refused = await call(senders, GET, ASK, everything)
        assert StatusCode.PERMISSION_DENIED == refused.code
        assert "EVS_LISTEN" in refused.details
        for channel in (evs.channel, senders):
            assert StatusCode.OK == (await call(channel, HEALTH)).code


async def test_how_far_a_sender_is_can_be_asked_at_both_addresses(secure: Secure, tmp_path: Path) -> None:
    """By operators where they ask everything else, and by senders where they send."""
    ask, asked = f"{VALUATION}GetIngestState", pb.GetIngestStateRequest(source="em")
    async with secure(ingest_listen=f"unix:{tmp_path}/ingest.sock") as evs, dialled(evs.addresses[1]) as senders:
        assert StatusCode.OK == (await evs.call(ask, asked, a_token("operator", Role.ADMIN))).code
        assert StatusCode.OK == (await call(senders, ask, asked)).code
        assert StatusCode.PERMISSION_DENIED == (await evs.call(ask, asked, a_token("risk", Role.READ_ANY))).code


async def test_a_readers_message_is_short_and_a_senders_may_be_long(secure: Secure, tmp_path: Path) -> None:
    """FAULTS F13: refused before it is read."""
    token = a_token("both", Role.INGEST, Role.READ_ANY)
    async with secure(ingest_listen=f"unix:{tmp_path}/ingest.sock") as evs, dialled(evs.addresses[1]) as senders:
        longest = pb.BatchGetEquityRequest(account_ids=[2**53 - 1] * 1_000)
        assert longest.ByteSize() < READER_MESSAGE_BYTES_MAX
        assert StatusCode.OK == (await evs.call(f"{VALUATION}BatchGetEquity", longest, token)).code
        for channel, method, bound in (
            (evs.channel, GET, READER_MESSAGE_BYTES_MAX),
            (senders, PRICE, MESSAGE_BYTES_MAX),
        ):
            # An unknown field is skipped: such a message says the same, only longer.
            for length, let_in in ((bound - 8, True), (bound + 8, False)):
                request = (ASK if method == GET else A_PRICE).SerializeToString()
                padding = length - len(request) - 5
                request += bytes([0x7A, 0x80 | padding & 0x7F, 0x80 | padding >> 7 & 0x7F, padding >> 14]) + bytes(
                    padding
                )
                outcome = await call(channel, method, request, token)
                assert (method, length, StatusCode.OK if let_in else StatusCode.RESOURCE_EXHAUSTED) == (
                    method, length, outcome.code,
                )  # fmt: skip


# --- sockets and addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["0600", "0660"])
async def test_a_senders_socket_is_opened_by_whom_its_mode_allows(secure: Secure, tmp_path: Path, mode: str) -> None:
    """Whoever may open it is a sender, and nothing else."""
    path = tmp_path / "ingest.sock"
    async with secure(ingest_listen=f"unix:{path}", socket_mode=mode) as evs, dialled(evs.addresses[1]) as channel:
        assert int(mode, 8) == stat.S_IMODE(path.stat().st_mode)
        assert StatusCode.OK == (await call(channel, PRICE, A_PRICE)).code
        assert not (await call(channel, GET, ASK)).is_let_in


async def test_a_readers_socket_proves_nothing(secure: Secure, tmp_path: Path) -> None:
    async with secure(listen=f"unix:{tmp_path}/readers.sock", ingest_listen=f"unix:{tmp_path}/ingest.sock") as evs:
        assert StatusCode.UNAUTHENTICATED == (await evs.call(GET, ASK)).code
        assert StatusCode.OK == (await evs.call(GET, ASK, a_token(ALICE))).code


async def test_one_socket_for_everybody_is_the_senders(secure: Secure, tmp_path: Path) -> None:
    async with secure(listen=f"unix:{tmp_path}/evs.sock") as evs:
        assert StatusCode.OK == (await evs.call(PRICE, A_PRICE)).code
        assert StatusCode.PERMISSION_DENIED == (await evs.call(GET, ASK)).code
        assert StatusCode.OK == (await evs.call(GET, ASK, a_token(ALICE))).code
        assert (
            StatusCode.PERMISSION_DENIED
            == (await evs.call(GET, pb.GetEquityRequest(account_id=BOB), a_token(ALICE))).code
        )


@pytest.mark.parametrize(
    ("private", "address"),
    [
        (True, "127.0.0.1:1"),
        (True, "127.8.9.1:1"),
        (True, "[::1]:1"),
        (True, "localhost:1"),
        (True, "unix:/run/evs.sock"),
        (False, "0.0.0.0:1"),
        (False, "[::]:1"),
        (False, "10.0.0.1:1"),
        (False, "localhost.example.com:1"),
        (False, "127.0.0.1.example.com:1"),
        (False, "evs:1"),
    ],
)
def test_an_address_that_others_can_reach_is_told_from_one_they_cannot(private: bool, address: str) -> None:
    assert private == listener.is_private(address)


async def opened(settings: Settings) -> list[str]:
    """The addresses of servers without methods, which are then closed."""
    async with serving(settings, SystemClock(), lambda _: None, grace_seconds=0) as addresses:
        return addresses


@pytest.mark.parametrize("setting", ["listen", "ingest_listen"])
async def test_plain_text_does_not_leave_the_machine(tmp_path: Path, setting: str) -> None:
    """EVS does not start so."""
    settings = load(**({"data_dir": tmp_path, "listen": "127.0.0.1:0"} | {setting: "0.0.0.0:0"}))
    with pytest.raises(ConfigError, match=f"EVS_{setting.upper()}: 0.0.0.0:0 can be reached .* EVS_ALLOW_PLAINTEXT"):
        await opened(settings)


async def test_plain_text_leaves_the_machine_when_it_is_told_to_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers are asked who they are even then, by a key of development if need be."""
    async with secured(tmp_path, listen="0.0.0.0:0", allow_plaintext=True, jwt_secret_file=None) as evs:
        port = evs.addresses[0].rpartition(":")[2]
        async with dialled(f"127.0.0.1:{port}") as channel:
            assert StatusCode.UNAUTHENTICATED == (await call(channel, GET, ASK)).code
            assert StatusCode.UNAUTHENTICATED == (await call(channel, GET, ASK, a_token(ALICE))).code
    assert "PLAIN TEXT on 0.0.0.0:0 (EVS_LISTEN)" in caplog.text


@pytest.mark.parametrize("scheme", ["unix:", "unix://"])
async def test_a_socket_that_is_listened_on_is_not_taken_away(secure: Secure, tmp_path: Path, scheme: str) -> None:
    """Not by a second address of the same EVS either, however it is written."""
    with pytest.raises(ConfigError, match=r"EVS_INGEST_LISTEN: cannot listen on .*evs\.sock: it is taken"):
        async with secure(listen=f"unix:{tmp_path}/evs.sock", ingest_listen=f"{scheme}{tmp_path}/evs.sock"):
            pass


async def test_an_address_that_is_taken_is_named(secure: Secure, tmp_path: Path) -> None:
    async with secure() as evs:
        with pytest.raises(ConfigError, match=f"cannot listen on {evs.addresses[0]}.*set EVS_INGEST_LISTEN"):
            await opened(load(data_dir=tmp_path, listen="127.0.0.1:0", ingest_listen=evs.addresses[0]))


# --- our own programs --------------------------------------------------------------------------------------------


async def test_our_own_programs_say_who_they_are(certificates: Certificates, tmp_path: Path) -> None:
    """The bridge and the commands sign what they need with the key; over TLS if EVS's authority is set."""
    async with secured(tmp_path, **certificates.settings) as evs:
        own = evs.settings.model_copy(update={"server": evs.addresses[0], "server_ca_file": certificates.ca})
        async with open_channel(own, "evs-bridge", [Role.READ_ANY]) as channel:
            assert StatusCode.OK == (await call(channel, GET, ASK)).code
            assert StatusCode.PERMISSION_DENIED == (await call(channel, PRICE, A_PRICE)).code
            subscribe: Any = channel.unary_stream(f"{VALUATION}SubscribeEquity")
            stream = subscribe(ASK.SerializeToString())
            assert isinstance(await stream.read(), bytes)
            stream.cancel()


async def test_our_own_programs_show_a_certificate(
    certificates: Certificates, asked: dict[str, Any], tmp_path: Path
) -> None:
    certificate, key = certificates.authority.sign_client("risk", 1)
    async with secured(tmp_path, **asked) as evs:
        own = load(
            server=evs.addresses[0], data_dir=tmp_path / "elsewhere", server_ca_file=certificates.ca,
            client_cert_file=certificate, client_key_file=key,
        )  # fmt: skip
        async with open_channel(own, "evs-doctor", [Role.ADMIN]) as channel:
            assert StatusCode.OK == (await call(channel, GET, ASK)).code


async def test_our_own_programs_read_a_token_again_when_it_is_renewed(secure: Secure, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(dict(a_token("risk", Role.ADMIN))["authorization"].removeprefix("Bearer ") + "\n")
    async with secure() as evs:
        own = load(server=evs.addresses[0], token_file=file, data_dir=tmp_path)
        async with open_channel(own, "evs-bridge", [Role.READ_ANY]) as channel:
            assert StatusCode.PERMISSION_DENIED == (await call(channel, GET, ASK)).code
            file.write_text(dict(a_token("risk", Role.READ_ANY))["authorization"].removeprefix("Bearer "))
            assert StatusCode.OK == (await call(channel, GET, ASK)).code
            file.unlink()
            assert StatusCode.OK == (await call(channel, GET, ASK)).code


async def test_our_own_programs_send_no_token_in_plain_text_to_another_machine(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"EVS_SERVER: evs.internal:50051 .* set EVS_SERVER_CA_FILE"):
        async with open_channel(load(server="evs.internal:50051", data_dir=tmp_path), "evs-doctor", [Role.ADMIN]):
            pass


def test_a_token_file_that_holds_none_is_named_and_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for content in (b"", b"two words", b"\xff\xfe", b"x" * 5_000):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="EVS_TOKEN_FILE") as caught:
            bearer_of(load(token_file=file, data_dir=tmp_path), "evs-bridge", [Role.READ_ANY])
        assert str(file) in caught.value.message
        assert "words" not in caught.value.message


def test_without_a_key_nothing_is_said(tmp_path: Path) -> None:
    """In development nobody is asked, and no command makes a key."""
    assert bearer_of(load(data_dir=tmp_path), "evs-doctor", [Role.ADMIN]) is None
    assert [] == os.listdir(tmp_path)  # noqa: PTH208 -- nothing at all


def test_a_key_is_signed_with_again_in_time(tmp_path: Path) -> None:
    (tmp_path / "jwt.key").write_bytes(KEY)

    class Clock:
        seconds = 0.0

        def now_ms(self) -> int:
            return int(self.seconds * 1_000)

        def monotonic(self) -> float:
            return self.seconds

    clock = Clock()
    bearer = bearer_of(load(data_dir=tmp_path), "evs-bridge", [Role.READ_ANY], 100, clock)
    assert bearer is not None
    first = bearer()
    clock.seconds = 49
    assert first == bearer()
    clock.seconds = 50
    assert first != bearer()
