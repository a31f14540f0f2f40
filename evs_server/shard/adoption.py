"""
From one process to a cluster: the state in the database split, at the place where the log is now. Touches I/O.
"""

from evs_server.config import Settings
from evs_server.errors import ConfigError
from evs_server.log import open_log
from evs_server.store.adopt import Adopted, adopt
from evs_server.store.migrate import migrate


async def run_adoption(settings: Settings) -> Adopted:
    """
    What was split, if anything was left to be.

    Raises:
        ConfigError: If no database or no log is named, or EVS runs on the database; nothing has changed then.
        StoreUnavailable, LogUnavailable: If one of them is away; try again.
    """
    if settings.database_url is None:
        raise ConfigError("EVS_DATABASE_URL: shards share a PostgreSQL; name the one whose state is to be adopted")
    dsn = settings.database_url.get_secret_value()
    async with open_log(settings, "evs adopt") as log:
        await migrate(dsn, expects_exchange=True)
        return await adopt(
            dsn,
            log_position=await log.events.last_position(),
            spool_folder=settings.data_dir / "spool",
            spool_bytes_max=settings.spool_bytes,
        )
