"""A log and a database that belong together."""

import pytest

from evs_server.errors import ConfigError
from evs_server.store.database import Database
from evs_server.store.journal import claim_log
from evs_server.store.migrate import migrate


async def test_a_database_belongs_to_the_log_that_came_first(database: str) -> None:
    await migrate(database)
    opened = await Database.open(database)
    try:
        await claim_log(opened, "cluster-a")
        await claim_log(opened, "cluster-a")
        with pytest.raises(ConfigError, match=r"the log of EVS_NATS_URL is cluster-b.* log cluster-a"):
            await claim_log(opened, "cluster-b")
    finally:
        await opened.close()
