"""The log as a whole, opened for one process: what ``cluster.ports`` asks for, on one connection."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from evs_server.cluster.ports import Asks, Entry, EventLog, LastValues, Message, News
from evs_server.config import Settings
from evs_server.errors import ConfigError
from evs_server.log.append import Appending
from evs_server.log.asks import NatsAsks
from evs_server.log.connect import Connection, connect
from evs_server.log.follow import follow
from evs_server.log.last import NatsLastValues
from evs_server.log.news import NatsNews
from evs_server.log.streams import StreamSettings, open_streams


class NatsEventLog:
    """The ordered log, as ``EventLog`` has it."""

    def __init__(self, connection: Connection, trace: Callable[[], str]) -> None:
        self._connection = connection
        self._appending: Final = Appending(connection, trace)

    async def append(self, parts: Sequence[Message], journal: Message, expected: int, batch_id: str) -> int:
        """As ``EventLog.append`` has it."""
        return await self._appending.append(parts, journal, expected, batch_id)

    async def last_position(self) -> int:
        """As ``EventLog.last_position`` has it."""
        return await self._appending.last_position()

    def follow(self, subjects: Sequence[str], after: int) -> AsyncGenerator[Sequence[Entry], None]:
        """As ``EventLog.follow`` has it."""
        return follow(self._connection, subjects, after)


class Log:
    """
    Everything that one process has of NATS.

    Attributes:
        cluster_id: Names the deployment that the log belongs to.
    """

    def __init__(self, connection: Connection, cluster_id: str, trace: Callable[[], str]) -> None:
        self._connection = connection
        self._news = NatsNews(connection)
        self._last_values = NatsLastValues(connection)
        self.cluster_id = cluster_id
        self.events: EventLog = NatsEventLog(connection, trace)
        self.news: News = self._news
        self.asks: Asks = NatsAsks(connection)
        self.last_values: LastValues = self._last_values

    @property
    def is_up(self) -> bool:
        """Whether the connection stands."""
        return self._connection.is_up

    @property
    def dropped_news_count(self) -> int:
        """Messages that were told and never sent."""
        return self._news.dropped_count

    @property
    def lost_values_count(self) -> int:
        """Last values that could not be kept."""
        return self._last_values.lost_count

    async def run(self) -> None:
        """
        Send what is told and kept; a task of whoever opened the log, to be cancelled.

        Raises:
            LogUnavailable: If the connection is over for good, as when its credentials are refused.
        """
        tasks = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("news", self._news.send()),
                ("last values", self._last_values.send()),
                ("connection", self._connection.closed()),
            )
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def open_log(settings: Settings, name: str, trace: Callable[[], str] = lambda: "") -> AsyncIterator[Log]:
    """
    The log that the settings name, for as long as the context.

    Args:
        name: Of this process, for people who look at the servers.
        trace: What a batch that is put in belongs to, as ``traceparent`` has it; empty if it is not followed.

    Raises:
        ConfigError: If none is named, or it cannot be used as it is; says what to do.
        LogUnavailable: If it cannot be reached.
    """
    if settings.nats_url is None:
        raise ConfigError("EVS_NATS_URL: gateways and shards need a log; name the NATS that keeps it")
    url, creds_file, ca_file = settings.nats_url.get_secret_value(), settings.nats_creds_file, settings.nats_ca_file
    async with connect(url, name, creds_file, ca_file) as connection:
        streams = StreamSettings(settings.nats_replicas, settings.log_max_age_days)
        yield Log(connection, await open_streams(connection, streams), trace)
