"""The way to the log encrypted: by an authority of one's own, and in plain text never by mistake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from evs_server.authority import Authority
from evs_server.config import load
from evs_server.errors import ConfigError
from evs_server.log import EmbeddedNats, open_log
from tests.nats import a_nats_of, free_ports, journal

SERVER = """
listen: "127.0.0.1:{port}"
max_payload: 8MB
jetstream {{ store_dir: "{directory}/streams" }}
authorization {{ user: evs, password: secret }}
tls {{ cert_file: "{certificate}", key_file: "{key}" }}
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def a_nats_with_tls(directory: Path, authority: Authority, *names: str) -> AsyncIterator[int]:
    """A server whose certificate is for some names; its port."""
    [port] = free_ports(1)
    certificate, key = authority.sign_server(list(names), 1)
    given = SERVER.format(port=port, directory=directory, certificate=certificate, key=key)
    async with a_nats_of(given, directory, port):
        yield port


async def test_a_log_is_kept_by_a_nats_whose_authority_is_named(tmp_path: Path, authority: Authority) -> None:
    async with a_nats_with_tls(tmp_path, authority, "127.0.0.1") as port:
        settings = load(nats_url=f"tls://evs:secret@127.0.0.1:{port}", nats_ca_file=authority.certificate_file)
        async with open_log(settings, "test") as log:
            assert 1 == await log.events.append([], journal("one"), 0, "one")
            assert 1 == await log.events.last_position()


async def test_a_nats_that_another_authority_has_signed_is_not_talked_to(tmp_path: Path, authority: Authority) -> None:
    """Nor one whose certificate is for another name."""
    other = Authority(tmp_path / "other")
    (tmp_path / "nats").mkdir()
    async with a_nats_with_tls(tmp_path / "nats", authority, "localhost") as port:
        for host, ca_file in (
            ("localhost", other.certificate_file),
            ("localhost", None),
            ("127.0.0.1", authority.certificate_file),
        ):
            settings = load(nats_url=f"tls://evs:secret@{host}:{port}", nats_ca_file=ca_file)
            with pytest.raises(ConfigError, match="shows a certificate that is not taken, see EVS_NATS_CA_FILE"):
                async with open_log(settings, "test"):
                    pass


async def test_a_nats_that_does_not_encrypt_is_sent_no_credentials(tmp_path: Path, authority: Authority) -> None:
    """The client library alone would: it believes a server that says that it knows nothing of TLS."""
    async with EmbeddedNats(tmp_path) as url:
        settings = load(nats_url=url.replace("nats://", "tls://"), nats_ca_file=authority.certificate_file)
        with pytest.raises(ConfigError, match="does not encrypt"):
            async with open_log(settings, "test"):
                pass


@pytest.mark.parametrize("url", ["nats://a:4222", "tls://a:4222,nats://b:4222", "a:4222"])
async def test_an_authority_is_for_addresses_that_are_all_encrypted(url: str, authority: Authority) -> None:
    with pytest.raises(ConfigError, match="EVS_NATS_URL: expected tls:// before each address"):
        async with open_log(load(nats_url=url, nats_ca_file=authority.certificate_file), "test"):
            pass


async def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    with pytest.raises(ConfigError, match=r"EVS_NATS_CA_FILE: .*nothing\.pem is no PEM file"):
        async with open_log(load(nats_url="tls://a:4222", nats_ca_file=nothing), "test"):
            pass
