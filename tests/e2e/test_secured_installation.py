"""An installation as an operator exposes it: encrypted, a key, a token each; as processes, by their documents alone."""

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from evs.v1 import evs_pb2 as pb
from evs.v1 import evs_pb2_grpc
from websockets.sync.client import connect

from tests.database import DatabaseServer
from tests.e2e.exchange_tables import exchange_database
from tests.e2e.processes import Command, running, serving
from tests.patience import PATIENCE_SECONDS
from tests.wire import refusal

OPENING = 1_000_000
SECRET = "not to be seen anywhere but in its file"


@dataclass
class Installation:
    """What is running, and how to reach it."""

    evs: Command
    bridge: Command
    address: str
    url: str
    account_ids: tuple[int, int]
    certificates: Path
    settings: dict[str, str | Path]

    def said_by(self, *arguments: str, **settings: str | Path) -> tuple[int, str]:
        """Exit status and words of a command of the operator's."""
        with running(*arguments, **(self.settings | {"server": self.address} | settings)) as command:
            status = command.wait_for_end()
            return status, command.said

    def token(self, *arguments: str) -> str:
        """What ``evs token`` prints."""
        status, said = self.said_by("token", *arguments)
        assert 0 == status, said
        return said.strip()

    def ask(self, account_id: int, token: str | None, certificate: str | None = "service") -> Any:
        """What EVS answers to a caller with that token and certificate."""
        shown: tuple[bytes, ...] = ()
        if certificate is not None:
            shown = tuple((self.certificates / f"{certificate}{end}.pem").read_bytes() for end in ("-key", ""))
        credentials = grpc.ssl_channel_credentials((self.certificates / "ca.pem").read_bytes(), *shown)
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        with grpc.secure_channel(self.address, credentials) as channel:
            stub: Any = evs_pb2_grpc.EquityValuationServiceStub(channel)
            return stub.GetEquity(
                pb.GetEquityRequest(account_id=account_id), metadata=metadata, timeout=PATIENCE_SECONDS
            )


@pytest.fixture(scope="module")
def installation(system_server: DatabaseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """EVS that asks for certificates, and a bridge, each with TLS."""
    directory = tmp_path_factory.mktemp("secured")
    certificates = directory / "certificates"
    clients = ("service", "bridge", "operator")
    with running("certs", str(certificates), *(word for name in clients for word in ("--client", name))) as command:
        assert 0 == command.wait_for_end(), command.said
    (directory / "jwt.secret").write_text(SECRET)
    settings: dict[str, str | Path] = {
        "data_dir": directory,
        "jwt_secret_file": directory / "jwt.secret",
        "tls_cert_file": certificates / "server.pem",
        "tls_key_file": certificates / "server-key.pem",
        "server_ca_file": certificates / "ca.pem",
        "client_cert_file": certificates / "operator.pem",
        "client_key_file": certificates / "operator-key.pem",
        "log_level": "DEBUG",
    }
    asking: dict[str, Any] = settings | {
        "tls_client_ca_file": certificates / "ca.pem",
        "client_roles": "bridge=read:any,operator=admin",
    }
    with exchange_database(system_server) as tables:
        account_ids = tables.open_account(OPENING), tables.open_account(OPENING)
        with serving(tables.dsn, **asking) as (evs, address):
            own = settings | {
                "server": address,
                "bridge_listen": "127.0.0.1:0",
                "client_cert_file": certificates / "bridge.pem",
                "client_key_file": certificates / "bridge-key.pem",
            }
            with running("bridge", **own) as bridge:
                url = bridge.wait_for(r"https://127\.0\.0\.1:\d+/").group()
                settings["database_url"] = tables.dsn
                yield Installation(evs, bridge, address, url, account_ids, certificates, settings)
                assert 0 == bridge.terminate(), bridge.said
            assert 0 == evs.terminate(), evs.said


def test_a_caller_with_its_own_token_reads_its_own_account_and_no_other(installation: Installation) -> None:
    own_id, other_id = installation.account_ids
    token = installation.token("--account", str(own_id))
    assert OPENING == installation.ask(own_id, token).equity.total_equity
    for account_id in (other_id, 2**40):
        with refusal() as told:
            installation.ask(account_id, token)
        assert (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED") == (told.code, told.reason)
    with refusal() as told:
        installation.ask(own_id, None)
    assert grpc.StatusCode.PERMISSION_DENIED == told.code, "its certificate is known, and gives it nothing"
    with refusal() as told:
        installation.ask(own_id, token, certificate=None)
    assert grpc.StatusCode.UNAVAILABLE == told.code


def test_a_browser_sees_its_account_through_two_encrypted_lines(installation: Installation) -> None:
    own_id, _ = installation.account_ids
    context = ssl.create_default_context(cafile=str(installation.certificates / "ca.pem"))
    url = installation.url.replace("https", "wss") + "ws"
    with connect(url, ssl=context, origin=None, open_timeout=PATIENCE_SECONDS) as browser:
        token = installation.token("--account", str(own_id))
        browser.send(json.dumps({"id": 1, "method": "auth.jwt", "params": {"token": token}}))
        answer = json.loads(browser.recv(PATIENCE_SECONDS))
        assert {"authenticated": True, "account_id": own_id} == answer["result"]
        browser.send(json.dumps({"id": 2, "method": "equity.subscribe"}))
        frames = [json.loads(browser.recv(PATIENCE_SECONDS)) for _ in range(2)]
        [equity] = [frame["data"] for frame in frames if frame.get("stream") == "equity"]
        assert (own_id, OPENING) == (equity["account_id"], equity["total_equity"])


def test_a_programs_token_does_not_open_a_browsers_socket(installation: Installation) -> None:
    """It may read every account, and has none that a page could show."""
    context = ssl.create_default_context(cafile=str(installation.certificates / "ca.pem"))
    url = installation.url.replace("https", "wss") + "ws"
    with connect(url, ssl=context, open_timeout=PATIENCE_SECONDS) as browser:
        token = installation.token("--name", "risk", "--role", "read:any")
        browser.send(json.dumps({"id": 1, "method": "auth.jwt", "params": {"token": token}}))
        assert "UNAUTHENTICATED" == json.loads(browser.recv(PATIENCE_SECONDS))["error"]["code"]


def test_an_operators_commands_say_who_they_are(installation: Installation) -> None:
    status, said = installation.said_by("doctor")
    assert 0 == status, said
    assert f"serves at {installation.address}" in said
    assert "ends on" in said
    assert 0 == installation.said_by("reconcile")[0]


def test_a_command_without_a_right_is_told_what_to_set(installation: Installation, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(installation.token("--name", "risk", "--role", "read:any"))
    certificate = {
        "client_cert_file": installation.certificates / "service.pem",
        "client_key_file": installation.certificates / "service-key.pem",
    }
    status, said = installation.said_by("reconcile", token_file=token, **certificate)
    assert 1 == status
    assert "risk may not call this: it takes admin; set EVS_JWT_SECRET_FILE" in said
    assert token.read_text() not in said


def test_no_secret_is_said_or_shown(installation: Installation) -> None:
    """Not in a log at its most talkative, and not in a process's arguments; after good tokens and bad ones."""
    own_id, _ = installation.account_ids
    good = installation.token("--account", str(own_id))
    installation.ask(own_id, good)
    for bad in (good[:-3] + "abc", "nonsense of a token"):
        with refusal():
            installation.ask(own_id, bad)
    key = (installation.certificates / "server-key.pem").read_text().splitlines()[1]
    for command in (installation.evs, installation.bridge):
        arguments = Path(f"/proc/{command.process.pid}/cmdline").read_text()
        for secret in (SECRET, good, good.split(".")[2], "nonsense of a token", key):
            assert secret not in command.said
            assert secret not in arguments
