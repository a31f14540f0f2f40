"""
A day of trade prints of four stocks, made up: as many, and spread over the day as unevenly, as those of a real one.

For who has no real prints at hand: the same numbers make the same files, in the format that ``evs replay`` takes. What
matters to a replay is how many prints share a second and how sizes vary; what prices do is a random walk.
"""

import zipfile
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from evs_server.model import Int64Array

DAY: Final = date(2013, 10, 7)
OPENS_MS, CLOSES_MS = 34_200_000, 57_600_000
"""9:30 and 16:00."""
SIZES: Final = (100, 100, 100, 200, 300, 500, 1_000, 50, 7)
"""Shares; a round lot most often."""


class Stock(NamedTuple):
    """One of them: in a whole day so many prints, in so many different seconds; about what a share costs in cents."""

    name: str
    prints: int
    seconds: int
    price_cents: int


STOCKS: Final = (
    Stock("aig", 25_000, 5_000, 4_900),
    Stock("bac", 88_000, 12_500, 1_400),
    Stock("ibm", 24_000, 6_500, 18_200),
    Stock("spy", 250_000, 18_000, 16_800),
)


def a_day(folder: Path, part: int = 1) -> list[Path]:
    """
    Files of a day's prints.

    Args:
        folder: Where they are made.
        part: How much of the day, from its opening on: 1 is all, 8 an eighth of it.
    """
    return [_write(folder, number, stock, part) for number, stock in enumerate(STOCKS)]


def _write(folder: Path, number: int, stock: Stock, part: int) -> Path:
    rng = np.random.default_rng([11, number])
    count = stock.prints // part
    columns = (
        moments(rng, count, stock.seconds // part, (CLOSES_MS - OPENS_MS) // part),
        100 * np.maximum(stock.price_cents + np.cumsum(rng.choice((-1, 0, 0, 0, 1), count)), 1),
        rng.choice(SIZES, count),
    )
    lines = "".join(f"{ms},{price},{size},N,20000020,0\n" for ms, price, size in zip(*columns, strict=True))
    path = folder / stock.name / f"{DAY:%Y%m%d}_trade.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{DAY:%Y%m%d}_{stock.name}_Trade_Tick.csv", lines)
    return path


def moments(rng: np.random.Generator, count: int, seconds: int, length_ms: int) -> Int64Array:
    """Milliseconds since midnight, ascending, in so many different seconds, of which few have many and many few."""
    busy = rng.choice(length_ms // 1_000, seconds, replace=False)
    share = rng.exponential(size=seconds) ** 2
    # Each second has one at least.
    second = np.concatenate((busy, rng.choice(busy, count - seconds, p=share / share.sum())))
    moment: Int64Array = np.sort(OPENS_MS + 1_000 * second + rng.integers(0, 1_000, count))
    return moment
