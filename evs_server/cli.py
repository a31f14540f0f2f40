"""
The ``evs`` program: which commands there are, in which order help shows them, and the status a failure ends with.

Not here: what a command takes and prints (``commands``), and what it does; each hands over to the room that knows,
imported inside the command, so that ``evs --help`` answers at once.

Exit status: 0 done; 1 a problem was found, or the work could not be finished; 2 settings or input that cannot be used.
"""

import os
import sys
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from evs_server.commands.auditing import recompute, reconcile, replay
from evs_server.commands.cluster import adopt, demo_cluster, gateway
from evs_server.commands.keys import certs, token
from evs_server.commands.running import bridge, demo, serve
from evs_server.commands.settings import SETTINGS
from evs_server.commands.shard import shard
from evs_server.commands.upkeep import doctor, migrate
from evs_server.errors import ConfigError, EvsError, InputError
from evs_server.output import OutputLost, answering_if_open

DISTRIBUTION: Final = "equity-valuation-service"

COMMANDS: Final = (
    *(serve, bridge, demo),
    *(gateway, shard, adopt, demo_cluster),
    *(replay, migrate, token, certs, reconcile, recompute, doctor),
)
"""Each is called by its function's name; help shows them in this order."""


class _Command(TyperCommand):
    """A command that tells of the loss of its help: it is written while arguments are read."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with answering_if_open():
            return super().make_context(*args, **kwargs)


class _Commands(TyperGroup):
    """The same of all of them, and of the version."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with answering_if_open():
            return super().make_context(*args, **kwargs)


commands = typer.Typer(
    cls=_Commands,
    name="evs",
    help="Equity Valuation Service: what every account of an exchange is worth, once per tick, to the cent.",
    epilog=SETTINGS,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for _command in COMMANDS:
    commands.command(cls=_Command)(_command)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evs {version(DISTRIBUTION)}")
        raise typer.Exit


@commands.callback()
def _any_command(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command that was asked for; what EVS refuses on purpose is told in words, without a stack."""
    # gRPC's core writes lines of its own beside ours, one for each handshake that fails, and never as JSON.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        commands()
    except (ConfigError, InputError) as error:
        _complain(error)
        sys.exit(2)
    except (EvsError, OutputLost) as error:
        _complain(error)
        sys.exit(1)


def _complain(error: Exception) -> None:
    for line in str(error).splitlines():
        typer.echo(f"evs: {line}", err=True)


if __name__ == "__main__":
    main()
