"""What ``evs doctor`` finds wrong, and what it says to do; a whole installation that is well is in the e2e tests."""

import socket
from pathlib import Path
from typing import Any

import pytest

from evs_server import config
from evs_server.app import Application
from evs_server.authority import Authority
from evs_server.doctor import Finding, examine
from evs_server.store.inspection import inspect
from tests.integration.running import exchange_at
from tests.serving import within_patience


def nobodys_address() -> str:
    """An address that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


async def findings(data_dir: Path, **settings: Any) -> list[Finding]:
    """What is found of everything."""
    chosen = {"listen": "127.0.0.1:0", "bridge_listen": "127.0.0.1:0", "server": nobodys_address()} | settings
    return await examine(config.load(data_dir=data_dir, **chosen))


async def finding(subject: str, data_dir: Path, **settings: Any) -> Finding:
    """What is found of one subject."""
    return next(one for one in await findings(data_dir, **settings) if one.subject == subject)


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
    assert "start number 0 (those that only waited count), 0 events stored, never stored anything" == history.text


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


@pytest.mark.parametrize(
    ("mode", "is_well", "says"),
    [(0o600, True, "secret"), (0o644, True, "others on this machine can read it"), (0o666, False, "chmod 600")],
)
async def test_a_key_that_is_open_to_others_is_told(tmp_path: Path, mode: int, is_well: bool, says: str) -> None:
    """Who can read it can sign tokens; who can write it can lock everybody out."""
    key = tmp_path / "secret"
    key.write_text("k" * 48)
    key.chmod(mode)
    found = await finding("key", tmp_path, jwt_secret_file=key)
    assert (is_well, True) == (found.ok, says in found.text)


async def test_tokens_taken_back_and_traces_are_looked_at_where_they_are_set(tmp_path: Path) -> None:
    """What would keep EVS from starting is found before."""
    revoked = tmp_path / "revoked"
    away = await finding("revoked", tmp_path, revoked_tokens_file=revoked)
    assert (False, True) == (away.ok, str(revoked) in away.text)
    revoked.write_text("stolen\n")
    assert Finding("revoked", True, f"1 tokens, by {revoked}") == await finding(
        "revoked", tmp_path, revoked_tokens_file=revoked
    )
    traces = await finding("traces", tmp_path, traces_endpoint="http://127.0.0.1:4317", traces_ratio=0.25)
    assert Finding("traces", True, "of 25% of the calls, to http://127.0.0.1:4317") == traces
    assert not (await finding("traces", tmp_path, traces_endpoint="http://collector.example:4317")).ok


async def test_a_migration_that_evs_goes_on_without_is_no_problem(tmp_path: Path, database: str) -> None:
    """An operator has left it out on purpose, or has no rights to it; EVS says the same when it starts."""
    async with exchange_at(database) as exchange:
        await exchange.connection.execute("DELETE FROM evs.migration WHERE name = '0002_realized_pnl'")
    tables = await finding("tables", tmp_path, database_url=database)
    assert tables.ok
    assert "but for 0002_realized_pnl, which EVS goes on without" in tables.text


async def test_an_evs_that_asks_who_calls_and_takes_events_elsewhere_is_seen_through(
    tmp_path: Path, database: str
) -> None:
    """As docs/SECURITY.md sets it up: nothing of it is a problem."""
    key = tmp_path / "jwt.secret"
    key.write_text("k" * 48)
    key.chmod(0o600)
    given = {"jwt_secret_file": key, "database_url": database, "ingest_listen": f"unix:{tmp_path}/ingest.sock"}
    async with Application(config.load(data_dir=tmp_path, listen="127.0.0.1:0", **given)) as evs:
        await within_patience(evs.wait_ready())
        found = await findings(tmp_path, **given, server=evs.address)
    assert [] == [one for one in found if not one.ok]
    assert Finding("storage", True, "what EVS applies gets stored") in found


async def test_another_data_directory_than_that_of_the_evs_that_serves_is_told(tmp_path: Path, database: str) -> None:
    """What is in the one says nothing of the other: its spool, its keys, its database."""
    ours, other = tmp_path / "ours", tmp_path / "other"
    async with Application(config.load(data_dir=ours, listen="127.0.0.1:0", database_url=database)) as evs:
        await within_patience(evs.wait_ready())
        given: dict[str, Any] = {"database_url": database, "server": evs.address}
        assert Finding("spool", True, f"in {ours}/spool") in await findings(ours, **given)
        spool = await finding("spool", other, **given)
        unset = await finding("database", other, server=evs.address)
        elsewhere = f"0.0.0.0:{evs.address.rpartition(':')[2]}"
        far = await findings(other, database_url=database, server=elsewhere, allow_plaintext=True)
    assert not spool.ok
    assert f"the EVS at {evs.address} has another data directory, or another database" in spool.text
    assert not unset.ok
    assert f"not that of the EVS at {evs.address}: no PostgreSQL runs in {other}" in unset.text
    assert [] == [one for one in far if not one.ok or one.subject == "spool"], "that of another machine is not here"


async def test_a_database_that_no_evs_has_begun_on_has_no_spool(database: str) -> None:
    """Nor has that of a cluster, whose shards follow the log instead."""
    assert None is (await inspect(database)).database_id


async def test_what_answers_otherwise_than_it_should_is_told_apart(tmp_path: Path, database: str) -> None:
    """One cause, one line: which, and what to set; that the addresses are taken is no other problem."""
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    certificate, key = ours.sign_server(["evs.internal"], 1)
    plain = {"database_url": database, "listen": "127.0.0.1:0", "data_dir": tmp_path / "evs"}

    async def told(server: str, **settings: Any) -> str:
        found = await findings(tmp_path, server=server, database_url=database, **settings)
        problems = [one for one in found if not one.ok]
        assert ["EVS"] == [one.subject for one in problems]
        return problems[0].text

    async with Application(config.load(**plain)) as evs:
        assert "does not speak TLS" in await told(evs.address, server_ca_file=ours.certificate_file)
    async with Application(config.load(**plain, tls_cert_file=certificate, tls_key_file=key)) as evs:
        assert "set EVS_SERVER_CA_FILE" in await told(evs.address)
        assert "has another name" in await told(evs.address, server_ca_file=ours.certificate_file)
        assert "is not signed by" in await told(evs.address, server_ca_file=others.certificate_file)
    assert "nothing listens at" in await told(nobodys_address())
    assert "cannot be found by its name" in await told("nowhere.invalid:1", allow_plaintext=True)
