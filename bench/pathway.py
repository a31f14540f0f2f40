"""
Pathway as a yardstick: a process in an environment of its own, which is asked for one tick at a time.

Lives here: the environment, the tables that the process loads, and the asking. Not here: the dataflow itself
(``yardsticks/pathway_tick.py``), which imports nothing of ours. The process times itself from inside, so that neither
its start nor the pipe is part of a tick. ``make bench`` installs the environment where Pathway can be installed.
"""

import contextlib
import csv
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from bench.harness import Sample
from bench.world import World
from evs_server.model import Int64Array

PYTHON: Final = Path(__file__).parents[1] / "build" / "bench" / "bin" / "python"
CASE_SECONDS_MAX: Final = 900.0
"""When the process is ended, whatever it is at."""
PROGRAM: Final = Path(__file__).parent / "yardsticks" / "pathway_tick.py"


def is_there() -> bool:
    """Whether its environment has been made."""
    return PYTHON.exists() and not subprocess.run([PYTHON, "-c", "import pathway"], check=False).returncode  # noqa: S603 -- ours


class Pathway:
    """The process, once it has valued all of a world."""

    def __init__(self, requests: IO[str], answers: IO[str], log: IO[str]) -> None:
        self._requests = requests
        self._answers = answers
        self._log = log
        assert self._next() == "ready\n"

    @classmethod
    @contextlib.contextmanager
    def of(cls, world: World) -> Iterator["Pathway"]:
        """The process of a world; it is ended here."""
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
            write_tables(world, Path(folder))
            with subprocess.Popen(  # noqa: S603 -- ours
                [PYTHON, PROGRAM, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            ) as child:
                assert child.stdin is not None
                assert child.stdout is not None
                deadline = threading.Timer(CASE_SECONDS_MAX, child.kill)
                deadline.start()
                try:
                    yield cls(child.stdin, child.stdout, log)
                finally:
                    deadline.cancel()
                    child.kill()

    def tick(self, symbol: Int64Array, price_cents: Int64Array) -> Sample:
        """Snapshots of all accounts that hold one of some symbols, at their new prices, and what they took."""
        print(
            json.dumps(list(zip(symbol.tolist(), price_cents.tolist(), strict=True))), file=self._requests, flush=True
        )
        answer: dict[str, Any] = json.loads(self._next())
        return Sample(answer["seconds"], answer["rows"])

    def _next(self) -> str:
        line = self._answers.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"Pathway has ended, and said:\n{self._log.read()[-2_000:]}")
        return line


def write_tables(world: World, folder: Path) -> None:
    """A world as the process reads it: accounts and positions as CSV, the first prices as JSON."""
    basis = np.zeros(world.size.accounts, np.int64)
    np.add.at(basis, world.position_account, world.basis_cents)
    account_id = np.arange(1, world.size.accounts + 1)
    accounts = (account_id, world.cash_cents, world.cash_cents + basis)
    positions = (world.position_account + 1, world.position_symbol, world.quantity_bp, world.basis_cents)
    _write_csv(folder / "accounts.csv", ("account", "cash", "base"), accounts)
    _write_csv(folder / "positions.csv", ("account", "symbol", "quantity", "basis"), positions)
    (folder / "prices.json").write_text(json.dumps(list(enumerate(world.price_cents.tolist()))))


def _write_csv(path: Path, names: Sequence[str], columns: Sequence[Int64Array]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
