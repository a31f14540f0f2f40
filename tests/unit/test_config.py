"""Settings as an operator gets them wrong: all problems at once, each with its name, value and what is expected."""

import pytest

from evs_server.config import NO_SETTINGS, Settings, load, unknown_variables
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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("EVS_DATABSE_URL", "is EVS_DATABASE_URL meant?"),
        ("EVS_DATABASE", "is EVS_DATABASE_URL meant?"),
        ("EVS_INGEST_LISTENER", "is EVS_INGEST_LISTEN meant?"),
        ("EVS_METRICS_PORT", "is EVS_METRICS_LISTEN meant?"),
        ("evs_log_levl", "is EVS_LOG_LEVEL meant?"),
        ("EVS_XYZ", "`evs --help` lists those there are"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_the_nearest_that_is(name: str, hint: str) -> None:
    """Mistyped, it would be set in vain, and nobody would know; what it says is nobody's business."""
    assert {name: f"{name} is no setting of EVS, and changes nothing: {hint}"} == unknown_variables({name: "hunter2"})


def test_settings_and_what_others_mean_are_no_mistake() -> None:
    """Those of all our programs, however written; those of tests; what Kubernetes tells of services; other prefixes."""
    settings = [f"EVS_{name.upper()}" for name in Settings.model_fields]
    services = [
        *("EVS_SERVICE_HOST", "EVS_SERVICE_PORT", "EVS_SERVICE_PORT_GRPC"),
        *("EVS_PORT", "EVS_PORT_50051_TCP", "EVS_PORT_50051_TCP_ADDR", "EVS_PORT_50051_TCP_PORT"),
        *("EVS_BRIDGE_SERVICE_HOST", "EVS_BRIDGE_SERVICE_PORT", "EVS_BRIDGE_PORT", "EVS_BRIDGE_PORT_8081_TCP_PROTO"),
    ]
    others = ["PATH", "DATABSE_URL", "MY_EVS_DATABSE_URL", "EVSERVER"]
    assert {} == unknown_variables(dict.fromkeys([*settings, "evs_listen", *NO_SETTINGS, *services, *others], "x"))
    assert {"EVS_PORT"} == set(unknown_variables({"EVS_PORT": "50051"})), "without a service it is a mistake"


def test_a_mistyped_setting_is_among_the_problems_that_it_causes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVS_TLS_CERT_FILE", "cert.pem")
    monkeypatch.setenv("EVS_TLS_KEYFILE", "key.pem")
    with pytest.raises(ConfigError) as refused:
        load()
    assert [
        "EVS_TLS_CERT_FILE and EVS_TLS_KEY_FILE go together; set both or neither",
        "EVS_TLS_KEYFILE is no setting of EVS, and changes nothing: is EVS_TLS_KEY_FILE meant?",
    ] == refused.value.message.splitlines()


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
