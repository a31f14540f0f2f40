"""The migration runner: once each, in order, by one process at a time, and never over what it does not know."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from evs_server.errors import ConfigError, StoreUnavailable
from evs_server.store import migrate as migrate_module
from evs_server.store.migrate import migrate, pending, read_migrations

SECONDS = 30
RUNNERS = 4

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write migration files, name and content in turn; the folder they are in."""

    def write(**files: str) -> Path:
        for name, sql in files.items():
            (tmp_path / f"{name.removeprefix('m')}.sql").write_text(sql)
        return tmp_path

    return write


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(dsn, timeout=SECONDS)
    try:
        yield connection
    finally:
        await connection.close(timeout=SECONDS)


async def fetch(dsn: str, query: str) -> list[tuple[object, ...]]:
    async with connected(dsn) as connection:
        return [tuple(record) for record in await connection.fetch(query)]


@pytest.fixture
def clerk(empty_database: str) -> Iterator[str]:
    """The same database for a role that owns nothing and may make its own schemas only."""
    name = urlsplit(empty_database).path.removeprefix("/")

    async def execute(*statements: str) -> None:
        async with connected(empty_database) as connection:
            for statement in statements:
                await connection.execute(statement)

    asyncio.run(execute("CREATE ROLE clerk LOGIN", f"GRANT CREATE ON DATABASE {name} TO clerk"))
    yield empty_database.replace("://evs@", "://clerk@")
    asyncio.run(execute("REASSIGN OWNED BY clerk TO evs", "DROP OWNED BY clerk", "DROP ROLE clerk"))


async def test_migrations_are_applied_once_and_in_order(empty_database: str, write: Write) -> None:
    """Each leaves its record; a second run finds nothing to do."""
    first, second = "CREATE TABLE a (x int);", "ALTER TABLE a ADD y int; CREATE TABLE b (z int);"
    folder = write(m0001_first=first, m0002_second=second)
    assert ["0001_first", "0002_second"] == await migrate(empty_database, folder=folder)
    assert [
        ("0001_first", sha256(first.encode()).hexdigest()),
        ("0002_second", sha256(second.encode()).hexdigest()),
    ] == await fetch(empty_database, "SELECT name, checksum FROM evs.migration ORDER BY applied_at")
    assert [] == await migrate(empty_database, folder=folder)


async def test_a_connection_of_the_callers_is_used_and_left_open(empty_database: str, write: Write) -> None:
    """Its limits are as before: those of a migration end with it."""
    async with connected(empty_database) as connection:
        assert ["0001_first"] == await migrate(connection, folder=write(m0001_first="CREATE TABLE a (x int);"))
        assert "0" == await connection.fetchval("SHOW lock_timeout")


async def test_what_is_pending_is_told_and_not_done(empty_database: str, write: Write) -> None:
    """Looking makes nothing, not even the schema."""
    folder = write(m0001_first="CREATE TABLE a (x int);", m0002_second="CREATE TABLE b (x int);")
    assert ["0001_first", "0002_second"] == await pending(empty_database, folder=folder)
    assert [(None,)] == await fetch(empty_database, "SELECT to_regnamespace('evs')")
    (folder / "0002_second.sql").rename(folder / "later")
    await migrate(empty_database, folder=folder)
    (folder / "later").rename(folder / "0002_second.sql")
    assert ["0002_second"] == await pending(empty_database, folder=folder)


async def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database: str, write: Write) -> None:
    """Those before it stay; the error names the file and gives the server's reason and hint."""
    hinted = "DO $$ BEGIN RAISE EXCEPTION 'no room' USING HINT = 'Make some.'; END $$;"
    folder = write(m0001_good="CREATE TABLE a (x int);", m0002_bad="CREATE TABLE b (x int);" + hinted)
    with pytest.raises(ConfigError, match=r"migration 0002_bad cannot be applied: no room\nHINT: +Make some"):
        await migrate(empty_database, folder=folder)
    assert [("0001_good",)] == await fetch(empty_database, "SELECT name FROM evs.migration")
    assert [(None,)] == await fetch(empty_database, "SELECT to_regclass('b')")


async def test_processes_that_migrate_at_once_share_the_work(empty_database: str, write: Write) -> None:
    """Whoever comes second finds it done: each migration is applied by exactly one of them."""
    names = [f"{number:04}_step" for number in range(1, 9)]
    folder = write(**{f"m{name}": f"CREATE TABLE t{name} (x int);" for name in names})
    async with connected(empty_database) as gate:
        # All are held at the lock before any may begin.
        async with gate.transaction():
            await gate.execute(migrate_module._QUERIES["take_turn"])
            runners = [asyncio.create_task(migrate(empty_database, folder=folder)) for _ in range(RUNNERS)]
            async with asyncio.timeout(SECONDS):
                waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                while await gate.fetchval(waiting) < RUNNERS:
                    pass
        applied = await asyncio.gather(*runners)
    assert names == sorted(name for done in applied for name in done)


async def test_an_applied_file_must_not_change(empty_database: str, write: Write) -> None:
    """What this build would do is not what was done here."""
    await migrate(empty_database, folder=write(m0001_first="CREATE TABLE a (x int);"))
    changed = write(m0001_first="CREATE TABLE a (x bigint);")
    with pytest.raises(ConfigError, match=r"0001_first was applied with checksum \w{12}, and this build's file has"):
        await migrate(empty_database, folder=changed)
    with pytest.raises(ConfigError, match="must not change"):
        await pending(empty_database, folder=changed)


async def test_an_older_build_leaves_a_newer_database_alone(empty_database: str, write: Write) -> None:
    """It says so before it changes anything."""
    folder = write(m0001_first="CREATE TABLE a (x int);", m0002_new="CREATE TABLE b (x int);")
    await migrate(empty_database, folder=folder)
    (folder / "0002_new.sql").unlink()
    with pytest.raises(ConfigError, match="migration 0002_new of this database is not part of this build"):
        await migrate(empty_database, folder=folder)


@pytest.mark.parametrize(
    ("problem", "names"),
    [
        ("0003_c.sql: number 3 is not the next: expected 2", ["0001_a", "0003_c"]),
        ("0001_b.sql: number 1 is not the next: expected 2", ["0001_a", "0001_b"]),
        ("0002_a.sql: number 2 is not the next: expected 1", ["0002_a"]),
        ("1_a.sql: expected NNNN_name.sql", ["1_a"]),
        ("0001-a.sql: expected NNNN_name.sql", ["0001-a"]),
    ],
)
def test_numbers_have_neither_gaps_nor_doubles(write: Write, problem: str, names: list[str]) -> None:
    """The order of migrations is beyond doubt."""
    with pytest.raises(ConfigError, match=problem):
        read_migrations(write(**dict.fromkeys(names, "SELECT 1;")))


async def test_an_optional_migration_may_lack_the_right(
    empty_database: str, clerk: str, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """It is left out, loudly; the rest goes on; who may do it makes up for it later."""
    await fetch(empty_database, "CREATE TABLE theirs (x int)")
    folder = write(
        m0001_wish="-- optional: adds y to their table\nALTER TABLE theirs ADD y int;",
        m0002_need="CREATE TABLE evs.ours (x int);",
    )
    with caplog.at_level(logging.WARNING):
        assert ["0002_need"] == await migrate(clerk, folder=folder)
    assert "migration 0001_wish was left out: must be owner of table theirs. It adds y" in caplog.text
    assert ["0001_wish"] == await pending(clerk, folder=folder)
    assert ["0001_wish"] == await migrate(empty_database, folder=folder)
    assert [] == await migrate(clerk, folder=folder)


async def test_a_migration_that_is_needed_must_have_the_right(empty_database: str, clerk: str, write: Write) -> None:
    """The error says what to do about it."""
    await fetch(empty_database, "CREATE TABLE theirs (x int)")
    folder = write(m0001_need="ALTER TABLE theirs ADD y int;")
    with pytest.raises(ConfigError, match=r"must be owner of table theirs; run `evs migrate` as a role that may"):
        await migrate(clerk, folder=folder)


async def test_a_table_that_others_hold_is_not_waited_for_long(
    empty_database: str, write: Write, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Settlement queues up behind a waiting ALTER TABLE: an optional one is put off, a needed one ends the start."""
    monkeypatch.setattr(migrate_module, "LOCK_SECONDS", 1)
    folder = write(m0001_wish="-- optional: adds y\nALTER TABLE a ADD y int;", m0002_need="ALTER TABLE a ADD z int;")
    await fetch(empty_database, "CREATE TABLE a (x int)")
    async with connected(empty_database) as holder:
        async with holder.transaction():
            await holder.execute("LOCK TABLE a")
            with pytest.raises(StoreUnavailable, match=r"0002_need cannot be applied: .*lock timeout; it waited 1 s"):
                await migrate(empty_database, folder=folder)
        assert "0001_wish was left out: canceling statement due to lock timeout" in caplog.text
        assert ["0001_wish", "0002_need"] == await migrate(empty_database, folder=folder)


async def test_a_database_that_is_away_is_worth_another_try(tmp_path: Path) -> None:
    """The server may come up later; settings that nobody could use never get better."""
    with pytest.raises(StoreUnavailable, match="could not migrate the database"):
        await migrate(f"postgresql://evs@/none?host={tmp_path}")
    with pytest.raises(ConfigError, match="EVS_DATABASE_URL"):
        await migrate("sqlite://none")


async def test_our_own_migrations_leave_nothing_to_do(any_database: str) -> None:
    """A migrated database stays as it is when EVS starts again."""
    assert [] == await pending(any_database)
    assert [] == await migrate(any_database)
    names = [(migration.name,) for migration in read_migrations()]
    assert names == await fetch(any_database, "SELECT name FROM evs.migration ORDER BY name")


# --- an empty database named by mistake ----------------------------------------------------------------------------

MADE = "had no table accounts, positions, trades: EVS has made them, empty"


async def test_where_the_exchange_should_be_an_empty_database_is_not_taken_silently(
    empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The database is named, and what to look at; once, since from then on it has the tables."""
    name = urlsplit(empty_database).path.removeprefix("/")
    with caplog.at_level(logging.WARNING):
        await migrate(empty_database, expects_exchange=True)
        assert f"database {name} (schema public) {MADE}" in caplog.text
        assert "look at EVS_DATABASE_URL" in caplog.text
        caplog.clear()
        assert [] == await migrate(empty_database, expects_exchange=True)
    assert MADE not in caplog.text


async def test_the_exchanges_own_tables_are_taken_and_only_what_lacks_is_told(
    empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(empty_database) as connection:
        await connection.execute("CREATE TABLE accounts (id BIGINT PRIMARY KEY, currency_balance BIGINT)")
    with caplog.at_level(logging.WARNING):
        await migrate(empty_database, expects_exchange=True)
    assert "had no table positions, trades: EVS has made them" in caplog.text


async def test_a_database_of_our_own_begins_without_a_word(
    empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        await migrate(empty_database)
    assert "EVS has made them" not in caplog.text
