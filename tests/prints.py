"""
Real prints, for tests that replay them: of the folder that ``EVS_BENCH_PRINTS`` names, those of ``make bench``.

They are nobody's to hand on, and not in the tree: a test that needs them is skipped without the folder, and says so.
"""

import os
from pathlib import Path
from typing import Final

import pytest

from evs_server.exchange.prints import Tape

FOLDER: Final = "EVS_BENCH_PRINTS"


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
