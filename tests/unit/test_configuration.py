"""The settings as an operator meets them: the reference, what goes together, and what never shows."""

import re
from pathlib import Path

import pytest

from evs_server import config
from evs_server.errors import ConfigError
from evs_server.roles import EVERY_ROLE, Role, known_roles, parse_roles
from tools import configuration

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_is_up_to_date() -> None:
    """After a change of the settings: ``python tools/configuration.py``."""
    assert configuration.render() == configuration.DOCUMENT.read_text()


def test_the_reference_has_every_setting_once() -> None:
    listed = re.findall(r"^\| `(EVS_\w+)` \|", configuration.DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(f"EVS_{name.upper()}" for name in config.Settings.model_fields) == sorted(listed)


def test_documents_name_no_setting_that_is_not_there() -> None:
    """A name that was dropped or mistyped would be set in vain."""
    known = {f"EVS_{name.upper()}" for name in config.Settings.model_fields} | config.NO_SETTINGS
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {(path.name, name) for path in documents for name in re.findall(r"\bEVS_[A-Z_]+[A-Z]\b", path.read_text())}
    assert set() == {(document, name) for document, name in named if name not in known}


# --- roles -------------------------------------------------------------------------------------------------------


def test_roles_of_certificates_are_written_by_name() -> None:
    settings = config.load(
        client_roles="CN=execution-manager=ingest, spiffe://evs/risk?a=b=read:any+admin,", tls_client_ca_file="ca",
        tls_cert_file="cert", tls_key_file="key",
    )  # fmt: skip
    assert {
        "execution-manager": {Role.INGEST},
        "spiffe://evs/risk?a=b": {Role.READ_ANY, Role.ADMIN},
    } == settings.client_roles


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("risk", "expected NAME=ROLE or NAME=ROLE[+]ROLE, not 'risk'"),
        ("=admin", "expected NAME=ROLE"),
        ("risk=", "expected NAME=ROLE"),
        ("risk=root", "unknown role 'root'; expected ingest, read:own, read:any, admin"),
        ("risk=admin+", "unknown role ''"),
    ],
)
def test_roles_that_cannot_be_read_are_named(value: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^EVS_CLIENT_ROLES: {problem}"):
        config.load(client_roles=value)


def test_words_of_others_are_no_roles() -> None:
    assert EVERY_ROLE == parse_roles(["ingest", "read:own", "read:any", "admin"])
    assert {Role.ADMIN} == known_roles(["openid", "admin", "", "ADMIN"])


# --- what goes together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"tls_cert_file": "a"}, "EVS_TLS_CERT_FILE and EVS_TLS_KEY_FILE go together"),
        ({"tls_key_file": "a"}, "EVS_TLS_CERT_FILE and EVS_TLS_KEY_FILE go together"),
        ({"client_key_file": "a", "server_ca_file": "b"}, "EVS_CLIENT_CERT_FILE and EVS_CLIENT_KEY_FILE go together"),
        ({"client_cert_file": "a", "client_key_file": "b"}, "EVS_CLIENT_CERT_FILE needs EVS_SERVER_CA_FILE"),
        ({"tls_client_ca_file": "a"}, "EVS_TLS_CLIENT_CA_FILE needs EVS_TLS_CERT_FILE"),
        ({"client_roles": "a=admin"}, "EVS_CLIENT_ROLES needs EVS_TLS_CLIENT_CA_FILE"),
    ],
)
def test_settings_that_need_each_other_say_so(given: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^{problem}"):
        config.load(**given)


def test_an_evs_of_its_own_process_has_no_keys() -> None:
    """The demo and a replay run one that nobody else calls."""
    given = config.load(
        jwt_secret_file="secret", tls_cert_file="a", tls_key_file="b", allow_plaintext=True, listen="a:1"
    )
    own = config.without_keys(given)
    assert config.load(listen="a:1") == own


def test_the_databases_password_is_in_no_repr() -> None:
    settings = config.load(database_url="postgresql://evs:hidden@db/evs")
    assert "hidden" not in repr(settings) + str(settings) + settings.model_dump_json()
