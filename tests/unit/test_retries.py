"""Settlement ids of unsequenced callers: what was sent before is known, one by one and by the run."""

import numpy as np
import pytest

from evs_server.ingest import retries as module
from evs_server.ingest.retries import Retries
from evs_server.model import SettlementColumns, Side, TradeRun
from tests.builders import ALICE, BOB, KICK
from tests.flushes import plain

BUY, SELL = Side.BUY, Side.SELL


def rows(columns: SettlementColumns) -> list[tuple[int, ...]]:
    """Columns as rows."""
    return list(zip(*plain(columns).values(), strict=True))


def a_run(*legs: tuple[int, int, int]) -> TradeRun:
    """Trades of some accounts, sides and settlement ids."""
    account_id, side, settlement_id = np.array(legs, np.int64).T
    same = np.full(len(legs), KICK)
    return TradeRun(account_id, same, side, same, same, same, settlement_id)


def test_a_settlement_is_repeated_for_the_same_account_and_side_only() -> None:
    retries = Retries()
    retries.remember(ALICE, BUY, 41)
    assert retries.is_repeat(ALICE, BUY, 41)
    assert not retries.is_repeat(ALICE, SELL, 41)
    assert not retries.is_repeat(BOB, BUY, 41)
    assert not retries.is_repeat(ALICE, BUY, 42)


def test_the_oldest_settlements_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLEMENTS_KEPT", 3)
    retries = Retries()
    for settlement_id in range(1, 6):
        retries.remember(ALICE, BUY, settlement_id)
    assert [False, False, True, True, True] == [retries.is_repeat(ALICE, BUY, each) for each in range(1, 6)]


def test_settlements_are_captured_once_in_order_and_survive_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process forgets in the order of the one before."""
    monkeypatch.setattr(module, "SETTLEMENTS_KEPT", 2)
    retries, successor = Retries(), Retries()
    retries.remember(ALICE, BUY, 42)
    retries.remember(BOB, SELL, 41)
    captured = retries.capture()
    assert [(ALICE, BUY, 42), (BOB, SELL, 41)] == rows(captured)
    assert [] == rows(retries.capture())
    successor.restore(captured)
    assert [] == rows(successor.capture())
    successor.remember(BOB, SELL, 43)
    assert [False, True, True] == [
        successor.is_repeat(*each) for each in ((ALICE, BUY, 42), (BOB, SELL, 41), (BOB, SELL, 43))
    ]


def test_of_a_run_without_repeats_nothing_is_apart() -> None:
    """What has no id is never a repeat, however often it comes."""
    retries = Retries()
    retries.remember(ALICE, BUY, 41)
    of_run = retries.of_run(a_run((ALICE, SELL, 41), (BOB, BUY, 41), (ALICE, BUY, 0), (ALICE, BUY, 0)))
    assert of_run.apart is None


def test_of_a_run_what_was_seen_or_comes_again_is_apart() -> None:
    """Whether what comes again is a repeat depends on what becomes of the first."""
    retries = Retries()
    retries.remember(ALICE, BUY, 41)
    of_run = retries.of_run(a_run((ALICE, BUY, 42), (ALICE, BUY, 41), (ALICE, BUY, 0), (ALICE, BUY, 42), (BOB, BUY, 9)))
    assert of_run.apart is not None
    assert [False, True, False, True, False] == of_run.apart.tolist()


def test_of_a_run_what_was_applied_is_remembered_in_order() -> None:
    """Not what is left: that is somebody else's to apply, and to take note of."""
    retries = Retries()
    of_run = retries.of_run(a_run((ALICE, BUY, 1), (ALICE, BUY, 0), (BOB, SELL, 2), (ALICE, BUY, 3), (BOB, BUY, 4)))
    of_run.note_applied(0, 3)
    of_run.note_applied(4, 5)
    assert [(ALICE, BUY, 1), (BOB, SELL, 2), (BOB, BUY, 4)] == rows(retries.capture())
    assert not retries.is_repeat(ALICE, BUY, 3)
