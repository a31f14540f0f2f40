"""What ``evs doctor`` finds wrong, and what it says to do; a whole installation that is well is in the e2e tests."""

import socket
from pathlib import Path

from evs_server import config
from evs_server.doctor import Finding, examine


def nobodys_address() -> str:
    """An address that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


async def finding(subject: str, data_dir: Path, **settings: str) -> Finding:
    """What is found of one subject."""
    chosen = {"listen": "127.0.0.1:0", "bridge_listen": "127.0.0.1:0", "server": nobodys_address()} | settings
    found = await examine(config.load(data_dir=data_dir, **chosen))
    return next(one for one in found if one.subject == subject)


async def test_an_empty_database_lacks_tables(tmp_path: Path, empty_database: str) -> None:
    """Nothing has migrated it; whoever reads this knows how."""
    tables = await finding("tables", tmp_path, database_url=empty_database)
    assert not tables.ok
    assert "0001_exchange" in tables.text
    assert "run `evs migrate`" in tables.text


async def test_a_migrated_database_is_well(tmp_path: Path, database: str) -> None:
    """Its tables are up to date, and its history begins."""
    assert Finding("tables", True, "up to date") == await finding("tables", tmp_path, database_url=database)
    history = await finding("history", tmp_path, database_url=database)
    assert "started 0 times, 0 events stored, never stored anything" == history.text


async def test_a_database_that_is_away_is_named_without_its_password(tmp_path: Path) -> None:
    """The finding says what to look at, and keeps the secret."""
    url = f"postgresql://evs:secret@{nobodys_address()}/evs"
    away = await finding("database", tmp_path, database_url=url)
    assert not away.ok
    assert "EVS_DATABASE_URL" in away.text
    assert "secret" not in away.text


async def test_an_address_that_somebody_else_uses_is_named(tmp_path: Path) -> None:
    """The variable and the address, so that either can be changed."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found = await finding("addresses", tmp_path, bridge_listen=address)
    assert (
        Finding(
            "addresses",
            False,
            f"EVS_BRIDGE_LISTEN: {address} is taken; stop what uses it, or set EVS_BRIDGE_LISTEN to another address",
        )
        == found
    )


async def test_something_else_at_the_address_of_evs_is_told_from_nothing(tmp_path: Path) -> None:
    """A server that does not speak gRPC is not EVS; this one says nothing at all, and must not keep us."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        found = await finding("EVS", tmp_path, server=address)
    assert not found.ok
    assert f"what is at {address} does not answer as EVS would" in found.text


async def test_a_key_that_cannot_sign_is_a_problem(tmp_path: Path) -> None:
    """Too short a key is found before the first browser is."""
    key = tmp_path / "key"
    key.write_text("short")
    found = await finding("key", tmp_path, jwt_secret_file=str(key))
    assert not found.ok
    assert "5 bytes" in found.text


async def test_looking_changes_nothing(tmp_path: Path) -> None:
    """No key is made, no database started."""
    assert (await finding("key", tmp_path)).ok
    assert [] == list(tmp_path.iterdir())
