"""
The ``evs`` commands: what they are called, what they take, what they print, and the status they end with.

Lives here: arguments, settings, signals, exit statuses. Not here: what a command does; each hands over to the room that
knows, imported inside the command, so that ``evs --help`` answers at once.

Exit status: 0 done; 1 a problem was found, or the work could not be finished; 2 settings or input that cannot be used.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from evs_server.errors import ConfigError, EvsError, InputError
from evs_server.limits import EXACT_MAX
from evs_server.roles import Role
from evs_server.stopping import run_until_signal, unless_stopped

if TYPE_CHECKING:
    from evs_server.config import Settings

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
  EVS_ORIGINS              further origins whose pages may open the socket
  EVS_CONNECTIONS_MAX      gRPC connections at one time of each listener
                           (4096)
  EVS_SOCKET_MODE          who may open a unix: socket, 0600 or 0660 (0600)
Who may call, and encryption:
  EVS_JWT_SECRET_FILE      key that signs tokens (absent: one made for
                           development)
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
Running it:
  EVS_TAKEOVER_SECONDS     silence after which another EVS takes over (10)
  EVS_READY_LAG_SECONDS    how long storing may lag before EVS is not ready
                           (600)
  EVS_LOG_LEVEL            DEBUG, INFO, WARNING or ERROR (INFO)
  EVS_LOG_FORMAT           text or json (text)
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

commands = typer.Typer(
    name="evs",
    help="Equity Valuation Service: what every account of an exchange is worth, once per tick, to the cent.",
    epilog=SETTINGS,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def main() -> None:
    """Run the command that was asked for; what EVS refuses on purpose is told in words, without a stack."""
    try:
        commands()
    except (ConfigError, InputError) as error:
        _complain(error)
        sys.exit(2)
    except EvsError as error:
        _complain(error)
        sys.exit(1)


@commands.command()
def serve() -> None:
    """
    Run EVS: take events, value accounts, stream and store.

    Prints one line with "ready" and the gRPC address once ingest is served; until then health answers NOT_SERVING, also
    while PostgreSQL is not there, and while another EVS leads on the same database: this one takes over when that ends.
    SIGTERM or Ctrl-C stops it in order, storing what has been applied; a second one ends it at once.

    With a key, client certificates or an address that others can reach, each caller has the roles of its token,
    certificate or socket; otherwise every caller has every role. Plain text does not leave this machine unless
    EVS_ALLOW_PLAINTEXT says so.

    Settings: EVS_DATABASE_URL, EVS_DATA_DIR, EVS_LISTEN, EVS_INGEST_LISTEN, EVS_METRICS_LISTEN, EVS_JWT_SECRET_FILE,
    EVS_TLS_CERT_FILE, EVS_TLS_KEY_FILE, EVS_TLS_CLIENT_CA_FILE, EVS_CLIENT_ROLES, EVS_SOCKET_MODE,
    EVS_CONNECTIONS_MAX, EVS_ALLOW_PLAINTEXT, EVS_SESSION_TIMEZONE, EVS_SESSION_ROLL, EVS_STALE_PRICE_SECONDS,
    EVS_HEARTBEAT_SECONDS, EVS_TAKEOVER_SECONDS, EVS_READY_LAG_SECONDS, EVS_LOG_LEVEL, EVS_LOG_FORMAT
    """
    settings = _load_settings()
    from evs_server.app import run_application

    run_until_signal(lambda stop: run_application(settings, stop, _say), fast_loop=True)


@commands.command()
def bridge(demo: Annotated[bool, typer.Option("--demo", hidden=True)] = False) -> None:
    """
    Run the bridge: a websocket for browsers, and a page.

    A process of its own, and any number of them: each is a gRPC client of EVS. The socket is at /ws, the page at /.

    Settings: EVS_BRIDGE_LISTEN, EVS_SERVER, EVS_JWT_SECRET_FILE (or EVS_DATA_DIR for the development key),
    EVS_TLS_CERT_FILE, EVS_TLS_KEY_FILE, EVS_SERVER_CA_FILE, EVS_CLIENT_CERT_FILE, EVS_CLIENT_KEY_FILE,
    EVS_TOKEN_FILE, EVS_ALLOW_PLAINTEXT, EVS_ORIGINS, EVS_PUSH_PER_SECOND, EVS_BRIDGE_METRICS_LISTEN, EVS_LOG_LEVEL,
    EVS_LOG_FORMAT
    """
    settings = _load_settings()
    if demo:
        from evs_server.demo import run_demo_bridge

        run_until_signal(lambda stop: run_demo_bridge(settings, stop, _say))
        return
    from evs_server.bridge.server import run_bridge

    run_until_signal(lambda stop: run_bridge(settings, stop))


@commands.command()
def demo() -> None:
    """
    Run everything here, with a small exchange that trades.

    PostgreSQL, EVS, the bridge and the exchange: stays in the foreground and says what to open and what to try. Ctrl-C
    stops all of it. The exchange's accounts are kept in the embedded database; EVS_DATABASE_URL is left alone.

    Keys and certificates are left alone, too: all of it is for this machine only.

    Settings: EVS_DATA_DIR, EVS_LISTEN, EVS_BRIDGE_LISTEN, EVS_METRICS_LISTEN, EVS_BRIDGE_METRICS_LISTEN, EVS_LOG_LEVEL
    """
    settings = _load_settings(log_level=os.environ.get("EVS_LOG_LEVEL", "WARNING"))
    from evs_server.demo import run_demo

    run_until_signal(lambda stop: run_demo(settings, stop, _say))


@commands.command()
def replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Zip of trade prints.")],
    accounts: Annotated[int, typer.Option(min=1, metavar="N", help="How many accounts trade.")] = 200,
    tick_ms: Annotated[int, typer.Option(min=1, metavar="MS", help="Length of a tick in market time.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Decides who trades with whom.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="A summary for programs; no progress bar.")] = False,
    tamper: Annotated[bool, typer.Option("--tamper", help="Alter one position; the audit must find it.")] = False,
    server: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="EVS to use; absent: one of its own.")] = None,
) -> None:
    """
    Send real trade prints through everything, then audit.

    FILE is a zip in LEAN's trade format, .../SYMBOL/YYYYMMDD_trade.zip; several are merged by time. Each print is
    settled between two of N accounts, EVS is told in batches, and at the end every account is compared: the fold of its
    trades with what EVS holds and with what PostgreSQL holds. Ends with status 1 if anything differs, and with 2 if a
    file cannot be used, before anything is applied.

    Settings: EVS_SERVER (as --server), EVS_DATABASE_URL (absent: a database of its own, gone afterwards)
    """
    settings = _load_settings(server=server, log_level=os.environ.get("EVS_LOG_LEVEL", "WARNING"))
    from evs_server.app import Application
    from evs_server.exchange.replay import ReplayOptions, run_replay

    @asynccontextmanager
    async def serving(own: "Settings") -> AsyncIterator[str]:
        async with Application(own) as app:
            await app.wait_ready()
            yield app.address

    options = ReplayOptions(files=files, accounts=accounts, tick_ms=tick_ms, seed=seed, tamper=tamper, json=json)
    good = run_until_signal(lambda stop: unless_stopped(stop, run_replay(options, settings, serving)))
    if good is None:
        typer.echo("evs: stopped before the end", err=True)
    if not good:
        raise typer.Exit(1)


@commands.command()
def migrate() -> None:
    """
    Bring the database's tables up to this version.

    "evs serve" does the same when it starts. Safe to run again, and at the same time from several places. Prints what
    was applied.

    Settings: EVS_DATABASE_URL (absent: the embedded database in EVS_DATA_DIR)
    """
    settings = _load_settings()
    from evs_server.store.embedded import open_database
    from evs_server.store.migrate import migrate as apply_migrations

    async def body() -> list[str]:
        async with open_database(settings) as dsn:
            return await apply_migrations(dsn)

    applied = asyncio.run(body())
    _say("\n".join(f"applied {name}" for name in applied) if applied else "nothing to apply: the tables are up to date")


@commands.command()
def token(
    account: Annotated[
        int | None, typer.Option(min=1, max=EXACT_MAX, metavar="ID", help="Account whose equity it shows; or --name.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Program that it is for; or --account.")] = None,
    role: Annotated[
        list[Role] | None,
        typer.Option(metavar="ROLE", help="Any of ingest, read:own, read:any, admin (with --account, read:own)."),
    ] = None,
    ttl: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long it is good for.")] = 3_600,
) -> None:
    """
    Print a token, for a browser's account or a program.

    EVS and a bridge with the same settings accept it. Nothing else is printed: "evs token --name risk --role read:any >
    token" makes a file for EVS_TOKEN_FILE.

    Settings: EVS_JWT_SECRET_FILE (absent: a development key in EVS_DATA_DIR)
    """
    if (account is None) is (name is None):
        raise InputError("a token is for an account or for a program: give --account or --name, one of them")
    if not (role or account):
        raise InputError("a program's token needs at least one --role: ingest, read:any or admin")
    settings = _load_settings()
    from evs_server import tokens

    try:
        _say(tokens.sign(tokens.read_key(settings), name or str(account), role or [Role.READ_OWN], ttl))
    except ValueError as error:
        raise InputError(str(error)) from None


@commands.command()
def certs(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where to put them; made if need be.")],
    host: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Names and addresses of the server (this machine's own).")
    ] = None,
    client: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Clients to make one for, by name.")] = None,
    days: Annotated[int, typer.Option(min=1, max=825, metavar="DAYS", help="How long they are good for.")] = 90,
) -> None:
    """
    Make certificates for development.

    Those of an authority, of the server, and of each client named. The authority, ca.pem, is made once and signs again
    when the command is repeated, so that more clients can follow and certificates be renewed. Not for a network that
    others can reach: its key lies beside it.

    Settings: none; prints those that use what was made.
    """
    from evs_server.authority import Authority

    authority = Authority(directory)
    certificate, key = authority.sign_server(host or ["localhost", "127.0.0.1", "::1"], days)
    _say(f"EVS_TLS_CERT_FILE={certificate}\nEVS_TLS_KEY_FILE={key}\nEVS_SERVER_CA_FILE={authority.certificate_file}")
    for each in client or []:
        certificate, key = authority.sign_client(each, days)
        _say(f"EVS_CLIENT_CERT_FILE={certificate}\nEVS_CLIENT_KEY_FILE={key}")
    if client:
        _say(f"EVS_TLS_CLIENT_CA_FILE={authority.certificate_file}")


@commands.command()
def reconcile(
    repair: Annotated[bool, typer.Option("--repair", help="Correct what can be explained.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """
    Compare the running EVS with the exchange's tables.

    Cash, and the quantity of each symbol, of every account that nothing is under way for. What differs is looked at
    again after EVS_RECONCILE_GRACE_SECONDS, since settlement takes a moment, and then reported with its cause. --repair
    books unannounced cash as a flow and applies trades that were never announced, each with a record in evs.correction;
    it corrects nothing if that would be too much. Ends with status 1 if a difference is left.

    Settings: EVS_SERVER, EVS_SERVER_CA_FILE, EVS_CLIENT_CERT_FILE, EVS_CLIENT_KEY_FILE, EVS_TOKEN_FILE or
    EVS_JWT_SECRET_FILE (and, of the EVS that answers: EVS_RECONCILE_GRACE_SECONDS, EVS_RECONCILE_CENTS_MAX)
    """
    settings = _load_settings(log_level=os.environ.get("EVS_LOG_LEVEL", "WARNING"))
    from evs_server.reconcile.command import ask_reconcile

    answer = asyncio.run(ask_reconcile(settings, repair=repair, as_json=json))
    _say("\n".join(answer.lines))
    if not answer.good:
        raise typer.Exit(1)


@commands.command()
def recompute(
    accounts: Annotated[list[int], typer.Argument(metavar="ACCOUNT", min=1, max=EXACT_MAX, help="Whose numbers.")],
    apply: Annotated[bool, typer.Option("--apply", help="Correct them; otherwise nothing is changed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """
    Rebuild accounts from their trades in the exchange's tables.

    Shows what would change of their positions and realized P&L. --apply makes it so, once the accounts have stood still
    for EVS_RECONCILE_GRACE_SECONDS, with a record in evs.correction; the net flow follows, so that equity and profit
    agree. The exchange's trades hold no fees: fees paid become part of the net flow. Ends with status 1 if something
    could not be changed.

    Settings: EVS_SERVER, EVS_SERVER_CA_FILE, EVS_CLIENT_CERT_FILE, EVS_CLIENT_KEY_FILE, EVS_TOKEN_FILE or
    EVS_JWT_SECRET_FILE (and, of the EVS that answers: EVS_RECONCILE_GRACE_SECONDS)
    """
    settings = _load_settings(log_level=os.environ.get("EVS_LOG_LEVEL", "WARNING"))
    from evs_server.reconcile.command import ask_recompute

    answer = asyncio.run(ask_recompute(settings, accounts, apply=apply, as_json=json))
    _say("\n".join(answer.lines))
    if not answer.good:
        raise typer.Exit(1)


@commands.command()
def doctor() -> None:
    """
    Say in words how this installation is.

    One line for each thing, and what to do about a problem. Looks at settings, addresses, the database and its tables,
    EVS itself, and how far each sender's events are stored. Changes nothing. Ends with status 1 if there is a problem.

    Settings: all of them.
    """
    settings = _load_settings()
    from evs_server.doctor import examine

    findings = asyncio.run(examine(settings))
    for finding in findings:
        _say(str(finding))
    if any(not finding.ok for finding in findings):
        raise typer.Exit(1)


def _load_settings(**overrides: object) -> "Settings":
    # Pydantic alone costs a fifth of a second: not for `evs --help`.
    from evs_server import config, telemetry

    settings = config.load(**overrides)
    telemetry.configure(settings.log_level, settings.log_format)
    return settings


def _say(line: str) -> None:
    typer.echo(line)


def _complain(error: EvsError) -> None:
    for line in error.message.splitlines():
        typer.echo(f"evs: {line}", err=True)


if __name__ == "__main__":
    main()
