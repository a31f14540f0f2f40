"""
Which virtual shards a worker owns: advisory locks, on the very connection on which their flushes are committed.

Lives here: the connection, its locks, its transactions, and what becomes of all that when it is lost. Not here: which
virtual shards a worker should own (``shard.balance``), what is written (``postgres``).

Whoever has lost the connection has lost the locks, and cannot commit. A worker that sleeps says nothing, and
PostgreSQL ends a session that has said nothing for ``silence_seconds``. A worker whose connection was lost makes
another and takes its locks again; where nobody has started on a virtual shard meanwhile, it goes on, and where somebody
has, that one is gone. As with the lead of ``evs serve`` (``leader``) the lock says who should write, and the start
number, checked in each writing transaction, who may.

There is one connection, and one transaction on it at a time, in the order asked for. One that fails, or that nobody
waits for any more, is rolled back, and the locks stay; only a server that does not answer costs the connection. Touches
the network.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

import asyncpg
from asyncpg.transaction import Transaction

from evs_server.errors import StoreUnavailable
from evs_server.store.database import TRANSACTION_SECONDS, BareConnection, connect, unavailable
from evs_server.store.leader import CLOSE_SECONDS, LeaderTimes, session_name
from evs_server.store.queries import QUERIES, split_queries

if TYPE_CHECKING:
    from evs_server.store.database import Connection

TURN_SECONDS: Final = 30.0
"""How long to wait for the transactions of other virtual shards; who waits longer tries again, behind everybody."""
UNDO_SECONDS: Final = 5.0
"""What a ROLLBACK may take before the connection counts as lost."""

_QUERIES: Final = split_queries(resources.files(__package__).joinpath("ownership.sql").read_text(encoding="utf-8"))

logger = logging.getLogger(__name__)


class Ownership:
    """
    One worker's hold on its virtual shards: ``join`` the others, ``take`` and ``release``, ``keep``, ``close``.

    Args:
        dsn: URL of a migrated database; not by way of a pooler.
        name: What others see; no two workers have the same.
        on_lost: Told when the connection is lost, before it is made again; must return at once.
        on_gone: Told of each virtual shard that another worker has started on since; must return at once.
        times: How fast all this happens.
    """

    def __init__(
        self,
        dsn: str,
        *,
        name: str,
        on_lost: Callable[[], None],
        on_gone: Callable[[int], None],
        times: LeaderTimes | None = None,
    ) -> None:
        self._dsn = dsn
        self._name: Final = session_name(name)
        self._on_lost = on_lost
        self._on_gone = on_gone
        self._times = times or LeaderTimes()
        self._start_numbers: dict[int, int | None] = {}
        self._leaving: set[int] = set()
        self._locked: set[int] = set()
        self._takes_part = False
        self._connection: BareConnection | None = None
        self._lost = asyncio.Event()
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """What others see, as PostgreSQL can show it."""
        return self._name

    @property
    def owned(self) -> Sequence[int]:
        """The virtual shards that this worker holds, ascending; while the connection is lost, those it will try for."""
        return sorted(self._start_numbers)

    async def join(self) -> None:
        """
        Connect, and be counted among the workers.

        Raises:
            ConfigError: If the URL cannot be read.
            StoreUnavailable: If the database is away, is not migrated, or is being adopted; try again.
        """
        if self._is_lost:
            await self._connect()
        if not self._takes_part:
            await self._take_part()
            self._takes_part = True

    async def stand_aside(self) -> None:
        """
        Be counted no more, and keep what is owned until it is released: others may plan without this worker.

        Raises:
            StoreUnavailable: If the database is away.
        """
        if self._takes_part:
            self._takes_part = False
            await self._ask("stand_aside")

    async def workers(self) -> Sequence[str]:
        """
        The names of all workers that take part, ascending.

        Raises:
            StoreUnavailable: If the database is away.
        """
        return [row["name"] for row in await self._ask("workers")]

    async def owners(self) -> Mapping[int, str]:
        """
        The name of its owner by virtual shard; one that is free is left out.

        Raises:
            StoreUnavailable: If the database is away.
        """
        return {row["shard"]: row["name"] for row in await self._ask("owners")}

    async def take(self, shard: int) -> bool:
        """
        Own a virtual shard, unless another worker does; whether it is owned now.

        Raises:
            StoreUnavailable: If the database is away.
        """
        if shard in self._start_numbers:
            return True
        # A session may hold a lock twice: one that is on its way out is not taken before it is out.
        if shard in self._leaving or not await self._lock(shard):
            return False
        self._start_numbers[shard] = None
        return True

    def began(self, shard: int, start_number: int) -> None:
        """Take note of the start number on a virtual shard that is owned: once there is another, it is gone."""
        if shard in self._start_numbers:
            self._start_numbers[shard] = start_number

    async def release(self, shard: int) -> None:
        """
        Own a virtual shard no more; nothing of it may be under way.

        Raises:
            StoreUnavailable: If the database is away, or busy; it is then not owned either, and its lock is let go of
                as soon as that is possible.
        """
        if shard in self._start_numbers:
            del self._start_numbers[shard]
            self._leaving.add(shard)
            await self._let_go(shard)

    @asynccontextmanager
    async def transaction(self, what: str, seconds: float = TRANSACTION_SECONDS) -> AsyncIterator["Connection"]:
        """
        The connection within a transaction that commits at the end of the block, or is rolled back; one at a time.

        Args:
            what: The purpose, for the text of a failure.
            seconds: Deadline of it all, from its turn on.

        Raises:
            StoreUnavailable: If it is not known to have been committed.
        """
        async with self._held(what) as connection, asyncio.timeout(seconds):
            transaction = connection.transaction()
            beginning, committing = _apart(transaction.start()), None
            done = False
            try:
                await asyncio.shield(beginning)
                if seconds != TRANSACTION_SECONDS:
                    await connection.execute(QUERIES["limit_statement"], f"{int(seconds)}s")
                yield cast("Connection", connection)
                committing = _apart(transaction.commit())
                await asyncio.shield(committing)
                done = True
            finally:
                if not done:
                    await _undo(connection, transaction, committing or beginning, rolls_back=committing is None)

    async def keep(self) -> None:
        """Keep what is owned, over whatever becomes of the connection; only to be cancelled. After ``join``."""
        while True:
            await self._beat_until_lost()
            logger.warning("the connection that holds %d virtual shards is lost", len(self._start_numbers))
            self._on_lost()
            await self._retake()
            logger.warning("%d virtual shards are held again", len(self._start_numbers))

    async def close(self) -> None:
        """Let go of everything."""
        self._start_numbers.clear()
        self._takes_part = False
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            with unavailable("let go of the virtual shards"):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await connection.close()
        except StoreUnavailable as error:
            logger.warning("%s", error.message)
            connection.terminate()

    # --- keeping -------------------------------------------------------------------------------------------------

    async def _beat_until_lost(self) -> None:
        while not self._is_lost:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._times.heartbeat_seconds):
                    await self._lost.wait()
            # A session with a transaction under way is not idle, and the transaction has deadlines of its own.
            if not self._is_lost and not self._turn.locked():
                with contextlib.suppress(StoreUnavailable):
                    await self._ask("heartbeat")
                    for shard in tuple(self._leaving):
                        if shard in self._leaving:  # and is not out by now, and perhaps taken again
                            await self._let_go(shard)

    async def _retake(self) -> None:
        """Return once every virtual shard that was owned is so again, or is known to be another's."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                await self._connect()
                if self._takes_part:
                    await self._take_part()
                waiting = self.owned
                while waiting := [each for each in waiting if not await self._is_settled(each)]:  # noqa: ASYNC110
                    # Held by our own last session, which PostgreSQL has yet to give up, or by who is about to start.
                    await asyncio.sleep(self._times.poll_seconds)
                return
            await asyncio.sleep(self._times.poll_seconds)

    async def _is_settled(self, shard: int) -> bool:
        """Whether a virtual shard is ours again, or is not any more."""
        if shard not in self._start_numbers:
            return True
        taken = await self._lock(shard)
        if shard not in self._start_numbers:  # released meanwhile
            if taken:
                await self._unlock(shard)
            return True
        own = self._start_numbers[shard]
        # Also if the lock was free: who took over may have come and gone.
        if own is not None and await self._ask_one("newest_start", shard) != own:
            self._start_numbers.pop(shard, None)
            if taken:
                await self._unlock(shard)
            logger.warning("virtual shard %d belongs to another worker now", shard)
            self._on_gone(shard)
            return True
        return bool(taken)

    async def _lock(self, shard: int) -> bool:
        """Whether this session has a lock now: never twice, since it would have to be let go of as often."""
        # Without a connection what is remembered is of another session: to ask says so.
        if (self._is_lost or shard not in self._locked) and await self._ask_one("take", shard):
            self._locked.add(shard)
        return shard in self._locked

    async def _unlock(self, shard: int) -> None:
        await self._ask("release", shard)
        self._locked.discard(shard)

    async def _let_go(self, shard: int) -> None:
        if not self._is_lost:
            await self._unlock(shard)
        self._leaving.discard(shard)

    async def _take_part(self) -> None:
        if not await self._ask_one("take_part"):
            raise StoreUnavailable("`evs adopt` is at work on this database: try again when it is done")

    # --- the connection ------------------------------------------------------------------------------------------

    @property
    def _is_lost(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    @asynccontextmanager
    async def _held(self, what: str) -> AsyncIterator[BareConnection]:
        """The connection, for oneself."""
        with unavailable(what):
            async with asyncio.timeout(TURN_SECONDS):
                await self._turn.acquire()
            try:
                if self._connection is None or self._connection.is_closed():
                    raise StoreUnavailable(f"could not {what}: the connection is lost, and is made again")
                yield self._connection
            finally:
                self._turn.release()

    async def _ask_one(self, query: str, *arguments: object) -> Any:
        """The one value of a query, as ``_ask``."""
        rows = await self._ask(query, *arguments)
        return rows[0][0] if rows else None

    async def _ask(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of a query; a connection that does not answer in time, or whose answer nobody awaits, is dropped."""
        async with self._held("ask who owns what") as connection:
            answered = False
            try:
                async with asyncio.timeout(self._times.leader_answer_seconds):
                    rows = await connection.fetch(_QUERIES[query], *arguments)
                answered = True
            finally:
                if not answered:
                    connection.terminate()
            return rows

    async def _connect(self) -> None:
        silence_ms = str(int(1_000 * self._times.silence_seconds))
        connection = await connect(
            self._dsn,
            application_name=self._name,
            idle_session_timeout=silence_ms,
            idle_in_transaction_session_timeout=silence_ms,
        )
        self._leaving.clear()  # the locks of another session
        self._locked.clear()
        lost = self._lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        self._connection = connection


def _apart(step: Coroutine[Any, Any, None]) -> "asyncio.Future[None]":
    """A BEGIN or a COMMIT as a task: the driver no longer knows what state it is in after one that was cut off."""
    task = asyncio.ensure_future(step)
    task.add_done_callback(lambda _: task.cancelled() or task.exception())  # told to whoever waits, if anybody does
    return task


async def _undo(
    connection: BareConnection, transaction: Transaction, last_step: "asyncio.Future[None]", *, rolls_back: bool
) -> None:
    """
    Leave the connection without a transaction; where that cannot be, it is dropped, and with it all that hangs on it.

    Args:
        last_step: Its BEGIN or its COMMIT, whichever was last; may still be under way.
        rolls_back: Whether it was the BEGIN.
    """
    undone = False
    try:
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            async with asyncio.timeout(UNDO_SECONDS):
                await asyncio.shield(last_step)
                if rolls_back:
                    await transaction.rollback()
            undone = True
    finally:
        if not undone:
            with contextlib.suppress(asyncpg.InterfaceError):
                connection.terminate()
