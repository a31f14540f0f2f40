"""
Prints, for tests that replay them: made up, or real ones of the folder that ``EVS_BENCH_PRINTS`` names.

Real ones, those of ``make bench``, are nobody's to hand on, and not in the tree: a test that needs them is skipped
without the folder, and says so.
"""

import os
import zipfile
from pathlib import Path
from random import Random
from typing import Final

import pytest

from evs_server.exchange.prints import Tape

FOLDER: Final = "EVS_BENCH_PRINTS"
OPEN_MS: Final = 34_200_000
"""Half past nine, in milliseconds of a day."""


def made_up_prints(folder: Path, symbol: str, day: str, count: int, *, seconds: int) -> Path:
    """A file of prints from the opening on, many of them at one time, with prices that wander as real ones do."""
    draw = Random(f"{symbol} {day}")
    times = sorted(OPEN_MS + draw.randrange(0, seconds * 1_000, 100) for _ in range(count))
    price, lines = draw.randint(2_000, 20_000), []
    for time in times:
        price = max(1, price + draw.choice([-2, -1, 0, 0, 0, 1, 2]))
        lines.append(f"{time},{price * 100},{draw.randint(1, 500)},N,0,0")
    path = folder / symbol / f"{day}_trade.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("prints.csv", "\n".join(lines))
    return path


def real_tapes() -> list[Tape]:
    """A tape of each day there is, in order."""
    given = os.environ.get(FOLDER)
    if given is None:
        pytest.skip(f"real prints: set {FOLDER} to a folder with files such as ibm/20131007_trade.zip")
    days: dict[str, list[Path]] = {}
    for path in sorted(Path(given).rglob("*_trade.zip")):
        days.setdefault(path.name, []).append(path)
    assert days, f"{FOLDER} is {given}: expected a folder with files such as ibm/20131007_trade.zip"
    return [Tape.checked(paths) for _, paths in sorted(days.items())]
