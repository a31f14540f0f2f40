"""``evs reconcile`` and ``evs recompute`` as an operator types them, against an EVS that runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.caller import SHARE, Caller
from tests.e2e.exchange_tables import ExchangeTables
from tests.e2e.processes import running, serving

OPENING_CENTS = 1_000_000


@pytest.fixture
def tables(database: str) -> ExchangeTables:
    tables = ExchangeTables(database)
    tables.run(f"INSERT INTO accounts (id, currency_balance) VALUES (7, {OPENING_CENTS}), (8, {OPENING_CENTS})")
    return tables


@pytest.fixture
def address(tables: ExchangeTables, tmp_path: Path) -> Iterator[str]:
    settings = {"reconcile_seconds": "0", "reconcile_grace_seconds": "0.05"}
    with serving(tables.dsn, tmp_path, **settings) as (evs, address):
        yield address
        assert 0 == evs.terminate(), evs.said


def evs(*arguments: str, server: str, tmp_path: Path) -> tuple[int, str]:
    """The status and the words of one command."""
    with running(*arguments, server=server, data_dir=tmp_path) as command:
        return command.wait_for_end(), command.said


def evs_json(*arguments: str, server: str, tmp_path: Path) -> tuple[int, Any]:
    status, said = evs(*arguments, "--json", server=server, tmp_path=tmp_path)
    return status, json.loads(said)


def test_a_difference_is_shown_repaired_and_gone(tables: ExchangeTables, address: str, tmp_path: Path) -> None:
    """First in words with status 1, then for programs."""
    assert (0, {"accounts": [], "compared_count": 2, "busy_count": 0, "withheld": ""}) == evs_json(
        "reconcile", server=address, tmp_path=tmp_path
    )
    tables.settle(7, 5, "BUY", 10 * SHARE, 500)
    tables.run("UPDATE accounts SET currency_balance = currency_balance - 99 WHERE id = 8")
    status, said = evs("reconcile", server=address, tmp_path=tmp_path)
    assert 1 == status
    assert "cash: EVS has 1000000 cents, the exchange 995000 cents" in said
    assert "quantity of symbol 5: EVS has 0 bp, the exchange 100000 bp" in said
    assert "trades were never announced: row 1" in said
    assert "2 accounts differ, 0 of them were corrected" in said
    status, found = evs_json("reconcile", "--repair", server=address, tmp_path=tmp_path)
    assert 0 == status
    by_account = {int(account["account_id"]): account for account in found["accounts"]}
    assert ["CORRECTION_KIND_TRADES", "CORRECTION_KIND_FLOW"] == [
        by_account[7]["correction"],
        by_account[8]["correction"],
    ]
    with Caller(address) as caller:
        caller.tick()
        assert (995_000, 5_000) == caller.numbers(7)[:2]
        assert OPENING_CENTS - 99 == caller.numbers(8).equity
    assert (0, []) == (0, evs_json("reconcile", server=address, tmp_path=tmp_path)[1]["accounts"])


def test_an_account_is_rebuilt_from_its_trades(tables: ExchangeTables, address: str, tmp_path: Path) -> None:
    """Shown first, then done; asked for again, there is nothing left to do."""
    tables.settle(7, 5, "BUY", 10 * SHARE, 500)
    status, said = evs("recompute", "7", "8", server=address, tmp_path=tmp_path)
    assert 0 == status
    assert "account 7: would change" in said
    assert "quantity of symbol 5: 0 bp -> 100000 bp" in said
    assert "account 8: nothing to change" in said
    status, found = evs_json("recompute", "7", "--apply", server=address, tmp_path=tmp_path)
    assert (0, [True]) == (status, [account["applied"] for account in found["accounts"]])
    with Caller(address) as caller:
        caller.tick()
        assert 5_000 == caller.numbers(7).value
    status, said = evs("recompute", "7", "--apply", server=address, tmp_path=tmp_path)
    assert (0, "account 7: nothing to change\n") == (status, said)


@pytest.mark.parametrize("arguments", [("reconcile",), ("recompute", "7")])
def test_an_evs_that_is_not_there_is_told_in_words(arguments: tuple[str, ...], tmp_path: Path) -> None:
    status, said = evs(*arguments, server=f"unix:{tmp_path}/nobody.sock", tmp_path=tmp_path)
    assert 1 == status
    assert said.startswith("evs: EVS is not there: nothing listens at unix:")
    assert 1 == said.count("\n")


def test_an_account_that_cannot_be_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    status, said = evs("recompute", "0", server="127.0.0.1:1", tmp_path=tmp_path)
    assert 2 == status
    assert "ACCOUNT" in said
