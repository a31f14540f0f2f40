"""
The least that a replay must do with its files: unpack them, and have every print as plain numbers, in market order.

Nothing is checked, settled, sent or stored.
"""

import csv
import heapq
import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Decoded(NamedTuple):
    """What came out."""

    prints: int
    shares: int


def decode(paths: Iterable[Path]) -> Decoded:
    """All prints of some LEAN trade files of one day, merged by time."""
    count = shares = 0
    for _, _, size in heapq.merge(*map(_prints, paths)):
        count += 1
        shares += size
    return Decoded(count, shares)


def _prints(path: Path) -> Iterator[tuple[int, int, int]]:
    """Milliseconds, price and size of each line."""
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as stream:
        for line in csv.reader(io.TextIOWrapper(stream, "ascii")):
            yield int(line[0]), int(line[1]), int(line[2])
