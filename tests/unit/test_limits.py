"""Bounds hold among each other, hold what the contract promises, and are all enforced somewhere."""

import ast
import importlib
from pathlib import Path

import pytest

from evs_server import limits

SERVER = Path(limits.__file__).parent
BOUNDS = {name: value for name, value in vars(limits).items() if name.isupper()}


def test_the_relations_hold() -> None:
    """They are asserted when the module is imported."""
    assert BOUNDS.keys() <= vars(importlib.reload(limits)).keys()


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_bound_is_a_positive_integer(name: str) -> None:
    assert isinstance(BOUNDS[name], int)
    assert BOUNDS[name] > 0


@pytest.mark.parametrize("name", ["EXACT_MAX", "MONEY_CENTS_MAX", "QUANTITY_BP_MAX", "PROFIT_CENTS_MAX"])
def test_what_is_published_stays_exact_in_json(name: str) -> None:
    assert BOUNDS[name] == int(float(BOUNDS[name]))
    assert BOUNDS[name] < 2**53


def test_a_version_of_any_start_stays_exact() -> None:
    """As many starts as the rest of the bits can count; the last version of the last one still fits."""
    starts = 2**53 >> limits.VERSION_START_BITS
    assert limits.EXACT_MAX == ((starts - 1) << limits.VERSION_START_BITS) + 2**limits.VERSION_START_BITS - 1


def test_a_notional_fits_when_shares_and_rest_are_multiplied_apart() -> None:
    """The rest of a share times the highest price, and what is left of it after the division."""
    assert (limits.BP_PER_SHARE - 1) * limits.PRICE_CENTS_MAX < 2**63


def test_every_bound_is_used() -> None:
    """A bound that nothing asks about bounds nothing."""
    modules = [path for path in SERVER.rglob("*.py") if path.name != "limits.py"]
    names = {
        node.id
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert set() == BOUNDS.keys() - names
