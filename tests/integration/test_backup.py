"""Backup and restore, as docs/OPERATIONS.md says: one dump while EVS runs, and a start on what it restores."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from evs_server.store.embedded.installation import packaged_bin_dir
from tests.builders import ALICE, BOB, KICK
from tests.integration.running import Exchange, exchange_at, running
from tests.wire import BUY, EM, SELL, cash, prices, ticks, trades

COMMAND_SECONDS = 120
SHARE = 10_000


@pytest.fixture
async def exchange(database: str) -> AsyncIterator[Exchange]:
    async with exchange_at(database) as exchange:
        await exchange.register({ALICE: 1_000_000, BOB: 1_000_000})
        yield exchange


def command(program: str, *arguments: str | Path) -> None:
    """Run one of PostgreSQL's programs, of the version that the server is."""
    outcome = subprocess.run(
        [packaged_bin_dir() / program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS,
    )
    assert (0, "") == (outcome.returncode, outcome.stderr)


async def test_an_evs_started_on_a_restored_dump_goes_on_where_it_was_taken(
    exchange: Exchange, database: str, empty_database: str, tmp_path: Path
) -> None:
    """Same values, same history, same watermark; what came after the dump is asked for again, and taken once."""
    dump, restored_dir = tmp_path / "evs.dump", tmp_path / "restored"
    restored_dir.mkdir()
    legs = trades((ALICE, KICK, BUY, SHARE, 500), (BOB, KICK, SELL, SHARE, 500))
    async with running(database, tmp_path) as evs:
        await evs.send(legs, prices((KICK, 510)), ticks(1), first=1)
        await evs.stored()
        before = [await evs.read(account_id) for account_id in (ALICE, BOB)]
        rows = await exchange.rows()
        command("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={database}")
        await evs.send(cash((ALICE, 7)), ticks(2), first=5)
        await evs.stored()
    command("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={empty_database}", dump)
    async with running(empty_database, restored_dir) as evs, exchange_at(empty_database) as restored:
        assert before == [await evs.read(account_id) for account_id in (ALICE, BOB)]
        assert rows == await restored.rows()
        state = await evs.state(EM)
        assert (4, 4) == (state.applied_sequence, state.durable_sequence)
        again = await evs.send(cash((ALICE, 7)), ticks(2), first=5)
        assert (0, 1, 6) == (again.duplicate_count, again.accounts_valued, again.applied_sequence)
        assert before[0].equity.total_equity + 7 == (await evs.read(ALICE)).equity.total_equity
