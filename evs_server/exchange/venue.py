"""
Which EVS a replay is of: the one that is named, or one of its own, with a database of its own if need be.

Lives here: finding or running them. Not here: what is done with them (``replay``). Touches processes and files.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr

from evs_server.config import Settings, without_keys
from evs_server.errors import ConfigError
from evs_server.program import Program, environment
from evs_server.store.embedded import EmbeddedPostgres, running_database
from evs_server.store.migrate import migrate

ANY_PORT: Final = "127.0.0.1:0"


class Served(NamedTuple):
    """An EVS that serves: where, and what is set if it ends before it is told to."""

    address: str
    ended: asyncio.Event


ServeEvs = Callable[[Settings], AbstractAsyncContextManager[Served]]
"""Runs EVS with some settings, as long as the context; yields once it serves."""


class Venue(NamedTuple):
    """
    An EVS to replay against.

    Attributes:
        settings: What to call it with.
        dsn: The database that it uses.
        ended: Set if it ends before the replay; never, if it is not the replay's own.
    """

    settings: Settings
    dsn: str
    ended: asyncio.Event


@asynccontextmanager
async def open_venue(settings: Settings, serve: ServeEvs) -> AsyncIterator[Venue]:
    """
    The EVS that is named and the database that it uses, or one of our own, for as long as the context.

    Raises:
        ConfigError: If an EVS is named and not its database, or our own does not start.
    """
    if "server" in settings.model_fields_set:
        dsn = running_database(settings)
        if dsn is None:
            raise ConfigError(
                f"EVS at {settings.server} is to be used, but not which database it uses: set EVS_DATABASE_URL, or"
                " EVS_DATA_DIR if it runs the embedded one"
            )
        yield Venue(settings, dsn, asyncio.Event())
        return
    with tempfile.TemporaryDirectory(prefix="evs-replay-") as directory:
        own = {
            "listen": ANY_PORT,
            "ingest_listen": None,
            "metrics_listen": None,
            "data_dir": Path(directory),
        }
        async with _database(settings, Path(directory)) as dsn:
            own_settings = without_keys(settings).model_copy(update=own | {"database_url": SecretStr(dsn)})
            async with serve(own_settings) as served:
                called = own_settings.model_copy(update={"server": served.address, "ingest_server": None})
                yield Venue(called, dsn, served.ended)


@asynccontextmanager
async def serve_beside(own: Settings) -> AsyncIterator[Served]:
    """
    ``evs serve`` as a process of its own, as in earnest: it and the exchange share no interpreter.

    Raises:
        ConfigError: If it does not start.
    """
    assert own.database_url is not None
    told = {
        "EVS_DATABASE_URL": own.database_url.get_secret_value(),
        "EVS_DATA_DIR": str(own.data_dir),
        "EVS_LISTEN": own.listen,
        "EVS_INGEST_LISTEN": "",
        "EVS_METRICS_LISTEN": "",
        "EVS_LOG_LEVEL": own.log_level,
    }
    evs = Program("serve", environment() | told, own.data_dir)
    ended = asyncio.Event()
    try:
        await evs.start()
        address = await evs.ready()
        end = asyncio.create_task(evs.wait(), name="replay's EVS")
        end.add_done_callback(lambda _: ended.set())
        yield Served(address, ended)
    finally:
        await evs.stop()


@asynccontextmanager
async def _database(settings: Settings, directory: Path) -> AsyncIterator[str]:
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    # It is thrown away: nothing need survive a crash of the machine.
    async with EmbeddedPostgres(directory / "postgres", durable=False) as dsn:
        await migrate(dsn)
        yield dsn
