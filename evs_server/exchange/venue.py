"""
Which EVS a replay is of: the one that is named, or one of its own, with a database of its own if need be.

Lives here: finding or running them, and what one of its own is told. Not here: what is done with them (``replay``), the
directory that it works in (``scratch``). Touches processes and files.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr

from evs_server.config import Settings, without_keys
from evs_server.errors import ConfigError
from evs_server.exchange.scratch import POSTGRES, scratch_directory
from evs_server.program import Program, environment_without_settings, how_it_ended
from evs_server.store.embedded import EmbeddedPostgres, running_database
from evs_server.store.leader import leader_of
from evs_server.store.migrate import migrate

ANY_PORT: Final = "127.0.0.1:0"

HANDED_ON: Final = ("session_timezone", "session_roll", "stale_price_seconds", "log_level", "log_format")
"""Settings of the caller's that an EVS of the replay's own has, too."""


class Ending(asyncio.Event):
    """
    Set if an EVS ends before it is told to.

    Attributes:
        words: How it has ended.
    """

    words = ""


class Served(NamedTuple):
    """An EVS that serves: where, and its end."""

    address: str
    ending: Ending


ServeEvs = Callable[[Settings, bool], AbstractAsyncContextManager[Served]]
"""
Runs EVS with some settings, as long as the context; yields once it serves.

Told whether its database is thrown away with it: then it need not store anything when it ends.
"""


class Venue(NamedTuple):
    """
    An EVS to replay against.

    Attributes:
        settings: What to call it with.
        dsn: The database that it uses.
        ending: Its end; never, if it is not the replay's own.
    """

    settings: Settings
    dsn: str
    ending: Ending


@asynccontextmanager
async def open_venue(settings: Settings, serve: ServeEvs) -> AsyncIterator[Venue]:
    """
    The EVS that is named and the database that it uses, or one of our own, for as long as the context.

    Raises:
        ConfigError: If an EVS is named and not its database, another one leads on the database of our own, or that
            does not start.
        StoreUnavailable: If that database is away, or does not let us in.
    """
    if "server" in settings.model_fields_set:
        dsn = running_database(settings)
        if dsn is None:
            raise ConfigError(
                f"EVS at {settings.server} is to be used, but not which database it uses: set EVS_DATABASE_URL, or"
                " EVS_DATA_DIR if it runs the embedded one"
            )
        yield Venue(settings, dsn, Ending())
        return
    with scratch_directory() as directory:
        own = {
            "listen": ANY_PORT,
            "ingest_listen": None,
            "metrics_listen": None,
            "data_dir": directory,
        }
        async with _database(settings, directory) as dsn:
            own_settings = without_keys(settings).model_copy(update=own | {"database_url": SecretStr(dsn)})
            async with serve(own_settings, settings.database_url is None) as served:
                called = own_settings.model_copy(update={"server": served.address, "ingest_server": None})
                yield Venue(called, dsn, served.ending)


@asynccontextmanager
async def serve_beside(own: Settings, thrown_away: bool) -> AsyncIterator[Served]:
    """
    ``evs serve`` as a process of its own, as in earnest: it and the exchange share no interpreter.

    Of the caller's settings it has those that say what a valuation is, and how a log line is written (``HANDED_ON``).
    The others are the installation's, and left alone: by some it would store less than the audit expects. What else is
    in the environment is handed on.

    Raises:
        ConfigError: If it does not start.
    """
    evs = Program("serve", environment_without_settings() | told(own), own.data_dir)
    ending = Ending()

    def on_end(end: asyncio.Task[int]) -> None:
        ending.words = how_it_ended(end.result())
        ending.set()

    try:
        await evs.start()
        address = await evs.ready()
        # Kept by name: the loop alone keeps no task alive.
        end = asyncio.create_task(evs.wait(), name="replay's EVS")
        end.add_done_callback(on_end)
        yield Served(address, ending)
    finally:
        await (evs.kill() if thrown_away else evs.stop())


def told(own: Settings) -> dict[str, str]:
    """All the settings that an EVS of the replay's own is told, by the names of their variables."""
    assert own.database_url is not None
    return {
        "EVS_DATABASE_URL": own.database_url.get_secret_value(),
        "EVS_DATA_DIR": str(own.data_dir),
        "EVS_LISTEN": own.listen,
        "EVS_METRICS_LISTEN": own.metrics_listen or "",
        "EVS_RETENTION_DAYS": "0",  # what is replayed is old, and a database that is given keeps what it has
        **{f"EVS_{name.upper()}": str(getattr(own, name)) for name in HANDED_ON},
    }


@asynccontextmanager
async def _database(settings: Settings, directory: Path) -> AsyncIterator[str]:
    if settings.database_url is not None:
        dsn = settings.database_url.get_secret_value()
        await _refuse_led(dsn)
        yield dsn
        return
    # It is thrown away: nothing need survive a crash of the machine.
    async with EmbeddedPostgres(directory / POSTGRES, durable=False) as dsn:
        await migrate(dsn)
        yield dsn


async def _refuse_led(dsn: str) -> None:
    """Raise ConfigError if an EVS leads on a database: one of our own would only wait there."""
    leader = await leader_of(dsn)
    if leader is not None:
        raise ConfigError(
            f"{leader or 'another EVS'} leads on this database: name it with --server, or set EVS_DATABASE_URL to"
            " another database"
        )
