"""
The fold that audits EVS: what every account must hold after its trades, worked out again in plain integers. Pure.

Lives here: the reference fold, and the comparison of its facts with those that some place tells. Not here: where facts
are read (``evidence``). Shares no arithmetic with the engine or the exchange's own books, nor therefore their mistakes.

A *fact* is one number about one account or position. A place tells the facts it has, under the same names; one that it
tells differently, lacks, or has beyond the fold is a mismatch.

Worked example: an account opens with 10,000 cents and buys 2 shares at 1,500: ``cash`` 7,000, of the
symbol ``quantity`` 20,000 and ``basis`` 3,000. The symbol then trades at 1,600: ``equity`` 10,200.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

ACCOUNT: Final = 0
"""In place of a symbol: the fact is about the account as a whole. Symbols are numbered from 1."""

BASIS_POINTS: Final = 10_000


class Fact(NamedTuple):
    """What a number is about."""

    account_id: int
    symbol_id: int
    name: str


Facts = dict[Fact, int]
"""Numbers, in cents or bp, by what they are about."""


class Mismatch(NamedTuple):
    """One fact that a place tells differently: None is a fact that it does not have, or should not have."""

    place: str
    fact: Fact
    expected: int | None
    found: int | None

    def __str__(self) -> str:
        whose = f"account {self.fact.account_id}"
        if self.fact.symbol_id != ACCOUNT:
            whose += f", symbol {self.fact.symbol_id}"
        return f"{self.place}: {whose}: {self.fact.name} is {self.found}, expected {self.expected}"


class Fold:
    """
    Accounts that opened with nothing but cash, and all their trades since.

    Args:
        opening_cents: By account, the cash it opened with.
    """

    def __init__(self, opening_cents: Mapping[int, int]) -> None:
        self._opening = dict(opening_cents)
        self._cash = dict(opening_cents)
        self._lots: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._last_price: dict[int, int] = {}
        self.leg_count = 0

    def take(self, account_id: int, symbol_id: int, is_buy: bool, quantity_bp: int, price_cents: int) -> None:
        """Fold in one leg, in the order of settlement."""
        sign = 1 if is_buy else -1
        total = _cut(quantity_bp * price_cents, BASIS_POINTS)
        held, basis, realized = self._lots.get((account_id, symbol_id), (0, 0, 0))
        closing = min(quantity_bp, abs(held)) if held * sign < 0 else 0
        if closing:
            proceeds = total if closing == quantity_bp else _cut(closing * price_cents, BASIS_POINTS)
            cost = _cut(basis * closing, abs(held))
            # A long gains what it fetches beyond its cost; a short, whose cost is negative, what it need not pay back.
            realized += -sign * proceeds - cost
            basis += sign * (total - proceeds) - cost
        else:
            basis += sign * total
        self._lots[account_id, symbol_id] = (held + sign * quantity_bp, basis, realized)
        self._cash[account_id] -= sign * total
        self._last_price[symbol_id] = price_cents
        self.leg_count += 1

    def facts(self, set_price_cents: Mapping[int, int] | None = None) -> Facts:
        """
        All that must be so now.

        Args:
            set_price_cents: Prices that the exchange has set, by symbol; any other symbol is worth its last trade's.
        """
        price = self._last_price | dict(set_price_cents or {})
        facts: Facts = {}
        realized_total: defaultdict[int, int] = defaultdict(int)
        value_total: defaultdict[int, int] = defaultdict(int)
        for (account, symbol), (quantity, basis, realized) in self._lots.items():
            realized_total[account] += realized
            value_total[account] += _cut(quantity * price[symbol], BASIS_POINTS)
            facts[Fact(account, symbol, "quantity")] = quantity
            facts[Fact(account, symbol, "basis")] = basis
            facts[Fact(account, symbol, "realized")] = realized
        for account, cash in self._cash.items():
            facts[Fact(account, ACCOUNT, "cash")] = cash
            facts[Fact(account, ACCOUNT, "net flow")] = self._opening[account]
            facts[Fact(account, ACCOUNT, "total realized")] = realized_total[account]
            facts[Fact(account, ACCOUNT, "equity")] = cash + value_total[account]
        return facts


def mismatches(place: str, names: frozenset[str], expected: Facts, found: Facts) -> list[Mismatch]:
    """
    Where a place differs from the fold, ascending by account and symbol.

    Args:
        place: Whose facts ``found`` are, for people.
        names: Names of the facts that this place has.
        expected: The fold's facts.
        found: The place's facts.
    """
    asked = {fact: value for fact, value in expected.items() if fact.name in names}
    return [
        Mismatch(place, fact, asked.get(fact), found.get(fact))
        for fact in sorted(asked.keys() | found.keys())
        if asked.get(fact) != found.get(fact)
    ]


def conservation_breaches(place: str, opening_cents: Mapping[int, int], facts: Facts) -> list[str]:
    """
    What trades between these accounts have made or lost, in words; none if cash and shares are conserved.

    Args:
        place: Whose facts they are, for people.
        opening_cents: By account, the cash it opened with; no fees were charged since.
        facts: With ``cash`` and ``quantity`` of every account.
    """
    cash_total, quantity_total = 0, defaultdict[int, int](int)
    for fact, value in facts.items():
        if fact.name == "cash":
            cash_total += value
        elif fact.name == "quantity":
            quantity_total[fact.symbol_id] += value
    opened = sum(opening_cents.values())
    breaches = [f"{place}: all cash together is {cash_total}, but {opened} was paid in"] if cash_total != opened else []
    return breaches + [
        f"{place}: all holdings of symbol {symbol} together are {total} bp, not 0"
        for symbol, total in sorted(quantity_total.items())
        if total
    ]


def _cut(dividend: int, divisor: int) -> int:
    """The quotient without its fraction, toward zero."""
    whole = abs(dividend) // divisor
    return whole if dividend > 0 else -whole
