"""
All benchmarks, one after the other, each in a process of its own, and the report of their results.

``python -m bench`` takes about five minutes, ``python -m bench --full`` longer, with those of a cluster; names after it
choose some. With ``--results FILE`` the results go elsewhere, and the page stays as it is.
"""

import subprocess
import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from bench.command import Options, options
from bench.harness import RESULTS

CASES = (
    "tick", "trades", "memory", "growth", "unary", "stream", "persistence", "fanout", "end_to_end", "latency",
    "startup", "replay", "history", "leaderboard",
)  # fmt: skip


CLUSTER_CASES = ("cluster", "cluster_divided", "cluster_takeover", "cluster_work")
"""Many processes on one machine: not among the five minutes."""


def main() -> int:
    """The exit status: 1 if one of them has failed; the others are run all the same."""
    given, console = options(CASES + CLUSTER_CASES), Console()
    seconds, failed = measured(given.names or (CASES + CLUSTER_CASES if given.full else CASES), given, console)
    if given.results == RESULTS:
        subprocess.run([sys.executable, "-m", "bench.report"], check=True)
    console.print(shares(seconds))
    console.print(f"{len(seconds)} benchmarks in {sum(seconds.values()):.0f} s; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def measured(names: tuple[str, ...], given: Options, console: Console) -> tuple[dict[str, float], list[str]]:
    """How long each benchmark took, in seconds, and which of them have failed."""
    seconds, failed = {}, []
    for name in names:
        console.rule(name)
        began = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"bench.{name}", *given.words], check=False).returncode:  # noqa: S603 -- ourselves
            failed.append(name)
        seconds[name] = time.monotonic() - began
    return seconds, failed


def shares(seconds: Mapping[str, float]) -> Table:
    """Where the time went, the longest first."""
    table, total = Table("benchmark", "seconds", "share"), sum(seconds.values())
    for name in sorted(seconds, key=lambda name: -seconds[name]):
        table.add_row(name, f"{seconds[name]:.0f}", f"{100 * seconds[name] / total:.0f} %")
    return table


if __name__ == "__main__":
    sys.exit(main())
