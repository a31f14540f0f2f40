"""
Settings, read from ``EVS_*`` by whoever builds ``Settings`` (the command line), checked as a whole.

Lives here: names, defaults, units, ranges. Not here: bounds that no operator may change (``limits``).
"""

import os
import re
from collections.abc import Mapping
from datetime import time
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from evs_server.errors import ConfigError
from evs_server.roles import Role, parse_roles


def _host_and_port(value: str) -> str:
    if value.startswith("unix:"):
        return value
    host, colon, port = value.rpartition(":")
    if not (colon and host and port.isdigit() and int(port) < 65_536):
        raise ValueError(f"expected host:port, such as 127.0.0.1:50051, not {value!r}")
    return value


def _collector(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.port or value != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"expected http://host:port or https://host:port, not {value!r}")
    return value


def _replica_count(value: int) -> int:
    if value not in {1, 3, 5}:
        raise ValueError(f"expected 1, 3 or 5, not {value}: an even number of servers survives no more than one less")
    return value


def _default_data_dir() -> Path:
    # Root's home is closed to the unprivileged user that the embedded PostgreSQL must run as.
    if os.geteuid() == 0:
        return Path("/var/lib/evs")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "evs"


Address = Annotated[str, AfterValidator(_host_and_port)]

OptionalAddress = Annotated[Address | None, BeforeValidator(lambda value: value or None)]
"""An address, or empty for none."""


EMPTY_IS_NONE: Final = frozenset({"metrics_listen", "bridge_metrics_listen"})
"""Fields that have a default, and for which empty says that it is not wanted; of all others empty is absent."""

ORIGIN: Final = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?")
"""How browsers write where a page is from."""


PREFIX: Final = "EVS_"

NO_SETTINGS: Final = frozenset(
    f"{PREFIX}{name}" for name in ("FAILPOINT", "SEED", "SEEDS", "HYPOTHESIS_PROFILE", "TEST_PRINTS", "BENCH_PRINTS")
)
"""Variables of tests and benchmarks, which what they start may be given as well."""


class Settings(BaseSettings):
    """
    Everything an operator may set. Each field is the variable ``EVS_<FIELD>``.

    Raises:
        ConfigError: From ``load``, with every problem at once.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

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
    metrics_listen: OptionalAddress = Field(
        "127.0.0.1:9464", description="metrics and health of EVS by HTTP, /metrics, /livez, /readyz; empty: none"
    )
    bridge_metrics_listen: OptionalAddress = Field("127.0.0.1:9465", description="the same of the bridge")
    server: Address = Field("127.0.0.1:50051", description="where bridge, clients and commands find EVS")
    ingest_server: OptionalAddress = Field(
        None, description="where commands send events to, of an EVS with EVS_INGEST_LISTEN; absent: EVS_SERVER"
    )
    jwt_secret_file: Path | None = Field(
        None, description="key that signs tokens; absent: a development key in the data directory"
    )
    revoked_tokens_file: Path | None = Field(
        None, description="tokens taken back before their end, the `jti` of one a line; read again when it changes"
    )
    token_file: Path | None = Field(
        None, description="token that bridge and commands show EVS; absent: they sign one with the key, if they have it"
    )
    tls_cert_file: Path | None = Field(
        None, description="PEM certificate, with its chain, of EVS and of the bridge; absent: plain text"
    )
    tls_key_file: Path | None = Field(None, description="PEM key of that certificate")
    tls_client_ca_file: Path | None = Field(
        None, description="PEM certificates of whoever signs senders' certificates, which are then asked for"
    )
    client_roles: Annotated[Mapping[str, frozenset[Role]], NoDecode] = Field(
        {}, description="roles of certificates by their name, such as execution-manager=ingest,risk=read:any+admin"
    )
    server_ca_file: Path | None = Field(
        None, description="PEM certificates of whoever signs EVS's; bridge and commands then call it by TLS"
    )
    client_cert_file: Path | None = Field(None, description="PEM certificate that bridge and commands show EVS")
    client_key_file: Path | None = Field(None, description="PEM key of that certificate")
    allow_plaintext: bool = Field(
        False, description="whether plain text may leave this machine, for networks that encrypt by themselves"
    )
    socket_mode: Literal["0600", "0660"] = Field("0600", description="who may open a unix: socket of EVS: owner, group")
    connections_max: int = Field(4_096, ge=1, description="gRPC connections at one time of each listener")
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
        (),
        description="further origins, comma-separated, whose pages may open the websocket, such as https://app.example",
    )
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), description="proxies before the bridge, comma-separated, whose X-Forwarded-For says whose a socket is"
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
    thin_after_days: int = Field(
        0, ge=0, description="age at which a month of history is thinned to minutes; 0 is never"
    )
    persist: Literal["every_tick", "interval", "on_trade"] = Field(
        "every_tick",
        description="which valuations are stored: all; those of `on_trade` and the last of each interval; or those that"
        " changed more than the worth of positions, the last of each session, and all at its roll",
    )
    persist_seconds: int = Field(60, ge=1, le=3_600, description="length of those intervals")
    reconcile_cents_max: int = Field(
        100_000_000, ge=0, description="most money in cents that one check may correct; beyond it nothing is"
    )
    ready_lag_seconds: int = Field(
        600, ge=1, description="how long what is applied may wait to be stored before EVS counts as not ready"
    )
    traces_endpoint: Annotated[str, AfterValidator(_collector)] | None = Field(
        None, description="OTLP collector by gRPC, such as http://127.0.0.1:4317, for traces; absent: none are made"
    )
    traces_ratio: float = Field(
        1.0, ge=0, le=1, description="share of the calls that are traced, of those whose callers leave it open"
    )
    nats_url: SecretStr | None = Field(
        None, description="NATS that keeps the log of gateways and shards, such as nats://a:4222,nats://b:4222"
    )
    nats_creds_file: Path | None = Field(None, description="credentials of a user of that NATS, as its tools make them")
    nats_ca_file: Path | None = Field(
        None, description="PEM certificates of whoever signs those of that NATS; absent: whom the system trusts"
    )
    nats_replicas: Annotated[int, AfterValidator(_replica_count)] = Field(
        1, description="servers of that NATS that keep a copy of the log each: 1, 3 or 5"
    )
    log_max_age_days: int = Field(
        7, ge=1, le=3_650, description="how long the log is kept: longer than any outage of a shard or of its database"
    )
    log_format: Literal["text", "json"] = Field("text", description="how a log line is written")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severity that is logged")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, given: object) -> object:
        # Files of settings, and compose files, set empty ones all the time.
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value != "" or name in EMPTY_IS_NONE}

    @field_validator("session_timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"unknown time zone {value!r}; expected a name such as America/New_York")
        return value

    @field_validator("origins", mode="before")
    @classmethod
    def _parse_origins(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        origins = tuple(part.strip().lower() for part in value.split(",") if part.strip())
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                # Any other would match no browser, and nobody would see why.
                raise ValueError(
                    f"expected scheme://host or scheme://host:port, as https://app.example, not {origin!r}"
                )
        return origins

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _parse_networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        networks = []
        for part in filter(None, (part.strip() for part in value.split(","))):
            try:
                networks.append(ip_network(part))
            except ValueError:
                raise ValueError(f"expected addresses or networks such as 10.0.0.0/8, not {part!r}") from None
        return tuple(networks)

    @field_validator("client_roles", mode="before")
    @classmethod
    def _parse_roles(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        roles = {}
        for entry in filter(None, (part.strip() for part in value.split(","))):
            # A name may be a URI with an equals sign in it; a role has none.
            name, equals, words = entry.rpartition("=")
            if not (equals and name and words):
                raise ValueError(f"expected NAME=ROLE or NAME=ROLE+ROLE, not {entry!r}")
            roles[name.removeprefix("CN=")] = parse_roles(words.split("+"))
        return roles

    @model_validator(mode="after")
    def _files_go_together(self) -> Self:
        for one, other in (("tls_cert_file", "tls_key_file"), ("client_cert_file", "client_key_file")):
            if (getattr(self, one) is None) is not (getattr(self, other) is None):
                raise ValueError(f"EVS_{one.upper()} and EVS_{other.upper()} go together; set both or neither")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("EVS_TLS_CLIENT_CA_FILE needs EVS_TLS_CERT_FILE: certificates are shown by TLS only")
        if self.client_roles and self.tls_client_ca_file is None:
            raise ValueError("EVS_CLIENT_ROLES needs EVS_TLS_CLIENT_CA_FILE, which says whose certificates count")
        if self.client_cert_file is not None and self.server_ca_file is None:
            raise ValueError("EVS_CLIENT_CERT_FILE needs EVS_SERVER_CA_FILE: certificates are shown by TLS only")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The session's time zone."""
        return ZoneInfo(self.session_timezone)


KEYS_AND_CERTIFICATES: Final = (
    "jwt_secret_file",
    "revoked_tokens_file",
    "token_file",
    "tls_cert_file",
    "tls_key_file",
    "tls_client_ca_file",
    "client_roles",
    "server_ca_file",
    "client_cert_file",
    "client_key_file",
    "allow_plaintext",
)
"""Fields that say who may call and how it is encrypted."""


def without_keys(settings: Settings) -> Settings:
    """The same settings as if none of keys and certificates were set: for an EVS that only its own process calls."""
    return settings.model_copy(
        update={name: Settings.model_fields[name].get_default() for name in KEYS_AND_CERTIFICATES}
    )


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
        # One that is missing may be there under a name that is mistyped.
        problems = [*map(_in_words, error.errors()), *unknown_variables(os.environ).values()]
        raise ConfigError("\n".join(problems)) from None


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """
    What begins like a setting and is none, by name: a line that says so, with the nearest setting, never with a value.

    No mistake are settings of another of our programs, what tests and benchmarks read, and what Kubernetes tells each
    pod of a service whose name begins with ``evs``: EVS_SERVICE_HOST and, beside it, EVS_SERVICE_... and EVS_PORT...
    """
    known = [name.upper() for name in Settings.model_fields]
    given = sorted(name for name in environment if name.upper().startswith(PREFIX))
    services = [name.removesuffix("SERVICE_HOST") for name in given if name.endswith("_SERVICE_HOST")]
    told = tuple(f"{service}{part}" for service in services for part in ("SERVICE_", "PORT"))
    unknown = {}
    for name in given:
        word = name.upper().removeprefix(PREFIX)
        if word in known or name in NO_SETTINGS or name.startswith(told):
            continue
        nearest = get_close_matches(word, known, n=1)
        hint = f"is {PREFIX}{nearest[0]} meant?" if nearest else "`evs --help` lists those there are"
        unknown[name] = f"{name} is no setting of EVS, and changes nothing: {hint}"
    return unknown


def _in_words(problem: ErrorDetails) -> str:
    place, ours = problem["loc"], problem["type"] == "value_error"
    said = problem["msg"].removeprefix("Value error, ")
    if not place:
        return said  # a problem of several settings together names them itself
    if not ours and place[0] != "database_url":  # our own words name the value where it may be named
        said = f"{said[:1].lower()}{said[1:]}, not {problem['input']!r}"
    return f"EVS_{'.'.join(str(part) for part in place).upper()}: {said}"
