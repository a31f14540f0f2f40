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
