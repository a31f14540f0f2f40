"""Equity less net flow is realized plus unrealized: what breaks one of the four is counted, flagged, stops nobody."""

import numpy as np
import pytest

from evs_server.model import Flag
from tests.builders import (
    ALICE,
    BOB,
    CAROL,
    DAY_MS,
    SHARE_BP,
    Floor,
)


@pytest.fixture
def floor() -> Floor:
    """Alice and Bob have paid in 1,000,000 each; Carol nothing. No tick has been completed."""
    return Floor(cash_cents={ALICE: 1_000_000, BOB: 1_000_000, CAROL: 0})


@pytest.mark.parametrize(
    "column", ["cash_cents", "net_flow_cents", "realized_cents", "position_value_cents", "unrealized_cents"]
)
def test_a_corrupted_account_is_counted_and_flagged_and_stops_nobody(floor: Floor, column: str) -> None:
    """Each of the terms is kept on its own, so that none can be wrong unseen (DESIGN 3)."""
    floor.buy(ALICE, 10, 5_000)
    floor.buy(BOB, 10, 5_000)
    floor.tick()
    getattr(floor.engine._book.accounts, column)[0] += 1
    floor.mark(5_100)
    made = floor.tick()
    assert Flag.IDENTITY_VIOLATED == made[ALICE].flags
    assert 0 == made[BOB].flags
    assert 1 == floor.engine.identity_violation_count


@pytest.mark.parametrize(("table", "column"), [("lots", "basis_cents"), ("positions", "valued_basis_cents")])
def test_a_corrupted_basis_is_counted_and_flagged(floor: Floor, table: str, column: str) -> None:
    floor.buy(ALICE, 10, 5_000)
    floor.tick()
    getattr(getattr(floor.engine._book, table), column)[0] += 1
    floor.mark(5_100)
    assert Flag.IDENTITY_VIOLATED == floor.tick()[ALICE].flags
    assert 1 == floor.engine.identity_violation_count


@pytest.mark.parametrize("column", ["valued_quantity_bp", "valued_basis_cents"])
def test_the_roll_adds_up_from_scratch_and_finds_what_increments_hid(floor: Floor, column: str) -> None:
    """A session roll trusts no running sum: one that does not agree with its positions is counted, flagged, kept on."""
    floor.buy(ALICE, 10, 5_000)
    floor.tick()
    getattr(floor.engine._book.positions, column)[0] += SHARE_BP
    floor.wait(DAY_MS)
    [rolled] = floor.complete()
    assert [Flag.IDENTITY_VIOLATED, 0, Flag.NO_BASE] == rolled.flags.tolist()
    assert 1 == floor.engine.identity_violation_count


def test_a_violation_is_not_counted_for_accounts_that_hold() -> None:
    floor = Floor(cash_cents=dict.fromkeys(range(1, 50), 10**6))
    rng = np.random.default_rng(1)
    for account, quantity, price in zip(
        range(1, 50), rng.integers(1, 10**6, 49), rng.integers(1, 10**4, 49), strict=True
    ):
        floor.buy(account, 0, int(price), bp=int(quantity), fee=3)
        floor.sell(account, 0, int(price) + 7, bp=int(quantity) // 3 + 1)
    floor.tick()
    assert 0 == floor.engine.identity_violation_count
