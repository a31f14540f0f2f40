"""
The players whose shares are traded, and the crowd that trades them: made up, and seeded. Pure.

Lives here: who there is, and what they want in each tick. Not here: matching (``book``), settlement, time.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple

from evs_server.exchange.book import Order


class Player(NamedTuple):
    """
    One whose shares are traded.

    Attributes:
        name: Made up.
        opening_cents: Price of a share before anything has happened.
        marked: Whether the exchange sets a price each tick; otherwise the last trade is all there is.
    """

    name: str
    opening_cents: int
    marked: bool


PLAYERS: Final[Mapping[int, Player]] = dict(
    enumerate(
        (
            Player("Milo Vance", 18_250, True),
            Player("Teo Marchetti", 12_400, True),
            Player("Jonas Adeyemi", 9_975, True),
            Player("Rafael Lindqvist", 7_310, True),
            Player("Kofi Brandt", 6_125, False),
            Player("Luca Okonjo", 4_890, False),
            Player("Aarav Petersen", 3_640, False),
            Player("Sven Castellano", 2_915, False),
            Player("Dario Nakamura", 2_180, False),
            Player("Emil Fofana", 1_450, False),
            Player("Hugo Tamaki", 865, False),
            Player("Nils Abara", 333, False),
        ),
        start=1,
    )
)
"""By symbol."""

TRADERS: Final = tuple(
    f"{first} {last}"
    for last in ("Ash", "Birch", "Cedar", "Elm", "Fir")
    for first in ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hal", "Ivy", "Jon")
)
"""Names of the accounts that trade."""

OPENING_CASH_CENTS: Final = 2_500_000

LOT_BP: Final = 2_500
"""Orders are in quarters of a share."""

LOTS_MAX: Final = 80
ORDER_TICKS: Final = 20
"""How long an order is good."""

SWING: Final = 250
"""A price walks by up to one part in so many each tick."""

SPREAD: Final = 100
"""Limits lie within one part in so many of the price, on either side."""

PRICE_FACTOR_MAX: Final = 4
"""A price is sent back when it is so many times its opening price, or that fraction of it."""


class Crowd:
    """
    What happens to prices, and what the accounts make of it.

    Args:
        account_ids: Who trades; at least one.
        seed: Of everything.
        price_cents: By symbol, where prices stand; a symbol that is missing opens at its opening price.
    """

    def __init__(self, account_ids: Sequence[int], seed: int, price_cents: Mapping[int, int] | None = None) -> None:
        self._account_ids = account_ids
        self._random = Random(seed)  # noqa: S311 - a market for show
        known = price_cents or {}
        self.price_cents = {symbol: known.get(symbol, player.opening_cents) for symbol, player in PLAYERS.items()}

    def move_prices(self) -> None:
        """Let each price walk a step."""
        for symbol, player in PLAYERS.items():
            price = self.price_cents[symbol]
            swing = max(1, price // SWING)
            low, high = player.opening_cents // PRICE_FACTOR_MAX, player.opening_cents * PRICE_FACTOR_MAX
            step = self._random.randint(-swing, swing)
            if not low < price < high:
                step = swing if price <= low else -swing
            self.price_cents[symbol] = price + step

    def orders(self, tick: int, count: int) -> Iterator[tuple[int, Order]]:
        """So many orders placed in one tick, each with its symbol."""
        draw = self._random
        for _ in range(count):
            symbol = draw.choice(tuple(PLAYERS))
            price = self.price_cents[symbol]
            spread = max(1, price // SPREAD)
            yield (
                symbol,
                Order(
                    draw.choice(self._account_ids),
                    draw.random() < 1 / 2,
                    draw.randint(1, LOTS_MAX) * LOT_BP,
                    price + draw.randint(-spread, spread),
                    tick + ORDER_TICKS,
                ),
            )

    def flow(self) -> tuple[int, int] | None:
        """Now and then, an account and the cents it pays in (positive) or out."""
        if self._random.randrange(40):
            return None
        return self._random.choice(self._account_ids), self._random.choice((100_000, 50_000, 25_000, -20_000))
