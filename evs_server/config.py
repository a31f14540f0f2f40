"""
Settings, read from ``EVS_*`` by whoever builds ``Settings`` (the command line), checked as a whole.

Lives here: names, defaults, units, ranges. Not here: bounds that no operator may change (``limits``).
"""

import os
from datetime import time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from evs_server.errors import ConfigError


def _host_and_port(value: str) -> str:
    if value.startswith("unix:"):
        return value
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isdigit() and int(port) < 65_536):
        raise ValueError(f"expected host:port, such as 127.0.0.1:50051, not {value!r}")
    return value


def _default_data_dir() -> Path:
    # Root's home is closed to the unprivileged user that the embedded PostgreSQL must run as.
    if os.geteuid() == 0:
        return Path("/var/lib/evs")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "evs"


Address = Annotated[str, AfterValidator(_host_and_port)]


class Settings(BaseSettings):
    """
    Everything an operator may set. Each field is the variable ``EVS_<FIELD>``.

    Raises:
        ConfigError: From ``load``, with every problem at once.
    """

    model_config = SettingsConfigDict(env_prefix="EVS_", extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr | None = Field(None, description="PostgreSQL to use; absent: an embedded one")
    data_dir: Path = Field(
        default_factory=_default_data_dir, description="embedded database, spool and development keys"
    )
    spool_bytes: int = Field(
        2**30, ge=2**20, description="size of the spool, which keeps what a database that is away cannot take"
    )
    listen: Address = Field("127.0.0.1:50051", description="gRPC, for everyone")
    ingest_listen: Address | None = Field(
        None, description="gRPC, for senders alone; absent: they share the first listener"
    )
    bridge_listen: Address = Field("127.0.0.1:8081", description="websocket and page")
    metrics_listen: Address = Field("127.0.0.1:9464", description="reserved for metrics; nothing listens there yet")
    server: Address = Field("127.0.0.1:50051", description="where bridge, clients and commands find EVS")
    jwt_secret_file: Path | None = Field(
        None, description="key that signs tokens; absent: a development key in the data directory"
    )
    session_timezone: str = Field("UTC", description="time zone of the session roll")
    session_roll: time = Field(time(0, 0), description="when the session rolls, HH:MM in that zone")
    stale_price_seconds: int = Field(86_400, ge=1, description="age at which a mark is flagged STALE_PRICE")
    heartbeat_seconds: float = Field(15.0, gt=0, le=3_600, description="silence after which a stream sends a heartbeat")
    takeover_seconds: int = Field(
        10, ge=1, le=3_600, description="silence after which an EVS that leads is replaced by one that waits"
    )
    push_per_second: float = Field(
        4.0, gt=0, le=1_000, description="equity frames a second that the bridge sends for one account"
    )
    origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="further origins, comma-separated, whose pages may open the websocket"
    )
    reconcile_seconds: int = Field(
        300, ge=0, description="between two checks against the exchange's tables; 0 is never"
    )
    reconcile_grace_seconds: float = Field(
        30.0, gt=0, le=600, description="how long a difference must stand before it counts"
    )
    reconcile_repair: bool = Field(
        False, description="whether the checks correct what they can explain, or only report"
    )
    retention_days: int = Field(400, ge=0, description="age at which a month of history is dropped; 0 is never")
    reconcile_cents_max: int = Field(
        100_000_000, ge=0, description="most money in cents that one check may correct; beyond it nothing is"
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least severity that is logged")

    @field_validator("session_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"unknown time zone {value!r}; expected a name such as America/New_York")
        return value

    @field_validator("origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def zone(self) -> ZoneInfo:
        """The session's time zone."""
        return ZoneInfo(self.session_timezone)


def load(**overrides: object) -> Settings:
    """
    The settings of this process: overrides given on the command line, then the environment, then defaults.

    Raises:
        ConfigError: With one line per problem.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = [
            f"EVS_{'.'.join(str(part) for part in problem['loc']).upper()}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise ConfigError("\n".join(problems)) from None
