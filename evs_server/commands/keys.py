"""
The commands that make what proves who somebody is: tokens, and certificates for development.

Lives here: arguments, and what is printed. Not here: how anything is signed (``tokens``, ``authority``).
"""

from pathlib import Path
from typing import Annotated

import typer

from evs_server.commands.settings import load_settings, say
from evs_server.errors import InputError
from evs_server.limits import EXACT_MAX
from evs_server.roles import Role


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
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tell its id, to standard error.")] = False,
) -> None:
    """
    Print a token, for a browser's account or a program.

    EVS and a bridge with the same settings accept it. Nothing else is printed: "evs token --name risk --role read:any >
    token" makes a file for EVS_TOKEN_FILE. By its id (--verbose), put into EVS_REVOKED_TOKENS_FILE, it is taken back.

    Settings: EVS_JWT_SECRET_FILE (absent: a development key in EVS_DATA_DIR)
    """
    if (account is None) is (name is None):
        raise InputError("a token is for an account or for a program: give --account or --name, one of them")
    if name is not None and name.isdigit():
        raise InputError(f"--name {name} is a number, as only accounts have: give --account {name}, or another name")
    if not (role or account):
        raise InputError("a program's token needs at least one --role: ingest, read:any or admin")
    settings = load_settings()
    from evs_server import tokens

    token_id = tokens.new_id()
    try:
        signed = tokens.sign(
            tokens.read_key(settings), name or str(account), role or [Role.READ_OWN], ttl, token_id=token_id
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    say(signed)
    if verbose:
        typer.echo(f"id {token_id}", err=True)


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
    say(f"EVS_TLS_CERT_FILE={certificate}\nEVS_TLS_KEY_FILE={key}\nEVS_SERVER_CA_FILE={authority.certificate_file}")
    for each in client or []:
        certificate, key = authority.sign_client(each, days)
        say(f"EVS_CLIENT_CERT_FILE={certificate}\nEVS_CLIENT_KEY_FILE={key}")
    if client:
        say(f"EVS_TLS_CLIENT_CA_FILE={authority.certificate_file}")
