"""The reference itself, on the vectors of DESIGN 3: it must not agree with the engine by being wrong alike."""

import pytest

from evs_server.model import Side
from tests.reference import DAY_MS, Reference, notional

MONEY = ("cash_cents", "position_value_cents", "equity_cents", "unrealized_cents", "realized_cents")


@pytest.fixture
def twin() -> Reference:
    """Account 7 has paid in 1,000,000, account 8 as much."""
    reference = Reference()
    reference.open({7: (1_000_000, []), 8: (1_000_000, [])}, 0)
    return reference


def test_vectors_1_to_4(twin: Reference) -> None:
    twin.trade(7, 1, Side.BUY, 1_000_000, 5_000, 0, 0)
    assert [[500_000, 500_000, 1_000_000, 0, 0]] == [[row[key] for key in MONEY] for row in twin.tick(1, 0, 0)]
    twin.price(1, 6_000, 0)
    [row] = twin.tick(2, 0, 0)
    assert [500_000, 600_000, 1_100_000, 100_000, 0] == [row[key] for key in MONEY]
    assert (100_000, 100_000) == (row["day_change_cents"], row["day_change_percent_e4"])
    twin.trade(7, 1, Side.SELL, 500_000, 6_000, 0, 0)
    assert [[800_000, 300_000, 1_100_000, 50_000, 50_000]] == [
        [row[key] for key in MONEY] for row in twin.tick(3, 0, 0)
    ]
    twin.price(1, 4_000, 0)
    [row] = twin.tick(4, 0, 0)
    assert [800_000, 200_000, 1_000_000, -50_000, 50_000] == [row[key] for key in MONEY]
    assert 0 == row["day_change_cents"]


def test_vector_5(twin: Reference) -> None:
    twin.trade(7, 1, Side.BUY, 1_000_000, 5_000, 0, 0)
    twin.trade(7, 1, Side.SELL, 1_500_000, 5_500, 0, 0)
    assert (-500_000, -275_000, 50_000) == twin.accounts[7].lots[1]


def test_vector_6(twin: Reference) -> None:
    for price in (100, 100, 101):
        twin.trade(7, 1, Side.BUY, 10_000, price, 0, 0)
    assert (30_000, 301, 0) == twin.accounts[7].lots[1]
    twin.trade(7, 1, Side.SELL, 30_000, 101, 0, 0)
    assert (0, 0, 2) == twin.accounts[7].lots[1]


def test_vector_7(twin: Reference) -> None:
    twin.trade(7, 1, Side.BUY, 10_000, 5_000, 0, 0)
    twin.trade(8, 1, Side.BUY, 10_000, 5_000, 0, 0)
    twin.tick(1, 0, 0)
    twin.trade(8, 1, Side.BUY, 10_000, 5_100, 0, 0)
    twin.price(1, 5_200, 0)
    assert [7, 8] == [row["account_id"] for row in twin.tick(2, 0, 0)]
    assert [] == twin.tick(3, 0, 0)


def test_a_short_of_half_a_share_is_cut_toward_zero() -> None:
    assert -166 == notional(-5_000, 333)


def test_a_roll_makes_the_close_the_base_and_the_gap_belongs_to_the_new_day(twin: Reference) -> None:
    twin.trade(7, 1, Side.BUY, 1_000_000, 5_000, 0, 0)
    twin.tick(1, 0, 0)
    twin.price(1, 6_000, DAY_MS)
    closing, closing_too, own = twin.tick(2, 0, DAY_MS + 5)
    assert (1_000_000, 0, DAY_MS) == (closing["equity_cents"], closing["day_change_cents"], closing["timestamp_ms"])
    assert closing["version"] == closing_too["version"] == own["version"] - 1
    assert (1_100_000, 100_000, DAY_MS + 5) == (own["equity_cents"], own["day_change_cents"], own["timestamp_ms"])
