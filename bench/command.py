"""
What every benchmark does as a command: measure, show, record; and what may stand on its command line.

``--full`` measures longer; ``--results FILE`` leaves the results of the last run alone and merges into another file.
"""

import argparse
import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import report
from bench.harness import RESULTS, Result, record, show
from bench.promised import MAY_BE_LEFT_OUT, PROMISED

FULL: Final = "--full"


@dataclass(frozen=True, slots=True)
class Options:
    """
    What stands on the command line.

    Attributes:
        full: Whether to measure longer, and what takes long.
        results: The file that results are merged into.
        names: Of benchmarks, where some are chosen.
    """

    full: bool
    results: Path
    names: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """They again, as a benchmark of its own takes them."""
        return [*([FULL] if self.full else []), "--results", str(self.results)]


def options(known: tuple[str, ...] = ()) -> Options:
    """
    The options that this process was started with; it ends here if they are wrong.

    Args:
        known: Names that may be chosen from; empty if there is nothing to choose.
    """
    parser = argparse.ArgumentParser(description="Measure EVS beside its yardsticks.")
    parser.add_argument(FULL, action="store_true", help="more rounds, and what takes long")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="merge the results into FILE")
    if known:
        parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(known)}")
    given = parser.parse_args()
    names = tuple(getattr(given, "names", ()))
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no benchmark is called {', '.join(unknown)}: expected some of {', '.join(known)}")
    return Options(given.full, given.results.absolute(), names)


def run(main: Callable[..., Coroutine[Any, Any, list[Result]]], **full: Any) -> None:
    """
    Measure, print a table, and write the results; the page as well, which never says anything else than they do.

    Args:
        main: Measures; of the module that is run.
        full: Its arguments with ``--full``.
    """
    given = options()
    measured = asyncio.run(main(**full) if given.full else main())
    show(measured)
    record(measured, given.results)
    if given.results == RESULTS:
        report.main()
    promised = set(PROMISED.get(Path(inspect.getfile(main)).stem, ())) - MAY_BE_LEFT_OUT
    missing = promised - {each.name for each in measured}
    assert not missing, f"promised and not measured: {', '.join(sorted(missing))}"
