"""The fold of the audit, by hand and against the reference; and what it says of places that differ."""

from random import Random

import pytest

from evs_server.exchange.audit import ACCOUNT, Fact, Fold, Mismatch, conservation_breaches, mismatches
from evs_server.model import Side
from tests.reference import Account

SHARE = 10_000
BUY, SELL = True, False


@pytest.mark.parametrize(
    ("legs", "quantity", "basis", "realized", "cash"),
    [
        ([(BUY, 100 * SHARE, 5_000)], 1_000_000, 500_000, 0, 500_000),
        ([(BUY, 100 * SHARE, 5_000), (SELL, 50 * SHARE, 6_000)], 500_000, 250_000, 50_000, 800_000),
        ([(BUY, 100 * SHARE, 5_000), (SELL, 150 * SHARE, 5_500)], -500_000, -275_000, 50_000, 1_325_000),
        ([(BUY, SHARE, 100), (BUY, SHARE, 100), (BUY, SHARE, 101), (SELL, 3 * SHARE, 101)], 0, 0, 2, 1_000_002),
        ([(SELL, 2 * SHARE, 500), (BUY, SHARE, 400)], -10_000, -500, 100, 1_000_600),
        ([(SELL, 5_000, 333)], -5_000, -166, 0, 1_000_166),
    ],
)
def test_the_fold_keeps_exact_cost_and_profit(
    legs: list[tuple[bool, int, int]], quantity: int, basis: int, realized: int, cash: int
) -> None:
    """Positions, closes, flips and shorts come out as worked out by hand; cuts are toward zero."""
    fold = Fold({1: 1_000_000})
    for leg in legs:
        fold.take(1, 7, *leg)
    facts = fold.facts()
    assert (quantity, basis, realized) == tuple(facts[Fact(1, 7, name)] for name in ("quantity", "basis", "realized"))
    assert (cash, realized) == tuple(facts[Fact(1, ACCOUNT, name)] for name in ("cash", "total realized"))


def test_equity_is_at_the_last_price_or_at_the_one_that_was_set() -> None:
    """A holder's equity moves with trades of others, unless the exchange has set a price."""
    fold = Fold({1: 10_000, 2: 0})
    fold.take(1, 7, BUY, 2 * SHARE, 1_500)
    fold.take(2, 7, SELL, 2 * SHARE, 1_600)
    equity = Fact(1, ACCOUNT, "equity")
    assert 10_200 == fold.facts()[equity]
    assert 11_000 == fold.facts({7: 2_000})[equity]


def test_the_fold_agrees_with_the_reference() -> None:
    """Any fills of any sizes come to the same in both, which share no code."""
    draw = Random(11)
    fold, reference = Fold({1: 500}), Account(cash=500)
    for _ in range(2_000):
        is_buy, size, price = draw.random() < 0.5, draw.randint(1, 50_000), draw.randint(1, 5_000)
        fold.take(1, 7, is_buy, size, price)
        reference.fill(7, Side.BUY if is_buy else Side.SELL, size, price)
    facts = fold.facts()
    assert reference.lots[7] == tuple(facts[Fact(1, 7, name)] for name in ("quantity", "basis", "realized"))
    assert reference.cash == facts[Fact(1, ACCOUNT, "cash")]


def test_a_place_is_held_against_the_names_it_has() -> None:
    """What differs, is missing, or is too much is a mismatch; what a place does not keep is not."""
    cash, extra, missing = Fact(1, ACCOUNT, "cash"), Fact(2, 7, "quantity"), Fact(1, 7, "quantity")
    expected = {cash: 100, missing: 5, Fact(1, ACCOUNT, "equity"): 9}
    assert [
        Mismatch("there", cash, 100, 99),
        Mismatch("there", missing, 5, None),
        Mismatch("there", extra, None, 1),
    ] == mismatches("there", frozenset({"cash", "quantity"}), expected, {cash: 99, extra: 1})


def test_a_mismatch_says_where_what_and_how_much() -> None:
    """A person can go and look."""
    fact = Fact(3, 7, "quantity")
    assert "EVS: account 3, symbol 7: quantity is 11, expected 10" == str(Mismatch("EVS", fact, 10, 11))


def test_conservation_counts_cash_and_every_symbol() -> None:
    """Both legs of a trade cancel out; what does not is said in words."""
    fold = Fold({1: 100, 2: 100})
    fold.take(1, 7, BUY, SHARE, 30)
    fold.take(2, 7, SELL, SHARE, 30)
    facts = fold.facts()
    assert [] == conservation_breaches("EVS", {1: 100, 2: 100}, facts)
    facts[Fact(1, 7, "quantity")] += 1
    facts[Fact(1, ACCOUNT, "cash")] -= 1
    assert [
        "EVS: all cash together is 199, but 200 was paid in",
        "EVS: all holdings of symbol 7 together are 1 bp, not 0",
    ] == conservation_breaches("EVS", {1: 100, 2: 100}, facts)
