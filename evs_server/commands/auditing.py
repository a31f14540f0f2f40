"""
The commands that hold numbers against each other: a replay's, and those of the exchange's tables.

Lives here: arguments, what is printed, exit statuses. Not here: how numbers are compared, imported inside each.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from evs_server.commands.settings import load_quiet_settings, say
from evs_server.limits import EXACT_MAX
from evs_server.stopping import run_until_signal, unless_stopped


def replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Zip of trade prints.")],
    accounts: Annotated[int, typer.Option(min=1, metavar="N", help="How many accounts trade.")] = 200,
    tick_ms: Annotated[int, typer.Option(min=1, metavar="MS", help="Length of a tick in market time.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Decides who trades with whom.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="A summary for programs; no progress bar.")] = False,
    tamper: Annotated[bool, typer.Option("--tamper", help="Alter one position; the audit must find it.")] = False,
    server: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="EVS to use; absent: one of its own.")] = None,
    ingest_server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where that one takes events, if at another address.")
    ] = None,
) -> None:
    """
    Send real trade prints through everything, then audit.

    FILE is a zip of ticks in LEAN's format, and its place says what it holds: .../SYMBOL/YYYYMMDD_trade.zip. The LEAN
    repository (github.com/QuantConnect/Lean) has some in Data/equity/usa/tick. Several are merged by time.

    Each print is settled between two of N accounts, EVS is told in batches, and at the end every account is compared:
    the fold of its trades with what EVS holds and with what PostgreSQL holds. Ends with status 1 if anything differs,
    and with 2 if a file cannot be used, before anything is applied.

    An EVS that is named with --server should be one that nobody else trades on: the accounts, trades and prices of the
    replay stay in its database. One that the replay runs itself is told of sessions, stale prices and the log what the
    environment says; all other settings have no say in it.

    Settings: EVS_SERVER (as --server), EVS_INGEST_SERVER (as --ingest-server), EVS_DATABASE_URL (absent: a database of
    its own, gone afterwards); of an EVS that asks who calls: EVS_SERVER_CA_FILE, EVS_CLIENT_CERT_FILE,
    EVS_CLIENT_KEY_FILE, EVS_TOKEN_FILE or EVS_JWT_SECRET_FILE; for one of its own: EVS_SESSION_TIMEZONE,
    EVS_SESSION_ROLL, EVS_STALE_PRICE_SECONDS, EVS_LOG_LEVEL, EVS_LOG_FORMAT
    """
    settings = load_quiet_settings(server=server, ingest_server=ingest_server)
    from evs_server.exchange.replay import ReplayOptions, run_replay
    from evs_server.exchange.venue import serve_beside

    options = ReplayOptions(files=files, accounts=accounts, tick_ms=tick_ms, seed=seed, tamper=tamper, json=json)
    good = run_until_signal(lambda stop: unless_stopped(stop, run_replay(options, settings, serve_beside)))
    if good is None:
        typer.echo("evs: stopped before the end", err=True)
    if not good:
        raise typer.Exit(1)


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
    settings = load_quiet_settings()
    from evs_server.reconcile.command import ask_reconcile

    answer = asyncio.run(ask_reconcile(settings, repair=repair, as_json=json))
    say("\n".join(answer.lines))
    if not answer.good:
        raise typer.Exit(1)


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
    settings = load_quiet_settings()
    from evs_server.reconcile.command import ask_recompute

    answer = asyncio.run(ask_recompute(settings, accounts, apply=apply, as_json=json))
    say("\n".join(answer.lines))
    if not answer.good:
        raise typer.Exit(1)
