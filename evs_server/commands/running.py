"""
The commands that stay until they are stopped: EVS, the bridge, the demo.

Lives here: arguments, signals, what is printed. Not here: what they run, imported inside each.
"""

from typing import Annotated

import typer

from evs_server.commands.settings import load_quiet_settings, load_settings, say
from evs_server.stopping import run_until_signal


def serve() -> None:
    """
    Run EVS: take events, value accounts, stream and store.

    Prints one line with "ready" and the gRPC address once ingest is served; until then health answers NOT_SERVING, also
    while PostgreSQL is not there, and while another EVS leads on the same database: this one takes over when that ends.
    SIGTERM or Ctrl-C stops it in order, storing what has been applied; a second one ends it at once.

    With a key, client certificates or an address that others can reach, each caller has the roles of its token,
    certificate or socket; otherwise every caller has every role. Plain text does not leave this machine unless
    EVS_ALLOW_PLAINTEXT says so.

    Settings: EVS_DATABASE_URL, EVS_DATA_DIR, EVS_SPOOL_BYTES, EVS_PERSIST, EVS_PERSIST_SECONDS, EVS_RETENTION_DAYS,
    EVS_THIN_AFTER_DAYS, EVS_LISTEN, EVS_INGEST_LISTEN, EVS_METRICS_LISTEN, EVS_SOCKET_MODE, EVS_CONNECTIONS_MAX,
    EVS_JWT_SECRET_FILE, EVS_REVOKED_TOKENS_FILE, EVS_CLIENT_ROLES, EVS_TLS_CERT_FILE, EVS_TLS_KEY_FILE,
    EVS_TLS_CLIENT_CA_FILE, EVS_ALLOW_PLAINTEXT, EVS_SESSION_TIMEZONE, EVS_SESSION_ROLL, EVS_STALE_PRICE_SECONDS,
    EVS_HEARTBEAT_SECONDS, EVS_TAKEOVER_SECONDS, EVS_READY_LAG_SECONDS, EVS_RECONCILE_SECONDS,
    EVS_RECONCILE_GRACE_SECONDS, EVS_RECONCILE_REPAIR, EVS_RECONCILE_CENTS_MAX, EVS_TRACES_ENDPOINT, EVS_TRACES_RATIO,
    EVS_LOG_LEVEL, EVS_LOG_FORMAT
    """
    settings = load_settings()
    from evs_server.app import run_application

    run_until_signal(lambda stop: run_application(settings, stop, say), fast_loop=True)


def bridge(demo: Annotated[bool, typer.Option("--demo", hidden=True)] = False) -> None:
    """
    Run the bridge: a websocket for browsers, and a page.

    A process of its own, and any number of them: each is a gRPC client of EVS. The socket is at /ws, the page at /.

    Settings: EVS_BRIDGE_LISTEN, EVS_SERVER, EVS_JWT_SECRET_FILE (or EVS_DATA_DIR for the development key),
    EVS_TLS_CERT_FILE, EVS_TLS_KEY_FILE, EVS_SERVER_CA_FILE, EVS_CLIENT_CERT_FILE, EVS_CLIENT_KEY_FILE,
    EVS_TOKEN_FILE, EVS_ALLOW_PLAINTEXT, EVS_ORIGINS, EVS_TRUSTED_PROXIES, EVS_PUSH_PER_SECOND,
    EVS_BRIDGE_METRICS_LISTEN, EVS_LOG_LEVEL, EVS_LOG_FORMAT
    """
    settings = load_settings()
    if demo:
        from evs_server.demo.parts import run_demo_bridge

        run_until_signal(lambda stop: run_demo_bridge(settings, stop, say))
        return
    from evs_server.bridge.server import run_bridge

    run_until_signal(lambda stop: run_bridge(settings, stop))


def demo() -> None:
    """
    Run everything here, with a small exchange that trades.

    PostgreSQL, EVS, the bridge and the exchange: stays in the foreground and says what to open and what to try. Ctrl-C
    stops all of it. The exchange's accounts are kept in the embedded database; EVS_DATABASE_URL is left alone.

    Keys and certificates are left alone, too: all of it is for this machine only.

    Settings: EVS_DATA_DIR, EVS_LISTEN, EVS_BRIDGE_LISTEN, EVS_METRICS_LISTEN, EVS_BRIDGE_METRICS_LISTEN, EVS_LOG_LEVEL
    """
    settings = load_quiet_settings()
    from evs_server.demo.alone import run_demo

    run_until_signal(lambda stop: run_demo(settings, stop, say))
