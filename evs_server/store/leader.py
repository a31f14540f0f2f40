"""
Who leads: of all EVS on one database one at a time, by an advisory lock that lives and dies with its connection.

Lives here: waiting for the lock, keeping it, and telling a lost connection from a lost lead. Not here: the fence. The
lock says who should write; the start number, checked in each writing transaction (``postgres``), says who may. So a
mistake about the lock costs a restart and never a row.

A leader that sleeps says nothing, and PostgreSQL ends a session that has said nothing for ``silence_seconds``: its
lock is free. A leader whose database was away takes its lock again, and goes on: meanwhile it has served its readers.
Whoever waits for the lead lets a lock that has come free be for a moment, so that a leader that lost nothing but its
connection comes back first. Touches the network; the connection must be PostgreSQL's own, not that of a pooler between.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, TypeAlias

import asyncpg

from evs_server.clock import Clock
from evs_server.errors import Fenced, StoreUnavailable
from evs_server.store.database import CONNECT_SECONDS, reads_url, unavailable
from evs_server.store.queries import split_queries

CLOSE_SECONDS: Final = 1.0

_NAME_BYTES_MAX: Final = 63  # PostgreSQL cuts an application_name here
_QUERIES: Final = split_queries(resources.files(__package__).joinpath("leader.sql").read_text(encoding="utf-8"))

logger = logging.getLogger(__name__)

Connection: TypeAlias = "asyncpg.Connection[Any]"


@dataclass(frozen=True, slots=True)
class LeaderTimes:
    """
    The times of a lead, in proportion to the one that an operator sets.

    Attributes:
        silence_seconds: After so long without a word PostgreSQL takes the lock from its holder. Low: a leader that
            sleeps is replaced soon. High: one that is merely slow is not.
    """

    silence_seconds: float = 10.0

    def __post_init__(self) -> None:
        assert self.silence_seconds >= 1, f"a silence of {self.silence_seconds} s: expected at least 1"

    @property
    def heartbeat_seconds(self) -> float:
        """How often the leader says something: three words may be lost."""
        return self.silence_seconds / 4

    @property
    def leader_answer_seconds(self) -> float:
        """How long the leader waits for an answer: longer than those who wait, so that it does not give up first."""
        return self.silence_seconds

    @property
    def follower_answer_seconds(self) -> float:
        """How long those who wait for the lead wait for an answer, and everyone for a connection."""
        return self.silence_seconds / 2

    @property
    def patience_seconds(self) -> float:
        """How long a lock that has come free is left to who held it."""
        return self.silence_seconds / 5

    @property
    def poll_seconds(self) -> float:
        """How often the lock is tried."""
        return self.silence_seconds / 20


def session_name(name: str) -> str:
    """A name as PostgreSQL shows it of a session: ASCII, and not too long."""
    return name.encode("ascii", "replace")[:_NAME_BYTES_MAX].decode()


async def leader_of(dsn: str) -> str | None:
    """
    The name of the EVS that leads on a database at this moment, empty if it does not say; None if none does.

    Raises:
        ConfigError: If the URL cannot be read.
        StoreUnavailable: If the database is away, or does not let us in.
    """
    with unavailable("connect to the database"), reads_url():
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    try:
        with unavailable("ask who leads"):
            leader: str | None = await connection.fetchval(_QUERIES["leader"], timeout=CONNECT_SECONDS)
            return leader
    finally:
        connection.terminate()


class Leadership:
    """
    One process's claim to lead: ``acquire`` it, ``keep`` it, ``close`` it.

    Args:
        dsn: URL of the database; it need not be migrated.
        name: What others tell their callers of this process while it leads, such as its address.
        clock: Measures for how long the lock has been free.
        on_following: Told of each other leader by its name while ``acquire`` waits; must return at once.
        times: How fast all this happens.
    """

    def __init__(
        self,
        dsn: str,
        *,
        name: str,
        clock: Clock,
        on_following: Callable[[str], None],
        times: LeaderTimes | None = None,
    ) -> None:
        self._dsn = dsn
        self._name = name
        self._clock = clock
        self._on_following = on_following
        self._times = times or LeaderTimes()
        self._connection: Connection | None = None
        self._lost = asyncio.Event()
        self._start_number: int | None = None
        self._leader: str | None = None
        self._free_since: float | None = None

    async def acquire(self) -> None:
        """
        Return once this process leads, waiting as long as another one does.

        Raises:
            ConfigError: If the URL cannot be read.
            StoreUnavailable: If the database is away; call again.
        """
        while not await self._take_if_free():  # noqa: ASYNC110 - no event tells that another session has ended
            await asyncio.sleep(self._times.poll_seconds)
        if self._leader is not None:
            logger.warning("%s leads no longer: this EVS takes over", self._leader or "another EVS")
        if ended_count := await self._ask("end_flushes", self._times.follower_answer_seconds):
            logger.warning("%d flushes of an EVS that has lost the lead were under way, and are ended", ended_count)

    def began(self, start_number: int) -> None:
        """Take note of this process's start number: once another one's is in the database, the lead is over."""
        self._start_number = start_number

    async def keep(self) -> None:
        """
        Keep the lead, taking the lock again whenever its connection is lost; only to be cancelled.

        Raises:
            Fenced: If another start has taken over.
        """
        while True:
            try:
                await self._beat_until_lost()
            except StoreUnavailable as error:
                logger.warning("the connection that holds the lead is lost, and is made again: %s", error.message)
            await self._retake()
            logger.warning("the lead is held again")

    async def close(self) -> None:
        """Let go of the lock, if it is held, and of the connection."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            with unavailable("let go of the lead"):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()
        except StoreUnavailable as error:
            logger.warning("%s", error.message)  # the driver has dropped the connection all the same

    # --- waiting -------------------------------------------------------------------------------------------------

    async def _take_if_free(self) -> bool:
        """Whether the lock is now ours; if not, takes note of who has it, and for how long nobody has."""
        seconds = self._times.follower_answer_seconds
        if self._has_waited and await self._ask("take_lead", seconds):
            return True
        leader = await self._ask("leader", seconds)
        if leader is None:
            self._free_since = self._clock.monotonic() if self._free_since is None else self._free_since
            return False
        self._free_since = None
        if leader != self._leader:
            logger.info("%s leads on this database: following it", leader or "another EVS")
            self._leader = leader
            self._on_following(leader)
        return False

    @property
    def _has_waited(self) -> bool:
        """Whether nobody has to be waited for: none was seen to lead, or the lock has been free for long enough."""
        if self._leader is None:
            return True
        free_since = self._free_since
        return free_since is not None and self._clock.monotonic() - free_since >= self._times.patience_seconds

    # --- leading -------------------------------------------------------------------------------------------------

    async def _beat_until_lost(self) -> None:
        """Say something now and then; StoreUnavailable as soon as the connection is lost."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._times.heartbeat_seconds):
                    await self._lost.wait()
            if self._lost.is_set():
                raise StoreUnavailable("PostgreSQL has ended the connection")
            await self._ask("heartbeat", self._times.leader_answer_seconds)

    async def _retake(self) -> None:
        """Return once the lock is ours again; Fenced if somebody else has made use of it meanwhile."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                taken = await self._ask("take_lead", self._times.leader_answer_seconds)
                # Also if the lock was free: who took over may have come and gone.
                await self._refuse_if_replaced()
                if taken:
                    return
            # Held by our own last session, which PostgreSQL has yet to give up, or by another EVS about to start.
            await asyncio.sleep(self._times.poll_seconds)

    async def _refuse_if_replaced(self) -> None:
        if self._start_number is None:
            return
        newest = await self._ask("newest_start", self._times.leader_answer_seconds)
        if newest != self._start_number:
            raise Fenced(
                f"start {newest} has taken over from start {self._start_number}: this EVS ends and may be started anew",
                start_number=newest,
                own_start_number=self._start_number,
            )

    # --- the connection ------------------------------------------------------------------------------------------

    async def _ask(self, query: str, seconds: float) -> Any:
        """The one value of a query; a connection that does not answer in time is dropped."""
        with unavailable("ask who leads"):
            connection = await self._connected()
            try:
                async with asyncio.timeout(seconds):
                    return await connection.fetchval(_QUERIES[query])
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                connection.terminate()
                raise

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        return self._connection

    async def _connect(self) -> Connection:
        settings = {
            "application_name": session_name(self._name),
            "idle_session_timeout": str(int(1_000 * self._times.silence_seconds)),
        }
        with reads_url():
            connection = await asyncpg.connect(
                self._dsn, timeout=self._times.follower_answer_seconds, server_settings=settings
            )
        # What was seen through an earlier connection may be of another life of the server.
        self._free_since = None
        lost = self._lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        return connection
