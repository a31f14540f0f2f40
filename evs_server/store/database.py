"""
The one seam to PostgreSQL: connections, transactions, binary copies, and what goes wrong with them.

Lives here: pools whose every wait ends, and the translation of their failures into ``StoreUnavailable``. Not here: SQL
(``queries.sql``), what is stored (``postgres``). Touches the network.

The writer has a connection of its own. Everyone else shares a few, and however many wait for those, and whatever keeps
them (the exchange may well lock its tables), a flush begins at once.

A transaction that does not end well takes its connection with it. The server rolls back what it was doing, and nobody
waits for a ROLLBACK that a hanging server would never answer.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

import asyncpg

from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.model import Int64Array
from evs_server.store.queries import QUERIES
from evs_server.store.rows import Layout

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]
    BareConnection = asyncpg.Connection[asyncpg.Record]
else:
    BareConnection = asyncpg.Connection

CONNECT_SECONDS: Final = 10.0
TRANSACTION_SECONDS: Final = 30.0
"""Deadline of a transaction, from waiting for a connection to the answer of its commit."""
CLOSE_SECONDS: Final = 1.0
"""What idle connections may take to say good-bye; whoever still uses one is cut off."""
BULK_SECONDS: Final = 600.0
"""The same where whole tables are read."""
CONNECTIONS_MAX: Final = 4
"""Lookups of accounts, the refresh of derived columns and reads of reconciliation at once; the writer's is not one."""

_KEEPALIVE_IDLE_SECONDS: Final = 15
_KEEPALIVE_INTERVAL_SECONDS: Final = 5
_KEEPALIVE_PROBES: Final = 3
_SESSION: Final = {
    "application_name": "evs",
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": str(_KEEPALIVE_IDLE_SECONDS),
    "tcp_keepalives_interval": str(_KEEPALIVE_INTERVAL_SECONDS),
    "tcp_keepalives_count": str(_KEEPALIVE_PROBES),
    "timezone": "UTC",
    "jit": "off",  # compiling a statement takes longer than running any of ours
}


class Database:
    """Connections to one database. Made by ``open``."""

    def __init__(self, shared: "asyncpg.Pool[asyncpg.Record]", writers: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._shared = shared
        self._writers = writers

    @classmethod
    async def open(cls, dsn: str) -> Self:
        """
        Connect, and make what each connection needs.

        Args:
            dsn: URL of a migrated database; TLS and the rest of what concerns the network is said there.

        Raises:
            ConfigError: If the URL cannot be read.
            StoreUnavailable: If the database cannot be reached or is not migrated; try again.
        """
        with unavailable("connect to the database"), reads_url(), ExitStack() as undo:
            shared = await _open_pool(dsn, CONNECTIONS_MAX)
            undo.callback(shared.terminate)
            # Connects when it is first used: most who open a database never write a flush.
            writers = await _open_pool(dsn, 1)
            undo.callback(writers.terminate)
            async with shared.acquire(timeout=CONNECT_SECONDS):
                undo.pop_all()
                return cls(shared, writers)

    @asynccontextmanager
    async def transaction(
        self, what: str, *, snapshot: bool = False, seconds: float = TRANSACTION_SECONDS, writer: bool = False
    ) -> AsyncIterator["Connection"]:
        """
        A connection within a transaction that commits at the end of the block, or is cut off with its connection.

        Args:
            what: The purpose, for the text of a failure.
            snapshot: Read only, and everything as of one moment (REPEATABLE READ).
            seconds: Deadline of it all.
            writer: On the connection that is kept for the writer, who does one thing at a time.

        Raises:
            StoreUnavailable: If it is not known to have been committed.
        """
        async with self.connection(what, seconds=seconds, writer=writer) as connection:
            transaction = connection.transaction(
                isolation="repeatable_read" if snapshot else "read_committed", readonly=snapshot
            )
            await transaction.start()
            if seconds != TRANSACTION_SECONDS:
                await connection.execute(QUERIES["limit_statement"], f"{int(seconds)}s")
            yield connection
            await transaction.commit()

    @asynccontextmanager
    async def connection(
        self, what: str, *, seconds: float = TRANSACTION_SECONDS, writer: bool = False
    ) -> AsyncIterator["Connection"]:
        """
        A connection on which each statement is a transaction of its own, at a third of what one that says so costs.

        It is cut off unless the block ends well. Arguments and errors as of ``transaction``.
        """
        pool = self._writers if writer else self._shared
        with unavailable(what):
            async with asyncio.timeout(seconds):
                connection = await pool.acquire(timeout=CONNECT_SECONDS)
                done = False
                try:
                    yield connection
                    done = True
                finally:
                    if not done:
                        # One that the server has ended is out of our hands already, and must not hide why.
                        with suppress(asyncpg.InterfaceError):
                            connection.terminate()
                    await pool.release(connection, timeout=CONNECT_SECONDS)

    async def close(self) -> None:
        """Let go of all connections within ``CLOSE_SECONDS``, whoever still uses one."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(self._shared.close(), self._writers.close())
        except TimeoutError:
            self._shared.terminate()
            self._writers.terminate()


async def _open_pool(dsn: str, connections_max: int) -> "asyncpg.Pool[asyncpg.Record]":
    return await asyncpg.create_pool(
        dsn,
        min_size=0,  # of a floor that it cannot keep, the driver would tell in a stack every few seconds
        max_size=connections_max,
        timeout=CONNECT_SECONDS,
        server_settings=_SESSION,
        connection_class=_Connection,
        init=_prepare,
        reset=_leave,
    )


async def connect(dsn: str, **settings: str) -> BareConnection:
    """
    One connection beside those of a ``Database``, and like them, for who must hold on to it.

    Args:
        dsn: URL of a migrated database.
        settings: What is to be other than usual in its session.

    Raises:
        ConfigError: If the URL cannot be read.
        StoreUnavailable: If the database cannot be reached or is not migrated; try again.
    """
    with unavailable("connect to the database"), reads_url():
        connection = await asyncpg.connect(
            dsn, timeout=CONNECT_SECONDS, server_settings=_SESSION | settings, connection_class=_Connection
        )
        with ExitStack() as undo:
            undo.callback(connection.terminate)
            async with asyncio.timeout(CONNECT_SECONDS):
                await _prepare(connection)
            undo.pop_all()
        return connection


@contextmanager
def reads_url() -> Iterator[None]:
    """
    Names what the driver cannot read a URL for, and shows no piece of the URL: any could be of the password.

    Raises:
        ConfigError: If the URL cannot be read.
    """
    try:
        yield
    except asyncpg.exceptions.ClientConfigurationError as error:
        raise ConfigError(f"EVS_DATABASE_URL: {error}") from error
    except (ValueError, OverflowError):
        raise ConfigError(
            "EVS_DATABASE_URL: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, PORT a number below 65536; in a"
            " password, / is written as %2F, # as %23, ? as %3F, [ as %5B and @ as %40"
        ) from None


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """
    Names the failures of a database as what they are to callers.

    Args:
        what: The purpose of the block, in the infinitive.

    Raises:
        StoreUnavailable: For whatever the server, the driver or the network failed with.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        if task is not None and task.cancelling() > before:
            # What fails while a cancelled block is left, such as its ROLLBACK, must not hide that it was cancelled.
            raise asyncio.CancelledError from error
        state = getattr(error, "sqlstate", None) or type(error).__name__
        raise StoreUnavailable(
            f"could not {what}: {str(error) or 'no answer in time'} ({state})", sqlstate=state
        ) from error


async def copy_in(
    connection: "Connection", schema: str | None, table: str, layout: Layout, file: Iterable[bytes]
) -> None:
    """
    Append rows to a table.

    Args:
        connection: Within a transaction.
        schema: The table's schema; None is where the search path finds it.
        table: Its name.
        layout: Its columns.
        file: What ``rows`` encoded, in slices; the event loop gets a turn between them.

    Raises:
        asyncpg.ConnectionDoesNotExistError: If the connection is lost on the way.
    """

    async def slices() -> AsyncIterator[bytes]:
        for number, part in enumerate(file):
            if number:
                await asyncio.sleep(0)
                if _is_lost(connection):
                    # Failing here, the driver would ask the server to cancel, and wait for its answer for ever. The
                    # end of the file goes nowhere, and the driver then says what the connection was lost for.
                    return
            yield part

    try:
        await connection.copy_to_table(
            table, source=slices(), schema_name=schema, columns=layout.names, format="binary"
        )
    except RuntimeError as error:
        # The driver writes the end of a file to a transport that is closed, and uvloop's does not take it silently. Why
        # it is closed the driver alone knows; asyncio logs it, as an exception that was never retrieved.
        if not _is_lost(connection):
            raise
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of a copy") from error


def _is_lost(connection: "Connection") -> bool:
    """Whether nothing can be said on a connection any more."""
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # its pool has taken it back already
        return True


async def copy_out(connection: "Connection", layout: Layout, query: str, *arguments: object) -> list[Int64Array]:
    """The columns of a query's result, which must have those of the layout, none of them NULL."""
    file = bytearray()

    async def collect(part: bytes) -> None:
        file.extend(part)

    await connection.copy_from_query(query, *arguments, output=collect, format="binary")
    return layout.decode(file)


class _Connection(BareConnection):
    """
    A connection whose loss is noticed, and by whoever uses it.

    By itself asyncpg sets no keepalive, so that the network may swallow a server unseen; and who waits for room in the
    socket, in a copy or in ``executemany``, is not told that there is a socket no more.
    """

    __slots__ = ()

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        self.add_termination_listener(lambda _: protocol.resume_writing())
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE.items():
                peer.setsockopt(socket.IPPROTO_TCP, option, value)


# Which of these exist depends on the platform; on all of them the deadline of each transaction bounds the wait.
_KEEPALIVE: Final = {
    getattr(socket, name): value
    for name, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", _KEEPALIVE_PROBES),
        ("TCP_USER_TIMEOUT", 1_000 * int(TRANSACTION_SECONDS)),
    )
    if hasattr(socket, name)
}


async def look_past_our_schema(connection: BareConnection) -> None:
    """Have names without a schema mean the exchange's tables, whatever the role is called."""
    await connection.execute(QUERIES["look_past_our_schema"], timeout=CONNECT_SECONDS)


async def _prepare(connection: BareConnection) -> None:
    await look_past_our_schema(connection)
    await connection.execute(QUERIES["stage"])


async def _leave(_connection: BareConnection) -> None:
    """Nothing to reset: settings are local to transactions, and one that failed has taken its connection with it."""
