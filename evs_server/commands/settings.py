"""
What the commands read before they work, and how they speak: settings, log, standard output.

Lives here: the list of settings that ``evs --help`` shows. Not here: what a setting means to the code (``config``).
"""

import logging
import os
from typing import TYPE_CHECKING, Final

import typer

from evs_server.output import answering_if_open

if TYPE_CHECKING:
    from evs_server.config import Settings

log = logging.getLogger(__name__)

SETTINGS: Final = """\b
Ends with status 0 when done, 1 when a problem was found or the work could
not be finished, 2 when settings or input cannot be used.

\b
Settings are environment variables; each has a default.
Where data is:
  EVS_DATABASE_URL         PostgreSQL to use (absent: an embedded one)
  EVS_DATA_DIR             embedded database, spool, development keys
  EVS_SPOOL_BYTES          disk for what a database that is away
                           cannot take (1073741824)
  EVS_PERSIST              which valuations are stored: every_tick, interval
                           or on_trade (every_tick)
  EVS_PERSIST_SECONDS      length of an interval (60)
  EVS_RETENTION_DAYS       age at which a month of history is dropped;
                           0 is never (400)
  EVS_THIN_AFTER_DAYS      age at which a month of history is thinned
                           to minutes; 0 is never (0)
Addresses:
  EVS_LISTEN               gRPC (127.0.0.1:50051)
  EVS_INGEST_LISTEN        gRPC for senders alone (absent: they share it)
  EVS_BRIDGE_LISTEN        websocket and page (127.0.0.1:8081)
  EVS_METRICS_LISTEN       /metrics, /livez and /readyz of EVS
                           (127.0.0.1:9464)
  EVS_BRIDGE_METRICS_LISTEN
                           the same of the bridge (127.0.0.1:9465)
  EVS_SERVER               where bridge and commands find EVS
                           (127.0.0.1:50051)
  EVS_INGEST_SERVER        where commands send events to (absent: there, too)
  EVS_ORIGINS              further origins whose pages may open the socket
  EVS_TRUSTED_PROXIES      addresses of proxies before the bridge, which say
                           whose a socket is (X-Forwarded-For)
  EVS_CONNECTIONS_MAX      gRPC connections at one time of each listener
                           (4096)
  EVS_SOCKET_MODE          who may open a unix: socket, 0600 or 0660 (0600)
Who may call, and encryption:
  EVS_JWT_SECRET_FILE      key that signs tokens (absent: one made for
                           development)
  EVS_REVOKED_TOKENS_FILE  ids of tokens taken back before their end
  EVS_CLIENT_ROLES         roles of certificates, NAME=ROLE,NAME=ROLE+ROLE
  EVS_TOKEN_FILE           token that bridge and commands show EVS
                           (absent: they sign their own)
  EVS_TLS_CERT_FILE        certificate of EVS and bridge (absent: plain text)
  EVS_TLS_KEY_FILE         its key
  EVS_TLS_CLIENT_CA_FILE   whose certificates senders must show
                           (absent: nobody's)
  EVS_SERVER_CA_FILE       who signs EVS's certificate: it is then called
                           by TLS
  EVS_CLIENT_CERT_FILE     certificate that bridge and commands show EVS
  EVS_CLIENT_KEY_FILE      its key
  EVS_ALLOW_PLAINTEXT      whether plain text may leave this machine (false)
Valuation and streams:
  EVS_SESSION_TIMEZONE     time zone of the session roll (UTC)
  EVS_SESSION_ROLL         when the session rolls, HH:MM there (00:00)
  EVS_STALE_PRICE_SECONDS  age at which a price is flagged as stale (86400)
  EVS_HEARTBEAT_SECONDS    silence after which a stream says it is alive (15)
  EVS_PUSH_PER_SECOND      equity frames a second for one account (4)
A cluster, of "evs gateway" and "evs shard":
  EVS_NATS_URL             NATS that keeps its log
  EVS_NATS_CREDS_FILE      credentials of a user of that NATS
  EVS_NATS_CA_FILE         who signs its certificates (absent: whom the
                           system trusts)
  EVS_NATS_REPLICAS        how many of its servers keep the log: 1, 3 or 5 (1)
  EVS_LOG_MAX_AGE_DAYS     how long the log is kept (7)
Running it:
  EVS_TAKEOVER_SECONDS     silence after which another EVS takes over (10)
  EVS_READY_LAG_SECONDS    how long storing may lag before EVS is not ready
                           (600)
  EVS_LOG_LEVEL            DEBUG, INFO, WARNING or ERROR (INFO)
  EVS_LOG_FORMAT           text or json (text)
  EVS_TRACES_ENDPOINT      OTLP collector, by gRPC, for traces (absent: none)
  EVS_TRACES_RATIO         share of the calls that are traced, of those whose
                           callers leave it open (1.0)
  EVS_RECONCILE_SECONDS    between two checks against the exchange's tables;
                           0 is never (300)
  EVS_RECONCILE_GRACE_SECONDS
                           how long a difference must stand before it counts
                           (30)
  EVS_RECONCILE_REPAIR     whether those checks correct, or only report
                           (false)
  EVS_RECONCILE_CENTS_MAX  most money in cents that one check may correct
                           (100000000)
"""


def load_settings(**overrides: object) -> "Settings":
    """
    The settings of this process, by which logging is set up; warns of variables that look like one and are none.

    Raises:
        ConfigError: With one line per problem.
    """
    # Pydantic alone costs a fifth of a second: not for `evs --help`.
    from evs_server import config, telemetry

    settings = config.load(**overrides)
    telemetry.configure(settings.log_level, settings.log_format)
    for warning in config.unknown_variables(os.environ).values():
        log.warning("%s", warning)
    return settings


def load_quiet_settings(**overrides: object) -> "Settings":
    """The same for a command whose answer is what it prints: only warnings are logged, unless more is asked for."""
    return load_settings(**overrides, log_level=os.environ.get("EVS_LOG_LEVEL", "WARNING"))


def say(line: str) -> None:
    """Print one line, at once; nobody hears it if standard output is closed, as it is of some who serve."""
    with answering_if_open():
        typer.echo(line)
