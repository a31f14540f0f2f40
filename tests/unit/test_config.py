"""Settings as an operator gets them wrong: all problems at once, each with its name, value and what is expected."""

import pytest

from evs_server.config import load
from evs_server.errors import ConfigError


def test_every_wrong_setting_is_named_with_its_value_and_what_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator mends all of them in one go."""
    for name, value in {"SPOOL_BYTES": "5", "LISTEN": "here", "LOG_LEVEL": "loud", "SESSION_TIMEZONE": "Mars"}.items():
        monkeypatch.setenv(f"EVS_{name}", value)
    with pytest.raises(ConfigError) as refused:
        load()
    assert [
        "EVS_LISTEN: expected host:port, such as 127.0.0.1:50051, not 'here'",
        "EVS_LOG_LEVEL: input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR', not 'loud'",
        "EVS_SESSION_TIMEZONE: unknown time zone 'Mars'; expected a name such as America/New_York",
        "EVS_SPOOL_BYTES: input should be greater than or equal to 1048576, not '5'",
    ] == sorted(refused.value.message.splitlines())


def test_an_address_of_a_database_is_never_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds a password."""
    monkeypatch.setenv("EVS_SPOOL_BYTES", "5")
    with pytest.raises(ConfigError) as refused:
        load(database_url=["postgresql://evs:hunter2@db/evs"])
    assert "EVS_DATABASE_URL" in refused.value.message
    assert "hunter2" not in refused.value.message


def test_trusted_proxies_are_addresses_and_networks() -> None:
    settings = load(trusted_proxies="10.0.0.0/8, 192.0.2.1,fd00::/8")
    assert ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"] == [str(network) for network in settings.trusted_proxies]


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "*"])
def test_a_proxy_that_is_no_address_is_named(wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(trusted_proxies=f"192.0.2.1,{wrong}")
    assert (
        f"EVS_TRUSTED_PROXIES: expected addresses or networks such as 10.0.0.0/8, not {wrong!r}"
        == refused.value.message
    )


def test_a_setting_that_is_empty_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of settings, and compose files, set empty ones; only where one is to have none it means that."""
    empty = ("DATABASE_URL", "JWT_SECRET_FILE", "INGEST_LISTEN", "LISTEN", "SPOOL_BYTES", "METRICS_LISTEN", "ORIGINS")
    for name in empty:
        monkeypatch.setenv(f"EVS_{name}", "")
    settings = load()
    assert (None, None, None, None) == (
        settings.database_url, settings.jwt_secret_file, settings.ingest_listen, settings.metrics_listen,
    )  # fmt: skip
    assert ("127.0.0.1:50051", 2**30, ()) == (settings.listen, settings.spool_bytes, settings.origins)


@pytest.mark.parametrize(
    "origin", ["https://app.example/", "*", "app.example", "https://*.example", "wss://app.example", "null"]
)
def test_an_origin_that_no_browser_would_send_is_refused(origin: str) -> None:
    """It would never match, and nobody would see why."""
    with pytest.raises(ConfigError, match=r"EVS_ORIGINS: expected scheme://host or scheme://host:port"):
        load(origins=f"https://good.example,{origin}")


def test_origins_are_as_browsers_write_them() -> None:
    """Names of hosts know no capitals; ports may be there."""
    settings = load(origins="https://App.Example, http://[::1]:8080 ,http://localhost:5173")
    assert ("https://app.example", "http://[::1]:8080", "http://localhost:5173") == settings.origins
